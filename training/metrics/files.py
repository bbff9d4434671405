"""Panoptic segmentations of any system: COCO panoptic JSON with a folder of PNGs, checked and read pair by pair."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from panoptic_ros import coco
from panoptic_ros.core import Label, PanopticError
from training.data.frames import truth_of
from training.metrics.frame_quality import Pair
from training.metrics.overlap import VOID, ids_in


def read_pairs(truth_json: Path, predicted_json: Path, pictures: Path | None = None) -> tuple[tuple[Label, ...], Iterator[Pair]]:
    """Labels of the ground truth, and its images one after the other with their predictions; PNGs lie in the JSON's namesake.

    pictures: the folder of the images. Predictions may carry a `score` for each segment; AP needs it. Raises PanopticError, at
    the latest when an image is reached, that names the file which is missing or inconsistent.
    """
    truth, predicted = coco.read_json(truth_json), coco.read_json(predicted_json)
    labels = coco.labels_of(truth)
    guesses = {annotation["image_id"]: annotation for annotation in predicted["annotations"]}
    missing = [true for true in truth["annotations"] if true["image_id"] not in guesses]
    if missing:
        names = ", ".join(f"{true['image_id']} ({true['file_name']})" for true in missing[:3])
        raise PanopticError(f"{predicted_json} has no prediction for image {names}{' ...' * (len(missing) > 3)}")
    images = {image["id"]: image for image in truth["images"]}
    pairs = (
        _read_pair(
            true, guesses[true["image_id"]], labels, truth_json, predicted_json, images.get(true["image_id"], {}), pictures
        )
        for true in truth["annotations"]
    )
    return labels, pairs


def _read_pair(
    true: dict, guess: dict, labels: tuple[Label, ...], truth_json: Path, predicted_json: Path, image: dict, pictures: Path | None
) -> Pair:
    truth, guessed = truth_of(true, labels, truth_json), truth_of(guess, labels, predicted_json)
    true_file, guessed_file = (j.with_suffix("") / a["file_name"] for j, a in ((truth_json, true), (predicted_json, guess)))
    true_ids, guessed_ids = coco.read_ids(true_file), coco.read_ids(guessed_file)
    if guessed_ids.shape != true_ids.shape:
        raise PanopticError(f"{guessed_file} is {guessed_ids.shape}, the ground truth of its image {true_ids.shape}")
    check_known(true_ids, truth.keys(), true_file)
    check_known(guessed_ids, guessed.keys(), guessed_file, complete=True)
    picture = pictures / image["file_name"] if pictures and "file_name" in image else None
    scores = {segment["id"]: segment.get("score") for segment in guess["segments_info"]}
    return Pair(
        true["file_name"], true_ids, truth, guessed_ids, {i: segment.category for i, segment in guessed.items()},
        None if None in scores.values() else scores, image.get("sequence"), picture,
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
