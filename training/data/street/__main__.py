"""python -m training.data.street --out FOLDER: render the street data set; or --video FILE: one scene as a clip."""

import argparse
import sys
from pathlib import Path

import cv2
from tqdm import tqdm

from panoptic_ros.commands import model_arguments
from panoptic_ros.core import PanopticError
from training.data.street.dataset import Plan, render
from training.data.street.generate import frames


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m training.data.street", description=__doc__)
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, help="folder of the data set; finished scenes in it are kept")
    what.add_argument("--video", type=Path, help="write one scene as .mp4 instead (see --seed, --frames, --rate)")
    for split, scenes, count, rate in (("train", 400, 8, 1.4), ("val", 8, 75, 10.0), ("test", 4, 75, 10.0)):
        p.add_argument(f"--{split}-scenes", type=int, default=scenes)
        p.add_argument(f"--{split}-frames", type=int, default=count, help="per scene")
        p.add_argument(f"--{split}-rate", type=float, default=rate, help="frames per second")
    p.add_argument("--frames", type=int, default=150, help="of --video")
    p.add_argument("--rate", type=float, default=10.0, help="of --video")
    p.add_argument("--size", type=size, default=(256, 512), help="HxW")
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--no-depth", action="store_true")
    return p


def size(text: str) -> tuple[int, int]:
    """'256x512' -> (256, 512)."""
    height, width = model_arguments.size(text)
    if min(height, width) < 16:
        raise argparse.ArgumentTypeError(f"{text!r} is too small: height and width are at least 16")
    return height, width


def write_video(path: Path, seed: int, count: int, rate_hz: float, shape: tuple[int, int]) -> None:
    """One scene as an mp4."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate_hz, (shape[1], shape[0]))
    if not writer.isOpened():
        raise PanopticError(f"cannot write the video {path}: the folder must exist and the name end in .mp4")
    for frame in tqdm(frames(seed, count, rate_hz, shape), total=count, unit="frame", desc=path.name):
        writer.write(frame.rgb[..., ::-1].copy())
    writer.release()


def main() -> None:
    """Run the command; errors meant for the user end it with one line."""
    a = parser().parse_args()
    try:
        if a.video:
            write_video(a.video, a.seed, a.frames, a.rate, a.size)
            return
        plans = [
            Plan(s, getattr(a, f"{s}_scenes"), getattr(a, f"{s}_frames"), getattr(a, f"{s}_rate"))
            for s in ("train", "val", "test")
        ]
        render(a.out, plans, a.seed, a.size, not a.no_depth, a.workers)
    except PanopticError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
