"""Boxes and points of scenes that can be computed by hand."""

import numpy as np
import pytest

from panoptic_ros.core import Panoptic, PanopticError, Segment
from panoptic_ros.projection import HERE, Intrinsics, Placement, boxes_3d, cloud

K = Intrinsics(100.0, 100.0, 50.0, 40.0)
CAR, ROAD = 26 << 16 | 3, 7 << 16
THINGS = frozenset({26})


def scene(z: float = 2.0) -> tuple[Panoptic, np.ndarray]:
    """A car at columns 40..60 and rows 30..40, `z` metres away before a wall at 10 m."""
    ids = np.full((80, 100), ROAD, np.int32)
    depth = np.full((80, 100), 10.0, np.float32)
    ids[30:41, 40:61], depth[30:41, 40:61] = CAR, z
    nowhere = np.zeros(2, np.float32)
    segments = Segment(ROAD, 7, 1.0, 7000, (0, 0, 100, 80), nowhere), Segment(CAR, 26, 0.5, 231, (40, 30, 61, 41), nowhere, 3)
    return Panoptic(ids, segments, 0), depth


def test_a_flat_object_is_where_it_is() -> None:
    (box,) = boxes_3d(*scene(), K, HERE, THINGS)
    assert box.segment.id == CAR
    # columns 40..60 are x = (-10..10) / 100 * 2 m; rows 30..40 are y = (-10..0) / 100 * 2 m
    np.testing.assert_allclose(box.centre, [0.0, -0.1, 2.0], atol=1e-6)
    np.testing.assert_allclose(box.size, [0.4, 0.2, 0.0], atol=0.02)


def test_background_seen_past_the_edge_is_left_out() -> None:
    panoptic, depth = scene()
    depth[30:41, 58:61] = 10.0  # the mask is three columns too wide
    (box,) = boxes_3d(panoptic, depth, K, HERE, THINGS)
    assert box.size[2] == 0 and box.centre[2] == 2


@pytest.mark.parametrize("unknown", [np.nan, 0.0, np.inf, -1.0])
def test_an_object_of_unknown_depth_has_no_box(unknown: float) -> None:
    panoptic, depth = scene()
    depth[30:41, 40:61] = unknown
    assert boxes_3d(panoptic, depth, K, HERE, THINGS) == []
    depth[30, 40:50] = 3.0
    assert [box.centre[2] for box in boxes_3d(panoptic, depth, K, HERE, THINGS)] == [3.0]
    depth[30, 49] = unknown  # nine pixels are too few
    assert boxes_3d(panoptic, depth, K, HERE, THINGS) == []


def test_a_box_in_another_frame() -> None:
    """The usual way from an optical frame (x right, y down) to a robot's (x forward, y left, z up)."""
    to_body = Placement(np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.array([0.5, 0.0, 1.5]))
    (box,) = boxes_3d(*scene(), K, to_body, THINGS)
    np.testing.assert_allclose(box.centre, [2.5, 0.0, 1.6], atol=1e-6)


def test_a_placement_of_a_quaternion() -> None:
    """The half turns and third turns of the same way: (-0.5, 0.5, -0.5, 0.5) is REP 103's from optical to body."""
    placement = Placement.of((-0.5, 0.5, -0.5, 0.5), (0.5, 0.0, 1.5))
    assert placement.rotation.tolist() == [[0, 0, 1], [-1, 0, 0], [0, -1, 0]] and placement.translation.tolist() == [0.5, 0, 1.5]
    quarter = Placement.of((0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)), (0.0, 0.0, 0.0))
    np.testing.assert_allclose(quarter.rotation, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)


def test_every_known_pixel_is_a_point() -> None:
    ids = np.array([[CAR, ROAD], [0, ROAD]], np.int32)
    depth = np.array([[1.0, 2.0], [3.0, np.nan]], np.float32)
    points = cloud(ids, depth, Intrinsics(1.0, 2.0, 0.0, 0.0), HERE, 1)
    assert points.tolist() == [(0, 0, 1, 26, 3), (2, 0, 2, 7, 0), (0, 1.5, 3, 0, 0)]


def test_a_stride_takes_the_pixels_in_the_middle_of_its_cells() -> None:
    ids = np.arange(64, dtype=np.int32).reshape(8, 8)
    points = cloud(ids, np.ones((8, 8), np.float32), K, HERE, 4)
    assert points["instance"].tolist() == [18, 22, 50, 54]


def test_no_depth_at_all_is_an_empty_cloud() -> None:
    assert cloud(np.zeros((8, 8), np.int32), np.full((8, 8), np.nan, np.float32), K, HERE, 1).shape == (0,)


def test_intrinsics_of_a_smaller_image() -> None:
    """The centre of a 100 x 80 image at pixel (49.5, 39.5) becomes that of 50 x 20 pixels."""
    assert Intrinsics(100.0, 100.0, 49.5, 39.5).scaled(0.5, 0.25) == Intrinsics(50.0, 25.0, 24.5, 9.5)


@pytest.mark.parametrize("focal", [0.0, -1.0, np.nan, np.inf])
def test_a_camera_that_is_not_calibrated_is_refused(focal: float) -> None:
    with pytest.raises(PanopticError, match="is the camera calibrated"):
        Intrinsics(focal, 1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    "values", [(1e-300, 1.0, 0.0, 0.0), (1.0, 1e300, 0.0, 0.0), (1.0, 1.0, 1e300, 0.0), (1.0, 1.0, 0.0, np.nan)]
)
def test_a_calibration_that_throws_points_to_infinity_is_refused(values: tuple[float, float, float, float]) -> None:
    with pytest.raises(PanopticError, match="are no intrinsics"):
        Intrinsics(*values)
