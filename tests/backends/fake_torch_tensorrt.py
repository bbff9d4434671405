"""The part of Torch-TensorRT that we call, with the signature of 2.14; the plan that it makes is one of `fake_tensorrt`.

Source: py/torch_tensorrt/dynamo/_compiler.py and debug/_Debugger.py of github.com/pytorch/TensorRT. What it cannot convert, and
how it checks names, is as there; the arithmetic is that of torch's own ONNX export.
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils._pytree import tree_flatten

settings: dict[str, Any] = {}
"""Of the last build."""


class UnsupportedOperatorException(RuntimeError): ...


class Debugger:
    """Inside it, a plan is built with ProfilingVerbosity.DETAILED."""

    active = False

    def __init__(
        self, log_level: str = "debug", capture_fx_graph_before: list[str] | None = None,
        capture_fx_graph_after: list[str] | None = None, save_engine_profile: bool = False, profile_format: str = "perfetto",
        engine_builder_monitor: bool = True, logging_dir: str = "/tmp", save_layer_info: bool = False,
    ) -> None:  # fmt: skip
        assert Path(logging_dir).is_dir()

    def __enter__(self) -> None:
        Debugger.active = True

    def __exit__(self, *_: object) -> None:
        Debugger.active = False


def convert_exported_program_to_serialized_trt_engine(
    exported_program: ExportedProgram, inputs: Sequence[Any] | None = None, *, arg_inputs: Sequence[Any] | None = None,
    kwarg_inputs: dict[str, Any] | None = None, device: Any = None, disable_tf32: bool = False, workspace_size: int = 0,
    optimization_level: int | None = None, timing_cache_path: str = "", arg_input_binding_names: Any = None,
    kwarg_input_binding_names: Any = None, output_binding_names: Any = None, **kwargs: Any,
) -> bytes:  # fmt: skip
    assert Debugger.active, "the plan would say nothing of its layers"
    signature = exported_program.module_call_graph[0].signature
    for names, spec in ((arg_input_binding_names, signature.in_spec.child(0)), (output_binding_names, signature.out_spec)):
        assert tree_flatten(names)[1] == spec
    for node in exported_program.run_decompositions().graph.nodes:
        if node.target is torch.ops.aten._to_copy.default and node.kwargs.get("dtype") is torch.uint8:
            raise UnsupportedOperatorException(f"Conversion of function {node.target} not currently supported!")
    settings.update(disable_tf32=disable_tf32, workspace_size=workspace_size, optimization_level=optimization_level)
    Path(timing_cache_path).write_bytes(b"timed")
    program = torch.onnx.export(
        exported_program, tuple(arg_inputs), dynamo=True, verbose=False, optimize=False,
        input_names=list(arg_input_binding_names), output_names=list(output_binding_names),
    )  # fmt: skip
    file = io.BytesIO()
    program.save(file)
    return json.dumps({"size": list(arg_inputs[0].shape)}).encode() + b"\n" + file.getvalue()


dynamo = SimpleNamespace(
    Debugger=Debugger, convert_exported_program_to_serialized_trt_engine=convert_exported_program_to_serialized_trt_engine
)
