"""What a node over rclpy has while it is configured: the engine, and a stream for each camera."""

from collections.abc import Mapping
from pathlib import Path
from threading import Condition
from typing import Any

from panoptic_ros import manifest, trace
from panoptic_ros.aside import Aside
from panoptic_ros.cameras import Cameras
from panoptic_ros.core import Engine, PanopticError
from panoptic_ros.engine import open_engine
from panoptic_ros.manifest import Manifest
from panoptic_ros.middleware import parameters
from panoptic_ros.middleware.depth import Depths, Locate
from panoptic_ros.middleware.outputs import Outputs
from panoptic_ros.middleware.ros_inputs import Inputs
from panoptic_ros.middleware.ros_transport import RosTransport, converter
from panoptic_ros.middleware.streams import Stream, Topics, spare_thread
from panoptic_ros.middleware.twins import Twins
from panoptic_ros.node import Node
from panoptic_ros.overload import AdaptiveEngine
from panoptic_ros.pipeline import Pipeline
from panoptic_ros.tracker import Tracker
from panoptic_ros.verify import clip_images, verify_engine

_ENGINE_PARAMETERS = ("backend", "device", "precision", "threads", "tensorrt_level", "tensorrt_workspace_mib")


class Opened:
    """Raises what there is to raise if the parameters ask for something that does not exist or does not run.

    node: of rclpy, whose clock the stamps are compared with. locate: see depth.Locate.
    """

    def __init__(self, node: Any, inputs: Inputs, locate: Locate, values: Mapping[str, Any]) -> None:
        parameters.check(values)
        topics = parameters.topics(values)
        for camera in topics:
            for topic in filter(None, (camera.image, camera.depth, camera.camera_info)):
                inputs.check(topic)  # an impossible name or quality of service is known now, not when the first planner comes
        self._node, self._inputs, self._locate = node, inputs, locate
        self._model, self._engine = _open_engine(node, values)
        self._adaptive = self._engine if isinstance(self._engine, AdaptiveEngine) else None
        self._convert, converts = converter(values["use_cv_bridge"])
        self._info = {"model": self._model.model, **self._engine.description, "converter": converts}
        self._trace_file = values["trace"]
        self.hardware = self._info.get("device", "")
        self._publishers: list[Any] = []
        self._pipelines: list[Pipeline] = []
        self._changed, self._aside, self._ahead = Condition(), Aside("aside"), spare_thread(self._info)
        self.streams = tuple(map(self._stream, topics))
        self.cameras = Cameras([stream.core for stream in self.streams], self._changed, self._adaptive)
        self.apply(values)

    def apply(self, values: Mapping[str, Any]) -> None:
        """What may change at any time."""
        if self._adaptive is not None:
            self._adaptive.limit_ms = values["max_latency_ms"]
        for pipeline in self._pipelines:
            pipeline.thresholds = parameters.thresholds(values)
            if pipeline.tracker is not None:
                pipeline.tracker.settings = parameters.tracker_settings(values)
        for stream in self.streams:
            stream.core.settings = parameters.node_settings(values)
            stream.outputs.enabled = parameters.outputs(values)
            stream.outputs.points_stride = values["points_stride"]
            if stream.depths is not None:
                stream.depths.settings = parameters.depth_settings(values)

    def begin(self) -> None:
        """Publishes the names of the categories; silence counts from now on. A trace starts anew.

        Raises PanopticError where that could not be written.
        """
        if self._trace_file:
            trace.write(Path(self._trace_file), [])
            trace.current = trace.Trace()
        for stream in self.streams:
            stream.outputs.announce(int(self._node.get_clock().now().nanoseconds))
            stream.core.start_anew()

    def end(self) -> None:
        """Writes the trace, if there is one."""
        if not self._trace_file or trace.current is None:
            return
        events, trace.current = trace.current.events(f"panoptic_ros {self._model.model}"), None
        try:
            trace.write(Path(self._trace_file), events)
        except PanopticError as error:
            self._node.get_logger().warning(str(error))

    def forget(self) -> None:
        """After a jump of the clock, and at first."""
        self.forget_tracks()
        for stream in self.streams:
            if stream.depths is not None:
                stream.depths.clear()

    def forget_tracks(self) -> None:
        for pipeline in self._pipelines:
            pipeline.forget_tracks()

    def close(self) -> None:
        for beside in filter(None, (self._aside, self._ahead)):
            beside.stop()
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)

    def _stream(self, topics: Topics) -> Stream:
        depths = Depths(locate=self._locate) if topics.depth else None
        self._pipelines.append(Pipeline(self._engine, self._model, Tracker(self._model.labels)))
        transport = RosTransport(self._node, self._advertise)
        outputs = Outputs(transport, self._model.labels, topics.prefix("panoptic/"), depths)
        core = Node(
            self._pipelines[-1], outputs.publish, self._node.resolve_topic_name(topics.image), self._info,
            now_ns=lambda: int(self._node.get_clock().now().nanoseconds), convert=self._convert,
            publishers=lambda: self._inputs.senders(topics.image), changed=self._changed, aside=self._aside, ahead=self._ahead,
        )  # fmt: skip
        return Stream(topics, core, outputs, depths, Twins(core.receive))

    def _advertise(self, *args: Any, **options: Any) -> Any:
        self._publishers.append(self._node.create_lifecycle_publisher(*args, **options))
        return self._publishers[-1]


def _open_engine(node: Any, values: Mapping[str, Any]) -> tuple[Manifest, Engine]:
    """In both sizes, where there is one to fall back to."""
    model = manifest.load(values["model"])
    sizes = parameters.engine_size(values) or model.size, parameters.engine_size(values, "fallback_size")
    cache = Path(values["cache"]).expanduser() if values["cache"] else None
    engines = []
    for size in filter(None, sizes):
        sized = model.with_size(*size)
        engine = open_engine(sized, cache=cache, **{name: values[name] for name in _ENGINE_PARAMETERS})
        if values["verify"]:
            found = verify_engine(sized, engine, values["precision"], clip_images(size))
            node.get_logger().info(f"verified: {found}")
        engines.append(engine)
    return model, engines[0] if len(engines) == 1 else AdaptiveEngine(*engines)
