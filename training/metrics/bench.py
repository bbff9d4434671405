"""How fast PQ is computed, against an implementation that compares segment by segment, on made-up maps of 1024x2048.

python -m training.metrics.bench [--images 100] [--size 1024x2048] [--things 40] [--json OUT]
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
from tqdm import tqdm

from panoptic_ros.commands.model_arguments import size
from panoptic_ros.core import Label, PanopticError
from training.metrics import report
from training.metrics.frame_quality import Pair
from training.metrics.panoptic_quality import PanopticQuality, Tally, Truth

STUFF, CLASSES = 6, 14
"""Classes 1 to 6 are stuff, 7 to 14 things."""

LABELS = tuple(Label(i, f"class {i}", i > STUFF, (0, 0, 0)) for i in range(1, CLASSES + 1))


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 if the two implementations disagree."""
    parser = argparse.ArgumentParser(prog="python -m training.metrics.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100, help="(default: %(default)s)")
    parser.add_argument("--size", type=size, default=(1024, 2048), metavar="HxW", help="(default: 1024x2048)")
    parser.add_argument("--things", type=int, default=40, help="in each image (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the times there")
    args = parser.parse_args(arguments)
    if min(args.images, args.things, *args.size) < 1:
        parser.error("--images, --things and --size need numbers from 1 up")
    result = measure(args.images, args.size, args.things)
    height, width = args.size
    print(f"{args.images} images of {height}x{width}, {result['segments']:.1f} true segments each, milliseconds an image")
    print(
        f"one pass {result['one_pass_ms']:.1f}, segment by segment {result['segment_by_segment_ms']:.1f}: {result['ratio']:.1f}x"
    )
    print("the results are equal" if result["equal"] else "THE RESULTS DIFFER")
    try:
        if args.json:
            report.write(args.json, result)
    except PanopticError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if result["equal"] else 1


def measure(images: int, size: tuple[int, int], things: int) -> dict:
    """Mean time of each implementation for an image in memory, and whether their tallies are equal."""
    quality, slow = PanopticQuality(LABELS), {label.id: Tally() for label in LABELS}
    seconds, slow_seconds, segments = 0.0, 0.0, 0
    for number in tqdm(range(images), unit="image", disable=None):
        pair = make_pair(number, size, things)
        segments += len(pair.truth)
        seconds += timed(lambda: quality.add(pair.truth_ids, pair.truth, pair.predicted_ids, pair.predicted))
        slow_seconds += timed(lambda: segment_by_segment(slow, pair))
    return {
        "images": images, "size": list(size), "segments": segments / images,
        "one_pass_ms": 1e3 * seconds / images, "segment_by_segment_ms": 1e3 * slow_seconds / images,
        "ratio": slow_seconds / seconds, "equal": equal(quality.tallies, slow),
    }  # fmt: skip


def timed(work: Callable[[], None]) -> float:
    """Seconds."""
    start = perf_counter()
    work()
    return perf_counter() - start


def equal(first: dict[int, Tally], second: dict[int, Tally]) -> bool:
    """The same counts, and IoUs that differ by no more than the order of summation."""
    return all(
        (a.tp, a.fp, a.fn) == (b.tp, b.fp, b.fn) and abs(a.iou - b.iou) <= 1e-9 * max(a.tp, 1)
        for a, b in ((first[i], second[i]) for i in first)
    )


def segment_by_segment(tallies: dict[int, Tally], pair: Pair) -> None:
    """PQ as its definition reads: a mask for each segment, made once, and the IoU of each two masks of one class. No crowds."""
    true_masks = {t: pair.truth_ids == t for t in pair.truth}
    known, found = pair.truth_ids > 0, set()
    for p, category in pair.predicted.items():
        mask, hit = pair.predicted_ids == p, False
        for t, true_mask in true_masks.items():
            if pair.truth[t].category == category:
                both = np.count_nonzero(mask & true_mask)
                iou = both / np.count_nonzero(mask & known | true_mask)
                if iou > 0.5:
                    tallies[category].tp, tallies[category].iou, hit = tallies[category].tp + 1, tallies[category].iou + iou, True
                    found.add(t)
        if not hit:
            tallies[category].fp += 2 * np.count_nonzero(mask & ~known) <= np.count_nonzero(mask)
    for t in pair.truth.keys() - found:
        tallies[pair.truth[t].category].fn += 1


def make_pair(seed: int, size: tuple[int, int], things: int) -> Pair:
    """A street of wavy bands with ellipses on it, and a prediction whose ellipses are off, missing or of another class."""
    rng = np.random.default_rng(seed)
    height, width = size
    edges = np.sort(rng.uniform(0, height, STUFF - 1))[:, None] + rng.normal(0, 2, (STUFF - 1, width)).cumsum(axis=1)
    places = rng.uniform((0, 0), (width, height), (things, 2))
    radii = np.maximum(rng.lognormal(np.log(height / 20), 0.7, (things, 2)), 1)
    classes = rng.integers(STUFF + 1, CLASSES + 1, things)
    seen = np.where(rng.random(things) < 0.1, rng.integers(STUFF + 1, CLASSES + 1, things), classes)
    off = rng.normal(0, 0.15, (things, 2)) * radii
    truth_ids, truth = draw(size, edges, places, radii, classes)
    kept = rng.random(things) > 0.15
    shaken = edges + rng.normal(0, height / 100, (STUFF - 1, width))
    predicted_ids, predicted = draw(size, shaken, (places + off)[kept], radii[kept], seen[kept])
    truth_ids[: height // 20] = 0  # void
    truth = {t: Truth(truth[t]) for t in np.unique(truth_ids).tolist() if t}
    return Pair(str(seed), truth_ids, truth, predicted_ids, predicted)


def draw(
    size: tuple[int, int], edges: np.ndarray, places: np.ndarray, radii: np.ndarray, classes: np.ndarray
) -> tuple[np.ndarray, dict[int, int]]:
    """(H, W) int32 ids and the category of each id that has pixels. edges: (STUFF - 1, W) rows where bands end."""
    ids = (1 + (np.arange(size[0])[:, None, None] > edges.T).sum(axis=2)).astype(np.int32)
    for number, (place, radius) in enumerate(zip(places, radii)):
        centre, axes = tuple(place.astype(int).tolist()), tuple(radius.astype(int).tolist())
        cv2.ellipse(ids, centre, axes, 30.0 * number, 0, 360, STUFF + 1 + number, cv2.FILLED)
    category = {i: i if i <= STUFF else int(classes[i - STUFF - 1]) for i in np.unique(ids).tolist()}
    return ids, category


if __name__ == "__main__":
    sys.exit(main())
