"""Images, depth and calibration as they come over the network, up to what is published for them."""

import struct
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
import tiny_engine

from panoptic_ros.core import Label, Panoptic, Slots
from panoptic_ros.manifest import Manifest
from panoptic_ros.middleware import dds_types as types
from panoptic_ros.middleware import messages
from panoptic_ros.middleware.depth import Depths, DepthSettings
from panoptic_ros.middleware.frames import ENCODINGS, check_header, frame_of
from panoptic_ros.node import stamp_ns
from panoptic_ros.pipeline import Pipeline
from panoptic_ros.projection import boxes_3d, cloud
from panoptic_ros.tracker import Tracker
from tests.fuzz import mutation
from tests.fuzz.target import Target

LABELS = tuple(Label(**entry | {"color": tuple(entry["color"])}) for entry in tiny_engine.LABELS)
NAMES = {label.id: label.name for label in LABELS}
THINGS = frozenset(label.id for label in LABELS if label.thing)
MODEL = Manifest(
    "fuzz", "fuzz", Path("model.onnx"), (64, 96), 32, 4, "network", 5, 4, LABELS, "Apache-2.0", "nothing", "none", {}
)  # fmt: skip
SCENE = tiny_engine.scene()


class Answer:
    """An engine that sees the same five objects in every image."""

    size = MODEL.size
    description: dict[str, str] = {}

    def run(self, image: np.ndarray) -> Slots:
        assert image.shape == (1, *self.size, 3) and image.dtype == np.uint8 and image.flags.c_contiguous
        ids = np.repeat(np.arange(16, dtype=np.uint8) % 6, 24).reshape(16, 24)
        return Slots(ids, np.array(tiny_engine.CATEGORY, np.int32), np.full(5, 0.5, np.float32), np.eye(5, 4, dtype=np.float32))

    def run_network_only(self, image: np.ndarray) -> None:
        self.run(image)


# Texts stand before the rest of an input, each behind its length.

_LENGTH = struct.Struct("<H")


def joined(texts: Sequence[str], rest: bytes) -> bytes:
    encoded = [text.encode() for text in texts]
    return b"".join(_LENGTH.pack(len(text)) + text for text in encoded) + rest


def parted(data: bytes, count: int) -> tuple[list[str], bytes]:
    """So many texts, and the rest; what is missing is empty. A CDR reader lets nothing through that is not UTF-8."""
    texts = []
    for _ in range(count):
        (size,) = _LENGTH.unpack(data[: _LENGTH.size].ljust(_LENGTH.size, b"\0"))
        texts.append(data[_LENGTH.size : _LENGTH.size + size].decode(errors="replace"))
        data = data[_LENGTH.size + size :]
    return texts, data


def with_odd_texts(mutate: mutation.Mutate, count: int) -> mutation.Mutate:
    """Changes the rest of the inputs as `mutate` does, and in a third of them one of the texts."""

    def change(random: Random, seeds: Sequence[bytes]) -> bytes:
        texts, rest = parted(random.choice(seeds), count)
        if random.random() < 0.33:
            texts[random.randrange(count)] = mutation.text(random)
        whole = joined(texts, mutate(random, [parted(seed, count)[1] for seed in seeds]))
        return whole if random.random() < 0.9 else mutation.octets(random, [whole])

    return change


def check_size(message: Any, panoptic: Panoptic) -> None:
    """What is published may grow by the pixels, but not by what the texts of an image say."""
    size, most = len(message.serialize()), 65_536 + 8 * panoptic.ids.size
    assert size <= most, f"{type(message).__name__} of {size} bytes, at most {most}"


# Images

IMAGE = struct.Struct(
    "<HHIBiI"
)  # height, width, step, is_bigendian, sec, nanosec; before it encoding and frame_id, then the pixels


def image_seeds() -> list[bytes]:
    return [joined([encoding, "camera"], _image(8, 6, encoding, 0, 1_700_000_000, bytes(8 * 6 * 8))) for encoding in ENCODINGS]


def _image(height: int, width: int, encoding: str, padding: int, sec: int, pixels: bytes) -> bytes:
    """A well-formed image, as far as there are pixels for it."""
    samples = 4 if encoding.startswith(("rgba", "bgra")) else 3 if encoding.startswith(("rgb", "bgr")) else 1
    step = width * (2 if "y" in encoding else samples) * (2 if encoding.endswith("16") else 1) + padding
    rows = height * 3 // 2 if encoding.startswith("nv") else height
    return IMAGE.pack(height, width, step, 0, sec, 0) + pixels[: step * rows].ljust(step * rows, b"\x55")


def image_mutation(random: Random, seeds: Sequence[bytes]) -> bytes:
    """Half of them well-formed, in sizes that nobody thinks of."""
    if random.random() < 0.5:
        return with_odd_texts(mutation.octets, 2)(random, seeds)
    size = random.choice(((1, 1), (1, 2), (2, 1), (3, 5), (2, 2), (1, 30_000), (30_000, 1), (17, 4), (200, 300), (5, 16_384)))
    sec = random.choice((0, -1, 1 << 31 - 1, -(1 << 31), 1_700_000_000))
    encoding = random.choice(ENCODINGS)
    pixels = _image(*size, encoding, random.choice((0, 0, 0, 1, 2, 7)), sec, random.randbytes(50))
    made = joined([encoding, mutation.text(random) if random.random() < 0.2 else "camera"], pixels)
    return made if random.random() < 0.9 else mutation.octets(random, [made])


