"""Inputs that are kept when they reach new code: libFuzzer through atheris, which is an optional package."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.target import Target
from tests.fuzz.worker import fault_of, save

MOST = 100
"""Findings that are kept; their neighbours in the corpus have the same fault."""

_CODE = """
import sys, tempfile
from pathlib import Path
import atheris
with atheris.instrument_imports(include=["panoptic_ros", "training"]):
    from tests.fuzz.target import find
    target = find(sys.argv.pop(1))
    seeds = target.seeds()
from tests.fuzz.guided import taker
corpus, found = Path(sys.argv.pop(1)), Path(sys.argv.pop(1))
for number, data in enumerate(seeds):
    (corpus / f"seed_{number}").write_bytes(data)
with tempfile.TemporaryDirectory() as folder:
    atheris.Setup([*sys.argv, str(corpus)], taker(target, Path(folder), found))
    atheris.Fuzz()
"""


def installed() -> bool:
    return importlib.util.find_spec("atheris") is not None


def taker(target: Target, folder: Path, found: Path) -> Callable[[bytes], None]:
    """What libFuzzer calls with each input: it goes on behind one that fails, which is kept in `found` with its reason."""
    kept = 0

    def take(data: bytes) -> None:
        nonlocal kept
        fault = fault_of(target, data, folder)
        if fault not in ("", "refused") and kept < MOST:
            save(found, target, kept, data, fault)
            kept += 1

    return take


def fuzz(name: str, cases: int, corpus: Path, found: Path) -> int:
    """1 if anything was found: by `fault_of`, or by libFuzzer itself, which ends at an input that hangs or ends the process."""
    shutil.rmtree(found, ignore_errors=True)
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    limits = [f"-runs={cases}", "-timeout=20", "-rss_limit_mb=2048", f"-artifact_prefix={found}/"]
    code = f"import sys; sys.path[:0] = {sys.path[:3]!r}\n{_CODE}"
    status = subprocess.run([sys.executable, "-c", code, name, str(corpus), str(found), *limits]).returncode
    for file in sorted(file for file in found.iterdir() if file.suffix != ".txt"):
        reason = file.with_suffix(".txt")
        print(f"  {reason.read_text().strip() if reason.exists() else file.name.partition('-')[0]}")
        print(f"    python -m tests.fuzz --target {name} --replay {file}", flush=True)
    return int(status != 0 or any(found.iterdir()))
