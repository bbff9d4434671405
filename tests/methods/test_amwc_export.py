"""AMWC through the commands that all methods share: training in both stages, the exported graph, and the solver behind it."""

import json
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn

from panoptic_ros import manifest
from panoptic_ros.core import PanopticError
from panoptic_ros.engine import open_engine
from panoptic_ros.pipeline import Pipeline
from tests.data import tiny_dataset
from training import onnx_export, train
from training import recipe as recipes
from training.data.street.labels import LABELS
from training.methods.amwc.method import Method
from training.torch_engine import manifest_of

pytestmark = pytest.mark.usefixtures("shallow_mobilenet")

SMALL = ["settings.network.aspp_width=16", "settings.network.semantic_skips=[[8,4,16],[4,4,16]]",
         "settings.network.affinity_skips=[[4,4,16]]", "settings.network.joined=8", "settings.network.embedding=4",
         "backbone_weights=null"]  # fmt: skip
STUFF = sum(not label.thing for label in LABELS)
BACKENDS = ("openvino", "onnxruntime")


@pytest.fixture(scope="module")
def recipe() -> recipes.Recipe:
    return recipes.load("amwc_mnv2_street", [*SMALL, "settings.decoder.min_stuff_area=4"])


@pytest.fixture(scope="module")
def method(recipe: recipes.Recipe) -> Method:
    """Random weights whose costs are centred and scaled so that the cut has many segments."""
    torch.manual_seed(0)
    found = Method(recipe.settings, LABELS)
    network = found.network.eval()
    standardise(network, network.semantic, 3.0, 0.0)
    for classifier in network.classifiers:
        standardise(network, list(classifier.modules())[-1], 1.5, 0.5)
    return found


@torch.no_grad()
def standardise(network: nn.Module, head: nn.Conv2d, deviation: float, mean: float) -> None:
    """Each channel of a last layer, over the pictures."""
    seen: list[torch.Tensor] = []
    with head.register_forward_hook(lambda _module, _inputs, output: seen.append(output)):
        network(torch.from_numpy(np.concatenate(pictures())).permute(0, 3, 1, 2).float())
    scale = deviation / seen[0].std((0, 2, 3))
    head.weight *= scale.view(-1, 1, 1, 1)
    head.bias.copy_((head.bias - seen[0].mean((0, 2, 3))) * scale + mean)


def pictures() -> list[np.ndarray]:
    """Blurred patches of colour."""
    rng = np.random.default_rng(0)
    return [cv2.resize(rng.integers(0, 256, (4, 8, 3), np.uint8), (256, 128))[np.newaxis] for _ in range(2)]


