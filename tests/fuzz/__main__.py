"""Feeds every entry point for bytes from outside with what it does not expect: python -m tests.fuzz --cases 1000000

An input may be taken, or refused with PanopticError. Everything else is a finding: another exception, the end of the process,
more time than --limit, too much memory for one input, memory that grows from input to input. Findings are kept, with the command
that runs them again. The status is 1 if there are any.
"""

import argparse
import dataclasses
import json
import math
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "ros")]

from tests.fuzz import guided  # noqa: E402
from tests.fuzz.report import Result, table, write  # noqa: E402
from tests.fuzz.target import Target, case, find, targets  # noqa: E402
from tests.fuzz.worker import MAX_GROWTH, MIB, Status, fault_of, save  # noqa: E402

_POLL_S = 0.05


def fuzz(target: Target, cases: int, seed: int, limit_s: float, found: Path, longest_s: float = math.inf) -> Result:
    """Runs the inputs 0..cases-1 in child processes, a new one after each that dies or hangs; longest_s for all of them."""
    result, begin_s = Result(target.name, seed), time.monotonic()
    for old in found.glob(f"{target.name}_[0-9]*"):  # those of `recipe` are not those of `recipe_tree`
        old.unlink()
    while result.cases < cases and (left_s := begin_s + longest_s - time.monotonic()) > 0:
        status, fault, done = _run_child(target, seed, range(result.cases, cases), limit_s, found, left_s)
        result.taken, result.refused = result.taken + status.taken, result.refused + status.refused
        result.growth_mib = max(result.growth_mib, (status.memory - status.memory_early) / MIB)
        if done:
            result.cases = cases
        elif not fault:  # its time is over
            result.cases = max(result.cases, status.number)
            break
        elif status.number < 0:
            raise SystemExit(f"{target.name}: its process {fault} before the first input")
        else:
            save(found, target, status.number, case(target, target.seeds(), seed, status.number), fault)
            result.cases = status.number + 1
    result.seconds = time.monotonic() - begin_s
    result.findings = {
        str(file.with_suffix(".bin")): file.read_text().strip() for file in found.glob(f"{target.name}_[0-9]*.txt")
    }
    if result.growth_mib * MIB > MAX_GROWTH:
        result.findings["(all of them)"] = f"memory grew by {result.growth_mib:.0f} MiB"
    return result


def _run_child(target: Target, seed: int, numbers: range, limit_s: float, found: Path, left_s: float) -> tuple[Status, str, bool]:
    """How far it came in left_s from its first input on, which fault ended it, if any, and whether it is done."""
    with tempfile.TemporaryDirectory() as folder:
        file = Status.create(Path(folder) / "status")
        options = {
            "target": target.name,
            "seed": seed,
            "first": numbers.start,
            "end": numbers.stop,
            "status": file,
            "found": found,
        }
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        paths = os.pathsep.join([*sys.path[:3], os.environ.get("PYTHONPATH", "")])
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker", *arguments], cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}
        )
        fault, stopped, end_s = "", False, math.inf
        try:
            while child.poll() is None and not stopped:
                time.sleep(_POLL_S)
                status = Status.read(file)
                if status.number >= 0:
                    end_s = min(end_s, time.monotonic() + left_s)
                if status.number >= 0 and time.monotonic() - status.begun_s > limit_s:
                    fault = f"no end after {limit_s:g} s"
                    break
                stopped = time.monotonic() > end_s
        finally:
            child.kill()
            child.wait()
        status = Status.read(file)
        if not (fault or stopped) and child.returncode:
            fault = f"ended with {_ending(child.returncode)}"
        return status, fault, child.returncode == 0 or (stopped and status.number < 0)  # ended, but not yet gone


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"status {code}"


def replay(target: Target, file: Path) -> int:
    """Runs one input here, with its traceback if it raises."""
    with tempfile.TemporaryDirectory() as folder:
        target.run(file.read_bytes(), Path(folder))
        fault = fault_of(target, file.read_bytes(), Path(folder))
    print(fault or "taken")
    return fault not in ("", "refused")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, metavar="N", help="inputs over all targets (default: %(default)s)")
    parser.add_argument("--target", action="append", metavar="NAME", help="only this one; may be given several times")
    parser.add_argument("--seed", type=int, default=0, help="another one makes other inputs (default: %(default)s)")
    parser.add_argument("--limit", type=float, default=20.0, metavar="S", help="seconds for one input (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=math.inf, metavar="S", help="at most, for each target (default: no limit)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/fuzz"), metavar="DIR", help="results as JSON, and findings (default: %(default)s)"
    )
    parser.add_argument("--report", type=Path, default=Path("out/fuzz.md"), help="Markdown (default: %(default)s)")
    parser.add_argument(
        "--resume", action="store_true", help="go on behind the last target that the run in --out came to the end of"
    )
    parser.add_argument("--guided", action="store_true", help="by coverage, with atheris where it is installed")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run the input of a finding; with --target")
    args = parser.parse_args(arguments)
    if args.replay:
        return replay(find(args.target[0]), args.replay)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # takes the child along
    chosen = [find(name) for name in args.target] if args.target else list(targets())
    if args.guided and guided.installed():
        folders = [(args.out / "corpus" / target.name, args.out / "guided" / target.name) for target in chosen]
        return max(guided.fuzz(target.name, args.cases // len(chosen), *each) for target, each in zip(chosen, folders))
    if args.guided:
        print("atheris is not installed (pip install atheris); inputs are mutated without coverage")
    return run(chosen, args, shlex.join(["python", "-m", "tests.fuzz", *(sys.argv[1:] if arguments is None else arguments)]))


def run(chosen: Sequence[Target], args: argparse.Namespace, command: str) -> int:
    """1 if anything was found."""
    cases, file, results = -(-args.cases // len(chosen)), args.out / "report.json", []
    args.out.mkdir(parents=True, exist_ok=True)
    before = [Result(**result) for result in json.loads(file.read_text())] if args.resume and file.exists() else []
    done = {result.target: result for result in before if (result.cases, result.seed) == (cases, args.seed)}
    for target in chosen:
        again = done.get(target.name)
        results.append(again or fuzz(target, cases, args.seed, args.limit, args.out / "findings", args.seconds))
        file.write_text(json.dumps([dataclasses.asdict(result) for result in results], indent=1) + "\n")
        print(table(results[-1:]).splitlines()[2], flush=True)
        for found, fault in results[-1].findings.items():
            print(f"  {fault}\n    python -m tests.fuzz --target {target.name} --replay {found}", flush=True)
    write(args.report, results, command)
    print(f"\n{args.report.read_text()}")
    return int(any(result.findings for result in results))


if __name__ == "__main__":
    sys.exit(main())
