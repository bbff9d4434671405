"""One training step after the other, in one process or in several."""

import dataclasses
import os
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from panoptic_ros.core import Label, PanopticError
from training import distributed, normalisation, optimiser
from training import recipe as recipes
from training.backbone import located
from training.checkpoint import load_backbone, read_checkpoint, summary, write_checkpoint
from training.recipe import Recipe

Batch = tuple[Tensor, Tensor, Tensor]
"""image (B,3,h,w) uint8; semantic and instance (B,h',w') int64, see `training.data.panoptic.Sample`."""

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
MOST_SKIPPED = 30
"""Steps in a row without a finite gradient: more than the scaler of fp16 needs to find its scale."""
MAY_CHANGE = ("data", "accumulate")
"""What a continued run may do otherwise: neither says what is learned."""


class Losses(nn.Module):
    """A method's losses as a module, which DistributedDataParallel needs."""

    def __init__(self, method: object) -> None:
        super().__init__()
        self.method, self.network = method, method.network

    def forward(self, image: Tensor, semantic: Tensor, instance: Tensor) -> dict[str, Tensor]:
        return self.method.losses(image, semantic, instance)


def check_start(recipe: Recipe) -> None:
    """Raises PanopticError if weights that the recipe starts from are missing, with the training that makes them."""
    for key in ("backbone_weights", "init"):
        source = getattr(recipe, key)
        if source and "://" not in source and not os.path.exists(located(source)):
            makers = [f"`python -m training.train {name}`" for name in recipes.makers_of(Path(source).parent.name)]
            made = f"{' or '.join(makers)} makes it, " if makers else ""
            raise PanopticError(f"there is no {source}: {made}{key}=FILE takes another, {key}=null begins without")


