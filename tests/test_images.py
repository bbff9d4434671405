"""Image files and clips: every kind that comes along, and clear words for what is broken."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic_ros.core import PanopticError
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
