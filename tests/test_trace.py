"""The trace of a node: parsed, each frame's slices nest, do not overlap, and add up."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_engine

from panoptic_ros import trace
from panoptic_ros.aside import Aside
from panoptic_ros.core import Engine
from panoptic_ros.manifest import Manifest
from panoptic_ros.middleware.dds_types import Header, Image, Time
from panoptic_ros.node import Node
from panoptic_ros.pipeline import STAGES, Pipeline
from panoptic_ros.tracker import Tracker

ROUNDING_US = 0.01


@pytest.fixture
def recorded() -> Iterator[trace.Trace]:
    trace.current = trace.Trace()
    yield trace.current
    trace.current = None


def image(sec: int) -> Image:
    frame = tiny_engine.scene()
    return Image(Header(Time(sec, 0), "cam"), 64, 96, "rgb8", 0, 96 * 3, frame.tobytes())


def slices(file: Path) -> list[dict]:
    return [event for event in json.loads(file.read_text())["traceEvents"] if event["ph"] == "X"]


def end(event: dict) -> float:
    return event["ts"] + event["dur"]


def nested(events: list[dict]) -> bool:
    """Of any two slices one lies in the other, or they lie apart."""

    def inside(a: dict, b: dict) -> bool:
        return b["ts"] - ROUNDING_US <= a["ts"] and end(a) <= end(b) + ROUNDING_US

    def apart(a: dict, b: dict) -> bool:
        return end(a) <= b["ts"] + ROUNDING_US or end(b) <= a["ts"] + ROUNDING_US

    return all(inside(a, b) or inside(b, a) or apart(a, b) for a in events for b in events)


def test_slices_of_a_frame_nest_and_add_up(recorded: trace.Trace, tiny: Manifest, engine: Engine, tmp_path: Path) -> None:
    node = Node(Pipeline(engine, tiny, Tracker(tiny.labels)), lambda *_: None, "/image")
    node.receive(image(1))
    for sec in range(2, 12):
        node.step(0)
        node.receive(image(sec))
    node.step(0)
    trace.write(tmp_path / "trace.json", recorded.events("tiny"))
    events = slices(tmp_path / "trace.json")
    frames = {event["args"]["frame"] for event in events}
    assert frames == {sec * 1_000_000_000 for sec in range(1, 12)}
    totals_ms, between_us = [], []
    for frame in frames:
        part = {event["name"]: event for event in events if event["args"]["frame"] == frame}
        assert set(part) == {"wait", "frame", "convert", "pipeline", *STAGES, "publish"}
        assert all(event["dur"] >= 0 for event in part.values()) and nested(list(part.values()))
        assert end(part["wait"]) == pytest.approx(part["frame"]["ts"], abs=ROUNDING_US)
        steps = sum(part[name]["dur"] for name in ("convert", "pipeline", "publish"))
        between_us.append(part["frame"]["dur"] - steps)
        assert sum(part[stage]["dur"] for stage in STAGES) == pytest.approx(part["pipeline"]["dur"], abs=ROUNDING_US)
        assert part["convert"]["ts"] <= part["pipeline"]["ts"] <= part["publish"]["ts"]
        totals_ms.append((part["wait"]["dur"] + part["frame"]["dur"]) / 1e3)
    assert min(between_us) >= -ROUNDING_US and np.median(between_us) < 200  # one of them may lose its core there
    assert np.median(totals_ms) == pytest.approx(node.latency_ms()[0], abs=1e-3)
    for tid in {event["tid"] for event in events}:  # also of different frames, or the picture would be wrong
        assert nested([event for event in events if event["tid"] == tid])


def test_what_is_done_beside_the_answers_has_tracks_of_its_own(recorded: trace.Trace, tiny: Manifest, engine: Engine) -> None:
    def draw() -> dict[str, str]:
        time.sleep(0.01)
        return {}

    aside, ahead = Aside("aside"), Aside("ahead")
    node = Node(Pipeline(engine, tiny), lambda *_: draw, "/image", aside=aside, ahead=ahead)
    node.receive(image(1))
    node.step(0)
    for beside in (aside, ahead):
        beside.stop()
    events = recorded.events("tiny")
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    spans = {names[event["tid"]]: event for event in events if event["ph"] == "X"}
    assert {track: (spans[track]["name"], spans[track]["args"]["frame"]) for track in ("aside", "ahead")} == {
        "aside": ("aside", 1_000_000_000),
        "ahead": ("convert", 1_000_000_000),
    }
    assert spans["aside"]["dur"] >= 10e3 and spans["ahead"]["dur"] > 0


def test_tracks_are_threads_and_the_queue(recorded: trace.Trace) -> None:
    trace.report(("work",), (0, 2_000_000), 5)
    trace.report(("wait", "wait"), (1000, 3000, 4500), 6, "queue")
    names = {event["tid"]: event["args"]["name"] for event in recorded.events("tiny", 3) if event["name"] == "thread_name"}
    spans = [
        (names[event["tid"]], event["name"], event["ts"], event["dur"], event["args"], event["pid"])
        for event in recorded.events("tiny", 3) if event["ph"] == "X"
    ]  # fmt: skip
    assert spans == [
        ("MainThread", "work", 0, 2000, {"frame": 5}, 3),
        ("queue", "wait", 1, 2, {"frame": 6}, 3),
        ("queue", "wait", 3, 1.5, {"frame": 6}, 3),
    ]


def test_the_newest_spans_are_kept() -> None:
    ring = trace.Trace(3)
    for number in range(10):
        ring.add(str(number), number, number + 1, None, "")
    assert [event["name"] for event in ring.events("tiny") if event["ph"] == "X"] == ["7", "8", "9"]


def test_without_a_trace_nothing_is_kept(tiny: Manifest, engine: Engine) -> None:
    assert trace.current is None
    Pipeline(engine, tiny)(tiny_engine.scene(), 1)
    trace.current = trace.Trace()
    assert [event["ph"] for event in trace.current.events("tiny")] == ["M"]
    trace.current = None
