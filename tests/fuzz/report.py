"""The report of a run: Markdown."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from panoptic_ros.commands.machine import describe_machine


@dataclass
class Result:
    """Of one target. growth_mib: of memory, from the first tenth of a process's inputs to its last. findings: file -> fault."""

    target: str
    seed: int = 0
    cases: int = 0
    taken: int = 0
    refused: int = 0
    seconds: float = 0.0
    growth_mib: float = 0.0
    findings: dict[str, str] = field(default_factory=dict)


def write(file: Path, results: Sequence[Result], command: str) -> None:
    """command: what was typed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    commit = _commit()
    lines = [
        "# Fuzzing: bytes from outside, changed, at every entry point",
        f"`{command}`, {date.today()}{f', commit {commit}' if commit else ''}: "
        f"{sum(r.cases for r in results):,} inputs in {sum(r.seconds for r in results) / 60:.1f} minutes, one process at a time.",
        f"Machine: {', '.join(f'{key} {value}' for key, value in describe_machine().items())} (at the end).",
        verdict(results),
        table(results).rstrip(),
        "Taken: it returned. Refused: with PanopticError. What else happens to an input is a finding.",
    ]
    file.write_text("\n\n".join(lines) + "\n")


def _commit() -> str:
    """Of the source tree, with -dirty if tracked files differ from it; empty where there is no git or repository."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def verdict(results: Sequence[Result]) -> str:
    """Every finding, with the command that runs it again."""
    found = [(result.target, *finding) for result in results for finding in result.findings.items()]
    if not found:
        return "**No finding**: every input was taken or refused, in the limits of time and memory."
    lines = [f"- {fault}: `python -m tests.fuzz --target {target} --replay {file}`" for target, file, fault in found]
    return "\n".join([f"**Findings: {len(found)}**", "", *lines])


def table(results: Sequence[Result]) -> str:
    """Markdown."""
    rows = [(r.target, r.cases, r.taken, r.refused, f"{r.seconds:.0f}", f"{r.growth_mib:.0f}", len(r.findings)) for r in results]
    rows.append(("all", *(sum(row[i] for row in rows) for i in (1, 2, 3)), "", "", sum(row[6] for row in rows)))
    head = ("target", "inputs", "taken", "refused", "seconds", "memory grew by MiB", "findings")
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (head, ("---",) * len(head), *rows)]
    return "\n".join(lines) + "\n"
