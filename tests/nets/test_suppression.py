"""Suppression inside the graph against plain greedy suppression, which looks at one box after the other."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.nets.exported import runtimes
from training.nets.detector import suppress

THRESHOLD = 0.6


def greedy(box: np.ndarray, category: np.ndarray, valid: np.ndarray, picks: int) -> list[int]:
    """Indices that stay, in order. box: (M,4) integers, the surest first. IoU is compared without rounding: 5 I > 3 U."""
    kept: list[int] = []
    for i in np.flatnonzero(valid):
        if len(kept) < picks and not any(category[i] == category[j] and overlaps(box[i], box[j]) for j in kept):
            kept.append(int(i))
    return kept


def overlaps(a: np.ndarray, b: np.ndarray) -> bool:
    width, height = (min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1))
    both = int(max(width, 0) * max(height, 0))
    areas = sum(int((c[2] - c[0]) * (c[3] - c[1])) for c in (a, b))
    return 5 * both > 3 * (areas - both)


def found(box: np.ndarray, category: np.ndarray, valid: np.ndarray, picks: int) -> list[int]:
    kept, order = suppress(torch.from_numpy(box.T).float(), torch.from_numpy(category), torch.from_numpy(valid), THRESHOLD, picks)
    assert kept.shape == order.shape == (picks,)
    assert not (kept[1:] & ~kept[:-1]).any()  # what stays comes first
    return order[kept].tolist()


def row(x: np.ndarray, width: int = 12) -> np.ndarray:
    """Boxes of one size at these positions; 3 apart they overlap by exactly 9/15, which is not above the threshold."""
    return np.stack([x, np.zeros_like(x), x + width, np.full_like(x, 10)], 1)


def random_set(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes jittered around a few objects on a coarse lattice, so that many coincide, some invalid, of up to three classes."""
    count = int(rng.integers(1, 25))
    objects = rng.integers(0, 40, (4, 2))
    corner = objects[rng.integers(0, 4, count)] + rng.integers(0, int(rng.choice([2, 6, 30])), (count, 2))
    size = rng.integers(1, int(rng.choice([3, 12, 30])), (count, 2)) + rng.integers(1, 20)
    return np.concatenate([corner, corner + size], 1), rng.integers(0, int(rng.choice([1, 3])), count), rng.random(count) < 0.9


@pytest.mark.parametrize("seed", range(10))
def test_random_boxes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    suppressed = 0
    for _ in range(300):
        box, category, valid = random_set(rng)
        picks = int(rng.integers(1, len(box) + 1))
        expected = greedy(box, category, valid, picks)
        assert found(box, category, valid, picks) == expected
        suppressed += int(valid.sum()) - len(expected)
    assert suppressed > 300  # or the sets would say little


@pytest.mark.parametrize("length", [1, 2, 3, 10, 199, 200, 201, 402])
def test_chains_of_any_depth(length: int) -> None:
    """Each box overlaps the next one only, so every second one stays; a fixed-point iteration needs a round for each."""
    box = row(2 * np.arange(length))
    category, valid = np.zeros(length, int), np.ones(length, bool)
    assert found(box, category, valid, 100 if length > 100 else length) == list(range(0, length, 2))[:100]


@pytest.mark.parametrize("seed", range(30))
def test_chains_in_any_order_of_scores(seed: int) -> None:
    rng = np.random.default_rng(seed)
    box = row(rng.permutation(2 * np.arange(60)))
    category, valid = np.zeros(60, int), np.ones(60, bool)
    assert found(box, category, valid, 40) == greedy(box, category, valid, 40)


ADVERSARIAL = {
    "identical": (row(np.zeros(30, int)), np.zeros(30, int), [0]),
    "identical, two classes in turn": (row(np.zeros(30, int)), np.arange(30) % 2, [0, 1]),
    "exactly at the threshold": (row(3 * np.arange(8)), np.zeros(8, int), list(range(8))),
    "just above it": (row(2 * np.arange(8)), np.zeros(8, int), [0, 2, 4, 6]),
    "touching": (row(12 * np.arange(5)), np.zeros(5, int), [0, 1, 2, 3, 4]),
    "one in another": (np.array([[0, 0, 100, 100], [10, 10, 20, 20], [1, 1, 99, 99]]), np.zeros(3, int), [0, 1]),
    "a chain within one class and not the other": (row(2 * np.arange(6)), np.array([0, 1, 0, 0, 1, 0]), [0, 1, 2, 4, 5]),
}


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial_boxes(name: str) -> None:
    box, category, expected = ADVERSARIAL[name]
    valid = np.ones(len(box), bool)
    assert greedy(box, category, valid, len(box)) == expected
    assert found(box, category, valid, len(box)) == expected


def test_boxes_that_are_not_valid_suppress_nothing_and_are_not_picked() -> None:
    box, valid = row(np.array([0, 1, 2])), np.array([False, True, True])
    assert found(box, np.zeros(3, int), valid, 3) == [1]
    assert found(box, np.zeros(3, int), np.zeros(3, bool), 3) == []


@pytest.mark.parametrize("picks", [3, 24])
def test_exported_suppression_is_greedy_too(picks: int, tmp_path: Path) -> None:
    """In both runtimes: random sets of up to 24 boxes, and chains."""
    rng = np.random.default_rng(picks)
    sets = [random_set(rng) for _ in range(300)]
    sets += [(row(2 * rng.permutation(24)), np.zeros(24, int), np.ones(24, bool)) for _ in range(20)]
    parts = [np.zeros((len(sets), 24, 4), np.float32), np.zeros((len(sets), 24), int), np.zeros((len(sets), 24), bool)]
    for number, boxes in enumerate(sets):
        for part, values in zip(parts, boxes):
            part[number, : len(values)] = values

    def call(box: Tensor, category: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        return suppress(box.T, category, valid, THRESHOLD, picks)

    for run in runtimes(call, tuple(map(torch.from_numpy, parts)), tmp_path).values():
        for number, boxes in enumerate(sets):
            kept, order = run(number)
            assert order[kept].tolist() == greedy(*boxes, picks)
