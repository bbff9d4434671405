"""Does an engine answer as its FP32 network does? The same frames through both: pixels, embeddings, and PQ where there is truth.

    python -m training.verify hle_mnv2 --precision int8 --data street:val
    python -m training.verify hle_mnv2 --backend tensorrt --precision fp16      on the robot, with the bundled clip

On a CPU, fp16 is emulated: every weight and tensor of the network rounded. Compared with torch where --checkpoint gives the
weights, else with model.onnx in FP32 on the CPU. Ends with status 1 past the limits of the precision, which it prints.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from panoptic_ros import manifest
from panoptic_ros import verify as verification
from panoptic_ros.commands.model_arguments import add_model_arguments, open_model
from panoptic_ros.core import Engine, PanopticError
from panoptic_ros.engine import CHOSEN, open_engine
from panoptic_ros.manifest import Manifest
from panoptic_ros.sources import STREET_CLIP
from panoptic_ros.verify import LIMITS
from training.data.frames import locate, read_frames
from training.data.samples import sample_images
from training.evaluate import PER_FRAME, check_labels, evaluate_engine


def main(arguments: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    try:
        within = verify(args)
    except PanopticError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if within else 1


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m training.verify", description=__doc__, formatter_class=raw)
    add_model_arguments(parser, "model", default=None)
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="compare with its network in torch")
    parser.add_argument("--data", metavar="DATASET:SPLIT", help="frames, and truth for PQ (default: the bundled clip, no PQ)")
    parser.add_argument("--frames", type=int, default=50, help="how many of them, evenly spaced (default: %(default)s)")
    return parser


def verify(args: argparse.Namespace) -> bool:
    """Print how engine and reference compare; whether that is within the limits of the engine's precision."""
    model, engine = _opened(args)
    reference = _reference(model, args.checkpoint)
    images = sample_images(args.data or str(STREET_CLIP), args.frames, model.size)
    found, limits = verification.agreement(reference, engine, tqdm(images, unit="image", disable=None)), LIMITS[args.precision]
    print(", ".join(f"{key} {value}" for key, value in engine.description.items()))
    print(f"{found}\nlimits: {100 * limits.pixels:.1f} %, {limits.angle:.0f} degrees; {len(images)} frames")
    within = found.pixels >= limits.pixels and found.angle <= limits.angle
    if args.data:
        lost = _lost_pq(model, reference, engine, args)
        print(f"PQ lost {lost:.2f}; limit {limits.pq}")
        within = within and lost <= limits.pq
    print("within its limits" if within else "NOT within its limits")
    return within


def _opened(args: argparse.Namespace) -> tuple[Manifest, Engine]:
    """The model and the engine to verify: the one that is asked for, and FP16 emulated where a CPU backend is to run it."""
    if args.precision != "fp16" or args.backend in CHOSEN:
        return open_model(args)
    from training.precision.emulate import emulated_engine

    model = manifest.load(args.model)
    model = model.with_size(*args.size) if args.size else model
    return model, emulated_engine(model, args.threads)


def _reference(model: Manifest, checkpoint: Path | None) -> Engine:
    if checkpoint is None:
        return open_engine(model)
    from training.onnx_export import decoder_settings, load_method
    from training.torch_engine import TorchEngine

    recipe, method = load_method(checkpoint, decoder_settings(model))
    if recipe.model != model.model:
        raise PanopticError(f"{checkpoint} is of model {recipe.model!r}, not {model.model!r}")
    return TorchEngine(method.graph(), model.size)


def _lost_pq(model: Manifest, reference: Engine, engine: Engine, args: argparse.Namespace) -> float:
    """PQ (0..100) of the reference less that of the engine, on the same true frames."""
    labels, frames = read_frames(*locate(args.data))
    check_labels(model, labels, args.data)
    chosen = [dataclasses.replace(frame, sequence=None) for frame in frames[:: max(1, len(frames) // args.frames)]]
    scores = [evaluate_engine(each, model, labels, chosen[: args.frames], {}) for each in (reference, engine)]
    before, after = (100 * score["quality"][PER_FRAME]["all"]["pq"] for score in scores)
    return before - after


if __name__ == "__main__":
    sys.exit(main())
