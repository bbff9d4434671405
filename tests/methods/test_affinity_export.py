"""Affinity through the commands that all methods share: a few steps of training, and the exported graph."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

from panoptic_ros import manifest
from panoptic_ros.engine import open_engine
from tests.data import tiny_dataset
from training import onnx_export, train
from training import recipe as recipes
from training.data.street.labels import LABELS
from training.methods.affinity.method import Method
from training.precision.half import to_half
from training.tensorrt_operators import problems
from training.torch_engine import manifest_of

pytestmark = pytest.mark.usefixtures("shallow_mobilenet")

SMALL = ["settings.network.pyramid=16", "settings.network.tower=16", "settings.network.depth=1", "settings.network.subnet=8",
         "settings.network.subnet_depth=1", "settings.network.affinity=16", "backbone_weights=null"]  # fmt: skip
MASKS = ["settings.network.mask=8", "settings.network.potential=C"]
STUFF = sum(not label.thing for label in LABELS)
DETECTIONS = 12
FEW = ["settings.decoder.candidates=30", f"settings.decoder.detections={DETECTIONS}", "settings.decoder.min_stuff_area=4"]


def pictures() -> list[np.ndarray]:
    """Blurred patches of colour with noise."""
    rng = np.random.default_rng(0)
    patches = [cv2.resize(rng.integers(0, 256, (8, 16, 3), np.uint8), (256, 128)) for _ in range(2)]
    return [cv2.add(patch, rng.integers(0, 30, patch.shape, np.uint8))[np.newaxis] for patch in patches]


def random_method(settings: list[str]) -> tuple[recipes.Recipe, Method]:
    """Random weights whose outputs are centred and scaled so that it finds many stuff classes and things."""
    recipe = recipes.load("affinity_mnv2_street", [*SMALL, *FEW, *settings])
    torch.manual_seed(0)
    method = Method(recipe.settings, LABELS)
    network = method.network.eval()
    with torch.no_grad():
        output = network(torch.from_numpy(np.concatenate(pictures())).permute(0, 3, 1, 2).float())
        for parts, maps in (
            ((network.detector.thing_logits,), output.thing_logits[0]),
            (network.semantic.project, output.semantic),
        ):
            scale = 2 / maps.std((0, 2, 3))
            for part in parts:
                part.weight *= scale.view(-1, 1, 1, 1)
            parts[0].bias.copy_((parts[0].bias - maps.mean((0, 2, 3))) * scale)
        network.detector.distances.bias.fill_(1.5)  # boxes of several cells
        network.affinity.phi0.weight *= 10
    return recipe, method


@pytest.fixture(scope="module", params=["boxes", pytest.param("masks", marks=pytest.mark.slow)])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Method]:
    recipe, method = random_method(MASKS if request.param == "masks" else [])
    folder = tmp_path_factory.mktemp(request.param)
    onnx_export.write_engine(recipe, method, (128, 256), folder)
    assert manifest_of(recipe, method).slots == manifest.load(folder).slots == STUFF + DETECTIONS
    return folder, method


def test_tensorrt_lists_every_operator(exported: tuple[Path, Method]) -> None:
    model = manifest.load(exported[0])
    graph = onnx.load(model.onnx)
    assert problems(graph) == []
    assert problems(to_half(graph, model.network_output)) == []


def test_every_backend_agrees_with_torch(exported: tuple[Path, Method]) -> None:
    found = onnx_export.verify(exported[0], exported[1].graph().eval(), pictures())
    assert set(found) == {"openvino", "onnxruntime"}
    assert min(found.values()) >= onnx_export.LEAST_AGREEMENT


def test_scores_and_embeddings_agree_with_torch(exported: tuple[Path, Method]) -> None:
    folder, method = exported
    for backend in ("openvino", "onnxruntime"):
        slots = open_engine(manifest.load(folder), backend).run(pictures()[0])
        with torch.no_grad():
            _, category, score, embedding = (x.numpy() for x in method.graph().eval()(torch.from_numpy(pictures()[0])))
        used = np.unique(slots.ids[slots.ids > 0]) - 1
        assert np.array_equal(slots.category[used], category[used])
        assert np.allclose(slots.score[used], score[used], atol=1e-3)
        assert np.allclose(slots.embedding[used], embedding[used], atol=1e-3)
        assert np.allclose(np.linalg.norm(slots.embedding[used], axis=1), 1, atol=1e-4)


def test_the_pictures_hold_things_and_stuff(exported: tuple[Path, Method]) -> None:
    """Or agreement on them would say little."""
    engine = open_engine(manifest.load(exported[0]), "onnxruntime")
    ids = np.concatenate([np.unique(engine.run(image).ids) for image in pictures()])
    assert len(ids[ids > STUFF]) > 3 and len(set(ids[(ids > 0) & (ids <= STUFF)].tolist())) > 3


@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_one_file_serves_sizes_that_the_coarse_levels_do_not_divide(exported: tuple[Path, Method], size: tuple[int, int]) -> None:
    folder, method = exported
    image = cv2.resize(pictures()[0][0], size[::-1])[np.newaxis]
    for backend in ("openvino", "onnxruntime"):
        engine = open_engine(manifest.load(folder).with_size(*size), backend)
        assert engine.run(image).ids.shape == (size[0] // 4, size[1] // 4)
        assert onnx_export.agreement(method.graph().eval(), engine, image) >= onnx_export.LEAST_AGREEMENT


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_the_network_runs_alone(exported: tuple[Path, Method], backend: str) -> None:
    """The cut goes through all its outputs: three maps of each of five levels, V, phi0, phi1, and P2 to P5 for masks."""
    folder, method = exported
    model = manifest.load(folder)
    found = {name for node in onnx.load(model.onnx).graph.node for name in node.output if name.startswith("network/")}
    assert len(found) == (22 if method.network.mask else 18)
    open_engine(model, backend).run_network_only(pictures()[0])


@pytest.mark.parametrize("settings", [[], [*MASKS, "settings.loss.segmentation=lovasz", "settings.loss.boxes=ground_truth"]])
def test_a_few_steps_of_training(tmp_path: Path, settings: list[str], capsys: pytest.CaptureFixture) -> None:
    data = tiny_dataset.write(tmp_path / "tiny")
    arguments = [f"data.root={data}", "stages=[{size: [64, 96], steps: 2, batch: 2}]", "precision=bf16", *SMALL, *settings]
    assert train.main(["affinity_mnv2_street", *arguments, "--out", str(tmp_path / "out"), "--workers", "0"]) == 0
    state = train.read_checkpoint(tmp_path / "out" / "last.pt")
    assert (state["step"], state["recipe"]["method"]) == (2, "affinity")


def test_memory_of_the_decoder_is_linear_in_pixels() -> None:
    """The largest tensor between network and ids has slots, channels or classes times cells, never cells times cells."""
    _, method = random_method([])
    graph, largest = method.graph().eval(), {}
    for side in (64, 128):
        with torch.no_grad(), _Largest() as watch:
            graph.decoder(graph.network_output(torch.zeros(1, side, 2 * side, 3, dtype=torch.uint8)))
        largest[side] = watch.elements
    assert largest[128] <= 4 * largest[64]


class _Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """Watches the sizes of all results."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        found = function(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(found):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return found
