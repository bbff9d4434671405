"""Clips, folders and bags as sources; and the same through camera and node, each image accounted for."""

import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from dds_client import Client, command, free_domain, place, running
from ros_types import ros_bytes, store
from rosbags.rosbag2 import StoragePlugin, Writer
from tiny_engine import scene

from panoptic_ros.core import PanopticError
from panoptic_ros.middleware import dds_types as types
from panoptic_ros.middleware import messages
from panoptic_ros.middleware.frames import frame_of
from panoptic_ros.sources import Frame, Recorded, open_source, paced

START_NS, STEP_NS = 1_700_000_000_000_000_000, 100_000_000
IMAGE, COMPRESSED, INFO = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/CameraInfo")


def write_clip(path: Path, frames: int = 5, rate_hz: float = 25.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate_hz, (96, 64))
    for index in range(frames):
        writer.write(np.full((64, 96, 3), 20 * index, np.uint8))
    writer.release()
    return path


def write_bag(
    folder: Path, plugin: StoragePlugin, compressed: bool, frames: int = 4, topics: tuple[str, ...] = ("/cam/image",)
) -> Path:
    """Images of growing width with a CameraInfo each, and a topic that is nobody's business."""
    with Writer(folder, version=9, storage_plugin=plugin) as writer:
        kind = COMPRESSED if compressed else IMAGE
        images = [writer.add_connection(topic, kind, typestore=store()) for topic in topics]
        info = writer.add_connection("/cam/camera_info", INFO, typestore=store())
        other = writer.add_connection("/other", "diagnostic_msgs/msg/DiagnosticArray", typestore=store())
        for index in range(frames):
            stamp_ns = START_NS + index * STEP_NS
            header = messages.header_at(types, stamp_ns, "cam")
            build = messages.jpeg_image if compressed else messages.rgb_image
            for connection in images:
                writer.write(connection, stamp_ns, ros_bytes(build(types, header, np.zeros((8, 8 + index, 3), np.uint8))))
            writer.write(info, stamp_ns, ros_bytes(types.CameraInfo(header, 8, 8 + index)))
            writer.write(other, stamp_ns, ros_bytes(types.DiagnosticArray(header)))
    return folder


def test_clip_has_its_own_rate(tmp_path: Path) -> None:
    items = list(open_source(write_clip(tmp_path / "clip.mp4")))
    assert [item.stamp_ns for item in items] == [0, 40_000_000, 80_000_000, 120_000_000, 160_000_000]
    assert items[3].rgb.shape == (64, 96, 3) and abs(int(items[3].rgb.mean()) - 60) < 4


def test_rate_of_choice(tmp_path: Path) -> None:
    assert [item.stamp_ns for item in open_source(write_clip(tmp_path / "clip.mp4", 3), 10)] == [0, 100_000_000, 200_000_000]


