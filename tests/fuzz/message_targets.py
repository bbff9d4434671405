"""What comes over the network or from whoever starts the node: messages, parameters, arguments."""

import argparse
import contextlib
import importlib
import io
import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from random import Random
from unittest.mock import patch

import cv2
import numpy as np
import tiny_engine
from ros_types import ros_bytes

from panoptic_ros import manifest
from panoptic_ros.__main__ import COMMANDS
from panoptic_ros.commands.model_arguments import choices
from panoptic_ros.core import Label, PanopticError, Slots
from panoptic_ros.manifest import Manifest
from panoptic_ros.middleware import dds_types as types
from panoptic_ros.middleware import messages, parameters
from panoptic_ros.middleware.dds_endpoints import dds_name
from panoptic_ros.middleware.dds_participant import _domain_number
from panoptic_ros.middleware.depth import Depths, DepthSettings
from panoptic_ros.middleware.frames import ENCODINGS, frame_of
from panoptic_ros.node import stamp_ns
from panoptic_ros.pipeline import Pipeline
from panoptic_ros.projection import boxes_3d, cloud
from panoptic_ros.tracker import Tracker
from tests.fuzz import mutation
from tests.fuzz.target import Target

LABELS = tuple(Label(**entry | {"color": tuple(entry["color"])}) for entry in tiny_engine.LABELS)
NAMES = {label.id: label.name for label in LABELS}
THINGS = frozenset(label.id for label in LABELS if label.thing)
MODEL = Manifest(
    "fuzz", "fuzz", Path("model.onnx"), (64, 96), 32, 4, "network", 5, 4, LABELS, "Apache-2.0", "nothing", "none", {}
)  # fmt: skip
SCENE = tiny_engine.scene()
STAMP = types.Time(1_700_000_000, 500)


class Answer:
    """An engine that sees the same five objects in every image."""

    size = MODEL.size
    description: dict[str, str] = {}

    def run(self, image: np.ndarray) -> Slots:
        assert image.shape == (1, *self.size, 3) and image.dtype == np.uint8 and image.flags.c_contiguous
        ids = np.repeat(np.arange(16, dtype=np.uint8) % 6, 24).reshape(16, 24)
        return Slots(ids, np.array(tiny_engine.CATEGORY, np.int32), np.full(5, 0.5, np.float32), np.eye(5, 4, dtype=np.float32))

    def run_network_only(self, image: np.ndarray) -> None:
        self.run(image)


# CDR

KINDS = tuple(types.TYPE_HASHES)
FILLED = (
    types.Image(types.Header(STAMP, "camera"), 2, 3, "rgb8", 0, 9, bytes(range(18))),
    types.CompressedImage(types.Header(STAMP, "camera"), "jpeg", b"\xff\xd8\xff\xd9"),
    types.CameraInfo(types.Header(STAMP, "camera"), 64, 96, "plumb_bob", [0.1] * 5, [1.0] * 9),
    types.Detection2DArray(
        types.Header(STAMP, "camera"), [types.Detection2D(results=[types.ObjectHypothesisWithPose()], id="7")]
    ),
    types.Detection3DArray(
        types.Header(STAMP, "camera"), [types.Detection3D(results=[types.ObjectHypothesisWithPose()], id="7")]
    ),
    types.PointCloud2(types.Header(STAMP, "camera"), 1, 1, [types.PointField("x", 0, 7, 1)], False, 4, 4, bytes(4), True),
    types.LabelInfo(types.Header(STAMP, "camera"), [types.VisionClass(7, "road")], 0.5),
    types.DiagnosticArray(types.Header(STAMP), [types.DiagnosticStatus(0, "node", "fine", "cpu", [types.KeyValue("a", "b")])]),
)


def cdr_seeds() -> list[bytes]:
    """The number of the type, then the message, in either byte order."""
    return [bytes([KINDS.index(type(m))]) + ros_bytes(m, little) for m in FILLED for little in (True, False)]


def cdr(data: bytes, _: Path) -> None:
    """What has been read must be fit to be written again: headers go out as they came in."""
    if data:
        KINDS[data[0] % len(KINDS)].deserialize(data[1:]).serialize()


# Images

IMAGE = struct.Struct("<HHIBBiI")  # height, width, step, encoding, is_bigendian, sec, nanosec; then the pixels


def image_seeds() -> list[bytes]:
    return [_image(8, 6, number, 0, 1_700_000_000, bytes(8 * 6 * 8)) for number in range(len(ENCODINGS))]


def _image(height: int, width: int, number: int, padding: int, sec: int, pixels: bytes) -> bytes:
    """A well-formed image, as far as there are pixels for it."""
    encoding = ENCODINGS[number]
    samples = 4 if encoding.startswith(("rgba", "bgra")) else 3 if encoding.startswith(("rgb", "bgr")) else 1
    step = width * (2 if "y" in encoding else samples) * (2 if encoding.endswith("16") else 1) + padding
    rows = height * 3 // 2 if encoding.startswith("nv") else height
    return IMAGE.pack(height, width, step, number, 0, sec, 0) + pixels[: step * rows].ljust(step * rows, b"\x55")


