"""The output of an ideal network of AMWC for a scene: what training aims at, from the ground truth alone, and its cut."""

import numpy as np
import torch
from torch.nn.functional import one_hot

from panoptic_ros.solvers.segments import Solver
from tests.methods.scene import LABELS, THINGS, Scene
from training.methods.amwc.decode import Costs, DecoderSettings
from training.methods.amwc.network import Output
from training.methods.amwc.targets import edges_of

DISTANCES = [1, 2, 4]
SURE = 4.0
"""Magnitude of all edge costs; more, and scores of 1 would be all the same in float32."""


def decode(scene: Scene, **settings: float) -> tuple[np.ndarray, ...]:
    """ids (h,w), category (K,), score (K,), embedding (K,E) of the cut of the ideal output."""
    chosen = DecoderSettings(**{"min_thing_area": 0, "min_stuff_area": 0, "min_probability": 0.3} | settings)
    slots = Solver(LABELS, chosen.cut(DISTANCES))(*(part.numpy() for part in Costs()(output(scene))))
    return slots.ids, slots.category, slots.score, slots.embedding


def output(scene: Scene) -> Output:
    """Classes of things as sure as the scene says, those of stuff beyond doubt; of void none is surer than another."""
    semantic, instance = (torch.from_numpy(part).unsqueeze(0) for part in (scene.semantic, scene.instance))
    known = one_hot(semantic + 1, len(LABELS) + 1)[..., 1:].permute(0, 3, 1, 2).float()
    confidence = torch.tensor([0.99, *scene.confidence]).float()[instance + 1].unsqueeze(1)
    others = (1 - confidence) / (len(LABELS) - 1)
    probability = torch.where(semantic.unsqueeze(1) < 0, 1 / len(LABELS), torch.where(known > 0, confidence, others))
    # void as one more stuff class: it holds together and repels the rest
    whole = torch.where(semantic < 0, len(LABELS), semantic)
    edges = edges_of(whole, instance, torch.tensor([*THINGS, False]), torch.ones(whole.shape), DISTANCES)
    features = one_hot(torch.where(instance >= 0, instance + len(LABELS), whole) % 8, 8).permute(0, 3, 1, 2).float()
    return Output(-probability.log(), torch.where(edges.together, SURE, -SURE), features)
