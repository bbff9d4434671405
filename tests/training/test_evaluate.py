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
    person = scores["classes"]["person"]
    assert (person["pq"], person["sq"], person["tp"], person["fp"], person["fn"]) == (3 / 3.5, 1.0, 3, 0, 1)
    assert (person["covering"], person["iou"]) == (0.75, 0.75)
    assert scores["images"] == {"0.png": pytest.approx((2 + 2560 / 2752) / 4), "1.png": 1.0, "2.png": 1.0, "3.png": 1.0}
    assert scores["ap"] is None  # the predictions have no scores
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
        (lambda c: c["annotations"][0].pop("segments_info"), r"annotations\[0\] lacks segments_info"),
        (
            lambda c: c["annotations"][1]["segments_info"][2].pop("id"),
            r"segments_info of 1.png\[2\] lacks id; it needs category_id, id",
        ),
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


def test_a_truth_that_does_not_fit_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    truth = write_dataset(tmp_path / "truth")
    predicted = write_dataset(tmp_path / "predicted") / "panoptic_val.json"
    files = ["--ground-truth", str(truth / "panoptic_val.json"), "--predictions", str(predicted)]
    edit(truth / "panoptic_val.json", lambda c: c["annotations"][2]["segments_info"].pop())
    assert main(files) == 2
    assert re.search(r"truth/panoptic_val/2.png does not .* ids \[4\] are not in segments_info", capsys.readouterr().err)
    broken = truth / "panoptic_val" / "1.png"
    broken.write_bytes(broken.read_bytes()[:-30])
    assert main(files) == 2
    assert re.search(r"cannot read the panoptic PNG .*truth/panoptic_val/1.png: it is missing, damaged", capsys.readouterr().err)
    edit(truth / "panoptic_val.json", lambda c: c["categories"][0].pop("isthing"))
    assert main(files) == 2
    assert re.search(r"panoptic_val.json: categories\[0\] lacks isthing", capsys.readouterr().err)


def test_the_page_needs_no_other_file(tmp_path: Path) -> None:
    """Four images of one sequence, so one best and one worst, each with three pictures."""
    truth, predicted, out = (
        write_dataset(tmp_path / "truth"),
        write_dataset(tmp_path / "predicted"),
        tmp_path / "out" / "page.html",
    )
    files = ["--ground-truth", str(truth / "panoptic_val.json"), "--predictions", str(predicted / "panoptic_val.json")]
    edit(truth / "panoptic_val.json", lambda c: c["categories"][0].update(name="<road>"))
    assert main([*files, "--images", str(truth / "val"), "--html", str(out)]) == 0
    page = out.read_text()
    assert "&lt;road&gt;" in page and "<road>" not in page
    assert len(re.findall(r'<img src="data:image/jpeg;base64,', page)) == len(re.findall("<img", page)) == 6
    assert not re.search(r"https?:|<link|<script|@import|url\(", page)
    assert main([*files, "--html", str(out)]) == 0
    assert out.read_text().count("<img") == 4  # without the pictures
    assert main([*files, "--images", str(truth / "nowhere"), "--html", str(out)]) == 2


def test_an_engine_with_tracking(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The tiny engine is exact, so each object is only missed in its first frame, before it is confirmed."""
    engine, data, out = tiny_engine.write(tmp_path / "tiny"), write_dataset(tmp_path / "street"), tmp_path / "scores.json"
    assert main(["--engine", str(engine), "--data", f"{data}:val", "--tracking", "--json", str(out)]) == 0
    scores = json.loads(out.read_text())
    assert {name: q["all"]["pq"] for name, q in scores["quality"].items()} == {
        "per frame": 1.0, "tracked": 1.0, "tracked, no embeddings": 1.0
    }  # fmt: skip
    frames = scores["quality"]["per frame"]
    assert (frames["ap"]["ap"], frames["miou"], frames["pq_dagger"], frames["parsing_covering"]) == pytest.approx((1, 1, 1, 1))
    things = scores["tracking"]["tracked"]["things"]
    assert (things["IDF1"], things["switches"]) == (6 / 7, 0)
    # the other windows, of 5, 10 and 15 frames, do not fit into 4
    assert scores["tracking"]["tracked"]["VPQ of frames"] == {"1": 1.0}
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
    for arguments in (
        [],
        ["--engine", "tiny"],
        ["--ground-truth", "a", "--predictions", "b", "--tracking"],
        ["--engine", "tiny", "--data", "a:b", "--frames", "0"],
    ):
        with pytest.raises(SystemExit, match="2"):
            main(arguments)
