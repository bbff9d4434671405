"""What is published for a drawn scene."""

import numpy as np
import pytest

from panoptic_ros.core import Label, Panoptic, Segment
from panoptic_ros.health import Report
from panoptic_ros.middleware import dds_types as types
from panoptic_ros.middleware import messages
from panoptic_ros.middleware.frames import frame_of
from panoptic_ros.node import stamp_ns
from panoptic_ros.projection import POINT, Box3D

LABELS = (Label(7, "road", False, (128, 64, 128)), Label(26, "car", True, (0, 0, 142)))
NAMES = {7: "road", 26: "car"}
ROAD, CAR = 7 << 16, 26 << 16 | 3
NOWHERE = np.zeros(2, np.float32)
IDS = np.array([[0, ROAD, ROAD], [ROAD, CAR, CAR]], np.int32)
SCENE = Panoptic(
    IDS, (Segment(ROAD, 7, 0.5, 3, (0, 0, 3, 2), NOWHERE), Segment(CAR, 26, np.float32(0.75), 2, (1, 1, 3, 2), NOWHERE, 3)), 5
)
HEADER = messages.header_at(types, 12_000_000_034, "cam")


def test_header_is_exact() -> None:
    assert HEADER == types.Header(types.Time(12, 34), "cam")
    assert stamp_ns(HEADER) == 12_000_000_034
    assert stamp_ns(messages.header_at(types, -1)) == -1


def test_a_detection_for_each_segment() -> None:
    array = messages.segments(types, HEADER, SCENE, NAMES)
    road, car = array.detections
    assert array.header == road.header == car.header == HEADER
    assert (road.id, car.id) == ("458752", "1703939")
    assert [d.results[0].hypothesis.class_id for d in array.detections] == ["road", "car"]
    assert [d.results[0].hypothesis.score for d in array.detections] == [0.5, 0.75]
    assert car.bbox == types.BoundingBox2D(types.Pose2D(types.Point2D(2.0, 1.5), 0.0), 2.0, 1.0)
    assert types.Detection2DArray.deserialize(array.serialize()) == array


def test_a_detection_in_space_for_each_box() -> None:
    box = Box3D(SCENE.segments[1], np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.25, 0.125]))
    array = messages.segments_3d(types, HEADER, [box], NAMES)
    (car,) = array.detections
    centre = types.Pose(types.Point(1.0, 2.0, 3.0))
    assert (car.id, car.header, car.bbox) == ("1703939", HEADER, types.BoundingBox3D(centre, types.Vector3(0.5, 0.25, 0.125)))
    assert car.results[0].hypothesis == types.ObjectHypothesis("car", 0.75) and car.results[0].pose.pose == centre
    assert types.Detection3DArray.deserialize(array.serialize()) == array


@pytest.mark.parametrize("count", [0, 2])
def test_a_point_cloud_says_how_its_bytes_lie(count: int) -> None:
    points = np.array([(1.0, 2.0, 3.0, 26, 3)] * count, POINT)
    message = messages.point_cloud(types, HEADER, points)
    assert [(f.name, f.offset, f.datatype, f.count) for f in message.fields] == [
        ("x", 0, 7, 1), ("y", 4, 7, 1), ("z", 8, 7, 1), ("category", 12, 4, 1), ("instance", 14, 4, 1),
    ]  # fmt: skip
    assert (message.height, message.width, message.point_step, message.row_step) == (1, count, 16, 16 * count)
    again = types.PointCloud2.deserialize(message.serialize())
    assert np.frombuffer(again.data, POINT).tolist() == [(1, 2, 3, 26, 3)] * count


def test_panoptic_image_holds_the_ids() -> None:
    image = messages.panoptic_image(types, HEADER, SCENE)
    assert (image.encoding, image.height, image.width, image.step, image.is_bigendian) == ("32SC1", 2, 3, 12, 0)
    np.testing.assert_array_equal(np.frombuffer(image.serialize()[-24:], "<i4").reshape(2, 3), IDS)


def test_semantic_image_holds_the_categories() -> None:
    image = messages.semantic_image(types, HEADER, SCENE, LABELS)
    assert (image.encoding, image.step, bytes(image.data)) == ("mono8", 3, bytes([0, 7, 7, 7, 26, 26]))


def test_semantic_image_is_wider_for_large_categories() -> None:
    ids = np.array([[300 << 16 | 1]], np.int32)
    image = messages.semantic_image(types, HEADER, Panoptic(ids, (), 0), (Label(300, "far", True, (0, 0, 0)),))
    assert (image.encoding, image.step, bytes(image.data)) == ("mono16", 2, b"\x2c\x01")


def test_pictures_come_back() -> None:
    picture = np.full((8, 16, 3), (200, 100, 50), np.uint8)
    np.testing.assert_array_equal(frame_of(messages.rgb_image(types, HEADER, picture)), picture)
    jpeg = messages.jpeg_image(types, HEADER, picture)
    assert jpeg.format == "rgb8; jpeg compressed bgr8"
    np.testing.assert_allclose(frame_of(jpeg).astype(int), picture.astype(int), atol=4)


def test_label_info_names_void_too() -> None:
    info = messages.label_info(types, HEADER, LABELS)
    assert [(c.class_id, c.class_name) for c in info.class_map] == [(0, "void"), (7, "road"), (26, "car")]


def test_diagnostics() -> None:
    array = messages.diagnostics(types, HEADER, "panoptic_ros", "cpu", Report(1, "hm", {"answered": "3"}))
    assert array.status == [types.DiagnosticStatus(1, "panoptic_ros", "hm", "cpu", [types.KeyValue("answered", "3")])]
