"""Recipes: what YAML and the command line can say, and how what they cannot is refused."""

import dataclasses
from pathlib import Path

import pytest

from panoptic_ros.core import PanopticError
from training import recipe
from training.methods.hle.method import Settings
from training.recipe import Recipe, Stage

SHIPPED = sorted(file.stem for file in recipe.RECIPES.glob("*.yaml"))

TEXT = """
model: small
method: hle
data: {root: somewhere, cache: true}
stages: [{size: [64, 128], steps: 5}, {size: [128, 256], steps: 7, crop: [0.5, 0.9]}]
lr: 2e-3
settings: {loss: {instance: lovasz_hinge}, network: {embedding: 8}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(TEXT)
    return path


def load(file: Path, *overrides: str) -> Recipe:
    return recipe.load(str(file), list(overrides))


def test_a_file_becomes_typed_settings(file: Path) -> None:
    got = load(file)
    assert (got.name, got.model, got.lr, got.data.root, got.data.cache, got.data.train) == (
        "small", "small", 2e-3, "somewhere", True, "train",
    )  # fmt: skip
    assert got.stages == [Stage((64, 128), 5, 8, (0.5, 1.0)), Stage((128, 256), 7, 8, (0.5, 0.9))]
    assert isinstance(got.settings, Settings)
    assert (got.settings.loss.instance, got.settings.loss.semantic, got.settings.network.embedding) == (
        "lovasz_hinge",
        "lovasz",
        8,
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_loads_by_its_name(name: str) -> None:
    got = recipe.load(name, [])
    assert (got.name, got.data.root != "", got.precision in recipe.PRECISIONS) == (name, True, True)


def test_overrides_reach_every_level(file: Path) -> None:
    got = load(
        file, "lr=1e-4", "data.root=else where", "data.cache=false", "stages.1.steps=9", "stages.0.size=[32,64]",
        "settings.loss.vq=0", "settings.network.skips=[[4,24,64]]", "seed=3",
    )  # fmt: skip
    assert (got.lr, got.data.root, got.data.cache, got.seed) == (1e-4, "else where", False, 3)
    assert [(stage.size, stage.steps) for stage in got.stages] == [((32, 64), 5), ((128, 256), 9)]
    assert (got.settings.loss.vq, got.settings.network.skips) == (0.0, [[4, 24, 64]])


def test_stages_can_be_replaced(file: Path) -> None:
    assert load(file, "stages=[{size: [32, 32], steps: 2, batch: 1}]").stages == [Stage((32, 32), 2, 1)]


def test_a_checkpoint_s_mapping_is_the_same_recipe_again(file: Path) -> None:
    assert recipe.from_dict(dataclasses.asdict(load(file))) == load(file)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("learning_rate=1", "unknown recipe key 'learning_rate'; the keys there are name, model, method, .*lr"),
        ("settings.loss.vqq=1", "unknown recipe key 'settings.loss.vqq'; the keys there are grid_stride, block, .*vq"),
        ("data.roots=x", "unknown recipe key 'data.roots'; the keys there are root, train, val, cache, layout"),
        ("stages.0.step=1", "unknown recipe key '.*step'; the keys there are size, steps, batch, crop"),
        ("stages.7.steps=1", "stages.7.steps=1"),
        ("stages.x.steps=1", "stages.x.steps=1"),
        ("stages=[]", "no stages"),
        ("stages=3", "stages"),
        ("method=hal", "unknown method 'hal'; there are .*hle"),
        ("precision=fp8", "unknown precision 'fp8'; there are bf16, fp16, fp32"),
        ("norm=group", "unknown norm 'group'; there are batch, sync, frozen"),
        ("schedule.kind=linear", "unknown schedule.kind 'linear'; there are cosine, poly, step"),
        ("accumulate=3", "stages.0.batch is 8: accumulate=3 does not divide it"),
        ("settings.loss.instance=dice", "unknown settings.loss.instance 'dice'; there are lovasz, lovasz_hinge"),
        ("lr=fast", "lr: .*'fast'"),
        ("lr=[1", r"lr=\[1"),
        ("lr", "'lr' is not of the form key=value"),
        ("=3", "'=3' is not of the form key=value"),
        ("seed=${seeds}", "seed"),
        ("data=3", "3"),
        ("engine_size={a: 1}", "small.yaml: recipe key engine_size: "),
        ("settings.network.skips={a: 1}", "recipe key settings.network.skips: "),
    ],
)
def test_what_a_recipe_cannot_say_is_refused_in_one_line(file: Path, override: str, message: str) -> None:
    with pytest.raises(PanopticError, match=message) as caught:
        load(file, override)
    assert "\n" not in str(caught.value)


def test_an_unknown_recipe_is_answered_with_the_known_ones() -> None:
    with pytest.raises(PanopticError, match=f"unknown recipe 'hle_mnv3'; there are {', '.join(SHIPPED)}"):
        recipe.load("hle_mnv3", [])


@pytest.mark.parametrize("content", ["lr: [", "- a\n- list", "a sentence", "model: x", "method: hle", "", "\x00"], ids=range(7))
def test_files_that_are_no_recipes_are_refused_in_one_line(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(PanopticError) as caught:
        load(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [None, [1], 5, "text", {}, {"method": "hle", "data": object()}, {5: 1, "method": "hle"}], ids=str
)
def test_what_else_a_checkpoint_may_hold_is_refused(content: object) -> None:
    with pytest.raises(PanopticError, match="recipe|method"):
        recipe.from_dict(content)


def test_a_name_that_is_too_long_is_an_unknown_recipe() -> None:
    with pytest.raises(PanopticError, match="unknown recipe"):
        recipe.load("x" * 5000, [])


def test_files_that_are_no_text_are_refused(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x80")
    with pytest.raises(PanopticError, match="small.yaml"):
        load(file)


def test_what_a_recipe_leaves_out_is_named(file: Path) -> None:
    file.write_text("model: small\nmethod: hle\n")
    with pytest.raises(PanopticError, match="root"):
        load(file)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("settings=" + "[" * 60 + "]" * 60, "no more than 50 lists and mappings"),
        ("settings=" + "- " * 100_000, "no more than 50 lists and mappings"),
        ("settings=[&a [1, 2], *a]", r"has no aliases \(\*a\)"),
        ("a" + ".b" * 10_000 + "=1", "not of the form key=value"),
    ],
    ids=["brackets", "dashes", "alias", "dots"],
)
def test_what_would_take_all_stack_or_memory_is_refused(file: Path, override: str, reason: str) -> None:
    with pytest.raises(PanopticError, match=reason):
        load(file, override)


@pytest.mark.parametrize(
    ("depth", "reason"),
    [(500, "no more than 50 lists and mappings"), (100_000, "no more than 50 lists and mappings|maximum nesting depth")],
)
def test_a_file_is_refused_for_the_same(file: Path, depth: int, reason: str) -> None:
    """Beyond a thousand PyYAML may be the first to refuse it, since 6.0.4."""
    file.write_text(f"{TEXT}\nmore: {'[' * depth}{']' * depth}\n")
    with pytest.raises(PanopticError, match=reason):
        load(file)


@pytest.mark.parametrize("text", ['"' + "[" * 100_000 + '"', "'7'", "- hle", ""])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "text.yaml").write_text(text)
    with pytest.raises(PanopticError, match="text.yaml: the file is not a mapping of keys to values"):
        recipe.load(str(tmp_path / "text.yaml"), [])


def test_a_number_that_no_float_holds_is_refused(file: Path) -> None:
    with pytest.raises(PanopticError, match="recipe key lr: int too large"):
        recipe.load(str(file), ["lr=1" + 400 * "0"])
