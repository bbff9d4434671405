"""A method's graph as an engine, without an export."""

import numpy as np
import pytest
import torch

from panoptic_ros.core import PanopticError
from panoptic_ros.manifest import MAX_SLOTS
from tests.methods.scene import LABELS
from training import recipe as recipes
from training.torch_engine import TorchEngine, manifest_of


def test_answers_as_the_graph_does() -> None:
    recipe = recipes.load("hle_mnv2_street", ["settings.decoder.seed_threshold=0.1"])
    method = recipes.method_module("hle").Method(recipe.settings, LABELS)
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 128, 3), np.uint8)
    engine, model = TorchEngine(method.graph(), (64, 128)), manifest_of(recipe, method)
    slots = engine.run(image)
    with torch.no_grad():
        expected = method.graph().eval()(torch.from_numpy(image))
    for found, wanted in zip((slots.ids, slots.category, slots.score, slots.embedding), expected, strict=True):
        np.testing.assert_array_equal(found, wanted.numpy())
    assert slots.ids.shape == (32, 64) and len(slots.category) == model.slots


@pytest.mark.parametrize(
    ("name", "key"), [("hle_mnv2_street", "seeds"), ("dense_mnv2_street", "detections"), ("affinity_mnv2_street", "detections")]
)
def test_more_slots_than_ids_hold_are_refused(name: str, key: str) -> None:
    stuff = sum(not label.thing for label in LABELS)
    for count in (MAX_SLOTS - stuff, MAX_SLOTS - stuff + 1):
        recipe = recipes.load(name, [f"settings.decoder.{key}={count}"])
        method = recipes.method_module(recipe.method).Method(recipe.settings, LABELS)
        if count == MAX_SLOTS - stuff:
            assert manifest_of(recipe, method).slots == MAX_SLOTS
        else:
            with pytest.raises(PanopticError, match=f"has {MAX_SLOTS + 1} slots"):
                manifest_of(recipe, method)
