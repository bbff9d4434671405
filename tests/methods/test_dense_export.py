"""Dense detections through the commands that all methods share: a few steps of training, and the exported graph."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

from panoptic_ros import manifest
from panoptic_ros.core import PanopticError
from panoptic_ros.engine import open_engine
from tests.data import tiny_dataset
from training import onnx_export, train
from training import recipe as recipes
from training.ablation import decoder_defaults
from training.data.street.labels import LABELS
from training.methods.dense.decode import DecoderSettings
from training.methods.dense.method import Method
from training.precision.half import to_half
from training.tensorrt_operators import problems
from training.torch_engine import manifest_of

pytestmark = pytest.mark.usefixtures("shallow_mobilenet")

SMALL = ["settings.network.pyramid=16", "settings.network.semantic_tower=16", "settings.network.location_tower=16",
         "settings.network.depth=1", "settings.network.merge=4", "settings.network.embedding=4",
         "backbone_weights=null"]  # fmt: skip
STUFF = sum(not label.thing for label in LABELS)
DETECTIONS = 8


@pytest.fixture(scope="module")
def recipe() -> recipes.Recipe:
    settings = DecoderSettings(candidates=40, detections=DETECTIONS, mask_threshold=0.05, min_stuff_area=4)
    return recipes.load("dense_mnv2_street", [*SMALL, *decoder_defaults(settings)])


@pytest.fixture(scope="module")
def method(recipe: recipes.Recipe) -> Method:
    """Random weights whose outputs are centred and scaled so that it finds many stuff classes and things, and is sure of them."""
    torch.manual_seed(0)
    found = Method(recipe.settings, LABELS)
    network = found.network.eval()
    with torch.no_grad():
        output = network(torch.from_numpy(np.concatenate(pictures())).permute(0, 3, 1, 2).float())
        for head, maps in ((network.detector.thing_logits, output.thing_logits[0]), (network.semantic, output.semantic),
                           (network.levelness, output.levelness)):  # fmt: skip
            scale = 6 / maps.std((0, 2, 3))
            head.weight *= scale.view(-1, 1, 1, 1)
            head.bias.copy_((head.bias - maps.mean((0, 2, 3))) * scale)
        network.detector.distances.bias.fill_(1.5)  # boxes of several cells
    return found


def pictures() -> list[np.ndarray]:
    """Blurred patches of colour with noise."""
    rng = np.random.default_rng(0)
    patches = [cv2.resize(rng.integers(0, 256, (8, 16, 3), np.uint8), (256, 128)) for _ in range(2)]
    return [cv2.add(patch, rng.integers(0, 30, patch.shape, np.uint8))[np.newaxis] for patch in patches]


@pytest.fixture(scope="module")
def exported(recipe: recipes.Recipe, method: Method, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dense_mnv2")
    onnx_export.write_engine(recipe, method, (128, 256), folder)
    return folder


def test_tensorrt_lists_every_operator(exported: Path) -> None:
    model = manifest.load(exported)
    graph = onnx.load(model.onnx)
    assert problems(graph) == []
    assert problems(to_half(graph, model.network_output)) == []


def test_no_operator_works_more_where_there_are_more_objects(exported: Path) -> None:
    graph = onnx.load(exported / onnx_export.ONNX).graph
    assert not {"NonMaxSuppression", "NonZero", "Unique", "Compress", "If", "Loop", "Scan"} & {
        node.op_type for node in graph.node
    }


def test_every_backend_agrees_with_torch(exported: Path, method: Method) -> None:
    found = onnx_export.verify(exported, method.graph().eval(), pictures())
    assert set(found) == {"openvino", "onnxruntime"}
    assert min(found.values()) >= onnx_export.LEAST_AGREEMENT


def test_the_pictures_hold_things_and_stuff(exported: Path) -> None:
    """Or agreement on them would say little."""
    engine = open_engine(manifest.load(exported), "onnxruntime")
    ids = np.concatenate([np.unique(engine.run(image).ids) for image in pictures()])
    assert len(ids[ids > STUFF]) > 5 and len(set(ids[(ids > 0) & (ids <= STUFF)].tolist())) > 3


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (256, 512)])
def test_one_file_serves_sizes_that_the_coarse_levels_do_not_divide(
    exported: Path, method: Method, size: tuple[int, int]
) -> None:
    """P7 has 128 pixels a cell. The smaller image has fewer cells than there are candidates or nearly so."""
    image = cv2.resize(pictures()[0][0], size[::-1])[np.newaxis]
    for backend in ("openvino", "onnxruntime"):
        engine = open_engine(manifest.load(exported).with_size(*size), backend)
        assert engine.run(image).ids.shape == (size[0] // 4, size[1] // 4)
        assert onnx_export.agreement(method.graph().eval(), engine, image) >= onnx_export.LEAST_AGREEMENT


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_the_network_runs_alone(exported: Path, backend: str) -> None:
    """The cut goes through all its outputs: three maps of each of five levels, and three more."""
    model = manifest.load(exported)
    found = {name for node in onnx.load(model.onnx).graph.node for name in node.output if name.startswith("network/")}
    assert len(found) == 18
    open_engine(model, backend).run_network_only(pictures()[0])


def test_the_manifest_of_a_model_in_memory_is_that_of_the_file(recipe: recipes.Recipe, method: Method, exported: Path) -> None:
    assert manifest_of(recipe, method).slots == manifest.load(exported).slots == STUFF + DETECTIONS


@pytest.mark.parametrize("weak", [False, True])
def test_a_few_steps_of_training(tmp_path: Path, weak: bool, capsys: pytest.CaptureFixture) -> None:
    data = tiny_dataset.write(tmp_path / "tiny")
    stages = "stages=[{size: [64, 96], steps: 2, batch: 2}]"
    arguments = [f"data.root={data}", stages, "precision=bf16", f"settings.loss.weak={weak}", *SMALL]
    assert train.main(["dense_mnv2_street", *arguments, "--out", str(tmp_path / "out"), "--workers", "0"]) == 0
    state = train.read_checkpoint(tmp_path / "out" / "last.pt")
    assert (state["step"], state["recipe"]["method"]) == (2, "dense")
    other = recipes.from_dict(state["recipe"] | {"method": "dense"})
    assert other.settings.loss.weak is weak


def test_a_checkpoint_of_another_method_is_refused(tmp_path: Path, recipe: recipes.Recipe) -> None:
    hle = train.Trainer(recipes.load("hle_mnv2_street", ["settings.network.thomson=false", "backbone_weights=null"]), LABELS)
    hle.save(tmp_path / "last.pt")
    with pytest.raises(PanopticError, match="trained with another value of .*method"):
        train.Trainer(recipe, LABELS).load(tmp_path / "last.pt")
    recipe.init = str(tmp_path / "last.pt")
    with pytest.raises(PanopticError, match="checkpoint of another network than dense_mnv2's"):
        train.Trainer(recipe, LABELS)
    recipe.init = None
