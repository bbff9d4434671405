"""A node over rclpy in this process: what it holds, listens to and says, from state to state."""

import gc
import json
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy", reason="needs a ROS 2 installation: rclpy cannot be imported")

import rclpy  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from tiny_engine import scene  # noqa: E402

from panoptic_ros import trace  # noqa: E402
from panoptic_ros.middleware import messages  # noqa: E402
from panoptic_ros.middleware.ros import PanopticNode  # noqa: E402
from panoptic_ros.middleware.ros_transport import types  # noqa: E402

S, MS = 1_000_000_000, 1_000_000
ERROR = b"\x02"


class Both:
    """The node, active, and a `peer` that sends to it and reads of it."""

    def __init__(self, model: Path, **parameters: Any) -> None:
        given = {"model": str(model), "lazy": False, **parameters}
        self.node = PanopticNode(namespace="states", parameter_overrides=[Parameter(k, value=v) for k, v in given.items()])
        self.peer = rclpy.create_node("peer", namespace="states")
        self._executor = SingleThreadedExecutor()
        for node in (self.node, self.peer):
            self._executor.add_node(node)
        self.node.trigger_configure()
        self.node.trigger_activate()

    def until(self, condition: Callable[[], Any], meanwhile: Callable[[], Any] = lambda: None) -> None:
        deadline_s = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline_s
            meanwhile()
            self._executor.spin_once(0.05)

    def close(self) -> None:
        self.node.trigger_shutdown()
        self._executor.shutdown()
        for node in (self.node, self.peer):
            node.destroy_node()


@pytest.fixture
def started(tiny_folder: Path) -> Iterator[Callable[..., Both]]:
    running: list[Both] = []

    def start(**parameters: Any) -> Both:
        running.append(Both(tiny_folder, **parameters))
        return running[-1]

    rclpy.init()
    yield start
    for both in running:
        both.close()
    rclpy.shutdown()


def test_cleanup_frees_the_engine(started: Callable[..., Both]) -> None:
    """Or a machine that has no room for two could not be given another."""
    node = started(image="image_raw").node
    engine = weakref.ref(node._opened._engine)
    node.trigger_deactivate()
    gc.collect()
    assert engine() is not None
    node.trigger_cleanup()
    gc.collect()
    assert engine() is None


def test_what_the_backend_compiles_is_kept(started: Callable[..., Both], tmp_path: Path) -> None:
    started(image="image_raw", backend="openvino", cache=str(tmp_path / "cache"))
    assert list((tmp_path / "cache").iterdir())


def test_compressed_images_are_heard_while_the_raw_topic_is_silent(started: Callable[..., Both]) -> None:
    """As when the camera died without a word, and one that compresses came in its place."""
    both = started(image="image_raw")
    raw = both.peer.create_publisher(Image, "image_raw", 5)
    compressed = both.peer.create_publisher(CompressedImage, "image_raw/compressed", 5)
    core, sec = both.node._opened.streams[0].core, 0

    def send(publisher: Any, build: Callable[..., Any]) -> None:
        nonlocal sec
        sec += 1
        publisher.publish(build(types, messages.header_at(types, sec * S, "cam"), scene()))

    def listened() -> set[str]:
        return set(both.node._inputs._open)

    def answered(more: int) -> Callable[[], bool]:
        so_far = core.counts.answered
        return lambda: core.counts.answered >= so_far + more

    both.until(answered(3), lambda: send(raw, messages.rgb_image))
    both.until(lambda: listened() == {"image_raw"}, lambda: send(raw, messages.rgb_image))
    both.until(answered(3), lambda: send(compressed, messages.jpeg_image))
    assert listened() == {"image_raw", "image_raw/compressed"}  # to notice when it returns
    both.until(lambda: listened() == {"image_raw"}, lambda: send(raw, messages.rgb_image))


@pytest.mark.parametrize("fails", [False, True])
def test_what_concerns_all_cameras_is_said_of_each(started: Callable[..., Both], fails: bool) -> None:
    """Where those who watch them look."""
    both = started(cameras="left right", image="{camera}/image_raw")
    found: list[tuple[str, bytes, str]] = []
    both.peer.create_subscription(
        DiagnosticArray, "/diagnostics", lambda m: found.extend((s.name, s.level, s.message) for s in m.status), 50
    )
    if fails:
        both.node._worker.stop()
        level, message = ERROR, "the thread that answers has ended"
    else:
        both.node.trigger_deactivate()
        level, message = b"\x00", "inactive"
    names = [f"states/panoptic: {camera}" for camera in ("left", "right")]
    both.until(lambda: all((name, level, message) in found for name in names))
    assert not [name for name, *_ in found if name not in names]


def test_a_trace_is_written_at_deactivation(started: Callable[..., Both], tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    both = started(image="image_raw", trace=str(file))
    raw = both.peer.create_publisher(Image, "image_raw", 5)
    core, sec = both.node._opened.streams[0].core, iter(range(1, 1000))
    both.until(
        lambda: core.counts.answered >= 3,
        lambda: raw.publish(messages.rgb_image(types, messages.header_at(types, next(sec) * S, "cam"), scene())),
    )
    assert json.loads(file.read_text())["traceEvents"] == []
    both.node.trigger_deactivate()
    names = [event["name"] for event in json.loads(file.read_text())["traceEvents"]]
    assert names.count("frame") >= 3 and {"wait", "convert", "engine", "tracker", "publish"} <= set(names)
    assert trace.current is None


def test_a_trace_that_cannot_be_written_is_said_at_activation(started: Callable[..., Both]) -> None:
    both = started(image="image_raw", trace="/proc/nowhere/trace.json")
    assert not both.node._active and "/proc/nowhere/trace.json" in both.node._trouble
