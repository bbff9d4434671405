"""Image files and video clips as frames: (H, W, 3) uint8 RGB."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from panoptic_ros.core import PanopticError

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""What counts as an image when a folder is listed; a file named on its own may be called anything."""


def read_image(path: Path) -> np.ndarray:
    """An image file as a frame; see `decode`. Raises PanopticError, also if the file cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PanopticError(f"cannot read {path}: {error.strerror}") from error
    return decode(data, str(path))


def decode(data: bytes, name: str) -> np.ndarray:
    """Any encoded image as a frame: grey becomes RGB, alpha is dropped, 16 bits become 8, EXIF turns it upright.

    Raises PanopticError, naming `name`, for what is empty, truncated or no image.
    """
    if not data:
        raise PanopticError(f"{name} is empty (0 bytes): expected a JPEG, PNG or another image file")
    if _is_truncated(data):
        raise PanopticError(f"{name} is truncated: it ends after {len(data)} bytes, in the middle of the image")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # for example more pixels than OpenCV allows
        image = None
    if image is None:
        raise PanopticError(f"{name} is no image that can be read: expected a JPEG, PNG or another image file")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def image_files(paths: Sequence[Path]) -> list[Path]:
    """The given files, and of the given folders the images in order of their names. Raises PanopticError if there are none."""
    files: list[Path] = []
    for path in paths:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        files += [file for file in inside if file == path or file.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        raise PanopticError(f"no images in {', '.join(map(str, paths))}: a folder's images are {', '.join(IMAGE_SUFFIXES)}")
    return files


def frames(path: Path) -> Iterator[np.ndarray]:
    """The frames of a video clip, of a folder of images, or of one image. Raises PanopticError if it is none of them."""
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        yield from map(read_image, image_files([path]))
    else:
        yield from _clip(path)


def _clip(path: Path) -> Iterator[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    readable, image = capture.read()
    if not readable:
        raise PanopticError(f"cannot read {path}: expected a video clip, an image or a folder of images")
    while readable:
        yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        readable, image = capture.read()
    capture.release()


def _is_truncated(data: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end; OpenCV would fill up the rest with grey without a word.

    A JPEG's thumbnail has an end of its own, but before the scan (0xFFDA) of the image itself.
    """
    if data.startswith(b"\xff\xd8"):
        return data.rfind(b"\xff\xd9") < max(data.rfind(b"\xff\xda"), 2)
    return data.startswith(b"\x89PNG") and b"IEND" not in data
