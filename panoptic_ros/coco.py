"""COCO panoptic files: the JSON, and the PNG whose pixels are segment ids (R + 256 G + 65536 B)."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any

import cv2
import numpy as np

from panoptic_ros.core import Label, PanopticError
from panoptic_ros.images import read_values

_KEYS: dict[str, dict[str, type | UnionType]] = {
    "images": {"id": int | str},
    "annotations": {"image_id": int | str, "file_name": str, "segments_info": list},
    "categories": {"id": int, "name": str, "isthing": int},
}
"""What each entry has. Numbers are finite."""
_SEGMENT_KEYS: dict[str, type | UnionType] = {"id": int, "category_id": int}
_OPTIONAL_KEYS: dict[str, type | UnionType] = {
    "file_name": str, "sequence": str | None, "frame": int, "stamp_ns": int, "color": list, "iscrowd": int, "area": int | float,
    "bbox": list, "score": int | float | None,
}  # fmt: skip
"""What an entry may have."""


def read_ids(path: Path) -> np.ndarray:
    """(H, W) int32 segment ids of a panoptic PNG. Raises PanopticError if it is missing or no 8-bit RGB image."""
    try:
        image = read_values(path)
    except PanopticError as error:
        reason = f"it is missing, damaged or not an image ({error})"
        raise PanopticError(f"cannot read the panoptic PNG {path}: {reason}; write it again") from error
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] < 3:
        raise PanopticError(f"{path} is {image.dtype} {image.shape}; a panoptic PNG is 8-bit RGB")
    blue, green, red = (image[..., c].astype(np.int32) for c in range(3))
    return red + (green << 8) + (blue << 16)


def write_ids(path: Path, ids: np.ndarray) -> None:
    """ids: (H, W) int, each below 2**24."""
    if ids.size and not 0 <= ids.min() <= ids.max() < 1 << 24:
        raise PanopticError(f"segment ids {ids.min()}..{ids.max()} do not fit a panoptic PNG (0..{(1 << 24) - 1})")
    bgr = np.stack([ids >> 16, ids >> 8 & 255, ids & 255], axis=-1).astype(np.uint8)
    if not cv2.imwrite(str(path), bgr):
        raise PanopticError(f"cannot write {path}")


def read_json(path: Path) -> dict:
    """The whole JSON. Raises PanopticError unless it has `images`, `annotations` and `categories`, each with what it needs."""
    try:
        content = json.loads(Path(path).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise PanopticError(f"cannot read the panoptic JSON {path}: {error}") from error
    missing = {"images", "annotations", "categories"} - set(content if isinstance(content, dict) else ())
    if missing:
        raise PanopticError(f"{path} lacks {sorted(missing)}: a COCO panoptic JSON has images, annotations, categories")
    for name, keys in _KEYS.items():
        _check_keys(content[name], keys, f"{path}: {name}")
    for annotation in content["annotations"]:
        _check_keys(annotation["segments_info"], _SEGMENT_KEYS, f"{path}: segments_info of {annotation['file_name']}")
    return content


def _check_keys(entries: Any, keys: Mapping[str, type | UnionType], where: str) -> None:
    if not isinstance(entries, list):
        raise PanopticError(f"{where} is no list; expected one of objects with {', '.join(sorted(keys))}")
    for number, entry in enumerate(entries):
        missing = set(keys) - set(entry if isinstance(entry, dict) else ())
        if missing:
            raise PanopticError(f"{where}[{number}] lacks {', '.join(sorted(missing))}; it needs {', '.join(sorted(keys))}")
        for key, kind in (_OPTIONAL_KEYS | keys).items():
            if key in entry and not (isinstance(entry[key], kind) and _is_sane(entry[key])):
                shown = getattr(kind, "__name__", kind)
                raise PanopticError(
                    f"{where}[{number}]: {key} is {str(entry[key])[:80]!r}; expected a JSON value of type {shown}"
                )


def _is_sane(value: Any) -> bool:
    """Numbers, also those in lists, fit 64 bits; lists have no lists in them, but for those of `segments_info`."""
    if isinstance(value, list):
        return all(isinstance(item, dict) or type(item) in (int, float) and _is_sane(item) for item in value)
    return not isinstance(value, (int, float)) or abs(value) < 1 << 63


def labels_of(content: dict) -> tuple[Label, ...]:
    """The labels of a panoptic JSON, in its order; a category without a colour gets grey."""
    return tuple(
        Label(int(c["id"]), str(c["name"]), bool(c["isthing"]), tuple(c.get("color", (128, 128, 128))))
        for c in content["categories"]
    )


def categories_of(labels: tuple[Label, ...]) -> list[dict]:
    """The `categories` of a panoptic JSON."""
    return [{"id": label.id, "name": label.name, "isthing": int(label.thing), "color": list(label.color)} for label in labels]


def segments_info(ids: np.ndarray, category_of: dict[int, int]) -> list[dict]:
    """The `segments_info` of an annotation: id, category_id, area, bbox (x, y, width, height) of each id but 0 in `ids`.

    ids: (H, W) int. category_of: segment id -> category id. Raises PanopticError for an id without a category.
    """
    info = []
    unknown = set(np.unique(ids).tolist()) - {0} - set(category_of)
    if unknown:
        raise PanopticError(f"segment ids {sorted(unknown)} have no category")
    for segment in np.unique(ids[ids > 0]).tolist():
        mask = (ids == segment).astype(np.uint8)
        box = cv2.boundingRect(mask)
        area = int(cv2.countNonZero(mask))
        info.append({"id": segment, "category_id": category_of[segment], "area": area, "bbox": list(box), "iscrowd": 0})
    return info
