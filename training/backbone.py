"""A run's backbone as a file that `backbone_weights` takes: `python -m training.backbone CHECKPOINT FILE`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from panoptic_ros.core import PanopticError
from training.checkpoint import backbone_of, read_checkpoint, summary


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.backbone", description=__doc__)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="of a training here")
    parser.add_argument("file", type=Path, metavar="FILE", help="gets the averaged weights in FP16, by torchvision's names")
    args = parser.parse_args(arguments)
    try:
        write(backbone_of(read_checkpoint(args.checkpoint)), args.file)
    except PanopticError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def write(state: dict[str, Tensor], file: Path) -> None:
    """Raises PanopticError if there is nothing to write, or it cannot be written."""
    if not state:
        raise PanopticError("the checkpoint has no backbone")
    halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(halves, file)
    except (OSError, RuntimeError) as error:  # torch's own, where the file system refuses
        raise PanopticError(f"cannot write {file}: {summary(error)}") from error


if __name__ == "__main__":
    sys.exit(main())
