"""Make a model's engine: ONNX from a checkpoint, the same in FP16 or INT8, verified, and the TensorRT plan where a GPU is.

    python -m training.export_trt --model hle_mnv2 [decoder.seed_threshold=0.4 ...]     runs/hle_mnv2/last.pt -> model.onnx
    python -m training.export_trt --model hle_mnv2 --precision int8                     model.onnx -> model.int8.onnx
    python -m training.export_trt --model hle_mnv2 --via torch_tensorrt                 runs/hle_mnv2/last.pt -> the plan, in fp32

The second needs no checkpoint and no torch, only the model's folder. model.onnx serves OpenVINO and ONNX Runtime as it is.
"""

import argparse
import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from panoptic_ros import manifest, variant
from panoptic_ros import verify as verification
from panoptic_ros.commands.model_arguments import add_tensorrt_arguments, size
from panoptic_ros.core import Engine, EngineOptions, PanopticError
from panoptic_ros.engine import BACKENDS, open_engine
from panoptic_ros.manifest import Manifest
from panoptic_ros.sources import STREET_CLIP
from training import tensorrt_plan
from training.data.frames import locate
from training.data.samples import sample_images
from training.precision.emulate import emulated_engine
from training.precision.half import to_half
from training.precision.int8 import FLOAT_LAST, to_int8
from training.tensorrt_operators import problems

PRECISIONS = ("fp32", *variant.PRECISIONS)


def main(arguments: Sequence[str] | None = None) -> int:
    args = _parser().parse_intermixed_args(arguments)
    try:
        if args.via != "onnx" and args.precision != "fp32":
            raise PanopticError(f"--via {args.via} builds what the checkpoint is, fp32; {args.precision} is built --via onnx")
        original = _fp32_model(args)
        _build(original if args.precision == "fp32" else _variant(original, args), original, args)
    except PanopticError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m training.export_trt", description=__doc__, formatter_class=raw)
    parser.add_argument("--model", required=True, help="its name, that of the folders under engines/ and runs/")
    parser.add_argument("--checkpoint", type=Path, help="default: for fp32 runs/<model>/last.pt if it is there, else model.onnx")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the network (default: %(default)s)")
    parser.add_argument("--engines", type=Path, default=Path("engines"), help="where the model's folder is (default: engines)")
    parser.add_argument("--size", type=size, metavar="HxW", help="input size (default: the recipe's engine_size)")
    parser.add_argument("--data", metavar="DATASET:SPLIT", help="to verify with (default: its val split, or the bundled clip)")
    parser.add_argument("--frames", type=int, default=8, help="how many of them (default: %(default)s)")
    parser.add_argument("--calibration", metavar="DATASET:SPLIT", help="frames for int8 (default: train of the same)")
    parser.add_argument("--calibration-frames", type=int, default=64, help="how many of them (default: %(default)s)")
    floats = "how many of the last convolutions stay in floating point in int8 (default: %(default)s)"
    parser.add_argument("--float-last", type=int, default=FLOAT_LAST, metavar="N", help=floats)
    parser.add_argument(
        "--via", choices=tensorrt_plan.WAYS, default="onnx", help="how the graph gets into TensorRT (default: %(default)s)"
    )
    add_tensorrt_arguments(parser)
    parser.add_argument("--no-timings", action="store_true", help="time every layer for the plan, use and keep no timing cache")
    parser.add_argument("--onnx-only", action="store_true", help="no TensorRT plan, even if it could be built here")
    parser.add_argument("--force", action="store_true", help="make again what is up to date")
    parser.add_argument(
        "settings", nargs="*", metavar="decoder.key=value", help="settings of the method that differ from the checkpoint's"
    )
    return parser


def _fp32_model(args: argparse.Namespace) -> Manifest:
    """The model in FP32, exported anew where there is a checkpoint for it, at the size that was asked for."""
    folder, checkpoint = args.engines / args.model, args.checkpoint or Path("runs") / args.model / "last.pt"
    exported = os.path.isfile(folder / "manifest.json")
    if args.checkpoint or args.precision == "fp32" and (args.settings or os.path.isfile(checkpoint) or not exported):
        from training.onnx_export import export_checkpoint  # torch, which a robot need not have

        images_for = partial(_images, args)
        found = export_checkpoint(checkpoint, args.model, folder, args.size, args.settings, images_for)
        for backend, share in found.items():
            print(f"{args.model}: {backend} agrees with torch on {100 * share:.3f}% of the pixels of {args.frames} frames")
    elif args.settings:
        raise PanopticError(f"settings {' '.join(args.settings)} need a checkpoint: give --checkpoint FILE")
    elif args.precision == "fp32":
        print(f"there is no {checkpoint}: {folder / 'model.onnx'} is taken as it is")
    model = manifest.load(folder if os.path.isfile(folder / "manifest.json") else args.model)
    return model.with_size(*args.size) if args.size else model


