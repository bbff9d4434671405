"""Inputs that are kept when they reach new code: libFuzzer through atheris, which is an optional package."""

import importlib.util
import subprocess
import sys
from pathlib import Path

_CODE = """
import sys, tempfile
from pathlib import Path
import atheris
with atheris.instrument_imports(include=["panoptic_ros", "training"]):
    from tests.fuzz.target import find
    target = find(sys.argv.pop(1))
from panoptic_ros.core import PanopticError
from tests.fuzz.worker import save
corpus, folder = Path(sys.argv.pop(1)), Path(tempfile.mkdtemp())
corpus.mkdir(parents=True, exist_ok=True)
for number, data in enumerate(target.seeds()):
    (corpus / f"seed_{number}").write_bytes(data)

def run(data):
    try:
        target.run(data, folder)
    except PanopticError:
        pass

atheris.Setup([*sys.argv, str(corpus)], run)
atheris.Fuzz()
"""


def installed() -> bool:
    return importlib.util.find_spec("atheris") is not None


def fuzz(name: str, cases: int, corpus: Path) -> int:
    """The status of libFuzzer, which leaves an input that fails as a file in this folder and says so."""
    limits = [f"-runs={cases}", "-timeout=20", "-rss_limit_mb=2048", f"-artifact_prefix={corpus}/{name}_"]
    code = f"import sys; sys.path[:0] = {sys.path[:3]!r}\n{_CODE}"
    return subprocess.run([sys.executable, "-c", code, name, str(corpus / name), *limits]).returncode
