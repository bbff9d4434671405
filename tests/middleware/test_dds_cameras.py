"""A node of several cameras in a process of its own, over DDS on the loopback interface."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dds_client import Client, free_domain, place, running
from tiny_engine import scene

from panoptic_ros.images import frames
from panoptic_ros.middleware import dds_types as types
from panoptic_ros.middleware import messages
from panoptic_ros.sources import STREET_CLIP

CAMERAS = ["--cameras", "front rear", "--image", "/{camera}/image_raw"]
MS = 1_000_000


def raw(stamp_ns: int, rgb: np.ndarray) -> types.Image:
    return messages.rgb_image(types, messages.header_at(types, stamp_ns, "cam"), rgb)


def client_of(camera: str, domain: int) -> Client:
    client = Client(domain, "/diagnostics")
    client.subscribe(f"/panoptic/{camera}/segments", types.Detection2DArray)
    client.advertise(f"/{camera}/image_raw", raw(0, scene()))
    return client


def tracks(client: Client, camera: str) -> dict[str, int]:
    """Class -> instance number, in the last answer."""
    last = client.got[f"/panoptic/{camera}/segments"][-1]
    return {d.results[0].hypothesis.class_id: int(d.id) & 0xFFFF for d in last.detections}


def status(client: Client, camera: str, level: int, meanwhile: Callable[[], None] = lambda: None) -> types.DiagnosticStatus:
    """The next of that camera and level. meanwhile: done again and again until it comes."""
    client.got["/diagnostics"].clear()

    def found() -> list[types.DiagnosticStatus]:
        all_of_them = [s for message in client.got["/diagnostics"] for s in message.status]
        return [s for s in all_of_them if s.name == f"panoptic_ros: {camera}" and s.level == level]

    client.wait_for(lambda: meanwhile() or found())
    return found()[0]


def test_two_cameras_over_one_engine_that_becomes_small(tiny_folder: Path) -> None:
    """No engine is done within a microsecond."""
    domain = free_domain()
    limit = ["--size", "128x192", "--fallback-size", "64x96", "--max-latency-ms", "0.001"]
    with running("run", "--model", str(tiny_folder), *place(domain), *CAMERAS, *limit) as node:
        front, rear = client_of("front", domain), client_of("rear", domain)
        for frame in range(1, 12):
            front.ask("/front/image_raw", raw(frame * 100 * MS, scene()))
            if frame > 8:
                rear.ask("/rear/image_raw", raw((frame * 100 + 4) * MS, scene()[:, ::-1].copy()))
        assert tracks(front, "front") == {"road": 0, "sky": 0, "car": 1, "person": 2}
        assert tracks(rear, "rear") == tracks(front, "front")  # numbers of its own

        def both() -> None:
            nonlocal frame
            frame += 1
            front.ask("/front/image_raw", raw(frame * 100 * MS, scene()))
            rear.ask("/rear/image_raw", raw((frame * 100 + 4) * MS, scene()[:, ::-1].copy()))

        found = status(front, "front", 1, both)
        values = {pair.key: pair.value for pair in found.values}
        assert found.message == "answering with 64x96: " + values["engine_size_reason"]
        assert values["engine_size"] == "64x96" and values["input"] == "/front/image_raw"
        assert values["skew_ms"].startswith("p50 4.00")
        assert tracks(front, "front") == {"road": 0, "sky": 0, "car": 1, "person": 2}

        found = status(rear, "rear", 2)
        assert found.message.startswith("no image on /rear/image_raw for ")
        node.terminate()
        output, _ = node.communicate(timeout=20)
        assert "front: received " in output and "rear: received " in output


def test_a_limit_takes_a_size_to_fall_back_to(tiny_folder: Path) -> None:
    with running("run", "--model", str(tiny_folder), *place(free_domain()), "--max-latency-ms", "50") as process:
        output, _ = process.communicate(timeout=30)
        assert (
            process.returncode == 2 and "error: --max-latency-ms 50.0 is not possible: 0 or more, with --fallback-size" in output
        )


@pytest.mark.slow
def test_two_cameras_at_half_the_rate_do_not_cost_twice_what_one_does() -> None:
    """CPU time of the node for each image of the bundled clip, at 30 Hz in all where the machine is fast enough; printed."""
    one, two = [], []
    for _ in range(3):
        one.append(cpu_ms(["/camera/image_raw"], []))
        two.append(cpu_ms(["/front/image_raw", "/rear/image_raw"], CAMERAS))
    print(f"CPU ms of an image: one camera {one}, two {two}, of the sums {sum(two) / sum(one):.2f}")
    assert sum(two) <= 1.5 * sum(one)


def cpu_ms(topics: list[str], arguments: list[str], images: int = 300) -> float:
    """Each image waits for the answer to the one before, so that none is dropped."""
    domain = free_domain()
    pictures = [frame for _, frame in zip(range(20), frames(STREET_CLIP))]
    with running("run", *place(domain), *arguments) as node:
        clients = [Client(domain) for _ in topics]
        for client, topic in zip(clients, topics):
            outputs = f"/panoptic/{topic.split('/')[1]}/" if arguments else "/panoptic/"
            client.subscribe(outputs + "segments", types.Detection2DArray)
            client.subscribe(outputs + "image", types.Image)
            client.advertise(topic, raw(0, pictures[0]))
        before_s, begin_s = cpu_of(node.pid), time.monotonic()
        for number in range(images):
            time.sleep(max(0.0, begin_s + number / 30 - time.monotonic()))
            index = number % len(topics)
            clients[index].ask(topics[index], raw(10**9 + number * 33 * MS, pictures[number % 20]))
        return round(1e3 * (cpu_of(node.pid) - before_s) / images, 1)


def cpu_of(pid: int) -> float:
    """User and system time of a process, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
