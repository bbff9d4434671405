"""The pictures of the evaluation's page: what is found has one colour, what is not is outlined in red."""

import base64
from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic_ros.core import Label
from training.metrics import pictures
from training.metrics.frame_quality import Pair
from training.metrics.panoptic_quality import Truth
from training.metrics.pictures import DARK, OPACITY, RED, WHITE, WIDTH, tinted

ROAD, CAR = 7, 26
LABELS = (Label(ROAD, "road", False, (128, 64, 128)), Label(CAR, "car", True, (0, 0, 142)))


def test_borders_are_white_wrong_segments_red_and_void_dark() -> None:
    ids = np.zeros((10, 30), int)
    ids[:, :10], ids[:, 10:20] = 1, 2
    picture = tinted(np.zeros((10, 30, 3), np.uint8), ids, {1: (100, 0, 0), 2: (0, 100, 0)}, {2})
    shade = [round(OPACITY * 100), 0, 0]
    assert picture[5, [0, 5, 14]].tolist() == [shade, shade, shade[1::-1] + [0]]
    assert {tuple(color) for color in picture[:, [9, 10, 19, 20]].reshape(-1, 3).tolist()} == {RED}
    assert picture[5, 25].tolist() == pytest.approx([OPACITY * channel for channel in DARK], abs=1)
    right = tinted(np.zeros((10, 30, 3), np.uint8), ids, {1: (100, 0, 0), 2: (0, 100, 0)}, set())
    assert right[5, [9, 10]].tolist() == [list(WHITE)] * 2
    assert right[5, 19].tolist() == shade[1::-1] + [0]  # no line around void


def decoded(uri: str) -> np.ndarray:
    data = np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


def test_a_found_car_has_the_colour_of_the_true_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two cars side by side; the second is found, under another id, the first is not."""
    monkeypatch.setattr(pictures, "data_uri", lambda picture: picture)
    file = tmp_path / "frame.png"
    cv2.imwrite(str(file), np.zeros((20, 60, 3), np.uint8))
    truth, guess = np.full((20, 60), 1), np.full((20, 60), 9)
    truth[:, 25:40], truth[:, 40:] = 3, 4
    guess[:, 40:] = 5
    found = pictures.pictures(
        Pair("frame", truth, {1: Truth(ROAD), 3: Truth(CAR), 4: Truth(CAR)}, guess, {5: CAR, 9: ROAD}, image=file), LABELS
    )
    assert list(found) == ["image", "truth", "prediction"]
    assert found["truth"][10, 50].tolist() == found["prediction"][10, 50].tolist()
    assert found["truth"][10, 30].tolist() != found["truth"][10, 50].tolist()
    assert found["truth"][10, 25].tolist() == list(RED)  # the first car is missed
    assert not (found["prediction"] == RED).all(axis=2).any()  # the road is found, with IoU 25 / 40


def test_a_large_image_is_shrunk() -> None:
    ids = np.ones((500, 2 * WIDTH), int)
    pair = Pair("large", ids, {1: Truth(ROAD)}, ids, {1: ROAD})
    assert {name: decoded(uri).shape for name, uri in pictures.pictures(pair, LABELS).items()} == {
        "truth": (250, WIDTH, 3), "prediction": (250, WIDTH, 3)
    }  # fmt: skip
