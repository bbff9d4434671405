"""Files that training and evaluation read: panoptic JSON and PNG, recipes, checkpoints."""

import io
import json
import pickle
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import torch
from omegaconf import OmegaConf

from panoptic_ros import coco
from panoptic_ros.core import PanopticError
from tests.data import tiny_dataset
from tests.fuzz import mutation
from tests.fuzz.target import Target
from training import recipe
from training.checkpoint import read_checkpoint
from training.data import bdd100k, cityscapes, faults
from training.data.frames import read_frames
from training.data.panoptic import read_sample
from training.metrics.files import read_pairs

# COCO panoptic


def _dataset(folder: Path, frames: int = 4) -> Path:
    """A drawn data set, made when it is first needed."""
    root = folder / f"data_{frames}"
    if not root.exists():
        tiny_dataset.edit(
            tiny_dataset.write(root), lambda content: content.update({k: content[k][:frames] for k in ("images", "annotations")})
        )
    return root


def json_seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        plain = json.loads((_dataset(Path(folder)) / "panoptic_train.json").read_text())
    video, scored = json.loads(json.dumps(plain)), json.loads(json.dumps(plain))
    for number, image in enumerate(video["images"]):
        image |= {"sequence": "street", "frame": number, "stamp_ns": number * 10**8}
    for annotation in scored["annotations"]:
        for segment in annotation["segments_info"]:
            segment["score"] = 0.5
    return [json.dumps(content).encode() for content in (plain, video, scored)]


def panoptic_json(data: bytes, folder: Path) -> None:
    """Each reader by itself: what one refuses, another may still take."""
    root = _dataset(folder)
    file = root / "panoptic_train.json"
    file.write_bytes(data)
    _all(lambda: _samples(root), lambda: faults.census(root, "train").as_dict(), lambda: list(read_pairs(file, file)[1]))


def _samples(root: Path) -> None:
    labels, frames = read_frames(root, "train")
    for frame in frames:
        read_sample(frame, labels)


def _all(*readers: Callable[[], object]) -> None:
    """Runs each of them. Raises PanopticError if none could read it."""
    refused = []
    for reader in readers:
        try:
            reader()
        except PanopticError as error:
            refused.append(error)
    if len(refused) == len(readers):
        raise refused[0]


def png_seeds() -> list[bytes]:
    ids = tiny_dataset.ids_of(0)
    instances = np.where(ids > 2, 26001, 7).astype(np.uint16)
    bitmask = np.dstack([np.zeros_like(ids), np.zeros_like(ids), np.full_like(ids, 35), ids & 255]).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        coco.write_ids(Path(folder, "ids.png"), ids)
        panoptic = Path(folder, "ids.png").read_bytes()
    return [panoptic, *(cv2.imencode(".png", picture)[1].tobytes() for picture in (instances, bitmask))]


def panoptic_png(data: bytes, folder: Path) -> None:
    root = _dataset(folder, frames=1)
    file = root / "panoptic_train" / "0.png"
    file.write_bytes(data)
    _all(
        lambda: coco.read_ids(file), lambda: cityscapes.read_ids(file), lambda: bdd100k.read_ids(file), lambda: _samples(root),
        lambda: faults.census(root, "train"),
    )  # fmt: skip


# Recipes


def recipe_seeds() -> list[bytes]:
    return [file.read_bytes() for file in sorted(recipe.RECIPES.glob("*_mnv2_street.yaml"))]


def recipe_tree_seeds() -> list[bytes]:
    """JSON is YAML."""
    contents = (OmegaConf.to_container(OmegaConf.load(file)) for file in sorted(recipe.RECIPES.glob("*_mnv2_street.yaml")))
    return [json.dumps(content).encode() for content in contents]


def recipe_file(data: bytes, folder: Path) -> None:
    (folder / "recipe.yaml").write_bytes(data)
    recipe.load(str(folder / "recipe.yaml"), [])


def override_seeds() -> list[bytes]:
    return [
        b"lr=1e-4",
        b"data.root=there",
        b"stages.0.size=[32,64]",
        b"stages=[{size: [32, 32], steps: 2}]",
        b"settings.a={b: 1}",
    ]


def override(data: bytes, _: Path) -> None:
    with suppress(UnicodeDecodeError):
        content = OmegaConf.create({"lr": 1.0, "data": {"root": "x"}, "stages": [{"size": [64, 64]}]})
        recipe.assign(content, data.decode())


# Checkpoints


class _Bomb:
    """Ends the process of whoever unpickles it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return sys.exit, ("a checkpoint was executed",)


def checkpoint_seeds() -> list[bytes]:
    content = {
        "recipe": OmegaConf.to_container(OmegaConf.load(recipe.RECIPES / "hle_mnv2_street.yaml")), "step": 3,
        "average": {"weight": torch.ones(2, 3)}, "network": {"bias": torch.zeros(3, dtype=torch.bfloat16)},
    }  # fmt: skip
    made = []
    for zipped in (True, False):
        file = io.BytesIO()
        torch.save(content, file, _use_new_zipfile_serialization=zipped)
        made.append(file.getvalue())
    bomb = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(made[0])) as source, zipfile.ZipFile(bomb, "w") as target:
        for name in source.namelist():
            target.writestr(name, pickle.dumps(_Bomb(), 2) if name.endswith("data.pkl") else source.read(name))
    return [*made, pickle.dumps(_Bomb(), 2), bomb.getvalue()]


def checkpoint(data: bytes, folder: Path) -> None:
    (folder / "last.pt").write_bytes(data)
    recipe.from_dict(read_checkpoint(folder / "last.pt")["recipe"])


TARGETS = (
    Target("panoptic_json", json_seeds, panoptic_json, mutation.tree, 50),
    Target("panoptic_png", png_seeds, panoptic_png, mutation.picture, 10),
    Target("recipe", recipe_seeds, recipe_file, mutation.octets, 200),
    Target("recipe_tree", recipe_tree_seeds, recipe_file, mutation.tree, 200),
    Target("override", override_seeds, override, mutation.octets, 5),
    Target("checkpoint", checkpoint_seeds, checkpoint, mutation.archive, 20),
)