@pytest.fixture(scope="module")
def exported(recipe: recipes.Recipe, method: Method, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("amwc_mnv2")
    onnx_export.write_engine(recipe, method, (128, 256), folder)
    return folder


def test_every_backend_agrees_with_torch(exported: Path, method: Method) -> None:
    found = onnx_export.verify(exported, method.graph().eval(), pictures())
    assert set(found) == set(BACKENDS)
    assert min(found.values()) >= onnx_export.LEAST_AGREEMENT


def test_the_graph_gives_the_costs_of_torch(exported: Path, method: Method) -> None:
    session = ort.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    names = ["class_cost", "edge_cost", "features"]
    assert [output.name for output in session.get_outputs()] == names
    for picture in pictures():
        with torch.no_grad():
            expected = method.graph().eval()(torch.from_numpy(picture))
        for found, right in zip(session.run(names, {"image": picture}), expected, strict=True):
            np.testing.assert_allclose(found, right.numpy(), atol=2e-3)


def test_the_pictures_hold_things_and_stuff(exported: Path) -> None:
    """Or agreement on them would say little."""
    engine = open_engine(manifest.load(exported), "onnxruntime")
    ids = np.concatenate([np.unique(engine.run(image).ids) for image in pictures()])
    assert len(ids[ids > STUFF]) > 5 and len(set(ids[(ids > 0) & (ids <= STUFF)].tolist())) > 3


@pytest.mark.parametrize("size", [(64, 64), (32, 96), (256, 512)])
def test_one_file_serves_sizes_below_its_longest_edges(exported: Path, method: Method, size: tuple[int, int]) -> None:
    """32 cells at stride 4 are 128 pixels."""
    image = cv2.resize(pictures()[0][0], size[::-1])[np.newaxis]
    for backend in BACKENDS:
        engine = open_engine(manifest.load(exported).with_size(*size), backend)
        assert engine.run(image).ids.shape == (size[0] // 4, size[1] // 4)
        assert onnx_export.agreement(method.graph().eval(), engine, image) >= onnx_export.LEAST_AGREEMENT


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_network_runs_alone(exported: Path, backend: str) -> None:
    open_engine(manifest.load(exported), backend).run_network_only(pictures()[0])


def test_the_pipeline_takes_it_as_any_other_model(exported: Path) -> None:
    model = manifest.load(exported)
    found = Pipeline(open_engine(model, "onnxruntime"), model)(pictures()[0][0], 0)
    assert found.ids.shape == (128, 256) and len(found.segments) > 3
    assert {segment.category for segment in found.segments} <= {label.id for label in LABELS}


def test_the_manifest_of_a_model_in_memory_is_that_of_the_file(recipe: recipes.Recipe, method: Method, exported: Path) -> None:
    assert manifest_of(recipe, method).slots == manifest.load(exported).slots == STUFF + 100


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distances": [1, 4], "speed": 3}, "solver has the keys distances, speed; the keys are"),
        ({"things": 50}, "with distances"),
        ({"distances": [1, 4], "things": 101}, "1 to 100 things"),
        ({"distances": [2, 4, 16, 32]}, "distances=.2, 4, 16, 32.: whole numbers that increase from 1"),
        ({"distances": [1, 4, 16, 32, 64]}, "edge_cost has shape"),
    ],
)
def test_a_manifest_with_another_solver_is_refused(exported: Path, tmp_path: Path, changes: dict, message: str) -> None:
    for file in exported.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = json.loads((tmp_path / "manifest.json").read_text()) | {"solver": changes}
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(PanopticError, match=message):
        open_engine(manifest.load(tmp_path).with_size(256, 256), "onnxruntime")


def test_a_few_steps_of_both_stages(tmp_path: Path) -> None:
    data = tiny_dataset.write(tmp_path / "tiny")
    common = [f"data.root={data}", "stages=[{size: [64, 96], steps: 2, batch: 2}]", *SMALL]
    before, after = tmp_path / "before", tmp_path / "after"
    assert train.main(["amwc_mnv2_street", *common, "--out", str(before), "--workers", "0"]) == 0
    init = f"init={before / 'last.pt'}"
    assert train.main(["amwc_mnv2_street_cut", *common, init, "--out", str(after), "--workers", "0"]) == 0
    start, end = (train.read_checkpoint(folder / "last.pt") for folder in (before, after))
    moved = {name for name, value in end["network"].items() if not torch.equal(value, start["average"][name])}
    assert moved and all(name.startswith(("semantic.", "classifiers.")) for name in moved)
    assert not any("running" in name for name in moved)
    log = json.loads((after / "log.jsonl").read_text().splitlines()[-1])
    assert 0 < log["panoptic"] <= 10 and log["loss"] == log["panoptic"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("settings.network.distances=[4,16]", "settings.network.distances is"),
        ("settings.network.affinity_skips=[[8,4,16]]", "its last stride must be 4"),
        ("settings.loss.top_k=0", "settings.loss.top_k is 0"),
        ("settings.loss.semantic=-1", "settings.loss.semantic is negative"),
        ("settings.end_to_end.perturbations=0", "perturbations 0"),
        ("settings.decoder.things=101", "settings.decoder.things is 101"),
        ("settings.decoder.min_probability=1", "settings.decoder.min_probability is 1"),
    ],
)
def test_settings_out_of_range_are_refused(override: str, message: str) -> None:
    with pytest.raises(PanopticError, match=message):
        recipes.load("amwc_mnv2_street", [override])
