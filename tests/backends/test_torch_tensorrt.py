"""A plan by Torch-TensorRT, on stand-ins, is one that the TensorRT backend opens and that answers as model.onnx does."""

import sys
from functools import partial
from types import ModuleType

import numpy as np
import pytest
import tiny_engine
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from panoptic_ros.core import EngineOptions, PanopticError
from panoptic_ros.engine import open_engine
from panoptic_ros.manifest import Manifest
from tests.backends import fake_tensorrt, fake_torch_tensorrt
from training import tensorrt_plan, torch_tensorrt_plan
from training.nets.graph import Graph

OPTIONS = EngineOptions(tensorrt_level=5, tensorrt_workspace_mib=512)
IMAGES = [tiny_engine.scene()[np.newaxis]]


class Sample(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image[:, :, 2::4, 2::4]


class Nearest(nn.Module):
    """`tiny_engine.graph` after its first convolution's input."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("palette", torch.tensor(tiny_engine.PALETTE).float())
        self.register_buffer("category", torch.tensor(tiny_engine.CATEGORY, dtype=torch.int32))
        self.register_buffer("embedding", torch.eye(4)[[0, 1, 2, 3, 0]])

    def forward(self, raw: Tensor) -> tuple[Tensor, ...]:
        nearest = (2 * raw[0].permute(1, 2, 0) @ self.palette.T - (self.palette**2).sum(1)).argmax(2)
        score = (nearest == torch.arange(1, 6).view(5, 1, 1)).float().mean((1, 2))
        return nearest.to(torch.uint8), self.category.clone(), score, self.embedding.clone()


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Graph:
    monkeypatch.setitem(sys.modules, "torch_tensorrt", fake_torch_tensorrt)
    monkeypatch.setattr(fake_tensorrt, "kind_of_layers", "Float")
    return Graph(Sample(), Nearest())


@pytest.mark.usefixtures("backend")
def test_the_robot_opens_the_plan(model: Manifest, graph: Graph) -> None:
    build = partial(torch_tensorrt_plan.build, graph, model.size, OPTIONS, device="cpu")
    said = tensorrt_plan.build(model, model, OPTIONS, IMAGES, force=False, keep_timings=True, other_way=build)
    assert "backend tensorrt" in said and "layers 1 fp32" in said and "100.00 % of the pixels agree" in said
    assert fake_torch_tensorrt.settings == {"disable_tf32": True, "workspace_size": 512 << 20, "optimization_level": 5}
    engine = open_engine(model, "tensorrt", tensorrt_level=5, tensorrt_workspace_mib=512)
    assert fake_tensorrt.builds == 0
    slots = engine.run(IMAGES[0])
    assert slots.score == pytest.approx([160 / 384, 188 / 384, 24 / 384, 0, 12 / 384])
    assert np.unique(slots.ids).tolist() == [1, 2, 3, 5]
    assert slots.ids.dtype == np.uint8 and not slots.ids.flags.writeable


@pytest.mark.parametrize("by_torch", [False, True])
def test_a_plan_that_answers_otherwise_is_not_kept(
    backend: ModuleType, model: Manifest, monkeypatch: pytest.MonkeyPatch, by_torch: bool
) -> None:
    wrong = tiny_engine.graph()
    bias = next(weight for weight in wrong.graph.initializer if weight.name == "bias")
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias)[::-1].copy(), "bias"))
    plan = b'{"size": [1, 64, 96, 3]}\n' + wrong.SerializeToString()
    monkeypatch.setattr(fake_tensorrt, "kind_of_layers", "Float")
    with monkeypatch.context() as changed, pytest.raises(PanopticError, match="tiny fp32: .* the limits are 99.9 %"):
        changed.setattr(fake_tensorrt.Builder, "build_serialized_network", lambda *_: plan)
        tensorrt_plan.build(model, model, OPTIONS, IMAGES, False, True, (lambda: plan) if by_torch else None)
    assert not backend.plan_file(model, OPTIONS).exists()
    assert "100.00 % of the pixels agree" in tensorrt_plan.build(model, model, OPTIONS, IMAGES, False, True)


def test_nothing_but_the_image_is_uint8(graph: Graph) -> None:
    program = torch_tensorrt_plan.exported(graph, (64, 96))
    kinds = {node.name: node.meta["val"].dtype for node in program.graph.nodes if isinstance(node.meta.get("val"), Tensor)}
    assert [name for name, kind in kinds.items() if kind == torch.uint8] == ["image"]
    image = torch.from_numpy(IMAGES[0])
    found, expected = program.module()(image), graph(image)
    assert [output.dtype for output in found] == [torch.int32, torch.int32, torch.float32, torch.float32]
    assert all((a == b).all() for a, b in zip(found, expected, strict=True))


def test_what_torch_tensorrt_cannot_convert_is_said(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_tensorrt_plan, "_wider", lambda value: value)
    with pytest.raises(
        PanopticError, match="cannot build this graph: Conversion of function aten._to_copy.default not currently"
    ):
        torch_tensorrt_plan.build(graph, (64, 96), OPTIONS, device="cpu")


def test_one_that_cannot_name_outputs_is_refused(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_torch_tensorrt.dynamo, "convert_exported_program_to_serialized_trt_engine", lambda p, **kwargs: b"")
    with pytest.raises(PanopticError, match="2.14 or later is needed"):
        torch_tensorrt_plan.build(graph, (64, 96), OPTIONS, device="cpu")
