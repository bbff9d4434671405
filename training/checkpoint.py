"""Checkpoints: written whole or not at all, the last few kept, read with care."""

import io
import os
import pickletools
import shutil
import zipfile
from pathlib import Path

import torch

from panoptic_ros.core import PanopticError

MAX_TEXT = 1000
"""Characters of a name in a checkpoint. torch searches its message on a damaged one in a time that grows with their square."""


def write_checkpoint(state: dict, path: Path, keep: int = 0) -> None:
    """Write `path`, and keep the last `keep` of a run under second names beside it, `step_<number>.pt`.

    At every moment `path` is a whole checkpoint, whatever ends the process or the power. state: with `step`. Raises
    PanopticError, what was there untouched, if the disk is full or the folder cannot be written.
    """
    temporary = path.with_suffix(".tmp")
    try:
        _write(state, temporary)
        temporary.replace(path)
        if keep:
            _second_name(path, path.with_name(f"step_{state['step']:08d}.pt"))
            for old in sorted(path.parent.glob("step_*.pt"))[:-keep]:
                old.unlink()
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise PanopticError(
            f"cannot write {path} at step {state['step']}: {summary(error)}; {left(path)}; make room, then continue with --resume"
        ) from error


def _write(state: dict, path: Path) -> None:
    """On the disk, not only in its cache, when it returns."""
    content = io.BytesIO()  # torch would write into the file by itself, and hide what the file system says
    torch.save(state, content)
    with path.open("wb") as file:
        file.write(content.getbuffer())
        file.flush()
        os.fsync(file.fileno())


def _second_name(path: Path, name: Path) -> None:
    name.unlink(missing_ok=True)
    try:
        name.hardlink_to(path)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, name)


def left(path: Path) -> str:
    """What there is to continue from, in words."""
    return f"the last good checkpoint, {path}, is intact" if path.exists() else "there is no checkpoint yet"


def read_checkpoint(path: Path) -> dict:
    """A checkpoint of this project, a zip. Raises PanopticError if it is missing, truncated or something else."""
    try:
        _check_texts(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zipfile, pickletools and torch raise many kinds for files that are missing or no checkpoints
        older = [str(file) for file in sorted(path.parent.glob("step_*.pt"))[:-1]]
        fix = f"; an older one is {older[-1]}: copy it to {path.name}" if older and path.exists() else ""
        raise PanopticError(f"cannot read the checkpoint {path}: {summary(error)}{fix}") from error
    if not isinstance(state, dict) or "recipe" not in state:
        raise PanopticError(f"{path} is no checkpoint of this project: it has no recipe")
    return state


def _check_texts(path: Path) -> None:
    """Raises ValueError for a longer text than any checkpoint has, whatever the others for a file that is none."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            operations = pickletools.genops(archive.read(name)) if name.endswith("data.pkl") else ()
            longest = max((len(value) for _, value, _ in operations if isinstance(value, (str, bytes, bytearray))), default=0)
            if longest > MAX_TEXT:
                raise ValueError(f"a text in it has {longest} characters, which no name there has")


def load_backbone(backbone: torch.nn.Module, source: str) -> None:
    """A torchvision ImageNet checkpoint, file or URL, or the backbone of any checkpoint of this project.

    The classifier, and MobileNetV2's last 1x1 convolution, are left out. Raises PanopticError if it is missing or does not fit.
    """
    try:
        if source.startswith(("https://", "http://")):
            state = torch.hub.load_state_dict_from_url(source, map_location="cpu", weights_only=True)
        else:
            if zipfile.is_zipfile(source):  # torchvision's older files are none
                _check_texts(Path(source))
            state = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for files that are missing or no checkpoints
        raise PanopticError(f"cannot read the backbone weights {source}: {summary(error)}") from error
    if isinstance(state, dict) and "recipe" in state:
        state = backbone_of(state)
    try:
        missing, _ = backbone.load_state_dict(state, strict=False)
    except (RuntimeError, TypeError) as error:
        raise PanopticError(f"{source} holds weights of another network than the backbone: {summary(error)}") from error
    if missing:
        raise PanopticError(f"{source} lacks {len(missing)} parameters of the backbone, such as {missing[0]}")


def backbone_of(state: dict) -> dict[str, torch.Tensor]:
    """The averaged weights of the backbone in a checkpoint of this project, by torchvision's names; none if there is none."""
    prefix, average = "trunk.backbone.", state.get("average")
    if not isinstance(average, dict):
        return {}
    return {name.removeprefix(prefix): value for name, value in average.items() if name.startswith(prefix)}


def summary(error: Exception, limit: int = 300) -> str:
    """An error's text on one line; torch lists every parameter that does not fit."""
    text = " ".join(str(error).split())
    return text if len(text) <= limit else f"{text[:limit]}..."
