"""What is made of the times that a probe has measured, and a probe of a real node."""

import subprocess
import sys
from pathlib import Path

from dds_client import command, environment, free_domain, place, running

from panoptic_ros.commands.probe import Found

MS = 1_000_000


def test_overhead_and_newest_frame_of_drawn_times() -> None:
    """Images every 10 ms; answers take 24 ms, of which the pipeline 15: at 9 ms nothing newer was there, at 19 ms one was."""
    found = Found([n * 10 * MS for n in range(5)], {0: 24 * MS, 20 * MS: 44 * MS, 40 * MS: 74 * MS})
    found.values = {"pipeline_ms": "p50 15.00 p99 16.00", "total_ms": "p50 17.50 p99 20.00"}
    lines = found.lines()
    assert lines[0] == "sent 5 images, 3 answered"
    assert lines[1].startswith("from sending an image to its segments: p50 24.0 ms")
    assert lines[2] == "in the node, from arrival to publication: p50 17.5 ms, 2.5 ms more than its pipeline"
    assert found.behind(15.0) == [0, 0, 0]
    assert found.behind(5.0) == [1, 1, 0]


def test_no_answers() -> None:
    assert Found([1, 2]).lines() == ["sent 2 images, no answers"]


def test_a_node_is_measured(tiny_folder: Path) -> None:
    domain = free_domain()
    with running("run", "--model", str(tiny_folder), *place(domain)):
        probe = command("probe", "--frame", "64x96", "--rate", "20", "--seconds", "2", *place(domain))
        said, _ = probe.communicate(timeout=60)
    assert probe.returncode == 0 and said.startswith("sent 40 images, ") and "model tiny" in said


def test_impossible_rates_are_refused() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "panoptic_ros", "probe", "--rate", "0"], capture_output=True, text=True, env=environment()
    )
    assert said.returncode == 2 and said.stderr == "error: --rate 0.0 and --seconds 20.0 have to be above 0\n"
