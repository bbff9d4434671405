"""Some images of a data set or a clip, as the engine of a robot gets them: to calibrate and verify with, no labels needed."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from panoptic_ros import images
from panoptic_ros.core import PanopticError
from panoptic_ros.preprocess import geometry, letterbox
from training.data.frames import locate


def sample_images(source: str, count: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Evenly spaced, each (1,h,w,3) uint8. source: `street:val`, `PATH:SPLIT`, or a clip or a folder of images. size: (h, w).

    Raises PanopticError if there is no such thing.
    """
    if count < 1:
        raise PanopticError(f"{count} frames of {source}: it takes at least 1")
    frames = _spread(source, count)
    return [letterbox(frame, geometry(frame.shape[:2], size, 1)) for frame in frames]


def _spread(source: str, count: int) -> Iterator[np.ndarray]:
    path = Path(source)
    if os.path.isfile(path):  # a clip has to be read from its start anyway
        found = list(images.frames(path))
        return iter(found[:: max(1, len(found) // count)][:count])
    root, split = (path.parent, path.name) if os.path.isdir(path) else locate(source)
    files = images.image_files([root / split])
    return map(images.read_image, files[:: max(1, len(files) // count)][:count])
