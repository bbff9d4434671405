"""Recipes: YAML files over typed dataclasses; a key that no dataclass has is refused."""

import importlib
import io
import os
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError

from panoptic_ros.core import PanopticError

MAX_DEPTH = 50
"""Of lists and mappings in each other; libyaml's composer runs out of stack and ends the process."""
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_REFUSALS = (OmegaConfBaseException, YAMLError, TypeError, ValueError, IndexError, OverflowError, AssertionError)
"""What omegaconf and yaml raise for what does not fit."""
RECIPES = Path(__file__).parent / "recipes"
PRECISIONS = ("bf16", "fp16", "fp32")
NORMS = ("batch", "sync", "frozen")
SCHEDULES = ("cosine", "poly", "step")
OPTIMISERS = ("adamw", "adam", "sgd")


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises PanopticError, naming the choices, for a value that is none of them."""
    if value not in choices:
        raise PanopticError(f"unknown {key} {value!r}; there are {', '.join(choices)}")


@dataclass
class DataSettings:
    """A folder in a layout that `training.data.frames` knows, and the names of its splits. cache: keep decoded frames in memory.
    layout: that of the files which --dry-run makes up; real ones tell theirs by themselves."""

    root: str = MISSING
    train: str = "train"
    val: str = "val"
    cache: bool = False
    layout: str = "panoptic"


@dataclass
class Stage:
    """A part of the training at one image size (h, w), multiples of 32.

    crop: range of the window's size as a part of the largest that fits into the frame. scale, instead: range of the image's
    pixels per pixel of the frame; what lies beyond the frame is void. longest: frames with a longer side are first shrunk to it.
    shorter, instead of both: first, last, step of the sizes that the frame's shorter side is resized to. around_things:
    probability that the window is drawn around an object. flip: probability. colours: change them.
    """

    size: tuple[int, int] = (256, 512)
    steps: int = 1000
    batch: int = 8
    crop: tuple[float, float] = (0.5, 1.0)
    scale: tuple[float, float] | None = None
    longest: int | None = None
    shorter: tuple[int, int, int] | None = None
    around_things: float = 0.0
    flip: float = 0.5
    colours: bool = True

    def __post_init__(self) -> None:
        if self.shorter is None:
            return
        first, last, step = self.shorter
        if not (0 < first <= last and step > 0):
            raise PanopticError(
                f"shorter is {list(self.shorter)}; expected a first size, a last and a step, such as [448, 768, 64]"
            )
        if self.scale or self.longest:
            raise PanopticError("a stage has shorter, or scale and longest, not both")


@dataclass
class Schedule:
    """The learning rate behind the warm-up, as a part of its peak: `cosine` to zero, `poly` (1 - done) ** power, or `step`,
    times gamma at each of the milestones (steps). The warm-up is linear, from the part warmup_start on."""

    kind: str = "cosine"
    power: float = 0.9
    milestones: list[int] = field(default_factory=list)
    gamma: float = 0.1
    warmup_start: float = 0.0

    def __post_init__(self) -> None:
        check_choice("schedule.kind", self.kind, SCHEDULES)


@dataclass
class Optimiser:
    """momentum: of sgd. The others have torch's betas."""

    kind: str = "adamw"
    momentum: float = 0.9

    def __post_init__(self) -> None:
        check_choice("optimiser.kind", self.kind, OPTIMISERS)


@dataclass
class Recipe:
    """A model to train. name: its own, set by `load`. method: a folder of training/methods; `settings` are its `Settings`.

    lr: the schedule's peak. fast_lr: factor for `Method.fast_parameters`. clip: gradient norm. ema: decay of the averaged
    weights, which are the ones that count. backbone_weights: a torchvision checkpoint, file or URL, one of this project, or the
    name of a bundled one (`training/backbones`). init: a checkpoint of the same network, whose averaged weights training starts
    from.

    A stage's batch is what one step learns from, however it is shared out: each process takes an equal share of it, and works
    on that in `accumulate` parts, for want of memory. precision: bf16, fp16 (with loss scaling) or fp32. norm: batch
    normalisation learns from the images of a process (`batch`), of all processes (`sync`), or is `frozen`. With `batch`, the
    running statistics of the first process are those that are kept.
    """

    name: str = ""
    model: str = MISSING
    method: str = MISSING
    data: DataSettings = field(default_factory=DataSettings)
    stages: list[Stage] = field(default_factory=lambda: [Stage()])
    backbone_weights: str | None = None
    init: str | None = None
    lr: float = 1e-3
    fast_lr: float = 5.0
    weight_decay: float = 0.01
    warmup: int = 100
    clip: float = 5.0
    ema: float = 0.999
    optimiser: Optimiser = field(default_factory=Optimiser)
    schedule: Schedule = field(default_factory=Schedule)
    accumulate: int = 1
    norm: str = "batch"
    precision: str = "bf16"
    seed: int = 0
    engine_size: tuple[int, int] = (256, 512)
    settings: Any = MISSING

    def __post_init__(self) -> None:
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("norm", self.norm, NORMS)
        if not self.stages:
            raise PanopticError("the recipe has no stages; it needs at least one")
        for number, stage in enumerate(self.stages):
            if self.accumulate < 1 or stage.batch % self.accumulate:
                raise PanopticError(f"stages.{number}.batch is {stage.batch}: accumulate={self.accumulate} does not divide it")


