"""The exported graph against torch, and what a failed check leaves behind."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from panoptic_ros import manifest
from panoptic_ros.core import PanopticError
from panoptic_ros.engine import open_engine
from training import export_trt
from training import recipe as recipes
from training.data.street.labels import LABELS


def method(seed: int) -> tuple[recipes.Recipe, Any]:
    """HLE with random weights that still finds things: every seed counts."""
    torch.manual_seed(seed)
    recipe = recipes.load("hle_mnv2_street", ["settings.decoder.seed_threshold=0.1"])
    found = recipes.method_module("hle").Method(recipe.settings, LABELS)
    found.network.eval()
    return recipe, found


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hle_mnv2")
    export_trt.write_engine(*method(0), (128, 256), folder)
    return folder


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [np.random.default_rng(i).integers(0, 256, (1, 128, 256, 3), np.uint8) for i in range(3)]


def test_every_backend_agrees_with_torch(exported: Path, images: list[np.ndarray]) -> None:
    found = export_trt.verify(exported, method(0)[1].graph().eval(), images)
    assert set(found) == {"openvino", "onnxruntime"}
    assert min(found.values()) >= export_trt.LEAST_AGREEMENT


def test_one_file_serves_other_sizes(exported: Path) -> None:
    engine = open_engine(manifest.load(exported).with_size(192, 320), "onnxruntime")
    assert engine.run(np.zeros((1, 192, 320, 3), np.uint8)).ids.shape == (96, 160)


def test_other_weights_are_found_out(exported: Path, images: list[np.ndarray]) -> None:
    with pytest.raises(PanopticError, match="agrees with torch on"):
        export_trt.verify(exported, method(1)[1].graph().eval(), images)


def test_a_failed_check_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PanopticError("no")

    kept = tmp_path / "hle_mnv2" / "model.onnx"
    kept.parent.mkdir()
    kept.write_text("the engine before")
    monkeypatch.setattr(export_trt, "load_method", lambda *_: method(0))
    monkeypatch.setattr(export_trt, "frames_to_verify", lambda *_: [])
    monkeypatch.setattr(export_trt, "write_engine", lambda *_: None)
    monkeypatch.setattr(export_trt, "verify", refuse)
    args = Namespace(model="hle_mnv2", checkpoint=None, settings=[], engines=tmp_path, size=None)
    with pytest.raises(PanopticError, match="no"):
        export_trt.export(args)
    assert [file.name for file in tmp_path.iterdir()] == ["hle_mnv2"]
    assert kept.read_text() == "the engine before"


@pytest.mark.parametrize("bundled", [False, True])
def test_no_notes_of_the_exporter_remain(exported: Path, bundled: bool) -> None:
    """They hold stack traces with the paths of whoever exported."""
    model = onnx.load(manifest.load("hle_mnv2" if bundled else exported).onnx)
    assert not any(part.metadata_props for part in (model, model.graph, *model.graph.node))
