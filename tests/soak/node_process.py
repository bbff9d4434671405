"""The node in a process of its own: one life of it, from start to end."""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.soak.camera import TOPIC

_STOP_S = 30.0
_READY = "backend="
"""In the line that the node prints once it listens."""
_TRACE = "Traceback"


class NodeProcess:
    """Starts it at once. log: what it prints, appended. more: arguments."""

    def __init__(self, model: Path, domain: int, log: Path, more: Sequence[str] = ()) -> None:
        command = [sys.executable, "-m", "panoptic_ros", "run", "--model", str(model), "--image", TOPIC, *more]
        self._log, self._begin = log, log.stat().st_size if log.exists() else 0
        with log.open("a") as out:
            self._process = subprocess.Popen(
                [*command, "--domain", str(domain), "--interface", "loopback"], stdout=out, stderr=subprocess.STDOUT
            )
        self.pid, self.killed = self._process.pid, False
        self.started_s = time.monotonic()

    @property
    def ready(self) -> bool:
        return _READY in self._said()

    @property
    def description(self) -> str:
        """Model, engine and precision, as it says."""
        return next((line for line in self._said().splitlines() if _READY in line), "none")

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def kill(self) -> None:
        self.killed = True
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """By SIGINT, as a user would; by SIGKILL if that does not do."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def faults(self) -> list[str]:
        """Of a life that was to end by itself or by `stop`."""
        status = self._process.returncode
        return [] if status == 0 else [f"the node ended with status {status}: {self._said()[-500:]!r}"]

    def traces(self) -> list[str]:
        """Exceptions that it did not expect, although it went on."""
        count = self._said().count(_TRACE)
        return [f"{count} unexpected exceptions in the node's log, {self._log}"] if count else []

    def _said(self) -> str:
        with self._log.open() as file:
            file.seek(self._begin)
            return file.read()
