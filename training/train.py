"""Train a recipe: `python -m training.train RECIPE [key=value ...] [--out DIR] [--resume]`."""

import argparse
import dataclasses
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from panoptic_ros.core import Label, PanopticError
from training import recipe as recipes
from training.data.panoptic import PanopticDataset, read_split, stages_with_start
from training.recipe import Recipe

Batch = tuple[Tensor, Tensor, Tensor]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("recipe", help="a name from training/recipes, or a YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. lr=2e-3 data.root=data/street stages.0.steps=100")
    parser.add_argument("--out", type=Path, help="folder for checkpoints and the log; default runs/<model>")
    parser.add_argument("--resume", action="store_true", help="continue from the folder's last checkpoint")
    parser.add_argument("--workers", type=int, default=1, help="processes that load data")
    parser.add_argument("--save-every", type=int, default=250, metavar="STEPS")
    args = parser.parse_intermixed_args(arguments)
    try:
        recipe = recipes.load(args.recipe, args.overrides)
        train(recipe, args.out or Path("runs") / recipe.model, args.resume, args.workers, args.save_every)
    except PanopticError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def train(recipe: Recipe, out: Path, resume: bool, workers: int, save_every: int) -> None:
    """Train `recipe` and leave `last.pt` (to resume and to export) and `log.jsonl` in `out`."""
    labels, items = read_split(Path(recipe.data.root), recipe.data.train)
    trainer = Trainer(recipe, labels)
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "last.pt"
    if resume:
        trainer.load(checkpoint)
    elif checkpoint.exists():
        raise PanopticError(f"{checkpoint} exists: continue it with --resume, or choose another --out")
    total = sum(stage.steps for stage in recipe.stages)
    size = f"{trainer.parameter_count() / 1e6:.2f} M parameters"
    print(f"{recipe.model}: {len(items)} images, {total} steps, {size}, on {trainer.device}")
    began, first = time.monotonic(), trainer.step
    with tqdm(total=total, initial=trainer.step, unit="step") as bar, (out / "log.jsonl").open("a") as log:
        for batch in batches(recipe, trainer.step, trainer.method.grid_stride, workers):
            terms = trainer.update(batch)
            bar.update()
            if trainer.step % 20 == 0 or trainer.step == total:
                seconds = round((time.monotonic() - began) / (trainer.step - first), 4)
                log.write(json.dumps({"step": trainer.step, "lr": trainer.rate(), "s_per_step": seconds, **terms}) + "\n")
                log.flush()
                bar.set_postfix({name: f"{value:.3f}" for name, value in terms.items()})
            if trainer.step % save_every == 0 or trainer.step == total:
                trainer.save(checkpoint)


def batches(recipe: Recipe, start: int, grid_stride: int, workers: int) -> Iterator[Batch]:
    """All batches from step `start` on, in an order that depends on the recipe alone."""
    for stage, first_step, first_sample in stages_with_start(recipe):
        skip = max(0, start - first_step)
        if skip >= stage.steps:
            continue
        data = PanopticDataset(recipe, stage, first_sample, grid_stride)
        rest = Subset(data, range(skip * stage.batch, len(data)))
        try:
            yield from DataLoader(rest, stage.batch, num_workers=workers, prefetch_factor=4 if workers else None)
        except PanopticError as error:  # of a worker process it comes with that one's traceback in its text
            raise PanopticError(str(error).strip().rpartition("PanopticError: ")[2]) from error


