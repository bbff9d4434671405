"""Does an engine give the answers of another one? For what was exported, compiled or rounded, against what it was made from."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from panoptic_ros.core import Engine, PanopticError, Slots
from panoptic_ros.engine import open_engine
from panoptic_ros.images import frames
from panoptic_ros.manifest import Manifest
from panoptic_ros.preprocess import geometry, letterbox
from panoptic_ros.sources import STREET_CLIP


@dataclass(frozen=True, slots=True)
class Agreement:
    """pixels: part of the grid with the same answer, mean over the images. worst: of the image with the least.
    angle, worst_angle: the largest between the embeddings of an object found by both, degrees, in 95 % of the images and in all
    of them. Up to 19 images they are the same.
    """

    pixels: float
    worst: float
    angle: float
    worst_angle: float

    def __str__(self) -> str:
        shares = f"{100 * self.pixels:.2f} % of the pixels agree, {100 * self.worst:.2f} % in the worst image"
        return f"{shares}; embeddings differ by up to {self.angle:.1f} degrees, {self.worst_angle:.1f} in the worst"


@dataclass(frozen=True, slots=True)
class Limits:
    """The least `Agreement.pixels`, the largest `Agreement.angle`, and the largest loss of PQ (0..100) on true segments."""

    pixels: float
    angle: float
    pq: float


LIMITS = {
    "fp32": Limits(0.999, 1.0, 0.1),
    "fp16": Limits(0.99, 30.0, 0.1),
    "bf16": Limits(0.94, 30.0, 1.0),
    "int8": Limits(0.94, 30.0, 1.0),
    "int8+bf16": Limits(0.94, 30.0, 1.0),
}
"""By precision. A few pixels and degrees mean little: where two seeds of an object are equally sure, rounding decides between
them, and with the seed go its embedding and its outline. PQ counts, where true segments are at hand."""


def verify_engine(model: Manifest, engine: Engine, precision: str, images: Iterable[np.ndarray]) -> Agreement:
    """What an opened engine of `model` shares with the FP32 file on a CPU, for a robot, which has no checkpoint.

    images: (1,h,w,3) uint8. Raises PanopticError past the limits of `precision`, or without a CPU backend.
    """
    if model.precision != "fp32":
        raise PanopticError(f"{model.onnx} is of {model.precision}; an engine is compared with the model's fp32 file")
    found = agreement(open_engine(model), engine, images)
    check(found, precision, model.model)
    return found


def clip_images(size: tuple[int, int], count: int = 4) -> list[np.ndarray]:
    """Evenly spaced images of the bundled clip as engine inputs, each (1,h,w,3) uint8."""
    clip = list(frames(STREET_CLIP))
    chosen = clip[:: len(clip) // count][:count]
    return [letterbox(frame, geometry(frame.shape[:2], size, 1)) for frame in chosen]


def agreement(reference: Engine, engine: Engine, images: Iterable[np.ndarray]) -> Agreement:
    """Both on the same images, each (1,h,w,3) uint8, at least one."""
    each = []
    for image in images:
        expected = reference.run(image)
        kept = Slots(*(getattr(expected, field.name).copy() for field in dataclasses.fields(Slots)))  # if both are one engine
        each.append(compare(kept, engine.run(image)))
    shares = [pixels for pixels, _ in each]
    angles = [angle for _, angle in each]
    usual = float(np.percentile(angles, 95, method="inverted_cdf"))
    return Agreement(float(np.mean(shares)), min(shares), usual, max(angles))


def compare(expected: Slots, found: Slots) -> tuple[float, float]:
    """Part of the grid with the same answer, and the largest angle between embeddings of one object, in degrees.

    Slots are matched by their pixels, because their order depends on the last bits of their scores: two of one category are the
    same segment if their intersection is more than half of their union, which no two others can then claim.
    """
    counts = np.bincount(expected.ids.ravel() * np.intp(256) + found.ids.ravel(), minlength=256 * 256).reshape(256, 256)
    union = counts.sum(1, keepdims=True) + counts.sum(0) - counts
    same, angle = int(counts[0, 0]), 0.0
    for a, b in zip(*np.nonzero(2 * counts > union)):
        if a and b and expected.category[a - 1] == found.category[b - 1]:
            same += int(counts[a, b])
            angle = max(angle, _degrees(expected.embedding[a - 1], found.embedding[b - 1]))
    return same / expected.ids.size, angle


def check(found: Agreement, precision: str, name: str) -> None:
    """Raises PanopticError if that is past the limits of `precision`."""
    limits = LIMITS[precision]
    if found.pixels < limits.pixels or found.angle > limits.angle:
        raise PanopticError(
            f"{name} {precision}: {found}; the limits are {100 * limits.pixels:.1f} % and {limits.angle:.0f} degrees"
        )


def _degrees(a: np.ndarray, b: np.ndarray) -> float:
    """Between two unit vectors; zero for a slot without an embedding (all zeros) in both."""
    if not a.any() and not b.any():
        return 0.0
    return float(np.degrees(2 * np.arcsin(min(np.linalg.norm(a - b) / 2, 1.0))))  # acos is blind near 1
