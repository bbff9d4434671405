"""Checkpoints on disks that fill up, and in folders that hold only the last few."""

import resource
import signal
import zipfile
from pathlib import Path

import pytest
import torch

from panoptic_ros.core import PanopticError
from tests.training.tiny import started
from training import checkpoint
from training.checkpoint import read_checkpoint, write_checkpoint


def state(step: int, values: int = 10) -> dict:
    return {"recipe": {}, "step": step, "network": torch.full((values,), float(step))}


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_the_last_few_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3, 10):
        write_checkpoint(state(step), tmp_path / "last.pt", keep=2)
    assert names(tmp_path) == ["last.pt", "step_00000003.pt", "step_00000010.pt"]
    assert [read_checkpoint(tmp_path / name)["step"] for name in names(tmp_path)] == [10, 3, 10]
    assert (tmp_path / "last.pt").samefile(tmp_path / "step_00000010.pt")


def test_none_but_the_last_may_be_kept(tmp_path: Path) -> None:
    write_checkpoint(state(1), tmp_path / "last.pt")
    assert names(tmp_path) == ["last.pt"]


def test_file_systems_without_links_get_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError("Operation not supported")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    write_checkpoint(state(4), tmp_path / "last.pt", keep=1)
    assert read_checkpoint(tmp_path / "step_00000004.pt")["step"] == 4


def write_on_a_full_disk(limit: int, last: Path, report: Path) -> None:
    """No file of this process can grow beyond `limit` bytes: writing fails as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        write_checkpoint(state(2, 1_000_000), last, keep=1)
    except PanopticError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        report.write_text(str(error))


@pytest.mark.parametrize("limit", [0, 5_000, 3_900_000])
def test_a_full_disk_is_named_and_leaves_the_last_good_checkpoint(tmp_path: Path, limit: int) -> None:
    """At the start, in the middle and near the end of a file of 4 MB."""
    folder, report = tmp_path / "run", tmp_path / "report"
    folder.mkdir()
    last = folder / "last.pt"
    write_checkpoint(state(1), last, keep=1)
    started(write_on_a_full_disk, limit, last, report).join()
    message = report.read_text()
    assert f"cannot write {last} at step 2: " in message and "File too large" in message
    assert f"the last good checkpoint, {last}, is intact; make room, then continue with --resume" in message
    assert names(folder) == ["last.pt", "step_00000001.pt"] and read_checkpoint(last)["step"] == 1


def test_a_damaged_checkpoint_is_answered_with_an_older_one(tmp_path: Path) -> None:
    for step in (1, 2):
        write_checkpoint(state(step), tmp_path / "last.pt", keep=2)
    (tmp_path / "last.pt").unlink()
    (tmp_path / "last.pt").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(
        PanopticError, match=r"cannot read the checkpoint \S*last.pt.*an older one is \S*step_00000001.pt: copy it"
    ):
        read_checkpoint(tmp_path / "last.pt")


def test_a_damaged_name_is_not_searched_by_torch(tmp_path: Path) -> None:
    """It would take hours for a name of a megabyte."""
    content = b"\x80\x02c" + 1_000_000 * b"a" + b"\nname\n."
    with zipfile.ZipFile(tmp_path / "last.pt", "w") as archive:
        archive.writestr("archive/data.pkl", content)
    with pytest.raises(PanopticError, match="a text in it has 1000005 characters"):
        read_checkpoint(tmp_path / "last.pt")
    with pytest.raises(PanopticError, match="a text in it has 1000005 characters"):
        checkpoint.load_backbone(torch.nn.Linear(1, 1), str(tmp_path / "last.pt"))
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(PanopticError, match="not a zip file"):
        read_checkpoint(tmp_path / "last.pt")


@pytest.mark.parametrize("source", ["nowhere.pth", "http://127.0.0.1:9/resnet50.pth"])
def test_backbone_weights_that_cannot_be_had_are_named(source: str) -> None:
    with pytest.raises(PanopticError, match=f"cannot read the backbone weights {source}: "):
        checkpoint.load_backbone(torch.nn.Linear(1, 1), source)
