"""What the commands that speak DDS have in common."""

import argparse
import signal
import threading

from panoptic_ros.middleware.dds_participant import LOOPBACK, Participant, join


def add_dds_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--domain", type=int, metavar="N", help="DDS domain, 0..232 (default: $ROS_DOMAIN_ID, or 0)")
    parser.add_argument(
        "--interface",
        metavar="NAME",
        help=f"{LOOPBACK} (stay on this host), or the name or address of a network interface "
        "(default: what ROS 2 nodes over Cyclone DDS use; $CYCLONEDDS_URI overrides all)",
    )


def join_domain(args: argparse.Namespace) -> Participant:
    """What the arguments of `add_dds_arguments` ask for."""
    return join(args.domain, args.interface)


def stop_signal() -> threading.Event:
    """Set by SIGINT and SIGTERM from now on."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop
