"""The depth image and the calibration that belong to a camera image."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from panoptic_ros.core import PanopticError
from panoptic_ros.middleware.frames import depth_of
from panoptic_ros.projection import HERE, Intrinsics, Placement

KEPT = 8
"""Depth images; the image they belong to has been segmented long before the next eight have come."""

Locate = Callable[[str, Any], Placement]
"""(frame of the camera, stamp) -> the way into the target frame. Raises PanopticError if it is not known."""


@dataclass(frozen=True, slots=True)
class View:
    """depth: (H, W) float32 metres, NaN = unknown. frame_id: where `placement` leads."""

    depth: np.ndarray
    intrinsics: Intrinsics
    placement: Placement
    frame_id: str


class Depths:
    """Depth images that are registered to the camera's images, and the camera's calibration; fed by one thread, read by another.

    tolerance_s: between the stamps of an image and its depth. target_frame: of the results, "" for the camera's own; `locate`
    finds the way there.
    """

    def __init__(self, tolerance_s: float = 0.02, target_frame: str = "", locate: Locate | None = None) -> None:
        self.tolerance_s, self.target_frame = tolerance_s, target_frame
        self._locate = locate
        self._images: deque[tuple[int, Any]] = deque(maxlen=KEPT)
        self._info: Any = None

    def receive_depth(self, message: Any) -> None:
        """sensor_msgs/Image. One that is older than the last starts anew: a bag that loops, a clock that was set back."""
        stamp_ns = _stamp_ns(message.header)
        if self._images and stamp_ns < self._images[-1][0]:
            self._images.clear()
        self._images.append((stamp_ns, message))

    def receive_info(self, message: Any) -> None:
        """sensor_msgs/CameraInfo of the camera, not of the depth sensor."""
        self._info = message

    def clear(self) -> None:
        self._images.clear()

    def view(self, header: Any, size: tuple[int, int]) -> View:
        """What belongs to the image of that header and (H, W). Raises PanopticError if something is missing or does not fit."""
        message, info = self._nearest(header), self._info
        if info is None:
            raise PanopticError("no camera_info has come yet")
        for name, other in (("depth", message.header.frame_id), ("camera_info", info.header.frame_id)):
            if other != header.frame_id:
                raise PanopticError(
                    f"{name} is in frame {other!r}, the image in {header.frame_id!r}: "
                    "depth and calibration have to be those of the image's camera (registered depth)"
                )
        if info.width < 1 or info.height < 1:
            raise PanopticError(f"camera_info has size {info.width}x{info.height}; both have to be at least 1")
        intrinsics = Intrinsics(info.k[0], info.k[4], info.k[2], info.k[5])
        placement, frame_id = HERE, header.frame_id
        if self.target_frame and self.target_frame != frame_id and self._locate is not None:
            placement, frame_id = self._locate(frame_id, header.stamp), self.target_frame
        scaled = intrinsics.scaled(size[1] / info.width, size[0] / info.height)
        return View(_fitted(depth_of(message), size), scaled, placement, frame_id)

    def _nearest(self, header: Any) -> Any:
        stamp_ns = _stamp_ns(header)
        images = list(self._images)
        if not images:
            raise PanopticError("no depth image has come yet")
        near_ns, message = min(images, key=lambda item: abs(item[0] - stamp_ns))
        apart_s = abs(near_ns - stamp_ns) / 1e9
        if apart_s > self.tolerance_s:
            raise PanopticError(f"the nearest depth image is {apart_s:.3f} s from the image, more than {self.tolerance_s} s")
        return message


def _fitted(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """By the nearest pixel: depths of two surfaces must not be mixed."""
    return depth if depth.shape == size else cv2.resize(depth, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def _stamp_ns(header: Any) -> int:
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)
