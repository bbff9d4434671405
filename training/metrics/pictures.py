"""An image, its ground truth and its prediction side by side, with what was found, missed and made up."""

import base64
from collections.abc import Mapping

import cv2
import numpy as np

from panoptic_ros.core import Label, Segment, pixel_value
from panoptic_ros.draw import segment_color
from panoptic_ros.images import read_image
from training.metrics.frame_quality import Pair
from training.metrics.overlap import VOID, overlap_of
from training.metrics.panoptic_quality import matches

WIDTH = 640
"""Pixels of a picture in the report; a larger image is shrunk."""

QUALITY = 85
OPACITY = 0.65
RED, WHITE, DARK = (255, 40, 40), (255, 255, 255), (30, 33, 38)

Color = tuple[int, int, int]


def pictures(pair: Pair, labels: tuple[Label, ...]) -> dict[str, str]:
    """`image` (where its file is known), `truth` and `prediction` as data URIs of JPEGs.

    A found segment has one colour in both; missed true segments and predicted ones that match none are outlined in red.
    """
    known = {label.id: label for label in labels}
    frame = read_image(pair.image) if pair.image else np.full((*pair.truth_ids.shape, 3), DARK, np.uint8)
    found = matches(overlap_of(pair.truth_ids, pair.predicted_ids), pair.truth, pair.predicted)
    missed = {t for t, segment in pair.truth.items() if t not in found and not segment.crowd}
    number = {t: n for n, t in enumerate(sorted(pair.truth), 1)}
    guessed = {p: number[t] for t, (p, _) in found.items()}  # a found segment is called as in the truth
    made_up = pair.predicted.keys() - guessed.keys()
    guessed |= {p: n for n, p in enumerate(sorted(made_up), len(number) + 1)}
    truth_colors = _colors({t: segment.category for t, segment in pair.truth.items()}, number, known)
    drawn = {
        "truth": tinted(frame, pair.truth_ids, truth_colors, missed),
        "prediction": tinted(frame, pair.predicted_ids, _colors(pair.predicted, guessed, known), made_up),
    }
    return {name: data_uri(picture) for name, picture in (({"image": frame} if pair.image else {}) | drawn).items()}


def _colors(category: Mapping[int, int], number: Mapping[int, int], known: Mapping[int, Label]) -> dict[int, Color]:
    """Colour of each segment: the class's, for things a shade that depends on its number."""
    nothing = np.zeros(0, np.float32)
    return {
        i: segment_color(Segment(pixel_value(c, number[i]), c, 0.0, 0, (0, 0, 0, 0), nothing), known[c])
        for i, c in category.items()
    }


def tinted(frame: np.ndarray, ids: np.ndarray, colors: Mapping[int, Color], wrong: set[int]) -> np.ndarray:
    """frame (H, W, 3) uint8 with its segments in their colours, outlined in white, those in `wrong` in red; void is left dark.

    ids: (H, W) int; those without a colour are void.
    """
    size = (min(WIDTH, ids.shape[1]), round(ids.shape[0] * min(1, WIDTH / ids.shape[1])))
    small = cv2.resize(ids.astype(np.float64), size, interpolation=cv2.INTER_NEAREST).astype(np.int64)
    picture = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    present, inverse = np.unique(small, return_inverse=True)
    fill = np.array([colors.get(i, DARK) for i in present.tolist()], np.uint8)[inverse.reshape(small.shape)]
    picture = cv2.addWeighted(picture, 1 - OPACITY, fill, OPACITY, 0)
    picture[_rims(small) & ~_rims(np.minimum(small, 1))] = WHITE  # not around void
    picture[_rims(np.where(np.isin(small, list(wrong)), small, VOID))] = RED
    return picture


def _rims(ids: np.ndarray) -> np.ndarray:
    """(H, W) bool: the pixels on both sides of each border."""
    rims = np.zeros(ids.shape, bool)
    across, down = ids[1:] != ids[:-1], ids[:, 1:] != ids[:, :-1]
    for part in (rims[1:], rims[:-1]):
        part |= across
    for part in (rims[:, 1:], rims[:, :-1]):
        part |= down
    return rims


def data_uri(picture: np.ndarray) -> str:
    """picture: (H, W, 3) uint8 RGB; at most WIDTH wide in the JPEG."""
    height, width = picture.shape[:2]
    if width > WIDTH:
        picture = cv2.resize(picture, (WIDTH, round(height * WIDTH / width)), interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
