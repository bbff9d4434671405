"""Any data set in COCO panoptic layout, as training samples."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from torch.utils.data import Dataset

from panoptic_ros.core import Label, PanopticError
from panoptic_ros.images import read_image
from panoptic_ros.preprocess import geometry, letterbox
from training.data.frames import read_frames, read_pair
from training.recipe import Recipe, Stage

Sample = tuple[np.ndarray, np.ndarray, np.ndarray]
"""image (3,h,w) uint8 RGB; semantic (h',w') int64, class index, -1 void; instance (h',w') int64, from 0, -1 none."""


@dataclass(frozen=True)
class Item:
    """Files and segments of one image. segments: id -> (class index, is crowd)."""

    image: Path
    ids: Path
    segments: dict[int, tuple[int, bool]]


def read_split(root: Path, split: str) -> tuple[tuple[Label, ...], list[Item]]:
    """Labels and items of `<root>/panoptic_<split>.json`. Raises PanopticError, naming the first files that are missing."""
    labels, frames = read_frames(root, split)
    index = {label.id: i for i, label in enumerate(labels)}
    items = [Item(f.image, f.ids, {i: (index[t.category], t.crowd) for i, t in f.truth.items()}) for f in frames]
    return labels, items


def read_sample(item: Item, things: tuple[bool, ...]) -> Sample:
    """One image at its own size, image as (H,W,3). Crowds are things without an instance."""
    image, ids = read_pair(item.image, item.ids)
    values, inverse = np.unique(ids, return_inverse=True)
    unknown = set(values.tolist()) - {0} - set(item.segments)
    if unknown:
        raise PanopticError(f"{item.ids} has segment ids {sorted(unknown)} that its JSON lacks")
    semantic, instance, count = np.full(len(values), -1), np.full(len(values), -1), 0
    for i, value in enumerate(values.tolist()):
        if value:
            semantic[i], crowd = item.segments[value]
            if things[semantic[i]] and not crowd:
                instance[i], count = count, count + 1
    inverse = inverse.reshape(ids.shape)
    return image, semantic.astype(np.int16)[inverse], instance.astype(np.int16)[inverse]


def resized(file: Path, size: tuple[int, int]) -> np.ndarray:
    """An image as the engine of a robot gets it: (1,h,w,3) uint8 RGB of `size`."""
    frame = read_image(file)
    return letterbox(frame, geometry(frame.shape[:2], size, 1))


class PanopticDataset(Dataset):
    """The training samples of a recipe's stage, numbered by step: sample i of the run is the same whenever it is asked for."""

    def __init__(self, recipe: Recipe, stage: Stage, first: int, grid_stride: int) -> None:
        self.labels, self.items = read_split(Path(recipe.data.root), recipe.data.train)
        self.stage, self.first, self.grid_stride, self.seed = stage, first, grid_stride, recipe.seed
        self.cache: dict[int, Sample] | None = {} if recipe.data.cache else None

    def __len__(self) -> int:
        return self.stage.steps * self.stage.batch

    def __getitem__(self, index: int) -> Sample:
        number = self.first + index
        epoch, position = divmod(number, len(self.items))
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.items))
        rng = np.random.default_rng((self.seed, 1, number))
        return augment(self.read(int(order[position])), self.stage, self.grid_stride, rng)

    def read(self, index: int) -> Sample:
        """Item `index` as `read_sample` gives it; from memory the second time, if the recipe says so."""
        if self.cache is not None and index in self.cache:
            return self.cache[index]
        sample = read_sample(self.items[index], tuple(label.thing for label in self.labels))
        if self.cache is not None:
            self.cache[index] = sample
        return sample


def augment(sample: Sample, stage: Stage, grid_stride: int, rng: np.random.Generator) -> Sample:
    """A random window, resized to the stage's size, maybe flipped, with other colours; targets on the loss's grid."""
    image, semantic, instance = sample
    height, width = stage.size
    rows, columns = window(image.shape[:2], stage, rng)
    image = image[rows, columns]
    shrinks = image.shape[0] >= height
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    cells = nearest(image.shape[:2], (rows, columns), grid_stride)
    semantic, instance = semantic[cells].astype(np.int64), instance[cells].astype(np.int64)
    if rng.random() < 0.5:
        image, semantic, instance = image[:, ::-1], semantic[:, ::-1], instance[:, ::-1]
    image = colours(image, rng).transpose(2, 0, 1)
    return np.ascontiguousarray(image), np.ascontiguousarray(semantic), np.ascontiguousarray(instance)


def window(size: tuple[int, int], stage: Stage, rng: np.random.Generator) -> tuple[slice, slice]:
    """A random window of the stage's aspect, as large as the frame allows times a factor of the stage's `crop` range."""
    height, width = size
    aspect = stage.size[1] / stage.size[0]
    largest = min(height, width / aspect)
    h = max(1, round(largest * rng.uniform(*stage.crop)))
    w = min(width, max(1, round(h * aspect)))
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    return slice(top, top + h), slice(left, left + w)


def nearest(size: tuple[int, int], source: tuple[slice, slice], stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Index arrays: for each cell of the grid of an image of `size`, the pixel under its centre in the `source` window."""
    axes = []
    for length, part in zip(size, source, strict=True):
        centers = (np.arange(length // stride) + 0.5) * stride / length
        axes.append(part.start + (centers * (part.stop - part.start)).astype(int))
    return np.ix_(*axes)


def colours(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random gain of each channel, contrast, brightness and gamma, through one lookup table per channel."""
    levels = np.linspace(0, 1, 256)[:, None] ** rng.uniform(0.75, 1.33)
    gain = rng.uniform(0.75, 1.25) * rng.uniform(0.92, 1.08, 3)
    table = np.clip(levels * gain * 255 + rng.uniform(-20, 20), 0, 255).astype(np.uint8)
    return cv2.LUT(np.ascontiguousarray(image), table.reshape(256, 1, 3))


def stages_with_start(recipe: Recipe) -> Iterator[tuple[Stage, int, int]]:
    """(stage, its first step, the number of its first sample) in order."""
    step = sample = 0
    for stage in recipe.stages:
        yield stage, step, sample
        step, sample = step + stage.steps, sample + stage.steps * stage.batch
