"""What a node has for each of its cameras: topics in, topics out, and what is between them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from panoptic_ros.aside import Aside
from panoptic_ros.core import PanopticError
from panoptic_ros.middleware.depth import Depths
from panoptic_ros.middleware.outputs import Outputs
from panoptic_ros.middleware.twins import Twins
from panoptic_ros.node import Node

PLACE = "{camera}"
"""Stands for the name of each camera in the names of topics."""


@dataclass(frozen=True, slots=True)
class Topics:
    """Of one camera. camera: its name, "" for the only one. depth, camera_info: both for the 3D outputs, or ""."""

    image: str
    depth: str = ""
    camera_info: str = ""
    camera: str = ""

    def prefix(self, root: str) -> str:
        """What its outputs begin with, under `root`, such as /panoptic/."""
        return f"{root}{self.camera}/" if self.camera else root

    def title(self, node: str) -> str:
        """The name of its diagnostics, from that of the node."""
        return f"{node}: {self.camera}" if self.camera else node


@dataclass(frozen=True, slots=True)
class Stream:
    """The way of one camera's images through the node; `twins` is where it begins."""

    topics: Topics
    core: Node
    outputs: Outputs
    depths: Depths | None
    twins: Twins


def spare_thread(engine: Mapping[str, str]) -> Aside | None:
    """One to convert images while the engine is at work, if that leaves a core free. engine: its description."""
    threads, cores = engine.get("threads", ""), len(os.sched_getaffinity(0))
    if threads == "-":  # it runs elsewhere
        return Aside("ahead") if cores > 1 else None
    return Aside("ahead") if threads.isdecimal() and int(threads) < cores else None


def topics_of(cameras: str, image: str, depth: str = "", camera_info: str = "") -> tuple[Topics, ...]:
    """cameras: names, with spaces between them; "" for one camera without a name. The topics of several contain PLACE.

    Raises PanopticError for what is impossible.
    """
    if bool(depth) != bool(camera_info):
        raise PanopticError(f"3D takes both depth and camera_info; they are {depth!r} and {camera_info!r}")
    names = cameras.split()
    for name, topic in {"image": image, "depth": depth, "camera_info": camera_info}.items():
        if topic and bool(names) != (PLACE in topic):
            raise PanopticError(f"{name} is {topic!r} and cameras is {cameras!r}; {PLACE} stands for the name of each camera")
    for name in names:
        if not name.isidentifier() or not name.isascii() or names.count(name) > 1:
            raise PanopticError(f"cameras are {cameras!r}; names are different, of letters, digits and _, such as 'front rear'")
    return tuple(Topics(*(topic.replace(PLACE, name) for topic in (image, depth, camera_info)), name) for name in names or [""])
