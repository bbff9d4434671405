"""BDD100K panoptic segmentation, `labels/pan_seg/bitmasks/<split>/*.png`: RGBA values say what a segment is."""

from pathlib import Path

import numpy as np

from panoptic_ros.core import Label, PanopticError
from panoptic_ros.images import read_values
from training.metrics.panoptic_quality import Truth

_STUFF = (
    ("dynamic", (111, 74, 0)), ("ego vehicle", (0, 0, 0)), ("ground", (81, 0, 81)), ("static", (0, 0, 0)),
    ("parking", (250, 170, 160)), ("rail track", (230, 150, 140)), ("road", (128, 64, 128)),
    ("sidewalk", (244, 35, 232)), ("bridge", (150, 100, 100)), ("building", (70, 70, 70)), ("fence", (190, 153, 153)),
    ("garage", (180, 100, 180)), ("guard rail", (180, 165, 180)), ("tunnel", (150, 120, 90)),
    ("wall", (102, 102, 156)), ("banner", (250, 170, 100)), ("billboard", (220, 220, 250)),
    ("lane divider", (255, 165, 0)), ("parking sign", (220, 20, 60)), ("pole", (153, 153, 153)),
    ("polegroup", (153, 153, 153)), ("street light", (220, 220, 100)), ("traffic cone", (255, 70, 0)),
    ("traffic device", (220, 220, 220)), ("traffic light", (250, 170, 30)), ("traffic sign", (220, 220, 0)),
    ("traffic sign frame", (250, 170, 250)), ("terrain", (152, 251, 152)), ("vegetation", (107, 142, 35)),
    ("sky", (70, 130, 180)),
)  # fmt: skip
_THINGS = (
    ("person", (220, 20, 60)), ("rider", (255, 0, 0)), ("bicycle", (119, 11, 32)), ("bus", (0, 60, 100)),
    ("car", (0, 0, 142)), ("caravan", (0, 0, 90)), ("motorcycle", (0, 0, 230)), ("trailer", (0, 0, 110)),
    ("train", (0, 80, 100)), ("truck", (0, 0, 70)),
)  # fmt: skip

LABELS = tuple(
    Label(number, name, number > len(_STUFF), color) for number, (name, color) in enumerate((*_STUFF, *_THINGS), start=1)
)
"""The 40 classes with their official ids."""

IGNORE, CROWD = 1, 2
"""Bits of the second channel; 4 is occluded, 8 truncated."""


def files(root: Path, split: str) -> list[tuple[Path, Path]]:
    """Image and ids of each annotated frame, in the order of their names."""
    found = sorted((root / "labels" / "pan_seg" / "bitmasks" / split).glob("*.png"))
    return [(root / "images" / "10k" / split / f"{file.stem}.jpg", file) for file in found]


def truth_of(value: int) -> Truth | None:
    """Of an id of `read_ids`."""
    category = value >> 16 & 255
    return Truth(category, bool(value >> 24)) if 1 <= category <= len(LABELS) else None


def read_ids(path: Path) -> np.ndarray:
    """(H, W) int32: crowd << 24 | category << 16 | number; number 0 for stuff; 0 where nothing is labelled, or to be ignored.

    In the file: R the category, G attributes, B and A the number. Raises PanopticError if it is missing or not RGBA.
    """
    image = read_values(path)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 4:
        raise PanopticError(f"{path} is {image.dtype} {image.shape}; a bitmask of BDD100K is 8-bit RGBA")
    high, attributes, category, low = (image[..., c].astype(np.int32) for c in range(4))  # OpenCV has B, G, R, A
    thing = category > len(_STUFF)
    ids = category << 16 | thing * ((attributes & CROWD) << 23 | high << 8 | low)
    return np.where((attributes & IGNORE) | (category > len(LABELS)), 0, ids * (category > 0)).astype(np.int32)
