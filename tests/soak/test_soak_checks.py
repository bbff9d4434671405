"""The checks of the soak find what they are for: on drawn sequences with known faults."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from panoptic_ros.health import ERROR, OK, WARN
from panoptic_ros.node import Counts
from tests.soak import judgements
from tests.soak.__main__ import _of_round
from tests.soak.faults import FAULTS, node_dies
from tests.soak.identities import Identities
from tests.soak.ledger import Account, Ledger
from tests.soak.memory import Sample
from tests.soak.node_process import NodeProcess
from tests.soak.records import Episode, Life
from tests.soak.report import _fault, _life, _outside, curve, verdict

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


def ledger_of(sent: int, damaged: int, seen: int, images: int | None = None) -> Ledger:
    """images: one for each answer seen, if it is not said."""
    ledger = Ledger()
    ledger.open(Counts(received=100, answered=90, dropped_newer=7, dropped_bad=3))
    for number in range(sent):
        ledger.note_sent(number < damaged)
    for _ in range(seen):
        ledger.note_answer()
    for _ in range(seen if images is None else images):
        ledger.note_image()
    return ledger


def test_an_account_that_balances() -> None:
    ledger = ledger_of(sent=10, damaged=2, seen=7)
    account = ledger.close(Counts(received=110, answered=97, dropped_newer=9, dropped_bad=4))  # a damaged one was overtaken
    assert account == ledger.total == Account(10, 2, 7, 10, 7, 2, 1, 7) and account.faults() == []


@pytest.mark.parametrize(
    ("counts", "fault"),
    [
        (Counts(109, 97, 8, 4), "10 images were sent, but 9 counted as received"),
        (Counts(110, 97, 7, 6), "2 damaged images were sent, but 3 counted as bad"),
        (Counts(110, 98, 8, 4), "8 images were counted as answered, but 7 answers came"),
        (Counts(110, 97, 8, 4, pending=1), "10 images were received, but 9 answered or dropped"),
    ],
)
def test_images_that_are_missing(counts: Counts, fault: str) -> None:
    assert ledger_of(sent=10, damaged=2, seen=7).close(counts).faults() == [fault]


@pytest.mark.parametrize("images", [10, 99, 101])
def test_label_images_come_for_answers(images: int) -> None:
    """Every tenth only; one that is missing; one too many."""
    ledger, counts = ledger_of(sent=100, damaged=0, seen=100, images=images), Counts(200, 190, 7, 3)
    assert ledger.close(counts).faults() == [f"100 answers came, but {images} label images"]


def test_an_abandoned_account_does_not_count() -> None:
    ledger = ledger_of(sent=10, damaged=0, seen=0)
    ledger.abandon()
    assert ledger.close(Counts(received=3, answered=3)) == Account() == ledger.total and ledger.outside == 10
    ledger.note_sent(False)
    assert ledger.close(Counts(received=4, answered=3, dropped_newer=1)) == Account(1, 0, 0, 1, 0, 1, 0)
    assert ledger.outside == 10


def test_a_calm_node_answers() -> None:
    """82 of 889 images, with a node that sleeps 0.4 s over each; one in twenty may be missing."""
    assert judgements.answered(Account(sent=889, answered=82)) == [
        "between faults 9.2% of 889 images were answered, less than 95%"
    ]
    assert judgements.answered(Account(sent=1000, answered=949)) != [] == judgements.answered(Account(sent=1000, answered=950))
    assert judgements.answered(Account(sent=19, answered=15)) == [] != judgements.answered(Account(sent=20, answered=18))


def test_latency_is_bounded_in_each_fault() -> None:
    """Of all times of a fault together: one slow one of two is more than the twentieth part of them."""
    quick, slow = (30.0,) * 100, (30.0,) * 80 + (800.0,) * 20
    account = Account(sent=100, received=100, answered=100, images=100)
    burst = Episode("burst", 0.1, quick, account)
    episodes = [burst, Episode("busy_neighbour", 0.1, quick, account), Episode("busy_neighbour", 0.1, slow, account)]
    assert judgements.of_run(account, quick, episodes, 500.0) == ["busy_neighbour: latency p95 is 800 ms, more than 500 ms"]
    assert judgements.of_run(account, slow, [burst], 500.0) == ["calm: latency p95 is 800 ms, more than 500 ms"]
    assert judgements.of_run(account, quick, [burst], 500.0) == []


def test_a_fault_with_images_has_answers() -> None:
    account = Account(sent=120, received=120, dropped_newer=120)
    assert judgements.of_run(Account(), quick := [30.0], [Episode("busy_neighbour", 0.1, (), account)], 500.0) == [
        "busy_neighbour: none of 120 images was answered"
    ]
    assert judgements.of_run(Account(), quick, [Episode("camera_stalls", 0.1, (), account)], 500.0) == []  # sent after it
    assert judgements.of_run(Account(), quick, [Episode("node_dies", 0.1)], 500.0) == []


SILENT, BAD, FINE = (ERROR, "no image on /camera for 0.8 s"), (WARN, "dropped 1 bad images: why"), (OK, "answering at 30.0 Hz")


@pytest.mark.parametrize("fault", ["camera_stalls", "camera_dies", "camera_returns_compressed"])
def test_silence_is_named_while_it_lasts(fault: str) -> None:
    assert judgements.said(Episode(fault, 0.1, said=(FINE, SILENT))) == []
    for said in ((FINE,), (), ((OK, SILENT[1]),), ((WARN, SILENT[1]),), (BAD,), ((ERROR, "an image waits"),)):
        assert len(judgements.said(Episode(fault, 0.1, said=said, said_after=(SILENT,)))) == 1


@pytest.mark.parametrize("fault", ["damaged_images", "damaged_compressed_images"])
def test_bad_images_are_named_until_the_next_rest(fault: str) -> None:
    assert judgements.said(Episode(fault, 0.1, said=(FINE, BAD))) == judgements.said(Episode(fault, 0.1, said_after=(BAD,))) == []
    for said in ((FINE,), (), ((OK, BAD[1]),), (SILENT,)):
        assert len(judgements.said(Episode(fault, 0.1, said=said, said_after=said))) == 1


def test_faults_that_need_no_name_may_pass_in_silence() -> None:
    assert judgements.said(Episode("burst", 0.1)) == []
    assert set(judgements.NAMED) <= {fault.__name__ for fault in FAULTS}


def test_a_node_is_killed_in_the_first_round_and_then_after_a_life() -> None:
    ages_s = [(0, 5.0), (1, 200.0), (20, 3299.0), (21, 3300.0)]
    killed = [node_dies in _of_round(FAULTS, number, age_s, life_s=3300.0) for number, age_s in ages_s]
    assert killed == [True, False, False, True]
    assert len(_of_round(FAULTS, 1, 0.0, 3300.0)) == len(FAULTS) - 1


def test_memory_is_judged_from_the_first_weight_to_the_highest() -> None:
    steady = Life(weights_mib=[100.0, 101.9, 99.0])
    assert steady.growth == pytest.approx(0.019) and steady.faults() == []
    assert Life(weights_mib=[100.0, 102.1, 99.0]).faults() == ["its memory grew by 2.1%"]
    assert Life(weights_mib=[100.0]).faults() == Life().faults() == []  # too short to say


def test_lives_in_the_report() -> None:
    """Of one that ended before anyone looked it is said what ended it, not that nothing is known of its memory."""
    brief = Life(start_up_s=0.5)
    assert _life(2, brief) == [2, "0.0", "0.5", "-", 0, 0, "-", "-", "too short to say", "-", "-"]
    assert "<polyline" in curve([[]])
    long = Life(0.5, [50.0, 70.0, 50.5], [Sample(0.0, 49.0, 90.0), Sample(60.0, 80.0, 95.0), Sample(120.0, 51.0, 91.0)])
    long.killed_s, long.answered_s = 10.0, 13.25
    assert _life(3, long) == [3, "2.0", "0.5", "3.2", 0, 3, "50.0", "70.0", "+40.0%", "80.0", "91"]


def test_the_node_gets_more_arguments(tmp_path: Path) -> None:
    node, deadline_s = NodeProcess(tmp_path, 1, tmp_path / "log", ["--max-frames", "0"]), time.monotonic() + 60
    while not node.ended:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    assert "status 2" in node.faults()[0] and "--max-frames 0 is not possible" in node.faults()[0]


def test_report_of_faults_and_curve() -> None:
    assert verdict([], [2.0, 56.4]).endswith("recovery in their limits; memory over 56 minutes of one life.")
    assert verdict([], []).endswith("recovery in their limits; memory was not judged.")
    assert verdict(["one", "two"], [3.0]) == "**Violations: 2**\n\n- one\n- two"
    drawing = curve([[Sample(0.0, 50.0, 0.0), Sample(30.0, 100.0, 0.0)], [Sample(60.0, 25.0, 0.0)]])
    assert 'points="40.0,80.0 320.0,40.0"' in drawing and 'points="600.0,100.0"' in drawing
    assert "100 MiB" in drawing and "1.0 min" in drawing


def test_rows_of_faults() -> None:
    """Of all times together, - where nothing was measured, and what the node said that names the fault."""
    account, bad = Account(20, 3, 15, 20, 15, 2, 3, 15), Episode("damaged_images", 0.05, (20.0, 30.0, 40.0), said=(SILENT,))
    those = [bad, replace(bad, recovery_s=0.1, account=account, latencies_ms=(), said_after=(BAD,))]
    row = ["damaged images", 2, "100", "100", "30", "39", "40", 20, 20, 15, 15, 2, 3, 0, BAD[1]]
    assert _fault("damaged_images", those) == row
    outside = Episode("camera_dies", 0.02, outside=75, said=(FINE, SILENT))
    assert _fault("camera_dies", [bad, outside]) == ["camera dies", 1, "20", "20", *["-"] * 9, 75, SILENT[1]]
    assert "Outside: 75 images" in _outside([bad, outside]) and "; 2 of 2 faults have no account" in _outside([bad, outside])
