"""The affinities of one pixel as a picture (figure 1e of the paper): the brighter, the more it collects from there.

python -m training.methods.affinity.view --model affinity_mnv2 --image street.jpg --pixel 320,240 --out affinity.png
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import torch

from panoptic_ros import manifest
from panoptic_ros.core import PanopticError
from panoptic_ros.images import read_image
from panoptic_ros.manifest import Manifest
from panoptic_ros.preprocess import geometry, letterbox
from training.methods.affinity.affinity import affinities
from training.methods.affinity.network import STRIDE
from training.nets.fpn import STRIDES
from training.precision.network_part import cut_names

AFFINITY = [3 * len(STRIDES) + 1, 3 * len(STRIDES) + 2]
"""Which of the network's tensors are phi0(Q) and phi1(Q), in the order of `network.Output`."""

BRIGHTEST = 99.5
"""Percentile of the affinities that is drawn in full, so that one cell does not make all others dark."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.methods.affinity.view", description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="affinity_mnv2", help="its name, or the path of its folder (default: %(default)s)")
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--pixel", type=pixel, required=True, metavar="X,Y", help="of the image, from its top left corner")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    args = parser.parse_args(arguments)
    try:
        view(args)
    except PanopticError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def pixel(text: str) -> tuple[int, int]:
    """x and y of `320,240`."""
    x, comma, y = text.partition(",")
    if not (comma and x.isdecimal() and y.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no pixel: expected X,Y, such as 320,240")
    return int(x), int(y)


def view(args: argparse.Namespace) -> None:
    """Write the picture. Raises PanopticError for a model without affinities and for a pixel outside the image."""
    model = manifest.load(args.model)
    session = features(model)
    image, (x, y) = read_image(args.image), args.pixel
    height, width = image.shape[:2]
    if not (x < width and y < height):
        raise PanopticError(f"pixel {x},{y} is outside {args.image}, which is {width} x {height}")
    heat = affinity_map(session, image, (x, y), model.size)
    if not cv2.imwrite(str(args.out), picture(image, heat, (x, y))[..., ::-1]):
        raise PanopticError(f"cannot write {args.out}")


def features(model: Manifest) -> onnxruntime.InferenceSession:
    """The engine's graph up to phi0(Q) and phi1(Q). Raises PanopticError for a model that has none."""
    graph = onnx.load(model.onnx)
    behind = len(cut_names(graph.graph, model.network_output)) - AFFINITY[0]  # and P2 to P5 if there is a mask head
    if model.method != "affinity" or behind not in (2, 6):
        raise PanopticError(f"{model.model} has no affinity head")
    del graph.graph.output[:]
    graph.graph.output.extend(onnx.ValueInfoProto(name=f"{model.network_output}/{number}") for number in AFFINITY)
    return onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])


def affinity_map(
    session: onnxruntime.InferenceSession, image: np.ndarray, at: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """(H,W) float32: how much the pixel `at` (x, y) collects from each. session: that of `features`. image: (H,W,3) uint8.
    size: (h,w) of the engine input."""
    to = geometry(image.shape[:2], size, STRIDE)
    collects, gives = (torch.from_numpy(x[0]).flatten(1) for x in session.run(None, {"image": letterbox(image, to)}))
    columns = size[1] // STRIDE
    cell = int(to.rows[at[1]]) * columns + int(to.columns[at[0]])
    return to.paint(affinities(collects, gives, cell).view(-1, columns).numpy())


def picture(image: np.ndarray, heat: np.ndarray, at: tuple[int, int]) -> np.ndarray:
    """(H,W,3) uint8 RGB: the image in grey, the heat (H,W) on it, a cross at the pixel `at` (x, y)."""
    strength = np.clip(heat / max(float(np.percentile(heat, BRIGHTEST)), 1e-12), 0, 1)
    colours = cv2.applyColorMap((255 * strength).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    drawn = cv2.addWeighted(np.ascontiguousarray(colours), 0.7, grey, 0.3, 0)
    side = max(8, image.shape[0] // 32)
    cv2.drawMarker(drawn, at, (0, 0, 0), cv2.MARKER_TILTED_CROSS, side, 4)
    cv2.drawMarker(drawn, at, (0, 255, 0), cv2.MARKER_TILTED_CROSS, side, 2)
    return drawn


if __name__ == "__main__":
    sys.exit(main())
