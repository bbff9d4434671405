"""The topics that a node publishes for a segmented frame, over any middleware."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from panoptic_ros.core import Label, Panoptic, PanopticError
from panoptic_ros.draw import overlay
from panoptic_ros.middleware import messages
from panoptic_ros.middleware.depth import Depths, View
from panoptic_ros.middleware.transport import Publisher, Transport
from panoptic_ros.node import Rest
from panoptic_ros.projection import boxes_3d, cloud

COMPRESSED = "/compressed"

OUTPUTS = ("segments", "image", "semantic", "overlay", "overlay" + COMPRESSED, "segments_3d", "points")
"""Topics under `panoptic/`, besides `label_info`."""
AT_ONCE = frozenset({"segments", "image", "semantic"})
"""Those that planners wait for."""
OUTPUTS_3D = frozenset({"segments_3d", "points"})
"""Those that take depth."""


class Outputs:
    """The topics under `panoptic/`. What nobody subscribes to is not even computed.

    depths: where depth comes from, None without. points_stride: pixels from one row and column of the point cloud to the next.
    enabled: which of OUTPUTS are published at all; may be replaced at any time, as may points_stride.
    """

    def __init__(
        self, transport: Transport, labels: Sequence[Label], prefix: str = "/panoptic/", depths: Depths | None = None
    ) -> None:
        types = self._types = transport.types
        self.enabled = frozenset(OUTPUTS)
        self.points_stride = 4
        self._labels, self._depths = tuple(labels), depths
        self._things = frozenset(label.id for label in labels if label.thing)
        self._names = {label.id: label.name for label in labels}
        kinds = dict(zip(OUTPUTS, (types.Detection2DArray, types.Image, types.Image, types.Image, types.CompressedImage)))
        if depths is not None:
            kinds |= {"segments_3d": types.Detection3DArray, "points": types.PointCloud2}
        self._publishers: dict[str, Publisher] = {name: transport.advertise(prefix + name, kind) for name, kind in kinds.items()}
        self._label_info = transport.advertise(prefix + "label_info", types.LabelInfo, latched=True)

    def announce(self, stamp_ns: int) -> None:
        """Publishes the names of the categories, for everyone who comes."""
        self._label_info.write(messages.label_info(self._types, messages.header_at(self._types, stamp_ns), self._labels))

    @property
    def wanted(self) -> set[str]:
        """Those of OUTPUTS that somebody subscribes to."""
        return {name for name, publisher in self._publishers.items() if name in self.enabled and publisher.subscribers}

    def publish(self, header: Any, frame: np.ndarray, panoptic: Panoptic) -> Rest | None:
        """What planners wait for, at once; returns what is left to draw or to place in space, if somebody wants it.

        header: the image's. frame: (H, W, 3) RGB.
        """
        wanted, types = self.wanted, self._types
        if "segments" in wanted:
            self._write("segments", messages.segments(types, header, panoptic, self._names))
        if "image" in wanted:
            self._write("image", messages.panoptic_image(types, header, panoptic))
        if "semantic" in wanted:
            self._write("semantic", messages.semantic_image(types, header, panoptic, self._labels))
        return partial(self._publish_rest, wanted, header, frame, panoptic) if wanted - AT_ONCE else None

    def _publish_rest(self, wanted: set[str], header: Any, frame: np.ndarray, panoptic: Panoptic) -> Mapping[str, str]:
        """See node.Rest."""
        if wanted & {"overlay", "overlay" + COMPRESSED}:
            self._publish_overlay(wanted, header, overlay(frame, panoptic, self._labels))
        if wanted & OUTPUTS_3D:
            try:  # last, since depth may have to be waited for
                self._publish_3d(wanted, header, panoptic)
            except PanopticError as error:
                return {"3D outputs": str(error)}
        return {}

    def _publish_overlay(self, wanted: set[str], header: Any, picture: np.ndarray) -> None:
        if "overlay" in wanted:
            self._write("overlay", messages.rgb_image(self._types, header, picture))
        if "overlay" + COMPRESSED in wanted:
            self._write("overlay" + COMPRESSED, messages.jpeg_image(self._types, header, picture))

    def _publish_3d(self, wanted: set[str], header: Any, panoptic: Panoptic) -> None:
        """Raises PanopticError if there is no depth for the frame, or no way into the target frame."""
        assert self._depths is not None  # or its topics would not be there
        view: View = self._depths.view(header, panoptic.ids.shape)
        placed = self._types.Header(stamp=header.stamp, frame_id=view.frame_id)
        if "segments_3d" in wanted:
            boxes = boxes_3d(panoptic, view.depth, view.intrinsics, view.placement, self._things)
            self._write("segments_3d", messages.segments_3d(self._types, placed, boxes, self._names))
        if "points" in wanted:
            points = cloud(panoptic.ids, view.depth, view.intrinsics, view.placement, self.points_stride)
            self._write("points", messages.point_cloud(self._types, placed, points))

    def _write(self, name: str, message: Any) -> None:
        self._publishers[name].write(message)
