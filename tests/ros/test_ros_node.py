"""The node under real ROS 2: parameters in, messages out. Several nodes at once, each for what is asked of it."""

import re
import sys
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.ros
NEEDS = "needs a ROS 2 installation: rclpy and launch_testing cannot be imported"
pytest.importorskip("rclpy", reason=NEEDS)
pytest.importorskip("launch_testing", reason=NEEDS)

import launch  # noqa: E402
import launch_testing.actions  # noqa: E402
import rclpy  # noqa: E402
from builtin_interfaces.msg import Time  # noqa: E402
from geometry_msgs.msg import TransformStamped  # noqa: E402
from launch.actions import ExecuteProcess  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image, PointCloud2  # noqa: E402
from tf2_msgs.msg import TFMessage  # noqa: E402
from vision_msgs.msg import Detection3DArray, LabelInfo  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]

import numpy as np  # noqa: E402
import tiny_engine  # noqa: E402
from ros_client import Client, classes, ids  # noqa: E402
from tiny_engine import scene  # noqa: E402

OK, WARN, ERROR = 0, 1, 2
S, MS = 1_000_000_000, 1_000_000
ALL = ["car", "person", "road", "sky"]


def node(namespace: str, model: Path, *parameters: str) -> ExecuteProcess:
    said = [part for parameter in (f"model:={model}", *parameters) for part in ("-p", parameter)]
    return ExecuteProcess(
        cmd=[sys.executable, "-m", "panoptic_ros.middleware.ros", "--ros-args", "-r", f"__ns:={namespace}", *said],
        cwd=str(ROOT), output="screen",
    )  # fmt: skip


@pytest.mark.rostest  # in a ROS domain of its own
def generate_test_description() -> tuple[Any, dict[str, Any]]:
    folder = Path(tempfile.mkdtemp())
    tiny = tiny_engine.write(folder / "tiny")
    corrupt = tiny_engine.write(folder / "corrupt")
    (corrupt / "model.onnx").write_bytes(b"no model")
    strict = "qos_overrides./strict/image_raw.subscription.reliability:=reliable"
    nodes = {
        "one": node("/one", tiny, "image:=image_raw"),
        "two": node("/two", tiny, "image:=image_raw"),
        "strict": node("/strict", tiny, "image:=image_raw", strict, "lazy:=false"),
        "corrupt": node("/corrupt", corrupt),
        "odd": node("/odd", tiny, "image:=image_raw", "depth:=no topic", "camera_info:=info"),
        "wrong": node("/wrong", tiny, "min_score:=1"),
        "pair": node(
            "/pair", tiny, "cameras:=left right", "image:='{camera}/image_raw'", "size:=128x192", "fallback_size:=64x96"
        ),
        "space": node("/space", tiny, "image:=image_raw", "depth:=depth", "camera_info:=camera_info"),
    }
    return launch.LaunchDescription([*nodes.values(), launch_testing.actions.ReadyToTest()]), nodes


class Base(unittest.TestCase):
    namespace = "/one"

    def setUp(self) -> None:
        rclpy.init()
        self.client = self.connect(self.namespace)

    def tearDown(self) -> None:
        self.client.close()
        rclpy.shutdown()

    def connect(self, namespace: str) -> Client:
        return Client(f"{namespace}/panoptic", f"{namespace}/image_raw", f"{namespace}/panoptic/")


