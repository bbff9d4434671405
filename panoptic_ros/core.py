"""The few types that everything speaks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

MAX_INSTANCE = 0xFFFF
"""Largest instance number that fits a pixel value (see `pixel_value`)."""


_LONGEST, _HEAD, _TAIL = 2100, 1500, 500
"""Characters of an error's text, and what is left of both ends of a longer one."""


class PanopticError(Exception):
    """What went wrong, with the offending value and the legal ones; the text is meant for the user.

    It may quote a file or message of anybody, whole, and goes to logs and diagnostics: a long one loses its middle.
    """

    def __init__(self, text: str) -> None:
        if len(text) > _LONGEST:
            text = f"{text[:_HEAD]}... ({len(text) - _HEAD - _TAIL} characters) ...{text[-_TAIL:]}"
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Label:
    """A class of the data set: `id` as in its COCO panoptic JSON (1..32767; 0 is void), `thing` or stuff, RGB colour."""

    id: int
    name: str
    thing: bool
    color: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Segment:
    """One region of an image.

    id: its pixel value in `Panoptic.ids`. category: a `Label.id`. score: 0..1. area: pixels.
    box: (x0, y0, x1, y1), half-open, pixels. embedding: (E,) float32 unit vector.
    track: the identity over time; None for stuff and for things not yet confirmed.
    """

    id: int
    category: int
    score: float
    area: int
    box: tuple[int, int, int, int]
    embedding: np.ndarray
    track: int | None = None


@dataclass(frozen=True, slots=True)
class Panoptic:
    """A segmented frame: `ids` (H, W) int32, read-only, 0 = void, else a `Segment.id`; `stamp_ns` since the epoch."""

    ids: np.ndarray
    segments: tuple[Segment, ...]
    stamp_ns: int


@dataclass(frozen=True, slots=True)
class Slots:
    """What an engine returns for one image of (h, w) pixels, all read-only views.

    ids: (h', w') uint8 on the decoding grid, 0 = void, k + 1 = slot k. category: (K,) int32 `Label.id`.
    score: (K,) float32, 0..1. embedding: (K, E) float32 unit vectors. A slot without pixels is empty.
    """

    ids: np.ndarray
    category: np.ndarray
    score: np.ndarray
    embedding: np.ndarray


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a backend shall run a model.

    device: as the backend names it, or `auto`. precision: of the network's arithmetic; fp16 and int8 are files of their own
    (`panoptic_ros.variant`). threads: of the CPU, 0 leaves them to the backend. pin: each thread stays on its core.
    cache: folder for what the backend compiles; None is the backend's choice. tensorrt_level, tensorrt_workspace_mib: how long
    TensorRT searches for a faster plan, 0 to 5, and the memory that one of its layers may take besides its tensors.
    """

    device: str = "auto"
    precision: str = "fp32"
    threads: int = 0
    pin: bool = False
    cache: Path | None = None
    tensorrt_level: int = 3
    tensorrt_workspace_mib: int = 2048


class Engine(Protocol):
    """One opened model. `description` says what really runs: backend, SDK version, device, precision, threads."""

    size: tuple[int, int]
    description: dict[str, str]

    def run(self, image: np.ndarray) -> Slots:
        """image: (1, h, w, 3) uint8 RGB, C-contiguous, (h, w) = size. The result is valid until the next call."""
        ...

    def run_network_only(self, image: np.ndarray) -> None:
        """The same graph cut before its decoder, for the benchmark. Results are dropped."""
        ...


def quoted(text: str, most: int = 80) -> str:
    """For messages: the text in quotation marks, cut after `most` characters, since it may be of anybody."""
    return repr(shortened(text, most))


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"


def pixel_value(category: int, instance: int) -> int:
    """The value of a pixel in `Panoptic.ids`: category << 16 | instance; instance 0 for stuff."""
    return category << 16 | instance