class Trainer:
    """A method's network, its averaged copy, and the optimiser, at some step."""

    def __init__(self, recipe: Recipe, labels: tuple[Label, ...]) -> None:
        self.recipe, self.labels, self.step, self.skipped = recipe, labels, 0, 0
        torch.manual_seed(recipe.seed)
        self.device = distributed.join()
        self.method = recipes.method_module(recipe.method).Method(recipe.settings, labels)
        self.network = self.method.network
        self._start_from_files()
        self.network.to(self.device, memory_format=torch.channels_last)
        self.average = AveragedModel(self.network, avg_fn=self._mix, use_buffers=True)
        if recipe.norm == "sync":
            normalisation.synchronise(self.network)
        if recipe.norm == "frozen":
            normalisation.freeze(self.network)
        self.losses = Losses(self.method)
        if distributed.count() > 1:
            # a term that is turned off may leave parameters unused
            self.losses = DistributedDataParallel(self.losses, find_unused_parameters=True)
        self.optimiser = optimiser.optimiser_of(self.network, self.method.fast_parameters, recipe)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "fp16")
        self.total = sum(stage.steps for stage in recipe.stages)

    def _start_from_files(self) -> None:
        check_start(self.recipe)
        if self.recipe.backbone_weights:
            load_backbone(self.network.trunk.backbone, located(self.recipe.backbone_weights))
        if self.recipe.init:
            start = read_checkpoint(Path(self.recipe.init))
            try:
                self.network.load_state_dict(start["average"])
            except RuntimeError as error:
                raise self._misfit(self.recipe.init, error) from error

    def update(self, batch: Batch) -> dict[str, float]:
        """One step with this process's share of a batch. Returns the terms of the loss, means over the processes.

        Raises PanopticError when the loss is not finite, or the gradient not for many steps.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate() * group["factor"]
        self.network.train()
        if self.recipe.norm == "frozen":
            normalisation.freeze(self.network)
        # what a loss draws depends on the step alone, also after --resume and in every process
        torch.manual_seed(self.recipe.seed + 1_000_003 * self.step)
        self.optimiser.zero_grad()
        terms = self._backward(batch)
        self.scaler.unscale_(self.optimiser)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self._apply(bool(torch.isfinite(norm)))
        self.step += 1
        return terms | {"loss": sum(terms.values()), "gradient": norm.item()}

    def _backward(self, batch: Batch) -> dict[str, float]:
        """Gradients of the mean loss over the batch's parts, which are computed one after the other."""
        parts = list(zip(*(tensor.chunk(self.recipe.accumulate) for tensor in batch)))
        means: dict[str, float] = {}
        for number, part in enumerate(parts, start=1):
            alone = number < len(parts) and distributed.count() > 1  # gradients are exchanged once, after the last part
            with self.losses.no_sync() if alone else nullcontext():
                terms = self._terms(part)
                for name, value in self._checked(terms).items():
                    means[name] = means.get(name, 0.0) + value / len(parts)
                self.scaler.scale(sum(terms.values()) / len(parts)).backward()
        return means

    def _terms(self, part: Batch) -> dict[str, Tensor]:
        image, semantic, instance = (tensor.to(self.device, non_blocking=True) for tensor in part)
        image = image.float().contiguous(memory_format=torch.channels_last)
        precision = self.recipe.precision
        with torch.autocast(self.device.type, HALF.get(precision), enabled=precision in HALF):
            return self.losses(image, semantic, instance)

    def _checked(self, terms: dict[str, Tensor]) -> dict[str, float]:
        """Means over the processes. Raises PanopticError, in all of them, unless they are finite."""
        stacked = torch.stack([value.detach().float() for value in terms.values()])
        values = dict(zip(terms, (distributed.total(stacked) / distributed.count()).tolist()))
        loss = sum(values.values())
        if loss - loss != 0:
            raise PanopticError(f"the loss is {loss} at step {self.step}: {values}; try a lower lr")
        return values

    def _apply(self, finite: bool) -> None:
        """One step of optimiser and average; left out, as one overflow in half precision must not end hours of work."""
        self.skipped = 0 if finite else self.skipped + 1
        if self.skipped > MOST_SKIPPED:
            raise PanopticError(
                f"no finite gradient for {self.skipped} steps up to {self.step}; try a lower lr, or precision=fp32"
            )
        if finite:
            self.scaler.step(self.optimiser)
            self.average.update_parameters(self.network)
        if self.scaler.is_enabled():
            self.scaler.update()

    def rate(self) -> float:
        """Learning rate of the coming step."""
        return optimiser.rate(self.recipe, self.step)

    def _mix(self, average: Tensor, new: Tensor, _count: Tensor) -> Tensor:
        decay = min(self.recipe.ema, (self.step + 1) / (self.step + 10))  # short at first, so that the start is forgotten
        return torch.lerp(new.to(average.dtype), average, decay) if average.is_floating_point() else new

    def parameter_count(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    def save(self, path: Path, keep: int = 0) -> None:
        """See `write_checkpoint`."""
        state = {
            "recipe": dataclasses.asdict(self.recipe),
            "labels": [dataclasses.asdict(label) for label in self.labels],
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.module.state_dict(),
            "averaged": self.average.n_averaged,
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        write_checkpoint(state, path, keep)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint. Raises PanopticError unless its labels and recipe, `MAY_CHANGE` apart, are the same."""
        state = read_checkpoint(path)
        before, now = (dataclasses.asdict(recipe) for recipe in (recipes.from_dict(state["recipe"]), self.recipe))
        odd = [key for key in now if key not in MAY_CHANGE and before[key] != now[key]]
        odd += ["labels"] if state["labels"] != [dataclasses.asdict(label) for label in self.labels] else []
        if odd:
            raise PanopticError(f"{path} was trained with another value of {', '.join(odd)}; choose another --out to begin anew")
        try:
            self.network.load_state_dict(state["network"])
            self.average.module.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError) as error:
            raise self._misfit(path, error) from error
        self.scaler.load_state_dict(state.get("scaler", {}))
        self.average.n_averaged = state["averaged"]
        self.step = state["step"]

    def _misfit(self, path: Path | str, error: Exception) -> PanopticError:
        return PanopticError(f"{path} is a checkpoint of another network than {self.recipe.model}'s: {summary(error)}")
