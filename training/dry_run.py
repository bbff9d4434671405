"""Try a recipe without its data: made-up files in the folders of the real ones, two steps of each stage, shapes and memory."""

import contextlib
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from panoptic_ros.core import PanopticError
from training import distributed
from training.backbone import located
from training.data import fabricate
from training.data.frames import read_frames
from training.data.panoptic import PanopticDataset
from training.recipe import Recipe, Stage
from training.torch_engine import manifest_of
from training.trainer import Batch, Trainer

STEPS = 2
GIB = 2**30


def dry_run(recipe: Recipe) -> None:
    """Raises PanopticError if anything of the recipe cannot be built or run, or its batches would not fit into memory.

    Memory is measured with one and with two images a step, and a stage's peak at its full share of a batch is told from that.
    """
    with tempfile.TemporaryDirectory(prefix="dry_run_") as folder:
        data = replace(recipe.data, root=folder, cache=False)
        fabricate.write(data.layout, Path(folder), {data.train, data.val})
        labels, frames = read_frames(Path(folder), data.train)
        read_frames(Path(folder), data.val)
        print(f"{recipe.name}: {data.layout} layout, {len(labels)} labels, {frames[0].image.relative_to(folder)}")
        recipe = with_weights_at_hand(recipe)
        # the losses of a random network at the peak rate say nothing
        trainer = Trainer(replace(recipe, data=data, accumulate=1, warmup=1_000_000), labels)
        print(f"{trainer.parameter_count() / 1e6:.2f} M parameters, {recipe.precision} on {trainer.device}")
        check_graph(trainer)
        for number, stage in enumerate(recipe.stages):
            try_stage(trainer, stage, number, share=stage.batch // distributed.count() // recipe.accumulate)
    print("dry run passed")


def with_weights_at_hand(recipe: Recipe) -> Recipe:
    """The recipe without the weights that it starts from, where they are no file here. One that is here has to fit."""
    for key in ("backbone_weights", "init"):
        source = getattr(recipe, key)
        if source and not os.path.isfile(located(source)):
            print(f"note: {key} {source} is no file here, and was not tried")
            recipe = replace(recipe, **{key: None})
    return recipe


def try_stage(trainer: Trainer, stage: Stage, number: int, share: int) -> None:
    """Two steps, and what `share` images at a time need."""
    peaks = []
    for images in (1, 2):
        forget_peak(trainer.device)
        for step in range(STEPS):
            terms = trainer.update(batch_of(trainer, stage, images, step))
        peaks.append(peak_bytes(trainer.device))
    note_unused(trainer)
    needed = peaks[0] + max(0, peaks[1] - peaks[0]) * (share - 1)
    there = memory_bytes(trainer.device)
    size = "x".join(map(str, stage.size))
    one, two = (f"{peak / GIB:.2f} GiB" for peak in peaks)
    print(f"stage {number}: {size}, loss {terms['loss']:.3f}; peak {one} with 1 image, {two} with 2")
    print(f"stage {number}: about {needed / GIB:.1f} GiB with {share} at a time, of {there / GIB:.1f} GiB")
    if needed > there:
        raise PanopticError(
            f"stages.{number}: {share} images of {size} at a time need about {needed / GIB:.1f} GiB, {trainer.device} has "
            f"{there / GIB:.1f}; take a higher accumulate, more processes, or a smaller stages.{number}.batch"
        )


def batch_of(trainer: Trainer, stage: Stage, images: int, step: int) -> Batch:
    """Raises PanopticError unless its parts have the shapes that the losses expect."""
    stride = trainer.method.grid_stride
    data = PanopticDataset(trainer.recipe, stage, step * images, stride)
    batch = tuple(torch.stack(parts) for parts in zip(*(map(torch.from_numpy, data[n]) for n in range(images))))
    height, width = stage.size
    grid = images, height // stride, width // stride
    found = [tuple(part.shape) for part in batch]
    if found != [(images, 3, height, width), grid, grid] or height % 32 or width % 32:
        raise PanopticError(f"stage size {height}x{width}: samples are {found}; height and width have to be multiples of 32")
    return batch


def note_unused(trainer: Trainer) -> None:
    """Says which parameters no loss depends on."""
    unused = [name for name, p in trainer.network.named_parameters() if p.requires_grad and p.grad is None]
    if unused:
        print(f"note: {len(unused)} parameters got no gradient, such as {unused[0]}: a term of the loss may be turned off")


@torch.no_grad()
def check_graph(trainer: Trainer) -> None:
    """Raises PanopticError unless network and decoder answer an image of the engine's size as `core.Slots` says."""
    method, (height, width) = trainer.method, trainer.recipe.engine_size
    model = manifest_of(trainer.recipe, method)
    graph = method.graph().to(trainer.device).eval()
    raw = graph.network_output(torch.zeros(1, height, width, 3, dtype=torch.uint8, device=trainer.device))
    answer = graph.slots(raw)
    found = [part.shape for part in (answer.ids, answer.category, answer.score, answer.embedding)]
    grid, slots = model.grid_size, model.slots
    if found[:3] != [grid, (slots,), (slots,)]:
        raise PanopticError(f"the graph answers {height}x{width} with {found}; expected {slots} slots on a grid of {grid}")
    print(f"engine: {height}x{width}, {slots} slots, ids {found[0]}, embedding {found[3]}")


def forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # where it is not allowed, the peak is that of all before, and the estimate too high
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew


def peak_bytes(device: torch.device) -> int:
    """The most memory in use since `forget_peak`: the GPU's, or the whole process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _kib_of("/proc/self/status", "VmHWM") * 1024


def memory_bytes(device: torch.device) -> int:
    """What this process can have altogether."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return (_kib_of("/proc/meminfo", "MemAvailable") + _kib_of("/proc/self/status", "VmRSS")) * 1024


def _kib_of(file: str, name: str) -> int:
    """Of a line such as `VmHWM:   123456 kB`."""
    return next(int(line.split()[1]) for line in Path(file).read_text().splitlines() if line.startswith(f"{name}:"))
