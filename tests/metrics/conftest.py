"""The reference numbers of the field's own implementations lie outside the repository; without them those tests are skipped."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "shared_data: compares with reference numbers outside the repository; skipped without them")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of third-party data: $PANOPTIC_SHARED_DATA, or ../shared/data beside the repository."""
    folder = Path(os.environ.get("PANOPTIC_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "metrics").is_dir():
        pytest.skip(f"no reference numbers: {folder}/metrics does not exist (set PANOPTIC_SHARED_DATA)")
    return folder
