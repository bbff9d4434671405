"""What pip and colcon install: the two descriptions agree, and nothing is left behind."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def setup_py(*arguments: str) -> list[str]:
    done = subprocess.run([sys.executable, "setup.py", "-q", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_both_descriptions_agree() -> None:
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    assert package.get("format") == "3"
    maintainer = package.find("maintainer")
    described = [package.findtext("name"), package.findtext("version"), maintainer.text, maintainer.get("email")]
    assert setup_py("--name", "--version", "--maintainer", "--maintainer-email") == described
    assert re.fullmatch(r"[^@\s]+@[^@\s]+\.\w+", maintainer.get("email"))
    assert package.findtext("license") == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert package.findtext("export/build_type") == "ament_python"
    assert (ROOT / "resource" / package.findtext("name")).exists()


def test_parameters_and_policy_are_installed(tmp_path: Path) -> None:
    setup_py("install_data", "--install-dir", str(tmp_path))
    installed = {file.name for file in (tmp_path / "share" / "panoptic_ros" / "config").iterdir()}
    assert installed == {"panoptic.yaml", "panoptic.policy.xml"}
