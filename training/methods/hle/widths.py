"""What the network's decoder gives and costs: `python -m training.methods.hle.widths [--steps N] [--seeds 0 1] [--rounds N]`.

Every width is trained like the variants of `training.methods.hle.ablate`, then exported in FP32 and INT8 and timed at 512x1024,
decoding included, all in turn. Times are worth something on an idle machine only.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnx

from panoptic_ros import manifest, variant
from panoptic_ros.commands.machine import describe_machine
from panoptic_ros.core import Engine, PanopticError
from panoptic_ros.engine import open_engine
from panoptic_ros.sources import STREET_CLIP
from training.ablation import Ablation, decoder_defaults, trained
from training.data.frames import read_frames
from training.data.samples import sample_images
from training.methods.hle.decode import DecoderSettings
from training.onnx_export import write_engine
from training.precision.compare import measure
from training.precision.int8 import to_int8

SIZE = (512, 1024)
PRECISIONS = ("fp32", "bf16", "int8", "int8+bf16")
CALIBRATION_FRAMES = 16


def width(output_stride: int, *steps: tuple[int, int, int]) -> list[str]:
    """Overrides of the recipe; the grid of the decoding is the network's. steps: as `DeepLabV3Plus`'s skips."""
    skips = str([list(step) for step in steps]).replace(" ", "")
    stride = steps[-1][0]
    return [
        f"settings.network.output_stride={output_stride}",
        f"settings.network.skips={skips}",
        f"settings.decoder.stride={stride}",
    ]


VARIANTS = {
    "16, 8: 128, 4: 128, 2: 64": width(16, (8, 30, 128), (4, 30, 128), (2, 30, 64)),
    "16, 8: 128, 4: 128, 2: 32": width(16, (8, 30, 128), (4, 30, 128), (2, 30, 32)),
    "16, 8: 128, 4: 128": width(16, (8, 30, 128), (4, 30, 128)),
    "16, 8: 128, 4: 64": width(16, (8, 30, 128), (4, 30, 64)),
    "32, 8: 128, 4: 128": width(32, (8, 30, 128), (4, 30, 128)),
    "32, 8: 128, 4: 64": width(32, (8, 30, 128), (4, 30, 64)),
}
"""Output stride of the backbone, then stride and channels of each decoder step -> what differs from hle_mnv2_wide_street."""

ABLATION = Ablation(
    command="training.methods.hle.widths",
    recipe="hle_mnv2_wide_street",
    variants=VARIANTS,
    decoder=decoder_defaults(DecoderSettings()),
    paper_pq={},
    out=Path("out/widths"),
    lr=1e-2,
)


def main(arguments: list[str] | None = None) -> int:
    parser = ABLATION.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="of timing (default: %(default)s)")
    args = parser.parse_args(arguments)
    status = ABLATION.run(args)
    if status:
        return status
    try:
        report = {"machine": describe_machine(), "size": SIZE, "engine_ms": times(args)}
    except PanopticError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    (args.out / "times.json").write_text(json.dumps(report, indent=1) + "\n")
    print(table(report["engine_ms"]))
    return 0


def times(args: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """p50 and p99 of the engine in milliseconds, by variant and precision."""
    engines = {}
    for number, name in enumerate(VARIANTS):
        engines |= {f"{name}|{p}": engine for p, engine in exported(name, args.out / f"engine_{number}", args).items()}
    images = sample_images(str(STREET_CLIP), 24, SIZE)
    found: dict[str, dict[str, list[float]]] = {name: {} for name in VARIANTS}
    for key, parts in measure(engines, images, args.rounds).items():
        name, precision = key.split("|")
        found[name][precision] = np.round(parts["engine"], 2).tolist()
    return found


def exported(name: str, folder: Path, args: argparse.Namespace) -> dict[str, Engine]:
    """The engines of a variant's first seed by precision; its weights are those of the ablation."""
    recipe = ABLATION.variant(name, args.seeds[0], args)
    labels, _ = read_frames(Path(recipe.data.root), recipe.data.val)
    folder.mkdir(parents=True, exist_ok=True)
    write_engine(recipe, trained(name, recipe, labels, args), SIZE, folder)
    model = manifest.load(folder)
    frames = sample_images(f"{recipe.data.root}:{recipe.data.train}", CALIBRATION_FRAMES, SIZE)
    graph = to_int8(onnx.load(model.onnx), model.network_output, frames, float_last=1)
    variant.save(model, "int8", graph.SerializeToString(), f"{CALIBRATION_FRAMES} frames")
    return {precision: open_engine(model, "openvino", precision=precision) for precision in PRECISIONS}


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """Markdown: p50 / p99 in milliseconds."""
    lines = [f"| output stride, decoder | {' | '.join(PRECISIONS)} |", "|---" * (1 + len(PRECISIONS)) + "|"]
    for name, by_precision in found.items():
        cells = [f"{p50:.1f} / {p99:.1f}" for p50, p99 in (by_precision[precision] for precision in PRECISIONS)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
