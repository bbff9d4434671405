"""Files that a robot reads: models, bags, clips."""

import hashlib
import json
import tempfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import tiny_engine
from ros_types import ros_bytes, store
from rosbags.rosbag2 import StoragePlugin, Writer

from panoptic_ros import images, manifest, variant
from panoptic_ros.commands.bench_read import read_report
from panoptic_ros.commands.bench_report import comparison
from panoptic_ros.middleware import dds_cdr, messages
from panoptic_ros.middleware import dds_types as types
from panoptic_ros.middleware.camera import Camera
from panoptic_ros.sources import open_source
from tests.fuzz import mutation
from tests.fuzz.target import Target

MODEL_BYTES = b"stands for an ONNX file"


def _written(folder: Path, name: str, data: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name


# Models


def manifest_seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        made = (tiny_engine.write(Path(folder), MODEL_BYTES, **each) / "manifest.json" for each in ({}, {"solver": {"steps": 2}}))
        return [file.read_bytes() for file in made]


def model_manifest(data: bytes, folder: Path) -> None:
    _written(folder / "model", "model.onnx", MODEL_BYTES)
    manifest.load(_written(folder / "model", "manifest.json", data).parent)


def note_seeds() -> list[bytes]:
    digest = hashlib.sha256(MODEL_BYTES).hexdigest()
    note = {"format": 1, "precision": "fp16", "onnx": "model.fp16.onnx", "sha256": digest, "source": digest, "made": "by hand"}
    return [json.dumps(note).encode()]


def variant_note(data: bytes, folder: Path) -> None:
    model = tiny_engine.write(folder / "model", MODEL_BYTES) if not (folder / "model").exists() else folder / "model"
    _written(model, "model.fp16.onnx", MODEL_BYTES)
    _written(model, "model.fp16.json", data)
    variant.load(manifest.load(model), "fp16")


# Bags


def _write_bag(folder: Path, plugin: StoragePlugin) -> Path:
    with Writer(folder, version=9, storage_plugin=plugin) as writer:
        image = writer.add_connection("/cam/image", "sensor_msgs/msg/Image", typestore=store())
        info = writer.add_connection("/cam/camera_info", "sensor_msgs/msg/CameraInfo", typestore=store())
        for stamp_ns in (10**9, 2 * 10**9):
            header = messages.header_at(types, stamp_ns, "cam")
            writer.write(image, stamp_ns, ros_bytes(types.Image(header, 2, 2, "rgb8", 0, 6, bytes(12))))
            writer.write(info, stamp_ns, ros_bytes(types.CameraInfo(header, 2, 2)))
    return folder


def _parts(plugin: StoragePlugin) -> dict[str, bytes]:
    """The files of a bag, by suffix."""
    with tempfile.TemporaryDirectory() as folder:
        return {file.suffix: file.read_bytes() for file in _write_bag(Path(folder) / "bag", plugin).iterdir()}


BAGS = {".mcap": _parts(StoragePlugin.MCAP), ".db3": _parts(StoragePlugin.SQLITE3)}


class _Sink:
    """A transport that only reads what it is to publish."""

    types = types

    def advertise(self, topic: str, kind: object, latched: bool = False) -> object:
        return SimpleNamespace(subscribers=1, write=lambda message: message.serialize())

    def deserialize(self, kind: type, cdr: bytes) -> object:
        return dds_cdr.decode(kind, cdr)


def _play(storage: str, changed: str, data: bytes, folder: Path) -> None:
    """Plays a bag of which the file with the suffix `changed` is `data`."""
    bag = folder / f"bag_{storage[1:]}"
    for suffix, content in (BAGS[storage] | {changed: data}).items():
        _written(bag, "metadata.yaml" if suffix == ".yaml" else f"bag{suffix}", content)
    camera = Camera(_Sink(), "/cam/image", "cam", restamp=True, compressed=False)
    for item in open_source(bag):
        camera.publish(10**9, item)


def mcap(data: bytes, folder: Path) -> None:
    _play(".mcap", ".mcap", data, folder)


def sqlite(data: bytes, folder: Path) -> None:
    _play(".db3", ".db3", data, folder)


def metadata(data: bytes, folder: Path) -> None:
    _play(".mcap", ".yaml", data, folder)


# Reports of the benchmark


def report_seeds() -> list[bytes]:
    times = {"p50": 2.0, "p95": 3.0, "p99": 4.0, "max": 5.0, "mean": 2.0}
    run = {name: times for name in ("network_only_ms", "engine_ms", "pipeline_ms", "cpu_ms", "fixed_work_ms")} | {
        "model": "tiny", "size": [64, 96], "input": "clip", "engine": {"backend": "b", "precision": "fp32", "threads": "2"},
        "stages": {"tracker": times}, "memory_mib": {"current": 1.0, "peak": 2.0},
    }  # fmt: skip
    machine = {"cpu": "Abacus", "cores": 2, "memory_gib": 4.0, "load_average": 0.1}
    runs = [run], [run, run | {"size": [128, 192]}]
    return [json.dumps({"machine": machine, "runs": each, "refused": {}}).encode() for each in runs]


def bench_report(data: bytes, folder: Path) -> None:
    """Compared with itself, and with a valid one, both ways; what a terminal would get has to be text."""
    read = [read_report(_written(folder, "report.json", each)) for each in (data, report_seeds()[0])]
    for before, after in (read[:1] * 2, read, read[::-1]):
        comparison(before, after).encode()


# Clips


def clip_seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        writer = cv2.VideoWriter(f"{folder}/clip.mp4", cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (48, 32))
        for _ in range(3):
            writer.write(tiny_engine.scene()[:32, :48])
        writer.release()
        return [Path(folder, "clip.mp4").read_bytes()]


def clip(data: bytes, folder: Path) -> None:
    for _ in images.frames(_written(folder, "clip.mp4", data)):
        pass


TARGETS = (
    Target("manifest", manifest_seeds, model_manifest, mutation.tree, 5),
    Target("variant", note_seeds, variant_note, mutation.tree, 8),
    Target("bag_mcap", lambda: [BAGS[".mcap"][".mcap"]], mcap, mutation.octets, 20, greedy=True),
    Target("bag_sqlite", lambda: [BAGS[".db3"][".db3"]], sqlite, mutation.octets, 30),
    Target("bag_metadata", lambda: [BAGS[".mcap"][".yaml"], BAGS[".db3"][".yaml"]], metadata, mutation.octets, 40),
    Target("bench_report", report_seeds, bench_report, mutation.tree, 2),
    Target("clip", clip_seeds, clip, mutation.octets, 40),
)
