"""Overlays: what is tinted how, and that colours mean something."""

import numpy as np
import pytest

from panoptic_ros.core import Label, Panoptic, Segment
from panoptic_ros.draw import overlay, segment_color

ROAD, CAR = Label(7, "road", False, (128, 64, 128)), Label(26, "car", True, (0, 0, 142))
LABELS = (ROAD, CAR)
ROAD_ID = 7 << 16


def segment(label: Label, track: int | None, box: tuple[int, int, int, int] = (0, 0, 1, 1)) -> Segment:
    return Segment(label.id << 16 | (track or 0), label.id, 0.5, 1, box, np.zeros(4, np.float32), track)


def picture(ids: np.ndarray, *segments: Segment, grey: int = 100) -> np.ndarray:
    return overlay(np.full((*ids.shape, 3), grey, np.uint8), Panoptic(ids, segments, 0), LABELS)


def test_stuff_is_tinted_in_its_colour_and_void_is_left() -> None:
    ids = np.zeros((40, 80), np.int32)
    ids[:, 40:] = ROAD_ID
    drawn = picture(ids, segment(ROAD, None))
    assert drawn.dtype == np.uint8
    assert (drawn[:, :40] == 100).all()
    assert (drawn[:, 45:] == (114, 82, 114)).all()  # halfway between grey 100 and the road's colour
    assert (drawn[:, 40] == (128, 64, 128)).all()  # the border


def test_the_frame_is_not_changed() -> None:
    frame = np.full((40, 80, 3), 100, np.uint8)
    overlay(frame, Panoptic(np.full((40, 80), ROAD_ID, np.int32), (segment(ROAD, None),), 0), LABELS)
    assert (frame == 100).all()


def test_a_track_keeps_its_colour_and_others_have_their_own() -> None:
    colors = [segment_color(segment(CAR, track), CAR) for track in range(1, 31)]
    assert colors[4] == segment_color(segment(CAR, 5, (3, 3, 9, 9)), CAR)
    assert len(set(colors)) == 30
    for one, other in zip(colors, colors[1:]):
        assert np.abs(np.subtract(one, other)).max() >= 40


def test_a_thing_is_named_at_its_box() -> None:
    ids = np.full((120, 200), ROAD_ID, np.int32)
    ids[60:100, 40:160] = CAR.id << 16 | 3
    car = segment(CAR, 3, (40, 60, 160, 100))
    drawn = picture(ids, segment(ROAD, None, (0, 0, 200, 120)), car)
    plate = drawn[48:60, 40:60].reshape(-1, 3).tolist()
    assert list(segment_color(car, CAR)) in plate
    assert (drawn[:40] == (114, 82, 114)).all()


def test_names_do_not_cover_each_other() -> None:
    ids = np.full((120, 200), CAR.id << 16 | 1, np.int32)
    one = picture(ids, segment(CAR, 1, (0, 0, 200, 120)))
    again = picture(ids, segment(CAR, 1, (0, 0, 200, 120)), *(segment(CAR, n, (0, 118, 1, 119)) for n in range(2, 40)))
    assert (one[:12] == again[:12]).all()


def test_an_unknown_category_is_grey() -> None:
    assert segment_color(segment(Label(99, "?", True, (1, 2, 3)), 1), None) == (128, 128, 128)


@pytest.mark.parametrize("size", [(1, 1), (4, 300), (300, 4), (9, 9)])
def test_names_that_do_not_fit_are_left_out(size: tuple[int, int]) -> None:
    ids = np.full(size, CAR.id << 16 | 1, np.int32)
    assert picture(ids, segment(CAR, 1, (0, 0, size[1], size[0]))).shape == (*size, 3)


def test_ids_that_differ_in_every_pixel_are_drawn_too() -> None:
    segments = [segment(ROAD, None), *(segment(CAR, track) for track in range(1, 200))]
    values = np.array([0, *(s.id for s in segments)], np.int32)
    ids = values[np.add.outer(7 * np.arange(64), np.arange(96)) % len(values)]
    drawn = picture(ids, *segments)
    colors = {s.id: segment_color(s, CAR) for s in segments[1:]} | {0: (100, 100, 100), ROAD_ID: ROAD.color}
    named = slice(0, 16)  # each box is the pixel in the corner, so the names are at the top
    assert all((drawn[y, x] == colors[ids[y, x]]).all() for y in range(named.stop, 64) for x in range(96))
