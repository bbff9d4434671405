"""Panoptic segmentations of any system: COCO panoptic JSON with a folder of PNGs, checked and read pair by pair."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from panoptic_ros import coco
from panoptic_ros.core import Label, PanopticError
from training.data.frames import truth_of
from training.metrics.frame_quality import Pair
from training.metrics.overlap import VOID, ids_in
from training.metrics.panoptic_quality import Truth


@dataclass(frozen=True, slots=True)
class Source:
    """A panoptic JSON; its PNGs lie in the folder of the same name."""

    file: Path
    content: dict
    labels: tuple[Label, ...]

    def read(self, annotation: dict, complete: bool) -> tuple[np.ndarray, dict[int, Truth]]:
        """Ids (H, W) of an annotation, and what they are. complete: every one of them must have pixels."""
        png = self.png(annotation)
        ids, segments = coco.read_ids(png), truth_of(annotation, self.labels, self.file)
        check_known(ids, segments.keys(), png, complete)
        return ids, segments

    def png(self, annotation: dict) -> Path:
        return self.file.with_suffix("") / annotation["file_name"]


def read_pairs(truth_json: Path, predicted_json: Path, pictures: Path | None = None) -> tuple[tuple[Label, ...], Iterator[Pair]]:
    """Labels of the ground truth, and its images one after the other with their predictions.

    pictures: the folder of the images. Predictions may carry a `score` for each segment; AP needs it. Raises PanopticError, at
    the latest when an image is reached, that names the file which is missing or inconsistent.
    """
    content = coco.read_json(truth_json)
    labels = coco.labels_of(content)
    truth, predicted = Source(truth_json, content, labels), Source(predicted_json, coco.read_json(predicted_json), labels)
    guesses = {annotation["image_id"]: annotation for annotation in predicted.content["annotations"]}
    missing = [f"{a['image_id']} ({a['file_name']})" for a in content["annotations"] if a["image_id"] not in guesses]
    if missing:
        raise PanopticError(f"{predicted_json} has no prediction for image {', '.join(missing[:3])}{' ...' * (len(missing) > 3)}")
    images = {image["id"]: image for image in content["images"]}
    return labels, (
        _read_pair(truth, true, predicted, guesses[true["image_id"]], images.get(true["image_id"], {}), pictures)
        for true in content["annotations"]
    )


def _read_pair(truth: Source, true: dict, predicted: Source, guess: dict, image: dict, pictures: Path | None) -> Pair:
    """true, guess: the annotations. image: the entry in `images`, for its picture and its sequence."""
    true_ids, true_segments = truth.read(true, complete=False)
    ids, segments = predicted.read(guess, complete=True)
    if ids.shape != true_ids.shape:
        raise PanopticError(f"{predicted.png(guess)} is {ids.shape}, the ground truth of its image {true_ids.shape}")
    scores = {segment["id"]: segment.get("score") for segment in guess["segments_info"]}
    return Pair(
        true["file_name"], true_ids, true_segments, ids, {i: segment.category for i, segment in segments.items()},
        scores=None if None in scores.values() else scores, sequence=image.get("sequence"),
        image=pictures / image["file_name"] if pictures and "file_name" in image else None,
    )  # fmt: skip


def check_known(ids: np.ndarray, known: set[int], file: Path, complete: bool = False) -> None:
    """Raises PanopticError if ids (H, W) has one that is not known; with `complete` also if a known one has no pixels."""
    present = ids_in(ids) - {VOID}
    absent, unknown = sorted(known - present) if complete else [], sorted(present - known)
    if absent or unknown:
        raise PanopticError(
            f"{file} does not fit its JSON: ids {absent} have no pixels, ids {unknown} are not in segments_info; "
            "add or remove them there, or set the pixels to 0 (void)"
        )
