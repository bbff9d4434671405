"""The command line as a user meets it: another process, its output, its exit status."""

import subprocess
import sys
from pathlib import Path

import pytest

from panoptic_ros.__main__ import COMMANDS, main


def panoptic_ros(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "panoptic_ros", *arguments], capture_output=True, text=True, check=False)


def test_help_names_every_command() -> None:
    done = panoptic_ros("--help")
    assert done.returncode == 0
    assert all(f"  {name}" in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: panoptic_ros {command}" in capsys.readouterr().out


def test_an_unknown_command_is_answered_with_the_known_ones() -> None:
    done = panoptic_ros("segmnt")
    assert done.returncode == 2
    assert "invalid choice: 'segmnt'" in done.stderr
    assert "segment" in done.stderr


def test_an_error_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    done = panoptic_ros("segment", "x.png", "--model", "nope", "--out", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown model 'nope'")
    assert done.stderr.count("\n") == 1
