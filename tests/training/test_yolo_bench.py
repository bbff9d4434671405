"""`training.yolo_bench` with a stand-in for ultralytics, which exports a real OpenVINO model."""

import json
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import openvino
import pytest
import tiny_engine

from panoptic_ros.backends.openvino import CORE
from training import yolo_bench

SPEED = {"preprocess": 1.0, "inference": 5.0, "postprocess": 2.0}


class YOLO:
    """Finds two objects in the scene as OpenCV stores it, none in any other frame."""

    seen: list[tuple[str, tuple[int, int], bool]] = []

    def __init__(self, file: str, task: str = "") -> None:
        self.file = file

    def export(self, format: str, imgsz: tuple[int, int]) -> str:
        folder = Path("exported_openvino_model")
        folder.mkdir()
        openvino.save_model(CORE.read_model(tiny_engine.graph().SerializeToString()), folder / "model.xml")
        return str(folder)

    def predict(self, frame: np.ndarray, imgsz: tuple[int, int], verbose: bool) -> list:
        scene = np.array_equal(frame, tiny_engine.scene()[..., ::-1])
        YOLO.seen.append((self.file, imgsz, scene))

        class Result(list):
            speed = SPEED

        return [Result([0, 0] if scene else [])]


@pytest.fixture
def ultralytics(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = ModuleType("ultralytics")
    module.YOLO = YOLO
    monkeypatch.setitem(sys.modules, "ultralytics", module)
    monkeypatch.chdir(tmp_path)
    YOLO.seen.clear()


def test_both_see_the_same_frames(
    ultralytics: None, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite("scene.png", tiny_engine.scene()[..., ::-1])
    arguments = ["--model", str(tiny_folder), "--input", "scene.png", "--frames", "4", "--size", "64x128", "--json", "out.json"]
    assert yolo_bench.main(arguments) == 0
    assert not Path("exported_openvino_model").exists()
    file, *_ = {file for file, _, _ in YOLO.seen}
    assert file.endswith("exported_openvino_model")
    assert [(size, scene) for _, size, scene in YOLO.seen] == [((64, 128), False)] + [((64, 128), True)] * (10 + 4)
    rows = json.loads(Path("out.json").read_text())["rows"]
    assert (rows["panoptic_ros"]["objects"], rows["ultralytics"]["objects"]) == (2, 2)
    assert {stage: times["p50"] for stage, times in rows["ultralytics"]["stages"].items()} == SPEED
    ours = rows["panoptic_ros"]
    assert 0 < ours["stages"]["engine"]["p50"] < ours["ms"]["p50"] and rows["ultralytics"]["ms"]["p50"] > 0
    assert "tiny, openvino fp32" in ours["what"] and "yolo11n-seg.yaml, openvino" in rows["ultralytics"]["what"]
    assert "\nultralytics / panoptic_ros, p50: " in capsys.readouterr().out


def test_opencv_keeps_its_threads(ultralytics: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ultralytics takes them when it is imported."""
    before = cv2.getNumThreads()

    class Greedy(ModuleType):
        @property
        def YOLO(self) -> type:
            cv2.setNumThreads(0)
            return YOLO

    monkeypatch.setitem(sys.modules, "ultralytics", Greedy("ultralytics"))
    cv2.setNumThreads(2)
    try:
        yolo_bench.Yolo("yolo11n-seg.yaml", (64, 128))
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


def test_without_ultralytics_it_says_what_to_install(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    assert yolo_bench.main(["--model", str(tiny_folder)]) == 2
    assert "run `pip install ultralytics`" in capsys.readouterr().err
