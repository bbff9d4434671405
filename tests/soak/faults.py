"""What is done to a node, its camera and its machine. Each function injects one fault and returns when that is over."""

import shutil
from collections.abc import Callable

from tests.soak.camera import CODECS, COMPRESSED_DAMAGES, DAMAGES, KINDS
from tests.soak.neighbours import Neighbour, burn, come_and_go, fill, subscribe
from tests.soak.soak import Soak

_SECOND_NS = 1_000_000_000
_SILENT_S = 2.0
"""The least that silence lasts: longer than the node takes to call it one, 0.75 s, and to its next report, a second later."""
_JUMPS_S = (0.02, 1.0, 5.0, 3600.0, 86400.0)


def camera_stalls(soak: Soak) -> None:
    """No image for a while."""
    soak.listen(max(_SILENT_S, soak.settings.hold_s * soak.random.uniform(0.5, 1.5)))


def burst(soak: Soak) -> None:
    """Ten small images at once, three times: no more than the kernel keeps for a socket, which the node cannot see overflow."""
    for _ in range(3):
        for _ in range(10):
            soak.send(size=(120, 160), encoding="mono8")
        soak.play_one()


def camera_dies(soak: Soak) -> None:
    """SIGKILL while it publishes; another camera comes after a while."""
    soak.replace_camera(compressed=False, pause_s=_pause_s(soak))


def camera_returns_compressed(soak: Soak) -> None:
    """SIGKILL while it publishes; the next one sends JPEG, although nobody has said goodbye for the raw topic."""
    soak.replace_camera(compressed=True, pause_s=_pause_s(soak))


def _pause_s(soak: Soak) -> float:
    return max(_SILENT_S, soak.settings.hold_s * soak.random.uniform(0.3, 1.0))


def sizes_and_encodings_change(soak: Soak) -> None:
    """Each image has another size and encoding."""
    for size, encoding in soak.random.sample(KINDS, len(KINDS)):
        soak.play_one(size=size, encoding=encoding)


def damaged_images(soak: Soak) -> None:
    """Data, step, size or encoding are wrong, between good images."""
    _damage(soak, list(DAMAGES))


def damaged_compressed_images(soak: Soak) -> None:
    """The camera changes to JPEG and PNG, every other one cut off, empty or garbage."""
    soak.switch(compressed=True)
    _damage(soak, list(COMPRESSED_DAMAGES), CODECS)


def _damage(soak: Soak, damages: list[str], encodings: tuple[str, ...] = ("",)) -> None:
    for damage in soak.random.sample(damages, len(damages)):
        soak.play_one(encoding=soak.random.choice(encodings), damage=damage)
        soak.play_one(encoding=soak.random.choice(encodings))


def stamps_go_back(soak: Soak) -> None:
    """Those of the images, by 20 ms to a day; the clock of the machine stays."""
    soak.clock_ns -= round(soak.random.choice(_JUMPS_S) * _SECOND_NS)


def stamps_leap_ahead(soak: Soak) -> None:
    """Those of the images, by 20 ms to a day; the clock of the machine stays."""
    soak.clock_ns += round(soak.random.choice(_JUMPS_S) * _SECOND_NS)


def subscriber_storm(soak: Soak) -> None:
    """Two processes with up to eight subscribers to everything each, which come and go; then they are killed."""
    _beside(soak, *(Neighbour(come_and_go, soak.domain, soak.random.randrange(2**31)) for _ in range(2)))


def slow_subscriber(soak: Soak) -> None:
    """It subscribes to everything and reads one message in half a second."""
    _beside(soak, Neighbour(subscribe, soak.domain, 0.5))


def frozen_subscriber(soak: Soak) -> None:
    """It subscribes to everything, is stopped by SIGSTOP, and killed in the end: a process in a debugger, a host off the net."""
    neighbour = Neighbour(subscribe, soak.domain, 0.001)
    soak.play_until(lambda: neighbour.ready, "a subscriber has started")
    neighbour.freeze()
    _beside(soak, neighbour)


def busy_neighbour(soak: Soak) -> None:
    """A process takes all of a core."""
    _beside(soak, Neighbour(burn))


def memory_pressure(soak: Soak) -> None:
    """A process takes half of the free memory, up to a limit, and again; the other half stays."""
    _beside(soak, Neighbour(fill, soak.settings.memory_bytes))


def _beside(soak: Soak, *those: Neighbour) -> None:
    """Images beside other processes, which are killed in the end."""
    soak.play_until(lambda: all(neighbour.ready for neighbour in those), "the other processes have started")
    soak.play(soak.settings.hold_s)
    for neighbour in those:
        neighbour.kill()


def engine_file_vanishes(soak: Soak) -> None:
    """The model's files become empty, then they and their folder are gone; they are back afterwards."""
    kept = soak.folder.with_name("kept")
    shutil.copytree(soak.folder, kept)
    for file in soak.folder.iterdir():
        file.write_bytes(b"")
    soak.play(soak.settings.hold_s / 2)
    shutil.rmtree(soak.folder)
    soak.play(soak.settings.hold_s / 2)
    kept.rename(soak.folder)


def node_dies(soak: Soak) -> None:
    """SIGKILL; it is started again after a while. Over when the new one says that it listens."""
    soak.kill_node()
    soak.play(soak.settings.hold_s * 0.2)
    soak.start_node()


Fault = Callable[[Soak], None]
FAULTS: tuple[Fault, ...] = (
    camera_stalls, burst, camera_dies, camera_returns_compressed, sizes_and_encodings_change, damaged_images,
    damaged_compressed_images, stamps_go_back, stamps_leap_ahead, subscriber_storm, slow_subscriber, frozen_subscriber,
    busy_neighbour, memory_pressure, engine_file_vanishes, node_dies,
)  # fmt: skip
"""Each of a round's, in random order."""
