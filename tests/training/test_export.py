"""The exported graph against torch, and what a failed check leaves behind."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch

from panoptic_ros import manifest
from panoptic_ros.core import PanopticError
from panoptic_ros.engine import open_engine
from training import onnx_export
from training import recipe as recipes
from training.data.street.labels import LABELS

pytestmark = pytest.mark.usefixtures("shallow_mobilenet")


def method(seed: int) -> tuple[recipes.Recipe, Any]:
    """HLE with random weights, whose outputs are centred and scaled so that it finds many stuff classes and things."""
    torch.manual_seed(seed)
    recipe = recipes.load("hle_mnv2_street", ["settings.decoder.min_stuff_area=20"])
    found = recipes.method_module("hle").Method(recipe.settings, LABELS)
    network = found.network.eval()
    with torch.no_grad():
        raw = network(torch.from_numpy(np.concatenate(pictures())).permute(0, 3, 1, 2).float())
        mean, scale = raw.mean((0, 2, 3)), 1 / raw.std((0, 2, 3))
        scale[-3:-1] *= 0.1  # variances
        network.head.weight *= scale.view(-1, 1, 1, 1)
        network.head.bias.copy_((network.head.bias - mean) * scale)
    return recipe, found


def pictures() -> list[np.ndarray]:
    """Blurred patches of colour with noise."""
    rng = np.random.default_rng(0)
    patches = [cv2.resize(rng.integers(0, 256, (8, 16, 3), np.uint8), (256, 128)) for _ in range(3)]
    return [cv2.add(patch, rng.integers(0, 30, patch.shape, np.uint8))[np.newaxis] for patch in patches]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hle_mnv2")
    onnx_export.write_engine(*method(0), (128, 256), folder)
    return folder


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return pictures()


def test_every_backend_agrees_with_torch(exported: Path, images: list[np.ndarray]) -> None:
    found = onnx_export.verify(exported, method(0)[1].graph().eval(), images)
    assert set(found) == {"openvino", "onnxruntime"}
    assert min(found.values()) >= onnx_export.LEAST_AGREEMENT


def test_the_pictures_hold_things_stuff_and_void(exported: Path, images: list[np.ndarray]) -> None:
    """Or agreement on them would say little."""
    engine = open_engine(manifest.load(exported), "onnxruntime")
    stuff = sum(not label.thing for label in LABELS)
    ids = np.concatenate([np.unique(engine.run(image).ids) for image in images])
    assert 0 in ids and len(ids[ids > stuff]) > 20 and len(set(ids[(ids > 0) & (ids <= stuff)].tolist())) > 4


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(("height", "grid"), [(192, (96, 160)), (256, (128, 160)), (288, (72, 80))])
def test_one_file_serves_other_sizes(
    exported: Path, images: list[np.ndarray], backend: str, height: int, grid: tuple[int, int]
) -> None:
    """Above 256 rows the decoding grid is coarser, in graph and manifest alike."""
    model = manifest.load(exported).with_size(height, 320)
    assert model.grid_size == grid
    image = cv2.resize(images[0][0], (320, height))[np.newaxis]
    assert onnx_export.agreement(method(0)[1].graph().eval(), open_engine(model, backend), image) >= onnx_export.LEAST_AGREEMENT


def test_other_weights_are_found_out(exported: Path, images: list[np.ndarray]) -> None:
    with pytest.raises(PanopticError, match="agrees with torch on"):
        onnx_export.verify(exported, method(1)[1].graph().eval(), images)


def test_a_failed_check_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: list[np.ndarray]) -> None:
    def refuse(*_: object) -> None:
        raise PanopticError("no")

    kept = tmp_path / "hle_mnv2" / "model.onnx"
    kept.parent.mkdir()
    kept.write_text("the engine before")
    monkeypatch.setattr(onnx_export, "load_method", lambda *_: method(0))
    monkeypatch.setattr(onnx_export, "write_engine", lambda *_: None)
    monkeypatch.setattr(onnx_export.manifest, "load", lambda _: None)
    monkeypatch.setattr(onnx_export, "verify", refuse)
    with pytest.raises(PanopticError, match="no"):
        onnx_export.export_checkpoint(Path("any"), "hle_mnv2", kept.parent, None, (), lambda *_: images)
    assert [file.name for file in tmp_path.iterdir()] == ["hle_mnv2"]
    assert kept.read_text() == "the engine before"


@pytest.mark.parametrize("bundled", [False, True])
def test_no_notes_of_the_exporter_remain(exported: Path, bundled: bool) -> None:
    """They hold stack traces with the paths of whoever exported."""
    model = onnx.load(manifest.load("hle_mnv2" if bundled else exported).onnx)
    assert not any(part.metadata_props for part in (model, model.graph, *model.graph.node))
