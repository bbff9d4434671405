"""The checks of the soak find what they are for: on drawn sequences with known faults."""

import time
from pathlib import Path

import pytest

from panoptic_ros.node import Counts
from tests.soak.identities import Identities
from tests.soak.ledger import Account, Ledger
from tests.soak.memory import Sample
from tests.soak.node_process import NodeProcess
from tests.soak.report import _life, curve, verdict
from tests.soak.soak import Life

S = 1_000_000_000
CAR, PERSON = 26, 24


def watched(*answers: tuple[float, list[tuple[int, int]]]) -> list[str]:
    """The faults found in answers: stamp in seconds, and category and number of each thing."""
    identities = Identities(max_lost_s=3.0)
    for stamp_s, things in answers:
        identities.observe(round(stamp_s * S), things)
    return identities.faults


def test_identities_that_hold() -> None:
    one, two, five = (CAR, 1), (PERSON, 2), (CAR, 5)
    assert watched((10, [one]), (10.1, [two, one]), (13.1, [one]), (13.1, [two]), (13.2, [five]), (13.3, [])) == []
    assert watched((10, [one, two]), (9, [five]), (9.1, [(CAR, 6), five])) == []


@pytest.mark.parametrize(
    ("answers", "fault"),
    [
        ([(1, [(CAR, 1)]), (2, [(PERSON, 1)])], "number 1 was of category 26 and is of 24"),
        ([(1, [(CAR, 1), (CAR, 1)])], "number 1 is two things in one image"),
        ([(1, [(CAR, 2)]), (2, [(CAR, 1)])], "number 1 is new after 2"),
        ([(1, [(CAR, 1)]), (4.01, [(CAR, 1)])], "number 1 is back after 3.01 s"),
        ([(5, [(CAR, 1)]), (4, []), (5, [(CAR, 1)])], "number 1 is back after the clock went back"),
    ],
)
def test_numbers_that_are_used_twice(answers: list[tuple[float, list[tuple[int, int]]]], fault: str) -> None:
    assert watched(*answers) == [fault]


def ledger_of(sent: int, damaged: int, seen: int) -> Ledger:
    ledger = Ledger()
    ledger.open(Counts(received=100, answered=90, dropped_newer=7, dropped_bad=3))
    for number in range(sent):
        ledger.note_sent(number < damaged)
    for _ in range(seen):
        ledger.note_answer()
    return ledger


def test_an_account_that_balances() -> None:
    ledger = ledger_of(sent=10, damaged=2, seen=7)
    account = ledger.close(Counts(received=110, answered=97, dropped_newer=9, dropped_bad=4))  # a damaged one was overtaken
    assert account == ledger.total == Account(10, 2, 7, 10, 7, 2, 1) and account.faults() == []


@pytest.mark.parametrize(
    ("counts", "fault"),
    [
        (Counts(109, 97, 8, 4), "10 images were sent, but 9 counted as received"),
        (Counts(110, 97, 7, 6), "2 damaged images were sent, but 3 counted as bad"),
        (Counts(110, 98, 8, 4), "8 images were counted as answered, but 7 answers came"),
    ],
)
def test_images_that_are_missing(counts: Counts, fault: str) -> None:
    assert ledger_of(sent=10, damaged=2, seen=7).close(counts).faults() == [fault]


def test_an_abandoned_account_does_not_count() -> None:
    ledger = ledger_of(sent=10, damaged=0, seen=0)
    ledger.abandon()
    assert ledger.close(Counts(received=3, answered=3)) == Account() == ledger.total
    ledger.note_sent(False)
    assert ledger.close(Counts(received=4, answered=3, dropped_newer=1)) == Account(1, 0, 0, 1, 0, 1, 0)


def test_memory_is_judged_from_the_first_weight_to_the_highest() -> None:
    steady = Life(weights_mib=[100.0, 101.9, 99.0])
    assert steady.growth == pytest.approx(0.019) and steady.faults() == []
    assert Life(weights_mib=[100.0, 102.1, 99.0]).faults() == ["its memory grew by 2.1%"]
    assert Life(weights_mib=[100.0]).faults() == Life().faults() == []  # too short to say


def test_lives_in_the_report() -> None:
    """Of one that ended before anyone looked it is said what ended it, not that nothing is known of its memory."""
    brief = Life(start_up_s=0.5)
    assert _life(2, brief) == [2, "0.0", "0.5", 0, 0, "nan", "nan", "too short to say", "nan", "nan"]
    assert "<polyline" in curve([[]])
    long = Life(0.5, [50.0, 70.0, 50.5], [Sample(0.0, 49.0, 90.0), Sample(60.0, 80.0, 95.0), Sample(120.0, 51.0, 91.0)])
    assert _life(3, long) == [3, "2.0", "0.5", 0, 3, "50.0", "70.0", "+40.0%", "80.0", "91"]


def test_the_node_gets_more_arguments(tmp_path: Path) -> None:
    node, deadline_s = NodeProcess(tmp_path, 1, tmp_path / "log", ["--max-frames", "0"]), time.monotonic() + 60
    while not node.ended:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    assert "status 2" in node.faults()[0] and "--max-frames 0 is not possible" in node.faults()[0]


def test_report_of_faults_and_curve() -> None:
    assert verdict([], True).endswith("memory and recovery in their limits.")
    assert verdict([], False).endswith("memory was not judged.")
    assert verdict(["one", "two"], True) == "**Violations: 2**\n\n- one\n- two"
    drawing = curve([[Sample(0.0, 50.0, 0.0), Sample(30.0, 100.0, 0.0)], [Sample(60.0, 25.0, 0.0)]])
    assert 'points="40.0,80.0 320.0,40.0"' in drawing and 'points="600.0,100.0"' in drawing
    assert "100 MiB" in drawing and "1.0 min" in drawing
