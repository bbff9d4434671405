"""The decoder of HLE against seeds and pixels that are looked at one after the other."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from tests.methods import ideal_hle
from tests.methods.scene import LABELS, PERSON, PICTURE, Scene, found_segments
from training.methods.hle.decode import _MERGE_ROUNDS, Decoder, DecoderSettings, Seeds, pixel_features
from training.methods.hle.network import Fields

E = 4


def row(embedding: np.ndarray, raw_sigma: np.ndarray, score: np.ndarray, apart: float) -> Fields:
    """Seeds on every second of a row of cells, `apart` image heights from each other, nothing between them."""
    seeds = len(score)
    cells = 2 * seeds + 1
    at = np.arange(seeds) * 2
    fields = [np.zeros((1, size, cells)) for size in (E, 2, 1, 2)]
    fields[0][:, 0] = 1
    fields[0][0][:, at], fields[1][0][:, at] = embedding.T, raw_sigma.T
    fields[2][:] = -30.0
    fields[2][0, 0, at] = np.log(score / (1 - score))
    fields[3][0, 0] = np.arange(cells) * apart / 2
    return Fields(*(torch.from_numpy(field).float() for field in fields), None)


def found_seeds(decoder: Decoder, fields: Fields) -> Seeds:
    """All cells are persons."""
    cells = fields.seed.shape[-1]
    features = pixel_features(fields.embedding[0], fields.position[0])
    with torch.no_grad():
        return decoder.seeds(fields, features, torch.full((cells,), PERSON), torch.ones(1, 1, 1, cells))


def decoder(**settings: float) -> Decoder:
    return Decoder(
        ideal_hle.method().network,
        torch.tensor([label.id for label in LABELS]),
        torch.tensor([label.thing for label in LABELS]),
        DecoderSettings(**settings),
    )


def big_phi(e: np.ndarray, raw_sigma: np.ndarray, rho: np.ndarray, one: int, other: int) -> float:
    """Phi of section 3.5: how sure seed `one` is that `other` belongs to it."""
    variance, spatial = (zero * math.exp(-5 * raw) for zero, raw in zip(ideal_hle.AT_ZERO, raw_sigma[one]))
    return math.exp(-variance * (1 - e[one] @ e[other]) - spatial * ((rho[one] - rho[other]) ** 2).sum())


def merged(phi: np.ndarray, score: np.ndarray, least: float, threshold: float) -> set[int]:
    """Greedy: the best seed that is left is an object, and those it claims are gone."""
    left = [i for i in np.argsort(-score) if score[i] > least]
    kept = set()
    while left:
        best = left.pop(0)
        kept.add(int(best))
        left = [i for i in left if phi[best, i] <= threshold]
    return kept


@pytest.mark.parametrize("case", range(60))
def test_seeds_are_merged_as_greedily_as_one_by_one(case: int) -> None:
    rng = np.random.default_rng(case)
    count, apart = int(rng.integers(1, 24)), float(rng.choice([0.02, 0.1, 0.3]))
    embedding = rng.normal(size=(count, E)) * rng.choice([0.1, 0.5, 1.0]) + [1, 0, 0, 0]
    embedding = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    raw_sigma = rng.uniform(-0.4, 0.6, (count, 2)) + ideal_hle.channels(10, 20)
    score = rng.permutation(np.linspace(0.2, 0.95, count))
    rho = np.stack([np.arange(count) * apart, np.zeros(count)], 1)
    phi = np.array([[big_phi(embedding, raw_sigma, rho, i, j) for j in range(count)] for i in range(count)])
    seeds = found_seeds(decoder(seeds=count, seed_threshold=0.4, merge_threshold=0.3), row(embedding, raw_sigma, score, apart))
    expected = sorted(score[list(merged(phi, score, 0.4, 0.3))], reverse=True)
    assert seeds.score[seeds.score > 0].tolist() == pytest.approx(expected, abs=1e-6)


def chain(length: int) -> tuple[Fields, np.ndarray]:
    """Seeds of falling score on a line, each of which claims the next one only."""
    embedding, score = np.tile([1.0, 0, 0, 0], (length, 1)), np.linspace(0.9, 0.6, length)
    raw_sigma = np.tile(ideal_hle.channels(10, 20), (length, 1))  # Phi is 0.44 at 0.2 image heights and 0.04 at 0.4
    return row(embedding, raw_sigma, score, 0.2), score


@pytest.mark.parametrize("length", range(1, _MERGE_ROUNDS + 2))
def test_chains_of_seeds_are_merged_exactly(length: int) -> None:
    """Every second one stays: what a seed that is gone would claim is free again."""
    fields, score = chain(length)
    seeds = found_seeds(decoder(seeds=length), fields)
    assert seeds.score[seeds.score > 0].tolist() == pytest.approx(score[::2].tolist())


def test_a_seed_below_the_threshold_claims_nothing() -> None:
    fields, _ = chain(3)
    assert (found_seeds(decoder(seeds=3, seed_threshold=0.8), fields).score > 0).tolist() == [True, False, False]


def test_kept_seeds_take_the_first_slots() -> None:
    """Or the slot of an object would hang on which of two equally sure seeds happens to absorb the other."""
    same_place, score = np.zeros((4, 2)), np.array([0.9, 0.8, 0.7, 0.6])
    embedding = np.eye(E)[[0, 0, 1, 1]]  # two objects with two seeds each
    found = found_seeds(decoder(seeds=4, seed_threshold=0.5, merge_threshold=0.3), row(embedding, same_place, score, apart=1e-4))
    assert found.score.tolist() == pytest.approx([0.9, 0.7, 0, 0], abs=1e-5)
    assert found.embedding[:2].argmax(1).tolist() == [0, 1]


def test_only_maxima_of_3x3_cells_are_seeds() -> None:
    """Far apart by embedding, but neighbours: the lower one is no candidate."""
    fields, _ = chain(3)  # in cells 0, 2 and 4
    fields.seed[0, 0, 1] = 1.0  # 0.73
    fields.embedding[0, :, [1, 2, 4]] = torch.eye(4)[:, 1:]
    assert found_seeds(decoder(seeds=5), fields).score.tolist() == pytest.approx([0.9, 0.75, 0.6, 0.0, 0.0], abs=1e-6)


@pytest.mark.parametrize("case", range(20))
def test_pixels_go_to_the_seed_of_highest_phi(case: int) -> None:
    """Against equation 8, evaluated for each pixel and seed that was kept."""
    rng = np.random.default_rng(100 + case)
    cells, count = 60, 6
    e = rng.normal(size=(cells, E)) * 0.4 + [1, 0, 0, 0]
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    rho, thing = rng.uniform(0, 2, (cells, 2)) * [1, 0.5], rng.random(cells) < 0.8
    kernel, phi = np.zeros((count, E + 4)), np.zeros((count, cells))
    for seed in range(count):
        p, s = math.exp(rng.uniform(0, 5)), math.exp(rng.uniform(-2, 2))
        kernel[seed] = [*(p * e[seed]), *(2 * s * rho[seed]), -s, -p - s * (rho[seed] ** 2).sum()]
        phi[seed] = np.exp(-p * (1 - e @ e[seed]) - s * ((rho - rho[seed]) ** 2).sum(1))
    features = pixel_features(torch.from_numpy(e.T).float(), torch.from_numpy(rho.T).float())
    seeds = Seeds(torch.from_numpy(kernel).float(), torch.ones(count), torch.full((count,), PERSON), torch.zeros(count, E))
    found = decoder(instance_threshold=0.3).thing_slots(seeds, features, torch.from_numpy(thing).float()).numpy()
    expected = np.where((phi.max(0) > 0.3) & thing, phi.argmax(0) + 1, 0)
    np.testing.assert_array_equal(found, expected)


def ideal(scene: Scene = PICTURE) -> Tensor:
    return ideal_hle.raw(ideal_hle.method(), scene)


def run(raw: Tensor, **settings: float) -> tuple[Tensor, ...]:
    with torch.no_grad():
        return decoder(**settings)(raw)


def test_stuff_that_is_not_sure_enough_is_void() -> None:
    """An embedding between those of road and sky, a little nearer to road: psi is a little above 1/2."""
    raw = ideal()
    road, sky = raw[0, :12, 5, 0].clone(), raw[0, :12, 0, 0].clone()
    raw[0, :12, 5, :9] = (1.01 * road + sky).unsqueeze(1)
    assert run(raw, stuff_threshold=0.6)[0][5].tolist() == [0] * 9 + [1] * 9
    assert run(raw, stuff_threshold=0.5)[0][5].tolist() == [1] * 18


def test_pixels_of_things_that_no_seed_claims_are_void() -> None:
    raw = ideal()
    raw[0, 14][torch.from_numpy(PICTURE.instance == 0)] = -5.0  # no seed in car A
    ids, category, *_ = run(raw)
    assert not ids[torch.from_numpy(PICTURE.instance == 0)].any()
    assert len(found_segments(ids.numpy(), category.numpy())) == 4


def test_small_stuff_is_void_where_the_recipe_says_so() -> None:
    """Sky covers 30 cells, road more."""
    ids = run(ideal(), min_stuff_area=31)[0]
    assert not ids[0].any() and (ids[5] == 1).all()
    assert (run(ideal(), min_stuff_area=30)[0][0] == 2).all()


def test_slots_are_stuff_in_the_labels_order_and_then_seeds_by_score() -> None:
    ids, category, score, embedding = run(ideal(), seeds=10)
    assert (ids.dtype, category.dtype, score.dtype) == (torch.uint8, torch.int32, torch.float32)
    assert tuple(category.shape) == tuple(score.shape) == (12,) and tuple(embedding.shape) == (12, 12)
    assert category[:2].tolist() == [7, 23]
    used = sorted(set(ids.flatten().tolist()))
    assert used[:2] == [1, 2] and len(used) == 5 and 0 not in used
    empty = [slot for slot in range(2, 12) if slot + 1 not in used]
    assert score[empty].tolist() == [0.0] * 7
    assert (score[[slot - 1 for slot in used]] > 0.9).all()


def test_scores_of_stuff_are_the_mean_psi_of_their_pixels() -> None:
    raw, network = ideal(), ideal_hle.method().network
    ids, _, score, _ = run(raw)
    with torch.no_grad():
        psi = network.semantic_logits(network.fields(raw)).softmax(1)[0].view(4, *ids.shape)
    assert score[0].item() == pytest.approx(psi[0][ids == 1].mean().item(), abs=1e-6)
    assert score[1].item() == pytest.approx(psi[2][ids == 2].mean().item(), abs=1e-6)


def test_a_coarser_grid_is_decoded_where_the_recipe_says_so() -> None:
    """Stride 4 of a network at stride 2: where each cell of the coarse grid is uniform, its segments are the same."""
    fine = Scene(*(part.repeat(2, 0).repeat(2, 1) for part in (PICTURE.semantic, PICTURE.instance)), PICTURE.confidence)
    ids, category, *_ = run(ideal(fine), stride=4)
    assert ids.shape == PICTURE.semantic.shape
    assert found_segments(ids.numpy(), category.numpy()) == PICTURE.segments()


@pytest.mark.parametrize(("more", "finer"), [(-1, 1), (0, 2), (1, 2)])
def test_images_of_more_rows_than_a_limit_are_decoded_on_a_coarser_grid(more: int, finer: int) -> None:
    fine = Scene(*(part.repeat(2, 0).repeat(2, 1) for part in (PICTURE.semantic, PICTURE.instance)), PICTURE.confidence)
    rows, columns = PICTURE.semantic.shape
    ids, category, *_ = run(ideal(fine), stride=2, coarse_above=2 * 2 * (rows + more))
    assert ids.shape == (finer * rows, finer * columns)
    assert found_segments(ids.numpy(), category.numpy()) == (fine if finer == 2 else PICTURE).segments()


@pytest.mark.parametrize("contents", ["noise", "zeros", "large"])
def test_any_output_of_a_network_decodes(contents: str) -> None:
    generator = torch.Generator().manual_seed(0)
    raw = {"noise": 1.0, "zeros": 0.0, "large": 1e4}[contents] * torch.randn(1, 15, 16, 32, generator=generator)
    ids, category, score, embedding = run(raw)
    assert ids.max() <= len(category) == 102
    assert set(category.tolist()) <= {label.id for label in LABELS}
    assert torch.isfinite(score).all() and torch.isfinite(embedding).all()


@pytest.mark.parametrize("ablation", ["split", "semantic_branch"])
def test_the_ablations_decode_their_ideal_output(ablation: str) -> None:
    """Classes from the first half of the embedding and objects from the second; or classes from logits of their own."""
    hle, raw, semantic = ideal_hle.variant(**{ablation: True}), ideal(), torch.from_numpy(PICTURE.semantic)
    with torch.no_grad():
        if ablation == "split":
            raw[0, :6] = normalize(hle.network.means, dim=1)[semantic].permute(2, 0, 1)
            raw[0, 6:12] = torch.eye(6)[torch.from_numpy(PICTURE.instance)].permute(2, 0, 1)
        else:
            raw = torch.cat([raw, 20.0 * one_hot(semantic, len(LABELS)).permute(2, 0, 1).unsqueeze(0)], 1)
            raw[0, :12] = raw[0, :12].flip(0)  # what classes the embeddings are near to does not count
        ids, category, *_ = hle.graph().decoder(raw)
    assert found_segments(ids.numpy(), category.numpy()) == PICTURE.segments()
