"""The decoder: what affinities repair, what settings do, and a network that answers nonsense."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from panoptic_ros.core import PanopticError
from tests.methods import ideal_affinity
from tests.methods.scene import CAR, LABELS, PICTURE, Scene, draw, found_segments
from training.methods.affinity.decode import Decoder, DecoderSettings
from training.methods.affinity.masks import SIDE
from training.methods.affinity.network import Network, Output
from training.nets.detector import Detections

OVERLAPPING = draw(
    """
    ssssssssssssssss
    ssAAAAAAAsssssss
    rrAAAABBBBBBrrrr
    rrAAAABBBBBBrrrr
    rrrBBBBBBBBBrrrr
    rrrrrrrrrrrrrrrr
    """
)
"""The cars' boxes overlap on both of them: without affinities or masks their cells there go to the surer one."""


def run(decoder: Decoder, output: Output) -> tuple[np.ndarray, ...]:
    with torch.no_grad():
        return tuple(part.numpy() for part in decoder(output))


def decoder_of(network: Network, **settings: object) -> Decoder:
    things = torch.tensor([label.thing for label in LABELS])
    return Decoder(network, torch.tensor([label.id for label in LABELS]), things, DecoderSettings(**settings))


def without_affinity(scene: Scene, **settings: object) -> tuple[np.ndarray, ...]:
    network = ideal_affinity.method(affinity=0).network
    return run(decoder_of(network, **{"stride": 8} | settings), ideal_affinity.output(scene)._replace(affinity=[]))


def test_affinities_part_objects_whose_boxes_overlap() -> None:
    scene = OVERLAPPING
    ids, category, *_ = ideal_affinity.decode(scene)
    assert found_segments(ids, category) == scene.segments()
    ids, category, *_ = without_affinity(scene)
    assert found_segments(ids, category) != scene.segments()


def test_affinities_reach_beyond_a_box_that_is_too_small() -> None:
    """Figure 1: the detector finds the left half of a car; the rest of it is not lost."""
    scene = draw("ssssssssssss rrAAAAAAAArr rrAAAAAAAArr rrrrrrrrrrrr")
    output = ideal_affinity.output(scene)
    distances = output.distances[0].clone()
    distances[:, 2] -= 32  # every box ends four cells further left
    half = output._replace(distances=[distances, *output.distances[1:]])
    ids, category, *_ = run(ideal_affinity.decoder(), half)
    assert found_segments(ids, category) == scene.segments()
    ids, *_ = run(decoder_of(ideal_affinity.method(affinity=0).network, stride=8), half._replace(affinity=[]))
    car = ids == ids[1, 2]
    assert car[1:3, 2:6].all() and not car[:, 6:].any()


def test_the_grid_of_stride_4_has_four_cells_for_each() -> None:
    coarse, fine = (ideal_affinity.decode(PICTURE, stride=stride)[0] for stride in (8, 4))
    assert np.array_equal(fine, np.kron(coarse, np.ones((2, 2), np.uint8)))


def test_argmax_alone_leaves_nothing_void() -> None:
    """The paper's inference: where V is unsure, some class wins nevertheless."""
    scene = draw("ssssssss rrAAArrr rrAAA... rrrrrr..")
    assert (ideal_affinity.decode(scene, void_threshold=0.0)[0] > 0).all()
    ids, category, *_ = ideal_affinity.decode(scene, void_threshold=0.3)
    assert found_segments(ids, category) == scene.segments()


@pytest.mark.parametrize(("least", "stays"), [(0, True), (3, True), (4, False)])
def test_small_stuff_is_trimmed(least: int, stays: bool) -> None:
    scene = draw("sssrrrrr rrrrrrrr AAArrrrr AAArrrrr")
    ids, category, *_ = ideal_affinity.decode(scene, min_stuff_area=least)
    sky = int(np.flatnonzero(category[:2] == 23)[0]) + 1
    assert (ids == sky).any() == stays
    assert ((ids == 0) == ((scene.semantic == 2) & (not stays))).all()


def test_scores_are_the_root_of_probability_times_centerness() -> None:
    scene = draw("rrrrrrr rAAAAAr rAAAAAr rAAAAAr rrrrrrr")
    ids, _, score, _ = ideal_affinity.decode(replace(scene, confidence=np.array([0.81])))
    assert score[ids[2, 3] - 1] == pytest.approx(0.9, abs=1e-3)  # at its centre the centerness is one
    assert score[ids[0, 0] - 1] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("threshold", [0.4, 0.6])
def test_detections_below_the_cut_off_are_none(threshold: float) -> None:
    scene = draw("rrrrrrr rAAAAAr rAAAAAr rAAAAAr rrrrrrr")
    unsure = replace(scene, confidence=np.array([0.5]))
    ids, category, *_ = ideal_affinity.decode(unsure, score_threshold=threshold)
    expected = scene.segments() if threshold < 0.5 else scene.keep(0).segments()
    assert found_segments(ids, category) == expected


