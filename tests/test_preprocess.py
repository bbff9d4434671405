"""Letterbox and the way back: drawings with literal answers, and exactness against counting pixels."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_ros.preprocess import GREY, Region, geometry, letterbox

sides = st.integers(1, 200)


def test_a_frame_of_the_right_size_is_not_copied() -> None:
    frame = np.zeros((64, 96, 3), np.uint8)
    image = letterbox(frame, geometry((64, 96), (64, 96), 4))
    assert image.shape == (1, 64, 96, 3)
    assert np.shares_memory(image, frame)


def test_a_view_becomes_contiguous() -> None:
    frame = np.arange(64 * 96 * 3, dtype=np.uint8).reshape(64, 96, 3)[:, ::-1]
    image = letterbox(frame, geometry((64, 96), (64, 96), 4))
    assert image.flags.c_contiguous
    assert (image[0] == frame).all()


def test_a_tall_frame_is_centred_between_grey() -> None:
    image = letterbox(np.full((128, 64, 3), 200, np.uint8), geometry((128, 64), (64, 96), 4))[0]
    assert (image[:, 32:64] == 200).all()
    assert (image[:, :32] == GREY).all()
    assert (image[:, 64:] == GREY).all()


def test_a_wide_frame_grows_and_is_centred() -> None:
    way = geometry((8, 48), (64, 96), 4)
    image = letterbox(np.full((8, 48, 3), 200, np.uint8), way)[0]
    assert way.inner == (24, 0, 16, 96)
    assert (image[24:40] == 200).all()
    assert (image[:24] == GREY).all()


@given(sides, sides, st.integers(1, 4), st.integers(1, 4))
def test_an_image_that_is_written_over_is_as_good_as_a_new_one(height: int, width: int, rows: int, columns: int) -> None:
    """Every size of frame, down to one pixel, and every padding."""
    way = geometry((height, width), (rows * 32, columns * 32), 4)
    first, second = (np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8) for seed in (0, 1))
    expected = letterbox(second, way)
    assert (letterbox(second, way, letterbox(first, way)) == expected).all()


def test_no_image_is_made_for_each_frame() -> None:
    way = geometry((30, 90), (64, 96), 4)
    frame = np.zeros((30, 90, 3), np.uint8)
    image = letterbox(frame, way)
    assert letterbox(frame, way, image) is image


def test_shrinking_averages() -> None:
    stripes = np.zeros((128, 192, 3), np.uint8)
    stripes[::2] = 200
    assert (letterbox(stripes, geometry((128, 192), (64, 96), 4)) == 100).all()


def test_painting_a_tall_frame_leaves_out_the_padding() -> None:
    grid = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])  # of an 8x16 input, in which a 4x4 frame fills the middle 8x8
    painted = geometry((4, 4), (8, 16), 4).paint(grid)
    assert painted.tolist() == [[2, 2, 3, 3], [2, 2, 3, 3], [6, 6, 7, 7], [6, 6, 7, 7]]


def test_a_frame_smaller_than_the_grid_reads_the_nearest_cells() -> None:
    grid = np.array([[1, 2, 3, 4]] * 4, np.uint8)
    way = geometry((2, 2), (16, 16), 4)
    assert way.paint(grid).tolist() == [[2, 4], [2, 4]]
    assert way.regions(grid) == {2: Region(2, (0, 0, 1, 2)), 4: Region(2, (1, 0, 2, 2))}


def test_regions_are_in_frame_pixels() -> None:
    grid = np.array([[0, 9, 9, 7], [0, 9, 5, 7]], np.uint8)  # the frame is 30x30, cells 1 and 2 of each row
    regions = geometry((30, 30), (8, 16), 4).regions(grid)
    assert regions == {9: Region(675, (0, 0, 30, 30)), 5: Region(225, (15, 15, 30, 30))}


sizes = st.tuples(st.integers(1, 300), st.integers(1, 300))


@settings(max_examples=200, deadline=None)
@given(frame=sizes, cells=st.tuples(st.integers(1, 16), st.integers(1, 16)), stride=st.integers(1, 8), seed=st.integers(0, 99))
def test_regions_are_what_counting_painted_pixels_gives(
    frame: tuple[int, int], cells: tuple[int, int], stride: int, seed: int
) -> None:
    grid = np.random.default_rng(seed).integers(0, 6, cells).astype(np.uint8)
    way = geometry(frame, (cells[0] * stride, cells[1] * stride), stride)
    painted = way.paint(grid)
    assert painted.shape == frame
    counted = {}
    for value in set(painted.ravel().tolist()) - {0}:
        y, x = np.nonzero(painted == value)
        counted[value] = Region(len(y), (x.min(), y.min(), x.max() + 1, y.max() + 1))
    assert way.regions(grid) == counted


@settings(max_examples=100, deadline=None)
@given(frame=st.tuples(st.integers(16, 300), st.integers(16, 300)), share=st.floats(0.2, 0.8))
def test_what_is_seen_in_the_engine_is_painted_where_it_was(frame: tuple[int, int], share: float) -> None:
    """An edge in the frame, found on the grid, comes back to within a cell."""
    height, width = frame
    edge = round(share * width)
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, edge:] = 255
    way = geometry(frame, (128, 192), 4)
    painted = way.paint(letterbox(picture, way)[0, 2::4, 2::4, 0])
    cell = 4 * width / way.inner[3]
    bright = (painted > 128).sum(axis=1)
    assert (np.abs(bright - (width - edge)) <= cell + 1).all()
