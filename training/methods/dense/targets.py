"""What the losses of dense detections compare the network's output with, beside the detector's own targets."""

from dataclasses import replace

import torch
from torch import Tensor

from training.methods.dense.network import LEVELNESS_STRIDE
from training.nets import detector_targets
from training.nets.boxes import cell_centres
from training.nets.detector_targets import Truth, distances_to, ignored, level_of, sample


def truth_of(semantic: Tensor, instance: Tensor, things: Tensor, stride: int, weak: bool) -> Truth:
    """See `detector_targets.truth_of`. weak: of the instance map only the boxes count, and cells are shared out among them
    (supplement, section 3)."""
    truth = detector_targets.truth_of(semantic, instance, things, stride)
    if not weak:
        return truth
    shared = smallest_boxes(semantic, truth.box, truth.category, truth.exists, stride)
    return replace(truth, instance=shared, ignored=ignored(semantic, shared, things))


def smallest_boxes(semantic: Tensor, box: Tensor, category: Tensor, exists: Tensor, stride: int) -> Tensor:
    """(B,h,w) instance map from boxes: each cell to the smallest box of its class around its centre, -1 where there is none."""
    x, y = cell_centres(*semantic.shape[1:], stride, semantic.device)  # P
    owner = torch.full_like(semantic, -1).flatten(1)
    smallest = torch.full(owner.shape, torch.inf, device=owner.device)
    for number in range(box.shape[1]):  # one after the other: all at once would not fit large images
        x0, y0, x1, y1 = box[:, number].unsqueeze(2).unbind(1)  # B,1
        inside = (x0 < x) & (x < x1) & (y0 < y) & (y < y1) & exists[:, number, None]
        size = (x1 - x0) * (y1 - y0)
        taken = inside & (semantic.flatten(1) == category[:, number, None]) & (size < smallest)
        owner, smallest = torch.where(taken, number, owner), torch.where(taken, size, smallest)
    return owner.view(semantic.shape)


def levelness_targets(truth: Truth, size: tuple[int, int], ranges: list[int]) -> Tensor:
    """(B,h,w) of `size` at stride 4: 0 background, 1 + the level that a cell's box belongs to, -1 ignored."""
    centre = cell_centres(*size, LEVELNESS_STRIDE, truth.box.device)
    instance, known = sample(truth, centre)
    level = level_of(distances_to(truth, instance, centre), ranges) + 1
    return torch.where(known, torch.where(instance >= 0, level, 0), -1).view(-1, *size)
