"""What the tests share: the tiny engine, opened by each backend, and the real data where it is."""

import os
from pathlib import Path

import pytest
import tiny_engine

from panoptic_ros import manifest
from panoptic_ros.core import Engine
from panoptic_ros.engine import BACKENDS, open_engine
from panoptic_ros.manifest import Manifest

REPOSITORY = Path(__file__).resolve().parents[1]


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


@pytest.fixture
def one_thread():
    """torch on one thread, where results have to be the same to the last bit, or networks are too small for two."""
    import torch  # not for tests of the runtime

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of third-party data: $PANOPTIC_SHARED_DATA, or ../shared/data beside the repository."""
    folder = Path(os.environ.get("PANOPTIC_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} does not exist (set PANOPTIC_SHARED_DATA)")
    return folder
