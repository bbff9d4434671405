"""The reports of `bench --json`, read again: what the comparison uses is checked here."""

import json
from pathlib import Path
from typing import Any

from panoptic_ros.commands.bench_report import TIMES
from panoptic_ros.core import PanopticError

_MOST = 1e12
"""Of milliseconds and MiB: what is more was never measured."""
_LONGEST = 500
"""Characters of a text or a key."""


def read_report(file: Path) -> dict[str, Any]:
    """Raises PanopticError, naming the file and what is wrong, for one that `comparison` could not use."""
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PanopticError(f"cannot read {file}: {error}") from error
    try:
        _check_report(report)
    except PanopticError as error:
        raise PanopticError(f"{file} is no report of `bench --json`: {error}") from error
    return report


def _check_report(report: Any) -> None:
    _check_keys(report, "it", "machine", "runs")
    _check_values(report["machine"], "machine")
    if not isinstance(report["runs"], list):
        raise PanopticError(f"runs is of type {type(report['runs']).__name__}, not a list")
    for number, run in enumerate(report["runs"]):
        _check_run(run, f"runs[{number}]")


def _check_run(run: Any, where: str) -> None:
    _check_keys(run, where, "model", "size", "input", "engine", "stages", "cpu_ms", "memory_mib", *TIMES.values())
    size = run["size"]
    if not (isinstance(size, list) and len(size) == 2 and all(type(side) is int and 0 < side <= _MOST for side in size)):
        raise PanopticError(f"{where}.size is not a height and a width")
    for name in ("model", "input"):
        _check_text(run[name], f"{where}.{name}")
    _check_values(run["engine"], f"{where}.engine")
    _check_keys(run["engine"], f"{where}.engine", "backend", "precision")
    _check_keys(run["stages"], f"{where}.stages")
    times = {name: run[name] for name in (*TIMES.values(), "fixed_work_ms") if name in run}
    for name, figures in (times | {f"stages.{stage}": figures for stage, figures in run["stages"].items()}).items():
        _check_figures(figures, f"{where}.{name}", "p50", "p99")
    _check_figures(run["cpu_ms"], f"{where}.cpu_ms", "mean")
    _check_figures(run["memory_mib"], f"{where}.memory_mib", "peak")


def _check_keys(mapping: Any, where: str, *names: str) -> None:
    if not isinstance(mapping, dict):
        raise PanopticError(f"{where} is of type {type(mapping).__name__}, not a mapping")
    for key in mapping:
        _check_text(key, f"a key of {where}")
    missing = [name for name in names if name not in mapping]
    if missing:
        raise PanopticError(f"{where} has no {' and '.join(missing)}")


def _check_values(mapping: Any, where: str) -> None:
    """Of what is only named and compared for equality."""
    _check_keys(mapping, where)
    for name, value in mapping.items():
        if not isinstance(value, int | float | None):
            _check_text(value, f"{where}.{name}")


def _check_text(value: Any, where: str) -> None:
    """One line, fit for a terminal."""
    if not (isinstance(value, str) and value.isprintable() and len(value) <= _LONGEST):
        raise PanopticError(f"{where} is not a text of one line")


def _check_figures(figures: Any, where: str, *names: str) -> None:
    _check_keys(figures, where, *names)
    for name in names:
        value = figures[name]
        if type(value) not in (int, float) or not 0 <= value < _MOST:
            raise PanopticError(f"{where}.{name} is not a number from 0 to {_MOST:g}")
