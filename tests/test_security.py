"""What docs/security.md promises, as far as the code can be asked."""

import ast
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import pytest
import tiny_engine

from panoptic_ros.middleware.outputs import COMPRESSED, OUTPUTS
from panoptic_ros.middleware.parameters import PARAMETERS

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted([*(ROOT / "panoptic_ros").rglob("*.py"), *(ROOT / "training").rglob("*.py")])
POLICY = ROOT / "config" / "panoptic.policy.xml"
EXECUTING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
NETWORK = {"socket", "socketserver", "ssl", "http", "urllib", "requests", "ftplib", "smtplib", "asyncio", "aiohttp", "xmlrpc"}
LOADERS = {"load", "load_state_dict_from_url"}
"""Of torch and numpy: what can unpickle."""


def imported(tree: ast.AST) -> set[str]:
    """The first part of the name of every module that is imported."""
    modules = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    modules += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {module.partition(".")[0] for module in modules}


def unsafe_calls(tree: ast.AST) -> list[str]:
    """Calls that may execute what they read: torch's loaders without weights_only=True, numpy with allow_pickle, YAML's loaders,
    eval and exec."""
    found = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        torch_load = name.startswith("torch.") and name.rpartition(".")[2] in LOADERS and name != "torch.export.load"
        if torch_load and given.get("weights_only") != "True":
            found.append(ast.unparse(call))
        if given.get("allow_pickle", "False") != "False" or name in (
            "eval",
            "exec",
            "yaml.load",
            "yaml.unsafe_load",
            "yaml.full_load",
        ):
            found.append(ast.unparse(call))
    return found


@pytest.mark.parametrize(
    "code", ["torch.load(f)", "torch.load(f, weights_only=False)", "np.load(f, allow_pickle=True)", "eval(x)"]
)
def test_unsafe_calls_are_seen(code: str) -> None:
    assert unsafe_calls(ast.parse(code)) == [code]
    assert unsafe_calls(ast.parse("torch.load(f, weights_only=True); np.load(f); json.load(f)")) == []


def test_nothing_that_is_read_is_executed() -> None:
    trees = {str(file.relative_to(ROOT)): ast.parse(file.read_text()) for file in FILES}
    assert {file for file, tree in trees.items() if imported(tree) & EXECUTING} == set()
    assert {file: calls for file, tree in trees.items() if (calls := unsafe_calls(tree))} == {}


def test_the_runtime_has_no_network_but_dds() -> None:
    runtime = [file for file in FILES if file.is_relative_to(ROOT / "panoptic_ros")]
    assert len(runtime) > 50
    assert [file for file in runtime if imported(ast.parse(file.read_text())) & NETWORK] == []


def test_segmenting_opens_no_connection(tiny_folder: Path, tmp_path: Path) -> None:
    """Python's audit events see every socket that Python code opens, in packages too."""
    pytest.importorskip("openvino")
    code = (
        "import os, sys\n"
        "def watch(event, arguments):\n"
        "    if event in ('socket.connect', 'socket.bind', 'socket.sendto', 'socket.getaddrinfo'):\n"
        "        print('network', event, arguments, file=sys.stderr, flush=True)\n"
        "        os._exit(9)\n"
        "sys.addaudithook(watch)\n"
        "from panoptic_ros.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    cv2.imwrite(str(tmp_path / "scene.png"), tiny_engine.scene())
    arguments = ["segment", str(tmp_path / "scene.png"), "--out", str(tmp_path / "out"), "--model", str(tiny_folder)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and list((tmp_path / "out").rglob("*.png")), done.stderr


def allowed(kind: str, how: str) -> set[str]:
    """Names in the policy, resolved for the node /panoptic. kind: topic or service. how: publish, subscribe or reply."""
    profile = ElementTree.parse(POLICY).getroot().find("enclaves/enclave[@path='/panoptic']/profiles/profile")
    assert (profile.get("ns"), profile.get("node")) == ("/", "panoptic")
    names = [element.text for group in profile.iterfind(f"{kind}s[@{how}='ALLOW']") for element in group.iterfind(kind)]
    assert sorted(names) == sorted(set(names))
    return {re.sub("^~", "/panoptic", name) if name[0] == "~" else "/" + name.lstrip("/") for name in names}


def test_the_policy_publishes_what_the_node_does() -> None:
    ours = {f"/panoptic/{name}" for name in (*OUTPUTS, "label_info")} | {"/diagnostics"}
    lifecycle_node = {"/parameter_events", "/rosout", "/panoptic/transition_event"}
    assert allowed("topic", "publish") == ours | lifecycle_node


def test_the_policy_subscribes_to_what_the_node_does() -> None:
    image = next(parameter.default for parameter in PARAMETERS if parameter.name == "image")
    assert allowed("topic", "subscribe") == {
        image, image + COMPRESSED, "/camera/depth", "/camera/camera_info", "/clock", "/tf", "/tf_static",
    }  # fmt: skip


def test_the_policy_answers_the_node_s_services() -> None:
    made = re.findall(r'create_service\(\S+, "~(/\w+)"', (ROOT / "panoptic_ros" / "middleware" / "ros.py").read_text())
    services = allowed("service", "reply")
    assert {f"/panoptic{name}" for name in made} == {"/panoptic/enable", "/panoptic/reset_tracks"} and len(services) == 14
    assert {f"/panoptic{name}" for name in made} <= services


def test_the_policy_has_no_wildcards_and_fits_the_schema() -> None:
    root = ElementTree.parse(POLICY).getroot()
    assert (root.tag, root.get("version"), [child.tag for child in root]) == ("policy", "0.2.0", ["enclaves"])
    assert not any("*" in (element.text or "") for element in root.iter())
    assert {element.tag for element in root.find("enclaves/enclave/profiles/profile")} == {"topics", "services"}


@pytest.mark.ros
def test_the_policy_is_what_a_running_node_has() -> None:
    pytest.importorskip("rclpy", reason="needs a ROS 2 installation")
    code = (
        "import json, rclpy\nfrom panoptic_ros.middleware.ros import PanopticNode\nrclpy.init()\nnode = PanopticNode()\n"
        "asked = [getattr(node, f'get_{kind}_names_and_types_by_node')('panoptic', '/') for kind in ('publisher', 'service')]\n"
        "print(json.dumps([[name for name, _ in found] for found in asked]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    publishers, services = ast.literal_eval(done.stdout.splitlines()[-1])
    assert set(publishers) <= allowed("topic", "publish")
    assert set(services) == allowed("service", "reply")
