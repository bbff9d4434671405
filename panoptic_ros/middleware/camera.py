"""A camera of any middleware: frames and recorded messages as image topics, with camera_info beside them."""

from typing import Any

from panoptic_ros.middleware import messages
from panoptic_ros.middleware.outputs import COMPRESSED
from panoptic_ros.middleware.transport import Publisher, Transport
from panoptic_ros.sources import CAMERA_INFO_TYPE, COMPRESSED_TYPE, Frame, Item, Recorded


class Camera:
    """The topics of a camera: `topic` or, if `compressed`, its variant, and camera_info beside it.

    frame_id: in the headers of clips and folders. restamp: recorded messages get the present time.
    """

    def __init__(self, transport: Transport, topic: str, frame_id: str, restamp: bool, compressed: bool) -> None:
        self.sent = 0
        self._transport, types = transport, transport.types
        self._frame_id, self._restamp, self._compressed = frame_id, restamp, compressed
        suffix, kind = (COMPRESSED, types.CompressedImage) if compressed else ("", types.Image)
        self._images: Publisher = transport.advertise(topic + suffix, kind)
        self._infos: Publisher = transport.advertise(f"{topic.rpartition('/')[0]}/camera_info", types.CameraInfo)
        self._kinds = {COMPRESSED_TYPE: types.CompressedImage, CAMERA_INFO_TYPE: types.CameraInfo}

    @property
    def subscribed(self) -> bool:
        return self._images.subscribers > 0

    def publish(self, now_ns: int, item: Item) -> None:
        message = self._made(now_ns, item) if isinstance(item, Frame) else self._recorded(now_ns, item)
        if isinstance(item, Recorded) and item.type == CAMERA_INFO_TYPE:
            self._infos.write(message)
        else:
            self._images.write(message)
            self.sent += 1

    def _made(self, now_ns: int, frame: Frame) -> Any:
        build = messages.jpeg_image if self._compressed else messages.rgb_image
        types = self._transport.types
        return build(types, messages.header_at(types, now_ns, self._frame_id), frame.rgb)

    def _recorded(self, now_ns: int, recorded: Recorded) -> Any:
        types = self._transport.types
        message = self._transport.deserialize(self._kinds.get(recorded.type, types.Image), recorded.cdr)
        if self._restamp:
            message.header = messages.header_at(types, now_ns, message.header.frame_id)
        return message
