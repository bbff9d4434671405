"""The evaluation command: files of any system, and a tiny engine on a drawn data set, from the command line to the JSON."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic_ros import coco
from tests import tiny_engine
from training.evaluate import main

ROAD, SKY, PERSON, CAR = 7, 23, 24, 26
CATEGORIES = [{"id": label["id"], "name": label["name"], "isthing": int(label["thing"])} for label in tiny_engine.LABELS]


def scene(x: int) -> tuple[np.ndarray, np.ndarray]:
    """(64, 96, 3) uint8 sky, road, a red car at column x and a person at 64; its ids are 1 to 4 in this order."""
    frame, ids = np.empty((64, 96, 3), np.uint8), np.empty((64, 96), np.int32)
    frame[:32], ids[:32] = tiny_engine.SKY, 1
    frame[32:], ids[32:] = tiny_engine.ROAD, 2
    frame[32:48, x : x + 24], ids[32:48, x : x + 24] = tiny_engine.RED_CAR, 3
    frame[24:48, 64:72], ids[24:48, 64:72] = tiny_engine.PERSON, 4
    return frame, ids


def write_dataset(root: Path, frames: int = 4, sequence: bool = True) -> Path:
    """A car that drives 4 pixels a frame, as `root`, split val."""
    for folder in ("val", "panoptic_val"):
        (root / folder).mkdir(parents=True)
    images, annotations = [], []
    for n in range(frames):
        frame, ids = scene(8 + 4 * n)
        cv2.imwrite(str(root / "val" / f"{n}.png"), frame[..., ::-1])
        coco.write_ids(root / "panoptic_val" / f"{n}.png", ids)
        images.append(
            {"id": n, "file_name": f"{n}.png"} | ({"sequence": "s", "frame": n, "stamp_ns": n * 10**8} if sequence else {})
        )
        info = coco.segments_info(ids, {1: SKY, 2: ROAD, 3: CAR, 4: PERSON})
        annotations.append({"image_id": n, "file_name": f"{n}.png", "segments_info": info})
    (root / "panoptic_val.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES}))
    return root


def edit(file: Path, change) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_files_of_any_system(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    truth = write_dataset(tmp_path / "truth") / "panoptic_val.json"
    predicted = write_dataset(tmp_path / "predicted")
    coco.write_ids(predicted / "panoptic_val" / "0.png", np.where(scene(8)[1] == 4, 2, scene(8)[1]))  # one person is missed
    edit(predicted / "panoptic_val.json", lambda c: c["annotations"][0]["segments_info"].pop())
    out = tmp_path / "out" / "scores.json"
    assert main(["--ground-truth", str(truth), "--predictions", str(predicted / "panoptic_val.json"), "--json", str(out)]) == 0
    scores = json.loads(out.read_text())["quality"]["per frame"]
    assert scores["classes"]["person"] == {"pq": 3 / 3.5, "sq": 1.0, "rq": 3 / 3.5, "classes": 1, "tp": 3, "fp": 0, "fn": 1}
    assert scores["classes"]["car"]["pq"] == 1.0
    assert "person" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda c: c["annotations"].pop(), "has no prediction for image 3"),
        (
            lambda c: c["annotations"][0]["segments_info"][0].update(category_id=99),
            r"0.png has categories \[99\]; the labels are 7 road",
        ),
        (lambda c: c["annotations"][0]["segments_info"].pop(), r"ids \[\] have no pixels, ids \[4\] are not in segments_info"),
        (lambda c: c["annotations"][0].update(file_name="none.png"), "none.png: it is missing"),
        (lambda c: c.pop("categories"), r"lacks \['categories'\]"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture, break_it, message: str) -> None:
    truth = write_dataset(tmp_path / "truth") / "panoptic_val.json"
    predicted = write_dataset(tmp_path / "predicted") / "panoptic_val.json"
    edit(predicted, break_it)
    assert main(["--ground-truth", str(truth), "--predictions", str(predicted)]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert "Traceback" not in error


def test_an_engine_with_tracking(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The tiny engine is exact, so each object is only missed in its first frame, before it is confirmed."""
    engine, data, out = tiny_engine.write(tmp_path / "tiny"), write_dataset(tmp_path / "street"), tmp_path / "scores.json"
    assert main(["--engine", str(engine), "--data", f"{data}:val", "--tracking", "--json", str(out)]) == 0
    scores = json.loads(out.read_text())
    assert {name: q["all"]["pq"] for name, q in scores["quality"].items()} == {
        "per frame": 1.0, "tracked": 1.0, "tracked, no embeddings": 1.0
    }  # fmt: skip
    things = scores["tracking"]["tracked"]["things"]
    assert (things["IDF1"], things["switches"]) == (6 / 7, 0)
    assert "switches" in capsys.readouterr().out


def test_images_without_a_sequence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    engine, data = tiny_engine.write(tmp_path / "tiny"), write_dataset(tmp_path / "photos", sequence=False)
    assert main(["--engine", str(engine), "--data", f"{data}:val", "--size", "32x64"]) == 0
    assert main(["--engine", str(engine), "--data", f"{data}:val", "--tracking"]) == 2
    assert "--tracking needs `sequence`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{root}:test", "has no split 'test': splits are val"),
        ("nowhere:val", "no data set 'nowhere'"),
        ("street", "is not NAME:SPLIT"),
    ],
)
def test_unknown_data_sets_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture, data: str, message: str) -> None:
    root = write_dataset(tmp_path / "street")
    assert main(["--engine", str(tiny_engine.write(tmp_path / "tiny")), "--data", data.format(root=root)]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_image_and_other_labels_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    engine, root = tiny_engine.write(tmp_path / "tiny"), write_dataset(tmp_path / "street")
    (root / "val" / "2.png").unlink()
    assert main(["--engine", str(engine), "--data", f"{root}:val"]) == 2
    assert "2.png" in capsys.readouterr().err
    edit(root / "panoptic_val.json", lambda c: c["categories"][0].update(name="street"))
    cv2.imwrite(str(root / "val" / "2.png"), np.zeros((64, 96, 3), np.uint8))
    assert main(["--engine", str(engine), "--data", f"{root}:val"]) == 2
    assert "7 road" in capsys.readouterr().err


def test_either_files_or_an_engine(capsys: pytest.CaptureFixture) -> None:
    for arguments in ([], ["--engine", "tiny"], ["--ground-truth", "a", "--predictions", "b", "--tracking"]):
        with pytest.raises(SystemExit, match="2"):
            main(arguments)
