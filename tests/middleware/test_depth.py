"""Which depth belongs to an image, and what is wrong if none does."""

import threading
import time

import numpy as np
import pytest

from panoptic_ros.core import PanopticError
from panoptic_ros.middleware import dds_types as types
from panoptic_ros.middleware import depth as depth_module
from panoptic_ros.middleware import messages
from panoptic_ros.middleware.depth import Depths, DepthSettings
from panoptic_ros.middleware.frames import depth_of
from panoptic_ros.projection import Intrinsics, Placement

MS = 1_000_000


def header(ms: int, frame: str = "cam") -> types.Header:
    return messages.header_at(types, ms * MS, frame)


def depth_image(ms: int, millimetres: int, frame: str = "cam", shape: tuple[int, int] = (2, 3)) -> types.Image:
    pixels = np.full(shape, millimetres, "<u2")
    return types.Image(header(ms, frame), *shape, "16UC1", 0, 2 * shape[1], pixels.tobytes())


def info(frame: str = "cam", width: int = 3, height: int = 2, focal: float = 100.0) -> types.CameraInfo:
    k = [focal, 0.0, 1.0, 0.0, focal, 0.5, 0.0, 0.0, 1.0]
    return types.CameraInfo(header(0, frame), height, width, k=k)


@pytest.fixture
def depths() -> Depths:
    found = Depths()
    found.receive_info(info())
    for ms, millimetres in ((0, 1000), (33, 2000), (66, 3000)):
        found.receive_depth(depth_image(ms, millimetres))
    return found


def test_no_more_bytes_are_kept_than_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the size of each image, and with stamps that say that no time has passed."""
    monkeypatch.setattr(depth_module, "MAX_BYTES", 1000)
    found = Depths()
    for rows in (10, 10, 10, 1, 1, 1, 40, 1):
        found.receive_depth(depth_image(0, 1000, shape=(rows, 10)))
        assert sum(len(message.data) for _, message in found._images) <= 1000
    found.receive_depth(depth_image(0, 1000, shape=(100, 10)))
    assert [len(message.data) for _, message in found._images] == [2000]  # the last one always


def test_no_more_images_are_kept_than_announced() -> None:
    """Those without data cost memory too."""
    found = Depths()
    for _ in range(1000):
        found.receive_depth(depth_image(0, 1000, shape=(0, 0)))
    assert len(found._images) == depth_module.MAX_IMAGES


def test_the_nearest_in_time_is_taken(depths: Depths) -> None:
    view = depths.view(header(40), (2, 3))
    assert view.depth.tolist() == [[2, 2, 2], [2, 2, 2]] and view.frame_id == "cam"
    assert view.intrinsics == Intrinsics(100.0, 100.0, 1.0, 0.5)


def test_an_image_of_another_size_has_other_intrinsics(depths: Depths) -> None:
    view = depths.view(header(0), (4, 6))
    assert view.depth.shape == (4, 6)
    assert view.intrinsics == Intrinsics(200.0, 200.0, 2.5, 1.5)


def test_a_target_frame(depths: Depths) -> None:
    there = Placement(np.eye(3), np.ones(3))
    found = Depths(DepthSettings(target_frame="map"), lambda target, source, *_: {("map", "cam"): there}[target, source])
    found.receive_info(info())
    found.receive_depth(depth_image(0, 1000))
    view = found.view(header(0), (2, 3))
    assert view.frame_id == "map" and view.placement is there


def test_depth_that_comes_after_its_image_is_waited_for(depths: Depths) -> None:
    depths.settings = DepthSettings(wait_s=10)
    threading.Timer(0.1, depths.receive_depth, [depth_image(100, 4000)]).start()
    assert depths.view(header(100), (2, 3)).depth[0, 0] == 4


def test_depth_is_not_waited_for_in_vain(depths: Depths) -> None:
    """Neither for an image that depth is already ahead of, nor where depth fell silent a second ago."""
    depths.settings = DepthSettings(tolerance_s=0.005, wait_s=10)
    begin_s = time.monotonic()
    for ms in (50, 5000):
        with pytest.raises(PanopticError, match="nearest depth image"):
            depths.view(header(ms), (2, 3))
    assert time.monotonic() - begin_s < 5


def test_depth_is_kept_until_a_slow_engine_is_done(depths: Depths) -> None:
    for ms in range(99, 2000, 33):
        depths.receive_depth(depth_image(ms, 1000))
    assert depths.view(header(66), (2, 3)).depth[0, 0] == 3
    depths.receive_depth(depth_image(2100, 1000))
    with pytest.raises(PanopticError, match="nearest depth image is 0.066 s"):
        depths.view(header(66), (2, 3))


def test_a_clock_that_goes_back_forgets(depths: Depths) -> None:
    depths.receive_depth(depth_image(10, 500))
    with pytest.raises(PanopticError, match="nearest depth image is 0.056 s from the image, more than 0.02 s"):
        depths.view(header(66), (2, 3))
    assert depths.view(header(10), (2, 3)).depth[0, 0] == 0.5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.clear(), "no depth image has come yet"),
        (lambda d: d.receive_info(info("other")), "camera_info is in frame 'other', the image in 'cam'"),
        (lambda d: d.receive_depth(depth_image(70, 1, "other")), "depth is in frame 'other', the image in 'cam'"),
        (lambda d: d.receive_info(info(width=0)), "camera_info has size 0x2"),
        (lambda d: d.receive_info(info(focal=0.0)), "is the camera calibrated"),
        (lambda d: d.receive_depth(types.Image(header(70), 1, 1, "rgb8", 0, 3, b"abc")), "depth encoding 'rgb8' is not"),
    ],
)
def test_what_is_wrong_is_said(depths: Depths, change: object, reason: str) -> None:
    change(depths)
    with pytest.raises(PanopticError, match=reason):
        depths.view(header(70), (2, 3))


def test_without_calibration_there_is_no_view() -> None:
    found = Depths()
    found.receive_depth(depth_image(0, 1))
    with pytest.raises(PanopticError, match="no camera_info has come yet"):
        found.view(header(0), (2, 3))


def test_depth_in_millimetres_and_in_metres() -> None:
    """REP 118: 0 and NaN are unknown; so is what no camera can mean."""
    assert depth_of(depth_image(0, 1500, shape=(1, 1))).tolist() == [[1.5]]
    pixels = np.array([[0.5, np.nan, np.inf, 0.0, -1.0]], ">f4")
    depth = depth_of(types.Image(header(0), 1, 5, "32FC1", 1, 20, pixels.tobytes()))
    assert depth[0, 0] == 0.5 and np.isnan(depth[0, 1:]).all()
    assert np.isnan(depth_of(depth_image(0, 0))).all()


def test_depth_further_than_anything_is_unknown() -> None:
    far = np.array([[9_999.0, 10_001.0], [3e38, np.inf]], np.float32)
    message = types.Image(types.Header(), 2, 2, "32FC1", 0, 8, far.tobytes())
    np.testing.assert_array_equal(depth_of(message), [[9_999.0, np.nan], [np.nan, np.nan]])