class _Masks(Network):
    """A network whose masks are those of a scene's objects, whatever else it has; in its detections' order."""

    def masks(self, output: Output, found: Detections, stride: int = 4) -> torch.Tensor:
        return self.scene_masks


def with_masks(scene: Scene, order: list[int], kind: str) -> _Masks:
    """order: the objects by falling confidence."""
    network = ideal_affinity.method(affinity=0, mask=8, potential=kind).network
    found = _Masks(network.settings, torch.tensor([label.thing for label in LABELS]))
    instance = torch.from_numpy(scene.instance)
    masks = [(instance == number).float() for number in order]
    found.scene_masks = torch.stack(masks + [torch.zeros_like(masks[0])] * (100 - len(masks)))
    return found.eval()


@pytest.mark.parametrize("kind", ["B", "C"])
@pytest.mark.parametrize("merge", ["argmax", "heuristic"])
def test_masks_part_objects_whose_boxes_overlap(kind: str, merge: str) -> None:
    """Without affinities."""
    scene = replace(OVERLAPPING, confidence=np.array([0.7, 0.9]))
    network = with_masks(scene, [1, 0], kind)
    decoder = decoder_of(network, stride=8, merge=merge)
    ids, category, *_ = run(decoder, ideal_affinity.output(scene)._replace(affinity=[]))
    assert found_segments(ids, category) == scene.segments()


class _SureMasks(nn.Module):
    """A mask head that sees the object all over its box."""

    def forward(self, pyramid: list[torch.Tensor], box: torch.Tensor, thing: torch.Tensor) -> torch.Tensor:
        return torch.full((len(thing), SIDE, SIDE), 9.0)


def test_the_heuristic_cuts_a_mask_to_its_box() -> None:
    scene = draw("rrrrrrrr rAAArrrr rAAArrrr rAAArrrr rrrrrrrr")
    network = ideal_affinity.method(affinity=0, mask=8).network
    network.mask = _SureMasks()
    ids, category, *_ = run(decoder_of(network, stride=8, merge="heuristic"), ideal_affinity.output(scene)._replace(affinity=[]))
    assert found_segments(ids, category) == scene.segments()


@pytest.mark.parametrize(("overlap", "stays"), [(0.5, False), (0.2, True)])
def test_the_heuristic_drops_a_thing_that_surer_ones_cover(overlap: float, stays: bool) -> None:
    """The mask of B is all of its own three cells and six of A's nine."""
    scene = replace(draw("rrrrrrrr rAAABrrr rAAABrrr rAAABrrr rrrrrrrr"), confidence=np.array([0.9, 0.7]))
    network = with_masks(scene, [0, 1], "B")
    network.scene_masks[1, 1:4, 2:4] = 1
    ids, *_ = run(decoder_of(network, stride=8, merge="heuristic", overlap=overlap),
                  ideal_affinity.output(scene)._replace(affinity=[]))  # fmt: skip
    assert len(np.unique(ids[1:4, 1:4])) == 1
    assert (ids[2, 4] > 2) == stays  # else a thing class in V is no stuff: void


def test_the_heuristic_without_masks_is_refused() -> None:
    with pytest.raises(PanopticError, match="merge 'heuristic' needs masks"):
        decoder_of(ideal_affinity.method().network, merge="heuristic")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30, -1e30])
@pytest.mark.parametrize("field", ["semantic", "affinity"])
def test_nonsense_keeps_the_contract(field: str, value: float) -> None:
    """Slots that have cells exist, with scores of 0 to 1; nothing raises."""
    output = ideal_affinity.output(PICTURE)
    bad = [value * torch.ones_like(x) for x in (output.affinity if field == "affinity" else [output.semantic])]
    ids, category, score, _ = run(ideal_affinity.decoder(), output._replace(**{field: bad if field == "affinity" else bad[0]}))
    assert ids.max() <= len(category)
    used = np.unique(ids[ids > 0]) - 1
    assert np.all((score[used] >= 0) & (score[used] <= 1))


def test_a_data_set_without_stuff_classes() -> None:
    """Where no thing collects anything is void."""
    scene = draw("........ ..AAA... ..AAA... ........")
    network = Network(ideal_affinity.method().network.settings, torch.tensor([True, True])).eval()
    output = ideal_affinity.output(scene)
    semantic = output.semantic[:, [CAR, 3]]
    decoder = Decoder(network, torch.tensor([26, 24]), torch.tensor([True, True]), DecoderSettings(stride=8))
    ids, category, *_ = run(decoder, output._replace(semantic=semantic))
    assert found_segments(ids, category) == scene.segments()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stride": 2}, "settings.decoder.stride is 2; it can be 4, 8"),
        ({"merge": "vote"}, "unknown settings.decoder.merge 'vote'; there are argmax, heuristic"),
        ({"detections": 2000}, "settings.decoder.detections is 2000; expected 1..1000"),
        ({"nms": 1.5}, "settings.decoder.nms is 1.5"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(PanopticError, match=message):
        DecoderSettings(**settings)
