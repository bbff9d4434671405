"""What a reader keeps of messages that nobody takes, and what it counts; what a writer says of slow ones."""

import pytest
from cyclonedds.core import DDSException
from cyclonedds.qos import Qos
from dds_client import free_domain

from panoptic_ros.middleware import dds_endpoints, messages
from panoptic_ros.middleware import dds_types as types
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


def test_slow_subscribers_are_said_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs 100 ms and a message, so that there may be ten a second."""
    lines: list[str] = []
    writer = Writer(join(free_domain(), LOOPBACK), "/topic", types.LabelInfo)

    def keep_waiting(_: object) -> None:
        raise DDSException(DDSException.DDS_RETCODE_TIMEOUT)

    monkeypatch.setattr(writer._entity, "write", keep_waiting)
    monkeypatch.setattr(dds_endpoints.log, "warning", lambda text, *values: lines.append(text % values))
    for _ in range(3):
        writer.write(types.LabelInfo())
    assert lines == ["subscribers of /topic are too slow: 1 messages were dropped"]
    monkeypatch.setattr(dds_endpoints, "_LOG_PERIOD_S", 0.0)
    writer.write(types.LabelInfo())
    assert lines[1:] == ["subscribers of /topic are too slow: 3 messages were dropped"]
