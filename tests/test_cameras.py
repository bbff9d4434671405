"""Several cameras over one engine: fair turns, rounds and their skew, and what is said of the size that answers."""

import re
import threading
import time
from collections.abc import Callable
from threading import Condition
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_node import Pipeline, Published, image

from panoptic_ros.aside import Aside
from panoptic_ros.cameras import Cameras, Worker
from panoptic_ros.health import OK, WARN, Settings
from panoptic_ros.middleware.dds_types import Header, Image, Time
from panoptic_ros.middleware.frames import frame_of
from panoptic_ros.node import Node

MS = 1_000_000


class Engine:
    """What Cameras wants of an AdaptiveEngine."""

    size, reason = (64, 96), ""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def observe(self, stages_ms: dict[str, float]) -> None:
        self.seen.append(stages_ms["total"])


def cameras(count: int, engine: Engine | None = None, **options: Callable[[], float]) -> tuple[Cameras, list[Node], list[str]]:
    """The cameras, their nodes, and the topics in the order in which they are answered."""
    changed, order = Condition(), []
    nodes = [
        Node(Pipeline(), lambda *_, topic=f"/{index}": order.append(topic), f"/{index}", changed=changed)
        for index in range(count)
    ]
    return Cameras(nodes, changed, engine, **options), nodes, order


def at(ms: int) -> Image:
    return Image(Header(Time(1, ms * MS), "cam"), 1, 2, "mono8", 0, 2, bytes(2))


def test_no_camera_starves_however_its_images_fall() -> None:
    """All cameras are faster than the engine, the last one has the newest image each time."""
    both, nodes, order = cameras(3)
    for sec in range(9):
        for node in nodes:
            node.receive(image(sec))
        assert both.step(0)
    assert order == ["/0", "/1", "/2"] * 3


def test_a_slow_camera_is_not_kept_waiting_by_a_fast_one() -> None:
    both, (fast, slow), order = cameras(2)
    for sec in range(12):
        for _ in range(5):
            fast.receive(image(sec))
        if sec % 4 == 0:
            slow.receive(image(sec))
        both.step(0)
    assert order == (["/0", "/1", "/0", "/0"]) * 3
    assert slow.counts.dropped_newer == 0


