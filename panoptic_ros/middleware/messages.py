"""What is published for a segmented frame, built once for every middleware.

The fields of a message are the same everywhere, the classes are not: each function takes a `Types`, which is the module
`dds_types` or a namespace of the classes that rclpy generates.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import cv2
import numpy as np

from panoptic_ros.core import Label, Panoptic, Segment
from panoptic_ros.health import Report
from panoptic_ros.projection import Box3D

VOID_NAME = "void"


class Types(Protocol):
    """The message classes that are built here; all take their fields as keyword arguments."""

    Time: Any
    Header: Any
    Image: Any
    CompressedImage: Any
    Point2D: Any
    Pose2D: Any
    BoundingBox2D: Any
    ObjectHypothesis: Any
    ObjectHypothesisWithPose: Any
    Detection2D: Any
    Detection2DArray: Any
    Point: Any
    Vector3: Any
    Pose: Any
    PoseWithCovariance: Any
    BoundingBox3D: Any
    Detection3D: Any
    Detection3DArray: Any
    PointField: Any
    PointCloud2: Any
    CameraInfo: Any
    VisionClass: Any
    LabelInfo: Any
    KeyValue: Any
    DiagnosticStatus: Any
    DiagnosticArray: Any


NAMES = tuple(Types.__annotations__)
"""Of the message classes."""


def header_at(types: Types, stamp_ns: int, frame_id: str = "") -> Any:
    """std_msgs/Header."""
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    return types.Header(stamp=types.Time(sec=sec, nanosec=nanosec), frame_id=frame_id)


def segments(types: Types, header: Any, panoptic: Panoptic, names: Mapping[int, str]) -> Any:
    """vision_msgs/Detection2DArray: a Detection2D for each segment, stuff too.

    `id` is the pixel value of the segment in `/panoptic/image`. names: `Label.id` -> name.
    """
    return types.Detection2DArray(
        header=header, detections=[_detection(types, header, s, names[s.category]) for s in panoptic.segments]
    )


def _detection(types: Types, header: Any, segment: Segment, name: str) -> Any:
    x0, y0, x1, y1 = segment.box
    center = types.Pose2D(position=types.Point2D(x=(x0 + x1) / 2, y=(y0 + y1) / 2), theta=0.0)
    hypothesis = types.ObjectHypothesis(class_id=name, score=float(segment.score))
    return types.Detection2D(
        header=header,
        results=[types.ObjectHypothesisWithPose(hypothesis=hypothesis)],
        bbox=types.BoundingBox2D(center=center, size_x=float(x1 - x0), size_y=float(y1 - y0)),
        id=str(segment.id),
    )


def segments_3d(types: Types, header: Any, boxes: Sequence[Box3D], names: Mapping[int, str]) -> Any:
    """vision_msgs/Detection3DArray: a Detection3D for each box; `id` and results as in `segments`, `bbox` in header.frame_id."""
    return types.Detection3DArray(header=header, detections=[_detection_3d(types, header, box, names) for box in boxes])


def _detection_3d(types: Types, header: Any, box: Box3D, names: Mapping[int, str]) -> Any:
    pose = types.Pose(position=types.Point(**_xyz(box.centre)))
    hypothesis = types.ObjectHypothesis(class_id=names[box.segment.category], score=float(box.segment.score))
    return types.Detection3D(
        header=header,
        results=[types.ObjectHypothesisWithPose(hypothesis=hypothesis, pose=types.PoseWithCovariance(pose=pose))],
        bbox=types.BoundingBox3D(center=pose, size=types.Vector3(**_xyz(box.size))),
        id=str(box.segment.id),
    )


def _xyz(vector: np.ndarray) -> dict[str, float]:
    return dict(zip("xyz", vector.tolist()))


_DATATYPES = {"<f4": 7, "<u2": 4}
"""sensor_msgs/PointField FLOAT32 and UINT16."""


def point_cloud(types: Types, header: Any, points: np.ndarray) -> Any:
    """sensor_msgs/PointCloud2, unordered. points: (N,) of a structured type, which gives the fields."""
    kind = points.dtype
    fields = [
        types.PointField(name=name, offset=offset, datatype=_DATATYPES[part.str], count=1)
        for name, (part, offset, *_) in kind.fields.items()
    ]
    return types.PointCloud2(
        header=header, height=1, width=len(points), fields=fields, is_bigendian=False,
        point_step=kind.itemsize, row_step=kind.itemsize * len(points), data=points.view(np.uint8), is_dense=True,
    )  # fmt: skip


def panoptic_image(types: Types, header: Any, panoptic: Panoptic) -> Any:
    """sensor_msgs/Image 32SC1: category << 16 | instance."""
    return _image(types, header, "32SC1", panoptic.ids.astype("<i4", copy=False))


def semantic_image(types: Types, header: Any, panoptic: Panoptic, labels: Sequence[Label]) -> Any:
    """sensor_msgs/Image of category ids, 0 = void: mono8, or mono16 where `labels` has ids over 255."""
    encoding, dtype = ("mono8", "u1") if max(label.id for label in labels) < 256 else ("mono16", "<u2")
    return _image(types, header, encoding, (panoptic.ids >> 16).astype(dtype))


def rgb_image(types: Types, header: Any, rgb: np.ndarray) -> Any:
    """sensor_msgs/Image rgb8. rgb: (H, W, 3) uint8."""
    return _image(types, header, "rgb8", rgb)


def _image(types: Types, header: Any, encoding: str, pixels: np.ndarray) -> Any:
    """pixels: (H, W) or (H, W, C), little-endian."""
    flat = np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
    height, width = pixels.shape[:2]
    return types.Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=flat.size // height,
        data=flat,
    )


def jpeg_image(types: Types, header: Any, rgb: np.ndarray, quality: int = 85) -> Any:
    """sensor_msgs/CompressedImage. rgb: (H, W, 3) uint8. quality: 1..100."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return types.CompressedImage(header=header, format="rgb8; jpeg compressed bgr8", data=data.reshape(-1))


def label_info(types: Types, header: Any, labels: Sequence[Label]) -> Any:
    """vision_msgs/LabelInfo: a name for every value of `/panoptic/semantic`, void included."""
    classes = [types.VisionClass(class_id=0, class_name=VOID_NAME)]
    classes += [types.VisionClass(class_id=label.id, class_name=label.name) for label in labels]
    return types.LabelInfo(header=header, class_map=classes, threshold=0.0)


def diagnostics(types: Types, header: Any, name: str, hardware_id: str, report: Report) -> Any:
    """diagnostic_msgs/DiagnosticArray with one status."""
    status = types.DiagnosticStatus(
        level=report.level,
        name=name,
        message=report.message,
        hardware_id=hardware_id,
        values=[types.KeyValue(key=key, value=value) for key, value in report.values.items()],
    )
    return types.DiagnosticArray(header=header, status=[status])
