"""What the node over rclpy listens to."""

from collections.abc import Callable
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks

from panoptic_ros.middleware.outputs import COMPRESSED
from panoptic_ros.middleware.ros_transport import (
    CLASSES,
    OVERRIDES,
    endpoint_name,
    policy_value,
    sensor_data,
    warn_incompatible,
)
from panoptic_ros.middleware.twins import Twins

Receive = Callable[[Any], None]

DEPTH_QUEUE = 5
"""Depth and calibration come beside the images; none of them should be lost."""


class Inputs:
    """Subscriptions that come and go. All in the executor's thread."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._open: dict[str, Any] = {}

    def listen(self, topics: dict[str, tuple[Any, int, Receive]]) -> None:
        """Subscribes to exactly these: topic -> message class, length of the queue, callback."""
        for topic in self._open.keys() - topics.keys():
            self._node.destroy_subscription(self._open.pop(topic))
        for topic in topics.keys() - self._open.keys():
            self._open[topic] = self._subscribe(topic, *topics[topic])

    def check(self, topic: str) -> None:
        """Raises what rclpy raises for an impossible name or quality of service."""
        self._node.destroy_subscription(self._subscribe(topic, CLASSES["Image"], 1, lambda _: None))

    def of_images(self, topic: str, twins: Twins) -> dict[str, tuple[Any, int, Receive]]:
        """The compressed images are taken where nobody publishes the raw ones, and besides them while those are silent."""
        name = topic.removesuffix(COMPRESSED)
        raw = {name: (CLASSES["Image"], 1, twins.receive_raw)}
        compressed = {name + COMPRESSED: (CLASSES["CompressedImage"], 1, twins.receive_compressed)}
        offered = self._publishers(name + COMPRESSED)
        if name != topic or (offered and not self._publishers(name)):
            return compressed
        return raw | compressed if offered and twins.raw_is_silent else raw

    def senders(self, topic: str) -> str:
        """Who publishes the images, for people."""
        name = self._node.resolve_topic_name(topic)
        infos = [info for each in (name, name + COMPRESSED) for info in self._node.get_publishers_info_by_topic(each)]
        said = ", ".join(f"{endpoint_name(info)} ({policy_value(info.qos_profile, 'reliability')})" for info in infos)
        return f"its publishers are {said}" if said else "nobody publishes it"

    def _publishers(self, topic: str) -> int:
        return int(self._node.count_publishers(self._node.resolve_topic_name(topic)))

    def _subscribe(self, topic: str, kind: Any, depth: int, callback: Receive) -> Any:
        node, qos = self._node, sensor_data(depth)
        warn = SubscriptionEventCallbacks(incompatible_qos=lambda event: warn_incompatible(node, topic, qos, event, True))
        return node.create_subscription(kind, topic, callback, qos, event_callbacks=warn, qos_overriding_options=OVERRIDES)
