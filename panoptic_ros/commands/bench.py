"""Measure models on this machine: the bare network, the whole engine and the pipeline with tracking, interleaved in one run."""

import argparse
import json
import signal
import tempfile
from collections.abc import Callable
from errno import EISDIR
from functools import partial
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from os import strerror
from pathlib import Path

from panoptic_ros import images, trace
from panoptic_ros.commands.bench_crowd import measure_objects
from panoptic_ros.commands.bench_measure import measure, memory, soak
from panoptic_ros.commands.bench_plots import plots
from panoptic_ros.commands.bench_read import read_report
from panoptic_ros.commands.bench_report import comparison, refusals, table, title
from panoptic_ros.commands.machine import describe_machine
from panoptic_ros.commands.model_arguments import add_model_arguments, choices, open_model
from panoptic_ros.core import PanopticError
from panoptic_ros.sources import STREET_CLIP
from panoptic_ros.variant import write_atomically

MAX_FRAMES = 64
"""Different frames held in memory; more rounds go through them again."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Of --model, --backend, --precision and --size there may be several, and `all` of the first three: each combination is "
        "measured in a process of its own, and those that cannot run here are named."
    )
    add_model_arguments(parser, several=True)
    parser.add_argument(
        "--input", type=Path, default=STREET_CLIP, metavar="FILE", help="clip, image or folder (default: the bundled clip)"
    )
    parser.add_argument("--frames", type=int, default=200, metavar="N", help="rounds to measure (default: %(default)s)")
    parser.add_argument("--objects", action="store_true", help="also compare an empty frame with a crowd")
    parser.add_argument("--soak", type=int, default=0, metavar="N", help="also watch the memory over N frames")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write stages.svg and percentiles.svg here")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write where each frame spent its time (ui.perfetto.dev)")
    parser.add_argument(
        "--compare", type=Path, nargs=2, metavar=("A", "B"), help="measure nothing: how report B differs from A, worst first"
    )


def main(args: argparse.Namespace) -> int:
    """130 where SIGINT ended it early; what was measured until then is written all the same."""
    if args.compare:
        print(comparison(*(read_report(file) for file in args.compare)))
        return 0
    if args.frames < 1 or args.soak < 0:
        raise PanopticError(f"frames={args.frames}, soak={args.soak}: at least 1 frame, and no negative numbers")
    _check_places(args)
    report: dict = {"machine": describe_machine(), "runs": [], "refused": {}}
    events: list[dict] = []
    status = 0
    try:
        for pid, choice in enumerate(choices(args), 1):
            _measure(choice, pid, report, events)
    except KeyboardInterrupt:
        status = 130
    if not report["runs"]:
        if status:
            return status
        raise PanopticError("; ".join(refusals(report)))
    print(table(report))
    _write(args, report, events)
    return status


def _check_places(args: argparse.Namespace) -> None:
    """Raises PanopticError for what could not be written hours later. What is there stays there until then."""
    for file in filter(None, (args.json, args.trace, args.plots and args.plots / "stages.svg")):
        try:
            if file.is_dir():
                raise IsADirectoryError(EISDIR, strerror(EISDIR))
            file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=file.parent):
                pass
        except OSError as error:
            raise PanopticError(f"cannot write {file}: {error.strerror}") from error


def _write(args: argparse.Namespace, report: dict, events: list[dict]) -> None:
    """All that can be written. Raises PanopticError for the rest."""
    writers: list[Callable[[], None]] = []
    if args.json:
        writers.append(partial(write_atomically, args.json, (json.dumps(report, indent=1) + "\n").encode()))
    if args.trace:
        writers.append(partial(trace.write, args.trace, events))
    for name, picture in plots(report).items() if args.plots else ():
        writers.append(partial(write_atomically, args.plots / name, picture.encode()))
    errors = []
    for write in writers:
        try:
            write()
        except PanopticError as error:
            errors.append(str(error))
    if errors:
        raise PanopticError("; ".join(errors))


def _measure(choice: argparse.Namespace, pid: int, report: dict, events: list[dict]) -> None:
    """Adds one combination to the report and the trace. A fresh process has memory, caches and threads of no other one."""
    answer = _in_own_process(choice, pid)
    if isinstance(answer, PanopticError):
        size = "x".join(map(str, choice.size)) if choice.size else "its own size"
        report["refused"][f"{choice.model} {size} {choice.backend} {choice.precision}"] = str(answer)
    else:
        report["runs"].append(answer[0])
        events += answer[1]


def _in_own_process(choice: argparse.Namespace, pid: int) -> tuple[dict, list[dict]] | PanopticError:
    """What `measure_choice` answers or raises."""
    context = get_context("spawn")
    answers, end = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(end, choice, pid), daemon=True)
    process.start()
    end.close()
    try:
        return answers.recv()
    except EOFError:
        process.join()
        return PanopticError(f"its process ended with status {process.exitcode}")
    finally:
        process.terminate()
        process.join()


def _work(end: Connection, choice: argparse.Namespace, pid: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that waits for this one is interrupted, and ends it
    try:
        end.send(measure_choice(choice, pid))
    except PanopticError as error:
        end.send(error)


def measure_choice(args: argparse.Namespace, pid: int) -> tuple[dict, list[dict]]:
    """The report on one of `choices` and, with args.trace, its trace events, which call the process pid.

    Raises PanopticError if it cannot run.
    """
    model, engine = open_model(args)
    stream = images.frames(args.input)
    frames = [next(stream)]
    report = {
        "model": model.model, "size": list(model.size), "frame_size": list(frames[0].shape[:2]), "frames": args.frames,
        "input": args.input.name, "engine": engine.description, "memory_mib": memory(model, engine, frames[0]),
    }  # fmt: skip
    frames += islice(stream, MAX_FRAMES - 1)
    trace.current = trace.Trace() if args.trace else None
    report |= measure(model, engine, frames, args.frames)
    events = trace.current.events(title(report), pid) if trace.current else []
    trace.current = None
    if args.objects:
        report["objects"] = measure_objects(model, engine, frames, args.frames)
    if args.soak:
        report["soak"] = soak(model, engine, frames, args.soak)
    return report, events