class Trainer:
    """A method's network, its averaged copy, and the optimiser, at some step."""

    def __init__(self, recipe: Recipe, labels: tuple[Label, ...]) -> None:
        self.recipe, self.labels, self.step = recipe, labels, 0
        torch.manual_seed(recipe.seed)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.method = recipes.method_module(recipe.method).Method(recipe.settings, labels)
        self.network = self.method.network
        if recipe.backbone_weights:
            load_backbone(self.network.trunk.backbone, Path(recipe.backbone_weights))
        if recipe.init:
            start = read_checkpoint(Path(recipe.init))
            try:
                self.network.load_state_dict(start["average"])
            except RuntimeError as error:
                raise PanopticError(
                    f"{recipe.init} is a checkpoint of another network than {recipe.model}'s: {summary(error)}"
                ) from error
        self.network.to(self.device, memory_format=torch.channels_last)
        self.average = AveragedModel(self.network, avg_fn=self._mix, use_buffers=True)
        self.optimiser = torch.optim.AdamW(parameter_groups(self.network, self.method.fast_parameters, recipe))
        self.total = sum(stage.steps for stage in recipe.stages)

    def update(self, batch: Batch) -> dict[str, float]:
        """One step. Returns the terms of the loss. Raises PanopticError when the loss is not finite."""
        image, semantic, instance = (part.to(self.device, non_blocking=True) for part in batch)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate() * group["factor"]
        self.network.train()
        # what a loss draws depends on the step alone, also after --resume
        torch.manual_seed(self.recipe.seed + 1_000_003 * self.step)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            terms = self.method.losses(image.float().contiguous(memory_format=torch.channels_last), semantic, instance)
        loss = sum(terms.values())
        if not torch.isfinite(loss):
            values = {name: value.item() for name, value in terms.items()}
            raise PanopticError(f"the loss is {loss.item()} at step {self.step}: {values}; try a lower lr")
        self.optimiser.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        if torch.isfinite(norm):  # one overflow in half precision must not end hours of work
            self.optimiser.step()
            self.average.update_parameters(self.network)
        self.step += 1
        return {name: value.item() for name, value in terms.items()} | {"loss": loss.item(), "gradient": norm.item()}

    def rate(self) -> float:
        """Learning rate of the coming step: linear warm-up, then cosine to zero."""
        warm = min(1.0, (self.step + 1) / max(1, self.recipe.warmup))
        done = max(0.0, (self.step - self.recipe.warmup) / max(1, self.total - self.recipe.warmup))
        return self.recipe.lr * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    def _mix(self, average: Tensor, new: Tensor, _count: Tensor) -> Tensor:
        decay = min(self.recipe.ema, (self.step + 1) / (self.step + 10))  # short at first, so that the start is forgotten
        return torch.lerp(new.to(average.dtype), average, decay) if average.is_floating_point() else new

    def parameter_count(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    def _origin(self) -> dict:
        """What the weights come from."""
        return {"recipe": dataclasses.asdict(self.recipe), "labels": [dataclasses.asdict(label) for label in self.labels]}

    def save(self, path: Path) -> None:
        """Written whole or not at all."""
        state = self._origin() | {
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.module.state_dict(),
            "averaged": self.average.n_averaged,
            "optimiser": self.optimiser.state_dict(),
        }
        temporary = path.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(path)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint. Raises PanopticError unless its labels and recipe, data's folder apart, are the same."""
        state = read_checkpoint(path)
        now = self._origin()
        odd = [key for key, value in now["recipe"].items() if key != "data" and state["recipe"].get(key) != value]
        odd += ["labels"] if state["labels"] != now["labels"] else []
        if odd:
            raise PanopticError(f"{path} was trained with another value of {', '.join(odd)}; choose another --out to begin anew")
        try:
            self.network.load_state_dict(state["network"])
            self.average.module.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError) as error:
            raise PanopticError(
                f"{path} is a checkpoint of another network than {self.recipe.model}'s: {summary(error)}"
            ) from error
        self.average.n_averaged = state["averaged"]
        self.step = state["step"]


def parameter_groups(network: torch.nn.Module, fast: tuple[str, ...], recipe: Recipe) -> list[dict]:
    """Weights decay; norms, biases and the method's fast parameters do not. `factor` scales the learning rate."""
    weights, others, quick = [], [], []
    for name, parameter in network.named_parameters():
        (quick if name in fast else others if parameter.ndim < 2 else weights).append(parameter)
    return [
        {"params": weights, "weight_decay": recipe.weight_decay, "factor": 1.0},
        {"params": others, "weight_decay": 0.0, "factor": 1.0},
        {"params": quick, "weight_decay": 0.0, "factor": recipe.fast_lr},
    ]


def load_backbone(backbone: torch.nn.Module, path: Path) -> None:
    """A torchvision ImageNet checkpoint; its classifier, and for MobileNetV2 its last 1x1 convolution, are left out."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for files that are missing or no checkpoints
        raise PanopticError(f"cannot read the backbone weights {path}: {summary(error)}") from error
    try:
        missing, _ = backbone.load_state_dict(state, strict=False)
    except (RuntimeError, TypeError) as error:
        raise PanopticError(f"{path} holds weights of another network than the backbone: {summary(error)}") from error
    if missing:
        raise PanopticError(f"{path} lacks {len(missing)} parameters of the backbone, such as {missing[0]}")


def summary(error: Exception, limit: int = 300) -> str:
    """An error's text on one line; torch lists every parameter that does not fit."""
    text = " ".join(str(error).split())
    return text if len(text) <= limit else f"{text[:limit]}..."


def read_checkpoint(path: Path) -> dict:
    """A checkpoint of this command. Raises PanopticError if it is missing, truncated or something else."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for files that are missing or no checkpoints
        raise PanopticError(f"cannot read the checkpoint {path}: {summary(error)}") from error
    if not isinstance(state, dict) or "recipe" not in state:
        raise PanopticError(f"{path} is no checkpoint of this project: it has no recipe")
    return state


if __name__ == "__main__":
    sys.exit(main())
