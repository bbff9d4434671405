"""Scores for people, as a table, and for programs, as JSON."""

import json
from dataclasses import asdict
from pathlib import Path

from panoptic_ros.core import PanopticError
from training.metrics.frame_quality import FrameQuality
from training.metrics.panoptic_quality import PanopticQuality
from training.metrics.video import VideoQuality

GROUPS = {"all": None, "things": True, "stuff": False}
COLUMNS = {"pq": "PQ", "sq": "SQ", "rq": "RQ", "pq_dagger": "PQ†", "covering": "cover", "iou": "IoU", "ap": "AP"}
IMAGE_SCORES = {"PQ†": "pq_dagger", "parsing covering": "parsing_covering", "mIoU": "miou"}
TRACK_SCORES = ("IDF1", "HOTA", "DetA", "AssA", "MOTA", "sMOTA")


def panoptic(quality: PanopticQuality) -> dict:
    """PQ, SQ, RQ of all classes, things, stuff (None where there are none) and of each class by name."""
    groups = {name: quality.mean(thing) for name, thing in GROUPS.items()}
    of_class, names = quality.per_class(), {label.id: label.name for label in quality.labels}
    classes = {}
    for i, score in of_class.items():
        tally = quality.tallies[i]
        classes[names[i]] = asdict(score) | {"tp": tally.tp, "fp": tally.fp, "fn": tally.fn}
    return {name: asdict(score) if score else None for name, score in groups.items()} | {"classes": classes}


def frames(quality: FrameQuality) -> dict:
    """`panoptic`, and all other scores of single images; None and missing in a class where there is nothing to judge.

    confusion: pixels of each true class (row) taken for each class, void last. images: PQ of each.
    """
    result = panoptic(quality.panoptic)
    ap, ap_classes = quality.precision.score() if quality.precision else (None, {})
    of_class = {
        "pq_dagger": quality.dagger.per_class(), "covering": quality.covering.per_class(),
        "iou": quality.confusion.per_class(), "ap": {i: precision.ap for i, precision in ap_classes.items()},
    }  # fmt: skip
    for label in quality.labels:
        if label.name in result["classes"]:
            found = {name: scores[label.id] for name, scores in of_class.items() if label.id in scores}
            result["classes"][label.name] |= found
    return result | {
        "pq_dagger": quality.dagger.mean(), "parsing_covering": quality.covering.mean(), "miou": quality.confusion.mean(),
        "ap": asdict(ap) if ap else None,
        "confusion": {"classes": [*(x.name for x in quality.labels), "void"], "pixels": quality.confusion.pixels.tolist()},
        "images": quality.images,
    }  # fmt: skip


def tracking(quality: VideoQuality) -> dict:
    """STQ and VPQ of the segmentation; IDF1, HOTA and MOTA of all things (None without any) and of each thing class by name."""
    names, total = {label.id: label.name for label in quality.labels}, quality.total()
    stq, (vpq, windows) = quality.segmentation_and_tracking(), quality.vpq.score()
    return {
        "STQ": stq.stq, "AQ": stq.aq, "SQ": stq.iou, "VPQ": vpq,
        "VPQ of frames": {str(length): score for length, score in windows.items()},
        "things": total.summary() if total else None,
        "classes": {names[i]: score.summary() for i, score in quality.per_class().items()},
    }  # fmt: skip


def table(result: dict) -> str:
    """What `frames`, `panoptic` and `tracking` give for one or more variants, in percent, as text."""
    blocks = [_panoptic_table(name, scores) for name, scores in result["quality"].items()]
    if result.get("tracking"):
        blocks.append(_tracking_table(result["tracking"]))
    return f"{result['images']} images\n\n" + "\n\n".join(blocks)


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _panoptic_table(name: str, scores: dict) -> str:
    """Of each class too, where there is more than PQ to say of it."""
    whole = "miou" in scores
    columns = COLUMNS if whole else dict(list(COLUMNS.items())[:3])
    rows = [(group, scores[group], f"{scores[group]['classes']} classes") for group in GROUPS if scores[group]]
    if whole:
        rows += [(f"  {c}", s, f"{s['tp']} found, {s['fn']} missed, {s['fp']} wrong") for c, s in scores["classes"].items()]
    lines = [f"{title:24}" + "".join(f"{_cell(s, c):>7}" for c in columns) + f"   {note}" for title, s, note in rows]
    header = f"{name:24}" + "".join(f"{heading:>7}" for heading in columns.values())
    return "\n".join([header, *lines, *([_summary(scores)] if whole else [])])


def _cell(scores: dict, column: str) -> str:
    return percent(scores[column]) if column in scores else ""


def _summary(scores: dict) -> str:
    found = [f"{heading} {percent(scores[key])}" for heading, key in IMAGE_SCORES.items()]
    ap = scores["ap"] or dict.fromkeys(("ap", "ap50", "ap75"))
    return ", ".join([*found, f"AP {percent(ap['ap'])} (at IoU 0.5 {percent(ap['ap50'])}, at 0.75 {percent(ap['ap75'])})"])


def _tracking_table(variants: dict) -> str:
    header = f"{'':24}" + "".join(f"{c:>7}" for c in ("STQ", "AQ", "SQ", "VPQ", *TRACK_SCORES)) + f"{'switches':>10}"
    lines = [header]
    for name, scores in variants.items():
        line = f"{name:24}" + "".join(f"{percent(scores[c]):>7}" for c in ("STQ", "AQ", "SQ", "VPQ"))
        lines.append(line + _track_columns(scores["things"]))
        lines += [f"{'  ' + c:52}" + _track_columns(of_class) for c, of_class in scores["classes"].items()]
    return "\n".join(lines)


def _track_columns(scores: dict | None) -> str:
    return "".join(f"{percent(scores[c]):>7}" for c in TRACK_SCORES) + f"{scores['switches']:10d}" if scores else ""


def write(file: Path, result: dict) -> None:
    """Raises PanopticError if the file cannot be written."""
    write_text(file, json.dumps(result, indent=1) + "\n")


def write_text(file: Path, text: str) -> None:
    """Raises PanopticError if the file cannot be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PanopticError(f"cannot write {file}: {error.strerror}") from error