class TestNode(Base):
    def test_a_segmented_frame(self) -> None:
        self.client.open_camera()
        self.client.subscribe()
        self.client.subscribe("label_info", LabelInfo, latched=True)
        self.client.subscribe("image", Image)
        answer = self.client.ask(1 * S, scene())
        assert classes(answer) == ALL and answer.header.frame_id == "cam"
        car = next(d for d in answer.detections if d.results[0].hypothesis.class_id == "car")
        assert (car.bbox.center.position.x, car.bbox.center.position.y, car.bbox.size_x, car.bbox.size_y) == (20, 40, 24, 16)
        self.client.wait_for(lambda: self.client.got["label_info"], "label_info")
        names = [c.class_name for c in self.client.got["label_info"][0].class_map]
        assert names == ["void", "road", "sky", "person", "car"]
        self.client.wait_for(lambda: self.client.got["image"], "the panoptic image")
        picture = self.client.got["image"][-1]
        pixels = np.frombuffer(picture.data, "<i4").reshape(picture.height, picture.width)
        assert picture.encoding == "32SC1" and {int(d.id) for d in answer.detections} == set(np.unique(pixels).tolist())

    def test_nobody_subscribes(self) -> None:
        self.client.open_camera()
        self.client.wait_for_report(OK, "paused: nobody subscribes")
        received = int(values(self.client.wait_for_report(OK, "paused"))["received"])
        for n in range(5):
            self.client.send(n * S, scene())
        assert int(values(self.client.wait_for_report(OK, "paused"))["received"]) == received

    def test_a_lifecycle_round_trip(self) -> None:
        client = self.client
        client.open_camera()
        client.subscribe()
        assert client.state == "active"
        client.ask(2 * S, scene())
        assert client.change("deactivate") and client.state == "inactive"
        client.wait_for_report(OK, "inactive")
        client.got["segments"].clear()
        client.send(3 * S, scene())
        assert not client.spin(lambda: client.got["segments"], 1.0)
        assert client.change("cleanup") and client.state == "unconfigured"
        assert client.set("threads", 1).successful
        assert client.change("configure")
        begin_s = time.monotonic()
        assert client.change("activate") and client.state == "active"
        client.reports.clear()
        client.wait_for(lambda: client.reports, "a report")
        silent_s = re.search(r"no image on \S+ for (\S+) s", client.reports[0].message)
        assert silent_s is None or float(silent_s[1]) < time.monotonic() - begin_s  # the time while it was inactive is none
        assert classes(client.ask(4 * S, scene())) == ALL
        assert not client.set("threads", 2).successful

    def test_parameters_change_while_it_runs(self) -> None:
        client = self.client
        client.open_camera()
        client.subscribe()
        assert classes(client.ask(5 * S, scene())) == ALL
        assert client.set("min_score", 0.05).successful
        assert classes(client.ask(5 * S + 1, scene())) == ["car", "road", "sky"]
        assert client.set("min_score", 0.0).successful
        for name, value in {
            "min_score": 1.5,
            "outputs": ["masks"],
            "model": "other",
            "tracker.min_hits": 0,
            "threads": "two",
        }.items():
            refused = client.set(name, value)
            assert not refused.successful and refused.reason, name
        assert classes(client.ask(5 * S + 2, scene())) == ALL

    def test_identities_hold_until_they_are_reset(self) -> None:
        client = self.client
        client.open_camera()
        client.subscribe()
        first = [ids(client.ask(6 * S + n * 33 * MS, scene()))["car"] for n in range(4)]
        assert first[1] == first[2] == first[3] < 60000
        assert client.reset_tracks().success
        after = [ids(client.ask(7 * S + n * 33 * MS, scene()))["car"] for n in range(4)]
        assert after[0] > 60000 and first[3] < after[1] == after[3] < 60000

    def test_a_bag_that_loops_starts_anew(self) -> None:
        client = self.client
        client.open_camera()
        client.subscribe()
        numbers = []
        for _ in range(2):
            numbers.append([ids(client.ask(100 * S + n * 33 * MS, scene()))["car"] for n in range(3)])
            client.got["segments"].clear()
        assert numbers[0][2] != numbers[1][2] and numbers[1][2] < 60000

    def test_simulated_time_that_jumps_back_starts_anew(self) -> None:
        client = self.connect("/two")
        clock = client.node.create_publisher(Clock, "/clock", 10)
        at_s = 5000

        def tick() -> None:
            nonlocal at_s
            at_s += 1
            clock.publish(Clock(clock=Time(sec=at_s)))

        try:
            client.open_camera()
            client.subscribe()
            assert client.set("use_sim_time", True).successful
            client.wait_for(lambda: tick() or client.header and client.header.stamp.sec > 5000, "simulated time")
            before = [ids(client.ask(600 * S + n * 33 * MS, scene()))["car"] for n in range(3)][-1]
            at_s = 10
            client.wait_for(lambda: tick() or client.header.stamp.sec < 1000, "the jump")
            after = [ids(client.ask(601 * S + n * 33 * MS, scene()))["car"] for n in range(3)]
            assert before < 60000 < after[0] and before < after[-1] < 60000
            assert client.set("use_sim_time", False).successful
        finally:
            client.close()

    def test_it_can_be_switched_off(self) -> None:
        client = self.client
        client.open_camera()
        client.subscribe()
        client.ask(200 * S, scene())
        assert client.enable(False).success
        client.wait_for_report(OK, "paused: disabled by ~/enable")
        client.got["segments"].clear()
        client.send(201 * S, scene())
        assert not client.spin(lambda: client.got["segments"], 1.0)
        assert client.enable(True).success
        client.ask(202 * S, scene())

    def test_a_camera_that_dies_and_returns(self) -> None:
        client = self.client
        client.open_camera()
        client.subscribe()
        client.ask(300 * S, scene())
        client.wait_for_report(ERROR, "its publishers are /client (best_effort)")
        client.close_camera()
        report = client.wait_for_report(ERROR, "nobody publishes it")
        assert report.message.startswith("no image on /one/image_raw for ")
        client.open_camera()
        client.ask(301 * S, scene())
        client.wait_for_report(OK, "answering /one/image_raw", lambda: client.send(302 * S, scene()))

    def test_bad_images_cost_themselves(self) -> None:
        client = self.client
        client.open_camera()
        client.subscribe()
        client.ask(400 * S, scene())
        empty, absurd = Image(encoding="rgb8"), Image(encoding="rgb8", height=1 << 30, width=1 << 30, step=3)
        odd = "image encoding 'odd' is not supported"
        client.wait_for_report(WARN, odd, lambda: client.send(401 * S, scene(), encoding="odd"))
        client.wait_for_report(WARN, "image size 0x0 is empty", lambda: client.camera.publish(empty))
        client.wait_for_report(WARN, "image step 3 is wrong", lambda: client.camera.publish(absurd))
        assert classes(client.ask(402 * S, scene())) == ALL

    def test_two_nodes_at_once(self) -> None:
        other = self.connect("/two")
        try:
            for client in (self.client, other):
                client.open_camera()
                client.subscribe()
            assert classes(self.client.ask(500 * S, scene())) == ALL
            empty = np.zeros((64, 96, 3), np.uint8)
            assert classes(other.ask(501 * S, empty)) == []
            assert all(m.header.stamp.sec != 501 for m in self.client.got["segments"])
        finally:
            other.close()