def image_mutation(random: Random, seeds: Sequence[bytes]) -> bytes:
    """Half of them well-formed, in sizes that nobody thinks of."""
    if random.random() < 0.5:
        return mutation.octets(random, seeds)
    size = random.choice(((1, 1), (1, 2), (2, 1), (3, 5), (2, 2), (1, 30_000), (30_000, 1), (17, 4), (200, 300), (5, 16_384)))
    sec = random.choice((0, -1, 1 << 31 - 1, -(1 << 31), 1_700_000_000))
    made = _image(*size, random.randrange(len(ENCODINGS)), random.choice((0, 0, 0, 1, 2, 7)), sec, random.randbytes(50))
    return made if random.random() < 0.9 else mutation.octets(random, [made])


def image(data: bytes, _: Path) -> None:
    """From the message to what is published for it, twice in a row, for the tracker."""
    if len(data) < IMAGE.size:
        return
    height, width, step, number, big, sec, nanosec = IMAGE.unpack_from(data)
    header = types.Header(types.Time(sec, nanosec), "camera")
    message = types.Image(header, height, width, ENCODINGS[number % len(ENCODINGS)], big, step, memoryview(data)[IMAGE.size :])
    frame = frame_of(message)
    pipeline = Pipeline(Answer(), MODEL, Tracker(LABELS))
    for later_ns in (0, 33_000_000):
        panoptic = pipeline(frame, stamp_ns(header) + later_ns)
        assert panoptic.ids.shape == (height, width)
    messages.segments(types, header, panoptic, NAMES).serialize()
    messages.panoptic_image(types, header, panoptic).serialize()
    messages.semantic_image(types, header, panoptic, LABELS).serialize()


