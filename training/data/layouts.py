"""The folders that data sets unpack to: where the parts of a split in COCO panoptic format lie."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

CITYSCAPES_IMAGE = "_leftImg8bit.png"


@dataclass(frozen=True)
class PanopticFiles:
    """Of a split: its JSON, the folder of its PNGs, and the image file of an entry of the JSON's `images`."""

    json: Path
    ids: Path
    image_of: Callable[[dict], Path]


def panoptic_files(root: Path, split: str) -> PanopticFiles | None:
    """The first of the known layouts that `root` has; None if it has none of them."""
    return next((files for files in _candidates(root, split) if os.path.isfile(files.json)), None)


def _candidates(root: Path, split: str) -> Iterator[PanopticFiles]:
    beside, name = root / split, f"panoptic_{split}"
    yield PanopticFiles(root / f"{name}.json", root / name, lambda image: beside / image["file_name"])  # docs/architecture.md
    coco = root / "annotations"
    yield PanopticFiles(coco / f"{name}.json", coco / name, lambda image: beside / image["file_name"])
    fine, pictures = root / "gtFine" / f"cityscapes_{name}", root / "leftImg8bit" / split
    yield PanopticFiles(fine.with_suffix(".json"), fine, lambda image: pictures / cityscapes_image(str(image["id"])))
    for version in ("", "v1.2", "v2.0"):  # of Mapillary Vistas; where there are several, the one of the papers
        vistas = beside / version / "panoptic"
        for file in sorted(vistas.glob("panoptic_*.json")):
            yield PanopticFiles(file, vistas, lambda image: beside / "images" / f"{os.path.splitext(image['file_name'])[0]}.jpg")


def cityscapes_image(name: str) -> Path:
    """The image of `aachen_000000_000019`, below the folder of its split; the JSON has a file name that does not exist."""
    return Path(name.partition("_")[0]) / f"{name}{CITYSCAPES_IMAGE}"


def splits(root: Path) -> list[str]:
    """The names of the splits that a folder has, in any layout."""
    jsons = [file for place in ("", "annotations", "gtFine") for file in (root / place).glob("*panoptic_*.json")]
    found = {file.stem.partition("panoptic_")[2] for file in jsons}
    encoded = [folder for place in ("gtFine", "labels/pan_seg/bitmasks") for folder in (root / place).glob("*")]
    found |= {folder.name for folder in encoded if folder.is_dir() and "panoptic" not in folder.name}
    vistas = [*root.glob("*/panoptic/panoptic_*.json"), *root.glob("*/v*/panoptic/panoptic_*.json")]
    return sorted(found | {file.relative_to(root).parts[0] for file in vistas})
