"""The node's core, without a middleware: newest frame wins, every message is accounted for."""

import logging
import re
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tiny_node import Pipeline, Published, image

from panoptic_ros.core import PanopticError
from panoptic_ros.health import ERROR, OK, WARN, Counts, Settings
from panoptic_ros.middleware.dds_types import Header, Image, Time
from panoptic_ros.node import Node


class Lines(logging.Handler):
    """What the node logs. Not pytest's caplog, whose root logger is not ours once ROS's launch has been imported."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logging.getLogger("panoptic_ros.health").addHandler(handler)
    yield handler
    logging.getLogger("panoptic_ros.health").removeHandler(handler)


def test_answers_with_the_header_and_stamp_of_the_image() -> None:
    published = Published()
    node = Node(Pipeline(), published, "/image")
    node.receive(image(3))
    assert node.step(0)
    assert published == [(Header(Time(3, 5), "cam"), (1, 2, 3), 3_000_000_005)]
    assert node.counts == Counts(received=1, answered=1)


def test_an_image_without_a_stamp_was_taken_when_it_arrived() -> None:
    """Or nothing would ever be forgotten by a tracker."""
    published = Published()
    node = Node(Pipeline(), published, "/image", now_ns=lambda: 7)
    unset = Header(Time(0, 0), "cam")
    node.receive(Image(unset, 1, 2, "mono8", 0, 2, bytes(2)))
    node.step(0)
    assert published == [(unset, (1, 2, 3), 7)]
    assert node.report().values["input_age_ms"] == "0.0"


def test_the_newest_wins_and_the_others_are_counted() -> None:
    published = Published()
    node = Node(Pipeline(), published, "/image")
    for sec in range(5):
        node.receive(image(sec))
    assert node.counts == Counts(received=5, dropped_newer=4, pending=1)
    assert node.step(0) and not node.step(0)
    assert [header.stamp.sec for header, _, _ in published] == [4]
    assert node.counts == Counts(received=5, answered=1, dropped_newer=4)


def test_bad_images_are_dropped_and_the_stream_goes_on(lines: Lines) -> None:
    published = Published()
    node = Node(Pipeline(), published, "/image")
    for message in (image(0), image(1, encoding="odd"), image(2, width=3), image(3, fill=255), image(4)):
        node.receive(message)
        node.step(0)
    node.reject(PanopticError("malformed Image"))
    assert [shape for _, shape, _ in published] == [(1, 2, 3), (1, 3, 3), (1, 2, 3)]
    assert node.counts == Counts(received=6, answered=3, dropped_bad=3)
    assert len(lines.messages) == 1
    assert lines.messages[0].startswith("dropped 1 images on /image: image encoding 'odd' is not supported")
    report = node.report()
    assert (report.level, report.message) == (WARN, "dropped 3 bad images: malformed Image")
    assert node.report().level == OK  # said once


def test_log_lines_are_throttled(lines: Lines) -> None:
    node = Node(Pipeline(), Published(), "/image", settings=Settings(log_interval_s=0.2))
    for _ in range(10):
        node.reject(PanopticError("odd"))
    time.sleep(0.25)
    node.reject(PanopticError("even"))
    assert lines.messages == [
        "dropped 1 images on /image: odd",
        "dropped 10 images on /image: even",
    ]


def test_a_bug_is_logged_with_its_trace(lines: Lines) -> None:
    node = Node(Pipeline(), Published(), "/image")
    node.receive(image(0, fill=255))
    node.step(0)
    text = logging.Formatter().format(lines.records[0])
    assert lines.records[0].levelno == logging.WARNING and "ZeroDivisionError: a bug" in text and "Traceback" in text


def test_silence_is_an_error_within_a_second() -> None:
    node = Node(Pipeline(), Published(), "/image", settings=Settings(max_silence_s=0.3))
    assert node.report().level == OK
    time.sleep(0.4)
    assert node.report().level == ERROR and re.fullmatch(r"no image on /image for \S+ s, ever", node.report().message)
    node.receive(image(0))
    node.step(0)
    assert node.report().level == OK
    time.sleep(0.4)
    assert node.report().level == ERROR and re.fullmatch(r"no image on /image for \S+ s", node.report().message)


def test_a_pipeline_that_hangs_is_an_error_while_images_come() -> None:
    go_on, at_work = threading.Event(), threading.Event()

    def publish(*_: object) -> None:
        at_work.set()
        go_on.wait(10)

    node = Node(Pipeline(), publish, "/image", settings=Settings(max_silence_s=0.3))
    node.receive(image(0))
    worker = threading.Thread(target=node.step, args=(0,))
    worker.start()
    assert at_work.wait(10)
    time.sleep(0.4)
    node.receive(image(1))
    report = node.report()
    assert report.level == ERROR and "an image on /image is being worked on for 0." in report.message
    go_on.set()
    worker.join()
    node.receive(image(2))
    assert node.report().level == OK


def test_silence_says_who_should_be_sending() -> None:
    node = Node(Pipeline(), Published(), "/image", settings=Settings(max_silence_s=0), publishers=lambda: "nobody publishes it")
    assert node.report().message.endswith(", ever; nobody publishes it")


def test_who_is_paused_hears_no_silence() -> None:
    node = Node(Pipeline(), Published(), "/image", settings=Settings(max_silence_s=0.2))
    node.paused = "nobody subscribes"
    time.sleep(0.3)
    assert (node.report().level, node.report().message) == (OK, "paused: nobody subscribes")
    node.paused = ""
    node.start_anew()
    assert node.report().level == OK
    time.sleep(0.3)
    assert node.report().level == ERROR


def test_what_waited_is_not_answered_after_a_pause() -> None:
    published = Published()
    node = Node(Pipeline(), published, "/image")
    node.receive(image(0))
    node.start_anew()
    assert not node.step(0) and node.counts == Counts(received=1, dropped_newer=1)


@pytest.mark.parametrize(
    ("settings", "level", "message"),
    [
        (Settings(), OK, "answering"),
        (Settings(warn_latency_ms=10), WARN, "latency is .. ms, more than 10 ms"),
        (Settings(warn_latency_ms=10, error_latency_ms=15), ERROR, "latency is .. ms, more than 15 ms"),
        (Settings(warn_latency_ms=1000, error_latency_ms=2000), OK, "answering"),
        (Settings(warn_age_ms=40), WARN, "age of the input is 50 ms, more than 40 ms"),
        (Settings(warn_latency_ms=10, error_age_ms=40), ERROR, "age of the input is 50 ms, more than 40 ms"),
        (Settings(warn_age_ms=50, error_age_ms=50), OK, "answering"),
    ],
)
def test_limits_of_latency_and_age(settings: Settings, level: int, message: str) -> None:
    node = Node(Pipeline(), lambda *_: time.sleep(0.02), "/image", settings=settings, now_ns=lambda: 3_000_000_005 + 50_000_000)
    node.receive(image(3))
    node.step(0)
    report = node.report()
    assert report.level == level and re.match(message, report.message)


def test_what_was_left_out_of_an_answer_is_said_once(lines: Lines) -> None:
    node = Node(Pipeline(), lambda *_: lambda: {"3D outputs": "no depth image has come yet"}, "/image")
    for sec in range(3):
        node.receive(image(sec))
        node.step(0)
    assert lines.messages == ["dropped 1 3D outputs: no depth image has come yet"]
    report = node.report()
    assert (report.level, report.message) == (WARN, "dropped 3D outputs: no depth image has come yet")
    assert node.report().level == OK and node.counts.answered == 3


def test_texts_of_a_sender_are_cut(lines: Lines) -> None:
    """Or a message of some MiB would be in the log, and in every report from then on."""
    node = Node(Pipeline(), Published(), "/image")
    node.receive(image(0, encoding="x" * (1 << 20)))
    node.step(0)
    (said,) = lines.messages
    assert said.startswith("dropped 1 images on /image: image encoding 'xxx") and len(said) < 1000
    report = node.report()
    assert sum(map(len, (report.message, *report.values.values()))) < 3000


def test_a_frame_id_that_would_make_every_detection_large_is_refused() -> None:
    """It is copied into each of them."""
    published = Published()
    node = Node(Pipeline(), published, "/image")
    for length in (256, 257):
        message = image(0)
        message.header = Header(Time(1, 0), "f" * length)
        node.receive(message)
        node.step(0)
    assert len(published) == 1
    assert "is too long; at most 256 characters" in node.report().values["last_error"]


def test_news_come_once_a_second_and_at_once_of_trouble() -> None:
    node = Node(Pipeline(), Published(), "/image", settings=Settings(max_silence_s=0.2))
    first = node.news()
    assert first is not None and first.level == OK
    assert node.news() is None
    time.sleep(0.25)
    trouble = node.news()
    assert trouble is not None and trouble.level == ERROR
    assert node.news() is None
    node.receive(image(0))
    relief = node.news()
    assert relief is not None and relief.level == OK


def test_report_says_all() -> None:
    node = Node(Pipeline(), Published(), "/image", {"device": "abacus"}, now_ns=lambda: 3_000_000_005 + 20_000_000)
    node.receive(image(3))
    node.step(0)
    values = node.report().values
    assert values["input"] == "/image" and values["device"] == "abacus" and values["input_age_ms"] == "20.0"
    assert (values["received"], values["answered"], values["pending"], values["last_error"]) == ("1", "1", "0", "")
    assert values["engine_ms"] == "p50 2.00 p99 2.00"
    assert {"wait_ms", "convert_ms", "pipeline_ms", "publish_ms", "total_ms", "input_rate_hz", "output_rate_hz"} <= set(values)


def test_rates_and_latencies() -> None:
    node = Node(Pipeline(), lambda *_: time.sleep(0.02), "/image")
    assert node.latency_ms() == (0.0, 0.0)
    for sec in range(5):
        node.receive(image(sec))
        node.step(0)
    p50, p99 = node.latency_ms("publish")
    assert 20 <= p50 <= p99 and p50 <= node.latency_ms()[0]
    assert 0 < float(node.report().values["output_rate_hz"]) < 1 / 0.02


def test_step_waits_for_an_image_of_another_thread() -> None:
    node = Node(Pipeline(), Published(), "/image")
    threading.Timer(0.05, node.receive, [image(0)]).start()
    assert node.step(10)
    assert not node.step(0.01)


def test_nothing_is_lost_between_threads() -> None:
    """Every snapshot adds up while one thread sends as fast as it can and another answers."""
    node = Node(Pipeline(), Published(), "/image")
    sender = threading.Thread(target=lambda: [node.receive(image(n, fill=255 * (n % 7 == 0))) for n in range(3000)])
    sender.start()
    while sender.is_alive() or node.counts.pending:
        node.step(0.001)
        check(node.counts)
    sender.join()
    assert node.counts.received == 3000 and node.counts.pending == 0


def check(counts: Counts) -> None:
    assert counts.received == counts.answered + counts.dropped_newer + counts.dropped_bad + counts.pending
    assert 0 <= counts.pending <= 2


class Accounts(RuleBasedStateMachine):
    """Any order of events."""

    def __init__(self) -> None:
        super().__init__()
        self.node = Node(Pipeline(), Published(), "/image")
        self.sent = 0

    @rule(width=st.integers(0, 3), fill=st.sampled_from([0, 255]), encoding=st.sampled_from(["mono8", "odd"]))
    def receive(self, width: int, fill: int, encoding: str) -> None:
        self.node.receive(image(0, width, encoding, fill))
        self.sent += 1

    @rule()
    def reject(self) -> None:
        self.node.reject(PanopticError("malformed"))
        self.sent += 1

    @rule(count=st.integers(0, 3))
    def miss(self, count: int) -> None:
        dropped = self.node.counts.dropped_newer
        self.node.miss(count)
        self.sent += count
        assert self.node.counts.dropped_newer == dropped + count

    @rule()
    def step(self) -> None:
        self.node.step(0)

    @invariant()
    def adds_up(self) -> None:
        check(self.node.counts)
        assert self.node.counts.received == self.sent


TestAccounts = Accounts.TestCase
