"""Cityscapes' own annotation, `gtFine/<split>/<city>/*_gtFine_instanceIds.png`: the values themselves say what a segment is."""

from pathlib import Path

import numpy as np

from panoptic_ros.core import PanopticError
from panoptic_ros.images import read_values
from training.data.layouts import CITYSCAPES_IMAGE
from training.data.street.labels import LABELS
from training.metrics.panoptic_quality import Truth

IDS = "_gtFine_instanceIds.png"
_THINGS = {label.id: label.thing for label in LABELS}


def files(root: Path, split: str) -> list[tuple[Path, Path]]:
    """Image and ids of each annotated frame, in the order of their names."""
    found = sorted((root / "gtFine" / split).glob(f"*/*{IDS}"))
    images = root / "leftImg8bit" / split
    return [(images / file.parent.name / (file.name.removesuffix(IDS) + CITYSCAPES_IMAGE), file) for file in found]


def truth_of(value: int) -> Truth | None:
    """Of a pixel value: category, or 1000 category + number for an object; None for what the benchmark does not count.

    A category of things without a number is a group of objects: a crowd.
    """
    category = value // 1000 if value >= 1000 else value
    return Truth(category, _THINGS[category] and value < 1000) if category in _THINGS else None


def read_ids(path: Path) -> np.ndarray:
    """(H, W) int32, 0 where nothing counts. Raises PanopticError if the file is missing or no grey image."""
    values = read_values(path)
    if values.ndim != 2 or values.dtype not in (np.uint8, np.uint16):
        raise PanopticError(f"{path} is {values.dtype} {values.shape}; instance ids of Cityscapes are a grey PNG")
    return _COUNTED[values]


_COUNTED = np.array([value if truth_of(value) else 0 for value in range(1 << 16)], np.int32)
