"""Readers and writers of ROS 2 topics: names, QoS, and what to do when the other side is slow, gone or talks nonsense."""

import logging
import re
import time
from typing import Any, Generic, TypeVar

from cyclonedds.core import DDSException, InstanceState, ReadCondition, SampleState, ViewState, WaitSet
from cyclonedds.domain import DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.pub import DataWriter
from cyclonedds.qos import Policy, Qos
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration

from panoptic_ros.core import PanopticError
from panoptic_ros.middleware import dds_cdr, dds_types
from panoptic_ros.middleware.dds_types import TYPE_HASHES

log = logging.getLogger(__name__)

Message = TypeVar("Message", bound=IdlStruct)

_LOG_PERIOD_S = 5.0

_TOPIC = re.compile(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)
_ANY = SampleState.Any | ViewState.Any | InstanceState.Any
# A reliable writer blocks while a reader lags behind, in ROS 2 for ever; a robot rather loses a message.
_RELIABLE = Policy.Reliability.Reliable(max_blocking_time=duration(milliseconds=100))
_XCDR1 = Policy.DataRepresentation(use_cdrv0_representation=True)

# A history of the last few would be overwritten without a word, and samples have no numbers: what finds no room here is counted.
# It is the newest that finds none, so the room is small; an image of 4K takes 25 MB of it.
_ROOM = Policy.ResourceLimits(max_samples=8)

SENSOR_DATA = Qos(Policy.Reliability.BestEffort, Policy.Durability.Volatile, Policy.History.KeepAll, _ROOM, _XCDR1)
"""As a subscriber; matches every publisher, as that of REP-2003 does."""
EVERY_SAMPLE = Qos(_RELIABLE, Policy.Durability.Volatile, Policy.History.KeepLast(20), _XCDR1)
"""As a subscriber to recordings: what the network loses is sent again. Matches reliable publishers only.

What nobody takes is overwritten after 20 more, and not counted: what finds no room is sent, and counted, again and again.
"""
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


def dds_name(topic: str) -> str:
    """The DDS topic of a ROS 2 topic; a relative name is taken from the root. Raises PanopticError for an illegal name."""
    if not _TOPIC.fullmatch(topic):
        raise PanopticError(f"{topic!r} is no topic name; those are like /camera/image_raw: letters, digits, _ and /")
    return "rt/" + topic.lstrip("/")


class Writer(Generic[Message]):
    """Publishes. Raises PanopticError for an illegal topic name."""

    def __init__(self, participant: DomainParticipant, topic: str, kind: type[Message], qos: Qos = SYSTEM_DEFAULT) -> None:
        autodispose = Policy.WriterDataLifecycle(autodispose=False)
        self._topic = topic
        self._dropped, self._said_s = 0, -_LOG_PERIOD_S
        self._entity = DataWriter(
            participant, Topic(participant, dds_name(topic), kind), Qos(autodispose, _type_hash(kind), base=qos)
        )

    @property
    def subscribers(self) -> int:
        return int(self._entity.get_publication_matched_status().current_count)

    def write(self, message: Message) -> None:
        """A subscriber that keeps a reliable writer waiting costs this one message."""
        try:
            self._entity.write(message)
        except DDSException as error:
            if error.code != DDSException.DDS_RETCODE_TIMEOUT:
                raise
            self._note_dropped()

    def _note_dropped(self) -> None:
        """A line now and then, since there may be ten a second."""
        self._dropped += 1
        now_s = time.monotonic()
        if now_s - self._said_s >= _LOG_PERIOD_S:
            log.warning("subscribers of %s are too slow: %d messages were dropped", self._topic, self._dropped)
            self._dropped, self._said_s = 0, now_s


class Reader(Generic[Message]):
    """Subscribes. Raises PanopticError for an illegal topic name."""

    def __init__(self, participant: DomainParticipant, topic: str, kind: type[Message], qos: Qos = SENSOR_DATA) -> None:
        self._entity = DataReader(participant, Topic(participant, dds_name(topic), kind), Qos(_type_hash(kind), base=qos))
        self._arrived = ReadCondition(self._entity, _ANY)

    @property
    def publishers(self) -> int:
        return int(self._entity.get_subscription_matched_status().current_count)

    def overflow(self) -> int:
        """How many messages found no room since the last call, because nobody took those before them."""
        return int(self._entity.get_sample_rejected_status().total_count_change)

    def take(self) -> Message | None:
        """The oldest message that is still there, or None. Raises PanopticError for a malformed one, which then is gone."""
        while samples := self._entity.take(1):  # one by one: a malformed message takes those with it that come in the same call
            if isinstance(samples[0], IdlStruct):  # not the news that a publisher has left
                return samples[0]
        return None


class Arrivals:
    """Lets a thread sleep until one of the readers has something to take."""

    def __init__(self, participant: DomainParticipant, *readers: Reader[Any]) -> None:
        self._waitset = WaitSet(participant)
        for reader in readers:
            self._waitset.attach(reader._arrived)

    def wait(self, timeout_s: float) -> None:
        self._waitset.wait(duration(seconds=timeout_s))


class DdsTransport:
    """Publishing over DDS; see transport.Transport."""

    types = dds_types

    def __init__(self, participant: DomainParticipant) -> None:
        self._participant = participant

    def advertise(self, topic: str, kind: type[Message], latched: bool = False) -> Writer[Message]:
        return Writer(self._participant, topic, kind, LATCHED if latched else SYSTEM_DEFAULT)

    def deserialize(self, kind: type[Message], cdr: bytes) -> Message:
        return dds_cdr.decode(kind, cdr)


def _type_hash(kind: type[IdlStruct]) -> Policy.Userdata:
    return Policy.Userdata(f"typehash={TYPE_HASHES[kind]};".encode())
