"""What node and camera need of a middleware, which is all that tells Cyclone DDS and rclpy apart."""

from typing import Any, Protocol

from panoptic_ros.middleware.messages import Types


class Publisher(Protocol):
    """A topic to publish on."""

    @property
    def subscribers(self) -> int: ...

    def write(self, message: Any) -> None: ...


class Transport(Protocol):
    """A middleware. types: its message classes."""

    @property
    def types(self) -> Types: ...

    def advertise(self, topic: str, kind: Any, latched: bool = False) -> Publisher:
        """kind: a class of `types`. latched: late subscribers get the last message too. Raises PanopticError for a bad name."""
        ...

    def deserialize(self, kind: Any, cdr: bytes) -> Any:
        """A recorded message. Raises PanopticError if the bytes are no such message."""
        ...
