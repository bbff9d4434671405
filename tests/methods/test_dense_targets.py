"""Targets of dense detections, of maps drawn by hand; a letter is a cell of 4 pixels."""

import math

import pytest
import torch
from torch import Tensor

from tests.methods.scene import CAR, PERSON, ROAD, THINGS, Scene, draw
from training.methods.dense.targets import levelness_targets, truth_of
from training.nets.detector_targets import Truth, cell_targets, centerness, level_of

RANGES = [64, 128, 256, 512]
TWO = draw(
    """
    ssssssss
    sAAAANNs
    rAAAANNr
    rrrrr..r
    """
)


def truth(scene: Scene, stride: int = 4, weak: bool = False) -> Truth:
    maps = (torch.from_numpy(part).unsqueeze(0) for part in (scene.semantic, scene.instance))
    return truth_of(*maps, torch.tensor(THINGS), stride, weak)


def letters(instance: Tensor) -> list[str]:
    """An instance map (h,w) as it is drawn, `.` for none."""
    return ["".join(".ABC"[number + 1] for number in row) for row in instance.tolist()]


def test_boxes_are_those_of_the_cells_in_pixels() -> None:
    found = truth(TWO)
    assert found.box[0].tolist() == [[4, 4, 20, 12], [20, 4, 28, 12]]
    assert (found.category[0].tolist(), found.exists[0].tolist()) == ([CAR, PERSON], [True, True])
    assert truth(TWO, stride=8).box[0, 0].tolist() == [8, 8, 40, 24]


def test_an_object_that_a_crop_left_out_does_not_exist() -> None:
    found = truth(Scene(TWO.semantic[:, 5:], TWO.instance[:, 5:], TWO.confidence))  # only the person, number 1, is seen
    assert found.exists[0].tolist() == [False, True]
    assert found.box[0, 1].tolist() == [0, 4, 8, 12]


def test_positives_of_p3_lie_on_the_mask_and_know_their_box() -> None:
    """Cell (1,0) of P3 has its centre at (12,4), the corner of the drawn cell (3,1); (1,1) at (12,12) is on road."""
    cells = cell_targets(truth(TWO), [(2, 4), (1, 2), (1, 1), (1, 1), (1, 1)], RANGES)
    p3 = cells.instance[0, :8].view(2, 4).tolist()
    assert p3 == [[0, 0, 1, -1], [-1, -1, -1, -1]]
    assert cells.distances[0, :, 1].tolist() == [8, 0, 8, 8]
    assert cells.distances[0, :, 3].tolist() == [0, 0, 0, 0]
    assert cells.centerness[0, 1].item() == 0  # on the upper side of the box
    # the centres of P4's cells, (8,8) and (24,8), lie on objects too, but those are too small for it
    assert cells.instance[0, 8:].tolist() == [-1] * 5


@pytest.mark.parametrize(
    ("distances", "level"),
    [
        ([1, 64, 3, 2], 0),
        ([1, 64.5, 3, 2], 1),
        ([128, 1, 1, 1], 1),
        ([129, 1, 1, 1], 2),
        ([1, 1, 512, 1], 3),
        ([9e3, 1, 1, 1], 4),
    ],
)
def test_the_furthest_side_decides_on_the_level(distances: list[float], level: int) -> None:
    assert level_of(torch.tensor(distances).view(1, 4, 1), RANGES).item() == level


def test_centerness_by_hand() -> None:
    """The root of (4/8)(3/3), of (1/4)(1/9), and 1 in the middle."""
    distances = torch.tensor([[4, 3, 8, 3], [1, 9, 4, 1], [5, 2, 5, 2]]).float().T.unsqueeze(0)
    assert centerness(distances)[0].tolist() == pytest.approx([math.sqrt(0.5), 1 / 6, 1])


def test_a_large_object_has_levels_by_distance() -> None:
    """320 x 64 pixels: within 64 of both ends is nothing, the middle belongs to P5 (160..256), the ends to P6 (256..320)."""
    scene = draw(" ".join(["A" * 80] * 16))
    level = levelness_targets(truth(scene), (16, 80), RANGES)[0]
    assert set(level[0].tolist()) == {3, 4}
    assert (level[0] == 4).nonzero()[:, 0].tolist() == [*range(16), *range(64, 80)]  # 318 - 4 i > 256 and its mirror image