def _images(args: argparse.Namespace, model: Manifest, source: str) -> list[np.ndarray]:
    """What to verify with. source: what to take unless `--data` says otherwise."""
    return sample_images(args.data or source, args.frames, args.size or model.size)


def _variant(model: Manifest, args: argparse.Namespace) -> Manifest:
    """The model in `args.precision`: what is there if it is up to date, else made anew, verified and saved."""
    if not args.force:
        try:
            found = variant.load(model, args.precision)
            print(f"{found.onnx} is up to date (--force makes it again)")
            return found
        except PanopticError:
            pass  # missing, altered or of another network: made below
    graph = onnx.load(model.onnx)
    made = f"onnx {onnx.__version__}"
    if args.precision == "fp16":
        graph = to_half(graph, model.network_output)
    else:
        source = args.calibration or f"{model.trained_on}:train"
        try:
            images = sample_images(source, args.calibration_frames, model.size)
        except PanopticError as error:
            raise PanopticError(f"int8 needs frames like the robot's, as --calibration names them: {error}") from error
        graph = to_int8(graph, model.network_output, images, args.float_last)
        version, floats = importlib.metadata.version("onnxruntime"), f"--float-last {args.float_last}"
        made = f"onnxruntime {version}, {args.calibration_frames} frames of {source}, {floats}"
    data = graph.SerializeToString()
    _verify(model, args, data)
    print(f"{variant.save(model, args.precision, data, made)}: {len(data) / 1e6:.1f} MB")
    return variant.load(model, args.precision)


def _verify(model: Manifest, args: argparse.Namespace, data: bytes) -> None:
    """Raises PanopticError unless every CPU backend answers with the new graph as the FP32 graph does, within its limits."""
    images = _images(args, model, _own_frames(model))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        engines = _cpu_engines(model, dataclasses.replace(model, onnx=file, sha256=digest, precision=args.precision))
    for name, engine in engines.items():
        found = verification.agreement(open_engine(model), engine, images)
        verification.check(found, args.precision, f"{model.model} on {name}")
        print(f"{model.model} {args.precision} on {name}: {found}, compared with fp32 on {len(images)} frames")


def _own_frames(model: Manifest) -> str:
    """The data that the model was evaluated on, where it is at hand, as on a robot it is not; else the bundled clip."""
    source = f"{model.trained_on}:val"
    try:
        locate(source)
    except PanopticError:
        return str(STREET_CLIP)
    return source


def _cpu_engines(model: Manifest, candidate: Manifest) -> dict[str, Engine]:
    """The new file on every CPU backend. One in FP16 they compute in FP32, so that its arithmetic is emulated besides."""
    installed = [backend for backend in BACKENDS if importlib.util.find_spec(backend)]
    if candidate.precision != "fp16":
        return {backend: open_engine(candidate, backend, precision=candidate.precision) for backend in installed}
    opened = {f"{backend} in fp32": open_engine(candidate, backend) for backend in installed}
    return opened | {"onnxruntime, emulated": emulated_engine(model)}


def _build(model: Manifest, original: Manifest, args: argparse.Namespace) -> None:
    """The plan, where TensorRT and a GPU are and it was not declined; else what is missing. First, what the graph would lack."""
    for problem in problems(onnx.load(model.onnx)):
        print(f"not in TensorRT's list of operators: {problem}")
    if args.onnx_only:
        return
    lacking = tensorrt_plan.missing(args.via)
    if lacking:
        again = f"python -m training.export_trt --model {args.model} --precision {args.precision}"
        again += f" --size {args.size[0]}x{args.size[1]}" if args.size else ""
        again += f" --via {args.via}`" if args.via != "onnx" else "`, or any command with `--backend tensorrt`"
        print(f"no TensorRT plan was built: {lacking}. On the robot run `{again}")
        return
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # the builder's progress
    options = EngineOptions(
        precision=model.precision, tensorrt_level=args.tensorrt_level, tensorrt_workspace_mib=args.tensorrt_workspace
    )
    other_way = _by_torch(model, options, args) if args.via == "torch_tensorrt" else None
    images = _images(args, model, _own_frames(model))
    print(tensorrt_plan.build(model, original, options, images, args.force, not args.no_timings, other_way))


def _by_torch(model: Manifest, options: EngineOptions, args: argparse.Namespace) -> Callable[[], bytes]:
    """What builds the plan from the checkpoint, once that has answered as model.onnx does."""
    from training import torch_package, torch_tensorrt_plan

    graph = torch_package.graph_of(model, args.checkpoint or Path("runs") / model.model / "last.pt")
    torch_package.check(model, graph)
    return partial(torch_tensorrt_plan.build, graph, model.size, options)


if __name__ == "__main__":
    sys.exit(main())