def load(name: str, overrides: list[str]) -> Recipe:
    """name: a recipe of training/recipes, or a path to a YAML file. overrides: key=value, dots for nesting."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else RECIPES / f"{name}.yaml"
    if not os.path.isfile(path):  # unlike Path's, it takes names that are too long
        raise PanopticError(f"unknown recipe {name!r}; there are {', '.join(sorted(p.stem for p in RECIPES.glob('*.yaml')))}")
    try:
        text = path.read_text(encoding="utf-8")
        check_nesting(text)
        # of a mere text omegaconf would read the content as YAML
        if not isinstance(yaml.compose(text, Loader=LOADER), yaml.MappingNode):
            raise PanopticError("the file is not a mapping of keys to values")
        content = OmegaConf.merge({"name": path.stem}, OmegaConf.load(io.StringIO(text)))
        for override in overrides:
            assign(content, override)
    except (PanopticError, OSError, *_REFUSALS) as error:
        raise PanopticError(f"recipe {name}: {one_line(error)}") from error
    try:
        return from_dict(content)
    except PanopticError as error:
        raise PanopticError(f"recipe {name}: {error}") from error


def makers_of(model: str) -> list[str]:
    """The recipes that train a model of this name from the beginning."""
    found = {path.stem: OmegaConf.load(path) for path in sorted(RECIPES.glob("*.yaml"))}
    return [name for name, content in found.items() if content.model == model and not content.get("init")]


def assign(content: DictConfig, override: str) -> None:
    """Set what `key=value` says; the parts of the key are names, or numbers of list entries. The value is YAML."""
    key, equals, value = override.partition("=")
    if not key or not equals or key.count(".") + key.count("[") > MAX_DEPTH:
        raise PanopticError(f"recipe override {override[:200]!r} is not of the form key=value")
    try:
        check_nesting(value)
        OmegaConf.update(content, key, OmegaConf.from_dotlist([f"value={value}"]).value, force_add=True)
    except _REFUSALS as error:
        raise PanopticError(f"recipe override {override[:200]!r}: {one_line(error)}") from error


def check_nesting(text: str) -> None:
    """Raises PanopticError for YAML that nests deeper than MAX_DEPTH, or has aliases, of which a few lines make gigabytes."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise PanopticError(f"a recipe nests no more than {MAX_DEPTH} lists and mappings")
        if isinstance(event, yaml.AliasEvent):
            raise PanopticError(f"a recipe has no aliases (*{event.anchor[:20]}): write out what it stands for")


def one_line(error: Exception) -> str:
    """The first line of an error's text, of a YAML error what the problem is; libraries add details that do not help a user."""
    said = getattr(error, "problem", None) or str(error)
    return (said.strip() or type(error).__name__).splitlines()[0]


def from_dict(content: Any) -> Recipe:
    """The recipe of a mapping, as in YAML or in a checkpoint. Raises PanopticError for whatever does not fit, naming the key."""
    if not isinstance(content, (dict, DictConfig)):
        raise PanopticError(f"a recipe is a mapping of keys to values, not {str(content)[:80]!r}")
    try:
        content = content if isinstance(content, DictConfig) else OmegaConf.create(content)
        method = str(content.get("method"))
    except _REFUSALS as error:
        raise PanopticError(f"a recipe cannot be read: {one_line(error)}") from error
    schema = _schema(method)  # which imports the method: a fault in it is not one of the recipe
    try:
        return OmegaConf.to_object(OmegaConf.merge(schema, content))
    except ConfigKeyError as error:
        choices = ", ".join(f.name for f in fields(error.object_type)) if is_dataclass(error.object_type) else "none"
        raise PanopticError(f"unknown recipe key {error.full_key!r}; the keys there are {choices}") from error
    except _REFUSALS as error:
        key = getattr(error, "full_key", None) or _refused(schema, content)
        raise PanopticError(f"recipe key {key}: {one_line(error)}") from error


@cache
def _schema(method: str) -> DictConfig:
    """What a recipe of this method may have. Raises PanopticError if there is no such method."""
    schema = OmegaConf.structured(Recipe)
    schema.settings = OmegaConf.structured(method_module(method).Settings)
    return schema


def _refused(schema: DictConfig, content: Any) -> str:
    """The first key of content, dots for nesting, that the schema does not take by itself; (all) if there is none."""
    plain = OmegaConf.to_container(content) if isinstance(content, DictConfig) else content  # resolves no ${...}
    for key, value in plain.items():
        try:
            OmegaConf.merge(schema, {key: value})
        except _REFUSALS:
            nested = isinstance(value, dict) and key in schema and OmegaConf.is_dict(schema[key])
            return f"{key}.{_refused(schema[key], value)}" if nested else str(key)
    return "(all)"


def method_module(name: str) -> Any:
    """training.methods.<name>.method, which has `Settings` and `Method`."""
    folder = Path(__file__).parent / "methods"
    names = sorted(p.parent.name for p in folder.glob("*/method.py"))
    if name not in names:
        raise PanopticError(f"unknown method {name!r}; there are {', '.join(names)}")
    return importlib.import_module(f"training.methods.{name}.method")
