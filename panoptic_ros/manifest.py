"""A model on disk: `engines/<model>/manifest.json` beside its ONNX file, found, read and checked."""

import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from panoptic_ros.core import Label, PanopticError
from panoptic_ros.image_header import MAX_SIDE

FORMAT = 1
MAX_SLOTS = 254
MAX_LABEL = 32767

_KEYS = {
    "format": int, "model": str, "method": str, "onnx": str, "sha256": str, "size": list, "size_multiple": int,
    "decode_stride": int, "coarse_above": int, "network_output": str, "slots": int, "embedding": int, "labels": list,
    "license": str, "trained_on": str, "recipe": str, "decoder": dict, "solver": dict,
}  # fmt: skip
_OPTIONAL: dict[str, Any] = {"coarse_above": 0, "solver": {}}
_LABEL_KEYS = {"id": int, "name": str, "thing": bool, "color": list}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a model is and what its engine returns; the contract is in docs/architecture.md.

    onnx: the file, its hash checked. size: (h, w) of the engine input, multiples of `size_multiple`. decode_stride: input
    pixels per cell of the decoding grid, twice as many where h is larger than coarse_above, unless that is 0. network_output:
    the tensor between network and decoder. slots: K. embedding: E. decoder: the method's settings, baked into the graph and
    carried here for information only. sha256: of the file; empty where there is none. precision: of the file, fp32 or one of
    `panoptic_ros.variant`. solver: settings of the solver that makes slots of the graph's costs (`panoptic_ros.answer`); empty
    where the graph's outputs are slots.
    """

    model: str
    method: str
    onnx: Path
    size: tuple[int, int]
    size_multiple: int
    decode_stride: int
    network_output: str
    slots: int
    embedding: int
    labels: tuple[Label, ...]
    license: str
    trained_on: str
    recipe: str
    decoder: Mapping[str, Any]
    solver: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""
    precision: str = "fp32"
    coarse_above: int = 0

    def grid_stride(self, height: int) -> int:
        """Input pixels per cell of the decoding grid for an input of that height."""
        return self.decode_stride * (2 if 0 < self.coarse_above < height else 1)

    @property
    def grid_size(self) -> tuple[int, int]:
        """(h', w') of the decoding grid."""
        (height, width), stride = self.size, self.grid_stride(self.size[0])
        return height // stride, width // stride

    def with_size(self, height: int, width: int) -> "Manifest":
        """The same model for another input size. Raises PanopticError unless both are positive multiples of `size_multiple`."""
        _check_size((height, width), self.size_multiple, f"model {self.model}")
        return dataclasses.replace(self, size=(height, width))


def load(name_or_path: str | Path) -> Manifest:
    """The manifest of a model, given by its name or by the path of its folder.

    Names are looked up in `$PANOPTIC_ROS_ENGINES`, the source tree's `engines/` and `share/panoptic_ros/engines`, in this
    order. Raises PanopticError if there is no such model, or if the manifest or the ONNX file is not what it should be.
    """
    file = _find(name_or_path) / "manifest.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PanopticError(f"cannot read {file}: {error}") from error
    content = _OPTIONAL | content if isinstance(content, dict) else content
    check_keys(content, _KEYS, str(file))
    if content["format"] != FORMAT:
        raise PanopticError(f"{file} has format {content['format']}; this version reads format {FORMAT}")
    _check_numbers(content, str(file))
    onnx = checked_file(file, content["onnx"], content["sha256"])
    fields = {key: content[key] for key in _KEYS if key != "format"}
    size, labels = tuple(content["size"]), _labels(content["labels"], str(file))
    return Manifest(**fields | {"onnx": onnx, "size": size, "labels": labels})


def models() -> dict[str, Path]:
    """Every model that can be found by name, with its folder; the first of a name wins."""
    found: dict[str, Path] = {}
    for folder in _search_path():
        for file in sorted(folder.glob("*/manifest.json")):
            found.setdefault(file.parent.name, file.parent)
    return found


def _search_path() -> list[Path]:
    package = Path(__file__).resolve().parent
    configured = os.environ.get("PANOPTIC_ROS_ENGINES", "")
    installed = (*package.parents[3:4], Path(sys.prefix))  # <prefix>/lib/python3.x/site-packages/panoptic_ros
    return [
        *(Path(folder) for folder in configured.split(os.pathsep) if folder),
        package.parent / "engines",
        *(prefix / "share" / "panoptic_ros" / "engines" for prefix in installed),
    ]


def _find(name_or_path: str | Path) -> Path:
    path, found = Path(name_or_path), models()
    if str(name_or_path) in found:
        return found[str(name_or_path)]
    if os.path.isfile(path / "manifest.json"):
        return path
    choices = f"models are {', '.join(sorted(found))}" if found else "no models are installed"
    raise PanopticError(f"unknown model {str(name_or_path)!r}: {choices} (a folder with a manifest.json is one too)")


def check_keys(content: Any, keys: Mapping[str, type], where: str) -> None:
    """Raises PanopticError unless content is an object with exactly these keys and types. where: for the message."""
    if not isinstance(content, dict):
        raise PanopticError(f"{where} is a {type(content).__name__}; expected an object with {', '.join(keys)}")
    for problem, names in (("unknown", set(content) - set(keys)), ("missing", set(keys) - set(content))):
        if names:
            raise PanopticError(f"{where}: {problem} key {', '.join(sorted(names))}; the keys are {', '.join(keys)}")
    for key, kind in keys.items():
        if type(content[key]) is not kind:  # not isinstance: True is no number
            raise PanopticError(f"{where}: {key} is {content[key]!r}; expected a JSON value of type {kind.__name__}")


def _check_numbers(content: Mapping[str, Any], where: str) -> None:
    limits = {"size_multiple": MAX_SIDE, "decode_stride": content["size_multiple"], "slots": MAX_SLOTS, "embedding": 4096}
    for key, high in limits.items():
        if not 1 <= content[key] <= high:
            raise PanopticError(f"{where}: {key} is {content[key]}; expected 1..{high}")
    if not 0 <= content["coarse_above"] <= MAX_SIDE:
        raise PanopticError(f"{where}: coarse_above is {content['coarse_above']}; expected 0..{MAX_SIDE}")
    twice, multiple = ("twice " if content["coarse_above"] else ""), content["size_multiple"]
    if multiple % (content["decode_stride"] * (2 if twice else 1)):
        raise PanopticError(f"{where}: {twice}decode_stride {content['decode_stride']} does not divide size_multiple {multiple}")
    _check_size(content["size"], content["size_multiple"], where)


def _check_size(size: Any, multiple: int, where: str) -> None:
    if len(size) != 2 or any(type(side) is not int or not 1 <= side <= MAX_SIDE or side % multiple for side in size):
        shown = "x".join(str(side)[:20] for side in size)
        raise PanopticError(
            f"{where}: size {shown} is not possible: height and width are positive multiples of {multiple}, up to {MAX_SIDE}"
        )


def checked_file(source: Path, name: str, sha256: str) -> Path:
    """The file `name` beside `source`, the JSON that names it.

    Raises PanopticError if it lies elsewhere, cannot be read or has another hash.
    """
    if Path(name).name != name or "\0" in name:
        raise PanopticError(f"{source}: onnx is {name!r}; expected the name of a file beside it")
    file = source.parent / name
    try:
        actual = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise PanopticError(f"cannot read the model file {file}: {error.strerror}") from error
    if actual != sha256:
        raise PanopticError(f"{file} was altered or is incomplete: its sha256 is {actual}, its manifest says {sha256}")
    return file


def _labels(entries: list[Any], where: str) -> tuple[Label, ...]:
    labels: dict[int, Label] = {}
    for entry in entries:
        check_keys(entry, _LABEL_KEYS, f"{where}: label {entry!r}")
        label = Label(entry["id"], entry["name"], entry["thing"], tuple(entry["color"]))
        if not 1 <= label.id <= MAX_LABEL or label.id in labels:
            raise PanopticError(f"{where}: label id {label.id} is out of range or used twice; ids are 1..{MAX_LABEL}, unique")
        if len(label.color) != 3 or any(type(c) is not int or not 0 <= c <= 255 for c in label.color):
            raise PanopticError(f"{where}: label {label.name} has color {list(label.color)}; expected three values 0..255")
        labels[label.id] = label
    if not labels:
        raise PanopticError(f"{where}: labels is empty; expected at least one label")
    return tuple(labels.values())
