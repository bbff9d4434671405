"""The DDS node and the ROS node side by side, read by a ROS 2 subscriber: the same bag, the same bytes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy", reason="needs a ROS 2 installation: rclpy cannot be imported")
rosbag2 = pytest.importorskip("rosbags.rosbag2")

import rclpy  # noqa: E402
from ros_client import Client  # noqa: E402
from ros_types import ros_bytes, store  # noqa: E402
from tiny_engine import scene  # noqa: E402

from panoptic_ros.middleware import dds_types, messages  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
QOS = "qos_overrides./camera/image_raw.subscription."
NODES = {
    "dds": ["-m", "panoptic_ros", "run", "--reliable", "--model"],
    "ros": ["-m", "panoptic_ros.middleware.ros", "--ros-args", "-p", f"{QOS}reliability:=reliable",
            "-p", f"{QOS}depth:=20", "-p"],
}  # fmt: skip
"""Commands without the model."""


@pytest.fixture
def client() -> Iterator[Client]:
    os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
    rclpy.init()
    found = Client("/panoptic", "/camera/image_raw")
    yield found
    found.close()
    rclpy.shutdown()


def write_bag(folder: Path, frames: int) -> Path:
    """The tiny scene with a car that moves."""
    with rosbag2.Writer(folder, version=9, storage_plugin=rosbag2.StoragePlugin.MCAP) as writer:
        images = writer.add_connection("/cam/image", "sensor_msgs/msg/Image", typestore=store())
        for index in range(frames):
            stamp_ns, rgb = 10**18 + index * 10**8, scene()
            rgb[32:48] = np.roll(rgb[32:48], 2 * index, axis=1)
            message = messages.rgb_image(dds_types, messages.header_at(dds_types, stamp_ns, "cam"), rgb)
            writer.write(images, stamp_ns, ros_bytes(message))
    return folder


def answers(client: Client, kind: str, model: str, bag: Path, count: int, speed: float) -> list[bytes]:
    """/panoptic/segments as it comes over the wire. speed: slow enough that a busy machine drops no image for a newer one."""
    client.got.pop("segments", None)
    subscription = client.subscribe(raw=True)
    command = NODES[kind] + [model if kind == "dds" else f"model:={model}"]
    node = subprocess.Popen([sys.executable, *command], cwd=ROOT)
    play = ["-m", "panoptic_ros", "camera", str(bag), "--wait-for-subscriber", "--speed", str(speed)]
    camera = subprocess.Popen([sys.executable, *play], cwd=ROOT)
    try:
        client.wait_for(lambda: len(client.got["segments"]) >= count or camera.poll() is not None, "the last image")
        client.spin(lambda: len(client.got["segments"]) >= count, 5.0)
        assert camera.wait(30) == 0
    finally:
        for process in (camera, node):
            process.terminate()
            process.wait(20)
        client.node.destroy_subscription(subscription)
    return client.got["segments"]


@pytest.mark.parametrize("wait_s", [0.5, 5.0], ids=["starting", "started"])
def test_ctrl_c_ends_the_node_however_often_it_comes(tiny_folder: Path, wait_s: float) -> None:
    """A terminal sends it to the whole group, and launch once more."""
    node = subprocess.Popen([sys.executable, *NODES["ros"], f"model:={tiny_folder}"], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert node.stderr is not None
    time.sleep(wait_s)
    for _ in range(3):
        node.send_signal(signal.SIGINT)
        time.sleep(0.05)
    try:
        said = node.communicate(timeout=20)[1]
    finally:
        node.kill()
    assert "Traceback" not in said or wait_s < 1  # before Python has come to our code, it has its own way to end
    assert node.returncode == 0 or wait_s < 1


def test_ctrl_c_before_rclpy_listens_ends_the_node(tiny_folder: Path) -> None:
    program = """
import os, signal, sys, rclpy
from panoptic_ros.middleware import ros
init = rclpy.init
rclpy.init = lambda **options: (os.kill(os.getpid(), signal.SIGINT), init(**options))
sys.exit(ros.main(sys.argv[1:]))
"""
    command = [sys.executable, "-c", program, *NODES["ros"][2:], f"model:={tiny_folder}"]
    assert subprocess.run(command, cwd=ROOT, timeout=30).returncode == 0


@pytest.mark.parametrize(("model", "status"), [("hle_mnv2", 0), ("no_such_model", 1)])
def test_an_engine_that_is_only_built(model: str, status: int) -> None:
    options = ["--ros-args", "-p", f"model:={model}", "-p", "build_only:=true", "-p", "verify:=true"]
    said = subprocess.run(
        [sys.executable, "-m", "panoptic_ros.middleware.ros", *options], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert said.returncode == status, said.stderr
    assert ("verified: 100.00 % of the pixels agree" if status == 0 else "unknown model") in said.stderr


def test_both_nodes_write_the_same_bytes(client: Client, tmp_path: Path, tiny_folder: Path, capfd: Any) -> None:
    bag = write_bag(tmp_path / "bag", 10)
    found = {kind: answers(client, kind, str(tiny_folder), bag, 10, 0.3) for kind in NODES}
    assert len(found["dds"]) == 10
    assert found["dds"] == found["ros"]
    assert "type hash" not in capfd.readouterr().err.lower()


@pytest.mark.shared_data
@pytest.mark.slow
def test_both_nodes_write_the_same_bytes_for_a_real_bag(client: Client, shared_data: Path) -> None:
    bag = shared_data / "rosbags" / "camvid_0016E5_15hz_compressed_mcap"
    found = {kind: answers(client, kind, "hle_mnv2", bag, 101, 0.3) for kind in NODES}
    assert len(found["dds"]) == 101
    assert found["dds"] == found["ros"]
