"""What a reader keeps of messages that nobody takes, and what it counts."""

import pytest
from cyclonedds.qos import Qos
from dds_client import free_domain

from panoptic_ros.middleware import dds_types as types
from panoptic_ros.middleware import messages
from panoptic_ros.middleware.dds_endpoints import EVERY_SAMPLE, SENSOR_DATA, Reader, Writer
from panoptic_ros.middleware.dds_participant import LOOPBACK, join


@pytest.mark.parametrize(
    ("qos", "kept", "counted"), [(SENSOR_DATA, range(8), 22), (EVERY_SAMPLE, range(10, 30), 0)], ids=["live", "recordings"]
)
def test_of_thirty_that_nobody_takes(qos: Qos, kept: range, counted: int) -> None:
    participant = join(free_domain(), LOOPBACK)
    reader, writer = Reader(participant, "/image", types.Image, qos), Writer(participant, "/image", types.Image)
    for sec in range(30):
        writer.write(types.Image(messages.header_at(types, sec * 10**9), 1, 1, "mono8", 0, 1, b"0"))
    assert (reader.overflow(), reader.overflow()) == (counted, 0)
    assert [message.header.stamp.sec for message in iter(reader.take, None)] == list(kept)