def test_leftovers_are_given_back_with_the_news(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr("panoptic_ros.cameras.Leftovers", lambda: SimpleNamespace(give_back=lambda: given.append(1)))
    both, _, _ = cameras(2)
    assert not given
    both.news()
    assert given == [1]


def test_of_each_camera_the_newest_image_is_answered() -> None:
    both, nodes, _ = cameras(2)
    for ms in (10, 20, 30):
        nodes[0].receive(at(ms))
    nodes[1].receive(at(15))
    while both.step(0):
        pass
    assert [node.last.stamp_ns for node in nodes] == [10**9 + 30 * MS, 10**9 + 15 * MS]
    assert nodes[0].counts.dropped_newer == 2 and both.answered == 2


def skew(found: Cameras) -> str:
    (first, *others) = [report.values.get("skew_ms") for _, report in found.reports()]
    assert all(other == first for other in others)
    return first


def test_the_skew_of_a_round() -> None:
    both, nodes, _ = cameras(2)
    for stamps in ((10, 17), (43, 50)):
        for node, ms in zip(nodes, stamps):
            node.receive(at(ms))
            both.step(0)
    assert skew(both) == "p50 7.00 p99 7.00"


def test_a_round_takes_an_answer_of_each_camera() -> None:
    """The first at three times the rate of the second, whose image is 2 ms newer than the third of a round."""
    both, nodes, _ = cameras(2)
    for ms in (0, 10, 20, 30, 40, 50):
        nodes[0].receive(at(ms))
        both.step(0)
        if ms in (20, 50):
            nodes[1].receive(at(ms + 2))
            both.step(0)
    assert skew(both) == "p50 2.00 p99 2.00"


def test_a_paused_camera_is_of_no_round() -> None:
    trio, nodes, _ = cameras(3)
    nodes[1].paused = "nobody subscribes"
    for node, ms in zip(nodes[::2], (10, 19)):
        node.receive(at(ms))
        trio.step(0)
    assert skew(trio) == "p50 9.00 p99 9.00"


def test_what_was_answered_before_a_pause_is_of_no_round() -> None:
    """Of the first camera; of both, when the second comes back first, and the first only has its turn a second later."""
    for pausing in (1, 2):
        both, nodes, _ = cameras(2)
        nodes[0].receive(at(0))
        both.step(0)
        for reason in ("nobody subscribes", ""):
            for node in nodes[:pausing]:
                node.start_anew()
                node.paused = reason
        for index, ms in ((1, 900), (0, 909)):
            nodes[index].receive(at(ms))
            both.step(0)
        assert skew(both) == "p50 9.00 p99 9.00"


def test_a_camera_that_died_has_no_skew() -> None:
    now_s = [100.0]
    both, nodes, _ = cameras(2, now_s=lambda: now_s[0])
    for node, ms in zip(nodes, (10, 17)):
        node.receive(at(ms))
        both.step(0)
    now_s[0] += 9
    assert skew(both) == "p50 7.00 p99 7.00"
    now_s[0] += 2
    nodes[0].receive(at(11_000))
    both.step(0)
    assert skew(both) == "not all have answered in the last 10 s"


def test_one_camera_has_no_skew() -> None:
    alone, (node,), _ = cameras(1)
    node.receive(at(10))
    alone.step(0)
    assert skew(alone) is None


def test_a_bad_image_is_no_answer() -> None:
    engine = Engine()
    both, nodes, _ = cameras(2, engine)
    nodes[0].receive(image(0, fill=255))
    nodes[1].receive(at(10))
    assert both.step(0) and both.step(0) and not both.step(0)
    assert len(engine.seen) == 1 and both.answered == 1
    assert skew(both) == "not all have answered in the last 10 s"


def test_the_size_that_answers_is_in_the_report() -> None:
    engine = Engine()
    both, nodes, _ = cameras(2, engine)
    values = both.reports()[0][1].values
    assert (values["engine_size"], values["engine_size_reason"]) == ("64x96", "")
    engine.size, engine.reason = (32, 48), "median latency 50 ms"
    nodes[1].paused = "nobody subscribes"
    (_, active), (_, paused) = both.reports()
    assert (active.level, active.message) == (WARN, "answering with 32x48: median latency 50 ms")
    assert (paused.level, paused.message) == (OK, "paused: nobody subscribes")
    assert paused.values["engine_size_reason"] == "median latency 50 ms"


def test_news_are_of_the_camera_that_has_some() -> None:
    both, nodes, _ = cameras(2)
    assert [index for index, _ in both.news()] == [0, 1]
    nodes[1].settings = Settings(max_silence_s=0.1)
    time.sleep(0.15)
    ((index, report),) = both.news()
    assert index == 1 and re.match("no image on /1 for", report.message)


def test_a_camera_behind_an_engine_that_hangs_is_in_trouble_too() -> None:
    """Images that take the place of one that waits have waited as long."""
    both, nodes, _ = cameras(2)
    for node in nodes:
        node.settings = Settings(max_silence_s=0.3)
    for sec in range(5):
        nodes[1].receive(image(sec))
        time.sleep(0.1)
    message = both.reports()[1][1].message
    assert re.fullmatch(r"an image on /1 waits for 0\.[4-9] s", message), message
    both.step(0)
    assert both.reports()[1][1].level == OK


def test_a_worker_answers_all_until_it_is_stopped() -> None:
    both, nodes, order = cameras(2)
    worker = Worker(both.step)
    for node in nodes:
        node.receive(at(0))
    wait_for(lambda: both.answered == 2)
    assert worker.stop() and not worker.alive and sorted(order) == ["/0", "/1"]
    nodes[0].receive(at(1))
    time.sleep(0.2)
    assert both.answered == 2


def test_latency_is_bounded_by_a_frame_and_the_processing() -> None:
    """Images at 100 Hz, an engine of 60 ms: half of the answers are of images that waited no longer than 10 ms."""
    node = Node(Pipeline(), lambda *_: time.sleep(0.06), "/image")
    over = threading.Event()

    def send() -> None:
        for sec in range(150):
            node.receive(image(sec))
            time.sleep(0.01)
        over.set()

    threading.Thread(target=send).start()
    while not over.is_set():
        node.step(0.1)
    assert node.latency_ms("wait")[0] < 15 and node.latency_ms()[0] < 85
    assert node.counts.dropped_newer > 80


def test_the_next_image_is_converted_while_one_is_worked_on() -> None:
    """Where a thread is to spare: once, the newest, and in time; a bad one is still counted when its turn comes."""
    converted, at_work, go_on = [], threading.Event(), threading.Event()

    def convert(message: Image) -> np.ndarray:
        converted.append((message.header.stamp.sec, threading.current_thread().name))
        return frame_of(message)

    def publish(*_: object) -> None:
        at_work.set()
        assert go_on.wait(10)

    ahead = Aside("ahead")
    node = Node(Pipeline(), publish, "/image", convert=convert, ahead=ahead)
    worker = Worker(node.step)
    node.receive(image(0))
    assert at_work.wait(10)
    for sec, encoding in ((1, "odd"), (2, "mono8")):
        node.receive(image(sec, encoding=encoding))
        wait_for(lambda wanted=sec: converted[-1] == (wanted, "ahead"))
    go_on.set()
    wait_for(lambda: node.counts.answered == 2)
    worker.stop()
    assert [sec for sec, _ in converted] == [0, 1, 2] and node.counts.dropped_newer == 1
    node.receive(image(3, encoding="odd"))
    node.step(0)
    ahead.stop()
    assert node.counts.dropped_bad == 1


def wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_pictures_wait_and_answers_do_not() -> None:
    """Where they are drawn aside; of those that wait the newest wins."""
    drawn, go_on, published = [], threading.Event(), Published()

    def publish(header: Header, frame: object, panoptic: object):
        published(header, frame, panoptic)

        def draw() -> dict[str, str]:
            go_on.wait(10)
            drawn.append(header.stamp.sec)
            return {"3D outputs": "no depth"} if header.stamp.sec == 4 else {}

        return draw

    aside = Aside("aside")
    node = Node(Pipeline(), publish, "/image", aside=aside)
    for sec in range(5):
        node.receive(image(sec))
        node.step(0)
        time.sleep(0.05)
    assert node.counts.answered == 5 and not drawn
    go_on.set()
    aside.stop()
    assert drawn == [0, 4]
    report = node.report()
    assert report.values["not_drawn"] == "3" and "aside_ms" in report.values
    assert (report.level, report.message) == (WARN, "dropped 3D outputs: no depth")
