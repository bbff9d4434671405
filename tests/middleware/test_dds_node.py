"""The node in a process of its own, over DDS on the loopback interface: arguments in, messages out."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from dds_client import OUTPUTS, Client, environment, free_domain, place, running
from tiny_engine import scene

from panoptic_ros.core import Label, Panoptic
from panoptic_ros.middleware import dds, messages
from panoptic_ros.middleware import dds_types as types
from panoptic_ros.middleware import outputs as outputs_module
from panoptic_ros.middleware.dds_endpoints import DdsTransport
from panoptic_ros.middleware.dds_participant import LOOPBACK, join
from panoptic_ros.middleware.frames import frame_of
from panoptic_ros.middleware.streams import Topics
from panoptic_ros.pipeline import STAGES

RAW, COMPRESSED = "/camera/image_raw", "/camera/image_raw/compressed"
ROAD, SKY, CAR, PERSON = 7 << 16, 23 << 16, 26 << 16, 24 << 16
IMAGES = ("/panoptic/segments", "/panoptic/image", "/diagnostics")


def raw(sec: int, rgb: np.ndarray) -> types.Image:
    return messages.rgb_image(types, messages.header_at(types, sec * 1_000_000_000 + 7, "cam"), rgb)


def ids_of(message: types.Image) -> np.ndarray:
    return np.frombuffer(message.data, "<i4").reshape(message.height, message.width)


@pytest.fixture
def domain() -> int:
    return free_domain()


@pytest.fixture
def node(tiny_folder: Path, domain: int) -> Iterator["subprocess.Popen[str]"]:
    with running("run", "--model", str(tiny_folder), *place(domain)) as process:
        yield process


def test_every_topic(node: "subprocess.Popen[str]", domain: int) -> None:
    client = Client(domain, *OUTPUTS)
    client.advertise(RAW, raw(0, scene()))
    for sec in (1, 2):
        client.ask(RAW, raw(sec, scene()))
    last = {topic: received[-1] for topic, received in client.got.items()}

    ids = ids_of(last["/panoptic/image"])
    assert [ids[0, 0], ids[63, 0], ids[40, 20], ids[30, 68]] == [SKY, ROAD, CAR | 1, PERSON | 2]
    assert last["/panoptic/image"].encoding == "32SC1"
    semantic = last["/panoptic/semantic"]
    np.testing.assert_array_equal(np.frombuffer(semantic.data, np.uint8).reshape(64, 96), ids >> 16)
    assert semantic.encoding == "mono8"

    found = {int(d.id): d for d in last["/panoptic/segments"].detections}
    assert set(found) == set(np.unique(ids)) == {SKY, ROAD, CAR | 1, PERSON | 2}
    assert {d.results[0].hypothesis.class_id for d in found.values()} == {"sky", "road", "car", "person"}
    car = found[CAR | 1].bbox
    assert (car.center.position.x, car.center.position.y, car.size_x, car.size_y) == (20, 40, 24, 16)

    assert frame_of(last["/panoptic/overlay"]).shape == frame_of(last["/panoptic/overlay/compressed"]).shape == (64, 96, 3)
    assert [c.class_name for c in last["/panoptic/label_info"].class_map] == ["void", "road", "sky", "person", "car"]
    assert {m.header.frame_id for t, m in last.items() if t.startswith("/panoptic/") and "label" not in t} == {"cam"}


def test_identities_hold_and_late_subscribers_learn_the_labels(node: "subprocess.Popen[str]", domain: int) -> None:
    client = Client(domain, "/panoptic/image")
    client.advertise(RAW, raw(0, scene()))
    for sec in range(1, 6):
        moved = scene()
        moved[32:48] = np.roll(moved[32:48], sec, axis=1)
        client.ask(RAW, raw(sec, moved))
    assert [ids_of(m)[40, 24] for m in client.got["/panoptic/image"][-4:]] == [CAR | 1] * 4
    late = Client(domain, "/panoptic/label_info")
    late.wait_for(lambda: late.got["/panoptic/label_info"])


def test_a_trace_is_written_on_sigint(tiny_folder: Path, domain: int, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    with running("run", "--model", str(tiny_folder), "--trace", str(file), *place(domain)) as process:
        client = Client(domain, "/panoptic/image")
        client.advertise(RAW, raw(0, scene()))
        client.ask(RAW, raw(1, scene()))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    events = json.loads(file.read_text())["traceEvents"]
    spans = {event["name"] for event in events if event.get("args") == {"frame": 1_000_000_007}}
    assert spans == {"wait", "frame", "convert", "pipeline", *STAGES, "publish"}


def test_bad_images_and_new_sizes_midway(node: "subprocess.Popen[str]", domain: int) -> None:
    client = Client(domain, *IMAGES)
    client.advertise(RAW, raw(0, scene()))
    before = client.counts()
    bad = [raw(1, scene()) for _ in range(5)]
    bad[0].encoding, bad[1].step, bad[2].height, bad[3].data, bad[4].width = "rgb9", 1, 65, b"", 0
    for number, message in enumerate(bad, 1):
        client.send(RAW, message)
        client.wait_for(lambda: client.values()["dropped_bad"] == str(number))
    assert "image size 0x64 is empty" in client.values()["last_error"]
    for sec, factor in ((2, 2), (3, 1), (4, 3)):
        client.ask(RAW, raw(sec, np.repeat(np.repeat(scene(), factor, 0), factor, 1)))
    assert [m.width for m in client.got["/panoptic/image"]][-4:] == [96, 192, 96, 288]
    assert since(before, client.counts()) == {"received": 8, "answered": 3, "dropped_newer": 0, "dropped_bad": 5, "pending": 0}


def since(before: dict[str, int], now: dict[str, int]) -> dict[str, int]:
    return {key: now[key] - before[key] for key in now}


def test_compressed_images_even_damaged_ones(node: "subprocess.Popen[str]", domain: int) -> None:
    client = Client(domain, *IMAGES)
    png = cv2.imencode(".png", scene()[..., ::-1])[1].tobytes()
    first, damaged, last = (
        types.CompressedImage(messages.header_at(types, s * 10**9), "rgb8; png compressed bgr8", png) for s in (0, 1, 2)
    )
    client.advertise(COMPRESSED, first)
    before = client.counts()
    for number, data in enumerate((png[: len(png) // 2], b"", b"junk"), 1):
        damaged.data = data
        client.send(COMPRESSED, damaged)
        client.wait_for(lambda: client.values()["dropped_bad"] == str(number))
    client.ask(COMPRESSED, last)
    assert ids_of(client.got["/panoptic/image"][-1])[0, 0] == SKY
    assert since(before, client.counts()) == {"received": 4, "answered": 1, "dropped_newer": 0, "dropped_bad": 3, "pending": 0}


@pytest.mark.parametrize("topic", [RAW, COMPRESSED])
def test_images_faster_than_they_are_read_are_counted(node: "subprocess.Popen[str]", domain: int, topic: str) -> None:
    client, compressed = Client(domain, *IMAGES), topic == COMPRESSED
    make = messages.jpeg_image if compressed else messages.rgb_image
    burst = [make(types, messages.header_at(types, sec * 10**9, "cam"), scene()) for sec in range(301)]
    client.advertise(topic, burst[0])
    before = client.counts()
    for message in burst[1:]:
        client.send(topic, message)
    client.wait_for(lambda: client.values()["received"] == str(before["received"] + 300) and client.values()["pending"] == "0")
    became = since(before, client.counts())
    assert became["answered"] + became["dropped_newer"] == 300 and became["dropped_bad"] == 0


def test_raw_wins_over_its_compressed_twin(node: "subprocess.Popen[str]", domain: int) -> None:
    client = Client(domain, *IMAGES)
    client.advertise(COMPRESSED, messages.jpeg_image(types, messages.header_at(types, 0), scene()))
    client.advertise(RAW, raw(1, scene()))
    before = client.counts()
    for sec in range(2, 5):
        message = raw(sec, scene())
        client.ask(RAW, message)
        client.send(COMPRESSED, messages.jpeg_image(types, message.header, scene()))
    time.sleep(1.1)  # slower than 1 Hz, the one that comes first is answered
    message = raw(5, scene())
    client.ask(COMPRESSED, messages.jpeg_image(types, message.header, scene()))
    client.send(RAW, message)
    client.ask(RAW, raw(6, scene()))
    assert since(before, client.counts())["received"] == 5


def test_compressed_speaks_for_a_raw_topic_that_fell_silent(node: "subprocess.Popen[str]", domain: int) -> None:
    """As when the camera died without a word, and one that compresses came in its place."""
    client = Client(domain, *IMAGES)
    client.advertise(RAW, raw(1, scene()))
    client.advertise(COMPRESSED, messages.jpeg_image(types, messages.header_at(types, 2), scene()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly(node: "subprocess.Popen[str]", domain: int, number: int) -> None:
    client = Client(domain, "/panoptic/segments")
    client.advertise(RAW, raw(0, scene()))
    client.ask(RAW, raw(1, scene()))
    node.send_signal(number)
    output, _ = node.communicate(timeout=20)
    assert node.returncode == 0
    received, answered = map(int, re.findall(r"received (\d+), answered (\d+), dropped 0 for newer ones and 0 bad", output)[-1])
    assert received == answered >= 2


@pytest.mark.parametrize("reader_leaves", [True, False])
def test_signals_end_it_when_nobody_reads_what_it_prints(tiny_folder: Path, domain: int, reader_leaves: bool) -> None:
    """A pipe whose reader has gone, and one that is full."""
    chatty = (
        "import panoptic_ros.__main__ as program, panoptic_ros.commands.run as run; run.STATUS_PERIOD_S = 0.01; program.main()"
    )
    command = [sys.executable, "-c", chatty, "run", "--model", str(tiny_folder), *place(domain)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as process:
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        if reader_leaves:
            process.stdout.close()
        client = Client(domain, "/panoptic/segments")
        client.advertise(RAW, raw(0, scene()))
        time.sleep(1)  # more than it has lines for
        client.ask(RAW, raw(1, scene()))
        process.terminate()
        try:
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_goes_on_when_nobody_reads_what_it_logs(tiny_folder: Path, domain: int) -> None:
    """Standard error is a pipe that is full when the first bad image has to be reported."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    command = [sys.executable, "-m", "panoptic_ros", "run", "--model", str(tiny_folder), *place(domain)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=writer, env=environment()) as process:
        client = Client(domain, "/panoptic/segments", "/diagnostics")
        try:
            client.advertise(RAW, raw(0, scene()))
            bad = raw(1, scene())
            bad.encoding = "x" * 100_000
            client.send(RAW, bad)
            time.sleep(0.5)  # or a newer one wins
            for sec in range(2, 12):
                client.ask(RAW, raw(sec, scene()))
            assert client.counts()["dropped_bad"] == 1
            said = client.values()["last_error"]
            assert said.startswith("image encoding 'xxx") and len(said) < 1000
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()
            os.close(reader)
            os.close(writer)


