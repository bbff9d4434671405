"""Where images can come from: video clips, folders of images, ROS 2 bags, camera devices."""

import os
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from panoptic_ros import images
from panoptic_ros.core import PanopticError

STREET_CLIP = Path(__file__).resolve().parent / "assets" / "street_demo.mp4"
"""A street scene that this project rendered; comes with the package."""
DEFAULT_RATE_HZ = 10.0
"""Of folders, and of clips that do not say."""
COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"
IMAGE_TYPES = ("sensor_msgs/msg/Image", COMPRESSED_TYPE)
CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"
_BAG_FILES = (".mcap", ".db3")


@dataclass(frozen=True, slots=True)
class Frame:
    """rgb: (H, W, 3) uint8. stamp_ns: since the start of the source."""

    stamp_ns: int
    rgb: np.ndarray


@dataclass(frozen=True, slots=True)
class Recorded:
    """A message of a bag as it was recorded. stamp_ns: when. type: such as sensor_msgs/msg/Image. cdr: with its header."""

    stamp_ns: int
    type: str
    cdr: bytes


Item = Frame | Recorded


def open_source(path: Path, rate_hz: float | None = None, topic: str | None = None) -> Iterator[Item]:
    """The items of a clip, a folder of images, an image, a rosbag2 (its folder, or the .mcap or .db3 in it) or a device, by time.

    rate_hz: of a clip or a folder; a bag keeps its times. topic: which images of a bag, if it has several.
    Raises PanopticError for what is none of these or cannot be read on.
    """
    if rate_hz is not None and not rate_hz > 0:
        raise PanopticError(f"rate {rate_hz} is not possible: images per second, above 0")
    if not os.path.exists(path):
        raise PanopticError(f"{path} does not exist: expected a video clip, a folder of images or a rosbag2")
    if path.is_char_device():
        return _device(path, rate_hz)
    if path.suffix in _BAG_FILES and not path.is_dir():
        path = path.parent
    if (path / "metadata.yaml").exists():
        if rate_hz is not None:
            raise PanopticError(f"{path} is a bag, which has its own rate; {rate_hz} Hz cannot be chosen (its speed can)")
        return _bag(path, topic)
    if topic is not None:
        raise PanopticError(f"{path} is no bag (it has no metadata.yaml); topic {topic} cannot be chosen from it")
    return _frames(path, rate_hz or _own_rate_hz(path))


def paced(items: Iterable[Item], stop: threading.Event, speed: float = 1.0) -> Iterator[tuple[int, Item]]:
    """Each item at its time, with that time of the host's clock in nanoseconds; ends early when `stop` is set.

    speed: 2 plays twice as fast. What is late comes at once.
    """
    begin_ns, first_ns = time.time_ns(), None
    begin_s = time.monotonic()
    for item in items:
        first_ns = item.stamp_ns if first_ns is None else first_ns
        offset_ns = round((item.stamp_ns - first_ns) / speed)
        if stop.wait(max(0.0, begin_s + offset_ns / 1e9 - time.monotonic())):
            return
        yield begin_ns + offset_ns, item


def _frames(path: Path, rate_hz: float) -> Iterator[Frame]:
    for index, rgb in enumerate(images.frames(path)):
        yield Frame(round(index * 1e9 / rate_hz), rgb)


def _device(path: Path, rate_hz: float | None) -> Iterator[Frame]:
    """Of a camera that the system has a driver for. rate_hz: what is asked of it; it may choose another."""
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise PanopticError(f"{path} gives no images: is it a camera, and free?")
    if rate_hz:
        capture.set(cv2.CAP_PROP_FPS, rate_hz)
    begin_ns = time.monotonic_ns()
    while True:
        good, bgr = capture.read()
        if not good:
            raise PanopticError(f"{path} gives no more images")
        yield Frame(time.monotonic_ns() - begin_ns, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


def _own_rate_hz(path: Path) -> float:
    rate_hz = 0.0 if path.is_dir() else cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS)
    return rate_hz if 0 < rate_hz <= 1000 else DEFAULT_RATE_HZ


def _bag(path: Path, topic: str | None) -> Iterator[Recorded]:
    """The messages of one image topic and of the CameraInfo topics."""
    try:
        from rosbags.rosbag2 import Reader
    except ImportError as error:
        raise PanopticError(f"reading the bag {path} takes the package rosbags: pip install rosbags") from error
    try:
        with Reader(path) as reader:
            chosen = _image_topic(path, topic, {c.topic for c in reader.connections if c.msgtype in IMAGE_TYPES})
            wanted = [c for c in reader.connections if c.topic == chosen or c.msgtype == CAMERA_INFO_TYPE]
            for connection, stamp_ns, cdr in reader.messages(wanted):
                yield Recorded(stamp_ns, connection.msgtype, bytes(cdr))
    except PanopticError:
        raise
    except Exception as error:  # rosbags, SQLite, zstandard and YAML each have their own
        raise PanopticError(f"cannot read the bag {path}: {error}") from error


def _image_topic(path: Path, topic: str | None, topics: set[str]) -> str:
    choices = ", ".join(sorted(topics)) or "none"
    if topic is None and len(topics) == 1:
        return topics.copy().pop()
    if topic is None:
        raise PanopticError(f"{path} has image topics {choices}; choose one" if topics else f"{path} has no image topic")
    if topic not in topics:
        raise PanopticError(f"{path} has no image topic {topic}; its image topics are {choices}")
    return topic
