"""The optimiser of a recipe, and the learning rate of each of its steps."""

import math

import torch

from training.recipe import Recipe


def optimiser_of(network: torch.nn.Module, fast: tuple[str, ...], recipe: Recipe) -> torch.optim.Optimizer:
    """fast: names of the parameters that learn at `Recipe.fast_lr`."""
    groups, chosen = parameter_groups(network, fast, recipe), recipe.optimiser
    if chosen.kind == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=chosen.momentum)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[chosen.kind](groups, lr=recipe.lr)


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


def rate(recipe: Recipe, step: int) -> float:
    """Learning rate of step `step`, counted from 0: linear warm-up, then the recipe's schedule."""
    total = sum(stage.steps for stage in recipe.stages)
    start = recipe.schedule.warmup_start
    warm = start + (1 - start) * min(1.0, (step + 1) / max(1, recipe.warmup))
    done = max(0.0, (step - recipe.warmup) / max(1, total - recipe.warmup))
    return recipe.lr * warm * _left(recipe, step, min(1.0, done))


def _left(recipe: Recipe, step: int, done: float) -> float:
    """Part of the peak rate after the part `done` of the steps behind the warm-up."""
    schedule = recipe.schedule
    if schedule.kind == "poly":
        return (1 - done) ** schedule.power
    if schedule.kind == "step":
        return schedule.gamma ** sum(step >= milestone for milestone in schedule.milestones)
    return 0.5 * (1 + math.cos(math.pi * done))
