"""Log lines that nobody waits for: a terminal or pipe that is not read must not stop a node that has something to say."""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from queue import Full, Queue
from threading import Thread

_LINES = 1000
"""That wait to be written; those beyond are lost, and counted."""
_STDERR = 2


def to_stderr(line: str, level: int) -> None:
    """Unbuffered, so that nothing is left for Python to write when it ends. Whoever read it may have gone."""
    with suppress(OSError):
        os.write(_STDERR, f"{logging.getLevelName(level)}: {line}\n".encode(errors="replace"))


class LogAside(logging.Handler):
    """Writes lines in a thread of its own. write: (line, level), may take as long as it likes."""

    def __init__(self, write: Callable[[str, int], None] = to_stderr) -> None:
        super().__init__()
        self._write_line = write
        self._waiting: Queue[tuple[str, int]] = Queue(_LINES)
        self._lost = 0
        self._thread = Thread(target=self._work, name="log", daemon=True)
        self._thread.start()

    def createLock(self) -> None:
        """None: the queue has its own, and one that is held would keep `logging` from ending with the process."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._waiting.put_nowait((self.format(record), record.levelno))
        except Full:
            self._lost += 1

    def _work(self) -> None:
        while True:
            line, level = self._waiting.get()
            with suppress(Exception):  # there is nowhere left to say it
                self._write_line(line, level)
                if self._lost:
                    lost, self._lost = self._lost, 0
                    self._write_line(f"{lost} lines were lost, since those before them took so long to write", logging.WARNING)
            self._waiting.task_done()

    def finish(self, timeout_s: float) -> None:
        """Waits until what was said is written, or not longer than that."""
        with self._waiting.all_tasks_done:
            self._waiting.all_tasks_done.wait_for(lambda: not self._waiting.unfinished_tasks, timeout_s)
