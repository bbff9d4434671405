"""Image messages -> RGB frames, as cv_bridge converts them to rgb8.

Works on the messages of any middleware: the fields are those of sensor_msgs/Image and sensor_msgs/CompressedImage.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, cast

import cv2
import numpy as np

from panoptic_ros.core import PanopticError, quoted
from panoptic_ros.images import decode


class Image(Protocol):
    """sensor_msgs/Image."""

    header: Any
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


class CompressedImage(Protocol):
    """sensor_msgs/CompressedImage."""

    header: Any
    format: str
    data: Any


@dataclass(frozen=True, slots=True)
class _Layout:
    """How an encoding lies in memory. `to_rgb`: an OpenCV conversion code, None for RGB itself.

    rows: rows of data for a row of the image. even: the width, and with more rows than one the height, come in pairs.
    """

    channels: int
    to_rgb: int | None
    dtype: type = np.uint8
    rows: Fraction = Fraction(1)
    even: bool = False


def _colour(bits: int, dtype: type) -> dict[str, _Layout]:
    # OpenCV names a Bayer pattern by the second pixel of its second row, ROS by its first.
    return {
        f"rgb{bits}": _Layout(3, None, dtype),
        f"bgr{bits}": _Layout(3, cv2.COLOR_BGR2RGB, dtype),
        f"rgba{bits}": _Layout(4, cv2.COLOR_RGBA2RGB, dtype),
        f"bgra{bits}": _Layout(4, cv2.COLOR_BGRA2RGB, dtype),
        f"mono{bits}": _Layout(1, cv2.COLOR_GRAY2RGB, dtype),
        f"bayer_rggb{bits}": _Layout(1, cv2.COLOR_BayerBG2RGB, dtype),
        f"bayer_bggr{bits}": _Layout(1, cv2.COLOR_BayerRG2RGB, dtype),
        f"bayer_gbrg{bits}": _Layout(1, cv2.COLOR_BayerGR2RGB, dtype),
        f"bayer_grbg{bits}": _Layout(1, cv2.COLOR_BayerGB2RGB, dtype),
    }


_UYVY = _Layout(2, cv2.COLOR_YUV2RGB_UYVY, even=True)
_YUYV = _Layout(2, cv2.COLOR_YUV2RGB_YUY2, even=True)
_LAYOUTS = {
    **_colour(8, np.uint8),
    **_colour(16, np.uint16),
    "uyvy": _UYVY,
    "yuv422": _UYVY,
    "yuyv": _YUYV,
    "yuv422_yuy2": _YUYV,
    "nv12": _Layout(1, cv2.COLOR_YUV2RGB_NV12, rows=Fraction(3, 2), even=True),
    "nv21": _Layout(1, cv2.COLOR_YUV2RGB_NV21, rows=Fraction(3, 2), even=True),
}
ENCODINGS = tuple(_LAYOUTS)
MAX_FRAME_ID = 256
"""Characters."""
MAX_DEPTH_M = 10_000.0
"""What is further is not known."""
_DEPTHS = {
    "16UC1": _Layout(1, None, np.uint16),
    "mono16": _Layout(1, None, np.uint16),
    "32FC1": _Layout(1, None, np.float32),
}


def check_header(header: Any) -> None:
    """Raises PanopticError for a frame_id that would make an answer large, since every detection has the image's header."""
    if len(header.frame_id) > MAX_FRAME_ID:
        raise PanopticError(f"frame_id {quoted(header.frame_id)} is too long; at most {MAX_FRAME_ID} characters")


def frame_of(message: Image | CompressedImage) -> np.ndarray:
    """(H, W, 3) uint8 RGB, C-contiguous; a read-only view of the message where that is possible.

    Raises PanopticError, naming the value and the legal ones, for a message that is malformed or of an unknown encoding.
    """
    if hasattr(message, "format"):
        return _from_compressed(cast(CompressedImage, message))
    return _from_raw(message)


def depth_of(message: Image) -> np.ndarray:
    """(H, W) float32 metres up to MAX_DEPTH_M, NaN where it is not known, of 16-bit millimetres or float metres (REP 118).

    Raises PanopticError for a message that is malformed or of another encoding.
    """
    layout = _DEPTHS.get(message.encoding)
    if layout is None:
        raise PanopticError(f"depth encoding {quoted(message.encoding)} is not supported; these are: {', '.join(_DEPTHS)}")
    depth = _pixels(message, layout).astype(np.float32)
    if layout.dtype is np.uint16:
        depth /= 1000
    depth[~((depth > 0) & (depth <= MAX_DEPTH_M))] = np.nan
    return depth


def pixel_size(message: Image) -> int:
    """Bytes of a pixel in a row. Raises PanopticError for what `frame_of` would refuse."""
    layout = _layout(message)
    return _pixels(message, layout).itemsize * layout.channels


def _layout(message: Image) -> _Layout:
    layout = _LAYOUTS.get(message.encoding)
    if layout is None:
        raise PanopticError(f"image encoding {quoted(message.encoding)} is not supported; these are: {', '.join(ENCODINGS)}")
    return layout


def _from_raw(message: Image) -> np.ndarray:
    layout = _layout(message)
    pixels = _pixels(message, layout)
    if layout.to_rgb is not None:
        pixels = cv2.cvtColor(pixels, layout.to_rgb)
    if layout.dtype is np.uint16:
        pixels = cv2.convertScaleAbs(pixels, alpha=255 / 65535)
    return np.ascontiguousarray(pixels)


def _pixels(message: Image, layout: _Layout) -> np.ndarray:
    """The samples in the host's byte order, without padding: (rows, W) or (rows, W, C)."""
    height, width, step = message.height, message.width, message.step
    if height < 1 or width < 1:
        raise PanopticError(f"image size {width}x{height} is empty; both have to be at least 1")
    if layout.even and (width % 2 or layout.rows > 1 and height % 2):
        raise PanopticError(f"image size {width}x{height} is odd; {message.encoding} needs pairs of pixels")
    dtype = np.dtype(layout.dtype)
    row = width * layout.channels * dtype.itemsize
    if step < row or step % dtype.itemsize:
        raise PanopticError(
            f"image step {step} is wrong for {width} pixels of {message.encoding}: at least {row}"
            + (f", a multiple of {dtype.itemsize}" if dtype.itemsize > 1 else "")
        )
    rows = int(height * layout.rows)
    data = np.frombuffer(message.data, np.uint8) if len(message.data) else np.empty(0, np.uint8)
    if data.size != step * rows:
        raise PanopticError(f"image data has {data.size} bytes; step {step} x {rows} rows are {step * rows}")
    samples = data.reshape(rows, step)[:, :row].view(dtype.newbyteorder(">" if message.is_bigendian else "<"))
    samples = samples.astype(dtype, copy=False)
    return samples if layout.channels == 1 else samples.reshape(rows, width, layout.channels)


def _from_compressed(message: CompressedImage) -> np.ndarray:
    return decode(bytes(message.data), f"compressed image of format {quoted(message.format)}")
