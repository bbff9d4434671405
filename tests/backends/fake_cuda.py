"""The functions of cuda-python's runtime that we call, with their real signatures, on memory of the host.

A stream runs what it is given at once, unless it is being captured: then it is recorded, and a launch replays the record.
"""

import ctypes
from collections.abc import Callable
from enum import IntEnum
from types import SimpleNamespace

cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
cudaDeviceAttr = SimpleNamespace(cudaDevAttrComputeCapabilityMajor=75, cudaDevAttrComputeCapabilityMinor=76)


class cudaError_t(IntEnum):  # noqa: N801
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2


OK = cudaError_t.cudaSuccess
room = 1 << 30
"""Bytes of the GPU that are left."""

_memory: dict[int, ctypes.Array] = {}
_captured: list[Callable[[], None]] | None = None
launches = 0


def _allocate(size: int) -> tuple:
    block = ctypes.create_string_buffer(size)
    _memory[ctypes.addressof(block)] = block
    return OK, ctypes.addressof(block)


def cudaMalloc(size: int) -> tuple:  # noqa: N802
    return _allocate(size) if size <= room else (cudaError_t.cudaErrorMemoryAllocation, None)


def cudaMallocHost(size: int) -> tuple:  # noqa: N802
    return _allocate(size)


def cudaStreamCreate() -> tuple:  # noqa: N802
    return OK, 7


def enqueue(work: Callable[[], None]) -> None:
    """What a stream is given."""
    if _captured is None:
        work()
    else:
        _captured.append(work)


def cudaMemcpyAsync(dst: int, src: int, count: int, kind: object, stream: int) -> tuple:  # noqa: N802
    assert stream == 7
    enqueue(lambda: ctypes.memmove(dst, src, count))
    return (OK,)


def cudaStreamSynchronize(stream: int) -> tuple:  # noqa: N802
    assert _captured is None, "a stream cannot be waited for while it is captured"
    return (OK,)


def cudaStreamBeginCapture(stream: int, mode: object) -> tuple:  # noqa: N802
    global _captured
    _captured = []
    return (OK,)


def cudaStreamEndCapture(stream: int) -> tuple:  # noqa: N802
    global _captured
    graph, _captured = _captured, None
    return OK, graph


def cudaGraphInstantiate(graph: list, flags: int) -> tuple:  # noqa: N802
    return OK, graph


def cudaGraphLaunch(graph: list, stream: int) -> tuple:  # noqa: N802
    global launches
    launches += 1
    for work in graph:
        work()
    return (OK,)


def cudaGetDevice() -> tuple:  # noqa: N802
    return OK, 0


def cudaDeviceGetAttribute(attr: int, device: int) -> tuple:  # noqa: N802
    return OK, {75: 8, 76: 7}[attr]


def cudaGetDeviceProperties(device: int) -> tuple:  # noqa: N802
    return OK, SimpleNamespace(name=b"Fake Orin")


def cudaGetErrorString(error: int) -> tuple:  # noqa: N802
    return OK, b"invalid argument"
