"""A module as ONNX Runtime and OpenVINO run it, for inputs that are chosen by number."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from training.onnx_export import OPSET

Run = Callable[[int], list[np.ndarray]]
"""The outputs for the input of this number."""

RUNTIMES = ("openvino", "onnxruntime")


class Numbered(nn.Module):
    """forward(number (1,) int64) -> `call` of the inputs of that number. inputs: of all numbers, stacked along a new first axis.

    The number is an input of the graph, so no runtime can work anything out beforehand.
    """

    def __init__(self, call: Callable[..., tuple[Tensor, ...]], inputs: tuple) -> None:
        super().__init__()
        self.call, self.inputs = call, inputs

    def forward(self, number: Tensor) -> tuple[Tensor, ...]:
        return self.call(*tree_map(lambda stacked: stacked.index_select(0, number)[0], self.inputs))


def runtimes(call: Callable[..., tuple[Tensor, ...]], inputs: tuple, folder: Path) -> dict[str, Run]:
    """name -> the exported `call`, in each of RUNTIMES."""
    import onnxruntime

    from panoptic_ros.backends.openvino import CORE

    file = folder / "numbered.onnx"
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = Numbered(call, inputs).eval()
        torch.onnx.export(module, (torch.zeros(1, dtype=torch.int64),), file, dynamo=True, input_names=["number"],
                          opset_version=OPSET, verbose=False)  # fmt: skip
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    compiled = CORE.compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return {
        "onnxruntime": lambda number: session.run(None, {"number": np.array([number])}),
        "openvino": lambda number: [part.copy() for part in compiled({"number": np.array([number])}).values()],
    }
