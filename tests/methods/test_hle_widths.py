"""The table of decoder widths: every width is trained, exported and timed in every precision."""

import dataclasses
import json
from pathlib import Path

import pytest

from panoptic_ros import manifest
from tests.data import tiny_dataset
from training.ablation import result_file
from training.methods.hle import widths


@pytest.mark.slow
def test_every_width_is_trained_exported_and_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, shallow_mobilenet: None
) -> None:
    pytest.importorskip("openvino")
    for split in ("train", "val"):
        tiny_dataset.write(tmp_path / "data" / "street", split)
    monkeypatch.chdir(tmp_path)
    few = {name: widths.VARIANTS[name] for name in ("16, 8: 128, 4: 64", "32, 8: 128, 4: 64")}
    monkeypatch.setattr(widths, "VARIANTS", few)
    monkeypatch.setattr(widths, "ABLATION", dataclasses.replace(widths.ABLATION, variants=few))
    monkeypatch.setattr(widths, "SIZE", (64, 128))
    options = ["--out", "out", "--steps", "1", "--batch", "1", "--frames", "1", "--seeds", "3", "--rounds", "2"]
    assert widths.main(options) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.strip().splitlines()]
    assert [row[0].removeprefix("| ") for row in rows if row[0].removeprefix("| ") in few] == [*few, *few]
    times = json.loads((tmp_path / "out" / "times.json").read_text())["engine_ms"]
    assert {name: list(found) for name, found in times.items()} == dict.fromkeys(few, list(widths.PRECISIONS))
    assert all(0 < p50 <= p99 for found in times.values() for p50, p99 in found.values())
    models = [manifest.load(tmp_path / "out" / f"engine_{n}") for n in range(2)]
    assert [model.decode_stride for model in models] == [4, 4] and models[0].sha256 != models[1].sha256


def test_widths_have_results_of_their_own() -> None:
    args = widths.ABLATION.parser("").parse_args([])
    assert len({result_file(args, name, 0) for name in widths.VARIANTS}) == len(widths.VARIANTS)
