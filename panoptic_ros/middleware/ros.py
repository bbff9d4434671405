"""The node over rclpy: a lifecycle node around the same core as without ROS."""

import logging
import signal
import sys
from collections.abc import Callable
from typing import Any

import rclpy
import std_srvs.srv
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from panoptic_ros.cameras import Worker
from panoptic_ros.core import PanopticError
from panoptic_ros.health import ERROR, OK, Report
from panoptic_ros.leftovers import share_one_arena
from panoptic_ros.log_aside import LogAside
from panoptic_ros.middleware import messages, parameters, ros_parameters
from panoptic_ros.middleware.outputs import OUTPUTS_3D
from panoptic_ros.middleware.ros_frames import Frames
from panoptic_ros.middleware.ros_inputs import DEPTH_QUEUE, Inputs
from panoptic_ros.middleware.ros_opened import Opened
from panoptic_ros.middleware.ros_transport import CLASSES, types
from panoptic_ros.middleware.streams import Stream

_TICK_S = 0.1
_TICKS_A_REPORT = 10
_ENDING = (signal.SIGINT, signal.SIGTERM)
_DONE, _FAILED = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class PanopticNode(LifecycleNode):
    """Configured: the engine is loaded and warm. Active: listens, answers in a thread of its own, publishes.

    The executor's thread receives, reports and serves. Nothing that a parameter says ends the node: it stays, unconfigured, and
    reports the error.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("panoptic", **options)
        self._opened: Opened | None = None
        self._worker: Worker | None = None
        self._frames: Frames | None = None
        self._inputs = Inputs(self)
        self._active, self._enabled, self._ticks = False, True, 0
        self._trouble = ros_parameters.declare(self)
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
        return ros_parameters.read(self)

    def start(self) -> None:
        """As far as `autostart` says, unless a parameter could not even be declared."""
        if self._trouble:
            self.get_logger().error(f"not configured: {self._trouble}")
        elif self.values["autostart"] and self.trigger_configure() == _DONE:
            self.trigger_activate()

    def finish(self) -> None:
        """What is to be written at the end is."""
        if self._opened is not None:
            self._opened.end()

    # Transitions

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        if not self._guarded("configured", self._open):
            self._close()
            return _FAILED
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        super().on_activate(state)
        if not self._guarded("activated", self._begin):
            self._halt()
            return _FAILED
        return _DONE

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        if not self._halt():
            self.get_logger().warning("the last image is still being worked on")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._close()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._halt()
        self._close()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._trouble = self._trouble or "a transition failed"
        self._halt()
        self._close()
        return _DONE

    def _guarded(self, what: str, action: Callable[[], None]) -> bool:
        """False, and the reason in log and report, if the action fails."""
        try:
            action()
        except Exception as error:  # rclpy drops those of a transition, and ends with those of a timer
            trouble = str(error) if isinstance(error, PanopticError) else f"{type(error).__name__}: {error}"
            if trouble != self._trouble:
                self.get_logger().error(f"cannot be {what}: {trouble}")
            self._trouble = trouble
            return False
        self._trouble = ""
        return True

    def _open(self) -> None:
        self._wait_for_worker()
        self._opened = Opened(self, self._inputs, self._locate, self.values)
        self._apply()

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.close()
        if self._frames is not None:
            self._frames.close()
        self._opened = self._frames = None
        self._forget_worker()

    def _begin(self) -> None:
        assert self._opened is not None
        self._wait_for_worker()
        self._start_anew()
        self._opened.begin()
        self._worker = Worker(self._opened.cameras.step)
        self._active = True
        self._attend(self._opened)

    def _wait_for_worker(self) -> None:
        if not self._forget_worker():
            raise PanopticError("an image is still being worked on since the node was active")

    def _forget_worker(self) -> bool:
        """For it holds the engine. False if it is still at work."""
        if self._worker is not None and not self._worker.alive:
            self._worker = None
        return self._worker is None

    def _halt(self) -> bool:
        """False if the worker is still busy."""
        self._active = False
        self._inputs.listen({})
        ended = self._worker is None or self._worker.stop()
        if self._opened is not None:
            self._opened.end()
        return ended

    # Parameters and services

    def _on_set(self, changed: list[Any]) -> SetParametersResult:
        known = {parameter.name for parameter in parameters.PARAMETERS}
        new = {parameter.name: parameter.value for parameter in changed if parameter.name in known}
        try:
            parameters.check_change(self.values, new, configured=self._opened is not None)
        except PanopticError as error:
            self.get_logger().warning(str(error))
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _apply(self) -> None:
        """What may change at any time."""
        if self._opened is None:
            return
        values = self.values
        if values["depth"] and values["target_frame"] and self._frames is None:
            self._frames = Frames(self)
        self._opened.apply(values)

    def _on_enable(self, request: Any, response: Any) -> Any:
        self._enabled = request.data
        response.success, response.message = True, "enabled" if request.data else "disabled"
        return response

    def _on_reset_tracks(self, _request: Any, response: Any) -> Any:
        response.success = self._opened is not None
        response.message = "numbers go on from where they were" if response.success else "the node is not configured"
        if self._opened is not None:
            self._opened.forget_tracks()
        return response

    def _start_anew(self) -> None:
        """After a jump of the clock, and at first."""
        if self._opened is not None:
            self._opened.forget()
        if self._frames is not None:
            self._frames.restart()

    # What happens ten times a second

    def _tick(self) -> None:
        self._ticks += 1
        opened = self._opened if self._active else None
        if opened is not None and self._guarded("attentive", lambda: self._look_after(opened)):
            return
        if self._ticks % _TICKS_A_REPORT == 0:
            state = self._state_machine.current_state[1]
            for stream in self._opened.streams if self._opened is not None else [None]:
                self._diagnose(Report(ERROR, self._trouble, {}) if self._trouble else Report(OK, state, {}), stream)

    def _look_after(self, opened: Opened) -> None:
        self._attend(opened)
        for index, report in opened.cameras.news():
            self._diagnose(report, opened.streams[index])

    def _attend(self, opened: Opened) -> None:
        """Listens to the inputs that there is a reason to listen to."""
        lazy, listened = self.values["lazy"], {}
        for stream in opened.streams:
            wanted, core = stream.outputs.wanted, stream.core
            reason = "" if self._enabled else "disabled by ~/enable"
            if lazy and not wanted:
                reason = reason or "nobody subscribes"
            if reason != core.paused:
                core.start_anew()
            core.paused = reason
            listened |= {} if reason else self._topics(stream, wanted)
        self._inputs.listen(listened)
        if self._worker is None or not self._worker.alive:
            raise PanopticError("the thread that answers has ended")

    def _topics(self, stream: Stream, wanted: set[str]) -> dict[str, Any]:
        """See Inputs.listen."""
        topics = stream.topics
        chosen = self._inputs.of_images(topics.image, stream.twins)
        if stream.depths is not None and wanted & OUTPUTS_3D:
            chosen[topics.depth] = (CLASSES["Image"], DEPTH_QUEUE, stream.depths.receive_depth)
            chosen[topics.camera_info] = (CLASSES["CameraInfo"], DEPTH_QUEUE, stream.depths.receive_info)
        return chosen

    def _diagnose(self, report: Report, stream: Stream | None = None) -> None:
        header = messages.header_at(types, int(self.get_clock().now().nanoseconds))
        name, hardware = self.get_fully_qualified_name().lstrip("/"), self._opened.hardware if self._opened else ""
        title = stream.topics.title(name) if stream else name
        self._diagnostics.publish(messages.diagnostics(types, header, title, hardware, report))

    def _locate(self, target: str, source: str, stamp: Any, timeout_s: float) -> Any:
        """See depth.Locate."""
        frames = self._frames
        if frames is None:
            raise PanopticError(f"tf is not listened to yet for target_frame {target!r}")
        return frames.locate(target, source, stamp, timeout_s)


def _to_ros(logger: Any) -> Callable[[str, int], None]:
    """Takes the package's log lines as the node's."""

    def write(line: str, level: int) -> None:
        if level >= logging.ERROR:
            logger.error(line)
        else:  # a line of code has one severity for rclpy, for good
            logger.warning(line)

    return write


def main(arguments: list[str] | None = None) -> int:
    """Runs the node until it is shut down. With `build_only` the exit status is 1 if the engine cannot be opened."""
    share_one_arena()
    early: list[int] = []
    for number in _ENDING:  # rclpy's handlers end the node; nothing else should, however often they come
        signal.signal(number, lambda number, _: early.append(number))
    rclpy.init(args=arguments)
    executor = SingleThreadedExecutor()
    try:
        node = PanopticNode()
        if early:  # before rclpy had its handlers
            return int(node.values["build_only"])
        logging.getLogger("panoptic_ros").addHandler(LogAside(_to_ros(node.get_logger())))
        executor.add_node(node)
        if node.values["build_only"]:
            return 0 if node.trigger_configure() == _DONE else 1
        node.start()
        try:
            executor.spin()
        finally:
            node.finish()
    except ExternalShutdownException:
        pass
    except Exception:
        if rclpy.ok():  # else it fell over its own end
            raise
    finally:
        rclpy.try_shutdown()
        for number in _ENDING:  # Python resets handlers on its way out, but not this one
            signal.signal(number, signal.SIG_IGN)
    return 0


if __name__ == "__main__":
    sys.exit(main())
