"""A checkpoint as torch.export's program, `model.pt2`, for the torch_export backend: a GPU without TensorRT.

python -m training.torch_package --model hle_mnv2

The weights must be those of the model's model.onnx, which the program is compared with before it is written.
"""

import argparse
import io
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from panoptic_ros import manifest, variant
from panoptic_ros import verify as verification
from panoptic_ros.core import PanopticError
from panoptic_ros.engine import open_engine
from panoptic_ros.manifest import Manifest
from panoptic_ros.sources import STREET_CLIP
from training.data.samples import sample_images
from training.nets.graph import Graph
from training.onnx_export import WithNetwork, decoder_settings, load_method
from training.torch_engine import TorchEngine

FRAMES = 4


def main(arguments: Sequence[str] | None = None) -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m training.torch_package", description=__doc__, formatter_class=raw)
    parser.add_argument("--model", required=True, help="name of a model, or its folder")
    parser.add_argument("--checkpoint", type=Path, help="default: runs/<model>/last.pt")
    args = parser.parse_args(arguments)
    try:
        model = manifest.load(args.model)
        graph = graph_of(model, args.checkpoint or Path("runs") / model.model / "last.pt")
        print(write(model, graph))
    except PanopticError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def graph_of(model: Manifest, checkpoint: Path) -> Graph:
    """The graph that the model was exported from, as its manifest says, with the weights of a checkpoint."""
    return load_method(checkpoint, decoder_settings(model))[1].graph().eval()


def check(model: Manifest, graph: nn.Module) -> None:
    """Raises PanopticError if `graph` does not answer as model.onnx does."""
    images = sample_images(str(STREET_CLIP), FRAMES, model.size)
    found = verification.agreement(open_engine(model), TorchEngine(graph, model.size), images)
    verification.check(found, "fp32", f"the checkpoint of {model.model}")


def write(model: Manifest, graph: nn.Module) -> Path:
    """The program of `graph`, once it answers as model.onnx does. Raises PanopticError if it does not."""
    check(model, graph)
    return variant.save(model, "pt2", program(graph, model), f"torch {torch.__version__}")


def program(graph: nn.Module, model: Manifest) -> bytes:
    """torch.export's program for every size: (1,h,w,3) uint8, h and w multiples of `model.size_multiple`; outputs as those of
    `WithNetwork`."""
    multiple = model.size_multiple
    image = torch.zeros(1, 8 * multiple, 12 * multiple, 3, dtype=torch.uint8)
    sides = {axis: multiple * torch.export.Dim(name, min=2, max=128) for axis, name in ((1, "rows"), (2, "columns"))}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(WithNetwork(graph), (image,), dynamic_shapes=(sides,))
    file = io.BytesIO()
    torch.export.save(exported, file)
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(main())
