"""A place in the DDS network that ROS 2 nodes see as one of theirs: domain and network interface."""

import ipaddress
import os
from functools import cache
from xml.sax.saxutils import quoteattr

from cyclonedds.core import DDSException
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.qos import Policy, Qos

from panoptic_ros.core import PanopticError

Participant = DomainParticipant

LOOPBACK = "loopback"
MAX_DOMAIN = 232


def join(domain: int | None = None, interface: str | None = None) -> Participant:
    """Takes part in a domain, by default `$ROS_DOMAIN_ID` or 0, with one interface in a process.

    interface: "loopback" (nothing is sent off this host), the name or address of a network interface, or None for the one that
    Cyclone DDS chooses, as for ROS 2 nodes on this host. `$CYCLONEDDS_URI` is honoured and overrides all of this.
    Raises PanopticError if the domain or the interface is not possible.
    """
    number = _domain_number(domain)
    try:
        _open_domain(number, ",".join(filter(None, (configuration(interface), os.environ.get("CYCLONEDDS_URI")))))
        return DomainParticipant(number, Qos(Policy.Userdata(b"enclave=/;")))
    except DDSException as error:
        raise PanopticError(
            f"cannot join DDS domain {number} on interface {interface or 'default'}: {error}; an interface is "
            f"{LOOPBACK!r} or a name or address of this host, $CYCLONEDDS_URI is {os.environ.get('CYCLONEDDS_URI')!r}"
        ) from error


@cache
def _open_domain(number: int, config: str) -> Domain:
    """Open for the rest of the process: a domain takes all that is in it along."""
    return Domain(number, config)


def _domain_number(domain: int | None) -> int:
    value = os.environ.get("ROS_DOMAIN_ID") or "0" if domain is None else str(domain)
    if not value.isdecimal() or len(value) > 9 or int(value) > MAX_DOMAIN:
        raise PanopticError(f"domain {value[:20]!r} is not possible; a DDS domain is 0..{MAX_DOMAIN}")
    return int(value)


def configuration(interface: str | None) -> str:
    """XML for Cyclone DDS. Its defaults lose large best-effort images: hence the receive buffer, and the packets on loopback."""
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
        ipaddress.ip_address(name_or_address)
        key = "address"
    except ValueError:
        key = "name"
    return f"<Interfaces><NetworkInterface {key}={quoteattr(name_or_address)}/></Interfaces>"


def _localhost_only() -> bool:
    discovery_range = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").upper()
    return discovery_range == "LOCALHOST" or os.environ.get("ROS_LOCALHOST_ONLY") == "1"
