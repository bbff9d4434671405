"""Segment image files: overlays and COCO panoptic PNG + JSON into a folder."""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from panoptic_ros import coco
from panoptic_ros.commands.model_arguments import add_model_arguments, open_model
from panoptic_ros.core import Label, Panoptic, PanopticError, Segment
from panoptic_ros.draw import overlay
from panoptic_ros.images import image_files, read_image
from panoptic_ros.pipeline import Pipeline
from panoptic_ros.tracker import Tracker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", type=Path, metavar="FILE_OR_FOLDER", help="images, or folders of images")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="gets overlay/, panoptic/ and panoptic.json")
    parser.add_argument("--track", action="store_true", help="the images are a sequence: follow the objects through it")
    parser.add_argument("--rate", type=float, default=10.0, metavar="HZ", help="of the sequence (default: %(default)s)")
    add_model_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """A bad image is reported and skipped; the exit status is 1 if there was any."""
    if not args.rate > 0:
        raise PanopticError(f"rate {args.rate} is not possible: images per second, above 0")
    files = image_files(args.inputs)
    model, engine = open_model(args)
    pipeline = Pipeline(engine, model, Tracker(model.labels) if args.track else None)
    output = _Output(args.out, model.labels)
    for index, file in enumerate(files):
        try:
            frame = read_image(file)
            panoptic = pipeline(frame, round(index * 1e9 / args.rate))
        except PanopticError as error:
            print(f"skipped: {error}", file=sys.stderr)
            continue
        output.add(file, frame, panoptic)
        print(f"{file}: {_summary(panoptic, model.labels)}")
    output.close()
    print(f"{len(output.images)} of {len(files)} images segmented into {args.out}")
    return 0 if len(output.images) == len(files) else 1


class _Output:
    """The folder that a run writes. Images of one name from different folders are told apart by a number."""

    def __init__(self, folder: Path, labels: tuple[Label, ...]) -> None:
        self.images: list[dict] = []
        self._annotations: list[dict] = []
        self._names: Counter[str] = Counter()
        self._folder, self._labels = folder, labels
        try:
            for part in ("overlay", "panoptic"):
                (folder / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PanopticError(f"cannot write into {folder}: {error.strerror}") from error

    def add(self, file: Path, frame: np.ndarray, panoptic: Panoptic) -> None:
        """Writes the overlay and the panoptic PNG, and notes what `close` writes."""
        self._names[file.stem] += 1
        count = self._names[file.stem]
        name = f"{file.stem}.png" if count == 1 else f"{file.stem}~{count}.png"
        coco.write_ids(self._folder / "panoptic" / name, panoptic.ids)
        picture = self._folder / "overlay" / name
        if not cv2.imwrite(str(picture), cv2.cvtColor(overlay(frame, panoptic, self._labels), cv2.COLOR_RGB2BGR)):
            raise PanopticError(f"cannot write {picture}")
        number, (height, width) = len(self.images) + 1, panoptic.ids.shape
        info = [_segment_info(segment) for segment in panoptic.segments]
        self.images.append({"id": number, "file_name": str(file), "height": height, "width": width})
        self._annotations.append({"image_id": number, "file_name": name, "segments_info": info})

    def close(self) -> None:
        """Writes panoptic.json."""
        categories = coco.categories_of(self._labels)
        content = {"images": self.images, "annotations": self._annotations, "categories": categories}
        (self._folder / "panoptic.json").write_text(json.dumps(content))


def _segment_info(segment: Segment) -> dict:
    """As `coco.segments_info`, with the score, and the track of a confirmed thing."""
    x0, y0, x1, y1 = segment.box
    info = {
        "id": segment.id, "category_id": segment.category, "area": segment.area, "bbox": [x0, y0, x1 - x0, y1 - y0],
        "iscrowd": 0, "score": round(segment.score, 4),
    }  # fmt: skip
    return info if segment.track is None else info | {"track": segment.track}


def _summary(panoptic: Panoptic, labels: tuple[Label, ...]) -> str:
    counts = Counter(segment.category for segment in panoptic.segments)
    return ", ".join(f"{counts[label.id]} {label.name}" for label in labels if counts[label.id]) or "nothing"
