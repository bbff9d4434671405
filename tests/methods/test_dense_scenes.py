"""Dense detections: the ideal output for real ground truth decodes to it, as that of drawn scenes does in test_scenes.py.

Ground truth is taken at the cells of the decoding grid, and its classes are folded to those of `scene.LABELS`.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from panoptic_ros import coco
from panoptic_ros.core import PanopticError
from tests.methods.ideal_dense import STRIDE, decode
from tests.methods.scene import CAR, PERSON, ROAD, SKY, Scene, found_segments


@cache
def photos(folder: Path) -> dict[str, Scene]:
    content = coco.read_json(folder / "panoptic_examples.json")
    things = {category["id"]: bool(category["isthing"]) for category in content["categories"]}
    found = {}
    for annotation in content["annotations"]:
        ids = coco.read_ids(folder / "panoptic_examples" / annotation["file_name"])
        known = {info["id"]: info["category_id"] for info in annotation["segments_info"] if not info["iscrowd"]}
        found[annotation["file_name"]] = scene_of(ids, known, things)
    return found


def street(seed: int) -> Scene:
    """A rendered scene; skips, and says why, where none can be rendered."""
    pytest.importorskip("mujoco", reason="MuJoCo is not installed: street scenes cannot be rendered")
    from training.data.street.generate import frames
    from training.data.street.labels import LABELS

    try:
        frame = next(frames(seed, 1, 1.0, (256, 512)))
    except PanopticError as error:
        pytest.skip(str(error))
    return scene_of(frame.ids, frame.categories, {label.id: label.thing for label in LABELS})


def scene_of(ids: np.ndarray, category_of: dict[int, int], things: dict[int, bool]) -> Scene:
    """ids: (H,W) of the segments that `category_of` knows; the others are void. things: by category."""
    cells = ids[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
    semantic, instance, objects = np.full(cells.shape, -1), np.full(cells.shape, -1), 0
    for value in np.intersect1d(cells, list(category_of)).tolist():
        category, mask = category_of[value], cells == value
        semantic[mask] = ((PERSON, CAR) if things[category] else (SKY, ROAD))[category % 2]
        if things[category]:
            instance[mask], objects = objects, objects + 1
    return Scene(semantic, instance, np.linspace(0.7, 0.99, objects))


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["000000142238.png", "000000439180.png"])
def test_photos(name: str, shared_data: Path) -> None:
    scene = photos(shared_data / "coco_panoptic_sample")[name]
    ids, category, *_ = decode(scene)
    assert found_segments(ids, category) == scene.segments() and len(scene.confidence) > 10


@pytest.mark.parametrize("seed", range(4))
def test_street(seed: int) -> None:
    scene = street(seed)
    ids, category, *_ = decode(scene)
    assert found_segments(ids, category) == scene.segments() and len(scene.confidence) > 10
