"""Search a model's decoder settings, or with --tracker the tracker's, on a split of a data set with Optuna.

    python -m training.search --model hle_mnv2 --data street:test --trials 100
    python -m training.search --model hle_mnv2 --data street:test --trials 100 --tracker

The network runs once for each frame; a trial decodes what it gave. Decoder settings that are better than the model's are written
back: the model is exported again with them. Its manifest says what its settings were searched on, also where those from before
are the best. Settings of the tracker are printed; they belong to the robot. Never quote scores of the split that was searched on.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from tqdm import tqdm

from panoptic_ros.core import PanopticError
from training import export_trt
from training.metrics import report
from training.onnx_export import SEARCHED_ON
from training.search_targets import Space, Target, decoder_target, tracker_target


@dataclass(frozen=True, slots=True)
class Trial:
    """What was tried, and its score, 0..1."""

    score: float
    values: dict[str, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status. A PanopticError becomes one line on stderr and status 2."""
    args = arguments_parser().parse_args(arguments)
    try:
        target = tracker_target(args) if args.tracker else decoder_target(args)
        trials = search(target, args.trials, args.seed)
        result = as_json(target, trials, args)
        print(table(result))
        if args.json:
            report.write(args.json, result)
        return 0 if args.tracker or args.dry_run else write_back(result, args)
    except PanopticError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def arguments_parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m training.search", description=__doc__, formatter_class=raw)
    parser.add_argument("--model", required=True, help="its name, that of the folders under engines/ and runs/")
    parser.add_argument("--data", required=True, metavar="DATASET:SPLIT", help="what to search on")
    parser.add_argument(
        "--trials", type=_positive, default=50, metavar="N", help="the first is the present settings (default: 50)"
    )
    parser.add_argument("--tracker", action="store_true", help="the tracker's settings, by HOTA, instead of the decoder's, by PQ")
    parser.add_argument("--frames", type=_positive, metavar="N", help="evenly spaced, with --tracker the first (default: all)")
    parser.add_argument("--checkpoint", type=Path, help="default: runs/<model>/last.pt")
    parser.add_argument("--engines", type=Path, default=Path("engines"), help="where the model's folder is (default: engines)")
    parser.add_argument("--seed", type=int, default=0, help="of the search (default: 0)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every trial there")
    parser.add_argument("--dry-run", action="store_true", help="write nothing back")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return int(text)


def search(target: Target, count: int, seed: int) -> list[Trial]:
    """`count` trials in their order; the first is what the target has now, the others are Optuna's (TPE)."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    space = {key: (min(low, target.before[key]), max(high, target.before[key])) for key, (low, high) in target.space.items()}
    study.enqueue_trial(target.before)
    trials = []
    for _ in tqdm(range(count), unit="trial", disable=None):
        asked = study.ask()
        values = suggested(asked, space)
        trials.append(Trial(target.score(values), values))
        study.tell(asked, trials[-1].score)
    return trials


def suggested(trial: optuna.Trial, space: Space) -> dict[str, float]:
    """Rounded to what a manifest is to show: nobody wants sixteen digits of a threshold, and what is exported was measured."""
    return {
        key: trial.suggest_int(key, low, high)
        if type(low) is type(high) is int
        else float(f"{trial.suggest_float(key, low, high):.4g}")
        for key, (low, high) in space.items()
    }


def as_json(target: Target, trials: list[Trial], args: argparse.Namespace) -> dict:
    entries = [{"score": trial.score, "settings": trial.values} for trial in trials]
    return {
        "model": args.model, "searched": "tracker" if args.tracker else "decoder", "data": args.data, "frames": target.frames,
        "measure": target.measure, "seed": args.seed, "before": entries[0],
        "best": max(entries, key=lambda entry: entry["score"]), "trials": entries,
    }  # fmt: skip


def table(result: dict) -> str:
    before, best = result["before"], result["best"]
    title = f"{result['measure']} on {result['frames']} frames of {result['data']}, {len(result['trials'])} trials"
    lines = [
        f"{title:52}{'before':>10}{'best':>10}",
        f"{result['measure']:52}{100 * before['score']:10.2f}{100 * best['score']:10.2f}",
    ]
    return "\n".join([*lines, *(f"  {key:50}{before['settings'][key]:10}{value:10}" for key, value in best["settings"].items())])


def write_back(result: dict, args: argparse.Namespace) -> int:
    """Export with the best settings, unless the present ones are, then note in the manifest what they were searched on.

    Returns the exit status of the export.
    """
    status, file = 0, args.engines / args.model / "manifest.json"
    if result["best"]["score"] > result["before"]["score"]:
        checkpoint = ["--checkpoint", str(args.checkpoint)] if args.checkpoint else []
        settings = [f"decoder.{key}={value}" for key, value in result["best"]["settings"].items()]
        status = export_trt.main(
            ["--model", args.model, *checkpoint, "--engines", str(args.engines), "--data", args.data, *settings]
        )
    if status == 0 and file.exists():
        content = json.loads(file.read_text())
        content["decoder"][SEARCHED_ON] = f"{result['data']}, {result['frames']} frames, {len(result['trials'])} trials"
        file.write_text(json.dumps(content, indent=1) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
