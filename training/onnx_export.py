"""A checkpoint as ONNX: the whole graph, decoding included, with its manifest."""

import dataclasses
import hashlib
import json
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from panoptic_ros import manifest
from panoptic_ros.answer import outputs_of
from panoptic_ros.core import Label, PanopticError, Slots
from panoptic_ros.engine import BACKENDS, open_engine
from panoptic_ros.manifest import Manifest
from training import recipe as recipes
from training.nets.graph import Graph
from training.recipe import Recipe
from training.train import read_checkpoint

NETWORK = "network"
ONNX = "model.onnx"
SIZE_MULTIPLE = 32
OPSET = 18
SEARCHED_ON = "searched_on"
"""Among a manifest's decoder settings, the note of `training.search`, which is none."""

LEAST_AGREEMENT = 0.999
"""Part of the pixels whose ids a backend must share with torch."""


def export_checkpoint(
    checkpoint: Path, model: str, folder: Path, size: tuple[int, int] | None, settings: Sequence[str],
    images_for: Callable[[Manifest, str], list[np.ndarray]],
) -> dict[str, float]:  # fmt: skip
    """Write model.onnx and manifest.json into `folder` once `verify`, whose result is returned, has passed them.

    model: the name that the checkpoint must be of. size: (h, w), the recipe's by default. images_for: what to verify with, given
    the new model and the data set that its recipe evaluates on.
    """
    recipe, method = load_method(checkpoint, settings)
    if recipe.model != model:
        raise PanopticError(f"{checkpoint} is of model {recipe.model!r}, not {model!r}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        unverified = Path(temporary)
        write_engine(recipe, method, size or tuple(recipe.engine_size), unverified)
        found = verify(
            unverified, method.graph().eval(), images_for(manifest.load(unverified), f"{recipe.data.root}:{recipe.data.val}")
        )
        for name in (ONNX, "manifest.json"):
            (unverified / name).replace(folder / name)
    return found


@torch.no_grad()
def write_engine(recipe: Recipe, method: Any, input_size: tuple[int, int], folder: Path) -> None:
    """model.onnx and manifest.json of a method's network as it is. input_size: (h, w), the default."""
    graph = method.graph().eval()
    export_graph(graph, folder / ONNX)
    some = graph.slots(graph.network_output(torch.zeros(1, 8 * SIZE_MULTIPLE, 8 * SIZE_MULTIPLE, 3, dtype=torch.uint8)))
    coarse = {"coarse_above": value} if (value := getattr(method.settings.decoder, "coarse_above", 0)) else {}
    solver = {} if graph.finish is Slots else {"solver": dataclasses.asdict(graph.finish.settings)}
    content = {
        "format": manifest.FORMAT, "model": recipe.model, "method": recipe.method, "onnx": ONNX,
        "sha256": hashlib.sha256((folder / ONNX).read_bytes()).hexdigest(),
        "size": list(input_size), "size_multiple": SIZE_MULTIPLE,
        "decode_stride": method.settings.decoder.stride, **coarse, "network_output": NETWORK, "slots": method.slots,
        "embedding": some.embedding.shape[1],
        "labels": [dataclasses.asdict(label) for label in method.labels],
        "license": "Apache-2.0", "trained_on": Path(recipe.data.root).name, "recipe": recipe.name,
        "decoder": dataclasses.asdict(method.settings.decoder), **solver,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(content, indent=1) + "\n")


def load_method(checkpoint: Path, settings: Sequence[str] = ()) -> tuple[Recipe, Any]:
    """The recipe of a checkpoint and its method with the averaged weights, ready to run. settings: `key=value` overrides."""
    state = read_checkpoint(checkpoint)
    try:
        overrides = OmegaConf.create({"settings": OmegaConf.from_dotlist(list(settings))})
    except OmegaConfBaseException as error:
        raise PanopticError(f"settings {' '.join(settings)}: {error}") from error
    recipe = recipes.from_dict(OmegaConf.merge(OmegaConf.create(state["recipe"]), overrides))
    labels = tuple(Label(**label | {"color": tuple(label["color"])}) for label in state["labels"])
    method = recipes.method_module(recipe.method).Method(recipe.settings, labels)
    try:
        method.network.load_state_dict(state["average"])
    except RuntimeError as error:
        raise PanopticError(f"{checkpoint} does not fit the network of its recipe: {error}") from error
    method.network.eval()
    return recipe, method


def decoder_settings(model: Manifest) -> list[str]:
    """The settings that are part of a model's graph, as overrides of its checkpoint's."""
    return [f"decoder.{key}={value}" for key, value in model.decoder.items() if key != SEARCHED_ON]


class WithNetwork(nn.Module):
    """A method's graph that also returns what lies between its network and its decoder, so that those tensors keep names."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.whole = graph  # torch.export has an attribute `graph` of its own

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        raw = self.whole.network_output(image)
        return *self.whole.decoder(raw), *tree_leaves(raw)


def export_graph(graph: Graph, file: Path) -> None:
    """Write `graph` as ONNX with symbolic height `h` and width `w`."""
    # large enough that no map has a side of one cell even at stride 128: torch.export would take such a side for constant
    image = torch.zeros(1, 8 * SIZE_MULTIPLE, 12 * SIZE_MULTIPLE, 3, dtype=torch.uint8)
    sides = {axis: SIZE_MULTIPLE * torch.export.Dim(name, min=2, max=128) for axis, name in ((1, "rows"), (2, "columns"))}
    wrapped = WithNetwork(graph).eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs = outputs_of(graph.finish)
        count = len(wrapped(image)) - len(outputs)
        names = [NETWORK] if count == 1 else [f"{NETWORK}/{number}" for number in range(count)]
        program = torch.onnx.export(
            wrapped, (image,), dynamo=True, dynamic_shapes=(sides,), input_names=["image"],
            output_names=[*outputs, *names], opset_version=OPSET, verbose=False,
        )  # fmt: skip
    model = program.model_proto
    del model.graph.output[len(outputs) :], model.graph.value_info[:]
    for part in (model, model.graph, *model.graph.node):  # the exporter's notes: stack traces with the paths of this machine
        del part.metadata_props[:]
    for axis, name in ((1, "h"), (2, "w")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    measure_after_the_cast(model.graph)
    onnx.checker.check_model(model)
    onnx.save(model, file)


def measure_after_the_cast(graph: onnx.GraphProto) -> None:
    """Sizes are read off the image once it is float, by a cast that comes first: TensorRT lists no Shape of UINT8."""
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    cast = next(node for node in nodes if node.op_type == "Cast" and node.input[0] == "image")
    for node in nodes:
        if node.op_type == "Shape" and node.input[0] == "image":
            node.input[0] = cast.output[0]
    nodes.remove(cast)
    del graph.node[:]
    graph.node.extend([cast, *nodes])


def verify(folder: Path, graph: Graph, images: list[np.ndarray]) -> dict[str, float]:
    """Part of the pixels whose ids each backend shares with torch. Raises PanopticError if that is too few or one is missing."""
    model, found = manifest.load(folder), {}
    for backend in BACKENDS:
        engine = open_engine(model, backend)
        found[backend] = float(np.mean([agreement(graph, engine, image) for image in images]))
        if found[backend] < LEAST_AGREEMENT:
            raise PanopticError(
                f"{model.model}: {backend} agrees with torch on {found[backend]:.4f} of the pixels, less than {LEAST_AGREEMENT}; "
                "nothing was replaced"
            )
    return found


@torch.no_grad()
def agreement(graph: Graph, engine: object, image: np.ndarray) -> float:
    """Part of the cells with the same id. image: (1,h,w,3) uint8."""
    expected = graph.slots(graph.network_output(torch.from_numpy(image)))
    return float((engine.run(image).ids == expected.ids).mean())
