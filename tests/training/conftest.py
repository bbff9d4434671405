"""A drawn data set, and a recipe for a tiny network on it."""

from pathlib import Path

import pytest

from tests.data import tiny_dataset
from tests.training import tiny
from training import recipe as recipes
from training.recipe import Recipe


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dataset.write(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="session")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing interrupted, for reading and copying."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(tiny.RECIPE)
    assert tiny.run(folder / "tiny.yaml", data, folder / "run") == 0
    return folder / "run"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(tiny.RECIPE)
    return path


@pytest.fixture
def recipe(file: Path, data: Path) -> Recipe:
    return recipes.load(str(file), [f"data.root={data}"])
