"""A data set's images in the order of their sequences, with their true segments, whatever its layout."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from panoptic_ros import coco
from panoptic_ros.core import Label, PanopticError
from panoptic_ros.images import read_image
from training.data import bdd100k, cityscapes, layouts
from training.data.layouts import PanopticFiles
from training.data.street.labels import LABELS as CITYSCAPES_LABELS
from training.metrics.panoptic_quality import Truth

DATA = Path("data")
"""Where a data set that is given by its name lies."""

STEP_NS = 100_000_000
"""Between the frames of a sequence whose images carry no stamps."""


@dataclass(frozen=True, slots=True)
class TrueFrame:
    """One image, its ids and what they are. sequence: None if it belongs to none. truth: segment id -> what it is."""

    image: Path
    ids: Path
    truth: Mapping[int, Truth]
    sequence: str | None
    stamp_ns: int


class EncodedTruth(Mapping[int, Truth]):
    """The segments of a file whose ids themselves say what they are. The file is read when they are first listed, not before."""

    def __init__(self, ids: Path, truth_of: Callable[[int], Truth | None]) -> None:
        self._ids, self._truth_of = ids, truth_of

    def __getitem__(self, value: int) -> Truth:
        truth = self._truth_of(value)
        if truth is None:
            raise KeyError(value)
        return truth

    @cached_property
    def _values(self) -> list[int]:
        return [value for value in np.unique(read_ids(self._ids)).tolist() if value]

    def __iter__(self) -> Iterator[int]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def locate(dataset: str) -> tuple[Path, str]:
    """Folder and split of `street:val` (in `data/`) or `PATH:SPLIT`. Raises PanopticError naming the choices."""
    name, colon, split = dataset.rpartition(":")
    if not (name and colon and split):
        raise PanopticError(f"data set {dataset!r} is not NAME:SPLIT or PATH:SPLIT, such as street:val")
    folders = [folder for folder in (Path(name), DATA / name) if os.path.isdir(folder)]
    if not folders:
        here = ", ".join(sorted(f.name for f in DATA.iterdir() if f.is_dir())) if DATA.is_dir() else ""
        raise PanopticError(f"there is no data set {name!r}: no folder {name} or {DATA / name}; {DATA}/ has {here or 'none'}")
    splits = layouts.splits(folders[0])
    if split not in splits:
        raise PanopticError(f"{folders[0]} has no split {split!r}: splits are {', '.join(splits) or 'none'}")
    return folders[0], split


def read_frames(root: Path, split: str) -> tuple[tuple[Label, ...], list[TrueFrame]]:
    """Labels and frames of a split, by sequence and frame number. Raises PanopticError for what its files contradict or lack.

    Layouts: docs/architecture.md, COCO, Cityscapes (with or without its panoptic JSON), Mapillary Vistas, BDD100K.
    """
    if not os.path.isdir(root):
        raise PanopticError(f"{root} is no folder of a data set")
    files = layouts.panoptic_files(root, split)
    if files:
        with whole_entries(files.json):
            labels, frames = _read_panoptic(files)
        return labels, _complete(files.json, frames)
    for kind, labels in ((cityscapes, CITYSCAPES_LABELS), (bdd100k, bdd100k.LABELS)):
        pairs = kind.files(root, split)
        if pairs:
            frames = [TrueFrame(image, ids, EncodedTruth(ids, kind.truth_of), None, 0) for image, ids in pairs]
            return labels, _complete(root, frames)
    raise PanopticError(
        f"{root} has no split {split!r}: there is no panoptic_{split}.json in it or in its `annotations`, nor the folders of "
        f"Cityscapes, Mapillary Vistas or BDD100K; its splits are {', '.join(layouts.splits(root)) or 'none'}"
    )


def _read_panoptic(files: PanopticFiles) -> tuple[tuple[Label, ...], list[TrueFrame]]:
    content = coco.read_json(files.json)
    labels = coco.labels_of(content)
    images = {image["id"]: image for image in content["images"]}
    frames = []
    for annotation in content["annotations"]:
        if annotation["image_id"] not in images:
            raise PanopticError(
                f"{files.json}: {annotation['file_name']} is of image {annotation['image_id']}, which is not in `images`"
            )
        image = images[annotation["image_id"]]
        number = int(image.get("frame", 0))
        paths = files.image_of(image), files.ids / annotation["file_name"]
        truth, stamp_ns = truth_of(annotation, labels, files.json), int(image.get("stamp_ns", number * STEP_NS))
        frame = TrueFrame(*paths, truth, image.get("sequence"), stamp_ns)
        frames.append((frame.sequence or "", number, frame))
    return labels, [frame for *_, frame in sorted(frames, key=lambda entry: entry[:2])]


@contextmanager
def whole_entries(file: Path) -> Iterator[None]:
    """Raises PanopticError, naming `file`, where an entry of it lacks a key."""
    try:
        yield
    except KeyError as error:
        raise PanopticError(f"{file}: an image, annotation, segment or category lacks {error}") from error


def _complete(source: Path, frames: list[TrueFrame]) -> list[TrueFrame]:
    """The same frames. Raises PanopticError if files of them are missing, or there are none. source: what lists them."""
    missing = [str(path) for frame in frames for path in (frame.image, frame.ids) if not os.path.isfile(path)]
    if missing or not frames:
        shown = ", ".join(missing[:3]) or "it lists no images"
        raise PanopticError(
            f"{source}: {len(missing)} of its {2 * len(frames)} files are missing: {shown}; python -m training.inspect lists all"
        )
    return frames


def truth_of(annotation: dict, labels: tuple[Label, ...], file: Path) -> dict[int, Truth]:
    """Segment id -> Truth of a COCO panoptic annotation. Raises PanopticError, naming `file`, for an unknown category."""
    known = {label.id: label.name for label in labels}
    segments = annotation["segments_info"]
    unknown = {s["category_id"] for s in segments} - set(known)
    if unknown:
        names = ", ".join(f"{i} {name}" for i, name in known.items())
        raise PanopticError(f"{file}: {annotation['file_name']} has categories {sorted(unknown)}; the labels are {names}")
    return {s["id"]: Truth(s["category_id"], bool(s.get("iscrowd", 0))) for s in segments}


def read_pair(image: Path, ids: Path) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) uint8 RGB and true ids (H, W) int32. Raises PanopticError unless both can be read and have one size."""
    pixels, true_ids = read_image(image), read_ids(ids)
    if pixels.shape[:2] != true_ids.shape:
        raise PanopticError(f"{ids} is {true_ids.shape}, its image {image.name} {pixels.shape[:2]}")
    return pixels, true_ids


def read_ids(path: Path) -> np.ndarray:
    """(H, W) int32 ids of any layout's file, which its name tells. Raises PanopticError if it is something else."""
    if path.name.endswith(cityscapes.IDS):
        return cityscapes.read_ids(path)
    return bdd100k.read_ids(path) if "bitmasks" in path.parts else coco.read_ids(path)
