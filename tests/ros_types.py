"""An independent implementation of ROS 2's messages, the `rosbags` library, and the way from ours to it."""

from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np
from cyclonedds.idl import IdlStruct
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

VISION_MSGS = {
    "ObjectHypothesis": "string class_id\nfloat64 score",
    "ObjectHypothesisWithPose": "ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose",
    "Point2D": "float64 x\nfloat64 y",
    "Pose2D": "vision_msgs/Point2D position\nfloat64 theta",
    "BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "Detection2D": "std_msgs/Header header\nObjectHypothesisWithPose[] results\nBoundingBox2D bbox\nstring id",
    "Detection2DArray": "std_msgs/Header header\nDetection2D[] detections",
    "BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size",
    "Detection3D": "std_msgs/Header header\nObjectHypothesisWithPose[] results\nBoundingBox3D bbox\nstring id",
    "Detection3DArray": "std_msgs/Header header\nDetection3D[] detections",
    "VisionClass": "uint16 class_id\nstring class_name",
    "LabelInfo": "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold",
}
"""vision_msgs 4.1, as its .msg files have them without their comments."""


@cache
def store() -> Typestore:
    types = get_typestore(Stores.ROS2_JAZZY)
    for name, definition in VISION_MSGS.items():
        types.register(get_types_from_msg(definition, f"vision_msgs/msg/{name}"))
    return types


def ros_name(kind: type[IdlStruct]) -> str:
    """sensor_msgs::msg::dds_::Image_ -> sensor_msgs/msg/Image."""
    package, _, _, name = kind.__idl_typename__.split("::")
    return f"{package}/msg/{name.removesuffix('_')}"


def to_ros(value: Any) -> Any:
    """A message of ours as one of rosbags; numbers in sequences become arrays."""
    if isinstance(value, IdlStruct):
        kind = store().types[ros_name(type(value))]
        return kind(**{field.name: to_ros(getattr(value, field.name)) for field in fields(value)})
    if isinstance(value, (bytes, memoryview, np.ndarray)):
        return np.frombuffer(value, np.uint8)
    if isinstance(value, list):
        return [to_ros(item) for item in value] if value and isinstance(value[0], IdlStruct) else np.array(value, np.float64)
    return value


def ros_bytes(message: IdlStruct, little_endian: bool = True) -> bytes:
    return bytes(store().serialize_cdr(to_ros(message), ros_name(type(message)), little_endian=little_endian))
