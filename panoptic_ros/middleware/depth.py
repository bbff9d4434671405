"""The depth image and the calibration that belong to a camera image."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition
from typing import Any

import cv2
import numpy as np

from panoptic_ros.core import PanopticError, quoted
from panoptic_ros.middleware.frames import depth_of
from panoptic_ros.node import stamp_ns
from panoptic_ros.projection import HERE, Intrinsics, Placement

MAX_AGE_NS = 2_000_000_000
MAX_BYTES, MAX_IMAGES = 256 << 20, 256
"""Depth images of a camera are kept until their image has been segmented, none but the last beyond any of these limits."""
_SILENT_NS = 1_000_000_000
"""Depth that is behind the image by more is not waited for."""

Locate = Callable[[str, str, Any, float], Placement]
"""(target frame, frame of the camera, stamp, seconds to wait) -> the way there. Raises PanopticError if it is not known."""


@dataclass(frozen=True, slots=True)
class View:
    """depth: (H, W) float32 metres, NaN = unknown. frame_id: where `placement` leads."""

    depth: np.ndarray
    intrinsics: Intrinsics
    placement: Placement
    frame_id: str


@dataclass(frozen=True, slots=True)
class DepthSettings:
    """tolerance_s: between the stamps of an image and its depth. wait_s: for depth, and for tf, that come after their image.

    target_frame: of the results, "" for the camera's own.
    """

    tolerance_s: float = 0.02
    wait_s: float = 0.1
    target_frame: str = ""


class Depths:
    """Depth images that are registered to the camera's images, and the camera's calibration; fed by one thread, read by another.

    settings: may be replaced at any time. locate: finds the way to the target frame.
    """

    def __init__(self, settings: DepthSettings = DepthSettings(), locate: Locate | None = None) -> None:
        self.settings = settings
        self._locate = locate
        self._changed = Condition()
        self._images: deque[tuple[int, Any]] = deque(maxlen=MAX_IMAGES)
        self._info: Any = None

    def receive_depth(self, message: Any) -> None:
        """sensor_msgs/Image. One that is older than the last starts anew: a bag that loops, a clock that was set back."""
        now_ns = stamp_ns(message.header)
        with self._changed:
            if self._images and now_ns < self._images[-1][0]:
                self._images.clear()
            self._images.append((now_ns, message))
            while len(self._images) > 1 and (self._bytes() > MAX_BYTES or now_ns - self._images[0][0] > MAX_AGE_NS):
                self._images.popleft()
            self._changed.notify_all()

    def receive_info(self, message: Any) -> None:
        """sensor_msgs/CameraInfo of the camera, not of the depth sensor."""
        self._info = message

    def _bytes(self) -> int:
        return sum(len(message.data) for _, message in self._images)

    def clear(self) -> None:
        with self._changed:
            self._images.clear()

    def view(self, header: Any, size: tuple[int, int]) -> View:
        """What belongs to the image of that header and (H, W). Raises PanopticError if something is missing or does not fit."""
        settings = self.settings
        message, info = self._nearest(stamp_ns(header), settings), self._info
        if info is None:
            raise PanopticError("no camera_info has come yet")
        for name, other in (("depth", message.header.frame_id), ("camera_info", info.header.frame_id)):
            if other != header.frame_id:
                raise PanopticError(
                    f"{name} is in frame {quoted(other)}, the image in {quoted(header.frame_id)}: "
                    "depth and calibration have to be those of the image's camera (registered depth)"
                )
        if info.width < 1 or info.height < 1:
            raise PanopticError(f"camera_info has size {info.width}x{info.height}; both have to be at least 1")
        intrinsics = Intrinsics(info.k[0], info.k[4], info.k[2], info.k[5])
        placement, frame_id = HERE, header.frame_id
        if settings.target_frame not in ("", frame_id) and self._locate is not None:
            frame_id = settings.target_frame
            placement = self._locate(frame_id, header.frame_id, header.stamp, settings.wait_s)
        scaled = intrinsics.scaled(size[1] / info.width, size[0] / info.height)
        return View(_fitted(depth_of(message), size), scaled, placement, frame_id)

    def _nearest(self, at_ns: int, settings: DepthSettings) -> Any:
        tolerance_ns = settings.tolerance_s * 1e9
        with self._changed:
            # what is still on its way has a stamp that is near, behind all that has come
            self._changed.wait_for(
                lambda: not self._images or not -_SILENT_NS < self._images[-1][0] - at_ns < -tolerance_ns, settings.wait_s
            )
            if not self._images:
                raise PanopticError("no depth image has come yet")
            near_ns, message = min(self._images, key=lambda item: abs(item[0] - at_ns))
        apart_s = abs(near_ns - at_ns) / 1e9
        if apart_s > settings.tolerance_s:
            limit_s = settings.tolerance_s
            raise PanopticError(f"the nearest depth image is {apart_s:.3f} s from the image, more than {limit_s} s")
        return message


def _fitted(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """By the nearest pixel: depths of two surfaces must not be mixed."""
    return depth if depth.shape == size else cv2.resize(depth, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
