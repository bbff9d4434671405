"""The scores of an evaluation as one HTML file that needs no other: classes, confusion, identities, best and worst images."""

from pathlib import Path

import jinja2
import numpy as np

from panoptic_ros.core import Label
from training.metrics.frame_quality import Extremes, FrameQuality
from training.metrics.pictures import pictures
from training.metrics.report import TRACK_SCORES, percent, write_text

TEMPLATE = Path(__file__).with_name("page.html")
LEAST_SHOWN = 0.005
"""Part of a true class; less confusion than that has no number in its cell."""


def write(file: Path, result: dict, quality: FrameQuality) -> None:
    """result: what `training.evaluate` gives, of the images in `quality`. Raises PanopticError if the file cannot be written."""
    write_text(file, html(result, quality))


def html(result: dict, quality: FrameQuality) -> str:
    scores = next(iter(result["quality"].values()))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = percent
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=title(result), facts=facts(result), scores=scores, tiles=tiles(result, scores),
        groups=groups(quality.labels, scores), confusion=confusion(quality), tracking=result.get("tracking", {}),
        track_scores=TRACK_SCORES, best=examples(quality.best, quality.labels), worst=examples(quality.worst, quality.labels),
    )  # fmt: skip


def title(result: dict) -> str:
    if "model" in result:
        return f"{result['model']} on {result['data']}"
    return f"{Path(result['predictions']).name} against {Path(result['ground_truth']).name}"


def facts(result: dict) -> list[str]:
    """What was measured, and how."""
    found = [f"{result['images']} images"]
    if "engine" in result:
        engine = result["engine"]
        found += [
            f"{result['size'][0]}x{result['size'][1]} input",
            f"{engine['backend']} {engine['version']} {engine['precision']}",
        ]
    return found


def tiles(result: dict, scores: dict) -> list[tuple[str, str, str]]:
    """Name, value in percent and what it says, of each score of the whole data set."""
    every, ap = scores["all"] or dict.fromkeys(("pq", "sq", "rq")), scores["ap"] or {"ap": None}
    found = [
        ("PQ", every["pq"], "panoptic quality"), ("SQ", every["sq"], "IoU of what is found"),
        ("RQ", every["rq"], "F1 of finding"),
        ("PQ†", scores["pq_dagger"], "stuff without threshold"), ("PC", scores["parsing_covering"], "parsing covering"),
        ("mIoU", scores["miou"], "classes, pixel by pixel"), ("AP", ap["ap"], "masks of things"),
    ]  # fmt: skip
    for tracked in list(result.get("tracking", {}).values())[:1]:
        found += [("STQ", tracked["STQ"], "segmentation and tracking"), ("VPQ", tracked["VPQ"], "tubes of 1 to 15 frames")]
        if tracked["things"]:
            found += [
                ("HOTA", tracked["things"]["HOTA"], "detection and identity"),
                ("IDF1", tracked["things"]["IDF1"], "identity"),
            ]
    return [(name, percent(value), note) for name, value, note in found]


def groups(labels: tuple[Label, ...], scores: dict) -> list[dict]:
    """Things and stuff, where they occur: name, mean, and the classes, the best first."""
    found = []
    for name, thing in (("things", True), ("stuff", False)):
        rows = [
            (label, scores["classes"][label.name]) for label in labels if label.thing == thing and label.name in scores["classes"]
        ]
        if rows:
            found.append({"name": name, "mean": scores[name], "classes": sorted(rows, key=lambda row: -row[1]["pq"])})
    return found


def confusion(quality: FrameQuality) -> dict:
    """columns: names of the classes that occur, void last. rows: name and the part of its pixels taken for each class."""
    pixels = quality.confusion.pixels
    occurs = np.flatnonzero((pixels.sum(0) + pixels.sum(1))[:-1])
    names = [label.name for label in quality.labels]
    columns = [*occurs.tolist(), len(names)]
    rows = [
        (names[row], [(share, column == row) for column, share in zip(columns, pixels[row, columns] / max(pixels[row].sum(), 1))])
        for row in occurs.tolist() if pixels[row].any()
    ]  # fmt: skip
    return {"columns": [*(names[column] for column in occurs), "void"], "rows": rows, "least": LEAST_SHOWN}


def examples(extremes: Extremes, labels: tuple[Label, ...]) -> list[dict]:
    return [{"name": pair.name, "pq": pq, "pictures": pictures(pair, labels)} for pq, pair in extremes.pairs]
