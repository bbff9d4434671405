"""The node: subscribes to a camera over DDS, publishes its tracked segments to ROS 2 nodes and others."""

import argparse
import logging
import threading
from pathlib import Path

from panoptic_ros import trace
from panoptic_ros.commands.dds_arguments import add_dds_arguments, join_domain, stop_signal
from panoptic_ros.commands.model_arguments import add_model_arguments, open_model
from panoptic_ros.core import PanopticError
from panoptic_ros.middleware.dds import DdsNode
from panoptic_ros.node import Node
from panoptic_ros.pipeline import Pipeline, Thresholds
from panoptic_ros.tracker import Tracker

STATUS_PERIOD_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--image", default="/camera/image_raw", metavar="TOPIC", help="and TOPIC/compressed (default: %(default)s)"
    )
    parser.add_argument(
        "--reliable", action="store_true", help="have lost images sent again: for recordings, not for live cameras"
    )
    parser.add_argument("--depth", default="", metavar="TOPIC", help="depth registered to the image; with --camera-info gives 3D")
    parser.add_argument("--camera-info", default="", metavar="TOPIC", help="calibration of the image")
    parser.add_argument("--min-score", type=float, default=0.0, metavar="S", help="things below become void (default: 0)")
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
    if bool(args.depth) != bool(args.camera_info):
        raise PanopticError(f"3D takes both --depth and --camera-info; they are {args.depth!r} and {args.camera_info!r}")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    stop = stop_signal()
    model, engine = open_model(args)
    info = {"model": model.model, **engine.description}
    pipeline = Pipeline(engine, model, Tracker(model.labels), Thresholds(args.min_score))
    topics = {"image": args.image, "depth": args.depth, "camera_info": args.camera_info}
    node = DdsNode(join_domain(args), pipeline, model.labels, info, reliable=args.reliable, **topics)
    print(" ".join(f"{key}={value}" for key, value in info.items()), flush=True)
    if args.trace:
        trace.write(args.trace, [])  # what cannot be written is said now
        trace.current = trace.Trace()
    watcher = threading.Thread(target=_watch, args=(node, stop), daemon=True)
    watcher.start()
    try:
        node.run(args.max_frames)
    finally:
        if trace.current:
            trace.write(args.trace, trace.current.events(f"panoptic_ros {model.model}"))
    stop.set()
    watcher.join()
    print(status(node.core), flush=True)
    return 0


def _watch(node: DdsNode, stop: threading.Event) -> None:
    """Prints the status every now and then, and hands a signal on."""
    while not stop.wait(STATUS_PERIOD_S):
        print(status(node.core), flush=True)
    node.stop()


def status(node: Node) -> str:
    """One line for people."""
    counts = node.counts
    p50, p99 = node.latency_ms()
    return (
        f"received {counts.received}, answered {counts.answered}, dropped {counts.dropped_newer} for newer ones "
        f"and {counts.dropped_bad} bad; latency p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    )
