"""The topics of several cameras, from one pattern."""

import os

import pytest

from panoptic_ros.core import PanopticError
from panoptic_ros.middleware.streams import Topics, spare_thread, topics_of


def test_a_single_camera_has_its_topics_as_they_are() -> None:
    (alone,) = topics_of("", "/image", "/depth", "/info")
    assert alone == Topics("/image", "/depth", "/info")
    assert (alone.prefix("/panoptic/"), alone.title("node")) == ("/panoptic/", "node")


def test_several_have_their_names_in_them() -> None:
    front, rear = topics_of(" front  rear_2 ", "/{camera}/image", "/{camera}/depth", "/{camera}/info")
    assert front == Topics("/front/image", "/front/depth", "/front/info", "front")
    assert (rear.image, rear.prefix("/panoptic/"), rear.title("node")) == (
        "/rear_2/image", "/panoptic/rear_2/", "node: rear_2"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("cores", "threads", "spare"),
    [(2, "2", False), (2, "1", True), (4, "2", True), (2, "-", True), (1, "-", False), (8, "one per physical core", False)],
)
def test_a_thread_is_to_spare_where_the_engine_leaves_a_core(
    monkeypatch: pytest.MonkeyPatch, cores: int, threads: str, spare: bool
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    found = spare_thread({"threads": threads})
    assert (found is not None) == spare
    if found is not None:
        found.stop()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("front rear", "/image"), "image is '/image' and cameras is 'front rear'; {camera} stands for the name of each camera"),
        (("front", "/{camera}/image", "/depth", "/{camera}/info"), "depth is '/depth'"),
        (("", "/{camera}/image"), "image is '/{camera}/image' and cameras is ''"),
        (("front front", "/{camera}/image"), "names are different"),
        (("front, rear", "/{camera}/image"), "of letters, digits and _"),
        (("1st", "/{camera}/image"), "of letters, digits and _"),
        (("vorn hintän", "/{camera}/image"), "of letters, digits and _"),
        (("", "/image", "/depth"), "3D takes both depth and camera_info; they are '/depth' and ''"),
    ],
)
def test_what_cannot_be_is_named(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(PanopticError) as found:
        topics_of(*arguments)
    assert message in str(found.value)
