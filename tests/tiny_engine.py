"""A real ONNX engine that is small enough to reason about: each pixel goes to the slot of the nearest colour.

It samples the image at stride 4 (row and column 2 of each 4x4 cell), so that every expected id can be read off a drawing.
A slot's score is its share of the grid; its embedding is its axis in 4-d.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BLACK, ROAD, SKY = (0, 0, 0), (128, 64, 128), (70, 130, 180)
RED_CAR, BLUE_CAR, PERSON = (255, 0, 0), (0, 0, 255), (0, 255, 0)
PALETTE = (BLACK, ROAD, SKY, RED_CAR, BLUE_CAR, PERSON)  # void, then slots 0..4
CATEGORY = (7, 23, 26, 26, 24)
LABELS = [
    {"id": 7, "name": "road", "thing": False, "color": [128, 64, 128]},
    {"id": 23, "name": "sky", "thing": False, "color": [70, 130, 180]},
    {"id": 24, "name": "person", "thing": True, "color": [220, 20, 60]},
    {"id": 26, "name": "car", "thing": True, "color": [0, 0, 142]},
]


def graph() -> onnx.ModelProto:
    """The engine contract of docs/architecture.md with K = 5 slots and E = 4."""
    palette = np.array(PALETTE, np.float32)  # (K + 1, 3)
    constants = {
        "starts": np.array([2, 2]), "ends": np.array([2**31, 2**31]), "axes": np.array([1, 2]), "steps": np.array([4, 4]),
        "weight": 2 * palette[:, :, None, None], "bias": -(palette**2).sum(1), "ids_shape": np.array([0, 0]),
        "slot": np.arange(1, 6).reshape(5, 1, 1), "channel": np.array([0]),
        "category_": np.array(CATEGORY, np.int32),
        "embedding_": np.eye(5, 4, dtype=np.float32) + np.eye(5, 4, -4, dtype=np.float32),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Slice", ["image", "starts", "ends", "axes", "steps"], ["sampled"]),
        node("Cast", ["sampled"], ["float"], to=TensorProto.FLOAT),
        node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        node("Conv", ["planes", "weight", "bias"], ["network"]),  # 2 c.x - |c|^2: largest for the nearest colour c
        node("ArgMax", ["network"], ["nearest"], axis=1, keepdims=0),
        node("Squeeze", ["nearest", "channel"], ["grid"]),
        node("Cast", ["grid"], ["ids"], to=TensorProto.UINT8),
        node("Equal", ["grid", "slot"], ["masks"]),
        node("Cast", ["masks"], ["masks_float"], to=TensorProto.FLOAT),
        node("ReduceMean", ["masks_float"], ["score"], axes=[1, 2], keepdims=0),
        node("Identity", ["category_"], ["category"]),
        node("Identity", ["embedding_"], ["embedding"]),
    ]
    outputs = [("ids", TensorProto.UINT8, ["gh", "gw"]), ("category", TensorProto.INT32, [5]),
               ("score", TensorProto.FLOAT, [5]), ("embedding", TensorProto.FLOAT, [5, 4])]  # fmt: skip
    content = helper.make_graph(
        nodes, "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, "h", "w", 3])],
        [helper.make_tensor_value_info(*output) for output in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(content, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write(folder: Path, model: onnx.ModelProto | bytes | None = None, **changes: object) -> Path:
    """A model folder with `model` (the tiny engine, or bytes that are no ONNX) and its manifest with `changes`."""
    folder.mkdir(parents=True, exist_ok=True)
    model = graph() if model is None else model
    data = model if isinstance(model, bytes) else model.SerializeToString()
    (folder / "model.onnx").write_bytes(data)
    manifest = {
        "format": 1, "model": "tiny", "method": "colours", "onnx": "model.onnx", "sha256": hashlib.sha256(data).hexdigest(),
        "size": [64, 96], "size_multiple": 32, "decode_stride": 4, "network_output": "network", "slots": 5, "embedding": 4,
        "labels": LABELS, "license": "Apache-2.0", "trained_on": "nothing", "recipe": "none", "decoder": {},
    } | changes  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def scene() -> np.ndarray:
    """(64, 96, 3) uint8: sky over road, a red car at rows 32..47 and columns 8..31, a person at 24..47 x 64..71."""
    frame = np.empty((64, 96, 3), np.uint8)
    frame[:32], frame[32:] = SKY, ROAD
    frame[32:48, 8:32] = RED_CAR
    frame[24:48, 64:72] = PERSON
    return frame