def test_folder_comes_in_order_of_names(tmp_path: Path) -> None:
    for name, grey in (("b.png", 200), ("a.jpg", 100), ("c.png", 50)):
        cv2.imwrite(str(tmp_path / name), np.full((4, 4), grey, np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    assert [(item.stamp_ns, item.rgb[0, 0, 0]) for item in open_source(tmp_path)] == [(0, 100), (10**8, 200), (2 * 10**8, 50)]


@pytest.mark.parametrize("plugin", [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
@pytest.mark.parametrize("compressed", [False, True])
def test_bag_messages_come_as_recorded(tmp_path: Path, plugin: StoragePlugin, compressed: bool) -> None:
    bag = write_bag(tmp_path / "bag", plugin, compressed)
    items = [item for item in open_source(bag) if isinstance(item, Recorded)]
    assert sorted(item.stamp_ns for item in items) == [item.stamp_ns for item in items]
    kind = COMPRESSED if compressed else IMAGE
    assert [item.type for item in items].count(kind) == [item.type for item in items].count(INFO) == 4 == len(items) / 2
    images = [(types.CompressedImage if compressed else types.Image).deserialize(i.cdr) for i in items if i.type == kind]
    assert [frame_of(image).shape[1] for image in images] == [8, 9, 10, 11]
    assert [messages.header_at(types, START_NS + n * STEP_NS, "cam") for n in range(4)] == [image.header for image in images]
    file = next(path for path in bag.iterdir() if path.suffix in (".mcap", ".db3"))
    assert len(list(open_source(file))) == 8


def test_bag_with_several_cameras_needs_a_choice(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", StoragePlugin.MCAP, False, topics=("/left", "/right"))
    with pytest.raises(PanopticError, match="image topics /left, /right; choose one"):
        list(open_source(bag))
    assert len(list(open_source(bag, topic="/left"))) == 8
    with pytest.raises(PanopticError, match="no image topic /up; its image topics are /left, /right"):
        list(open_source(bag, topic="/up"))


def damage_bag(folder: Path) -> Path:
    file = next(path for path in folder.iterdir() if path.suffix in (".mcap", ".db3"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return folder


def empty_folder(folder: Path) -> Path:
    folder.mkdir()
    return folder


def text(path: Path) -> Path:
    path.write_text("no clip")
    return path


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda tmp: tmp / "nowhere", "nowhere does not exist"),
        (lambda tmp: empty_folder(tmp / "folder"), "no images in"),
        (lambda tmp: text(tmp / "clip.mp4"), "cannot read .*clip.mp4"),
        (lambda tmp: text(tmp / "image.png"), "image.png is no image"),
        (lambda tmp: text(empty_folder(tmp / "bag") / "metadata.yaml").parent, "cannot read the bag"),
        (lambda tmp: damage_bag(write_bag(tmp / "bag", StoragePlugin.MCAP, False)), "cannot read the bag"),
        (lambda tmp: damage_bag(write_bag(tmp / "bag", StoragePlugin.SQLITE3, False, 500)), "cannot read the bag"),
        (lambda tmp: write_bag(tmp / "bag", StoragePlugin.SQLITE3, False, topics=()), "has no image topic"),
    ],
    ids=["missing", "empty", "clip", "image", "metadata", "mcap", "db3", "no topic"],
)
def test_bad_sources_are_named(tmp_path: Path, make: Callable[[Path], Path], reason: str) -> None:
    with pytest.raises(PanopticError, match=reason):
        list(open_source(make(tmp_path)))


def test_bad_choices_are_named(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", StoragePlugin.MCAP, False)
    with pytest.raises(PanopticError, match="rate -1 is not possible"):
        open_source(tmp_path, -1)
    with pytest.raises(PanopticError, match="is a bag, which has its own rate; 5 Hz cannot be chosen"):
        open_source(bag, 5)
    with pytest.raises(PanopticError, match="is no bag .* topic /x cannot be chosen"):
        open_source(tmp_path, topic="/x")


def test_items_come_at_their_times() -> None:
    frames = [Frame(5_000 + index * 50_000_000, np.zeros((1, 1, 3), np.uint8)) for index in range(4)]
    begin_s, begin_ns = time.monotonic(), time.time_ns()
    arrivals = [(time.monotonic() - begin_s, now_ns - begin_ns) for now_ns, _ in paced(frames, threading.Event(), 2.0)]
    for index, (arrived_s, now_ns) in enumerate(arrivals):
        assert arrived_s >= index * 0.025 - 0.001
        assert abs(now_ns - index * 25_000_000) < 20_000_000
    assert [b - a for (_, a), (_, b) in zip(arrivals, arrivals[1:])] == [25_000_000] * 3


def test_pace_stops_at_once() -> None:
    stop = threading.Event()
    frames = [Frame(index * 10**12, np.zeros((1, 1, 3), np.uint8)) for index in range(2)]
    threading.Timer(0.05, stop.set).start()
    assert len(list(paced(frames, stop))) == 1


def through_node(source: Path, tiny_folder: Path, *arguments: str) -> tuple[int, int, int, int, int]:
    """Plays a source to a node: images sent, received, answered, dropped for newer ones, dropped as bad."""
    domain = free_domain()
    with running("run", "--reliable", "--model", str(tiny_folder), *place(domain)) as node:
        camera = command("camera", str(source), *place(domain), "--wait-for-subscriber", *arguments)
        said = camera.communicate(timeout=300)[0]
        node.send_signal(signal.SIGINT)
        answer = node.communicate(timeout=20)[0]
    sent = re.search(r"sent (\d+)", said)
    counts = re.findall(r"received (\d+), answered (\d+), dropped (\d+) for newer ones and (\d+) bad", answer)
    assert sent and counts, said + answer
    return int(sent[1]), *map(int, counts[-1])


@pytest.mark.parametrize("arguments", [[], ["--compressed"], ["--speed", "0.5"]], ids=["raw", "compressed", "slow"])
def test_clip_through_the_node(tmp_path: Path, tiny_folder: Path, arguments: list[str]) -> None:
    sent, received, answered, newer, bad = through_node(write_clip(tmp_path / "clip.mp4", 10, 10.0), tiny_folder, *arguments)
    assert sent == received == 10 == answered + newer and bad == 0


def test_looped_bag_keeps_or_gets_stamps(tmp_path: Path) -> None:
    bag, domain = write_bag(tmp_path / "bag", StoragePlugin.MCAP, False), free_domain()
    for arguments in ([], ["--restamp"]):
        with running("camera", str(bag), *place(domain), "--topic", "/front/image", "--loop", *arguments):
            client = Client(domain)
            client.subscribe("/front/image", types.Image)
            client.subscribe("/front/camera_info", types.CameraInfo)
            client.wait_for(lambda: all(len(messages) >= 6 for messages in client.got.values()))
            stamps = [m.header.stamp.sec for m in client.got["/front/image"]]
            assert {m.header.frame_id for m in client.got["/front/camera_info"]} == {"cam"}
            assert set(stamps) == {START_NS // 10**9} if not arguments else min(stamps) > START_NS // 10**9 + 10**6


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere"], "nowhere does not exist"),
        ([".", "--speed", "0"], "--speed 0.0 is not possible"),
        ([".", "--topic", "/a b"], "'/a b' is no topic name"),
    ],
)
def test_camera_names_wrong_arguments(tmp_path: Path, arguments: list[str], reason: str) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), scene())
    source = str(tmp_path / arguments[0]) if arguments[0] != "." else str(tmp_path)
    with running("camera", source, *place(free_domain()), *arguments[1:]) as camera:
        output = camera.communicate(timeout=30)[0]
        assert camera.returncode == 2 and "error: " in output and reason in output and "Traceback" not in output


@pytest.mark.shared_data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "images", "arguments"),
    [
        ("rosbags/bdd_mots_b1c66a42_raw_db3", 6, []),
        ("rosbags/camvid_0016E5_15hz_compressed_mcap", 101, []),
        ("videos/car-detection.mp4", 377, ["--rate", "25"]),
    ],
)
def test_every_real_image_is_accounted_for(
    shared_data: Path, tiny_folder: Path, name: str, images: int, arguments: list[str]
) -> None:
    sent, received, answered, newer, bad = through_node(shared_data / name, tiny_folder, *arguments)
    assert sent == received == images == answered + newer and bad == 0
    assert answered > 0.9 * images


def test_a_bag_may_be_called_like_its_file(tmp_path: Path) -> None:
    assert len(list(open_source(write_bag(tmp_path / "drive.mcap", StoragePlugin.MCAP, False)))) == 8
