"""Any data set in COCO panoptic layout, as training samples."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from torch.utils.data import Dataset

from panoptic_ros.core import Label, PanopticError
from panoptic_ros.images import read_image
from panoptic_ros.preprocess import geometry, letterbox
from training.data.frames import TrueFrame, read_frames, read_pair
from training.data.regions import indexed
from training.recipe import Recipe, Stage

Sample = tuple[np.ndarray, np.ndarray, np.ndarray]
"""image (3,h,w) uint8 RGB; semantic (h',w') int64, class index, -1 void; instance (h',w') int64, from 0, -1 none."""


def read_sample(frame: TrueFrame, labels: tuple[Label, ...]) -> Sample:
    """One image at its own size, image as (H,W,3). Crowds are things without an instance."""
    image, ids = read_pair(frame.image, frame.ids)
    values, index_of = indexed(ids)
    unknown = [value for value in values.tolist() if value and value not in frame.truth]
    if unknown:
        raise PanopticError(f"{frame.ids} has segment ids {unknown} that its JSON lacks")
    index = {label.id: i for i, label in enumerate(labels)}
    semantic, instance, count = np.full(len(values), -1), np.full(len(values), -1), 0
    for i, value in enumerate(values.tolist()):
        if value:
            truth = frame.truth[value]
            semantic[i] = index[truth.category]
            if labels[semantic[i]].thing and not truth.crowd:
                instance[i], count = count, count + 1
    return image, semantic.astype(np.int16)[index_of], instance.astype(np.int16)[index_of]


def resized(file: Path, size: tuple[int, int]) -> np.ndarray:
    """An image as the engine of a robot gets it: (1,h,w,3) uint8 RGB of `size`."""
    frame = read_image(file)
    return letterbox(frame, geometry(frame.shape[:2], size, 1))


class PanopticDataset(Dataset):
    """The training samples of a recipe's stage, numbered by step: sample i of the run is the same whenever it is asked for."""

    def __init__(self, recipe: Recipe, stage: Stage, first: int, grid_stride: int) -> None:
        self.labels, self.frames = read_frames(Path(recipe.data.root), recipe.data.train)
        self.stage, self.first, self.grid_stride, self.seed = stage, first, grid_stride, recipe.seed
        self.cache: dict[int, Sample] | None = {} if recipe.data.cache else None

    def __len__(self) -> int:
        return self.stage.steps * self.stage.batch

    def __getitem__(self, index: int) -> Sample:
        number = self.first + index
        epoch, position = divmod(number, len(self.frames))
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.frames))
        rng = np.random.default_rng((self.seed, 1, number))
        return augment(self.read(int(order[position])), self.stage, self.grid_stride, rng)

    def read(self, index: int) -> Sample:
        """Frame `index` as `read_sample` gives it; from memory the second time, if the recipe says so."""
        if self.cache is not None and index in self.cache:
            return self.cache[index]
        sample = read_sample(self.frames[index], self.labels)
        if self.cache is not None:
            self.cache[index] = sample
        return sample


def augment(sample: Sample, stage: Stage, grid_stride: int, rng: np.random.Generator) -> Sample:
    """A random window, resized to the stage's size, maybe flipped, with other colours; targets on the loss's grid."""
    size = extent(sample[0].shape[:2], stage, rng)
    image, semantic, instance = padded(sample, size, rng)
    centre = thing_centre(instance, rng) if stage.around_things and rng.random() < stage.around_things else None
    rows, columns = window(image.shape[:2], size, centre, rng)
    image, (height, width) = image[rows, columns], stage.size
    shrinks = image.shape[0] >= height
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    cells = nearest(image.shape[:2], (rows, columns), grid_stride)
    semantic, instance = semantic[cells].astype(np.int64), instance[cells].astype(np.int64)
    if rng.random() < stage.flip:
        image, semantic, instance = image[:, ::-1], semantic[:, ::-1], instance[:, ::-1]
    image = (colours(image, rng) if stage.colours else image).transpose(2, 0, 1)
    return np.ascontiguousarray(image), np.ascontiguousarray(semantic), np.ascontiguousarray(instance)


def extent(size: tuple[int, int], stage: Stage, rng: np.random.Generator) -> tuple[int, int]:
    """Height and width of the window that becomes the stage's image, in pixels of a frame of `size`.

    With `stage.scale` or `shorter` it may be larger than the frame. Without, it has the stage's aspect and fits into it.
    """
    (height, width), (rows, columns) = size, stage.size
    factor = None
    if stage.shorter:
        first, last, step = stage.shorter
        factor = rng.choice(range(first, last + 1, step)) / min(size)
    elif stage.scale:
        shrunk = min(1.0, stage.longest / max(size)) if stage.longest else 1.0
        factor = shrunk * rng.uniform(*stage.scale)
    if factor:
        return max(1, round(rows / factor)), max(1, round(columns / factor))
    aspect = columns / rows
    h = max(1, round(min(height, width / aspect) * rng.uniform(*stage.crop)))
    return h, min(width, max(1, round(h * aspect)))


def padded(sample: Sample, size: tuple[int, int], rng: np.random.Generator) -> Sample:
    """The sample, at a random place in a frame of at least `size`; what is added is void, and of ImageNet's mean colour."""
    missing = [max(0, wanted - there) for wanted, there in zip(size, sample[0].shape)]
    if not any(missing):
        return sample
    top, left = (int(rng.integers(length + 1)) for length in missing)
    sides = top, missing[0] - top, left, missing[1] - left
    fills = (124, 116, 104), -1, -1
    return tuple(cv2.copyMakeBorder(part, *sides, cv2.BORDER_CONSTANT, value=fill) for part, fill in zip(sample, fills))


def thing_centre(instance: np.ndarray, rng: np.random.Generator) -> tuple[int, int] | None:
    """Row and column of the middle of one of the objects, drawn at random; None where there is none."""
    numbers = np.unique(instance[instance >= 0])
    if not len(numbers):
        return None
    rows, columns = np.nonzero(instance == rng.choice(numbers))
    return int(rows.mean()), int(columns.mean())


def window(
    size: tuple[int, int], part: tuple[int, int], centre: tuple[int, int] | None, rng: np.random.Generator
) -> tuple[slice, slice]:
    """A random window of `part` pixels, with the pixel `centre` in it if there is one."""
    slices = []
    for axis, (length, extent_) in enumerate(zip(size, part, strict=True)):
        first, last = 0, length - extent_
        if centre:
            first, last = max(first, centre[axis] - extent_ + 1), min(last, centre[axis])
        start = int(rng.integers(first, last + 1))
        slices.append(slice(start, start + extent_))
    return slices[0], slices[1]


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
