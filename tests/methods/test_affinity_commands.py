"""The affinity viewer and the ablation, from the command line."""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

from panoptic_ros import manifest
from tests.data import tiny_dataset
from training import onnx_export
from training import recipe as recipes
from training.ablation import settings, training_digest
from training.data.street.labels import LABELS
from training.methods.affinity import ablate, view
from training.methods.affinity.affinity import affinities

SMALL = ["settings.network.pyramid=8", "settings.network.tower=8", "settings.network.depth=1", "settings.network.subnet=8",
         "settings.network.subnet_depth=1", "backbone_weights=null", "stages.0.size=[64,96]", "engine_size=[64,96]"]  # fmt: skip
FEW = ["settings.decoder.candidates=10", "settings.decoder.detections=4"]

pytestmark = pytest.mark.usefixtures("shallow_mobilenet")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of random weights."""
    folder = tmp_path_factory.mktemp("engines")
    torch.manual_seed(0)
    recipe = recipes.load("affinity_mnv2_street", [*SMALL, *FEW, "settings.network.affinity=8"])
    method = recipes.method_module("affinity").Method(recipe.settings, LABELS)
    onnx_export.write_engine(recipe, method, (64, 96), folder)
    return folder


@pytest.fixture
def image(tmp_path: Path) -> Path:
    file = tmp_path / "frame.png"
    cv2.imwrite(str(file), np.random.default_rng(0).integers(0, 256, (100, 200, 3), np.uint8))
    return file


def test_the_viewer_writes_a_picture_of_the_image(engine: Path, image: Path, tmp_path: Path) -> None:
    out = tmp_path / "affinity.png"
    arguments = ["--model", str(engine), "--image", str(image), "--pixel", "150,40", "--out", str(out)]
    assert view.main(arguments) == 0
    found = cv2.imread(str(out))
    assert found.shape == (100, 200, 3) and (found[40, 150] == [0, 255, 0]).all()  # the cross


def test_the_map_holds_the_affinities_of_the_cell_under_the_pixel(engine: Path) -> None:
    """An image of the engine's own size: cells are 4 x 4 pixels."""
    torch.manual_seed(0)
    recipe = recipes.load("affinity_mnv2_street", [*SMALL, "settings.network.affinity=8"])
    network = recipes.method_module("affinity").Method(recipe.settings, LABELS).network.eval()
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    heat = view.affinity_map(view.features(manifest.load(engine)), picture, (50, 21), (64, 96))
    with torch.no_grad():
        output = network(torch.from_numpy(picture)[None].permute(0, 3, 1, 2).float())
        row = affinities(*(x[0].flatten(1) for x in output.affinity), 5 * 24 + 12).view(16, 24).numpy()
    assert row.std() > 0.1 * row.mean() > 0
    np.testing.assert_allclose(heat, np.kron(row, np.ones((4, 4), np.float32)), rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--pixel": "200,40"}, "pixel 200,40 is outside"),
        ({"--model": "none"}, "none"),
        ({"--model": "hle_mnv2"}, "hle_mnv2 has no affinity head"),
        ({"--out": "/no/such/folder/a.png"}, "cannot write"),
    ],
)
def test_what_the_viewer_cannot_do_is_one_line(
    engine: Path, image: Path, change: dict[str, str], message: str, capsys: pytest.CaptureFixture
) -> None:
    arguments = {"--model": str(engine), "--image": str(image), "--pixel": "1,1", "--out": "a.png"} | change
    assert view.main([word for pair in arguments.items() for word in pair]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


@pytest.mark.parametrize("lost", [{17}, {16, 17}])
def test_a_model_without_affinities_cannot_be_viewed(
    lost: set[int], engine: Path, tmp_path: Path, image: Path, capsys: pytest.CaptureFixture
) -> None:
    """An engine with fewer tensors between network and decoder."""
    folder = Path(shutil.copytree(engine, tmp_path / "engine"))
    model, content = onnx.load(folder / "model.onnx"), json.loads((folder / "manifest.json").read_text())
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"no_{name}" if name in {f"network/{number}" for number in lost} else name for name in names]
    onnx.save(model, folder / "model.onnx")
    content["sha256"] = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(content))
    assert view.main(["--model", str(folder), "--image", str(image), "--pixel", "1,1", "--out", "a.png"]) == 2
    assert "affinity_mnv2 has no affinity head" in capsys.readouterr().err


def test_the_variants_of_table_1_differ_as_the_paper_says() -> None:
    args = ablate.ABLATION.parser("").parse_args([])
    found = {name: ablate.ABLATION.variant(name, 0, args) for name in ablate.VARIANTS}
    assert len({json.dumps(settings(recipe)) for recipe in found.values()}) == len(found)
    trained = {name.partition(":")[0]: training_digest(recipe) for name, recipe in found.items()}
    assert trained["C1"] == trained["C2"] and trained["D1"] == trained["D2"]
    assert len(set(trained.values())) == 5
    assert set(ablate.ABLATION.paper_pq) == set(found)


def test_two_decoders_of_one_network_train_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for split in ("train", "val", "test"):
        tiny_dataset.write(tmp_path / "data" / "street", split)
    monkeypatch.chdir(tmp_path)
    few = {name: [*ablate.VARIANTS[name], *SMALL] for name in ablate.VARIANTS if name.startswith("D")}
    monkeypatch.setattr(ablate, "ABLATION", dataclasses.replace(ablate.ABLATION, variants=few))
    assert ablate.main(["--out", "out", "--steps", "1", "--batch", "1", "--frames", "1", "--seeds", "3"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.strip().splitlines()][2:]
    assert [row[0] for row in rows] == [f"| {name}" for name in few] and [row[-1] for row in rows] == ["60.6 |", "61.4 |"]
    results = [json.loads(file.read_text()) for file in Path("out").glob("*.json")]
    assert len(results) == 2 and len(list(Path("out").glob("*.pt"))) == 1
    for result in results:
        assert list(result["on_test"]) == list(ablate.ABLATION.choices)
        assert result["on_test"][result["chosen"]] == max(result["on_test"].values())