class TestOthers(Base):
    def test_qos_that_does_not_match(self, proc_output: Any, strict: Any) -> None:
        client = self.connect("/strict")
        try:
            client.open_camera(ReliabilityPolicy.BEST_EFFORT)
            text = (
                "incompatible QoS on /strict/image_raw: reliability of /strict/panoptic is reliable, "
                "of its publishers /client: best_effort"
            )
            self.spin_until(client, proc_output, strict, text)
            client.close_camera()
            client.open_camera(ReliabilityPolicy.RELIABLE)
            client.subscribe()
            client.ask(1 * S, scene())
        finally:
            client.close()

    def spin_until(self, client: Client, output: Any, process: Any, text: str) -> None:
        client.wait_for(lambda: any(text in line.text.decode() for line in output[process]), text)

    def test_what_cannot_be_is_reported_and_can_be_put_right(self) -> None:
        client = self.connect("/odd")
        try:
            client.wait_for_report(ERROR, "no topic")
            assert client.state == "unconfigured" and not client.change("configure")
            assert client.set("depth", "").successful and client.set("camera_info", "").successful
            client.subscribe()
            assert client.change("configure") and client.change("activate")
            client.open_camera()
            assert classes(client.ask(1 * S, scene())) == ALL
            assert client.node.count_publishers("/odd/panoptic/segments") == 1
        finally:
            client.close()

    def test_a_value_of_the_wrong_type(self) -> None:
        client = self.connect("/wrong")
        try:
            assert "min_score" in client.wait_for_report(ERROR, "expecting type").message
            assert client.state == "unconfigured"
            assert client.set("min_score", 0.5).successful and client.change("configure")
        finally:
            client.close()

    def test_a_corrupt_engine(self) -> None:
        client = self.connect("/corrupt")
        try:
            report = client.wait_for_report(ERROR, "model.onnx")
            assert "sha256" in report.message
            assert client.state == "unconfigured"
            assert not client.change("configure") and client.state == "unconfigured"
            assert client.set("model", "hle_mnv2").successful
            assert client.change("configure") and client.state == "inactive"
        finally:
            client.close()

    def test_two_cameras_over_one_engine_that_becomes_small_and_large_again(self) -> None:
        left, right = (Client("/pair/panoptic", f"/pair/{c}/image_raw", f"/pair/panoptic/{c}/", c) for c in ("left", "right"))
        try:
            for client in (left, right):
                client.open_camera()
            left.subscribe()
            left.ask(1 * S, scene())
            right.wait_for_report(OK, "paused: nobody subscribes")
            right.subscribe()
            stamp = 2 * S

            def both() -> None:
                nonlocal stamp
                stamp += 33 * MS
                self.seen = ids(left.ask(stamp, scene())), ids(right.ask(stamp + 5 * MS, scene()[:, ::-1].copy()))

            left.wait_for_report(OK, "answering /pair/left/image_raw", both)
            before = self.seen
            assert before[0] == before[1] and before[0]["car"] < 60000 and set(before[0]) == set(ALL)
            assert left.set("max_latency_ms", 0.001).successful
            found = values(left.wait_for_report(WARN, "answering with 64x96: median latency", both))
            assert found["engine_size"] == "64x96" and float(found["skew_ms"].split()[1]) < 100
            assert left.set("max_latency_ms", 60000.0).successful
            right.wait_for_report(OK, "answering /pair/right/image_raw", both)
            assert values(right.reports[-1])["engine_size"] == "128x192" and self.seen == before
            assert not left.set("cameras", "left").successful
        finally:
            left.close()
            right.close()

    def test_depth_gives_boxes_and_points(self) -> None:
        client = self.connect("/space")
        try:
            client.open_camera()
            client.subscribe()
            client.subscribe("segments_3d", Detection3DArray)
            client.subscribe("points", PointCloud2)
            client.ask(1 * S, scene())
            client.wait_for_report(WARN, "no depth image has come yet", lambda: client.send(1 * S, scene()))
            depth = client.node.create_publisher(Image, "/space/depth", 5)
            info = client.node.create_publisher(CameraInfo, "/space/camera_info", 5)
            stamp = 2 * S

            def answered() -> bool:
                nonlocal stamp
                stamp += 100 * MS
                depth.publish(depth_at(stamp))
                info.publish(info_at(stamp))
                client.spin(lambda: False, 0.1)
                client.send(stamp, scene())
                return client.spin(lambda: client.got["segments_3d"] and client.got["points"], 0.3)

            client.wait_for(answered, "3D")
            boxes = {d.results[0].hypothesis.class_id: d.bbox for d in client.got["segments_3d"][-1].detections}
            assert set(boxes) == {"car", "person"}
            # columns 8..31 and rows 32..47 of a camera with focal length 50 and centre (48, 32), 2 m away
            centre = boxes["car"].center.position
            assert abs(centre.x - (19.5 - 48) / 25) < 0.02 and abs(centre.y - (39.5 - 32) / 25) < 0.02 and centre.z == 2
            cloud = client.got["points"][-1]
            assert cloud.width == 16 * 24 and [f.name for f in cloud.fields] == ["x", "y", "z", "category", "instance"]
            assert client.set("target_frame", "nowhere").successful
            client.wait_for_report(WARN, "no way from frame 'cam' to target_frame 'nowhere'", lambda: client.send(stamp, scene()))
            publish_mount(client.node)
            assert client.set("target_frame", "base").successful
            client.got["segments_3d"].clear()
            client.wait_for(answered, "3D in another frame")
            found = client.got["segments_3d"][-1]
            (car,) = [d for d in found.detections if d.results[0].hypothesis.class_id == "car"]
            assert found.header.frame_id == "base" and abs(car.bbox.center.position.x - 2.5) < 1e-6
        finally:
            client.close()


