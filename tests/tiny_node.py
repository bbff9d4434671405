"""What a node is given where no engine is needed: a pipeline, a publisher, images."""

import numpy as np

from panoptic_ros.core import Panoptic
from panoptic_ros.middleware.dds_types import Header, Image, Time


class Pipeline:
    """Answers with an empty scene; fails where the frame's first pixel says so."""

    timings_ms = {"engine": 2.0}

    def __call__(self, frame: np.ndarray, stamp_ns: int) -> Panoptic:
        if frame[0, 0, 0] == 255:
            raise ZeroDivisionError("a bug")
        return Panoptic(np.zeros(frame.shape[:2], np.int32), (), stamp_ns)


class Published(list):
    def __call__(self, header: Header, frame: np.ndarray, panoptic: Panoptic) -> None:
        self.append((header, frame.shape, panoptic.stamp_ns))


def image(sec: int, width: int = 2, encoding: str = "mono8", fill: int = 0) -> Image:
    return Image(Header(Time(sec, 5), "cam"), 1, width, encoding, 0, width, bytes([fill]) * width)
