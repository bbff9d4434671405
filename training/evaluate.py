"""Panoptic quality of files from any system, or of an engine run as the robot runs it; with --tracking also of its identities.

python -m training.evaluate --ground-truth GT.json --predictions PRED.json [--images FOLDER] [--html REPORT.html]
python -m training.evaluate --engine hle_mnv2 --data street:val --tracking [--json SCORES.json]
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from tqdm import tqdm

from panoptic_ros.commands.model_arguments import add_model_arguments, open_model
from panoptic_ros.core import Engine, Label, PanopticError, Slots
from panoptic_ros.manifest import Manifest
from panoptic_ros.pipeline import Pipeline
from panoptic_ros.tracker import Tracker, TrackerSettings
from training.data.frames import TrueFrame, locate, read_frames, read_pair
from training.metrics import page, report
from training.metrics.files import check_known, read_pairs
from training.metrics.frame_quality import FrameQuality, Pair
from training.metrics.video import VideoQuality

PER_FRAME = "per frame"

TRACKERS = {"tracked": TrackerSettings(), "tracked, no embeddings": TrackerSettings(use_embeddings=False)}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status. A PanopticError becomes one line on stderr and status 2."""
    parser = arguments_parser()
    args = parser.parse_args(arguments)
    given = [bool(value) for value in (args.ground_truth, args.predictions, args.model, args.data)]
    if given not in ([True, True, False, False], [False, False, True, True]):
        parser.error("give either --ground-truth and --predictions, or --engine and --data")
    if args.frames is not None and args.frames < 1:
        parser.error(f"--frames is {args.frames}; expected a number from 1 up")
    if args.tracking and not args.model:
        parser.error("--tracking needs --engine and --data")
    try:
        result, quality = evaluate_files(args) if args.predictions else evaluate_model(args)
        print(report.table(result))
        if args.json:
            report.write(args.json, result)
        if args.html:
            page.write(args.html, result, quality)
    except PanopticError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def arguments_parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="training.evaluate", description=__doc__, formatter_class=raw)
    parser.add_argument("--ground-truth", type=Path, metavar="GT.json", help="COCO panoptic JSON; its PNGs lie in the folder GT")
    parser.add_argument("--predictions", type=Path, metavar="PRED.json", help="the same of any system")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="pictures of the ground truth, for --html")
    parser.add_argument("--data", metavar="DATASET:SPLIT", help="street:val, or PATH:SPLIT of a folder in COCO panoptic layout")
    parser.add_argument("--frames", type=int, metavar="N", help="only the first N of --data")
    parser.add_argument("--tracking", action="store_true", help="IDF1, HOTA, STQ and VPQ too, with embeddings and without")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the scores there")
    parser.add_argument("--html", type=Path, metavar="OUT", help="write a page with everything there, in one file")
    add_model_arguments(parser, "--engine", default=None)
    return parser


def evaluate_files(args: argparse.Namespace) -> tuple[dict, FrameQuality]:
    """Scores of COCO panoptic predictions. Raises PanopticError for what is missing or inconsistent."""
    if args.images and not os.path.isdir(args.images):
        raise PanopticError(f"--images {args.images} is no folder")
    labels, pairs = read_pairs(args.ground_truth, args.predictions, args.images)
    quality, images = FrameQuality(labels), 0
    for pair in tqdm(pairs, unit="image", disable=None):
        quality.add(pair)
        images += 1
    ran = {"ground_truth": str(args.ground_truth), "predictions": str(args.predictions), "images": images}
    return ran | {"quality": {PER_FRAME: report.frames(quality)}}, quality


