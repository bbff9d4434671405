"""The parameters of the ROS 2 node: names, defaults, ranges, and what they make of the runtime's settings."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from panoptic_ros.core import PanopticError
from panoptic_ros.engine import BACKENDS, CHOSEN, MAX_TENSORRT_LEVEL, MAX_TENSORRT_WORKSPACE_MIB, MAX_THREADS
from panoptic_ros.health import MAX_SILENCE_S, MIN_SILENCE_S, Settings
from panoptic_ros.middleware.depth import DepthSettings
from panoptic_ros.middleware.outputs import OUTPUTS
from panoptic_ros.middleware.streams import PLACE, Topics, topics_of
from panoptic_ros.pipeline import Thresholds
from panoptic_ros.tracker import RANGES, TrackerSettings

Value = bool | int | float | str | list[str]
Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """low, high: of a number, both or none. live: may change at any time; others only while the node is unconfigured."""

    name: str
    default: Value
    description: str
    live: bool = False
    low: float | None = None
    high: float | None = None


_SETTINGS = Settings()
_LONGEST_SIZE = 20
"""Characters; Python itself refuses to read numbers of thousands of digits."""


def _limit(name: str, what: str) -> Parameter:
    return Parameter(f"diagnostics.{name}", 0.0, f"{what}; 0 sets no limit", True, 0.0, 1e6)


def _tracker(name: str, default: Value) -> Parameter:
    low, high = RANGES.get(name, (None, None))
    description = "see TrackerSettings in panoptic_ros/tracker.py"
    return Parameter(f"tracker.{name}", default, description, True, low, high)


PARAMETERS = (
    Parameter("model", "hle_mnv2", "name of a model, or its folder"),
    Parameter("backend", "auto", f"auto, {', '.join((*BACKENDS, *CHOSEN))}"),
    Parameter("device", "auto", "as the backend names it"),
    Parameter("precision", "fp32", "fp32, bf16, fp16, int8 or int8+bf16, what the device has"),
    Parameter("verify", False, "compare the engine with the model's fp32 file on a CPU before it is used"),
    Parameter("threads", 0, "CPU threads of the engine; 0 lets the backend decide", False, 0, MAX_THREADS),
    Parameter("tensorrt_level", 3, "how long TensorRT searches for a faster plan", False, 0, MAX_TENSORRT_LEVEL),
    Parameter(
        "tensorrt_workspace_mib",
        2048,
        "memory that a layer of a TensorRT plan may take besides its tensors",
        False,
        1,
        MAX_TENSORRT_WORKSPACE_MIB,
    ),
    Parameter("cache", "", "folder for what the backend compiles, for the next start; empty is the backend's choice"),
    Parameter("size", "", "engine input as HxW, such as 256x512; empty takes the model's own"),
    Parameter("max_latency_ms", 0.0, "fallback_size answers while the median latency is above; 0 sets no limit", True, 0.0, 1e6),
    Parameter("fallback_size", "", "a smaller engine input as HxW, with the ratio of the other; empty has none"),
    Parameter("cameras", "", f"names of several, such as 'front rear'; {PLACE} in the three topics below stands for each"),
    Parameter("image", "/camera/image_raw", "topic of the images; its /compressed variant is taken where only that is published"),
    Parameter("depth", "", "topic of depth images registered to the image; with camera_info gives the 3D outputs"),
    Parameter("camera_info", "", "topic of the image's calibration"),
    Parameter("target_frame", "", "frame of the 3D outputs; empty takes the camera's own", True),
    Parameter("depth_tolerance_s", 0.02, "greatest difference between the stamps of an image and its depth", True, 0.0, 10.0),
    Parameter("depth_wait_s", 0.1, "how long depth, and tf, that come after their image are waited for", True, 0.0, 10.0),
    Parameter("points_stride", 4, "pixels from one row and column of the point cloud to the next", True, 1, 64),
    Parameter("use_cv_bridge", True, "convert images with cv_bridge where it is installed; false: with this package"),
    Parameter("autostart", True, "configure and activate by itself"),
    Parameter("build_only", False, "open the engine, which builds what a GPU needs, and end"),
    Parameter(
        "trace", "", "file for where the last frames spent their time (ui.perfetto.dev), written at deactivation and at the end"
    ),
    Parameter("lazy", True, "listen to the camera only while somebody subscribes to an output", True),
    Parameter("outputs", list(OUTPUTS), f"what is published: of {', '.join(OUTPUTS)}", True),
    Parameter("min_score", 0.0, "things that score less become void", True, 0.0, 1.0),
    Parameter("min_area", 0, "things with fewer pixels become void", True, 0, 1 << 30),
    *(_tracker(field.name, field.default) for field in fields(TrackerSettings)),
    Parameter(
        "diagnostics.max_silence_s",
        _SETTINGS.max_silence_s,
        "without image or answer for longer is an error",
        True,
        MIN_SILENCE_S,
        MAX_SILENCE_S,
    ),
    _limit("warn_latency_ms", "median latency from arrival to publication that is a warning"),
    _limit("error_latency_ms", "median latency from arrival to publication that is an error"),
    _limit("warn_age_ms", "age of an arriving image, by its stamp, that is a warning"),
    _limit("error_age_ms", "age of an arriving image, by its stamp, that is an error"),
    Parameter("diagnostics.log_interval_s", _SETTINGS.log_interval_s, "between log lines on what was dropped", True, 0.0, 3600.0),
)


def check_change(values: Values, changed: Values, configured: bool) -> None:
    """Raises PanopticError unless `values`, all of them, may become what `changed` makes of some."""
    for parameter in PARAMETERS:
        name = parameter.name
        if configured and not parameter.live and changed.get(name, values[name]) != values[name]:
            raise PanopticError(f"{name} can change only while the node is unconfigured: deactivate and clean it up first")
    if "outputs" in changed:
        outputs(changed)
    for name in ("size", "fallback_size"):
        if name in changed:
            engine_size(changed, name)
    if configured:
        _check_limit({**values, **changed})


def check(values: Values) -> None:
    """Raises PanopticError for what is impossible, alone or together."""
    outputs(values)
    engine_size(values)
    engine_size(values, "fallback_size")
    topics(values)
    _check_limit(values)


def _check_limit(values: Values) -> None:
    if values["max_latency_ms"] and not values["fallback_size"]:
        raise PanopticError(f"max_latency_ms is {values['max_latency_ms']} and fallback_size is empty: what shall answer then?")


def topics(values: Values) -> tuple[Topics, ...]:
    """Of each camera."""
    return topics_of(*(values[name] for name in ("cameras", "image", "depth", "camera_info")))


def engine_size(values: Values, name: str = "size") -> tuple[int, int] | None:
    """Height and width, None for the model's own, or none. name: size or fallback_size."""
    text = values[name]
    if not text:
        return None
    height, cross, width = text.partition("x")
    if not (cross and height.isdecimal() and width.isdecimal() and len(text) <= _LONGEST_SIZE):
        raise PanopticError(f"{name} is {text[:_LONGEST_SIZE]!r}; expected HxW, such as 256x512")
    return int(height), int(width)


def outputs(values: Values) -> frozenset[str]:
    unknown = sorted(set(values["outputs"]) - set(OUTPUTS))
    if unknown:
        raise PanopticError(f"outputs are {', '.join(OUTPUTS)}; there is no {', '.join(unknown)}")
    return frozenset(values["outputs"])


def thresholds(values: Values) -> Thresholds:
    return Thresholds(values["min_score"], values["min_area"])


def tracker_settings(values: Values) -> TrackerSettings:
    return TrackerSettings(**_part(values, "tracker."))


def node_settings(values: Values) -> Settings:
    return Settings(**_part(values, "diagnostics."))


def depth_settings(values: Values) -> DepthSettings:
    return DepthSettings(values["depth_tolerance_s"], values["depth_wait_s"], values["target_frame"])


def _part(values: Values, prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