def image(data: bytes, _: Path) -> None:
    """From the message to what is published for it, twice in a row, for the tracker."""
    (encoding, frame_id), data = parted(data, 2)
    if len(data) < IMAGE.size:
        return
    height, width, step, big, sec, nanosec = IMAGE.unpack_from(data)
    header = types.Header(types.Time(sec, nanosec), frame_id)
    check_header(header)
    frame = frame_of(types.Image(header, height, width, encoding, big, step, memoryview(data)[IMAGE.size :]))
    pipeline = Pipeline(Answer(), MODEL, Tracker(LABELS))
    for later_ns in (0, 33_000_000):
        panoptic = pipeline(frame, stamp_ns(header) + later_ns)
        assert panoptic.ids.shape == (height, width)
    check_size(messages.segments(types, header, panoptic, NAMES), panoptic)
    check_size(messages.panoptic_image(types, header, panoptic), panoptic)
    check_size(messages.semantic_image(types, header, panoptic, LABELS), panoptic)


def compressed_seeds() -> list[bytes]:
    jpeg, png = ".jpg", ".png"
    grey, wide, alpha = SCENE[..., 0], SCENE.astype(np.uint16) * 257, np.dstack([SCENE, SCENE[..., :1]])
    made = [
        (jpeg, SCENE, ()), (jpeg, grey, ()), (jpeg, SCENE, (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
        (jpeg, SCENE, (cv2.IMWRITE_JPEG_RST_INTERVAL, 4)), (png, SCENE, ()), (png, grey, ()), (png, wide, ()), (png, alpha, ()),
        (png, grey // 200 * 255, (cv2.IMWRITE_PNG_BILEVEL, 1)), (".webp", SCENE, ()),
        (".webp", SCENE, (cv2.IMWRITE_WEBP_QUALITY, 101)), (".bmp", SCENE, ()), (".bmp", grey, ()),
        (".tiff", SCENE, ()), (".tiff", wide, ()),
    ]  # fmt: skip
    return [joined([suffix[1:]], cv2.imencode(suffix, picture, options)[1].tobytes()) for suffix, picture, options in made]


def compressed(data: bytes, _: Path) -> None:
    (form,), data = parted(data, 1)
    Pipeline(Answer(), MODEL)(frame_of(types.CompressedImage(types.Header(), form, data)), 0)


# Depth and calibration

DEPTH = struct.Struct("<HHIBHHIIq4d")  # of the depth: height, width, step, is_bigendian; of the image: height, width; of
# camera_info: height, width; nanoseconds between them; fx, fy, cx, cy; then the depths. Before it the depth's encoding, and the
# frame_id of image, depth and camera_info


def depth_seeds() -> list[bytes]:
    near = np.full((64, 96), 2.5, np.float32).tobytes(), np.full((64, 96), 2500, np.uint16).tobytes()
    float_m = DEPTH.pack(64, 96, 96 * 4, 0, 64, 96, 64, 96, 0, 50.0, 50.0, 48.0, 32.0) + near[0]
    wide_mm = DEPTH.pack(64, 96, 96 * 2, 0, 32, 48, 64, 96, 10**6, 50.0, 50.0, 48.0, 32.0) + near[1]
    encoded = (("32FC1", float_m), ("16UC1", wide_mm), ("mono16", wide_mm))
    return [joined([encoding, "camera", "camera", "camera"], data) for encoding, data in encoded]


def depth(data: bytes, _: Path) -> None:
    """Boxes and points that are published are finite, whatever calibration and depth say."""
    (encoding, frame_id, depth_frame_id, info_frame_id), data = parted(data, 4)
    if len(data) < DEPTH.size:
        return
    rows, columns, step, big, height, width, info_height, info_width, apart_ns, *k = DEPTH.unpack_from(data)
    if not 0 < height * width <= 1 << 16:
        return
    now_ns = 1_700_000_000_000_000_000
    header, calibrated = (messages.header_at(types, now_ns, name) for name in (frame_id, info_frame_id))
    check_header(header)
    there = messages.header_at(types, min(max(now_ns + apart_ns, 0), 2**31 * 10**9), depth_frame_id)
    depths = Depths(DepthSettings(wait_s=0.0))
    depths.receive_depth(types.Image(there, rows, columns, encoding, big, step, memoryview(data)[DEPTH.size :]))
    matrix = [k[0], 0.0, k[2], 0.0, k[1], k[3], 0.0, 0.0, 1.0]
    depths.receive_info(types.CameraInfo(calibrated, info_height, info_width, k=matrix))
    panoptic = Pipeline(Answer(), MODEL)(np.zeros((height, width, 3), np.uint8), now_ns)
    view = depths.view(header, panoptic.ids.shape)
    boxes = boxes_3d(panoptic, view.depth, view.intrinsics, view.placement, THINGS)
    points = cloud(panoptic.ids, view.depth, view.intrinsics, view.placement, 4)
    assert all(np.isfinite([box.centre, box.size]).all() for box in boxes), "a box that is not finite"
    assert all(np.isfinite(points[axis]).all() for axis in "xyz"), "a point that is not finite"
    check_size(messages.segments_3d(types, header, boxes, NAMES), panoptic)
    check_size(messages.point_cloud(types, header, points), panoptic)


TARGETS = (
    Target("image", image_seeds, image, image_mutation, 10),
    Target("compressed", compressed_seeds, compressed, with_odd_texts(mutation.picture, 1), 4),
    Target("depth", depth_seeds, depth, with_odd_texts(mutation.octets, 4), 10),
)
