"""FP16 arithmetic on a CPU: the FP32 graph with every weight and every tensor of the network rounded to FP16 in between.

An FP16 file on a CPU shows less: OpenVINO and ONNX Runtime compute it in FP32 and leave out the rounding between two operators.
A GPU may round less often than this, where it fuses operators, and sums in another order.
"""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from panoptic_ros.core import Engine
from panoptic_ros.engine import open_engine
from panoptic_ros.manifest import Manifest
from training.precision.half import half_nodes


def emulated_engine(model: Manifest, threads: int = 0) -> Engine:
    """What `model` (fp32) answers in FP16, on ONNX Runtime, which keeps the casts."""
    graph = rounded(onnx.load(model.onnx), model.network_output)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(graph.SerializeToString())
        engine = open_engine(dataclasses.replace(model, onnx=file), "onnxruntime", threads=threads)
    engine.description["precision"] = "fp16, emulated"
    return engine


def rounded(model: onnx.ModelProto, network_output: str) -> onnx.ModelProto:
    """A copy of `model`, FP32 throughout, whose network rounds as `half.to_half` of it would."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    inside, floats = half_nodes(model, network_output)
    part = [node for node in graph.node if node.output[0] in inside]
    read = {name for node in part for name in node.input} & floats
    for weight in graph.initializer:
        if weight.name in read:
            values = numpy_helper.to_array(weight).astype(np.float16).astype(np.float32)
            weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    nodes = []
    for node in graph.node:
        rounds = node.output[0] in inside
        nodes.append(node)
        for index, name in enumerate(node.output) if rounds else ():
            node.output[index] = f"{name}_exact"
            nodes.append(helper.make_node("Cast", [f"{name}_exact"], [f"{name}_half"], f"down_{name}", to=TensorProto.FLOAT16))
            nodes.append(helper.make_node("Cast", [f"{name}_half"], [name], f"up_{name}", to=TensorProto.FLOAT))
    changed = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(changed)
    return result
