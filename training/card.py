"""Write a model's card from what was measured: `python -m training.card --model NAME --scores S.json --bench B.json ...`.

The scores come from `training.evaluate --json`, the times from `panoptic_ros bench --json`; nothing in a card is typed by hand.
"""

import argparse
import json
import sys
from pathlib import Path

from panoptic_ros import manifest
from panoptic_ros.core import PanopticError
from panoptic_ros.manifest import Manifest
from training.evaluate import PER_FRAME

USE = (
    "Trained from random weights on rendered scenes alone: it shows that the whole chain works and is the start for training on "
    "your own data. It has never seen a photograph, and nothing is claimed about its quality on one."
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.card", description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--scores", type=Path, required=True, help="of training.evaluate --json")
    parser.add_argument("--bench", type=Path, nargs="*", default=[], help="of panoptic_ros bench --json, any number")
    args = parser.parse_args(arguments)
    try:
        model = manifest.load(args.model)
        text = card(model, _read(args.scores), [_read(file) for file in args.bench])
        (model.onnx.parent / "card.md").write_text(text)
    except (PanopticError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(text)
    return 0


def card(model: Manifest, scores: dict, benches: list[dict]) -> str:
    """Markdown. scores, benches: the reports of the two commands."""
    if scores["model"] != model.model:
        raise PanopticError(f"the scores are of {scores['model']!r}, not of {model.model!r}")
    parts = [
        f"# {model.model}", USE, facts(model, scores), "## Quality", quality(scores["quality"][PER_FRAME]),
        tracking(scores), "## Speed", speed(benches),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def facts(model: Manifest, scores: dict) -> str:
    """What the model is and what it was measured on."""
    engine = scores["engine"]
    rows = {
        "method": model.method, "recipe": model.recipe, "trained on": model.trained_on, "licence": model.license,
        "file": f"{model.onnx.stat().st_size / 1e6:.1f} MB", "default input": f"{model.size[0]}x{model.size[1]}",
        "decoder": ", ".join(f"{key} {value}" for key, value in model.decoder.items()),
        "measured on": f"{scores['data']}, {scores['images']} images, {scores['size'][0]}x{scores['size'][1]}, "
                       f"{engine['backend']} {engine['version']} {engine['precision']}",
    }  # fmt: skip
    return "\n".join(f"- {key}: {value}" for key, value in rows.items())


def quality(scores: dict) -> str:
    """PQ, SQ and RQ of all, things, stuff and each class, in percent."""
    rows = [(group, scores[group]) for group in ("all", "things", "stuff") if scores[group]] + list(scores["classes"].items())
    lines = [f"| {name} | " + " | ".join(f"{100 * score[key]:.1f}" for key in ("pq", "sq", "rq")) + " |" for name, score in rows]
    return "\n".join(["| | PQ | SQ | RQ |", "|---|---|---|---|", *lines])


def tracking(scores: dict) -> str:
    """Identities with embeddings and without; empty where they were not measured."""
    if not scores.get("tracking"):
        return ""
    lines = ["| | STQ | AQ | IDF1 | HOTA | identity switches |", "|---|---|---|---|---|---|"]
    for name, found in scores["tracking"].items():
        things = found["things"]
        cells = [100 * found["STQ"], 100 * found["AQ"], 100 * things["IDF1"], 100 * things["HOTA"]]
        lines.append(f"| {name} | " + " | ".join(f"{cell:.1f}" for cell in cells) + f" | {things['switches']} |")
    return "\n".join(lines)


def speed(benches: list[dict]) -> str:
    """Milliseconds of network, engine and pipeline, p50 and p99."""
    lines = ["| input | backend | network | engine | pipeline | engine / network | pipeline / network |", "|---" * 7 + "|"]
    for bench in benches:
        times = [f"{bench[key]['p50']:.1f} ({bench[key]['p99']:.1f})" for key in ("network_only_ms", "engine_ms", "pipeline_ms")]
        ratios = [f"{bench['ratios'][key]:.2f}" for key in ("engine/network", "pipeline/network")]
        engine = f"{bench['engine']['backend']} {bench['engine']['precision']}"
        lines.append(" | ".join([f"| {bench['size'][0]}x{bench['size'][1]}", engine, *times, *ratios]) + " |")
    machines = {f"{b['machine']['cpu']}, {b['machine']['cores']} cores" for b in benches}
    return "\n".join([f"Milliseconds, p50 (p99), on {'; '.join(sorted(machines))}.", "", *lines]) if benches else ""


def _read(file: Path) -> dict:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise PanopticError(f"cannot read {file}: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
