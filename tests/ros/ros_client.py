"""A client of the node over rclpy: a camera, a planner and an operator in one."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger
from vision_msgs.msg import Detection2DArray

from panoptic_ros.middleware import messages
from panoptic_ros.middleware.ros_transport import types

TIMEOUT_S = 60.0


class Client:
    """Talks to the node `name`, such as /one/panoptic, whose camera is on the topic `image`. camera: its name, of several."""

    def __init__(self, name: str, image: str, prefix: str = "/panoptic/", camera: str = "") -> None:
        self.name, self.image, self.prefix = name, image, prefix
        self._title = name.lstrip("/") + (f": {camera}" if camera else "")
        self.node = rclpy.create_node("client")
        self.got: dict[str, list[Any]] = {}
        self.reports: list[Any] = []
        self.header: Any = None  # of the last report
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 50)
        self.camera: Any = None

    def close(self) -> None:
        self.node.destroy_node()

    def open_camera(self, reliability: ReliabilityPolicy = ReliabilityPolicy.BEST_EFFORT) -> None:
        self.camera = self.node.create_publisher(Image, self.image, QoSProfile(depth=5, reliability=reliability))

    def close_camera(self) -> None:
        self.node.destroy_publisher(self.camera)
        self.camera = None

    def subscribe(self, output: str = "segments", kind: Any = Detection2DArray, latched: bool = False, raw: bool = False) -> Any:
        durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
        qos = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
        received = self.got.setdefault(output, [])
        return self.node.create_subscription(kind, self.prefix + output, received.append, qos, raw=raw)

    def send(self, stamp_ns: int, rgb: np.ndarray, encoding: str = "rgb8") -> None:
        message = messages.rgb_image(types, messages.header_at(types, stamp_ns, "cam"), rgb)
        message.encoding = encoding
        self.camera.publish(message)

    def ask(self, stamp_ns: int, rgb: np.ndarray) -> Any:
        """The segments of an image, sent again until they come: discovery takes its time and best effort is no promise."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline_s:
            self.send(stamp_ns, rgb)
            if self.spin(lambda: self._answer(stamp_ns) is not None, 0.5):
                return self._answer(stamp_ns)
        raise AssertionError(f"no answer to {stamp_ns}; the last report: {self.reports[-1:]}")

    def _answer(self, stamp_ns: int) -> Any:
        stamp = messages.header_at(types, stamp_ns).stamp
        return next((message for message in self.got["segments"] if message.header.stamp == stamp), None)

    def spin(self, condition: Callable[[], Any], timeout_s: float) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while not condition() and time.monotonic() < deadline_s:
            rclpy.spin_once(self.node, timeout_sec=0.02)
        return bool(condition())

    def wait_for(self, condition: Callable[[], Any], what: str) -> None:
        assert self.spin(condition, TIMEOUT_S), f"{what} did not happen; the last report: {self.reports[-1:]}"

    def wait_for_report(self, level: int, text: str, meanwhile: Callable[[], Any] = lambda: None) -> Any:
        """The next report of that level that contains the text. meanwhile: done again and again until it comes."""
        self.reports.clear()

        def found() -> Any:
            meanwhile()
            return [r for r in self.reports if r.level == bytes([level]) and text in r.message]

        self.wait_for(found, f"a report of level {level} with {text!r}")
        return next(r for r in self.reports if r.level == bytes([level]) and text in r.message)

    def call(self, kind: Any, service: str, request: Any) -> Any:
        client = self.node.create_client(kind, f"{self.name}/{service}")
        assert client.wait_for_service(TIMEOUT_S), f"{self.name}/{service} is not there"
        future = client.call_async(request)
        self.wait_for(future.done, service)
        return future.result()

    def enable(self, on: bool) -> Any:
        return self.call(SetBool, "enable", SetBool.Request(data=on))

    def reset_tracks(self) -> Any:
        return self.call(Trigger, "reset_tracks", Trigger.Request())

    def set(self, name: str, value: Any) -> Any:
        """The result of setting a parameter."""
        parameter = Parameter(name, value=value).to_parameter_msg()
        return self.call(SetParameters, "set_parameters", SetParameters.Request(parameters=[parameter])).results[0]

    def change(self, label: str) -> bool:
        request = ChangeState.Request()
        request.transition.label = label
        return bool(self.call(ChangeState, "change_state", request).success)

    @property
    def state(self) -> str:
        return str(self.call(GetState, "get_state", GetState.Request()).current_state.label)

    def _on_diagnostics(self, message: Any) -> None:
        mine = [status for status in message.status if status.name == self._title]
        self.reports += mine
        self.header = message.header if mine else self.header


def classes(message: Any) -> list[str]:
    return sorted(detection.results[0].hypothesis.class_id for detection in message.detections)


def ids(message: Any) -> dict[str, int]:
    """Class -> instance number."""
    return {d.results[0].hypothesis.class_id: int(d.id) & 0xFFFF for d in message.detections}
