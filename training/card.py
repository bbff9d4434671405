"""Write a model's card, and the README's table of all models, from what was measured; nothing in them is typed by hand.

    python -m training.card --model NAME --scores S.json --bench B.json ...
    python -m training.card --compare

The scores come from `training.evaluate --json`, the times from `panoptic_ros bench --json`. What of them is shown is kept beside
the card as measured.json; the table is made of these files.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

from panoptic_ros import manifest
from panoptic_ros.core import PanopticError
from panoptic_ros.manifest import Manifest
from training.evaluate import PER_FRAME
from training.metrics.report import percent

USE = (
    "Trained on rendered scenes alone, without weights from elsewhere: it shows that the whole chain works and is the start for "
    "training on your own data. It has never seen a photograph, and nothing is claimed about its quality on one."
)

MEASURED = "measured.json"
MARKERS = "<!-- models: python -m training.card --compare -->", "<!-- end of models -->"
CLASS_COLUMNS = {"pq": "PQ", "sq": "SQ", "rq": "RQ", "pq_dagger": "PQ†", "iou": "IoU", "covering": "covering", "ap": "AP"}
TIMES = {"network": "network_only_ms", "engine": "engine_ms", "pipeline": "pipeline_ms"}
MODEL_COLUMNS = ("PQ", "things", "stuff", "PQ†", "mIoU", "AP", "STQ", "VPQ", "HOTA", "network", "engine", "pipeline", "MB")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.card", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="write its card")
    parser.add_argument("--scores", type=Path, help="of training.evaluate --json")
    parser.add_argument("--bench", type=Path, nargs="*", default=[], help="of panoptic_ros bench --json, any number")
    parser.add_argument("--compare", action="store_true", help="write the table of all models")
    parser.add_argument(
        "--engines", type=Path, default=Path("engines"), help="folder of the models to compare (default: engines)"
    )
    parser.add_argument("--readme", type=Path, default=Path("README.md"), help="where the table goes (default: README.md)")
    args = parser.parse_args(arguments)
    if bool(args.model) != bool(args.scores) or not (args.model or args.compare):
        parser.error("give --model with --scores, or --compare, or all of them")
    try:
        if args.model:
            print(write_card(manifest.load(args.model), _read(args.scores), [run for file in args.bench for run in _runs(file)]))
        if args.compare:
            print(write_comparison(args.engines, args.readme))
    except (PanopticError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def write_card(model: Manifest, scores: dict, benches: list[dict]) -> str:
    """card.md and measured.json into the model's folder. scores, benches: the reports of the two commands; of a report on several
    models its own part."""
    if scores["model"] != model.model:
        raise PanopticError(f"the scores are of {scores['model']!r}, not of {model.model!r}")
    own = [bench for bench in benches if bench["model"] == model.model]
    if benches and not own:
        raise PanopticError(f"the times are of {benches[0]['model']!r}, not of {model.model!r}")
    measured = measurement(scores, own)
    check_file(model, measured, "the scores")
    text = card(model, measured)
    (model.onnx.parent / MEASURED).write_text(json.dumps(measured, indent=1) + "\n")
    (model.onnx.parent / "card.md").write_text(text)
    return text


def check_file(model: Manifest, measured: dict, what: str) -> None:
    """Raises PanopticError unless the model is still the one that was measured."""
    if measured["sha256"] != hashlib.sha256(model.onnx.read_bytes()).hexdigest():
        raise PanopticError(
            f"{what} are of another {model.onnx} than there is now: run training.evaluate and training.card again"
        )


def measurement(scores: dict, benches: list[dict]) -> dict:
    """What of the reports is shown: neither single images nor more of the machine than its processor."""
    quality = {key: value for key, value in scores["quality"][PER_FRAME].items() if key not in ("confusion", "images")}
    kept = {key: scores[key] for key in ("sha256", "data", "images", "size")} | {
        "engine": _engine(scores["engine"]),
        "quality": quality,
    }
    return kept | {"tracking": scores.get("tracking", {}), "speed": [_times(bench) for bench in benches]}


def _times(bench: dict) -> dict:
    kept = {key: bench[key] for key in ("size", *TIMES.values(), "ratios")}
    machine = f"{bench['machine']['cpu']}, {bench['machine']['cores']} cores"
    return kept | {"engine": _engine(bench["engine"]), "machine": machine}


def _engine(description: dict) -> dict:
    return {key: description[key] for key in ("backend", "version", "precision")}


def card(model: Manifest, measured: dict) -> str:
    """Markdown. measured: see `measurement`."""
    parts = [
        f"# {model.model}", USE, facts(model, measured), "## Quality", quality(measured["quality"]),
        tracking(measured["tracking"]), "## Speed", speed(measured["speed"]),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def facts(model: Manifest, measured: dict) -> str:
    """What the model is and what it was measured on."""
    engine = measured["engine"]
    rows = {
        "method": model.method, "recipe": model.recipe, "trained on": model.trained_on, "licence": model.license,
        "file": f"{model.onnx.stat().st_size / 1e6:.1f} MB", "default input": f"{model.size[0]}x{model.size[1]}",
        "decoder": ", ".join(f"{key} {value}" for key, value in model.decoder.items()),
        "measured on": f"{measured['data']}, {measured['images']} images, {measured['size'][0]}x{measured['size'][1]}, "
                       f"{engine['backend']} {engine['version']} {engine['precision']}",
    }  # fmt: skip
    return "\n".join(f"- {key}: {value}" for key, value in rows.items())


def quality(scores: dict) -> str:
    """Of all, things, stuff and each class, in percent."""
    groups = ((group, scores[group]) for group in ("all", "things", "stuff") if scores[group])
    lines = [
        f"| {name} | " + " | ".join(percent(found[key]) if key in found else "" for key in CLASS_COLUMNS) + " |"
        for name, found in (*groups, *scores["classes"].items())
    ]
    ap = scores["ap"] or dict.fromkeys(("ap", "ap50"))
    whole = (
        f"PQ† {percent(scores['pq_dagger'])}, mIoU {percent(scores['miou'])}, AP {percent(ap['ap'])}, AP at IoU 0.5 "
        f"{percent(ap['ap50'])}, parsing covering {percent(scores['parsing_covering'])}."
    )
    return "\n".join([f"| | {' | '.join(CLASS_COLUMNS.values())} |", "|---" * (len(CLASS_COLUMNS) + 1) + "|", *lines, "", whole])


def tracking(variants: dict) -> str:
    """Identities with embeddings and without; empty where they were not measured."""
    if not variants:
        return ""
    lines = ["| | STQ | AQ | VPQ | IDF1 | HOTA | identity switches |", "|---" * 7 + "|"]
    for name, found in variants.items():
        things = found["things"] or {"IDF1": None, "HOTA": None, "switches": "-"}
        cells = [percent(score) for score in (found["STQ"], found["AQ"], found["VPQ"], things["IDF1"], things["HOTA"])]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {things['switches']} |")
    return "\n".join(lines)


def speed(benches: list[dict]) -> str:
    """Milliseconds of network, engine and pipeline, p50 and p99."""
    lines = ["| input | backend | network | engine | pipeline | engine / network | pipeline / network |", "|---" * 7 + "|"]
    for bench in benches:
        times = [f"{bench[key]['p50']:.1f} ({bench[key]['p99']:.1f})" for key in TIMES.values()]
        ratios = [f"{bench['ratios'][key]:.2f}" for key in ("engine/network", "pipeline/network")]
        engine = f"{bench['engine']['backend']} {bench['engine']['precision']}"
        lines.append(" | ".join([f"| {bench['size'][0]}x{bench['size'][1]}", engine, *times, *ratios]) + " |")
    machines = sorted({bench["machine"] for bench in benches})
    return "\n".join([f"Milliseconds, p50 (p99), on {'; '.join(machines)}.", "", *lines]) if benches else ""


def write_comparison(engines: Path, readme: Path) -> str:
    """The table of the models in `engines` into the README, between its two markers."""
    text = readme.read_text(encoding="utf-8")
    before, start, rest = text.partition(MARKERS[0])
    _, end, after = rest.partition(MARKERS[1])
    if not (start and end):
        raise PanopticError(f"{readme} lacks the lines between which the table goes: {MARKERS[0]} and {MARKERS[1]}")
    table = comparison(engines)
    readme.write_text(f"{before}{start}\n{table}\n{end}{after}", encoding="utf-8")
    return table


def comparison(engines: Path) -> str:
    """One row for each model; cells of what was not measured are empty."""
    models = [manifest.load(file.parent) for file in sorted(engines.glob("*/manifest.json"))]
    if not models:
        raise PanopticError(f"there are no models in {engines}: no folder there has a manifest.json")
    rows, conditions = [], []
    for model in models:
        file = model.onnx.parent / MEASURED
        measured = _read(file) if file.is_file() else None
        if measured:
            check_file(model, measured, f"the scores in {file}")
        cells = measured_cells(measured) if measured else {}
        cells["MB"] = f"{model.onnx.stat().st_size / 1e6:.1f}"
        link = f"[{model.model}](engines/{model.onnx.parent.name}/card.md)" if measured else model.model
        rows.append(f"| {link} | {model.method} | " + " | ".join(cells.get(column, "") for column in MODEL_COLUMNS) + " |")
        conditions += [condition(measured)] if measured else []
    header = [f"| model | method | {' | '.join(MODEL_COLUMNS)} |", "|---" * (len(MODEL_COLUMNS) + 2) + "|"]
    return "\n".join([*header, *rows, "", *dict.fromkeys(conditions)])


def measured_cells(measured: dict) -> dict[str, str]:
    """Scores in percent, with embeddings where they are of tracks; times, p50, of the input size the scores are of."""
    scores = measured["quality"]
    cells = {
        title: percent(scores[group]["pq"])
        for title, group in (("PQ", "all"), ("things", "things"), ("stuff", "stuff"))
        if scores[group]
    }
    cells |= {"PQ†": percent(scores["pq_dagger"]), "mIoU": percent(scores["miou"])}
    cells |= {"AP": percent(scores["ap"]["ap"])} if scores["ap"] else {}
    for tracked in list(measured["tracking"].values())[:1]:
        cells |= {key: percent(tracked[key]) for key in ("STQ", "VPQ")}
        cells |= {"HOTA": percent(tracked["things"]["HOTA"])} if tracked["things"] else {}
    for bench in measured["speed"]:
        same = (measured["engine"][key] == bench["engine"][key] for key in ("backend", "precision"))
        if bench["size"] == measured["size"] and all(same):
            cells |= {title: f"{bench[key]['p50']:.1f}" for title, key in TIMES.items()}
    return cells


def condition(measured: dict) -> str:
    """What a row was measured on."""
    engine, machines = measured["engine"], sorted({bench["machine"] for bench in measured["speed"]})
    height, width = measured["size"]
    times = f"; times are the median in milliseconds on {', '.join(machines)}" if machines else ""
    return f"Percent on {measured['data']} at {height}x{width}, {engine['backend']} {engine['precision']}{times}."


def _runs(file: Path) -> list[dict]:
    """The combinations that a report of `panoptic_ros bench --json` is of, each with the machine."""
    report = _read(file)
    return [run | {"machine": report["machine"]} for run in report["runs"]]


def _read(file: Path) -> dict:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise PanopticError(f"cannot read {file}: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