def test_a_camera_of_a_low_rate_is_not_silent(tiny_folder: Path, domain: int) -> None:
    """With --max-silence-s of two of its periods."""
    with running("run", "--model", str(tiny_folder), *place(domain), "--max-silence-s", "3"):
        client = Client(domain, "/panoptic/segments", "/diagnostics")
        client.advertise(RAW, raw(0, scene()))
        client.got["/diagnostics"].clear()
        for sec in (1, 2):
            client.ask(RAW, raw(sec, scene()))
            time.sleep(1.5)
            client.take()
        levels = {report.status[0].level for report in client.got["/diagnostics"]}
        assert len(client.got["/diagnostics"]) >= 2 and levels == {0}


def test_ends_after_max_frames_on_a_topic_of_choice(tiny_folder: Path, domain: int) -> None:
    arguments = ["--max-frames", "20", "--image", "/front/image"]
    with running("run", "--model", str(tiny_folder), *place(domain), *arguments) as process:
        client = Client(domain, "/panoptic/segments")
        client.advertise("/front/image", raw(0, scene()))
        for sec in range(1, 21):
            client.send("/front/image", raw(sec, scene()))
            time.sleep(0.1)
        output, _ = process.communicate(timeout=20)
        assert process.returncode == 0 and "answered 20," in output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--model", "nonesuch"], "unknown model 'nonesuch'"),
        (["--image", "no topic"], "'no topic' is no topic name"),
        (["--domain", "233"], "domain '233' is not possible; a DDS domain is 0..232"),
        (["--interface", "nonesuch0"], "cannot join DDS domain"),
        (["--max-silence-s", "0"], "--max-silence-s 0.0 is not possible: 0.1 to 3600.0"),
        (["--max-frames", "0"], "--max-frames 0 is not possible: at least 1"),
        (["--backend", "nonesuch"], "unknown backend 'nonesuch'"),
    ],
)
def test_wrong_arguments_are_named(tiny_folder: Path, domain: int, arguments: list[str], reason: str) -> None:
    with running("run", "--model", str(tiny_folder), *place(domain), *arguments) as process:
        output, _ = process.communicate(timeout=30)
        assert process.returncode == 2
        assert f"error: {reason}" in output and "Traceback" not in output


