"""A model in other files beside `model.onnx`: `model.fp16.onnx`, `model.int8.onnx`, `model.pt2`, each with a note on it.

    {"format": 1, "precision": "int8", "onnx": "model.int8.onnx", "sha256": "...", "source": "...", "made": "..."}

`source` is the hash of the model.onnx that the file was made from, so that a variant of another network is found out;
`made` says how. `training.export_trt` writes the ONNX files and `training.torch_package` the program for torch, with their notes.
"""

import dataclasses
import hashlib
import json
import os
import tempfile
from pathlib import Path

from panoptic_ros import manifest
from panoptic_ros.core import PanopticError
from panoptic_ros.manifest import Manifest

PRECISIONS = ("fp16", "int8")
FORMAT = 1

_MAKE = {
    "fp16": "training.export_trt --precision fp16 --model",
    "int8": "training.export_trt --precision int8 --model",
    "pt2": "training.torch_package --model",
}
"""Kind of file -> the command that makes it."""

_KEYS = {"format": int, "precision": str, "onnx": str, "sha256": str, "source": str, "made": str}


def load(model: Manifest, kind: str) -> Manifest:
    """The same model with its fp16, int8 or pt2 file in the place of `onnx`; `model` itself if it has that precision already.

    Raises PanopticError if the file is missing, altered, or made from another network.
    """
    if model.precision == kind:
        return model
    note = note_file(model, kind)
    make = f"run `python -m {_MAKE[kind]} {model.model}`"
    if not note.is_file():
        raise PanopticError(f"model {model.model} has no {kind} file: {note} does not exist; {make}")
    content = _read(note)
    if content["format"] != FORMAT or content["precision"] != kind:
        raise PanopticError(f"{note} is of {content['precision']}, format {content['format']}; expected {kind}, {FORMAT}")
    if content["source"] != model.sha256:
        raise PanopticError(f"{content['onnx']} was made from another {model.onnx.name} than the one beside it; {make}")
    onnx = manifest.checked_file(note, content["onnx"], content["sha256"])
    precision = kind if kind in PRECISIONS else model.precision
    return dataclasses.replace(model, onnx=onnx, sha256=content["sha256"], precision=precision)


def save(model: Manifest, kind: str, data: bytes, made: str) -> Path:
    """Write a variant of `model` (fp32) and its note, each whole or not at all. Returns the file.

    Between the two writes the old note vouches for a file that is gone, which `load` refuses; it never takes half of a pair.
    """
    file = model.onnx.with_suffix(f".{kind}.onnx" if kind in PRECISIONS else f".{kind}")
    content = {
        "format": FORMAT, "precision": kind, "onnx": file.name, "sha256": hashlib.sha256(data).hexdigest(),
        "source": model.sha256, "made": made,
    }  # fmt: skip
    write_atomically(file, data)
    write_atomically(note_file(model, kind), (json.dumps(content, indent=1) + "\n").encode())
    return file


def note_file(model: Manifest, kind: str) -> Path:
    """Where the note of a variant of `model` (fp32) is, whether it exists or not."""
    return model.onnx.with_suffix(f".{kind}.json")


def write_atomically(file: Path, data: bytes) -> None:
    """The whole file under its name, or what was there before. Raises PanopticError where it cannot be written."""
    temporary = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        with os.fdopen(handle, "wb") as target:
            os.fchmod(target.fileno(), 0o644)
            target.write(data)
            target.flush()
            os.fsync(target.fileno())
        os.replace(temporary, file)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise PanopticError(f"cannot write {file} ({len(data)} bytes): {error.strerror}") from error


def _read(note: Path) -> dict:
    try:
        content = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PanopticError(f"cannot read {note}: {error}") from error
    manifest.check_keys(content, _KEYS, str(note))
    return content
