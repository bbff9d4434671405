"""The demo, on a drawn clip and the tiny engine: three processes, pictures, and an end."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from dds_client import free_domain, running
from tiny_engine import RED_CAR, ROAD, scene

from panoptic_ros.commands.demo_report import Film, Identities
from panoptic_ros.core import Panoptic, PanopticError, Segment
from panoptic_ros.middleware import dds_types as types
from panoptic_ros.middleware import messages


def write_clip(path: Path, frames: int) -> Path:
    """A car drives to the right."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 15, (384, 256))
    for index in range(frames):
        frame = scene()
        frame[32:48, 8:32] = ROAD
        frame[32:48, 8 + index // 2 : 32 + index // 2] = RED_CAR
        writer.write(cv2.resize(frame, (384, 256), interpolation=cv2.INTER_NEAREST)[..., ::-1])
    writer.release()
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out" / "demo"


def test_demo(tmp_path: Path, tiny_folder: Path, out: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 30)
    with running(
        "demo", "--model", str(tiny_folder), "--source", str(clip), "--out", str(out), "--domain", str(free_domain())
    ) as demo:
        output = demo.communicate(timeout=60)[0]
    assert demo.returncode == 0, output
    counts = re.search(
        r"the camera sent 30 images; the node received 30, answered (\d+), dropped_newer (\d+), dropped_bad 0", output
    )
    assert counts and int(counts[1]) + int(counts[2]) == 30 and int(counts[1]) > 20, output
    assert re.search(r"#1 +car +score 0.06  box \(\d+, 128\) to \(\d+, 192\)", output), output
    assert re.search(r"2 identities in \d+ images:\n  #1    car +seen +0.\d s to +1.9 s, in \d+ images", output), output
    video = cv2.VideoCapture(str(out / "overlay.mp4"))
    assert 20 < video.get(cv2.CAP_PROP_FRAME_COUNT) <= int(counts[1])  # a busy machine leaves out pictures, the newest wins
    assert video.get(cv2.CAP_PROP_FRAME_WIDTH) == 384
    sheet = cv2.imread(str(out / "contact_sheet.png"))
    assert sheet.shape[1] == 3 * 516 and sheet.std() > 20


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(["--model", "nonesuch"], "unknown model 'nonesuch'"), (["--source", "nowhere"], "nowhere does not exist")],
)
def test_a_demo_that_cannot_run_says_why(tiny_folder: Path, out: Path, arguments: list[str], reason: str) -> None:
    with running("demo", "--model", str(tiny_folder), "--out", str(out), "--domain", str(free_domain()), *arguments) as demo:
        output = demo.communicate(timeout=60)[0]
    assert demo.returncode != 0 and reason in output and "Traceback" not in output


def array(sec: int, *instances: int) -> types.Detection2DArray:
    nowhere = np.zeros(2, np.float32)
    segments = [Segment(26 << 16 | i, 26, 0.5 + sec / 10, 4, (1, 2, 3, 4), nowhere) for i in instances]
    segments.append(Segment(7 << 16, 7, 1.0, 4, (0, 0, 9, 9), nowhere))
    panoptic = Panoptic(np.zeros((9, 9), np.int32), tuple(segments), 0)
    return messages.segments(types, messages.header_at(types, (100 + sec) * 10**9), panoptic, {7: "road", 26: "car"})


def test_identities_are_confirmed_things_with_their_lifetimes() -> None:
    identities = Identities()
    for sec, instances in enumerate([(65535,), (1,), (1, 2), (1, 65530)]):
        identities.add(array(sec, *instances))
    assert identities.describe(array(2, 1, 2)) == (
        "   2.0 s  road\n"
        "          #1    car            score 0.70  box (1, 2) to (3, 4)\n"
        "          #2    car            score 0.70  box (1, 2) to (3, 4)"
    )
    assert identities.summary() == (
        "2 identities in 4 images:\n"
        "  #1    car            seen   1.0 s to   3.0 s, in 3 images, mean score 0.70\n"
        "  #2    car            seen   2.0 s to   2.0 s, in 1 images, mean score 0.70"
    )


def test_film_of_changing_sizes_and_of_one_frame(tmp_path: Path) -> None:
    film = Film()
    film.add(0, np.zeros((40, 60, 3), np.uint8))
    film.write_video(tmp_path / "one.mp4")
    film.add(500_000_000, np.full((80, 60, 3), 200, np.uint8))
    film.write_video(tmp_path / "two.mp4")
    film.write_sheet(tmp_path / "sheet.png")
    video = cv2.VideoCapture(str(tmp_path / "two.mp4"))
    assert (video.get(cv2.CAP_PROP_FPS), video.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (2, 40)
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None
    with pytest.raises(PanopticError, match="cannot write"):
        film.write_sheet(tmp_path / "nowhere" / "sheet.png")
