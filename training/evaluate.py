"""Panoptic quality of files from any system, or of an engine run as the robot runs it; with --tracking also of its identities.

python -m training.evaluate --ground-truth GT.json --predictions PRED.json
python -m training.evaluate --engine hle_mnv2 --data street:val --tracking
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from tqdm import tqdm

from panoptic_ros import coco
from panoptic_ros.commands.model_arguments import add_model_arguments, open_model
from panoptic_ros.core import Engine, Label, PanopticError, Slots
from panoptic_ros.manifest import Manifest
from panoptic_ros.pipeline import Pipeline
from panoptic_ros.tracker import Tracker, TrackerSettings
from training.data.frames import TrueFrame, locate, read_frames, read_pair, truth_of
from training.metrics import report
from training.metrics.panoptic_quality import PanopticQuality
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
    if args.tracking and not args.model:
        parser.error("--tracking needs --engine and --data")
    try:
        result = evaluate_files(args.ground_truth, args.predictions) if args.predictions else evaluate_model(args)
        print(report.table(result))
        if args.json:
            report.write(args.json, result)
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
    parser.add_argument("--data", metavar="DATASET:SPLIT", help="street:val, or PATH:SPLIT of a folder in COCO panoptic layout")
    parser.add_argument("--tracking", action="store_true", help="IDF1, HOTA and STQ too, with embeddings and without")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the scores there")
    add_model_arguments(parser, "--engine", default=None)
    return parser


def evaluate_files(truth_json: Path, predicted_json: Path) -> dict:
    """PQ of COCO panoptic predictions, by the rules of panopticapi. Raises PanopticError for what is missing or inconsistent."""
    truth, predicted = coco.read_json(truth_json), coco.read_json(predicted_json)
    labels = coco.labels_of(truth)
    quality = PanopticQuality(labels)
    of_image = {annotation["image_id"]: annotation for annotation in predicted["annotations"]}
    for true in tqdm(truth["annotations"], unit="image", disable=None):
        if true["image_id"] not in of_image:
            raise PanopticError(f"{predicted_json} has no prediction for image {true['image_id']} ({true['file_name']})")
        guess = of_image[true["image_id"]]
        true_ids = coco.read_ids(truth_json.with_suffix("") / true["file_name"])
        categories = {i: t.category for i, t in truth_of(guess, labels, predicted_json).items()}
        guessed_ids = _guessed_ids(predicted_json.with_suffix("") / guess["file_name"], categories, true_ids.shape)
        quality.add(true_ids, truth_of(true, labels, truth_json), guessed_ids, categories)
    return {
        "ground_truth": str(truth_json), "predictions": str(predicted_json), "images": len(truth["annotations"]),
        "quality": {PER_FRAME: report.panoptic(quality)},
    }  # fmt: skip


def _guessed_ids(file: Path, categories: dict[int, int], shape: tuple[int, ...]) -> np.ndarray:
    """(H, W) ids of a predicted PNG. Raises PanopticError unless it has the shape and exactly the ids of its JSON."""
    ids = coco.read_ids(file)
    if ids.shape != shape:
        raise PanopticError(f"{file} is {ids.shape}, the ground truth of its image {shape}")
    present = set(np.unique(ids).tolist()) - {0}
    if present != set(categories):
        absent, unknown = sorted(set(categories) - present), sorted(present - set(categories))
        raise PanopticError(f"{file} does not fit its JSON: ids {absent} have no pixels, ids {unknown} are not in segments_info")
    return ids


def evaluate_model(args: argparse.Namespace) -> dict:
    """What `arguments_parser` asks for. Raises PanopticError if model and data set do not exist or do not fit."""
    root, split = locate(args.data)
    labels, frames = read_frames(root, split)
    model, engine = open_model(args)
    check_labels(model, labels, args.data)
    if args.tracking and not all(frame.sequence for frame in frames):
        raise PanopticError(f"{args.data} has images without a sequence: --tracking needs `sequence` and `frame` for each image")
    scores = evaluate_engine(engine, model, labels, frames, TRACKERS if args.tracking else {})
    ran = {"model": model.model, "engine": engine.description, "size": list(model.size), "data": args.data, "images": len(frames)}
    return ran | scores


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
    """PQ of an engine in the robot's pipeline without a tracker, and of each tracker PQ and the quality of its identities.

    frames: those of a sequence follow each other; each sequence starts with fresh trackers.
    """
    shared = OncePerFrame(engine)
    quality = {name: PanopticQuality(labels) for name in (PER_FRAME, *trackers)}
    video = {name: VideoQuality(labels) for name in trackers}
    progress = tqdm(frames, unit="image", disable=None)
    for sequence, group in groupby(progress, key=lambda frame: frame.sequence or ""):
        pipelines = {name: Pipeline(shared, model, Tracker(model.labels, settings)) for name, settings in trackers.items()}
        pipelines[PER_FRAME] = Pipeline(shared, model)
        for frame in group:
            image, true_ids = read_pair(frame.image, frame.ids)
            shared.forget()
            for name, pipeline in pipelines.items():
                panoptic = pipeline(image, frame.stamp_ns)
                quality[name].add(true_ids, frame.truth, panoptic.ids, {s.id: s.category for s in panoptic.segments})
                if name in video:
                    video[name].add(sequence, true_ids, frame.truth, panoptic)
    return {
        "quality": {name: report.panoptic(q) for name, q in quality.items()},
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
