"""Image files and video clips as frames: (H, W, 3) uint8 RGB."""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from panoptic_ros.core import PanopticError
from panoptic_ros.image_header import MAX_PIXELS, MAX_SIDE, is_truncated, size_of

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""What counts as an image when a folder is listed; a file named on its own may be called anything."""


def read_image(path: Path) -> np.ndarray:
    """An image file as a frame; see `decode`. Raises PanopticError, also if the file cannot be read."""
    return decode(_content(path), str(path))


def read_values(path: Path) -> np.ndarray:
    """An image file as it is stored: (H, W) or (H, W, C), colours as BGR. Raises PanopticError as `read_image` does."""
    return _decoded(_content(path), str(path), cv2.IMREAD_UNCHANGED)


def decode(data: bytes, name: str) -> np.ndarray:
    """Any encoded image as a frame: grey becomes RGB, alpha is dropped, 16 bits become 8, EXIF turns it upright.

    Raises PanopticError, naming `name`, for what is empty, truncated, too large or no image.
    """
    image = _decoded(data, name, cv2.IMREAD_COLOR)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def _content(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a device may have no end
            raise PanopticError(f"cannot read {path}: it is no file")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        raise PanopticError(f"cannot read {path}: {getattr(error, 'strerror', error)}") from error


def _decoded(data: bytes, name: str, flags: int) -> np.ndarray:
    if not data:
        raise PanopticError(f"{name} is empty (0 bytes): expected a JPEG, PNG or another image file")
    if is_truncated(data):
        raise PanopticError(f"{name} is truncated: it ends after {len(data)} bytes, in the middle of the image")
    size = size_of(data)
    if size and (max(size) > MAX_SIDE or size[0] * size[1] > MAX_PIXELS):
        raise PanopticError(
            f"{name} has {size[0]}x{size[1]} pixels, too many: height and width up to {MAX_SIDE}, in all up to {MAX_PIXELS}"
        )
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if size else None
    except cv2.error:
        image = None
    if image is None:
        raise PanopticError(f"{name} is no image that can be read: expected a JPEG, PNG, WebP, BMP or TIFF")
    return image


def image_files(paths: Sequence[Path]) -> list[Path]:
    """The given files, and of the given folders the images in order of their names. Raises PanopticError if there are none."""
    files: list[Path] = []
    for path in paths:
        inside = sorted(path.iterdir()) if os.path.isdir(path) else [path]
        files += [file for file in inside if file == path or file.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        raise PanopticError(f"no images in {', '.join(map(str, paths))}: a folder's images are {', '.join(IMAGE_SUFFIXES)}")
    return files


def frames(path: Path) -> Iterator[np.ndarray]:
    """The frames of a video clip, of a folder of images, or of one image. Raises PanopticError if it is none of them."""
    if os.path.isdir(path) or path.suffix.lower() in IMAGE_SUFFIXES:
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
