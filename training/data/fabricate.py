"""Small made-up data sets in the folders of the real ones: for tests, and for trying a recipe before its data is there."""

import colorsys
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from panoptic_ros import coco
from panoptic_ros.core import Label, PanopticError
from training.data import bdd100k, cityscapes
from training.data.layouts import cityscapes_image
from training.data.street.labels import LABELS as CITYSCAPES

CELLS = 4, 6
"""Rows and columns of segments in a frame."""


def numbered(stuff: int, things: int) -> tuple[Label, ...]:
    """As many classes as a data set has, for one whose names come with its files."""
    shades = (tuple(round(255 * c) for c in colorsys.hsv_to_rgb(n * 0.618 % 1, 0.7, 0.9)) for n in range(stuff + things))
    names = [*(f"stuff {n}" for n in range(1, stuff + 1)), *(f"thing {n}" for n in range(1, things + 1))]
    return tuple(Label(n, name, n > stuff, color) for n, (name, color) in enumerate(zip(names, shades), start=1))


@dataclass(frozen=True)
class Frame:
    """name: of its files, without ending. category: (H,W) `Label.id`, 0 void. number: (H,W) of the object, 0 none."""

    name: str
    image: np.ndarray
    category: np.ndarray
    number: np.ndarray

    @property
    def ids(self) -> np.ndarray:
        """(H,W) a COCO panoptic id for each segment."""
        return self.category * 256 + self.number


def draw(name: str, size: tuple[int, int], labels: tuple[Label, ...], first: int) -> Frame:
    """A chequerboard of segments, of classes in turn from label `first` on, with a void corner. Noise keeps the cells apart."""
    height, width = size
    rows, columns = np.arange(height) * CELLS[0] // height, np.arange(width) * CELLS[1] // width
    cell = rows[:, None] * CELLS[1] + columns  # H,W
    chosen = [labels[(first + n) % len(labels)] for n in range(CELLS[0] * CELLS[1])]
    category = np.array([label.id for label in chosen], np.int32)[cell]
    number = np.array([(n + 1) * label.thing for n, label in enumerate(chosen)], np.int32)[cell]
    image = np.array([label.color for label in chosen])[cell] + np.random.default_rng(first).integers(-20, 21, (*size, 3))
    corner = cell == 0
    return Frame(name, image.clip(0, 255).astype(np.uint8), np.where(corner, 0, category), np.where(corner, 0, number))


def _image(file: Path, frame: Frame) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), frame.image[..., ::-1])


def _panoptic(json_file: Path, ids: Path, entries: Iterable[tuple[Frame, dict, str]], labels: tuple[Label, ...]) -> None:
    """A JSON and its PNGs. entries: frame, entry of `images`, name of the PNG."""
    ids.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for frame, image, png in entries:
        coco.write_ids(ids / png, frame.ids)
        info = coco.segments_info(frame.ids, {value: value // 256 for value in np.unique(frame.ids).tolist()})
        images.append(image | {"height": frame.ids.shape[0], "width": frame.ids.shape[1]})
        annotations.append({"image_id": image["id"], "file_name": png, "segments_info": info})
    content = {"images": images, "annotations": annotations, "categories": coco.categories_of(labels)}
    json_file.write_text(json.dumps(content))


def _beside(folder: str) -> Callable[[Path, str, list[Frame], tuple[Label, ...]], None]:
    """Ours, or with folder `annotations` COCO's."""

    def write(root: Path, split: str, frames: list[Frame], labels: tuple[Label, ...]) -> None:
        for frame in frames:
            _image(root / split / f"{frame.name}.jpg", frame)
        entries = [(f, {"id": n, "file_name": f"{f.name}.jpg"}, f"{f.name}.png") for n, f in enumerate(frames)]
        _panoptic(root / folder / f"panoptic_{split}.json", root / folder / f"panoptic_{split}", entries, labels)

    return write


def _cityscapes(root: Path, split: str, frames: list[Frame], labels: tuple[Label, ...]) -> None:
    for frame in frames:
        _image(root / "leftImg8bit" / split / cityscapes_image(frame.name), frame)
        file = root / "gtFine" / split / frame.name.partition("_")[0] / f"{frame.name}{cityscapes.IDS}"
        file.parent.mkdir(parents=True, exist_ok=True)
        values = np.where(frame.number > 0, frame.category * 1000 + frame.number, frame.category)
        cv2.imwrite(str(file), values.astype(np.uint16))


def _cityscapes_panoptic(root: Path, split: str, frames: list[Frame], labels: tuple[Label, ...]) -> None:
    for frame in frames:
        _image(root / "leftImg8bit" / split / cityscapes_image(frame.name), frame)
    entries = [
        (f, {"id": f.name, "file_name": f"{f.name}_gtFine_leftImg8bit.png"}, f"{f.name}_gtFine_panoptic.png") for f in frames
    ]
    folder = root / "gtFine" / f"cityscapes_panoptic_{split}"
    _panoptic(folder.with_suffix(".json"), folder, entries, labels)


def _vistas(root: Path, split: str, frames: list[Frame], labels: tuple[Label, ...]) -> None:
    for frame in frames:
        _image(root / split / "images" / f"{frame.name}.jpg", frame)
    entries = [(f, {"id": f.name, "file_name": f"{f.name}.jpg"}, f"{f.name}.png") for f in frames]
    folder = root / split / "v1.2" / "panoptic"
    _panoptic(folder / "panoptic_2018.json", folder, entries, labels)


def _bdd100k(root: Path, split: str, frames: list[Frame], labels: tuple[Label, ...]) -> None:
    masks = root / "labels" / "pan_seg" / "bitmasks" / split
    masks.mkdir(parents=True, exist_ok=True)
    for frame in frames:
        _image(root / "images" / "10k" / split / f"{frame.name}.jpg", frame)
        nothing = np.zeros_like(frame.number)
        channels = frame.number >> 8, nothing, frame.category, frame.number & 255  # B, G, R, A
        cv2.imwrite(str(masks / f"{frame.name}.png"), np.stack(channels, -1).astype(np.uint8))


@dataclass(frozen=True)
class Layout:
    """Labels, size of a frame (h, w), and what writes a split: (root, split, frames, labels)."""

    labels: tuple[Label, ...]
    size: tuple[int, int]
    write: Callable[[Path, str, list[Frame], tuple[Label, ...]], None]


LAYOUTS = {
    "panoptic": Layout(CITYSCAPES, (360, 480), _beside("")),
    "coco": Layout(numbered(53, 80), (480, 640), _beside("annotations")),
    "cityscapes": Layout(CITYSCAPES, (1024, 2048), _cityscapes),
    "cityscapes_panoptic": Layout(CITYSCAPES, (1024, 2048), _cityscapes_panoptic),
    "vistas": Layout(numbered(28, 37), (2448, 3264), _vistas),
    "bdd100k": Layout(bdd100k.LABELS, (720, 1280), _bdd100k),
}
"""Name -> as its archives unpack."""


def write(name: str, root: Path, splits: Iterable[str], frames: int = 2, size: tuple[int, int] | None = None) -> Path:
    """A data set in the layout `name` with so many frames in each split; returns `root`. size: (h, w), default the real one's.

    Raises PanopticError for a layout that does not exist.
    """
    if name not in LAYOUTS:
        raise PanopticError(f"unknown layout {name!r}; there are {', '.join(LAYOUTS)}")
    layout = LAYOUTS[name]
    for split in splits:
        drawn = [draw(f"madeup_{n:06d}_000019", size or layout.size, layout.labels, 7 * n) for n in range(frames)]
        layout.write(root, split, drawn, layout.labels)
    return root
