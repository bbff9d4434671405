"""Instance AP (Lin et al., COCO, 2014) by pycocotools, of the masks of things in panoptic segmentations.

Masks that cannot overlap are at a disadvantage against the overlapping ones of a detector.
"""

from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO

import numpy as np
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from panoptic_ros.core import Label
from training.metrics.panoptic_quality import Truth

MAX_DETECTIONS = 100
"""For each image and class."""


@dataclass(frozen=True, slots=True)
class Precision:
    """ap: mean over IoU thresholds 0.5, 0.55 ... 0.95; ap50 and ap75: at one of them. 0..1."""

    ap: float
    ap50: float
    ap75: float


class AveragePrecision:
    """Accumulates images. Crowds are regions where nothing is held against a prediction, as in COCO."""

    def __init__(self, labels: tuple[Label, ...]) -> None:
        self.things = [label.id for label in labels if label.thing]
        self._images: list[dict] = []
        self._truths: list[dict] = []
        self._guesses: list[dict] = []

    def add(
        self, truth_ids: np.ndarray, truth: Mapping[int, Truth], predicted_ids: np.ndarray, predicted: Mapping[int, int],
        scores: Mapping[int, float],
    ) -> None:  # fmt: skip
        """One image. truth_ids, predicted_ids: (H, W) int. predicted: segment id -> category. scores: segment id -> score."""
        height, width = truth_ids.shape
        self._images.append({"id": len(self._images) + 1, "height": height, "width": width})
        truth_ids, predicted_ids = np.asfortranarray(truth_ids), np.asfortranarray(predicted_ids)
        for i, segment in truth.items():
            if segment.category in self.things:
                found = self._annotation(truth_ids == i, segment.category, len(self._truths))
                self._truths.append(found | {"iscrowd": int(segment.crowd)})
        for i, category in predicted.items():
            if category in self.things:
                found = self._annotation(predicted_ids == i, category, len(self._guesses))
                self._guesses.append(found | {"score": scores[i]})

    def score(self) -> tuple[Precision | None, dict[int, Precision]]:
        """Mean over the thing classes that the ground truth has (None without any), and of each of them by `Label.id`."""
        if not any(not truth["iscrowd"] for truth in self._truths):
            return None, {}
        with redirect_stdout(StringIO()):
            evaluation = COCOeval(self._coco(self._truths), self._coco(self._guesses), "segm")
            evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
            evaluation.params.maxDets = [MAX_DETECTIONS]
            evaluation.evaluate()
            evaluation.accumulate()
        precision = evaluation.eval["precision"][..., 0, 0]  # threshold, recall, class; -1 without ground truth
        present = (precision > -1).all((0, 1))
        classes = {category: _mean(precision[..., k]) for k, category in enumerate(evaluation.params.catIds) if present[k]}
        return _mean(precision[..., present]), classes

    def _annotation(self, inside: np.ndarray, category: int, number: int) -> dict:
        """inside: (H, W) bool, in Fortran order."""
        return {
            "id": number + 1, "image_id": len(self._images), "category_id": category, "iscrowd": 0,
            "segmentation": mask.encode(inside.view(np.uint8)), "area": int(inside.sum()),
        }  # fmt: skip

    def _coco(self, annotations: list[dict]) -> COCO:
        coco = COCO()
        coco.dataset = {"images": self._images, "annotations": annotations, "categories": [{"id": i} for i in self.things]}
        coco.createIndex()
        return coco


def _mean(precision: np.ndarray) -> Precision:
    """precision: (10, ...) of the IoU thresholds."""
    return Precision(float(precision.mean()), float(precision[0].mean()), float(precision[5].mean()))
