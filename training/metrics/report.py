"""Scores for people, as a table, and for programs, as JSON."""

import json
from dataclasses import asdict
from pathlib import Path

from panoptic_ros.core import PanopticError
from training.metrics.panoptic_quality import PanopticQuality
from training.metrics.video import VideoQuality


def panoptic(quality: PanopticQuality) -> dict:
    """PQ, SQ, RQ of all classes, things, stuff (None where there are none) and of each class by name."""
    groups = {name: quality.mean(thing) for name, thing in (("all", None), ("things", True), ("stuff", False))}
    of_class, names = quality.per_class(), {label.id: label.name for label in quality.labels}
    classes = {}
    for i, score in of_class.items():
        tally = quality.tallies[i]
        classes[names[i]] = asdict(score) | {"tp": tally.tp, "fp": tally.fp, "fn": tally.fn}
    return {name: asdict(score) if score else None for name, score in groups.items()} | {"classes": classes}


def tracking(quality: VideoQuality) -> dict:
    """STQ of the segmentation; IDF1, HOTA and MOTA of all things (None where there are none) and of each thing class by name."""
    names, total = {label.id: label.name for label in quality.labels}, quality.total()
    stq = quality.segmentation_and_tracking()
    return {
        "STQ": stq.stq, "AQ": stq.aq, "SQ": stq.iou,
        "things": total.summary() if total else None,
        "classes": {names[i]: score.summary() for i, score in quality.per_class().items()},
    }  # fmt: skip


def table(result: dict) -> str:
    """What `panoptic` and `tracking` give for one or more variants, in percent, as text."""
    blocks = [_panoptic_table(name, scores) for name, scores in result["quality"].items()]
    if result.get("tracking"):
        blocks.append(_tracking_table(result["tracking"]))
    return f"{result['images']} images\n\n" + "\n\n".join(blocks)


def _panoptic_table(name: str, scores: dict) -> str:
    rows = [
        (group, scores[group], f"{scores[group]['classes']} classes") for group in ("all", "things", "stuff") if scores[group]
    ]
    rows += [(f"  {c}", s, f"{s['tp']} found, {s['fn']} missed, {s['fp']} wrong") for c, s in scores["classes"].items()]
    lines = [f"{title:24}{100 * s['pq']:7.1f}{100 * s['sq']:7.1f}{100 * s['rq']:7.1f}   {note}" for title, s, note in rows]
    return "\n".join([f"{name:24}{'PQ':>7}{'SQ':>7}{'RQ':>7}", *lines])


def _tracking_table(variants: dict) -> str:
    columns = ("IDF1", "HOTA", "DetA", "AssA", "MOTA", "sMOTA")
    header = f"{'':24}{'STQ':>7}{'AQ':>7}{'SQ':>7}" + "".join(f"{c:>7}" for c in columns) + f"{'switches':>10}"
    lines = [header]
    for name, scores in variants.items():
        line = f"{name:24}" + "".join(f"{100 * scores[c]:7.1f}" for c in ("STQ", "AQ", "SQ"))
        lines.append(line + _track_columns(scores["things"], columns))
        lines += [f"{'  ' + c:45}" + _track_columns(of_class, columns) for c, of_class in scores["classes"].items()]
    return "\n".join(lines)


def _track_columns(scores: dict | None, columns: tuple[str, ...]) -> str:
    return "".join(f"{100 * scores[c]:7.1f}" for c in columns) + f"{scores['switches']:10d}" if scores else ""


def write(file: Path, result: dict) -> None:
    """Raises PanopticError if the file cannot be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(result, indent=1) + "\n")
    except OSError as error:
        raise PanopticError(f"cannot write {file}: {error.strerror}") from error