def compressed_seeds() -> list[bytes]:
    jpeg, png = ".jpg", ".png"
    grey, wide, alpha = SCENE[..., 0], SCENE.astype(np.uint16) * 257, np.dstack([SCENE, SCENE[..., :1]])
    made = [
        (jpeg, SCENE, ()), (jpeg, grey, ()), (jpeg, SCENE, (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
        (jpeg, SCENE, (cv2.IMWRITE_JPEG_RST_INTERVAL, 4)), (png, SCENE, ()), (png, grey, ()), (png, wide, ()), (png, alpha, ()),
        (png, grey // 200 * 255, (cv2.IMWRITE_PNG_BILEVEL, 1)), (".webp", SCENE, ()),
        (".webp", SCENE, (cv2.IMWRITE_WEBP_QUALITY, 101)), (".bmp", SCENE, ()), (".bmp", grey, ()),
        (".tiff", SCENE, ()), (".tiff", wide, ()),
    ]  # fmt: skip
    return [cv2.imencode(suffix, picture, options)[1].tobytes() for suffix, picture, options in made]


def compressed(data: bytes, _: Path) -> None:
    Pipeline(Answer(), MODEL)(frame_of(types.CompressedImage(types.Header(), "jpeg", data)), 0)


# Depth and calibration

DEPTH = struct.Struct("<HHIBBHHIIq4d")  # of the depth: height, width, step, encoding, is_bigendian; of the image: height, width;
# of camera_info: height, width; nanoseconds between them; fx, fy, cx, cy; then the depths
DEPTH_ENCODINGS = ("16UC1", "32FC1", "mono16")


def depth_seeds() -> list[bytes]:
    near = np.full((64, 96), 2.5, np.float32).tobytes(), np.full((64, 96), 2500, np.uint16).tobytes()
    return [
        DEPTH.pack(64, 96, 96 * 4, 1, 0, 64, 96, 64, 96, 0, 50.0, 50.0, 48.0, 32.0) + near[0],
        DEPTH.pack(64, 96, 96 * 2, 0, 0, 32, 48, 64, 96, 10**6, 50.0, 50.0, 48.0, 32.0) + near[1],
    ]


def depth(data: bytes, _: Path) -> None:
    """Boxes and points that are published are finite, whatever calibration and depth say."""
    if len(data) < DEPTH.size:
        return
    rows, columns, step, number, big, height, width, info_height, info_width, apart_ns, *k = DEPTH.unpack_from(data)
    if not 0 < height * width <= 1 << 16:
        return
    now_ns = 1_700_000_000_000_000_000
    header = messages.header_at(types, now_ns, "camera")
    there = messages.header_at(types, min(max(now_ns + apart_ns, 0), 2**31 * 10**9), "camera")
    pixels, encoding = memoryview(data)[DEPTH.size :], DEPTH_ENCODINGS[number % 3]
    depths = Depths(DepthSettings(wait_s=0.0))
    depths.receive_depth(types.Image(there, rows, columns, encoding, big, step, pixels))
    matrix = [k[0], 0.0, k[2], 0.0, k[1], k[3], 0.0, 0.0, 1.0]
    depths.receive_info(types.CameraInfo(header, info_height, info_width, k=matrix))
    panoptic = Pipeline(Answer(), MODEL)(np.zeros((height, width, 3), np.uint8), now_ns)
    view = depths.view(header, panoptic.ids.shape)
    boxes = boxes_3d(panoptic, view.depth, view.intrinsics, view.placement, THINGS)
    points = cloud(panoptic.ids, view.depth, view.intrinsics, view.placement, 4)
    assert all(np.isfinite([box.centre, box.size]).all() for box in boxes), "a box that is not finite"
    assert all(np.isfinite(points[axis]).all() for axis in "xyz"), "a point that is not finite"
    messages.segments_3d(types, header, boxes, NAMES).serialize()
    messages.point_cloud(types, header, points).serialize()


# Parameters and arguments

DEFAULTS = {parameter.name: parameter.default for parameter in parameters.PARAMETERS} | {"model": "none"}


def parameter_seeds() -> list[bytes]:
    others = {"size": "256x512", "depth": "/depth", "camera_info": "/info", "image": "/a/b", "outputs": ["segments"]}
    return [json.dumps(DEFAULTS).encode(), json.dumps(DEFAULTS | others).encode()]


def parameter(data: bytes, _: Path) -> None:
    """ROS itself lets only values of the declared type and range through; the rest is ours."""
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        return
    given = given if isinstance(given, dict) else {}
    changed = {p.name: given[p.name] for p in parameters.PARAMETERS if p.name in given and _as_declared(p, given[p.name])}
    values = DEFAULTS | changed
    for configured in (False, True):
        with contextlib.suppress(PanopticError):
            parameters.check_change(DEFAULTS, changed, configured)
    parameters.check(values)
    for settings in (parameters.thresholds, parameters.tracker_settings, parameters.node_settings, parameters.depth_settings):
        settings(values)
    if size := parameters.engine_size(values):
        MODEL.with_size(*size)
    dds_name(values["image"])
    if values["model"] != "none":
        manifest.load(values["model"])


def _as_declared(declared: parameters.Parameter, value: object) -> bool:
    if type(value) is not type(declared.default):
        return False
    if declared.low is not None and not declared.low <= value <= declared.high:
        return False
    return not isinstance(value, list) or all(isinstance(item, str) for item in value)


def argument_seeds() -> list[bytes]:
    """One argument on each line; the first is the command."""
    return [
        b"run\n--image\n/camera\n--size\n256x512\n--min-score\n0.5\n--max-frames\n3\n--domain\n7\n--interface\nloopback",
        b"run\n--model\nhle_mnv2\n--backend\nauto\n--threads\n2\n--depth\n/d\n--camera-info\n/i\n--precision\nint8\n--pin",
        b"camera\nstreet\n--topic\n/a\n--rate\n5\n--speed\n2\n--loop\n--compressed\n--frame-id\nx\n--bag-topic\n/b\n--restamp",
        b"segment\nPHOTOS\n--out\nout\n--track", b"bench\n--size\n256x512\n--soak\n100", b"demo", b"probe\n--rate\n5",
    ]  # fmt: skip


def arguments(data: bytes, _: Path) -> None:
    """Parsed, or answered by argparse with status 2, or with help and 0."""
    command, *rest = data.decode(errors="surrogateescape").replace("\0", "").split("\n")[:50]
    name = command if command in COMMANDS else "run"
    parser = argparse.ArgumentParser(prog=name)
    importlib.import_module(f"panoptic_ros.commands.{name}").add_arguments(parser)
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            given = parser.parse_args(rest)
        except SystemExit as end:
            assert end.code in (0, 2)
            return
    chosen = choices(given) if name == "bench" else [given]
    for size in {choice.size for choice in chosen if getattr(choice, "size", None)}:
        MODEL.with_size(*size)
    for model in {choice.model for choice in chosen if hasattr(choice, "model")}:
        manifest._find(model)
    with patch.dict(os.environ, {"ROS_DOMAIN_ID": rest[-1] if rest else ""}):
        _domain_number(getattr(given, "domain", None))


TARGETS = (
    Target("cdr", cdr_seeds, cdr, mutation.octets),
    Target("image", image_seeds, image, image_mutation, 10),
    Target("compressed", compressed_seeds, compressed, mutation.picture, 4),
    Target("depth", depth_seeds, depth, mutation.octets, 10),
    Target("parameters", parameter_seeds, parameter, mutation.tree, 4),
    Target("arguments", argument_seeds, arguments, mutation.octets, 10),
)
