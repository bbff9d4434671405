"""Panoptic segmentation with identities, for robots."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from panoptic_ros.core import PanopticError

COMMANDS = {
    "run": "the node: images in, tracked segments out",
    "camera": "publish a video, a folder of images, a rosbag2 or a street scene as a camera",
    "demo": "camera, node and subscriber together, with pictures of what they see",
    "segment": "image files in; overlays and COCO panoptic files out",
    "bench": "measure a model: network, engine and pipeline",
    "probe": "measure a node that runs, from outside",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command, importing only that one; the exit status. A PanopticError becomes one line on stderr and status 2."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what goes wrong is said once, by us
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    chosen = _parser().parse_args(arguments)
    command = importlib.import_module(f"panoptic_ros.commands.{chosen.command}")
    parser = argparse.ArgumentParser(prog=f"panoptic_ros {chosen.command}", description=command.__doc__)
    command.add_arguments(parser)
    try:
        return command.main(parser.parse_args(chosen.arguments))
    except PanopticError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    commands = "\n".join(f"  {name:8} {purpose}" for name, purpose in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="panoptic_ros",
        description=__doc__,
        epilog=f"commands:\n{commands}\n\n`panoptic_ros COMMAND --help` explains each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=", ".join(COMMANDS))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="of the command")
    return parser


if __name__ == "__main__":
    sys.exit(main())
