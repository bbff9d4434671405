"""Where in the network the DDS processes are."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest
from dds_client import environment, free_domain

from panoptic_ros.core import PanopticError
from panoptic_ros.middleware.dds_endpoints import dds_name
from panoptic_ros.middleware.dds_participant import LOOPBACK, configuration, join


@pytest.mark.parametrize(("topic", "name"), [("/a/b_2", "rt/a/b_2"), ("camera", "rt/camera"), ("/_x", "rt/_x")])
def test_ros_topics_have_a_prefix(topic: str, name: str) -> None:
    assert dds_name(topic) == name


@pytest.mark.parametrize("topic", ["", "/", "a//b", "/a/", "a b", "/2a", "~/a", "/a\n", "ä"])
def test_illegal_topics_are_named(topic: str) -> None:
    with pytest.raises(PanopticError, match="is no topic name; those are like /camera/image_raw"):
        dds_name(topic)


@pytest.mark.parametrize(
    ("interface", "expected"),
    [
        (LOOPBACK, {"address": "127.0.0.1"}),
        ("10.0.0.7", {"address": "10.0.0.7"}),
        ("eth7", {"name": "eth7"}),
        ('"<', {"name": '"<'}),
    ],
)
def test_interface_by_name_or_address(interface: str, expected: dict[str, str]) -> None:
    found = ElementTree.fromstring(configuration(interface)).find(".//NetworkInterface")
    assert found is not None and found.attrib == expected


def test_default_is_what_ros_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROS_LOCALHOST_ONLY", "ROS_AUTOMATIC_DISCOVERY_RANGE"):
        monkeypatch.delenv(name, raising=False)
    assert not list(ElementTree.fromstring(configuration(None)).find(".//General"))  # type: ignore[arg-type]
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "localhost")
    xml = ElementTree.fromstring(configuration(None))
    assert xml.findtext(".//AllowMulticast") == "false" and xml.find(".//Peer[@address='localhost']") is not None


@pytest.mark.parametrize(("domain", "variable"), [(-1, "0"), (233, "0"), (None, "x"), (None, "999"), (None, "9" * 20)])
def test_impossible_domains_are_named(domain: int | None, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", variable)
    with pytest.raises(PanopticError, match=f"domain '{variable if domain is None else domain}' is not possible"):
        join(domain)


LOCAL_ADDRESSES = """
import os
from panoptic_ros.middleware import dds_types
from panoptic_ros.middleware.dds_endpoints import Writer
from panoptic_ros.middleware.dds_participant import join

writer = Writer(join({domain}, "loopback"), "/x", dds_types.Image)
links = [os.readlink(f"/proc/self/fd/{{fd}}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{{fd}}")]
rows = [line.split() for line in open("/proc/net/udp").readlines()[1:]]
print(sorted({{row[1].split(":")[0] for row in rows if f"socket:[{{row[9]}}]" in links}}))
"""


@pytest.mark.skipif(not os.path.exists("/proc/net/udp"), reason="reads Linux's table of sockets")
def test_loopback_sends_from_the_loopback_address_only() -> None:
    """Cyclone DDS listens on every address (0), but its sender is bound."""
    code = LOCAL_ADDRESSES.format(domain=free_domain())
    output = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True).stdout
    assert output.strip() == "['00000000', '0100007F']"


def test_the_users_own_configuration_has_the_last_word() -> None:
    code = f"from panoptic_ros.middleware.dds_participant import join; join({free_domain()}, 'loopback')"
    interfaces = '<Interfaces><NetworkInterface name="nonesuch0"/></Interfaces>'
    uri = f"<CycloneDDS><Domain><General>{interfaces}</General></Domain></CycloneDDS>"
    process = subprocess.run(
        [sys.executable, "-c", code], env=environment() | {"CYCLONEDDS_URI": uri}, capture_output=True, text=True
    )
    assert process.returncode == 1 and "PanopticError: cannot join DDS domain" in process.stderr


def test_a_domain_of_more_digits_than_python_reads_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "9" * 5000)
    with pytest.raises(PanopticError, match="domain '9{20}' is not possible"):
        join()
