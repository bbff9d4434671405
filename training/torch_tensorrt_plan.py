"""A method's graph as a TensorRT plan by Torch-TensorRT: the way in that does not pass through ONNX and its parser.

Written from the documentation and source of Torch-TensorRT 2.14, which brings TensorRT 11.1; not yet run on a GPU, see
docs/engines.md.
"""

import importlib
import inspect
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass

from panoptic_ros.answer import outputs_of
from panoptic_ros.core import EngineOptions, PanopticError
from training.nets.graph import Graph


def build(graph: Graph, size: tuple[int, int], options: EngineOptions, device: str = "cuda") -> bytes:
    """The plan of `graph`, network and decoder in FP32, for images of `size` (h, w). Raises PanopticError with what is missing or
    what Torch-TensorRT said."""
    dynamo = importlib.import_module("torch_tensorrt").dynamo
    convert = dynamo.convert_exported_program_to_serialized_trt_engine
    if "output_binding_names" not in inspect.signature(convert).parameters:  # older ones swallow it in **kwargs
        raise PanopticError("this Torch-TensorRT cannot name a plan's outputs: 2.14 or later is needed")
    image = torch.zeros((1, *size, 3), dtype=torch.uint8, device=device)
    program = move_to_device_pass(exported(graph, size), device)
    # the debugger is what makes the builder report its progress, and write each layer's precision into the plan
    with tempfile.TemporaryDirectory() as folder, dynamo.Debugger(log_level="warning", logging_dir=folder):
        try:
            plan: bytes = convert(
                program, arg_inputs=(image,), arg_input_binding_names=("image",), output_binding_names=outputs_of(graph.finish),
                disable_tf32=True, workspace_size=options.tensorrt_workspace_mib << 20,
                optimization_level=options.tensorrt_level, timing_cache_path=str(Path(folder) / "timings"),
            )  # fmt: skip
        except Exception as error:  # of its own kinds, and RuntimeError for whatever the builder met
            raise PanopticError(f"Torch-TensorRT cannot build this graph: {error}") from error
    return bytes(plan)


def exported(graph: Graph, size: tuple[int, int]) -> ExportedProgram:
    """The graph at one size with int32 in the place of every uint8 that it computes: Torch-TensorRT has no cast to uint8."""
    image = torch.zeros((1, *size, 3), dtype=torch.uint8)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(graph.eval(), (image,))
        for node in program.graph.nodes:
            if node.target is torch.ops.aten.to.dtype:
                node.args = tuple(_wider(value) for value in node.args)
        program.graph_module.recompile()
        return program.run_decompositions({})  # the types of what follows, anew


def _wider(value: Any) -> Any:
    return torch.int32 if value is torch.uint8 else value
