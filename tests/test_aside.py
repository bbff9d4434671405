"""The thread beside the answers."""

import threading
import time

from panoptic_ros.aside import Aside


def busy(aside: Aside) -> threading.Event:
    """The thread has work until the event is set."""
    started, go_on = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        go_on.wait(10)

    aside.put("busy", work)
    assert started.wait(10)
    return go_on


def test_the_newest_of_each_owner_in_turns() -> None:
    aside, done = Aside("aside"), []
    go_on = busy(aside)
    puts = [aside.put(owner, lambda job=owner + str(number): done.append(job)) for number in range(3) for owner in "ab"]
    go_on.set()
    aside.stop()
    assert done == ["a2", "b2"] and puts == [True, True, False, False, False, False]


def test_whoever_puts_does_not_wait() -> None:
    aside = Aside("aside")
    go_on = busy(aside)
    begin_s = time.monotonic()
    aside.put("a", lambda: None)
    assert time.monotonic() - begin_s < 1
    go_on.set()
    aside.stop()


def test_a_job_that_fails_costs_itself() -> None:
    aside, done = Aside("aside"), []
    aside.put("a", lambda: 1 / 0)
    aside.put("b", lambda: done.append("b"))
    aside.stop()
    assert done == ["b"]
