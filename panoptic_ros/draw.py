"""Pictures for people: a frame with its segments."""

import colorsys
from collections.abc import Iterable

import cv2
import numpy as np

from panoptic_ros.core import MAX_INSTANCE, Label, Panoptic, Segment

Box = tuple[int, int, int, int]
Color = tuple[int, int, int]

OPACITY = 0.5
TURNS = (0.7548776662466927, 0.5698402909980532)
"""Multiples of these, modulo 1, fill a square evenly: neighbouring numbers get colours that are easy to tell apart."""


def overlay(frame: np.ndarray, panoptic: Panoptic, labels: tuple[Label, ...]) -> np.ndarray:
    """The frame, tinted: stuff in its category's colour, things in a shade of it that is the track's own, outlined and named.

    frame: (H, W, 3) uint8 RGB, the one that `panoptic` describes. Returns a new (H, W, 3) uint8 RGB. Void is left as it is.
    """
    known = {label.id: label for label in labels}
    segments = sorted(panoptic.segments, key=lambda segment: segment.id)
    colors = [segment_color(segment, known.get(segment.category)) for segment in segments]
    ids = np.array([0, *(segment.id for segment in segments)])
    fills = np.array([(0, 0, 0), *colors], np.uint8)

    tint = _colored(panoptic.ids, ids, fills)
    picture = cv2.addWeighted(frame, 1 - OPACITY, tint, OPACITY, 0)
    cv2.copyTo(tint, _borders(panoptic.ids), picture)
    cv2.copyTo(frame, (panoptic.ids == 0).view(np.uint8), picture)
    things = [(s, c) for s, c in zip(segments, colors) if s.category in known and known[s.category].thing]
    _write_names(picture, [(segment.box, _caption(segment, known[segment.category]), color) for segment, color in things])
    return picture


def segment_color(segment: Segment, label: Label | None) -> Color:
    """RGB: the category's colour for stuff; for a thing a bright shade of it that depends on its number alone."""
    if label is None:
        return 128, 128, 128
    if not label.thing:
        return label.color
    hue_turn, paleness = ((segment.id & MAX_INSTANCE) * turn % 1 for turn in TURNS)
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in label.color))
    hue, saturation = hue + 0.22 * (hue_turn - 0.5), max(saturation, 0.6) * (1 - 0.6 * paleness)
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, max(value, 0.9))
    return round(255 * red), round(255 * green), round(255 * blue)


def _colored(image: np.ndarray, ids: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """(H, W, 3): `colors[i]` where image (H, W) is `ids[i]`; ids ascending.

    Rows and columns that repeat the one before, most of a painted grid, are coloured once.
    """
    rows = np.flatnonzero(np.append(True, (image[1:] != image[:-1]).any(axis=1)))
    columns = np.flatnonzero(np.append(True, (image[:, 1:] != image[:, :-1]).any(axis=0)))
    small = colors[np.searchsorted(ids, image[rows][:, columns])]
    height, width = image.shape
    wide = np.repeat(small, np.diff(columns, append=width), axis=1)
    return np.repeat(wide, np.diff(rows, append=height), axis=0)


def _borders(ids: np.ndarray) -> np.ndarray:
    """(H, W) uint8, 1 along both sides of the lines between segments, thicker in larger images."""
    borders = np.zeros(ids.shape, bool)
    across, down = ids[1:] != ids[:-1], ids[:, 1:] != ids[:, :-1]
    borders[1:] |= across
    borders[:, 1:] |= down
    thickness = 1 + round(ids.shape[0] / 720)
    return cv2.dilate(borders.view(np.uint8), np.ones((thickness, thickness), np.uint8))


def _caption(segment: Segment, label: Label) -> str:
    number = "" if segment.track is None else f" #{segment.track}"
    return f"{label.name}{number} {segment.score:.2f}"


def _write_names(picture: np.ndarray, names: Iterable[tuple[Box, str, Color]]) -> None:
    """Writes each text on its colour at its box, large boxes first; one that would cover another is left out."""
    scale = float(np.clip(picture.shape[0] / 1500, 0.34, 1.5))
    taken = np.zeros(picture.shape[:2], bool)
    for box, text, color in sorted(names, key=lambda name: -_area(name[0])):
        (text_w, text_h), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        place = _free_place(taken, box, text_w + 4, text_h + below + 1)
        if place is None:
            continue
        left, top, plate = place
        taken[plate] = True
        picture[plate] = color
        ink = (0, 0, 0) if np.dot(color, (0.299, 0.587, 0.114)) > 110 else (255, 255, 255)
        cv2.putText(picture, text, (left + 2, top + text_h + 1), cv2.FONT_HERSHEY_SIMPLEX, scale, ink, 1, cv2.LINE_AA)


def _free_place(taken: np.ndarray, box: Box, width: int, height: int) -> tuple[int, int, tuple[slice, slice]] | None:
    """Left, top and slices of a width x height plate above, below or in the box where nothing is taken; None if there is none."""
    x0, y0, _, y1 = box
    left = max(min(x0, taken.shape[1] - width), 0)
    for top in (y0 - height, y1, y0):
        plate = slice(top, top + height), slice(left, left + width)
        if 0 <= top <= taken.shape[0] - height and not taken[plate].any():
            return left, top, plate
    return None


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
