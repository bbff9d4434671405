"""The arguments that choose a model and how it runs, the same for every command that runs one."""

import argparse
from pathlib import Path

from panoptic_ros import manifest
from panoptic_ros.core import Engine
from panoptic_ros.engine import BACKENDS, CHOSEN, open_engine
from panoptic_ros.manifest import Manifest

DEFAULT_MODEL = "hle_mnv2"


def add_model_arguments(parser: argparse.ArgumentParser, option: str = "--model", default: str | None = DEFAULT_MODEL) -> None:
    """option: what the argument that names the model is called; without dashes it must be given. default: None where a command
    can do without a model."""
    named = {"dest": "model", "default": default} if option.startswith("-") else {}
    parser.add_argument(option, metavar="MODEL", help="name of a model, or its folder (default: %(default)s)", **named)
    names = ", ".join((*BACKENDS, *CHOSEN))
    parser.add_argument("--backend", default="auto", help=f"auto, {names} (default: the first of {', '.join(BACKENDS)})")
    parser.add_argument("--device", default="auto", help="as the backend names it (default: auto)")
    parser.add_argument(
        "--precision", default="fp32", help="fp32, bf16, fp16, int8 or int8+bf16, what the device has (default: fp32)"
    )
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads (default: the backend decides)")
    parser.add_argument("--pin", action="store_true", help="keep each CPU thread on its core")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep here what the backend compiles, for the next start")
    parser.add_argument("--size", type=size, metavar="HxW", help="of the engine input (default: the model's)")


def open_model(args: argparse.Namespace) -> tuple[Manifest, Engine]:
    """What the arguments of `add_model_arguments` ask for. Raises PanopticError if it does not exist or cannot run."""
    model = manifest.load(args.model)
    if args.size:
        model = model.with_size(*args.size)
    return model, open_as(args, model)


def open_as(args: argparse.Namespace, model: Manifest) -> Engine:
    """Of a model as it is, what the other arguments ask for. Raises PanopticError if it cannot run."""
    return open_engine(model, args.backend, args.device, args.precision, args.threads, args.pin, args.cache)


def size(text: str) -> tuple[int, int]:
    """Height and width of `256x512`."""
    height, cross, width = text.partition("x")
    if not (cross and height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no size: expected HxW, such as 256x512")
    return int(height), int(width)
