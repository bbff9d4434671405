"""Renders scenes into a COCO panoptic folder (docs/architecture.md, "Data on disk"); finished scenes are kept."""

import json
import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from panoptic_ros import coco
from panoptic_ros.core import PanopticError
from training.data.street.generate import Frame, frames
from training.data.street.labels import LABELS

SPLITS = ("train", "val", "test")
SEED_STRIDE = 1_000_000
"""Scene k of split number n has the seed (seed, n * SEED_STRIDE + k), so no two splits share a scene."""


@dataclass(frozen=True)
class Plan:
    """What to render of one split."""

    split: str
    scenes: int
    frames: int
    rate_hz: float


@dataclass(frozen=True)
class Job:
    """One scene. `number`: within its split."""

    root: Path
    plan: Plan
    number: int
    seed: int
    size: tuple[int, int]
    depth: bool

    @property
    def name(self) -> str:
        """The sequence, and the beginning of its files' names."""
        return f"{self.plan.split}_{self.number:04d}"

    @property
    def done(self) -> Path:
        """Written when the scene is complete: its images and annotations."""
        return self.root / "scenes" / f"{self.name}.json"

    @property
    def settings(self) -> dict:
        """What the files of the scene depend on."""
        plan = self.plan
        return {"seed": self.seed, "frames": plan.frames, "rate_hz": plan.rate_hz, "size": list(self.size), "depth": self.depth}


def scene_seed(seed: int, split: str, number: int) -> tuple[int, int]:
    """The seed of a scene, unlike that of every other scene of any split."""
    if number >= SEED_STRIDE:
        raise PanopticError(f"scene {number} of {split}: a split has at most {SEED_STRIDE} scenes")
    return seed, SPLITS.index(split) * SEED_STRIDE + number


def render(root: Path, plans: list[Plan], seed: int, size: tuple[int, int], depth: bool, workers: int) -> None:
    """Render what is missing, in order, and keep every split's JSON up to date with its finished scenes."""
    jobs = [Job(root, plan, k, seed, size, depth) for plan in plans for k in range(plan.scenes)]
    for job in jobs:
        _make_folders(job)
    todo = [job for job in jobs if not _finished(job)]
    with tqdm(total=sum(job.plan.frames for job in todo), unit="frame", desc="street") as bar:
        while True:
            for plan in plans:
                write_json(root, plan)
            if not todo:
                return
            crash = None
            try:
                _render_all(todo, workers, bar)
            except BrokenProcessPool as error:  # software OpenGL was seen to crash, once in some hundred scenes
                crash = error
            left = [job for job in todo if not _finished(job)]
            if crash and len(left) == len(todo):
                raise PanopticError("the rendering processes die before any scene is done; see the kernel's log") from crash
            todo = left


def _render_all(jobs: list[Job], workers: int, bar: tqdm) -> None:
    """Render scenes. Raises BrokenProcessPool when a process dies; what is finished then is kept."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for job, _ in zip(jobs, pool.map(render_scene, jobs)):
            bar.update(job.plan.frames)
            write_json(job.root, job.plan)


def _make_folders(job: Job) -> None:
    """The folders a scene is written to."""
    split = job.plan.split
    for folder in (split, f"panoptic_{split}", "scenes", *([f"depth_{split}"] if job.depth else [])):
        (job.root / folder).mkdir(parents=True, exist_ok=True)


def _finished(job: Job) -> bool:
    """Whether the scene is there. Raises PanopticError if it was rendered with other settings."""
    if not job.done.exists():
        return False
    found = json.loads(job.done.read_text())["settings"]
    if found != job.settings:
        raise PanopticError(f"{job.done} was rendered with {found}, now asked for {job.settings}: choose another --out")
    return True


def render_scene(job: Job) -> None:
    """Render one scene; its JSON, which marks it as finished, comes last."""
    cv2.setNumThreads(1)
    images, annotations = [], []
    seed = scene_seed(job.seed, job.plan.split, job.number)
    for k, frame in enumerate(frames(seed, job.plan.frames, job.plan.rate_hz, job.size)):
        image, annotation = _write(job, k, frame)
        images.append(image)
        annotations.append(annotation)
    _replace(job.done, {"settings": job.settings, "images": images, "annotations": annotations})


def _write(job: Job, k: int, frame: Frame) -> tuple[dict, dict]:
    """Write the files of a frame. Returns its image and annotation entries."""
    split, name = job.plan.split, f"{job.name}_{k:04d}"
    if not cv2.imwrite(str(job.root / split / f"{name}.jpg"), frame.rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95]):
        raise PanopticError(f"cannot write into {job.root / split}")
    coco.write_ids(job.root / f"panoptic_{split}" / f"{name}.png", frame.ids)
    if job.depth:
        millimetres = np.clip(frame.depth_m * 1000 + 0.5, 0, 65535)
        millimetres[frame.depth_m > 65.535] = 0
        cv2.imwrite(str(job.root / f"depth_{split}" / f"{name}.png"), millimetres.astype(np.uint16))
    key = job.number * 10_000 + k
    image = {
        "id": key, "file_name": f"{name}.jpg", "height": job.size[0], "width": job.size[1], "sequence": job.name, "frame": k,
        "stamp_ns": frame.stamp_ns, "intrinsics": [round(v, 4) for v in frame.intrinsics],
    }  # fmt: skip
    info = coco.segments_info(frame.ids, frame.categories)
    return image, {"image_id": key, "file_name": f"{name}.png", "segments_info": info}


def write_json(root: Path, plan: Plan) -> None:
    """Gather the finished scenes of a split into its panoptic JSON."""
    content: dict = {"images": [], "annotations": [], "categories": coco.categories_of(LABELS)}
    for part in sorted((root / "scenes").glob(f"{plan.split}_*.json")):
        scene = json.loads(part.read_text())
        content["images"] += scene["images"]
        content["annotations"] += scene["annotations"]
    _replace(root / f"panoptic_{plan.split}.json", content)


def _replace(path: Path, content: dict) -> None:
    """Write a JSON whole or not at all."""
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(content, separators=(",", ":")))
    os.replace(draft, path)