def test_what_nobody_subscribes_to_is_not_computed(domain: int, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(outputs_module, "overlay", lambda frame, *_: drawn.append(frame) or frame)
    outputs = outputs_module.Outputs(DdsTransport(join(domain, LOOPBACK)), (Label(7, "road", False, (0, 0, 0)),))
    empty = Panoptic(np.zeros((64, 96), np.int32), (), 0)
    assert outputs.publish(messages.header_at(types, 0), scene(), empty) is None
    client = Client(domain, "/panoptic/overlay", "/panoptic/overlay/compressed")
    client.wait_for(lambda: client.connected and outputs.wanted == {"overlay", "overlay/compressed"})
    rest = outputs.publish(messages.header_at(types, 0), scene(), empty)
    assert not drawn  # yet: nobody waits for it
    rest()
    assert len(drawn) == 1


def test_a_node_that_cannot_hear_ends(domain: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("deaf")

    monkeypatch.setattr(dds._Inputs, "pump", fail)
    with pytest.raises(RuntimeError, match="deaf"):
        dds.DdsNode(join(domain, LOOPBACK), [Topics(RAW)], Silent, (Label(7, "road", False, (0, 0, 0)),), {}).run()


class Silent:
    """A pipeline that nothing reaches."""

    timings_ms: dict[str, float] = {}

    def __call__(self, frame: np.ndarray, stamp_ns: int) -> Panoptic:
        raise AssertionError
