"""A method's graph in torch as an engine: training and ablations are evaluated through the robot's pipeline without an export."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from panoptic_ros.core import PanopticError, Slots
from panoptic_ros.manifest import MAX_SLOTS, Manifest
from training.nets.graph import Graph
from training.recipe import Recipe


class TorchEngine:
    """See `panoptic_ros.core.Engine`. graph: a method's, on the CPU. size: (h, w)."""

    def __init__(self, graph: Graph, size: tuple[int, int]) -> None:
        self.size, self._graph = size, graph.eval()
        self.description = {"backend": "torch", "version": torch.__version__, "device": "CPU", "precision": "fp32"}

    @torch.no_grad()
    def run(self, image: np.ndarray) -> Slots:
        return self._graph.slots(self._graph.network_output(torch.from_numpy(image)))

    @torch.no_grad()
    def run_network_only(self, image: np.ndarray) -> None:
        self._graph.network_output(torch.from_numpy(image))


def manifest_of(recipe: Recipe, method: Any) -> Manifest:
    """What the pipeline has to know of a model that lies in no file yet. Raises PanopticError if it has too many slots."""
    if method.slots > MAX_SLOTS:
        raise PanopticError(f"{recipe.model} has {method.slots} slots, things and stuff classes; at most {MAX_SLOTS} fit its ids")
    (height, width), decoder = recipe.engine_size, method.settings.decoder
    return Manifest(
        model=recipe.model, method=recipe.method, onnx=Path(), size=(height, width), size_multiple=32,
        decode_stride=decoder.stride, coarse_above=getattr(decoder, "coarse_above", 0),
        network_output="network", slots=method.slots, embedding=0, labels=method.labels, license="",
        trained_on="", recipe=recipe.name, decoder={},
    )  # fmt: skip
