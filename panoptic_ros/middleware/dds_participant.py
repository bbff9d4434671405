"""A place in the DDS network that ROS 2 nodes see as one of theirs: domain, topic names, types and QoS."""

import ipaddress
import os
import re
from dataclasses import dataclass
from functools import cache
from typing import TypeVar
from xml.sax.saxutils import quoteattr

from cyclonedds.core import DDSException
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.pub import DataWriter
from cyclonedds.qos import Policy, Qos
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration

from panoptic_ros.core import PanopticError
from panoptic_ros.middleware.dds_types import TYPE_HASHES

Message = TypeVar("Message", bound=IdlStruct)

LOOPBACK = "loopback"
MAX_DOMAIN = 232
_TOPIC = re.compile(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)
# A reliable writer blocks while a reader lags behind, in ROS 2 for ever; a robot rather loses a message.
_RELIABLE = Policy.Reliability.Reliable(max_blocking_time=duration(milliseconds=100))
_XCDR1 = Policy.DataRepresentation(use_cdrv0_representation=True)

SENSOR_DATA = Qos(Policy.Reliability.BestEffort, Policy.Durability.Volatile, Policy.History.KeepLast(5), _XCDR1)
"""As a subscriber, REP-2003; matches every publisher."""
SYSTEM_DEFAULT = Qos(_RELIABLE, Policy.Durability.Volatile, Policy.History.KeepLast(10), _XCDR1)
"""As a publisher, REP-2003; matches every volatile subscriber."""
LATCHED = Qos(
    _RELIABLE,
    Policy.Durability.TransientLocal,
    Policy.History.KeepLast(1),
    Policy.DurabilityService(0, Policy.History.KeepLast(1), -1, -1, -1),
    _XCDR1,
)
"""For what late subscribers need too."""


@dataclass(frozen=True, slots=True)
class Participant:
    """Makes readers and writers, which keep it alive."""

    entity: DomainParticipant

    def writer(self, topic: str, kind: type[Message], qos: Qos = SYSTEM_DEFAULT) -> DataWriter[Message]:
        autodispose = Policy.WriterDataLifecycle(autodispose=False)
        return DataWriter(self.entity, self._topic(topic, kind), Qos(autodispose, _hash(kind), base=qos))

    def reader(self, topic: str, kind: type[Message], qos: Qos = SENSOR_DATA) -> DataReader[Message]:
        return DataReader(self.entity, self._topic(topic, kind), Qos(_hash(kind), base=qos))

    def _topic(self, name: str, kind: type[Message]) -> Topic[Message]:
        return Topic(self.entity, dds_name(name), kind)


def _hash(kind: type[IdlStruct]) -> Policy.Userdata:
    return Policy.Userdata(f"typehash={TYPE_HASHES[kind]};".encode())


def dds_name(topic: str) -> str:
    """The DDS topic of a ROS 2 topic; a relative name is taken from the root. Raises PanopticError for an illegal name."""
    if not _TOPIC.fullmatch(topic):
        raise PanopticError(f"{topic!r} is no topic name; those are like /camera/image_raw: letters, digits, _ and /")
    return "rt/" + topic.lstrip("/")


def join(domain: int | None = None, interface: str | None = None) -> Participant:
    """Takes part in a domain, by default `$ROS_DOMAIN_ID` or 0, with one interface in a process.

    interface: "loopback" (nothing is sent off this host), the name or address of a network interface, or None for the one that
    Cyclone DDS chooses, as for ROS 2 nodes on this host. `$CYCLONEDDS_URI` is honoured and overrides all of this.
    Raises PanopticError if the domain or the interface is not possible.
    """
    number = _domain_number(domain)
    try:
        _open_domain(number, ",".join(filter(None, (configuration(interface), os.environ.get("CYCLONEDDS_URI")))))
        return Participant(DomainParticipant(number, Qos(Policy.Userdata(b"enclave=/;"))))
    except DDSException as error:
        raise PanopticError(
            f"cannot join DDS domain {number} on interface {interface or 'default'}: {error}; "
            f"an interface is {LOOPBACK!r} or a name or address of this host, $CYCLONEDDS_URI is {os.environ.get('CYCLONEDDS_URI')!r}"
        ) from error


@cache
def _open_domain(number: int, config: str) -> Domain:
    """Open for the rest of the process: a domain takes all that is in it along."""
    return Domain(number, config)


def _domain_number(domain: int | None) -> int:
    value = os.environ.get("ROS_DOMAIN_ID") or "0" if domain is None else str(domain)
    if not value.isdecimal() or int(value) > MAX_DOMAIN:
        raise PanopticError(f"domain {value!r} is not possible; a DDS domain is 0..{MAX_DOMAIN}")
    return int(value)


def configuration(interface: str | None) -> str:
    """XML for Cyclone DDS. Its defaults lose large best-effort images: hence the receive buffer and, on loopback, whole packets."""
    general, discovery = "", ""
    if interface == LOOPBACK:
        general = _interface("127.0.0.1") + (
            "<AllowMulticast>false</AllowMulticast><MaxMessageSize>65500B</MaxMessageSize><FragmentSize>65000B</FragmentSize>"
        )
    elif interface is not None:
        general = _interface(interface)
    elif _localhost_only():  # What rmw_cyclonedds does then.
        general = "<AllowMulticast>false</AllowMulticast>"
        discovery = '<ParticipantIndex>auto</ParticipantIndex><Peers><Peer address="localhost"/></Peers>'
    return (
        f'<CycloneDDS><Domain Id="any"><General>{general}</General><Discovery>{discovery}</Discovery>'
        '<Internal><SocketReceiveBufferSize min="default" max="16MB"/></Internal></Domain></CycloneDDS>'
    )


def _interface(name_or_address: str) -> str:
    try:
        key = "address" if ipaddress.ip_address(name_or_address) else ""
    except ValueError:
        key = "name"
    return f"<Interfaces><NetworkInterface {key}={quoteattr(name_or_address)}/></Interfaces>"


def _localhost_only() -> bool:
    discovery_range = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").upper()
    return discovery_range == "LOCALHOST" or os.environ.get("ROS_LOCALHOST_ONLY") == "1"
