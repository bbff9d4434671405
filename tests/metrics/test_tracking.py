"""HOTA, IDF1 and CLEAR on drawn tracks with literal answers, on TrackEval's numbers, and properties."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.metrics.clear import Clear, clear
from training.metrics.hota import Hota, hota
from training.metrics.identity import Identity, identity
from training.metrics.tracking import Frame, count_identities, frame_of


def frame(truth: list[int], predicted: list[int], iou: list[list[float]]) -> Frame:
    return Frame(np.array(truth, int), np.array(predicted, int), np.array(iou, float).reshape(len(truth), len(predicted)))


SWITCH = [frame([1], [7], [[1]]), frame([1], [7], [[1]]), frame([1], [8], [[1]]), frame([1], [8], [[1]])]
"""One object of four frames whose number changes half way."""


def test_a_switch_half_way() -> None:
    assert identity(SWITCH) == Identity(idtp=2, idfn=2, idfp=2)
    assert identity(SWITCH).idf1 == 0.5
    assert clear(SWITCH) == Clear(tp=4, switches=1, mostly_tracked=1, iou=4.0)
    assert clear(SWITCH).mota == 0.75
    # each of the 4 detections shares 2 frames of a union of 4: AssA = 1/2, DetA = 1
    assert hota(SWITCH).hota == pytest.approx([np.sqrt(0.5)] * 19)


def test_masks_of_iou_06_count_up_to_alpha_06() -> None:
    score = hota([frame([1], [7], [[0.6]])])
    assert score.tp.tolist() == [1] * 12 + [0] * 7
    assert score.loc_a == pytest.approx([0.6] * 12 + [1] * 7)
    assert clear([frame([1], [7], [[0.6]])]).smota == pytest.approx(0.6)


def test_a_match_below_half_is_no_match_for_idf1_and_mota() -> None:
    frames = [frame([1], [7], [[0.49]])]
    assert identity(frames) == Identity(idtp=0, idfn=1, idfp=1)
    assert clear(frames) == Clear(fn=1, fp=1, mostly_lost=1)


def test_a_gap_is_a_fragment_and_a_match_is_kept_while_it_is_valid() -> None:
    gap = [frame([1], [7], [[1]]), frame([1], [9], [[0]]), frame([1], [7], [[1]])]
    assert clear(gap) == Clear(tp=2, fn=1, fp=1, partly_tracked=1, fragments=1, iou=2.0)
    kept = [frame([1], [7], [[1]]), frame([1], [7, 8], [[0.6, 0.9]])]
    assert clear(kept).switches == 0


def test_nothing_at_all_and_one_side_only() -> None:
    nothing = [frame([], [], [])]
    assert identity(nothing) == Identity(0, 0, 0)
    assert clear(nothing) == Clear()
    assert hota(nothing).hota.tolist() == [0] * 19
    assert identity([frame([1, 2], [], [])]).idfn == 2
    assert clear([frame([], [3], [])]).fp == 1
    assert hota([frame([1], [], [])]).fn.tolist() == [1] * 19


def test_frame_of_takes_only_the_identities_asked_for() -> None:
    got = frame_of(np.array([[1, 1, 2, 0]]), [1], np.array([[5, 6, 6, 6]]), [6, 5])
    assert (got.truth.tolist(), got.predicted.tolist(), got.iou.tolist()) == ([1], [5, 6], [[0.5, 0.25]])


@st.composite
def videos(draw: st.DrawFn) -> list[Frame]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    frames = []
    for _ in range(draw(st.integers(1, 5))):
        maps = rng.integers(0, 4, (2, 6, 6))
        frames.append(frame_of(maps[0], set(maps[0].flat) - {0}, maps[1], set(maps[1].flat) - {0}))
    return frames


@settings(max_examples=60, deadline=None)
@given(videos(), st.permutations(range(4)))
def test_ranges_sums_and_names(video: list[Frame], names: list[int]) -> None:
    renamed = [Frame(f.truth, np.array(names)[f.predicted] + 40, f.iou) for f in video]
    assert identity(video) == identity(renamed)
    detections, guesses = sum(len(f.truth) for f in video), sum(len(f.predicted) for f in video)
    for score in (hota(video), hota(video) + hota(video)):
        assert ((score.hota >= 0) & (score.hota <= 1 + 1e-9)).all()
    assert (hota(video).tp + hota(video).fn).tolist() == [detections] * 19
    counts, ids = clear(video), identity(video)
    assert (counts.tp + counts.fn, counts.tp + counts.fp) == (detections, guesses) == (ids.idtp + ids.idfn, ids.idtp + ids.idfp)
    assert counts.mota <= counts.moda <= 1


@settings(max_examples=30, deadline=None)
@given(videos())
def test_the_truth_itself_scores_one(video: list[Frame]) -> None:
    perfect = [Frame(f.truth, f.truth, np.eye(len(f.truth))) for f in video]
    assert identity(perfect).idf1 == 1.0
    assert hota(perfect).hota == pytest.approx([1.0] * 19)
    assert clear(perfect).mota == 1.0


def read_mots(path: Path, category: int) -> list[tuple[np.ndarray, list[int]]]:
    """Of each of 6 frames the map of identities of one class, and the identities."""
    mask = pytest.importorskip("pycocotools.mask")
    frames = [(np.zeros((720, 1280), np.int64), []) for _ in range(6)]
    for line in path.read_text().splitlines():
        number, identity_, of, height, width, rle = line.split(" ")
        if int(of) == category:
            ids, present = frames[int(number)]
            ids[mask.decode({"size": [int(height), int(width)], "counts": rle.encode()}).astype(bool)] = int(identity_)
            present.append(int(identity_))
    return frames


def summary(score: Hota, ids: Identity, counts: Clear) -> dict[str, float]:
    """By the names that TrackEval gives them."""
    means = {
        "HOTA": score.hota, "DetA": score.det_a, "AssA": score.ass_a, "DetRe": score.det_re, "DetPr": score.det_pr,
        "OWTA": score.owta, "AssRe": score.ass_re, "AssPr": score.ass_pr, "LocA": score.loc_a, "HOTA_TP": score.tp,
        "HOTA_FN": score.fn, "HOTA_FP": score.fp,
    }  # fmt: skip
    return {name: float(values.mean()) for name, values in means.items()} | {
        "HOTA(0)": score.hota[0], "LocA(0)": score.loc_a[0], "HOTALocA(0)": score.hota[0] * score.loc_a[0],
        "MOTA": counts.mota, "MOTP": counts.motp, "MODA": counts.moda, "sMOTA": counts.smota, "CLR_TP": counts.tp,
        "CLR_FP": counts.fp, "CLR_FN": counts.fn, "IDSW": counts.switches, "MT": counts.mostly_tracked,
        "PT": counts.partly_tracked, "ML": counts.mostly_lost,
        "Frag": counts.fragments, "IDF1": ids.idf1, "IDR": ids.recall, "IDP": ids.precision,
        "IDTP": ids.idtp, "IDFN": ids.idfn, "IDFP": ids.idfp,
        "Dets": counts.tp + counts.fp, "GT_Dets": counts.tp + counts.fn,
    }  # fmt: skip


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "category"), [("car", 1), ("pedestrian", 2)])
@pytest.mark.parametrize("tracker", ["perfect", "perturbed"])
def test_trackeval_numbers(shared_data: Path, tracker: str, name: str, category: int) -> None:
    folder = shared_data / "metrics" / "trackeval_kitti_mots"
    expected = json.loads((folder / "expected.json").read_text())[tracker]
    scores, objects = {}, {}
    for sequence in ("0000", "0001"):
        truth = read_mots(folder / "gt" / "label_02" / f"{sequence}.txt", category)
        predicted = read_mots(folder / "trackers" / tracker / "data" / f"{sequence}.txt", category)
        frames = [frame_of(*t, *p) for t, p in zip(truth, predicted)]
        scores[sequence] = hota(frames), identity(frames), clear(frames)
        _, true_counts, predicted_counts = count_identities(frames)
        objects[sequence] = np.array([len(true_counts), len(predicted_counts)])
    scores["COMBINED_SEQ"] = tuple(a + b for a, b in zip(scores["0000"], scores["0001"]))
    objects["COMBINED_SEQ"] = objects["0000"] + objects["0001"]
    for sequence, score in scores.items():
        ours = summary(*score) | dict(zip(("GT_IDs", "IDs"), objects[sequence].tolist()))
        assert ours == pytest.approx(expected[sequence][name], abs=1e-9), sequence
