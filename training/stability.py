"""How stable embeddings are over time: one object with itself some frames later, against the others of its class there.

python -m training.stability --engine hle_mnv2 --data street:val --out out/stability
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # a plot file needs no display

import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

from panoptic_ros.commands.model_arguments import add_model_arguments, open_model
from panoptic_ros.core import Engine, Label, Panoptic, PanopticError
from panoptic_ros.manifest import Manifest
from panoptic_ros.pipeline import Pipeline
from training.data.frames import TrueFrame, locate, read_frames, read_pair
from training.evaluate import check_labels
from training.metrics import report
from training.metrics.overlap import iou_matrix
from training.metrics.panoptic_quality import Truth

GAPS = (1, 10, 30)
"""Frames apart."""

MATCH_IOU = 0.5
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class Objects:
    """The true things that were found in a frame: identity (N,), category (N,) and embedding (N, E) unit vectors."""

    identity: np.ndarray
    category: np.ndarray
    embedding: np.ndarray


@dataclass(frozen=True, slots=True)
class Similarity:
    """Cosines between the objects of a frame and those of a later one.

    same: (N,) of the objects that are in both. others: (M,) of these with each other object of their class there.
    margin: (R,) same minus the most similar other, of the objects for which there is one; above 0 the object ranks first.
    """

    same: np.ndarray
    others: np.ndarray
    margin: np.ndarray


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status. A PanopticError becomes one line on stderr and status 2."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="training.stability", description=__doc__, formatter_class=raw)
    parser.add_argument("--data", required=True, metavar="DATASET:SPLIT", help="sequences, such as street:val")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="for stability.json and stability.png")
    add_model_arguments(parser, "--engine")
    args = parser.parse_args(arguments)
    try:
        run(args)
    except PanopticError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def run(args: argparse.Namespace) -> None:
    """Raises PanopticError if model and data set do not exist, do not fit or show no object twice."""
    labels, frames = read_frames(*locate(args.data))
    model, engine = open_model(args)
    check_labels(model, labels, args.data)
    similarities = measure(observe(engine, model, labels, frames))
    if not any(len(similarity.same) for similarity in similarities.values()):
        raise PanopticError(
            f"{model.model} finds no object of {args.data} in two frames that are {' or '.join(map(str, GAPS))} apart"
        )
    result = {"model": model.model, "data": args.data, "gaps": {str(gap): summary(s) for gap, s in similarities.items()}}
    report.write(args.out / "stability.json", result)
    plot(similarities, args.out / "stability.png", f"{model.model} on {args.data}")
    for gap, s in result["gaps"].items():
        print(f"{gap:>3} frames apart: same {_text(s['same'])}, others {_text(s['others'])}, rank-1 {_percent(s['rank1'])}")


def observe(engine: Engine, model: Manifest, labels: tuple[Label, ...], frames: Iterable[TrueFrame]) -> list[list[Objects]]:
    """The objects of each frame of each sequence, as the engine sees them."""
    things = {label.id for label in labels if label.thing}
    pipeline = Pipeline(engine, model)
    videos: list[list[Objects]] = []
    progress = tqdm(frames, unit="image", disable=None)
    for _, group in groupby(progress, key=lambda frame: frame.sequence or str(frame.image)):
        videos.append([])
        for frame in group:
            image, true_ids = read_pair(frame.image, frame.ids)
            truth = {i: t for i, t in frame.truth.items() if t.category in things and not t.crowd}
            videos[-1].append(found(true_ids, truth, pipeline(image, frame.stamp_ns)))
    return videos


def found(true_ids: np.ndarray, truth: dict[int, Truth], predicted: Panoptic) -> Objects:
    """The true segments that a predicted one covers with IoU > 0.5, with its embedding. true_ids: (H, W) int."""
    segments = [s for s in predicted.segments if np.isfinite(s.embedding).all()]
    identity = np.array(sorted(truth), np.int64)
    iou = iou_matrix(true_ids, predicted.ids, identity, np.array([s.id for s in segments], np.int64))
    rows, columns = np.nonzero(iou > MATCH_IOU)  # at most one for each row and column
    category = np.array([truth[i].category for i in identity[rows].tolist()], np.int64)
    embedding = np.array([segments[c].embedding for c in columns], np.float64)
    return Objects(identity[rows], category, embedding)


def measure(videos: list[list[Objects]], gaps: Sequence[int] = GAPS) -> dict[int, Similarity]:
    """For each gap, over all pairs of frames of a video that are that many frames apart."""
    result = {}
    for gap in gaps:
        pairs = [compare(early, late) for video in videos for early, late in zip(video, video[gap:])]
        parts = ([getattr(pair, name) for pair in pairs] for name in Similarity.__slots__)
        result[gap] = Similarity(*(np.concatenate([np.zeros(0), *part]) for part in parts))
    return result


def compare(early: Objects, late: Objects) -> Similarity:
    """Of the objects of one frame with those of a later one."""
    if not (len(early.identity) and len(late.identity)):
        return Similarity(np.zeros(0), np.zeros(0), np.zeros(0))
    rows, columns = np.nonzero(early.identity[:, None] == late.identity)
    cosine = early.embedding[rows] @ late.embedding.T  # (N, late objects)
    own = cosine[np.arange(len(rows)), columns]
    other = (early.category[rows, None] == late.category) & (np.arange(len(late.identity)) != columns[:, None])
    rival = cosine.max(axis=1, initial=-np.inf, where=other)
    return Similarity(own, cosine[other], (own - rival)[other.any(axis=1)])


def summary(similarity: Similarity) -> dict:
    """Mean and quantiles of both kinds of cosine (None without any), and how often an object is most similar to itself."""
    ranked = similarity.margin
    return {
        "same": _distribution(similarity.same), "others": _distribution(similarity.others),
        "rank1": float((ranked > 0).mean()) if len(ranked) else None, "ranked": len(ranked),
    }  # fmt: skip


def _distribution(cosines: np.ndarray) -> dict | None:
    if not len(cosines):
        return None
    quantiles = {f"q{100 * q:g}": float(np.quantile(cosines, q)) for q in QUANTILES}
    return {"count": len(cosines), "mean": float(cosines.mean())} | quantiles


def plot(similarities: dict[int, Similarity], file: Path, title: str) -> None:
    """A histogram of both kinds of cosine for each gap."""
    size = 4.2 * len(similarities), 3.4
    figure, axes = plt.subplots(1, len(similarities), figsize=size, sharey=True, squeeze=False, layout="constrained")
    drawn = np.concatenate([cosines for s in similarities.values() for cosines in (s.same, s.others)])
    bins = np.linspace(drawn.min(initial=0), 1, 61)
    for axis, (gap, similarity) in zip(axes[0], similarities.items()):
        kinds = ("others of its class", similarity.others, "#c44e52"), ("the same object", similarity.same, "#4c72b0")
        for name, cosines, color in kinds:
            if len(cosines):
                label = f"{name}: {cosines.mean():.2f} ({len(cosines)})"
                axis.hist(cosines, bins, weights=np.full(len(cosines), 1 / len(cosines)), alpha=0.7, color=color, label=label)
        axis.set_title(f"{gap} frame{'s' * (gap > 1)} apart, rank-1 {_percent(summary(similarity)['rank1'])}", fontsize=10)
        axis.set_xlabel("cosine of the embeddings")
        if len(similarity.same):
            axis.legend(fontsize=8, loc="upper left")
    axes[0, 0].set_ylabel("share of pairs")
    figure.suptitle(f"Temporal stability: {title}")
    figure.savefig(file, dpi=120)
    plt.close(figure)


def _text(distribution: dict | None) -> str:
    return f"{distribution['mean']:.3f} (n={distribution['count']})" if distribution else "none"


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.1f}%"


if __name__ == "__main__":
    sys.exit(main())
