"""The camera of the soak: a process of its own, which publishes what it is ordered to, damaged images too."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import cv2
import numpy as np

from panoptic_ros.images import frames
from panoptic_ros.middleware import dds_types as types
from panoptic_ros.middleware import messages
from panoptic_ros.middleware.dds_endpoints import Writer
from panoptic_ros.middleware.dds_participant import LOOPBACK, join
from panoptic_ros.middleware.outputs import COMPRESSED
from panoptic_ros.sources import STREET_CLIP

SPAWN = get_context("spawn")
TOPIC = "/camera/image_raw"
FRAME_ID = "soak/"
"""With the number of the image behind it: stamps may jump, numbers do not."""
_PICTURES = 100


@dataclass(frozen=True, slots=True)
class Order:
    """An image to publish. size: (height, width). encoding: one of ENCODINGS or CODECS. damage: one of DAMAGES, or none."""

    number: int
    stamp_ns: int
    size: tuple[int, int] = (256, 512)
    encoding: str = "rgb8"
    damage: str = ""


ENCODINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rgb8": lambda rgb: rgb,
    "bgr8": lambda rgb: rgb[..., ::-1],
    "bgra8": lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA),
    "mono8": lambda rgb: cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY),
    "rgb16": lambda rgb: rgb.astype("<u2") * 257,
    "bayer_rggb8": lambda rgb: _mosaic(rgb),
}
SIZES = ((120, 160), (240, 320), (101, 203), (256, 512), (480, 640), (720, 1280))
"""(height, width)."""
KINDS = [(size, encoding) for size in SIZES for encoding in ENCODINGS if encoding != "bayer_rggb8" or size[0] % 2 == 0]
"""Raw images; Bayer patterns come in pairs of rows."""
CODECS = ("jpg", "png")
"""On the compressed topic."""


def _mosaic(rgb: np.ndarray) -> np.ndarray:
    """(H, W): red at even rows and columns, blue at odd ones, green elsewhere."""
    pixels = rgb[..., 1].copy()
    pixels[::2, ::2], pixels[1::2, 1::2] = rgb[::2, ::2, 0], rgb[1::2, 1::2, 2]
    return pixels


def _short(message: Any) -> None:
    message.data = message.data[: len(message.data) // 2]


def _long(message: Any) -> None:
    message.data = bytes(message.data) + b"\0"


def _step(message: Any) -> None:
    message.step = 1


def _huge(message: Any) -> None:
    message.height = message.width = message.step = 2**32 - 1


def _unknown(message: Any) -> None:
    message.encoding = "rgb9"


def _empty(message: Any) -> None:
    message.data = b""


def _garbage(message: Any) -> None:
    message.data = np.random.default_rng(len(message.data)).bytes(5000)


DAMAGES = {damage.__name__[1:]: damage for damage in (_short, _long, _step, _huge, _unknown, _empty)}
"""Of raw images."""
COMPRESSED_DAMAGES = {damage.__name__[1:]: damage for damage in (_short, _empty, _garbage)}


class Camera:
    """The process, from the outside. It advertises the raw topic, or the compressed one, but never both; at first none."""

    def __init__(self, domain: int) -> None:
        self.compressed = False
        self._ready = False
        self._pipe, end = SPAWN.Pipe()
        self._process = SPAWN.Process(target=serve, args=(end, domain), daemon=True)
        self._process.start()
        end.close()

    @property
    def ready(self) -> bool:
        """Whether it has started, and then whether it has done what `advertise` told it."""
        while self._pipe.poll():
            self._ready = self._pipe.recv()
        return self._ready

    def advertise(self, compressed: bool) -> None:
        """Leaves its topic for the other one."""
        self.compressed, self._ready = compressed, False
        self._pipe.send(compressed)

    def send(self, order: Order) -> None:
        self._pipe.send(order)

    def kill(self) -> None:
        """Without a word to anyone."""
        self._process.kill()
        self._process.join()


def serve(orders: Connection, domain: int) -> None:
    """What the process does: a bool advertises a topic, an Order is published on it."""
    publisher = _Publisher(domain)
    orders.send(True)
    while True:
        order = orders.recv()
        if isinstance(order, Order):
            publisher.publish(order)
        else:
            publisher.advertise(order)
            orders.send(True)


class _Publisher:
    def __init__(self, domain: int) -> None:
        self._participant = join(domain, LOOPBACK)
        self._pictures = list(islice(frames(STREET_CLIP), _PICTURES))
        self._writer: Writer[Any] | None = None

    def advertise(self, compressed: bool) -> None:
        self._writer = None  # deletes it
        kind = types.CompressedImage if compressed else types.Image
        self._writer = Writer(self._participant, TOPIC + COMPRESSED * compressed, kind)

    def publish(self, order: Order) -> None:
        assert self._writer is not None
        picture = self._pictures[order.number % len(self._pictures)]
        self._writer.write(image_of(order, picture))


def image_of(order: Order, picture: np.ndarray) -> Any:
    """The message. picture: (H, W, 3) uint8 RGB."""
    rgb = cv2.resize(picture, order.size[::-1], interpolation=cv2.INTER_LINEAR)
    header = messages.header_at(types, order.stamp_ns, f"{FRAME_ID}{order.number}")
    if order.encoding in CODECS:
        data = cv2.imencode(f".{order.encoding}", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()
        message = types.CompressedImage(header, f"rgb8; {order.encoding} compressed bgr8", data)
    else:
        pixels = np.ascontiguousarray(ENCODINGS[order.encoding](rgb))
        height, width = order.size
        message = types.Image(
            header, height, width, order.encoding, 0, pixels.nbytes // height, pixels.reshape(-1).view(np.uint8)
        )
    if order.damage:
        (COMPRESSED_DAMAGES if order.encoding in CODECS else DAMAGES)[order.damage](message)
    return message
