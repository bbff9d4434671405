"""What a network in training sees, for TensorBoard: its segments beside the true ones, and whatever else its method shows."""

from collections.abc import Sequence

import numpy as np
import torch

from panoptic_ros.draw import overlay
from training.data.frames import TrueFrame, read_pair
from training.data.panoptic import resized
from training.data.picture import true_picture
from training.trainer import Trainer
from training.validation import averaged


@torch.no_grad()
def pictures(trainer: Trainer, frames: Sequence[TrueFrame]) -> dict[str, np.ndarray]:
    """Name -> (h,w,3) uint8 RGB, of the averaged network on the CPU.

    A method may have `pictures(image)`: image (1,3,h,w), values 0..255, to name -> (3,h',w'), values 0..1.
    """
    method, pipeline = averaged(trainer)
    size, found = tuple(trainer.recipe.engine_size), {}
    for number, frame in enumerate(frames):
        image, ids = read_pair(frame.image, frame.ids)
        found[f"{number}/true"] = true_picture(image, ids, frame.truth, trainer.labels)
        found[f"{number}/found"] = overlay(image, pipeline(image, 0), trainer.labels)
        if hasattr(method, "pictures"):
            small = torch.from_numpy(resized(frame.image, size)).permute(0, 3, 1, 2).float()
            for name, picture in method.pictures(small).items():
                found[f"{number}/{name}"] = (picture.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
    return found
