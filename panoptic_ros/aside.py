"""Work beside the answers: pictures for people and what takes depth, or images that are converted before their turn."""

import logging
from collections.abc import Callable, Hashable
from threading import Condition, Thread

log = logging.getLogger(__name__)

_STOP_S = 5.0


class Aside:
    """A thread that does the newest job of each owner; one that waits is dropped for it. Owners take turns.

    name: of the thread, in traces.
    """

    def __init__(self, name: str) -> None:
        self._changed = Condition()
        self._jobs: dict[Hashable, Callable[[], None]] = {}
        self._ending = False
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, owner: Hashable, job: Callable[[], None]) -> bool:
        """False if another job of the owner waited, and is dropped."""
        with self._changed:
            free = owner not in self._jobs
            self._jobs[owner] = job  # in the place of the one before: who has waited longest remains first
            self._changed.notify()
            return free

    def stop(self) -> None:
        """Once what waits is done, or after _STOP_S. For good."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(_STOP_S)

    def _work(self) -> None:
        while (job := self._take()) is not None:
            try:
                job()
            except Exception:  # the thread is for all cameras
                log.exception("a job beside the answers failed")

    def _take(self) -> Callable[[], None] | None:
        """None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._ending)
            return self._jobs.pop(next(iter(self._jobs))) if self._jobs else None
