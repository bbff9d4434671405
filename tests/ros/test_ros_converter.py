"""cv_bridge and the package's own converter, encoding by encoding."""

import numpy as np
import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy", reason="needs a ROS 2 installation: rclpy cannot be imported")
cv_bridge = pytest.importorskip("cv_bridge", reason="needs cv_bridge, which cannot be imported", exc_type=ImportError)

from panoptic_ros.core import PanopticError  # noqa: E402
from panoptic_ros.middleware import messages  # noqa: E402
from panoptic_ros.middleware.frames import ENCODINGS, frame_of  # noqa: E402
from panoptic_ros.middleware.ros_transport import converter, types  # noqa: E402

HEADER = messages.header_at(types, 0, "cam")
ROWS, COLUMNS = 16, 24


def image(encoding: str, big_endian: bool = False, padding: int = 24) -> object:
    """Random samples of any encoding, each row with some bytes of padding."""
    wide = encoding.endswith("16")
    per_pixel = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4}.get(encoding.rstrip("168"), 1) if encoding[:3] in ("rgb", "bgr") else 1
    if encoding in ("uyvy", "yuv422", "yuyv", "yuv422_yuy2"):
        per_pixel = 2
    rows = ROWS * 3 // 2 if encoding.startswith("nv") else ROWS
    step = COLUMNS * per_pixel * (2 if wide else 1) + padding
    data = np.random.default_rng(0).integers(0, 256, rows * step, dtype=np.uint8)
    return types.Image(
        header=HEADER, height=ROWS, width=COLUMNS, encoding=encoding, is_bigendian=int(big_endian), step=step, data=data
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_both_converters_give_the_same_picture(encoding: str) -> None:
    message = image(encoding)
    ours = frame_of(message)
    convert, name = converter()
    assert name == "cv_bridge"
    np.testing.assert_array_equal(convert(message), ours)
    try:
        theirs = cv_bridge.CvBridge().imgmsg_to_cv2(message, "rgb8")
    except cv_bridge.CvBridgeError as error:
        assert "Unrecognized image encoding" in str(error)  # such as nv12, which only our converter knows
    else:
        np.testing.assert_array_equal(ours, theirs)


def test_padding_that_cv_bridge_takes_for_pixels() -> None:
    message = image("rgb8", padding=8)
    samples = np.frombuffer(message.data, np.uint8).reshape(ROWS, -1)[:, : 3 * COLUMNS].reshape(ROWS, COLUMNS, 3)
    np.testing.assert_array_equal(converter()[0](message), samples)


@pytest.mark.parametrize("encoding", ["mono16", "rgb16"])
def test_the_other_byte_order(encoding: str) -> None:
    message = image(encoding, big_endian=True)
    np.testing.assert_array_equal(converter()[0](message), frame_of(message))


def test_a_bad_image_is_refused_by_both() -> None:
    message = image("rgb8")
    message.step = 3
    with pytest.raises(PanopticError, match="image step 3 is wrong"):
        converter()[0](message)
