"""The node over rclpy: a lifecycle node around the same core as without ROS."""

import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

import rclpy
import std_srvs.srv
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile
from rclpy.time import Time

from panoptic_ros import manifest
from panoptic_ros.core import PanopticError
from panoptic_ros.engine import open_engine
from panoptic_ros.middleware import frames, messages, parameters
from panoptic_ros.middleware.depth import Depths
from panoptic_ros.middleware.outputs import COMPRESSED, OUTPUTS_3D, Outputs
from panoptic_ros.middleware.ros_transport import (
    CLASSES,
    OVERRIDES,
    RosTransport,
    converter,
    endpoint_name,
    policy_value,
    sensor_data,
    types,
    warn_incompatible,
)
from panoptic_ros.node import ERROR, OK, Node, Report
from panoptic_ros.pipeline import Pipeline
from panoptic_ros.projection import Placement
from panoptic_ros.tracker import Tracker

_TICK_S, _STEP_S, _STOP_S = 0.1, 0.1, 5.0
_TICKS_A_REPORT = 10
_DONE, _FAILED = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class PanopticNode(LifecycleNode):
    """Configured: the engine is loaded and warm. Active: listens, answers in a thread of its own, publishes.

    The executor's thread receives, reports and serves; `core` is what the two threads share.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("panoptic", **options)
        for parameter in parameters.PARAMETERS:
            self.declare_parameter(parameter.name, parameter.default, _descriptor(parameter))
        self.core: Node | None = None
        self._outputs: Outputs | None = None
        self._enabled, self._active, self._trouble, self._ticks = True, False, "", 0
        self._subscriptions_now: dict[str, Any] = {}
        self._publishers_made: list[Any] = []
        self._stop = threading.Event()
        self._worker = threading.Thread()
        self._tf: Any = None
        self._diagnostics = self.create_publisher(CLASSES["DiagnosticArray"], "/diagnostics", 10)
        self.create_service(std_srvs.srv.SetBool, "~/enable", self._on_enable)
        self.create_service(std_srvs.srv.Trigger, "~/reset_tracks", self._on_reset_tracks)
        self.add_on_set_parameters_callback(self._on_set)
        self.add_post_set_parameters_callback(lambda _: self._apply())
        self.create_timer(_TICK_S, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))
        back = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        self._jumps = self.get_clock().create_jump_callback(back, post_callback=lambda _: self._start_anew())

    @property
    def values(self) -> dict[str, Any]:
        return {parameter.name: self.get_parameter(parameter.name).value for parameter in parameters.PARAMETERS}

    def start(self) -> None:
        """As far as `autostart` says."""
        if self.values["autostart"] and self.trigger_configure() == _DONE:
            self.trigger_activate()

    # Transitions

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            self._open(self.values)
        except Exception as error:  # the node stays, says what is wrong, and can be configured again
            expected = isinstance(error, PanopticError)
            self._trouble = str(error) if expected else f"{type(error).__name__}: {error}"
            self.get_logger().error(f"cannot be configured: {self._trouble}")
            return _FAILED
        self._trouble = ""
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        super().on_activate(state)
        assert self.core is not None and self._outputs is not None
        self._outputs.announce(self._now_ns())
        self._start_anew()
        self._stop.clear()
        self._worker = threading.Thread(target=self._work, args=(self.core,), name="answer", daemon=True)
        self._worker.start()
        self._active = True
        self._tick()
        return _DONE

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._halt()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._close()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._halt()
        self._close()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._halt()
        self._close()
        return _DONE

    def _open(self, values: dict[str, Any]) -> None:
        """Raises PanopticError if the parameters ask for something that does not exist or does not run."""
        parameters.check(values, {}, configured=False)
        model = manifest.load(values["model"])
        size = parameters.engine_size(values)
        model = model.with_size(*size) if size else model
        engine = open_engine(model, *(values[name] for name in ("backend", "device", "precision", "threads")))
        self._pipeline = Pipeline(engine, model, Tracker(model.labels))
        self._depths = Depths(locate=self._locate) if values["depth"] else None
        self._outputs = Outputs(RosTransport(self, self._create_publisher), model.labels, "panoptic/", self._depths)
        info = {"model": model.model, **engine.description}
        self.core = Node(
            self._pipeline, self._outputs.publish, self.resolve_topic_name(values["image"]), info, now_ns=self._now_ns,
            convert=converter() if values["use_cv_bridge"] else frames.frame_of, publishers=self._senders,
        )  # fmt: skip
        self._hardware = info.get("device", "")
        self._apply()

    def _create_publisher(self, *args: Any, **options: Any) -> Any:
        publisher = self.create_lifecycle_publisher(*args, **options)
        self._publishers_made.append(publisher)
        return publisher

    def _halt(self) -> None:
        self._active = False
        self._listen({})
        self._stop.set()
        if self._worker.is_alive():
            self._worker.join(_STOP_S)

    def _close(self) -> None:
        for publisher in self._publishers_made:
            self.destroy_lifecycle_publisher(publisher)
        self._publishers_made.clear()
        self.core = self._outputs = None
        self._pipeline = self._depths = self._tf = None

    def _work(self, core: Node) -> None:
        while not self._stop.is_set():
            core.step(_STEP_S)

    # Parameters and services

    def _on_set(self, changed: list[Any]) -> SetParametersResult:
        known = {parameter.name for parameter in parameters.PARAMETERS}
        new = {parameter.name: parameter.value for parameter in changed if parameter.name in known}
        try:
            parameters.check(self.values, new, configured=self.core is not None)
        except PanopticError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _apply(self) -> None:
        """What may change at any time."""
        values = self.values
        if self.core is None or self._outputs is None:
            return
        self.core.settings = parameters.node_settings(values)
        self._pipeline.thresholds = parameters.thresholds(values)
        self._pipeline.tracker.settings = parameters.tracker_settings(values)
        self._outputs.enabled = parameters.outputs(values)
        self._outputs.points_stride = values["points_stride"]
        if self._depths is not None:
            self._depths.tolerance_s, self._depths.target_frame = values["depth_tolerance_s"], values["target_frame"]

    def _on_enable(self, request: Any, response: Any) -> Any:
        self._enabled = request.data
        response.success, response.message = True, "enabled" if request.data else "disabled"
        return response

    def _on_reset_tracks(self, _request: Any, response: Any) -> Any:
        response.success = self.core is not None
        response.message = "numbers go on from where they were" if response.success else "the node is not configured"
        self._start_anew()
        return response

    def _start_anew(self) -> None:
        if self.core is not None:
            self._pipeline.forget_tracks()
        if self.core is not None and self._depths is not None:
            self._depths.clear()

    # What happens ten times a second

    def _tick(self) -> None:
        self._ticks += 1
        if self._active and self.core is not None and self._outputs is not None:
            wanted = self._outputs.wanted
            reason = "disabled by ~/enable" if not self._enabled else ""
            if self.values["lazy"] and not wanted:
                reason = reason or "nobody subscribes"
            if self.core.paused and not reason:
                self.core.watch()
            self.core.paused = reason
            self._listen({} if reason else self._inputs(wanted))
            self._diagnose(self.core.news())
        elif self._ticks % _TICKS_A_REPORT == 0:
            state = self._state_machine.current_state[1]
            self._diagnose(Report(ERROR, self._trouble, {}) if self._trouble else Report(OK, state, {}))

    def _inputs(self, wanted: set[str]) -> dict[str, tuple[Any, int, Callable[[Any], None]]]:
        """Topic -> class, queue length and callback. A compressed image is taken where nobody publishes the raw one."""
        assert self.core is not None
        values = self.values
        topic, kind = values["image"], CLASSES["Image"]
        others = self.count_publishers(self.resolve_topic_name(topic + COMPRESSED))
        if topic.endswith(COMPRESSED):
            kind = CLASSES["CompressedImage"]
        elif others and not self.count_publishers(self.resolve_topic_name(topic)):
            topic, kind = topic + COMPRESSED, CLASSES["CompressedImage"]
        chosen: dict[str, tuple[Any, int, Callable[[Any], None]]] = {topic: (kind, 1, self.core.receive)}
        if self._depths is not None and wanted & OUTPUTS_3D:
            chosen[values["depth"]] = (CLASSES["Image"], 5, self._depths.receive_depth)
            chosen[values["camera_info"]] = (CLASSES["CameraInfo"], 5, self._depths.receive_info)
        return chosen

    def _listen(self, topics: dict[str, tuple[Any, int, Callable[[Any], None]]]) -> None:
        """Subscribes to exactly these."""
        for topic in self._subscriptions_now.keys() - topics.keys():
            self.destroy_subscription(self._subscriptions_now.pop(topic))
        for topic in topics.keys() - self._subscriptions_now.keys():
            kind, depth, callback = topics[topic]
            self._subscriptions_now[topic] = self._subscribe(topic, kind, sensor_data(depth), callback)

    def _subscribe(self, topic: str, kind: Any, qos: QoSProfile, callback: Callable[[Any], None]) -> Any:
        warn = SubscriptionEventCallbacks(incompatible_qos=lambda event: warn_incompatible(self, topic, qos, event, True))
        return self.create_subscription(kind, topic, callback, qos, event_callbacks=warn, qos_overriding_options=OVERRIDES)

    def _diagnose(self, report: Report | None) -> None:
        if report is not None:
            header = messages.header_at(types, self._now_ns())
            name, hardware = self.get_fully_qualified_name().lstrip("/"), getattr(self, "_hardware", "")
            self._diagnostics.publish(messages.diagnostics(types, header, name, hardware, report))

    def _senders(self) -> str:
        topic = self.resolve_topic_name(self.values["image"])
        infos = [*self.get_publishers_info_by_topic(topic), *self.get_publishers_info_by_topic(topic + COMPRESSED)]
        said = ", ".join(f"{endpoint_name(info)} ({policy_value(info.qos_profile, 'reliability')})" for info in infos)
        return f"its publishers are {said}" if said else "nobody publishes it"

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _locate(self, source: str, stamp: Any) -> Placement:
        """See depth.Locate."""
        from tf2_ros import Buffer, TransformException, TransformListener

        if self._tf is None:
            buffer = Buffer()
            self._tf = (buffer, TransformListener(buffer, self))
        target = self.values["target_frame"]
        try:
            found = self._tf[0].lookup_transform(target, source, Time.from_msg(stamp)).transform
        except TransformException as error:
            raise PanopticError(f"no way from frame {source!r} to target_frame {target!r}: {error}") from error
        q, t = found.rotation, found.translation
        return Placement.of((q.x, q.y, q.z, q.w), (t.x, t.y, t.z))


def _descriptor(parameter: parameters.Parameter) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=parameter.description)
    if parameter.low is not None and parameter.high is not None:
        if isinstance(parameter.default, float):
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(parameter.low), to_value=float(parameter.high))
            ]
        else:
            descriptor.integer_range = [IntegerRange(from_value=int(parameter.low), to_value=int(parameter.high))]
    return descriptor


class _ToRos(logging.Handler):
    """The package's log lines as the node's."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        (self._logger.error if record.levelno >= logging.ERROR else self._logger.warning)(text)


def main(arguments: list[str] | None = None) -> int:
    """Runs the node until it is shut down. The exit status is 2 for parameters that are impossible."""
    rclpy.init(args=arguments)
    try:
        node = PanopticNode()
    except (InvalidParameterValueException, InvalidParameterTypeException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    logging.getLogger("panoptic_ros").addHandler(_ToRos(node.get_logger()))
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        node.start()
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node._halt()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
