"""What the node over rclpy publishes and converts with: QoS, generated message classes, cv_bridge."""

import array
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import builtin_interfaces.msg
import diagnostic_msgs.msg
import geometry_msgs.msg
import numpy as np
import rclpy
import sensor_msgs.msg
import std_msgs.msg
import vision_msgs.msg
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.qos import (
    DurabilityPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
    qos_policy_name_from_kind,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions

from panoptic_ros.core import PanopticError
from panoptic_ros.middleware import frames, messages

OVERRIDES = QoSOverridingOptions.with_default_policies()
"""History, depth and reliability of a topic are parameters: `qos_overrides.TOPIC.subscription.reliability` and so on."""


_NAMES_KNOWN_S = 1.0
"""DDS matches endpoints before ROS learns which nodes they belong to."""


def sensor_data(depth: int) -> QoSProfile:
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)


def _with_octets(kind: Any) -> Callable[..., Any]:
    """`kind`, given its `data` as any buffer: rclpy copies an array of bytes at once, and anything else number by number."""

    def make(data: Any, **fields: Any) -> Any:
        octets = array.array("B")
        octets.frombytes(memoryview(data).cast("B") if len(data) else b"")
        return kind(data=octets, **fields)

    make.kind = kind  # type: ignore[attr-defined]
    return make


def _status(level: int, **fields: Any) -> Any:
    return diagnostic_msgs.msg.DiagnosticStatus(level=bytes([level]), **fields)


_PACKAGES = (builtin_interfaces.msg, std_msgs.msg, sensor_msgs.msg, geometry_msgs.msg, vision_msgs.msg, diagnostic_msgs.msg)
CLASSES = {name: getattr(package, name) for package in _PACKAGES for name in messages.NAMES if hasattr(package, name)}
"""The generated classes by their names."""
types = SimpleNamespace(
    **CLASSES
    | {name: _with_octets(CLASSES[name]) for name in ("Image", "CompressedImage", "PointCloud2")}
    | {"DiagnosticStatus": _status}
)
"""The same as messages.Types, made for what messages are built from."""


class RosTransport:
    """Publishing over rclpy; see transport.Transport. create: the node's way to make a publisher."""

    types = types

    def __init__(self, node: Any, create: Callable[..., Any]) -> None:
        self._node, self._create = node, create

    def advertise(self, topic: str, kind: Any, latched: bool = False) -> "RosPublisher":
        durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
        qos = QoSProfile(depth=1 if latched else 10, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
        warn = PublisherEventCallbacks(incompatible_qos=lambda event: warn_incompatible(self._node, topic, qos, event, False))
        publisher = self._create(_class(kind), topic, qos, event_callbacks=warn, qos_overriding_options=OVERRIDES)
        return RosPublisher(publisher)

    def deserialize(self, kind: Any, cdr: bytes) -> Any:
        try:
            return deserialize_message(cdr, _class(kind))
        except Exception as error:  # rclpy says no more than that it failed
            raise PanopticError(f"malformed {_class(kind).__name__} of {len(cdr)} bytes: {error}") from error


class RosPublisher:
    """See transport.Publisher."""

    def __init__(self, publisher: Any) -> None:
        self.entity = publisher

    @property
    def subscribers(self) -> int:
        return int(self.entity.get_subscription_count())

    def write(self, message: Any) -> None:
        self.entity.publish(message)


def _class(kind: Any) -> Any:
    """The generated class of what is in `types`."""
    return getattr(kind, "kind", kind)


def camera_transport() -> RosTransport:
    """For a process that is a camera and nothing else."""
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("camera")
    return RosTransport(node, node.create_publisher)


def warn_incompatible(node: Any, topic: str, ours: QoSProfile, event: Any, publishing: bool) -> None:
    """Names both sides of endpoints that cannot be joined, once the others' names are known. publishing: the others publish."""
    policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
    name = node.resolve_topic_name(topic)

    def warn() -> None:
        node.destroy_timer(timer)
        infos = node.get_publishers_info_by_topic(name) if publishing else node.get_subscriptions_info_by_topic(name)
        others = [
            info for info in infos if not _compatible(*((info.qos_profile, ours) if publishing else (ours, info.qos_profile)))
        ]
        theirs = ", ".join(f"{endpoint_name(info)}: {policy_value(info.qos_profile, policy)}" for info in others)
        if theirs:  # or they have left
            say(theirs)

    def say(theirs: str) -> None:
        node.get_logger().warning(
            f"incompatible QoS on {name}: {policy} of {node.get_fully_qualified_name()} is {policy_value(ours, policy)}, of its "
            f"{'publishers' if publishing else 'subscribers'} {theirs}; nothing passes between them"
        )

    timer = node.create_timer(_NAMES_KNOWN_S, warn, clock=Clock(clock_type=ClockType.STEADY_TIME))


def _compatible(publisher: QoSProfile, subscription: QoSProfile) -> bool:
    return qos_check_compatible(publisher, subscription)[0] != QoSCompatibility.ERROR


def policy_value(qos: QoSProfile, policy: str) -> str:
    value = getattr(qos, policy, "unknown")
    return str(getattr(value, "name", value)).lower()


def endpoint_name(info: Any) -> str:
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"


def converter(use_cv_bridge: bool = True) -> tuple[Callable[[Any], np.ndarray], str]:
    """Image message -> (H, W, 3) RGB, and who does it: cv_bridge, or `frames` where that is not installed or does not do it."""
    if not use_cv_bridge:
        return frames.frame_of, "panoptic_ros"
    try:
        from cv_bridge import CvBridge
    except Exception as error:  # not installed, or built for another NumPy or OpenCV: these raise more than ImportError
        return frames.frame_of, f"panoptic_ros, since cv_bridge cannot be imported: {error}"
    bridge = CvBridge()

    def convert(message: Any) -> np.ndarray:
        # cv_bridge takes sizes and steps on trust, and padding for pixels if it is not as long as some pixels
        if hasattr(message, "format") or message.step % frames.pixel_size(message):
            return frames.frame_of(message)
        try:
            return np.ascontiguousarray(bridge.imgmsg_to_cv2(message, "rgb8"))
        except Exception:  # each of OpenCV, NumPy and cv_bridge has its own
            return frames.frame_of(message)

    return convert, "cv_bridge"