def evaluate_model(args: argparse.Namespace) -> tuple[dict, FrameQuality]:
    """What `arguments_parser` asks for. Raises PanopticError if model and data set do not exist or do not fit."""
    root, split = locate(args.data)
    labels, frames = read_frames(root, split)
    frames = frames[: args.frames]
    model, engine = open_model(args)
    check_labels(model, labels, args.data)
    if args.tracking and not all(frame.sequence for frame in frames):
        raise PanopticError(f"{args.data} has images without a sequence: --tracking needs `sequence` and `frame` for each image")
    quality, video = run_engine(engine, model, labels, frames, TRACKERS if args.tracking else {})
    ran = {
        "model": model.model, "sha256": hashlib.sha256(model.onnx.read_bytes()).hexdigest(), "engine": engine.description,
        "size": list(model.size), "data": args.data, "images": len(frames),
    }  # fmt: skip
    return ran | _scores(quality, video), quality


def check_labels(model: Manifest, labels: tuple[Label, ...], dataset: str) -> None:
    """Raises PanopticError if the model has a class that the data set lacks or calls otherwise."""
    known = {label.id: (label.name, label.thing) for label in labels}
    odd = [f"{label.id} {label.name}" for label in model.labels if known.get(label.id) != (label.name, label.thing)]
    if odd:
        names = ", ".join(f"{i} {name}" for i, (name, _) in known.items())
        raise PanopticError(f"model {model.model} has labels that {dataset} does not: {', '.join(odd)}; its labels are {names}")


def evaluate_engine(
    engine: Engine, model: Manifest, labels: tuple[Label, ...], frames: Iterable[TrueFrame], trackers: dict[str, TrackerSettings]
) -> dict:
    """The scores of `run_engine`: `quality` of the single frames, without a tracker and with each, and `tracking`."""
    return _scores(*run_engine(engine, model, labels, frames, trackers))


def run_engine(
    engine: Engine, model: Manifest, labels: tuple[Label, ...], frames: Iterable[TrueFrame], trackers: dict[str, TrackerSettings]
) -> tuple[FrameQuality, dict[str, VideoQuality]]:
    """An engine in the robot's pipeline: its frames without a tracker, and its video with each tracker.

    frames: those of a sequence follow each other; each sequence starts with fresh trackers.
    """
    shared = OncePerFrame(engine)
    quality, video = FrameQuality(labels), {name: VideoQuality(labels) for name in trackers}
    alone = Pipeline(shared, model)
    progress = tqdm(frames, unit="image", disable=None)
    for sequence, group in groupby(progress, key=lambda frame: frame.sequence or ""):
        pipelines = {name: Pipeline(shared, model, Tracker(model.labels, settings)) for name, settings in trackers.items()}
        for frame in group:
            image, true_ids = read_pair(frame.image, frame.ids)
            truth = dict(frame.truth)
            check_known(true_ids, truth.keys(), frame.ids)
            shared.forget()
            found = alone(image, frame.stamp_ns)
            categories, scores = {s.id: s.category for s in found.segments}, {s.id: s.score for s in found.segments}
            pair = frame.image.name, true_ids, truth, found.ids, categories, scores, frame.sequence, frame.image
            quality.add(Pair(*pair))
            for name, pipeline in pipelines.items():
                video[name].add(sequence, true_ids, truth, pipeline(image, frame.stamp_ns))
    return quality, video


def _scores(quality: FrameQuality, video: dict[str, VideoQuality]) -> dict:
    tracked = {name: report.panoptic(v.panoptic) for name, v in video.items()}
    return {
        "quality": {PER_FRAME: report.frames(quality)} | tracked,
        "tracking": {name: report.tracking(v) for name, v in video.items()},
    }


class OncePerFrame:
    """An engine for several pipelines that get the same frames: it runs once a frame."""

    def __init__(self, engine: Engine) -> None:
        self.size, self.description = engine.size, engine.description
        self._engine = engine
        self._slots: Slots | None = None

    def forget(self) -> None:
        """The next image is another one."""
        self._slots = None

    def run(self, image: np.ndarray) -> Slots:
        """See `core.Engine`."""
        if self._slots is None:
            self._slots = self._engine.run(image)
        return self._slots

    def run_network_only(self, image: np.ndarray) -> None:
        """See `core.Engine`."""
        self._engine.run_network_only(image)


if __name__ == "__main__":
    sys.exit(main())