def test_levelness_ignores_void_and_crowds_but_not_stuff() -> None:
    instance = TWO.instance.copy()
    instance[instance == 1] = -1  # the person is a crowd: its class is known, its objects are not
    level = levelness_targets(truth(Scene(TWO.semantic, instance, TWO.confidence)), (4, 8), RANGES)[0]
    assert level.tolist() == [[0] * 8, [0, 1, 1, 1, 1, -1, -1, 0], [0, 1, 1, 1, 1, -1, -1, 0], [0] * 5 + [-1, -1, 0]]
    cells = cell_targets(truth(Scene(TWO.semantic, instance, TWO.confidence)), [(2, 4)] + [(1, 1)] * 4, RANGES)
    assert cells.counted[0, :8].view(2, 4).tolist() == [[True, True, False, True]] * 2  # crowd above, void below


def test_cells_beyond_the_image_are_background() -> None:
    """P6 and P7 of an image of 16 x 32 pixels have their centres at 32 and 64 pixels."""
    cells = cell_targets(truth(draw(" ".join(["AAAAAAAA"] * 4))), [(2, 4), (1, 2), (1, 1), (1, 1), (1, 1)], RANGES)
    assert cells.instance[0, -2:].tolist() == [-1, -1] and cells.counted[0, -2:].all()


def test_a_finer_grid_has_finer_boxes() -> None:
    found = truth(TWO, stride=2)
    assert found.box[0, 1].tolist() == [10, 2, 14, 6]
    assert levelness_targets(found, (2, 4), RANGES)[0].tolist() == [[1, 1, 1, 0], [0, 0, -1, 0]]


def test_an_image_without_objects_has_no_positives() -> None:
    scene = draw("ssssssss rrrrrrrr rrrr.... rrrrrrrr")
    for weak in (False, True):
        found = truth(scene, weak=weak)
        cells = cell_targets(found, [(2, 4)] + [(1, 1)] * 4, RANGES)
        assert (cells.instance == -1).all() and not cells.distances.any()
        assert found.box.shape == (1, 0, 4)


def test_weak_supervision_shares_cells_out_by_the_smallest_box() -> None:
    """A's cells under B's box go to B; the road in both boxes to neither; N is of another class and keeps its own."""
    scene = draw(
        """
        AAAAAArr
        AABBAArr
        AArrAArr
        AAAANNNN
        rrrrNNNN
        """
    )
    full, weak = truth(scene), truth(scene, weak=True)
    assert letters(full.instance[0]) == ["AAAAAA..", "AABBAA..", "AA..AA..", "AAAACCCC", "....CCCC"]
    assert letters(weak.instance[0]) == letters(full.instance[0])
    assert torch.equal(weak.box, full.box)


def test_weak_supervision_moves_what_lies_under_a_smaller_box_of_its_class() -> None:
    scene = draw(
        """
        AAAAAA
        AABBAA
        AABAAA
        AAAAAA
        """
    )
    assert letters(truth(scene, weak=True).instance[0]) == ["AAAAAA", "AABBAA", "AABBAA", "AAAAAA"]


def test_weak_supervision_leaves_things_outside_all_boxes_out() -> None:
    semantic, instance = TWO.semantic.copy(), TWO.instance.copy()
    semantic[3, 0] = CAR  # a crowd
    found = truth(Scene(semantic, instance, TWO.confidence), weak=True)
    assert found.instance[0, 3, 0] == -1 and bool(found.ignored[0, 3, 0])
    assert found.semantic[0, 3, 0] == CAR and found.semantic[0, 3, 1] == ROAD


def test_images_of_a_batch_do_not_mix() -> None:
    """One with two objects, one with none and one with another box."""
    none = torch.full((4, 8), -1)
    semantic = torch.stack([torch.from_numpy(TWO.semantic), torch.full((4, 8), ROAD), torch.full((4, 8), PERSON)])
    instance = torch.stack([torch.from_numpy(TWO.instance), none, none + 1])
    for weak in (False, True):
        found = truth_of(semantic, instance, torch.tensor(THINGS), 4, weak)
        assert found.exists.tolist() == [[True, True], [False, False], [True, False]]
        assert found.box[2, 0].tolist() == [0, 0, 32, 16]
        assert torch.equal(found.instance, instance)
