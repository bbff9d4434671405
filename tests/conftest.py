"""What the tests share: the tiny engine, opened by each backend, and the real data where it is."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_engine

from panoptic_ros import manifest
from panoptic_ros.core import Engine
from panoptic_ros.engine import BACKENDS, open_engine
from panoptic_ros.manifest import Manifest

REPOSITORY = Path(__file__).resolve().parents[1]

# of torch, here and in other processes: its results are then the same to the last bit, and the networks are too small for two
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests that take more than ten seconds, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow: run `make test ARGS=--slow`"))


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_engine.write(tmp_path_factory.mktemp("engines") / "tiny")


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Manifest:
    return manifest.load(tiny_folder)


@pytest.fixture(scope="session", params=BACKENDS)
def engine(request: pytest.FixtureRequest, tiny: Manifest) -> Engine:
    pytest.importorskip(request.param)
    return open_engine(tiny, request.param)


@pytest.fixture(scope="module")
def shallow_mobilenet() -> Iterator[None]:
    """MobileNetV2 with all kinds of its blocks, but eight instead of seventeen: an export takes time for each operator."""
    from training.nets import mobilenet  # torch is not for tests of the runtime

    stages = ((1, 16, 1, 1), (2, 24, 2, 2), (2, 32, 1, 2), (2, 64, 1, 2), (2, 96, 1, 1), (2, 160, 1, 2), (2, 320, 1, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mobilenet, "_STAGES", stages)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of third-party data: $PANOPTIC_SHARED_DATA, or ../shared/data beside the repository."""
    folder = Path(os.environ.get("PANOPTIC_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} does not exist (set PANOPTIC_SHARED_DATA)")
    return folder
