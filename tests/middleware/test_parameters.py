"""The ROS node's parameters, without ROS: defaults, what may change when, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from panoptic_ros.core import PanopticError
from panoptic_ros.health import Settings
from panoptic_ros.middleware.depth import DepthSettings
from panoptic_ros.middleware.outputs import OUTPUTS
from panoptic_ros.middleware.parameters import (
    PARAMETERS,
    check,
    check_change,
    depth_settings,
    engine_size,
    node_settings,
    outputs,
    thresholds,
    tracker_settings,
)
from panoptic_ros.pipeline import Thresholds
from panoptic_ros.tracker import TrackerSettings

ROOT = Path(__file__).resolve().parents[2]
DEFAULTS = {parameter.name: parameter.default for parameter in PARAMETERS}


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return leaves


def test_the_bundled_file_has_every_parameter_with_its_default() -> None:
    """And of the same type: ROS refuses 1 for a floating-point parameter."""
    content = flat(yaml.safe_load((ROOT / "config" / "panoptic.yaml").read_text())["/**"]["ros__parameters"])
    assert content == DEFAULTS
    assert {name: type(value) for name, value in content.items()} == {name: type(value) for name, value in DEFAULTS.items()}


def test_the_defaults_are_those_of_the_runtime() -> None:
    assert tracker_settings(DEFAULTS) == TrackerSettings()
    assert node_settings(DEFAULTS) == Settings()
    assert thresholds(DEFAULTS) == Thresholds()
    assert depth_settings(DEFAULTS) == DepthSettings()
    assert outputs(DEFAULTS) == set(OUTPUTS)
    assert engine_size(DEFAULTS) is None and engine_size({**DEFAULTS, "size": "256x512"}) == (256, 512)


def test_defaults_lie_in_their_ranges() -> None:
    for parameter in PARAMETERS:
        assert (parameter.low is None) == (parameter.high is None)
        if parameter.low is not None and parameter.high is not None:
            assert parameter.low <= parameter.default <= parameter.high, parameter.name


@pytest.mark.parametrize("name", ["model", "image", "threads", "depth", "cameras"])
def test_what_the_engine_was_opened_with_stays_while_it_is_open(name: str) -> None:
    changed = {name: 3 if name == "threads" else "other"}
    with pytest.raises(PanopticError, match=f"{name} can change only while the node is unconfigured"):
        check_change(DEFAULTS, changed, configured=True)
    check_change(DEFAULTS, {name: DEFAULTS[name]}, configured=True)  # no change
    check_change(DEFAULTS, changed, configured=False)


def test_a_limit_of_latency_takes_an_engine_that_is_open() -> None:
    values = DEFAULTS | {"fallback_size": "128x256"}
    check_change(values, {"max_latency_ms": 40.0}, configured=True)
    with pytest.raises(PanopticError, match="fallback_size is empty"):
        check_change(DEFAULTS, {"max_latency_ms": 40.0}, configured=True)


def test_the_rest_may_change_at_any_time() -> None:
    check_change(DEFAULTS, {"min_score": 0.5, "tracker.min_hits": 3, "outputs": ["segments"], "lazy": False}, configured=True)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"outputs": ["segments", "masks"]}, "there is no masks"),
        ({"depth": "/depth"}, "3D takes both depth and camera_info"),
        ({"size": "large"}, "expected HxW"),
        ({"size": "9" * 5000 + "x32"}, "size is '9{20}'; expected HxW"),
        ({"fallback_size": "small"}, "fallback_size is 'small'; expected HxW"),
        ({"cameras": "front rear"}, "{camera} stands for the name of each camera"),
        ({"max_latency_ms": 40.0}, "max_latency_ms is 40.0 and fallback_size is empty"),
    ],
)
def test_what_cannot_be_is_refused(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(PanopticError, match=reason):
        check(DEFAULTS | changed)
    if not set(changed) & {"depth", "cameras", "max_latency_ms"}:  # which are half of a pair that comes one by one
        with pytest.raises(PanopticError, match=reason):
            check_change(DEFAULTS, changed, configured=False)
