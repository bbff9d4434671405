"""torch.export's program of a graph that is small enough to reason about, compiled for the CPU."""

from pathlib import Path

import numpy as np
import pytest
import tiny_engine
import torch
from torch import Tensor, nn

from panoptic_ros import manifest, variant
from panoptic_ros.core import PanopticError, Slots
from panoptic_ros.engine import open_engine
from panoptic_ros.manifest import Manifest
from training import torch_package


class Colours(nn.Module):
    """`tiny_engine.graph` in torch."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("palette", torch.tensor(tiny_engine.PALETTE).float())
        self.register_buffer("category", torch.tensor(tiny_engine.CATEGORY, dtype=torch.int32))
        self.register_buffer("embedding", torch.eye(4)[[0, 1, 2, 3, 0]])

    def network_output(self, image: Tensor) -> Tensor:
        return image[:, 2::4, 2::4].float()

    def decoder(self, raw: Tensor) -> tuple[Tensor, ...]:
        nearest = (2 * raw[0] @ self.palette.T - (self.palette**2).sum(1)).argmax(2)
        score = (nearest == torch.arange(1, 6).view(5, 1, 1)).float().mean((1, 2))
        return nearest.to(torch.uint8), self.category.clone(), score, self.embedding.clone()

    def slots(self, raw: Tensor) -> Slots:
        return Slots(*(output.numpy() for output in self.decoder(raw)))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    found = manifest.load(tiny_engine.write(tmp_path_factory.mktemp("models") / "tiny"))
    torch_package.write(found, Colours())
    return found


def test_a_program_that_answers_otherwise_is_not_written(tmp_path: Path) -> None:
    found = manifest.load(tiny_engine.write(tmp_path / "tiny"))
    other = Colours()
    other.palette = other.palette.flip(0)
    with pytest.raises(PanopticError, match="the checkpoint of tiny fp32: .* the limits are 99.9 %"):
        torch_package.write(found, other)
    assert not list(found.onnx.parent.glob("*.pt2"))


@pytest.mark.slow
def test_a_drawing_is_decoded_by_what_was_compiled(model: Manifest, tmp_path: Path) -> None:
    engine = open_engine(model, "torch_export", device="cpu", cache=tmp_path)
    image = tiny_engine.scene()[np.newaxis]
    slots = engine.run(image)
    assert np.unique(slots.ids).tolist() == [1, 2, 3, 5]
    assert slots.score == pytest.approx([160 / 384, 188 / 384, 24 / 384, 0, 12 / 384])
    assert slots.category.tolist() == [7, 23, 26, 26, 24]
    assert engine.description["device"].startswith("cpu")
    image.flags.writeable = False
    assert (engine.run(image).ids == slots.ids).all()
    engine.run_network_only(np.zeros_like(image))
    assert (engine.run(image).ids == slots.ids).all()
    assert len(list(tmp_path.glob("tiny-torch-*.plan"))) == 2  # the network alone is another
    plan, *_ = tmp_path.glob("tiny-torch-*.plan")
    written = plan.stat().st_mtime_ns
    assert (open_engine(model, "torch_export", device="cpu", cache=tmp_path).run(image).ids == slots.ids).all()
    assert plan.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"device": "tpu"}, "torch_export has no device 'tpu': choices are auto, cpu, cuda"),
        ({"precision": "bf16"}, "torch_export has no precision 'bf16': choices are fp32"),
    ],
)
def test_an_unknown_choice_is_answered_with_the_possible_ones(model: Manifest, choice: dict, message: str) -> None:
    with pytest.raises(PanopticError, match=message):
        open_engine(model, "torch_export", **choice)


def test_no_program_no_gpu_and_an_altered_program_are_said(model: Manifest, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        with pytest.raises(PanopticError, match="finds no GPU"):
            open_engine(model, "torch_export", device="cuda")
    bare = manifest.load(tiny_engine.write(tmp_path / "bare"))
    with pytest.raises(PanopticError, match="tiny has no pt2 file: .*run `python -m training.torch_package --model tiny`"):
        open_engine(bare, "torch_export", device="cpu")
    variant.save(bare, "pt2", b"a program", "by hand").write_bytes(b"another")
    with pytest.raises(PanopticError, match="model.pt2 was altered or is incomplete"):
        open_engine(bare, "torch_export", device="cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
def test_one_cuda_graph_answers_as_the_cpu(model: Manifest, tmp_path: Path) -> None:
    image = tiny_engine.scene()[np.newaxis]
    engine = open_engine(model, "torch_export", device="cuda", cache=tmp_path)
    assert (engine.run(image).ids == open_engine(model).run(image).ids).all()
