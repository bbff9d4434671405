"""Backbones to start from: those bundled, and `python -m training.backbone CHECKPOINT FILE`, which takes a run's."""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from panoptic_ros.core import PanopticError
from panoptic_ros.variant import write_atomically
from training.checkpoint import backbone_of, read_checkpoint

BUNDLED = Path(__file__).parent / "backbones"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.backbone", description=__doc__)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="of a training here")
    parser.add_argument("file", type=Path, metavar="FILE", help="gets the averaged weights in FP16, by torchvision's names")
    args = parser.parse_args(arguments)
    try:
        write(args.checkpoint, args.file)
    except PanopticError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def write(checkpoint: Path, file: Path) -> None:
    """Raises PanopticError if there is no backbone, it does not fit into FP16, or it cannot be written."""
    state = backbone_of(read_checkpoint(checkpoint))
    if not state:
        raise PanopticError(f"{checkpoint} has no backbone")
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    for name, value in halves.items():
        if not value.isfinite().all():
            raise PanopticError(f"{name} of {checkpoint} has values that FP16 cannot hold")
    if file.exists() and file.samefile(checkpoint):
        raise PanopticError(f"{file} is the checkpoint itself: choose another file")
    content = io.BytesIO()
    torch.save(halves, content)
    write_atomically(file, content.getvalue())


def located(source: str) -> str:
    """The file of a bundled backbone, which is named without folder and suffix; anything else as it is."""
    bundled = BUNDLED / f"{source}.pt"
    return str(bundled) if bundled.parent == BUNDLED and bundled.is_file() else source


if __name__ == "__main__":
    sys.exit(main())
