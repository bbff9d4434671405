import json
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import pytest
import torch

from training import curves
from training.journal import Journal


def test_the_curves_are_those_of_the_logs(tmp_path: Path) -> None:
    with Journal(tmp_path, 0, 4, 2, quiet=False) as journal:
        for step in range(1, 5):
            journal.step(step, 0.1, {"loss": 1 / step}, torch.device("cpu"))
        journal.validated(2, {"pq": 0.2, "pq_stuff": 0.3})
        journal.validated(4, {"pq": 0.4, "pq_stuff": 0.5})

    figure = curves.figure([tmp_path])
    loss, quality = figure.axes
    plt.close(figure)

    assert [line.get_xydata().tolist() for line in loss.lines] == [[[2, 0.5], [4, 0.25]]]
    assert {line.get_label(): line.get_ydata().tolist() for line in quality.lines} == {"all": [20, 40], "stuff": [30, 50]}


def test_the_command_draws_a_run_that_was_never_validated(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(json.dumps({"step": 1, "loss": 2.0}) + '\n{"step": 2, "lo')  # cut off

    assert curves.main([str(tmp_path), "--plot", str(tmp_path / "new" / "curves.png")]) == 0

    assert cv2.imread(str(tmp_path / "new" / "curves.png")).std() > 1


@pytest.mark.parametrize("log", [b"{nothing}\n", b"\xff\n", b"some words\n", b'{"a": 1}\n', b"[]\n"])
def test_what_is_not_a_log_is_said(tmp_path: Path, capsys: pytest.CaptureFixture, log: bytes) -> None:
    (tmp_path / "log.jsonl").write_bytes(log)
    assert curves.main([str(tmp_path), "--plot", str(tmp_path / "curves.png")]) == 2
    assert "log.jsonl is not a log" in capsys.readouterr().err


def test_a_folder_without_a_log_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert curves.main([str(tmp_path), "--plot", str(tmp_path / "curves.png")]) == 2
    assert "log.jsonl" in capsys.readouterr().err
