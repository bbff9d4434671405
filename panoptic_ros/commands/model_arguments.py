"""The arguments that choose a model and how it runs, the same for every command that runs one."""

import argparse
from itertools import product
from pathlib import Path

from panoptic_ros import manifest
from panoptic_ros.core import Engine, EngineOptions
from panoptic_ros.engine import BACKENDS, CHOSEN, open_engine
from panoptic_ros.manifest import Manifest

DEFAULT_MODEL = "hle_mnv2"
PRECISIONS = ("fp32", "bf16", "fp16", "int8", "int8+bf16")


def add_model_arguments(
    parser: argparse.ArgumentParser, option: str = "--model", default: str | None = DEFAULT_MODEL, several: bool = False
) -> None:
    """option: what the argument that names the model is called; without dashes it must be given. default: None where a command
    can do without a model. several: `choices` makes one of each."""
    named = {"dest": "model", "default": None if several else default} if option.startswith("-") else {}
    many = {"nargs": "+", "action": "extend"} if several else {}
    parser.add_argument(option, metavar="MODEL", help=f"name of a model, or its folder (default: {default})", **named, **many)
    names = ", ".join((*BACKENDS, *CHOSEN))
    parser.add_argument("--backend", help=f"auto, {names} (default: the first of {', '.join(BACKENDS)})", **many)
    parser.add_argument("--device", default="auto", help="as the backend names it (default: auto)")
    parser.add_argument(
        "--precision", help=f"{', '.join(PRECISIONS)}, what the device and the model have (default: fp32)", **many
    )
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads (default: the backend decides)")
    parser.add_argument("--pin", action="store_true", help="keep each CPU thread on its core")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep here what the backend compiles, for the next start")
    parser.add_argument("--size", type=size, metavar="HxW", help="of the engine input (default: the model's)", **many)
    if not several:
        parser.set_defaults(backend="auto", precision="fp32")
    add_tensorrt_arguments(parser)


def choices(args: argparse.Namespace) -> list[argparse.Namespace]:
    """One for each combination of the models, backends, precisions and sizes asked for, as `open_model` takes it."""
    every = {"model": list(manifest.models()) or [DEFAULT_MODEL], "backend": list(BACKENDS), "precision": list(PRECISIONS)}
    single = {"model": DEFAULT_MODEL, "backend": "auto", "precision": "fp32", "size": None}
    lists = []
    for name, default in single.items():
        chosen = getattr(args, name) or [default]
        lists.append(every[name] if "all" in chosen else list(dict.fromkeys(chosen)))
    return [argparse.Namespace(**vars(args) | dict(zip(single, values))) for values in product(*lists)]


def add_tensorrt_arguments(parser: argparse.ArgumentParser) -> None:
    """What a plan is built with. A plan for other values is another plan, so that commands must agree on them."""
    default = EngineOptions()
    help_level = "how long the TensorRT backend searches for a faster plan, 0 to 5 (default: %(default)s)"
    parser.add_argument("--tensorrt-level", type=int, default=default.tensorrt_level, metavar="N", help=help_level)
    help_workspace = "memory that a layer of a TensorRT plan may take besides its tensors (default: %(default)s)"
    parser.add_argument(
        "--tensorrt-workspace", type=int, default=default.tensorrt_workspace_mib, metavar="MIB", help=help_workspace
    )


def open_model(args: argparse.Namespace) -> tuple[Manifest, Engine]:
    """What the arguments of `add_model_arguments` ask for. Raises PanopticError if it does not exist or cannot run."""
    model = manifest.load(args.model)
    if args.size:
        model = model.with_size(*args.size)
    return model, open_as(args, model)


def open_as(args: argparse.Namespace, model: Manifest) -> Engine:
    """Of a model as it is, what the other arguments ask for. Raises PanopticError if it cannot run."""
    return open_engine(
        model, args.backend, args.device, args.precision, args.threads, args.pin, args.cache, args.tensorrt_level,
        args.tensorrt_workspace,
    )  # fmt: skip


def size(text: str) -> tuple[int, int]:
    """Height and width of `256x512`."""
    height, cross, width = text.partition("x")
    if not (cross and height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no size: expected HxW, such as 256x512")
    return int(height), int(width)
