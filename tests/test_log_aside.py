"""Lines are written by a thread of their own, which may be kept waiting."""

import logging
import threading
import time

from panoptic_ros.log_aside import LogAside


def logger(handler: logging.Handler) -> logging.Logger:
    """That nobody else listens to."""
    found = logging.Logger("test", logging.INFO)
    found.addHandler(handler)
    return found


def test_lines_come_in_order_with_their_level() -> None:
    lines: list[tuple[str, int]] = []
    handler = LogAside(lambda line, level: lines.append((line, level)))
    log = logger(handler)
    log.info("first of %d", 2)
    try:
        raise ZeroDivisionError("a bug")
    except ZeroDivisionError:
        log.exception("second")
    handler.finish(5)
    assert lines[0] == ("first of 2", logging.INFO)
    assert lines[1][0].startswith("second\nTraceback") and lines[1][1] == logging.ERROR


def test_a_line_that_cannot_be_written_is_not_the_last() -> None:
    lines: list[str] = []

    def write(line: str, level: int) -> None:
        lines.append(line.encode("ascii").decode())

    handler = LogAside(write)
    log = logger(handler)
    for line in ("one", "zwölf", "two"):
        log.info(line)
    handler.finish(5)
    assert lines == ["one", "two"]


def test_whoever_logs_is_not_kept_waiting_by_a_reader_that_has_stopped() -> None:
    reads, lines = threading.Event(), []

    def write(line: str, level: int) -> None:
        reads.wait(20)
        lines.append(line)

    handler = LogAside(write)
    log = logger(handler)
    begin_s = time.monotonic()
    for number in range(1500):
        log.warning("line %d", number)
    handler.finish(0.1)
    assert time.monotonic() - begin_s < 5 and lines == []
    reads.set()
    handler.finish(20)
    (said,) = [line for line in lines if "were lost" in line]
    lost = int(said.split()[0])
    assert lost in (499, 500) and len(lines) == 1500 - lost + 1
    log.warning("again")
    handler.finish(5)
    assert lines[-1] == "again"
