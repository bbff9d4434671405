"""The affinities of one pixel as a picture (figure 1e of the paper): the brighter, the more it collects from there.

python -m training.methods.affinity.view --model affinity_mnv2 --image street.jpg --pixel 320,240 --out affinity.png
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from panoptic_ros.core import PanopticError
from panoptic_ros.images import read_image
from panoptic_ros.preprocess import geometry, letterbox
from training.methods.affinity.affinity import affinities
from training.methods.affinity.network import STRIDE, Network
from training.onnx_export import load_method

BRIGHTEST = 99.5
"""Percentile of the affinities that is drawn in full, so that one cell does not make all others dark."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.methods.affinity.view", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--model", default="affinity_mnv2", help="its name, that of its folder under runs/ (default: %(default)s)"
    )
    parser.add_argument("--checkpoint", type=Path, help="default: runs/<model>/last.pt")
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
    """Write the picture. Raises PanopticError for a checkpoint without affinities and for a pixel outside the image."""
    recipe, method = load_method(args.checkpoint or Path("runs") / args.model / "last.pt")
    if not getattr(method.network, "affinity", None):
        raise PanopticError(f"{recipe.model} has no affinity head")
    image, (x, y) = read_image(args.image), args.pixel
    height, width = image.shape[:2]
    if not (x < width and y < height):
        raise PanopticError(f"pixel {x},{y} is outside {args.image}, which is {width} x {height}")
    heat = affinity_map(method.network, image, (x, y), tuple(recipe.engine_size))
    if not cv2.imwrite(str(args.out), picture(image, heat, (x, y))[..., ::-1]):
        raise PanopticError(f"cannot write {args.out}")


@torch.no_grad()
def affinity_map(network: Network, image: np.ndarray, at: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """(H,W) float32: how much the pixel `at` (x, y) collects from each. image: (H,W,3) uint8. size: (h,w) of the engine input."""
    to = geometry(image.shape[:2], size, STRIDE)
    output = network(torch.from_numpy(letterbox(image, to)).permute(0, 3, 1, 2).float())
    collects, gives = (x[0].flatten(1) for x in output.affinity)
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
