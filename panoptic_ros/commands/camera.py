"""Publishes a video clip, a folder of images, a rosbag2 or a camera device over DDS."""

import argparse
import time
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

from panoptic_ros.commands.dds_arguments import add_dds_arguments, join_domain, stop_signal
from panoptic_ros.core import PanopticError
from panoptic_ros.middleware.camera import Camera
from panoptic_ros.middleware.transport import Transport
from panoptic_ros.sources import CAMERA_INFO_TYPE, COMPRESSED_TYPE, STREET_CLIP, Frame, Item, open_source, paced

_SETTLE_S = 0.5
"""We know of a subscriber before it knows of us; what it gets too early, it ignores."""
_FLUSH_S = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a clip, a folder of images, a rosbag2, a device such as /dev/video0, or `street` (bundled clip)",
    )
    parser.add_argument("--topic", default="/camera/image_raw", help="of the images (default: %(default)s)")
    parser.add_argument("--rate", type=float, metavar="HZ", help="images per second (default: the clip's; 10 for a folder)")
    parser.add_argument("--speed", type=float, default=1.0, metavar="X", help="times as fast (default: 1)")
    parser.add_argument("--loop", action="store_true", help="start again at the end")
    parser.add_argument(
        "--compressed", action="store_true", help="publish JPEG on TOPIC/compressed; a bag's images stay as they are"
    )
    parser.add_argument("--frame-id", default="camera", help="of clips and folders (default: %(default)s)")
    parser.add_argument("--bag-topic", metavar="TOPIC", help="the bag's images, if it has several")
    parser.add_argument("--restamp", action="store_true", help="give a bag's messages the present time")
    parser.add_argument("--wait-for-subscriber", action="store_true", help="send nothing before someone listens")
    parser.add_argument("--middleware", choices=("dds", "ros"), default="dds", help="ros takes rclpy (default: %(default)s)")
    add_dds_arguments(parser)


def main(args: argparse.Namespace) -> int:
    if not args.speed > 0:
        raise PanopticError(f"--speed {args.speed} is not possible: above 0")
    stop = stop_signal()
    path = STREET_CLIP if args.source == "street" else Path(args.source)
    camera = Camera(_transport(args), args.topic, args.frame_id, args.restamp, _is_compressed(path, args))
    while args.wait_for_subscriber and not camera.subscribed and not stop.wait(0.02):
        pass
    stop.wait(_SETTLE_S if args.wait_for_subscriber else 0)
    for _ in repeat(None) if args.loop else range(1):
        for now_ns, item in paced(_items(path, args), stop, args.speed):
            camera.publish(now_ns, item)
        if stop.is_set():
            break
    time.sleep(_FLUSH_S)  # for the last packets to be acknowledged
    print(f"sent {camera.sent} images on {args.topic}", flush=True)
    return 0


def _transport(args: argparse.Namespace) -> Transport:
    if args.middleware == "ros":
        try:
            from panoptic_ros.middleware.ros_transport import camera_transport
        except ImportError as error:
            raise PanopticError(f"--middleware ros takes a ROS 2 installation that is sourced: {error}") from error
        return camera_transport()
    from panoptic_ros.middleware.dds_endpoints import DdsTransport

    return DdsTransport(join_domain(args))


def _items(path: Path, args: argparse.Namespace) -> Iterator[Item]:
    return open_source(path, args.rate, args.bag_topic)


def _is_compressed(path: Path, args: argparse.Namespace) -> bool:
    """Reads up to the first image, so that a bad source is reported before anyone waits for it."""
    for item in _items(path, args):
        if isinstance(item, Frame):
            return bool(args.compressed)
        if item.type != CAMERA_INFO_TYPE:
            return item.type == COMPRESSED_TYPE
    raise PanopticError(f"{path} has no images")
