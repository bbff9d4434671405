"""Image files and clips: every kind that comes along, and clear words for what is broken."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic_ros.core import PanopticError
from panoptic_ros.image_header import MAX_PIXELS, size_of
from panoptic_ros.images import decode, frames, image_files, read_image

RGB = np.full((40, 60, 3), (200, 100, 50), np.uint8)
RGB[:, 30:] = (10, 20, 250)
BGR = RGB[..., ::-1]
WIDE = BGR.astype(np.uint16) * 257
EXACT = {
    "rgb.png": BGR, "rgb.bmp": BGR, "rgb.webp": BGR, "rgb.tiff": BGR, "rgb16.png": WIDE, "rgb16.tiff": WIDE,
    "alpha.png": np.dstack([BGR, np.full((40, 60), 7, np.uint8)]),
}  # fmt: skip


def encoded(suffix: str, image: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(suffix, image, options)[1].tobytes()


@pytest.mark.parametrize("name", EXACT)
def test_lossless_files_are_read_exactly(tmp_path: Path, name: str) -> None:
    options = (cv2.IMWRITE_WEBP_QUALITY, 101) if name.endswith("webp") else ()
    (tmp_path / name).write_bytes(encoded(Path(name).suffix, EXACT[name], *options))
    frame = read_image(tmp_path / name)
    assert frame.dtype == np.uint8
    assert (frame == RGB).all()


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_grey_becomes_rgb(depth: type) -> None:
    grey = np.full((5, 7), 99, depth) * (257 if depth is np.uint16 else 1)
    assert decode(encoded(".png", grey), "grey").tolist() == [[[99, 99, 99]] * 7] * 5


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
def test_a_file_cut_anywhere_is_refused(suffix: str) -> None:
    data = encoded(suffix, cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8), (0, 0), 2))
    assert decode(data, "whole").shape == (40, 60, 3)
    for length in range(0, len(data) - 2, 7):
        with pytest.raises(PanopticError, match="cut"):
            decode(data[:length], "cut")


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_image() -> None:
    thumbnail, data = encoded(".jpg", BGR[:8, :8]), encoded(".jpg", BGR)
    comment = b"\xff\xfe" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    with_thumbnail = data[:2] + comment + data[2:]
    assert decode(with_thumbnail, "whole").shape == (40, 60, 3)
    with pytest.raises(PanopticError, match="camera.jpg is truncated: it ends after"):
        decode(with_thumbnail[:-100], "camera.jpg")


@pytest.mark.parametrize(
    ("content", "message"), [(b"", r"is empty \(0 bytes\)"), (b"text", "no image that can be read"), (None, "No such file")]
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(PanopticError, match=f"a.png.* {message}"):
        read_image(tmp_path / "a.png")


def test_folders_give_their_images_in_order(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "notes.txt"):
        (tmp_path / name).touch()
    assert [file.name for file in image_files([tmp_path, tmp_path / "notes.txt"])] == ["a.JPG", "b.png", "notes.txt"]


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PanopticError, match=f"no images in {tmp_path}: a folder's images are .bmp"):
        image_files([tmp_path])


def test_a_clip_gives_its_frames(tmp_path: Path) -> None:
    clip = cv2.VideoWriter(str(tmp_path / "clip.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for value in (0, 100, 200):
        clip.write(np.full((48, 64, 3), (value, 0, 0), np.uint8))
    clip.release()
    blue = [frame[24, 32, 2] for frame in frames(tmp_path / "clip.mp4")]
    assert blue == pytest.approx([0, 100, 200], abs=12)


@pytest.mark.parametrize("name", ["missing.mp4", "text.mp4"])
def test_what_is_no_clip_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.mp4").write_text("text")
    with pytest.raises(PanopticError, match=f"cannot read .*{name}: expected a video clip"):
        list(frames(tmp_path / name))


@pytest.mark.shared_data
def test_real_clips_are_read(shared_data: Path) -> None:
    for file in sorted((shared_data / "videos").glob("*.mp4")):
        assert next(frames(file)).shape == (432, 768, 3)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def header_only(width: int, height: int) -> dict[str, bytes]:
    """Files of each kind that claim to have this size, and end soon after."""
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    frame = b"\xff\xc0\0\x0b\x08" + (height & 0xFFFF).to_bytes(2, "big") + (width & 0xFFFF).to_bytes(2, "big") + b"\1\1\x11\0"
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in ((256, width), (257, height)))
    both = (width - 1 & 0x3FFF) | (height - 1 & 0x3FFF) << 14
    return {
        "png": b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", size + b"\x08\2\0\0\0") + png_chunk(b"IEND", b""),
        "jpeg": b"\xff\xd8\xff\xe0\0\4ab\xff" + frame + b"\xff\xd9",
        "bmp": b"BM" + bytes(12) + struct.pack("<Iii", 40, width, -height) + bytes(30),
        "tiff": b"II*\0" + struct.pack("<IH", 8, 2) + tags + bytes(4),
        "webp": b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + both.to_bytes(4, "little") + bytes(9),
    }


@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp", "tiff", "webp"])
@pytest.mark.parametrize(("width", "height"), [(16_000, 15_000), (16_380, 1)])
def test_the_size_is_read_before_anything_is_decoded(kind: str, width: int, height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = header_only(width, height)[kind]
    assert size_of(data) == (height, width)
    if width * height > MAX_PIXELS:
        monkeypatch.setattr(cv2, "imdecode", None)
        with pytest.raises(PanopticError, match=f"bomb has {height}x{width} pixels, too many: height and width up to 16384"):
            decode(data, "bomb")


@pytest.mark.parametrize("name", [*EXACT, "grey.jpg", "lossy.webp"])
def test_the_size_is_that_of_the_picture(name: str) -> None:
    assert size_of(encoded(Path(name).suffix, EXACT.get(name, BGR))) == (40, 60)


def test_a_side_that_is_too_long_is_refused() -> None:
    with pytest.raises(PanopticError, match="1x65000 pixels, too many"):
        decode(header_only(65_000, 1)["jpeg"], "strip")


def test_a_chunk_that_claims_gigabytes_takes_none() -> None:
    data = encoded(".png", BGR)
    at = data.index(b"IDAT") - 4
    with pytest.raises(PanopticError, match="bomb is truncated"):
        decode(data[:at] + b"\x7f\xff\xff\xff" + data[at + 4 :], "bomb")


@pytest.mark.parametrize(
    "data", [b"GIF89a" + bytes(40), b"v/1\x01" + bytes(40), b"BM", b"RIFF1234WEBPVP8?" + bytes(30), b"MM\0*"]
)
def test_no_other_codec_is_asked(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(PanopticError, match="is no image that can be read"):
        decode(data, "other")


@pytest.mark.parametrize(("name", "reason"), [("/dev/zero", "it is no file"), ("a\0b", "null byte"), ("x" * 300, "too long")])
def test_names_that_are_no_files_are_refused(name: str, reason: str) -> None:
    with pytest.raises(PanopticError, match=reason):
        read_image(Path(name))
