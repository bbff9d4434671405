"""Panoptic matching against all assignments, and the channel of each cell."""

from itertools import permutations

import pytest
import torch
from torch import Tensor

from tests.methods.scene import CAR, PERSON, ROAD, SKY, THINGS, draw
from training.methods.affinity.targets import channels, match, true_detections
from training.nets.detector import Detections
from training.nets.detector_targets import Truth, truth_of

CHANNEL_OF_CLASS = torch.tensor([0, -1, 1, -1])
"""Of `scene.LABELS`: road and sky are stuff."""


def iou(a: list[float], b: list[float]) -> float:
    both = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def detections(boxes: list[list[float]], category: list[int]) -> Detections:
    return Detections(torch.tensor(boxes).view(-1, 4).T, torch.linspace(1, 0.5, len(boxes)), torch.tensor(category).long())


def truth(boxes: list[list[float]], category: list[int]) -> Truth:
    """Only of objects: `match` looks at no map."""
    empty = torch.zeros(1, 1, 1)
    exists = torch.ones(1, len(boxes), dtype=torch.bool)
    return Truth(4, empty, empty, empty, torch.tensor(boxes).view(1, -1, 4), torch.tensor([category]).long(), exists)


def best_total(gain: list[list[float]], objects: int) -> float:
    """The largest sum of gains over all ways to give each object another detection or none."""
    candidates = [*range(len(gain)), *[-1] * objects]
    return max(sum(gain[d][k] for k, d in enumerate(order) if d >= 0) for order in set(permutations(candidates, objects)))


def random_boxes(count: int, generator: torch.Generator) -> list[list[float]]:
    corner = torch.rand(count, 2, generator=generator) * 6
    return torch.cat([corner, corner + 10 + torch.rand(count, 2, generator=generator) * 6], 1).tolist()


@pytest.mark.parametrize("seed", range(40))
def test_matching_is_the_best_of_all_assignments(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    found_count, count = (int(torch.randint(0, top, (), generator=generator)) for top in (5, 4))
    boxes, true = random_boxes(found_count, generator), random_boxes(count, generator)
    classes = [torch.randint(0, 2, (n,), generator=generator).tolist() for n in (found_count, count)]
    gain = [
        [iou(a, b) if ca == cb and iou(a, b) >= 0.5 else 0.0 for b, cb in zip(true, classes[1])]
        for a, ca in zip(boxes, classes[0])
    ]
    given = detections(boxes, classes[0])
    kept, owner = match(given, truth(true, classes[1]), 0, 0.5)
    index = [given.score.tolist().index(score) for score in kept.score.tolist()]  # scores tell detections apart
    pairs = [(index[d], k) for k, d in enumerate(owner.tolist()) if d >= 0]
    assert all(gain[d][k] >= 0.5 for d, k in pairs)
    assert sum(gain[d][k] for d, k in pairs) == pytest.approx(best_total(gain, count), abs=1e-5)
    matched = {d for d, _ in pairs}
    assert len(matched) == len(pairs)
    assert set(index) == matched | {d for d in range(found_count) if not any(gain[d])}  # strangers stay, duplicates go


def test_the_best_sum_may_leave_the_best_pair() -> None:
    """Object 0 fits detection 0 best, but detection 1 fits no other object."""
    true = [[0.0, 0, 10, 10], [0, 0, 10, 14]]
    kept, owner = match(detections([[0, 0, 10, 11], [0, 0, 10, 7]], [CAR, CAR]), truth(true, [CAR, CAR]), 0, 0.5)
    assert owner.tolist() == [1, 0] and len(kept.score) == 2


def test_a_duplicate_goes_and_another_class_stays() -> None:
    boxes = [[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10], [40, 40, 50, 50]]
    kept, owner = match(detections(boxes, [CAR, CAR, PERSON, CAR]), truth([[0, 0, 10, 10]], [CAR]), 0, 0.5)
    assert kept.box.T.tolist() == [boxes[0], boxes[2], boxes[3]] and kept.category.tolist() == [CAR, PERSON, CAR]
    assert owner.tolist() == [0]


@pytest.mark.parametrize(("found", "objects"), [(0, 2), (2, 0), (0, 0)])
def test_nothing_to_match(found: int, objects: int) -> None:
    boxes = [[0.0, 0, 10, 10], [20, 0, 30, 10]]
    kept, owner = match(detections(boxes[:found], [CAR] * found), truth(boxes[:objects], [CAR] * objects), 0, 0.5)
    assert owner.tolist() == [-1] * objects and len(kept.score) == found


SCENE = draw(
    """
    ssssssss
    ssAAABBB
    rrAAABBB
    rrrrNr..
    """
)


def maps() -> tuple[Tensor, Tensor]:
    return torch.from_numpy(SCENE.semantic), torch.from_numpy(SCENE.instance)


def test_channels_of_cells() -> None:
    """Car A is detection 1, the person detection 0, car B was not found."""
    owner = torch.tensor([1, -1, 0])
    found = channels(*maps(), owner, CHANNEL_OF_CLASS)
    letters = {"s": 1, "r": 0, "A": 3, "B": -1, "N": 2, ".": -1}
    rows = ["ssssssss", "ssAAABBB", "rrAAABBB", "rrrrNr.."]
    assert found.tolist() == [[letters[letter] for letter in row] for row in rows]


def test_channels_of_a_crowd_and_of_images_without_objects() -> None:
    """A thing without an instance is ignored."""
    semantic, instance = torch.tensor([[ROAD, SKY, CAR, -1]]), torch.full((1, 4), -1)
    found = channels(semantic, instance, torch.zeros(0, dtype=torch.long), CHANNEL_OF_CLASS)
    assert found.tolist() == [[0, 1, -1, -1]]


def test_true_detections_match_themselves() -> None:
    semantic, instance = (part.unsqueeze(0) for part in maps())
    whole = truth_of(semantic, instance, torch.tensor(THINGS), 4)
    kept, owner = match(true_detections(whole, 0), whole, 0, 0.5)
    assert owner.tolist() == [0, 1, 2] and kept.category.tolist() == [CAR, CAR, PERSON] and kept.score.tolist() == [1, 1, 1]
    assert kept.box.T.tolist() == [[8, 4, 20, 12], [20, 4, 32, 12], [16, 12, 20, 16]]
