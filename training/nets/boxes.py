"""Boxes x0, y0, x1, y1 in pixels, half-open, and the centres of the cells of a map."""

import torch
from torch import Tensor


def cell_centres(height: int, width: int, stride: int, device: torch.device) -> Tensor:
    """(2,P): x and y of the cells of a grid in row order, pixels."""
    return centres_of(torch.empty(height, width, device=device), stride)


def centres_of(like: Tensor, stride: int) -> Tensor:
    """The same for the grid of a map (..,h,w); by sums over ones, which export without the numbers of rows and columns."""
    ones = torch.ones_like(like.flatten(0, -3)[0] if like.ndim > 2 else like)
    return stride * (torch.stack([ones.cumsum(1), ones.cumsum(0)]).flatten(1) - 0.5)


def axes_of(like: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """x (w,) and y (h,) of the columns and rows of that grid. like: (..,h,w)."""
    ones = torch.ones_like(like.flatten(0, -3)[0])
    return stride * (ones[0].cumsum(0) - 0.5), stride * (ones[:, 0].cumsum(0) - 0.5)


def boxes_around(centre: Tensor, distances: Tensor) -> Tensor:
    """(..,4,P) boxes. centre: (2,P). distances: (..,4,P) to left, top, right, bottom."""
    return torch.cat([centre - distances[..., :2, :], centre + distances[..., 2:, :]], -2)


def iou(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union, 0 for empty boxes. one, other: x0, y0, x1, y1 in their first dimension; the others broadcast."""
    width = (torch.minimum(one[2], other[2]) - torch.maximum(one[0], other[0])).relu()
    height = (torch.minimum(one[3], other[3]) - torch.maximum(one[1], other[1])).relu()
    both = width * height
    return both / (area(one) + area(other) - both).clamp_min(1e-6)


def area(box: Tensor) -> Tensor:
    """box: x0, y0, x1, y1 in its first dimension."""
    return (box[2] - box[0]) * (box[3] - box[1])
