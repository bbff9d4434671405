"""A drawn data set in COCO panoptic layout: four frames of road, sky, two cars, and a crowd of persons."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from panoptic_ros import coco

ROAD, SKY, PERSON, CAR = 7, 23, 24, 26
CATEGORIES = [
    {"id": ROAD, "name": "road", "isthing": 0},
    {"id": SKY, "name": "sky", "isthing": 0},
    {"id": PERSON, "name": "person", "isthing": 1},
    {"id": CAR, "name": "car", "isthing": 1},
]
COLORS = {0: (0, 0, 0), 1: (128, 64, 128), 2: (70, 130, 180), 3: (220, 20, 60), 70000: (0, 200, 0), 500: (200, 200, 0)}
"""RGB of each segment id; 70000 needs all three channels of a panoptic PNG."""


def ids_of(frame: int) -> np.ndarray:
    """(64, 96) int32: 1 road, 2 sky, 70000 and 500 cars side by side, 3 a crowd of persons, 0 void in the top left corner."""
    ids = np.full((64, 96), 1, np.int32)
    ids[:24] = 2
    ids[:8, :8] = 0
    left = 10 + 4 * frame
    ids[20:44, left : left + 16], ids[20:44, left + 16 : left + 28] = 70000, 500
    ids[30:40, 70:90] = 3
    return ids


def write(root: Path, split: str = "train") -> Path:
    for folder in (split, f"panoptic_{split}"):
        (root / folder).mkdir(parents=True)
    images, annotations = [], []
    for frame in range(4):
        ids, pixels = ids_of(frame), np.zeros((64, 96, 3), np.uint8)
        for segment, color in COLORS.items():
            pixels[ids == segment] = color
        cv2.imwrite(str(root / split / f"{frame}.png"), pixels[..., ::-1])
        coco.write_ids(root / f"panoptic_{split}" / f"{frame}.png", ids)
        info = coco.segments_info(ids, {1: ROAD, 2: SKY, 3: PERSON, 70000: CAR, 500: CAR})
        for segment in info:
            segment["iscrowd"] = int(segment["id"] == 3)
        images.append({"id": 10 + frame, "file_name": f"{frame}.png"})
        annotations.append({"image_id": 10 + frame, "file_name": f"{frame}.png", "segments_info": info})
    content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (root / f"panoptic_{split}.json").write_text(json.dumps(content))
    return root


def edit(root: Path, change: Callable[[dict], object], split: str = "train") -> None:
    """Rewrite the JSON of a split after `change`."""
    file = root / f"panoptic_{split}.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
