"""Real data sets, where they are: no faults, and each method trains on them from the command line."""

import json
from pathlib import Path

import pytest

from training import train
from training.data.faults import census

pytestmark = pytest.mark.shared_data

SMALL = [
    "backbone_weights=null",
    "stages=[{size: [96, 128], steps: 12, batch: 4}]",
    "precision=fp32",
    "warmup=2",
    "data.cache=true",
]
NETWORKS = {
    "hle_mnv2_street": ["settings.network.thomson=false", "settings.network.skips=[[8, 8, 16], [4, 8, 16]]"],
    "dense_mnv2_street": [
        "settings.network={pyramid: 16, semantic_tower: 16, location_tower: 16, depth: 1, merge: 4}",
    ],
}


@pytest.mark.parametrize(("name", "images", "classes"), [("camvid_panoptic", 101, 11), ("coco128_panoptic", 26, 80)])
def test_a_real_split_has_no_faults(name: str, images: int, classes: int, shared_data: Path) -> None:
    found = census(shared_data / name, "val")
    assert (found.images, len(found.labels), found.faults) == (images, classes, {})


@pytest.mark.parametrize("recipe", NETWORKS)
@pytest.mark.parametrize("name", ["camvid_panoptic", "coco128_panoptic"])
def test_a_method_trains_on_it_without_code(name: str, recipe: str, shared_data: Path, tmp_path: Path) -> None:
    """coco128 has no stuff at all."""
    where = [recipe, "model=mine", f"data.root={shared_data / name}", "lr=2e-3", *SMALL, *NETWORKS[recipe]]
    assert train.main([*where, "--out", str(tmp_path), "--log-every", "1", "--workers", "0", "--picture-every", "12"]) == 0
    losses = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len(losses) == 12 and sum(losses[-3:]) < sum(losses[:3])
