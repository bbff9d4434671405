"""A model here and YOLO11n-seg of ultralytics, whole pipelines side by side on this machine at one input size.

    pip install ultralytics
    python -m training.yolo_bench --size 512x1024 --precision int8+bf16 --json out/yolo.json

Ours is letterbox, engine, segments, tracker and label image: stuff, things and identities. Theirs is `YOLO.predict` on OpenVINO,
in the precision that it takes by itself: letterbox, network, NMS and masks of the things. `--yolo yolo11n-seg.pt` has trained
weights, which ultralytics downloads. By default they are random: the network takes as long, but nothing is found, so that NMS and
masks cost next to nothing, in favour of YOLO.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from panoptic_ros import images
from panoptic_ros.backends.openvino import CORE
from panoptic_ros.commands.bench_measure import FRAME_NS, WARM_UP, interleaved, summary, tracked
from panoptic_ros.commands.machine import describe_machine
from panoptic_ros.commands.model_arguments import add_model_arguments, open_model
from panoptic_ros.core import PanopticError
from panoptic_ros.pipeline import STAGES
from panoptic_ros.sources import STREET_CLIP
from panoptic_ros.variant import write_atomically

MAX_FRAMES = 64
OURS, THEIRS = "panoptic_ros", "ultralytics"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status. A PanopticError becomes one line on stderr and status 2."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m training.yolo_bench", description=__doc__, formatter_class=raw)
    add_model_arguments(parser)
    parser.add_argument("--yolo", default="yolo11n-seg.yaml", metavar="FILE", help="what YOLO opens (default: %(default)s)")
    parser.add_argument("--input", type=Path, default=STREET_CLIP, metavar="FILE", help="clip, image or folder")
    parser.add_argument("--frames", type=int, default=200, metavar="N", help="rounds to measure (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    args = parser.parse_args(arguments)
    try:
        report = compare(args)
        print(table(report))
        if args.json:
            write_atomically(args.json, (json.dumps(report, indent=1) + "\n").encode())
    except PanopticError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


class Yolo:
    """YOLO.predict on OpenVINO, exported for one size. speed_ms: of the last frame, by stage, as ultralytics measures it."""

    def __init__(self, file: str, size: tuple[int, int]) -> None:
        """Raises PanopticError where ultralytics is missing."""
        threads = cv2.getNumThreads()
        try:
            from ultralytics import YOLO  # an extra of this command alone
        except ImportError as error:
            raise PanopticError(f"ultralytics cannot be imported ({error}): run `pip install ultralytics`") from error
        cv2.setNumThreads(threads)  # it takes all but one from OpenCV, from ours too
        self._size = size
        with tempfile.TemporaryDirectory() as folder:
            exported = Path(shutil.move(YOLO(file).export(format="openvino", imgsz=size), folder))
            self.precision = _precision(exported)
            self._yolo = YOLO(str(exported), task="segment")
            self(np.zeros((*size, 3), np.uint8))  # which reads the files
        self.speed_ms: dict[str, float] = {}

    def __call__(self, frame: np.ndarray) -> int:
        """frame: (H, W, 3) uint8 BGR. The number of objects."""
        result = self._yolo.predict(frame, imgsz=self._size, verbose=False)[0]
        self.speed_ms = dict(result.speed)
        return len(result)


def compare(args: argparse.Namespace) -> dict:
    """Milliseconds of both on the same frames, in turn, their stages, and how many objects they found in a frame."""
    if args.frames < 1:
        raise PanopticError(f"frames={args.frames}: at least 1")
    model, engine = open_model(args)
    yolo, pipeline = Yolo(args.yolo, model.size), tracked(model, engine)
    frames = list(islice(images.frames(args.input), MAX_FRAMES))
    flipped = [np.ascontiguousarray(frame[..., ::-1]) for frame in frames]
    things = {label.id for label in model.labels if label.thing}
    stages: dict[str, list[dict[str, float]]] = {OURS: [], THEIRS: []}
    objects: dict[str, list[int]] = {OURS: [], THEIRS: []}

    def ours(number: int) -> None:
        found = pipeline(frames[number % len(frames)], number * FRAME_NS)
        objects[OURS].append(sum(segment.category in things for segment in found.segments))
        stages[OURS].append({stage: pipeline.timings_ms[stage] for stage in STAGES})

    def theirs(number: int) -> None:
        objects[THEIRS].append(yolo(flipped[number % len(frames)]))
        stages[THEIRS].append(yolo.speed_ms)

    rows = {}
    for name, samples in interleaved({OURS: ours, THEIRS: theirs}, args.frames).items():
        noted = stages[name][WARM_UP:]
        parts = {stage: summary([times[stage] for times in noted]) for stage in noted[0]}
        rows[name] = {"ms": summary(samples), "stages": parts, "objects": round(float(np.mean(objects[name][WARM_UP:])), 2)}
    rows[OURS]["what"] = f"{model.model}, {engine.description['backend']} {engine.description['precision']}"
    rows[THEIRS]["what"] = f"{Path(args.yolo).name}, openvino {yolo.precision}"
    return {"machine": describe_machine(), "size": list(model.size), "frames": args.frames, "rows": rows}


def _precision(exported: Path) -> str:
    """What OpenVINO computes in where nothing is said, as ultralytics does."""
    compiled = CORE.compile_model(next(exported.glob("*.xml")), "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    return compiled.get_property("INFERENCE_PRECISION_HINT").to_string()


def table(report: dict) -> str:
    """The report for people."""
    machine, (height, width), rows = report["machine"], report["size"], report["rows"]
    place = f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average']}"
    lines = [
        f"{height}x{width}, {report['frames']} rounds on {place}",
        f"{'ms':20}" + "".join(f"{part:>9}" for part in rows[OURS]["ms"]),
    ]
    for name, row in rows.items():
        lines.append(f"{name:20}" + "".join(f"{value:9.2f}" for value in row["ms"].values()) + f"  {row['what']}")
        lines += [f"  {stage:18}" + "".join(f"{v:9.2f}" for v in times.values()) for stage, times in row["stages"].items()]
        lines.append(f"  {'objects a frame':18}{row['objects']:9.2f}")
    lines.append(f"{THEIRS} / {OURS}, p50: {rows[THEIRS]['ms']['p50'] / rows[OURS]['ms']['p50']:.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
