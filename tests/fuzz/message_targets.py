"""What comes over the network or from whoever starts the node: messages as bytes, parameters, arguments."""

import argparse
import contextlib
import importlib
import io
import json
import os
from pathlib import Path
from unittest.mock import patch

from ros_types import ros_bytes

from panoptic_ros import manifest
from panoptic_ros.__main__ import COMMANDS
from panoptic_ros.commands.model_arguments import choices
from panoptic_ros.core import PanopticError
from panoptic_ros.middleware import dds_types as types
from panoptic_ros.middleware import parameters
from panoptic_ros.middleware.dds_endpoints import dds_name
from panoptic_ros.middleware.dds_participant import _domain_number
from tests.fuzz import mutation
from tests.fuzz.image_targets import MODEL
from tests.fuzz.target import Target

STAMP = types.Time(1_700_000_000, 500)


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
    Target("parameters", parameter_seeds, parameter, mutation.tree, 4),
    Target("arguments", argument_seeds, arguments, mutation.octets, 10),
)
