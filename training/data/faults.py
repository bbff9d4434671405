"""What a data set consists of, and what is wrong with it; unlike the readers, it goes on after a fault."""

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from panoptic_ros import coco
from panoptic_ros.core import Label, PanopticError
from panoptic_ros.images import read_image
from training.data import layouts
from training.data.frames import read_frames, read_ids, whole_entries
from training.data.regions import indexed
from training.metrics.panoptic_quality import Truth


@dataclass
class Count:
    """Of a class. segments: crowds among them. pixels: as in the PNGs."""

    images: int = 0
    segments: int = 0
    crowds: int = 0
    pixels: int = 0


@dataclass
class Census:
    """Of a split. faults: kind -> where and what, one line each. void: pixels."""

    labels: tuple[Label, ...]
    images: int = 0
    void: int = 0
    classes: dict[int, Count] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.classes = {label.id: Count() for label in self.labels}

    def fault(self, kind: str, text: str) -> None:
        self.faults.setdefault(kind, []).append(text)

    def as_dict(self) -> dict:
        """For JSON."""
        classes = [dataclasses.asdict(label) | dataclasses.asdict(self.classes[label.id]) for label in self.labels]
        return {"images": self.images, "void_pixels": self.void, "classes": classes, "faults": self.faults}


@dataclass(frozen=True)
class Entry:
    """What a split says of an image. segments: of the JSON, each with id, category_id ...; None where ids tell by themselves."""

    name: str
    image: Path | None
    ids: Path
    segments: list[dict] | None
    truth: Mapping[int, Truth] | None = None


def census(root: Path, split: str, progress: Callable[[Iterable[Entry]], Iterable[Entry]] = iter) -> Census:
    """Reads every file of a split. Raises PanopticError only if the split as a whole cannot be read."""
    files = layouts.panoptic_files(root, split)
    if files:
        content = coco.read_json(files.json)
        with whole_entries(files.json):
            found = Census(coco.labels_of(content))
            entries = _entries(content, files, found)
    else:
        labels, frames = read_frames(root, split)
        found = Census(labels)
        entries = [Entry(frame.ids.name, frame.image, frame.ids, None, frame.truth) for frame in frames]
    for entry in progress(entries):
        _look_at(entry, found)
    return found


def _entries(content: dict, files: layouts.PanopticFiles, found: Census) -> list[Entry]:
    """Of a panoptic JSON; what is wrong with its lists goes to `found`."""
    images, entries = {image["id"]: image for image in content["images"]}, []
    for label_id, times in Counter(label.id for label in found.labels).items():
        if times > 1:
            found.fault("category listed twice", f"{label_id}")
    for annotation in content["annotations"]:
        image = images.get(annotation["image_id"])
        if image is None:
            found.fault("annotation without image", f"{annotation['file_name']} is of image {annotation['image_id']}")
        path = files.image_of(image) if image else None
        entries.append(Entry(annotation["file_name"], path, files.ids / annotation["file_name"], annotation["segments_info"]))
    for number in images.keys() - {annotation["image_id"] for annotation in content["annotations"]}:
        found.fault("image without annotation", f"{images[number]['file_name']}")
    return entries


def _look_at(entry: Entry, found: Census) -> None:
    found.images += 1
    shape = _image_shape(entry, found)
    try:
        ids = read_ids(entry.ids)
    except PanopticError as error:
        found.fault("missing file" if not os.path.exists(entry.ids) else "broken file", str(error))
        return
    if shape and shape != ids.shape:
        found.fault("image and ids differ in size", f"{entry.name} is {ids.shape}, its image {shape}")
    values, index = indexed(ids)
    area_of = dict(zip(values.tolist(), np.bincount(index.ravel()).tolist()))
    found.void += area_of.pop(0, 0)
    segments = entry.segments
    if segments is None:
        segments = [{"id": v, "category_id": entry.truth[v].category, "iscrowd": entry.truth[v].crowd} for v in area_of]
    _compare(entry.name, segments, area_of, found)
    _check_boxes(entry.name, segments, values, index, found)
    _count(segments, area_of, found)


def _image_shape(entry: Entry, found: Census) -> tuple[int, int] | None:
    if entry.image is None:
        return None
    try:
        return read_image(entry.image).shape[:2]
    except PanopticError as error:
        found.fault("missing file" if not os.path.exists(entry.image) else "broken file", str(error))
        return None


def _compare(name: str, segments: list[dict], area_of: dict[int, int], found: Census) -> None:
    """The ids and areas of a JSON with those of its PNG."""
    for number, times in Counter(segment["id"] for segment in segments).items():
        if times > 1:
            found.fault("id listed twice", f"{name}: {number}")
    listed = {segment["id"] for segment in segments}
    if unknown := sorted(area_of.keys() - listed):
        found.fault("ids absent from the JSON", f"{name}: {unknown}")
    if empty := sorted(listed - area_of.keys()):
        found.fault("ids without pixels", f"{name}: {empty}")
    said = {segment["id"]: segment["area"] for segment in segments if "area" in segment and segment["id"] in area_of}
    wrong = {number: area for number, area in said.items() if area != area_of[number]}
    for number, area in wrong.items():
        found.fault("wrong area", f"{name}: {number} has {area_of[number]} pixels, the JSON says {area}")
    claimed, there = sum(s.get("area", 0) for s in segments), sum(area_of.values())
    if wrong and claimed > there:
        found.fault("overlap", f"{name}: its areas add up to {claimed} pixels of {there}: segments hid others when painted")


def _check_boxes(name: str, segments: list[dict], values: np.ndarray, index: np.ndarray, found: Census) -> None:
    """The boxes (x, y, width, height) of a JSON with those of the pixels. index: (H,W), into values."""
    boxes = boxes_of(index, len(values))
    place = {value: number for number, value in enumerate(values.tolist())}
    for segment in segments:
        there = boxes[place[segment["id"]]] if segment["id"] in place else None
        if there and "bbox" in segment and list(there) != list(segment["bbox"]):
            found.fault("wrong box", f"{name}: {segment['id']} is in {list(there)}, the JSON says {segment['bbox']}")


def boxes_of(index: np.ndarray, count: int) -> list[tuple[int, int, int, int]]:
    """x, y, width, height of the pixels of each of 0..count-1 in index (H,W), in one pass; all of them occur."""
    sides = []
    for axis in (1, 0):
        first, last = np.full(count, max(index.shape)), np.zeros(count, int)
        for position, line in enumerate(index.swapaxes(0, axis)):
            here = np.unique(line)
            first[here] = np.minimum(first[here], position)
            last[here] = position
        sides.append((first, last - first + 1))
    (x, width), (y, height) = sides
    return list(zip(x.tolist(), y.tolist(), width.tolist(), height.tolist()))


def _count(segments: list[dict], area_of: dict[int, int], found: Census) -> None:
    things = {label.id: label.thing for label in found.labels}
    for category, times in Counter(segment["category_id"] for segment in segments).items():
        if category not in things:
            found.fault("unknown category", f"{category}, {times} times")
            continue
        mine = [segment for segment in segments if segment["category_id"] == category]
        count = found.classes[category]
        count.images += 1
        count.segments += times
        count.crowds += sum(bool(segment.get("iscrowd")) for segment in mine)
        count.pixels += sum(area_of.get(segment["id"], 0) for segment in mine)
