"""Pictures of a training that has just begun: their names, sizes and true colours; and what TensorBoard reads back of a run."""

import json
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from panoptic_ros.core import Panoptic, Segment
from tests.data import tiny_dataset
from training import recipe as recipes
from training import train, validation
from training.data.frames import read_frames, read_pair
from training.pictures import pictures

HEAD = "stages: [{size: [64, 96], steps: 2, batch: 2}]\nengine_size: [64, 96]\nprecision: fp32\nmodel: tiny\n"
METHODS = {
    "hle": "settings: {network: {aspp_width: 8, skips: [[8, 4, 8], [2, 4, 8]], thomson: false}}\n",
    "dense": "settings: {network: {pyramid: 16, semantic_tower: 16, location_tower: 16, depth: 1, merge: 4}}\n",
    "affinity": "settings: {network: {pyramid: 16, tower: 16, depth: 1, subnet: 8, subnet_depth: 1, affinity: 16}}\n",
    "amwc": "settings: {network: {aspp_width: 8, semantic_skips: [[4, 4, 8]], affinity_skips: [[4, 4, 8]], distances: [1, 4],"
    " joined: 8, embedding: 4}}\n",
}
OWN = {
    "hle": {**{f"embedding_{n}": (32, 48, 3) for n in range(4)}, "seed": (32, 48, 3)},
    "dense": {"levelness": (16, 24, 3)},
    "affinity": {"affinity": (16, 24, 3)},
    "amwc": {"cut_1": (16, 24, 3), "cut_4": (16, 24, 3)},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tiny_dataset.write(tmp_path / "data")


def recipe_file(method: str, folder: Path) -> str:
    file = folder / f"{method}.yaml"
    file.write_text(HEAD + f"method: {method}\n" + METHODS[method])
    return str(file)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_shows_what_is_its_own(method: str, root: Path, tmp_path: Path) -> None:
    labels, frames = read_frames(root, "train")
    trainer = train.Trainer(recipes.load(recipe_file(method, tmp_path), [f"data.root={root}"]), labels)
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    found = pictures(trainer, frames[:1])
    own = {f"0/{name}": shape for name, shape in OWN[method].items()}
    assert {name: picture.shape for name, picture in found.items()} == {"0/true": (64, 96, 3), "0/found": (64, 96, 3)} | own
    assert all(picture.dtype == np.uint8 for picture in found.values())
    assert all((value == before[name]).all() for name, value in trainer.network.state_dict().items())
    assert all(picture.max() > picture.min() for picture in found.values())
    true = found["0/true"]
    assert len({tuple(true[y, x]) for y, x in ((60, 50), (10, 50), (30, 14), (30, 30), (35, 80))}) == 5
    np.testing.assert_array_equal(true[4, 4], [0, 0, 0])  # void stays as the image is


def test_tensorboard_reads_the_curves_and_pictures_of_a_run(root: Path, tmp_path: Path) -> None:
    arguments = [recipe_file("hle", tmp_path), f"data.root={root}", "--out", str(tmp_path / "out"), "--workers", "0"]
    assert train.main([*arguments, "--log-every", "1", "--picture-every", "2", "--validate-every", "1"]) == 0
    board = EventAccumulator(str(tmp_path / "out" / "tensorboard"))
    board.Reload()
    assert [event.step for event in board.Scalars("train/loss")] == [1, 2]
    assert "train/lr" in board.Tags()["scalars"]
    assert [event.step for event in board.Images("1/embedding_0")] == [2]
    assert [event.step for event in board.Scalars("val/pq")] == [1, 2]
    lines = [json.loads(line) for line in (tmp_path / "out" / "val.jsonl").read_text().splitlines()]
    assert [sorted(line) for line in lines] == [["pq", "pq_stuff", "pq_things", "step"]] * 2
    assert [line["step"] for line in lines] == [1, 2] and all(0 <= line["pq"] < 1 for line in lines)


def test_a_network_that_is_right_has_quality_one(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipeline is replaced by one that knows the true segments; crowds count neither way."""
    labels, frames = read_frames(root, "train")
    trainer = train.Trainer(recipes.load(recipe_file("hle", tmp_path), [f"data.root={root}"]), labels)
    answers = iter(frames)

    def know(image: np.ndarray, stamp_ns: int) -> Panoptic:
        frame = next(answers)
        segments = [Segment(i, t.category, 1.0, 1, (0, 0, 1, 1), np.ones(1)) for i, t in frame.truth.items() if not t.crowd]
        ids = read_pair(frame.image, frame.ids)[1]
        return Panoptic(np.where(ids == 3, 0, ids), tuple(segments), stamp_ns)

    monkeypatch.setattr(validation, "averaged", lambda _: (None, know))
    assert validation.quality(trainer, frames) == {"pq": 1.0, "pq_things": 1.0, "pq_stuff": 1.0}


def test_frames_are_spread_evenly() -> None:
    assert validation.spread(list("abcdefgh"), 4) == list("aceg")
    assert validation.spread(list("abc"), 5) == list("abc")