def publish_mount(node: Any) -> None:
    """The camera half a metre before the base, looking ahead: x of the base is depth plus 0.5."""
    mount = TransformStamped()
    mount.header.frame_id, mount.child_frame_id = "base", "cam"
    mount.transform.translation.x = 0.5
    q = mount.transform.rotation
    q.x, q.y, q.z, q.w = -0.5, 0.5, -0.5, 0.5
    qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_publisher(TFMessage, "/tf_static", qos).publish(TFMessage(transforms=[mount]))


def depth_at(stamp_ns: int) -> Image:
    from panoptic_ros.middleware import messages
    from panoptic_ros.middleware.ros_transport import types

    pixels = np.full((64, 96), 2000, "<u2")
    message = messages.rgb_image(types, messages.header_at(types, stamp_ns, "cam"), pixels.view(np.uint8).reshape(64, 96, 2))
    message.encoding = "16UC1"
    return message


def info_at(stamp_ns: int) -> CameraInfo:
    from panoptic_ros.middleware import messages
    from panoptic_ros.middleware.ros_transport import types

    message = CameraInfo(header=messages.header_at(types, stamp_ns, "cam"), height=64, width=96)
    message.k = [50.0, 0.0, 48.0, 0.0, 50.0, 32.0, 0.0, 0.0, 1.0]
    return message


def values(report: Any) -> dict[str, str]:
    return {pair.key: pair.value for pair in report.values}
