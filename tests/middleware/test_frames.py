"""Image messages of every encoding as RGB. Expected pixels are literal."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_ros.core import PanopticError
from panoptic_ros.middleware.dds_types import CompressedImage, Header, Image
from panoptic_ros.middleware.frames import ENCODINGS, frame_of

RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (77, 77, 77)
PICTURE = np.array([[RED, GREEN], [BLUE, GREY]], np.uint8)  # (2, 2, 3)


def image(
    encoding: str, rows: list[list[int]], width: int, height: int | None = None, dtype: str = "u1", **changes: object
) -> Image:
    samples = np.array(rows, dtype)
    message = Image(Header(), height or len(rows), width, encoding, 0, samples[0].nbytes, samples.tobytes())
    return replace(message, **changes)


@pytest.mark.parametrize(
    ("encoding", "rows"),
    [
        ("rgb8", [[255, 0, 0, 0, 255, 0], [0, 0, 255, 77, 77, 77]]),
        ("bgr8", [[0, 0, 255, 0, 255, 0], [255, 0, 0, 77, 77, 77]]),
        ("rgba8", [[255, 0, 0, 1, 0, 255, 0, 2], [0, 0, 255, 3, 77, 77, 77, 4]]),
        ("bgra8", [[0, 0, 255, 1, 0, 255, 0, 2], [255, 0, 0, 3, 77, 77, 77, 4]]),
    ],
)
@pytest.mark.parametrize("padding", [0, 3])
def test_colours(encoding: str, rows: list[list[int]], padding: int) -> None:
    frame = frame_of(image(encoding, [row + [9] * padding for row in rows], 2))
    np.testing.assert_array_equal(frame, PICTURE)
    assert frame.dtype == np.uint8 and frame.flags.c_contiguous


@pytest.mark.parametrize("big", [0, 1])
@pytest.mark.parametrize("padding", [0, 1])
def test_16_bits_become_8(big: int, padding: int) -> None:
    dtype = ">u2" if big else "<u2"
    row = [0, 257, 65535, 32896] + [7] * padding
    frame = frame_of(image("mono16", [row], 4, dtype=dtype, is_bigendian=big))
    np.testing.assert_array_equal(frame, [[[0] * 3, [1] * 3, [255] * 3, [128] * 3]])
    frame = frame_of(image("bgr16", [[65535, 257, 0, 9][: 3 + padding]], 1, dtype=dtype, is_bigendian=big))
    np.testing.assert_array_equal(frame, [[[0, 1, 255]]])


def test_grey() -> None:
    np.testing.assert_array_equal(frame_of(image("mono8", [[0, 77, 255, 9]], 3)), [[[0] * 3, [77] * 3, [255] * 3]])


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("pattern", "row0", "row1"), [("rggb", "RG", "GB"), ("bggr", "BG", "GR"), ("gbrg", "GB", "RG"), ("grbg", "GR", "BG")]
)
@pytest.mark.parametrize("color", [RED, GREEN, BLUE])
def test_bayer(pattern: str, row0: str, row1: str, color: tuple[int, int, int], bits: int) -> None:
    """A surface of one colour lights only the cells under that filter."""
    cell = dict(zip("RGB", color))
    rows = [[cell[name] * (257 if bits == 16 else 1) for name in row * 4] for row in (row0, row1) * 4]
    frame = frame_of(image(f"bayer_{pattern}{bits}", rows, 8, dtype=f"<u{bits // 8}"))
    np.testing.assert_array_equal(frame[2:-2, 2:-2], np.broadcast_to(color, (4, 4, 3)))


# BT.601, studio swing: (Y, U, V) of pure red, as every table has it, and of a grey.
Y_RED, U_RED, V_RED, Y_GREY, NEUTRAL = 81, 90, 240, 126, 128


@pytest.mark.parametrize(("encoding", "order"), [("uyvy", "UYVY"), ("yuv422", "UYVY"), ("yuyv", "YUYV"), ("yuv422_yuy2", "YUYV")])
def test_yuv422(encoding: str, order: str) -> None:
    red, grey = yuv_row(order, Y_RED, U_RED, V_RED), yuv_row(order, Y_GREY, NEUTRAL, NEUTRAL)
    np.testing.assert_allclose(frame_of(image(encoding, [red + grey + [0, 0]], 4)), [[RED, RED, (128,) * 3, (128,) * 3]], atol=2)


def yuv_row(order: str, y: int, u: int, v: int) -> list[int]:
    """Two pixels of one colour."""
    return [{"Y": y, "U": u, "V": v}[name] for name in order]


@pytest.mark.parametrize(("encoding", "chroma"), [("nv12", [U_RED, V_RED]), ("nv21", [V_RED, U_RED])])
def test_yuv420(encoding: str, chroma: list[int]) -> None:
    rows = [[Y_RED] * 4 + [0], [Y_RED] * 4 + [0], chroma * 2 + [0]]
    np.testing.assert_allclose(frame_of(image(encoding, rows, 4, height=2)), np.broadcast_to(RED, (2, 4, 3)), atol=2)


BASE = image("rgb8", [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]], 2)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"encoding": "rgb9"}, "encoding 'rgb9' is not supported; these are: rgb8, bgr8"),
        ({"encoding": ""}, "encoding '' is not supported"),
        ({"encoding": "32FC1"}, "encoding '32FC1' is not supported"),
        ({"width": 0}, "size 0x2 is empty"),
        ({"height": 0, "data": b""}, "size 2x0 is empty"),
        ({"step": 5}, "step 5 is wrong for 2 pixels of rgb8: at least 6"),
        ({"step": 0}, "step 0 is wrong"),
        ({"width": 3}, "step 6 is wrong for 3 pixels of rgb8: at least 9"),
        ({"height": 3}, "data has 12 bytes; step 6 x 3 rows are 18"),
        ({"height": 1}, "data has 12 bytes; step 6 x 1 rows are 6"),
        ({"data": b""}, "data has 0 bytes"),
        ({"width": 2**32 - 1, "height": 2**32 - 1, "step": 2**32 - 1}, "at least 12884901885"),
        ({"encoding": "mono16", "step": 5}, "step 5 is wrong for 2 pixels of mono16: at least 4, a multiple of 2"),
        ({"encoding": "uyvy", "width": 1}, "size 1x2 is odd; uyvy needs pairs"),
        ({"encoding": "nv12", "height": 1}, "size 2x1 is odd"),
    ],
)
def test_says_what_is_wrong(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(PanopticError, match=reason):
        frame_of(replace(BASE, **changes))


@given(
    st.sampled_from(ENCODINGS),
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(0, 40),
    st.integers(0, 1),
    st.binary(max_size=60),
)
def test_any_message_gives_a_frame_or_a_reason(encoding: str, width: int, height: int, step: int, big: int, data: bytes) -> None:
    try:
        frame = frame_of(Image(Header(), height, width, encoding, big, step, data))
    except PanopticError:
        return
    assert frame.shape == (height, width, 3) and frame.dtype == np.uint8


@given(st.sampled_from(ENCODINGS), st.integers(1, 5), st.integers(1, 5), st.integers(0, 5), st.randoms())
def test_every_well_formed_message_gives_a_frame(encoding: str, half_width: int, half_height: int, padding: int, random) -> None:  # type: ignore[no-untyped-def]
    width, height = 2 * half_width, 2 * half_height
    samples = (
        4 if encoding.startswith(("rgba", "bgra")) else 3 if encoding.startswith(("rgb", "bgr")) else 2 if "y" in encoding else 1
    )
    step = (width * samples + padding) * 2
    rows = height * 3 // 2 if encoding.startswith("nv") else height
    assert frame_of(Image(Header(), height, width, encoding, 0, step, random.randbytes(step * rows))).shape == (
        height,
        width,
        3,
    )


def compressed(suffix: str, picture: np.ndarray, **changes: object) -> CompressedImage:
    data = cv2.imencode(suffix, picture[..., ::-1])[1].tobytes()
    return replace(CompressedImage(Header(), f"rgb8; {suffix[1:]} compressed bgr8", data), **changes)


def test_png_is_exact() -> None:
    np.testing.assert_array_equal(frame_of(compressed(".png", PICTURE)), PICTURE)


def test_jpeg_is_rgb() -> None:
    picture = np.repeat(np.repeat(PICTURE, 16, axis=0), 16, axis=1)
    frame = frame_of(compressed(".jpg", picture))
    np.testing.assert_allclose(frame[4::16, 4::16].astype(int), picture[4::16, 4::16].astype(int), atol=8)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_truncated_files_are_refused(suffix: str, share: float) -> None:
    message = compressed(suffix, np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8))
    length = int(len(message.data) * share)
    with pytest.raises(PanopticError, match=f"compressed image of format '{message.format}'.*{length}"):
        frame_of(replace(message, data=message.data[:length]))


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", b"\x89PNG\r\n\x1a\n" + bytes(20) + b"IEND\xaeB`\x82", b"\xff\xd8\xff\xda\xff\xd9"]
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(PanopticError, match="compressed image of format 'jpeg'"):
        frame_of(CompressedImage(Header(), "jpeg", data))
