import json

import cv2
import matplotlib.pyplot as plt
import torch

from training import curves
from training.journal import Journal


def test_the_curves_are_those_of_the_logs(tmp_path):
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


def test_the_command_draws_a_run_that_was_never_validated(tmp_path):
    (tmp_path / "log.jsonl").write_text(json.dumps({"step": 1, "loss": 2.0}) + '\n{"step": 2, "lo')  # cut off

    assert curves.main([str(tmp_path), "--plot", str(tmp_path / "new" / "curves.png")]) == 0

    assert cv2.imread(str(tmp_path / "new" / "curves.png")).std() > 1


def test_what_is_not_a_run_is_said(tmp_path, capsys):
    assert curves.main([str(tmp_path), "--plot", str(tmp_path / "curves.png")]) == 2
    assert "log.jsonl" in capsys.readouterr().err
    (tmp_path / "log.jsonl").write_text("{nothing}\n")
    assert curves.main([str(tmp_path), "--plot", str(tmp_path / "curves.png")]) == 2
    assert "is not a log" in capsys.readouterr().err
