"""The way from the camera's frame into another, by tf2."""

from typing import Any

from rclpy.duration import Duration
from rclpy.time import Time

from panoptic_ros.core import PanopticError
from panoptic_ros.projection import Placement


class Frames:
    """Listens to tf. Made, restarted and closed in the executor's thread, asked in another one."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self._buffer: Any = None
        self._listener: Any = None
        self.restart()

    def restart(self) -> None:
        """Forgets what it has heard: tf2 takes nothing older than what it has."""
        from tf2_ros import Buffer, TransformListener

        self.close()
        self._buffer = Buffer()
        self._listener = TransformListener(self._buffer, self._node)

    def close(self) -> None:
        if self._listener is not None:
            self._listener.unregister()

    def locate(self, target: str, source: str, stamp: Any, timeout_s: float) -> Placement:
        """From `source` to `target` at a time, waiting for it for a moment. Raises PanopticError if tf does not know the way."""
        from tf2_ros import TransformException

        patience = Duration(nanoseconds=round(timeout_s * 1e9))
        try:
            found = self._buffer.lookup_transform(target, source, Time.from_msg(stamp), patience).transform
        except TransformException as error:
            raise PanopticError(f"no way from frame {source!r} to target_frame {target!r}: {error}") from error
        q, t = found.rotation, found.translation
        return Placement.of((q.x, q.y, q.z, q.w), (t.x, t.y, t.z))
