"""The node: subscribes to cameras over DDS, publishes their tracked segments to ROS 2 nodes and others."""

import argparse
import logging
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

from panoptic_ros import trace
from panoptic_ros.commands.dds_arguments import add_dds_arguments, join_domain, stop_signal
from panoptic_ros.commands.model_arguments import add_model_arguments, open_as, open_model, size
from panoptic_ros.core import Engine, PanopticError
from panoptic_ros.health import MAX_SILENCE_S, MIN_SILENCE_S, Settings
from panoptic_ros.leftovers import share_one_arena
from panoptic_ros.log_aside import LogAside
from panoptic_ros.manifest import Manifest
from panoptic_ros.middleware.dds import DdsNode
from panoptic_ros.middleware.streams import PLACE, Stream, topics_of
from panoptic_ros.overload import AdaptiveEngine
from panoptic_ros.pipeline import Pipeline, Thresholds
from panoptic_ros.tracker import Tracker

STATUS_PERIOD_S = 5.0
_LAST_WORD_S = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--image", default="/camera/image_raw", metavar="TOPIC", help="and TOPIC/compressed (default: %(default)s)"
    )
    parser.add_argument(
        "--cameras", default="", metavar="NAMES", help=f"several, such as 'front rear'; {PLACE} in topics stands for each of them"
    )
    parser.add_argument(
        "--reliable", action="store_true", help="have lost images sent again: for recordings, not for live cameras"
    )
    parser.add_argument("--depth", default="", metavar="TOPIC", help="depth registered to the image; with --camera-info gives 3D")
    parser.add_argument("--camera-info", default="", metavar="TOPIC", help="calibration of the image")
    parser.add_argument("--min-score", type=float, default=0.0, metavar="S", help="things below become void (default: 0)")
    parser.add_argument(
        "--max-latency-ms",
        type=float,
        default=0.0,
        metavar="MS",
        help="take --fallback-size while the median is above (0: never)",
    )
    parser.add_argument("--fallback-size", type=size, metavar="HxW", help="a smaller engine input with the ratio of --size")
    parser.add_argument(
        "--max-silence-s",
        type=float,
        default=Settings().max_silence_s,
        metavar="S",
        help="without an image for longer is an error in /diagnostics (default: %(default)s)",
    )
    parser.add_argument("--max-frames", type=int, metavar="N", help="end after N answered images (default: never)")
    parser.add_argument(
        "--trace", type=Path, metavar="FILE", help="at the end, where the last frames spent their time (ui.perfetto.dev)"
    )
    add_model_arguments(parser)
    add_dds_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Runs until SIGINT, SIGTERM or `--max-frames`."""
    if args.max_frames is not None and args.max_frames < 1:
        raise PanopticError(f"--max-frames {args.max_frames} is not possible: at least 1")
    if args.max_latency_ms < 0 or (args.max_latency_ms and not args.fallback_size):
        raise PanopticError(f"--max-latency-ms {args.max_latency_ms} is not possible: 0 or more, with --fallback-size")
    if not MIN_SILENCE_S <= args.max_silence_s <= MAX_SILENCE_S:
        raise PanopticError(f"--max-silence-s {args.max_silence_s} is not possible: {MIN_SILENCE_S} to {MAX_SILENCE_S}")
    topics = topics_of(args.cameras, args.image, args.depth, args.camera_info)
    lines = LogAside()
    logging.basicConfig(level=logging.INFO, handlers=[lines], format="%(message)s")
    share_one_arena()
    stop = stop_signal()
    model, engine = open_model(args)
    adaptive = _adaptive(args, model, engine)

    def pipeline() -> Pipeline:
        return Pipeline(adaptive or engine, model, Tracker(model.labels), Thresholds(args.min_score))

    info = {"model": model.model, **engine.description}
    settings = Settings(args.max_silence_s)
    node = DdsNode(join_domain(args), topics, pipeline, model.labels, info, args.reliable, adaptive, settings)
    _say(" ".join(f"{key}={value}" for key, value in info.items()))
    if args.trace:
        trace.write(args.trace, [])  # what cannot be written is said now
        trace.current = trace.Trace()
    over = threading.Event()
    threading.Thread(target=_hand_on, args=(stop, node), daemon=True).start()
    watcher = threading.Thread(target=_watch, args=(node, over), daemon=True)
    watcher.start()
    try:
        node.run(args.max_frames)
    finally:
        if trace.current:
            trace.write(args.trace, trace.current.events(f"panoptic_ros {model.model}"))
    over.set()
    watcher.join(_LAST_WORD_S)  # no longer, where nobody reads what it says
    lines.finish(_LAST_WORD_S)
    return 0


def _adaptive(args: argparse.Namespace, model: Manifest, engine: Engine) -> AdaptiveEngine | None:
    """None without a size to fall back to."""
    if not args.fallback_size:
        return None
    return AdaptiveEngine(engine, open_as(args, model.with_size(*args.fallback_size)), args.max_latency_ms)


def _hand_on(stop: threading.Event, node: DdsNode) -> None:
    """A signal ends the node. In a thread that does nothing else, since those that print may be kept waiting."""
    stop.wait()
    node.stop()


def _watch(node: DdsNode, over: threading.Event) -> None:
    """Prints the status every now and then, and at the end."""
    while not over.wait(STATUS_PERIOD_S):
        _print(node)
    _print(node)


def _print(node: DdsNode) -> None:
    for stream in node.streams:
        _say(status(stream))


def _say(line: str) -> None:
    """Whoever read it may have gone. Unbuffered, so that nothing is left for Python to fall over when it ends."""
    if sys.stdout is not None:
        with suppress(OSError):
            os.write(sys.stdout.fileno(), f"{line}\n".encode())


def status(stream: Stream) -> str:
    """One line for people."""
    camera = f"{stream.topics.camera}: " if stream.topics.camera else ""
    counts = stream.core.counts
    p50, p99 = stream.core.latency_ms()
    return (
        f"{camera}received {counts.received}, answered {counts.answered}, dropped {counts.dropped_newer} for newer ones "
        f"and {counts.dropped_bad} bad; latency p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    )
