"""Panoptic matching (section 3.5): which detection is which object, and so which channel of P a cell belongs to."""

from dataclasses import replace

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from training.nets.boxes import iou
from training.nets.detector import Detections
from training.nets.detector_targets import Truth


def match(found: Detections, truth: Truth, b: int, threshold: float) -> tuple[Detections, Tensor]:
    """The detections without duplicates, and (L,) which of them is each object of image b, -1 none.

    The assignment has the largest sum of box IoU, counting pairs of one class whose IoU is at least `threshold` (eq. 5). A
    detection that could match an object but lost it to another one is a duplicate and goes; one that matches nothing stays.
    """
    overlap = iou(found.box.detach().unsqueeze(2), truth.box[b].T.unsqueeze(1))  # D,L
    possible = (overlap >= threshold) & (found.category.unsqueeze(1) == truth.category[b]) & truth.exists[b]
    gain = torch.where(possible, overlap, 0)
    rows, columns = (torch.from_numpy(part).to(gain.device) for part in linear_sum_assignment(gain.cpu().numpy(), maximize=True))
    real = possible[rows, columns]
    rows, columns = rows[real], columns[real]
    kept = ~possible.any(1)
    kept[rows] = True
    owner = torch.full((overlap.shape[1],), -1, device=gain.device)
    owner[columns] = (kept.long().cumsum(0) - 1)[rows]
    return select(found, kept), owner


def select(found: Detections, kept: Tensor) -> Detections:
    """Those of the detections that `kept` (D,), bool, says."""
    return replace(found, box=found.box[:, kept], score=found.score[kept], category=found.category[kept])


def true_detections(truth: Truth, b: int) -> Detections:
    """The objects of image b as if they had been detected, with score one (A.4)."""
    objects = truth.exists[b]
    box = truth.box[b, objects].T
    return Detections(box, torch.ones_like(box[0]), truth.category[b, objects])


def channels(semantic: Tensor, instance: Tensor, owner: Tensor, channel_of_class: Tensor) -> Tensor:
    """(h,w) the channel of P that each cell belongs to, stuff classes first; -1: void, or an object that nothing matched.

    semantic, instance: (h,w) of one image. owner: see `match`. channel_of_class: (C,), -1 for things.
    """
    stuff = int((channel_of_class >= 0).sum())
    none = owner.new_full((1,), -1)  # where -1 looks
    channel_of_object = torch.cat([torch.where(owner >= 0, stuff + owner, -1), none])
    channel_of_class = torch.cat([channel_of_class, none])
    return torch.where(instance >= 0, channel_of_object[instance], channel_of_class[semantic])
