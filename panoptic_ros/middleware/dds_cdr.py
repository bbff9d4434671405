"""The XCDR1 wire format of ROS 2 for the message classes of `dds_types`.

cyclonedds has a serialiser of its own, whose bytes are the same; it turns every byte of an image into a Python int. This one
copies image payloads once on the way out and not at all on the way in.

A message is a 4-byte encapsulation header (byte order), then its fields in order, each number aligned to its own size, counted
from the end of that header. Strings are a uint32 length, UTF-8 and a zero byte; sequences are a uint32 count and their elements.
"""

import struct
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol, TypeVar, get_args, get_type_hints

from cyclonedds.idl import IdlStruct
from cyclonedds.idl import types as idl

from panoptic_ros.core import PanopticError

Message = TypeVar("Message", bound=IdlStruct)

_HEADER_SIZE = 4
_BYTE_ORDERS = {b"\x00\x00": ">", b"\x00\x01": "<"}
_FORMATS = {
    "bool": "?",
    "byte": "B",
    "uint8": "B",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "float32": "f",
    "float64": "d",
}


def encode(message: IdlStruct) -> bytes:
    """Little-endian CDR. Raises PanopticError for a value that its field cannot hold."""
    out = _Writer()
    try:
        _record(type(message)).write(out, message)
    except (struct.error, TypeError, ValueError) as error:
        raise PanopticError(f"cannot serialise {type(message).__name__}: {error}") from error
    return b"".join(out.parts)


def decode(cls: type[Message], data: bytes) -> Message:
    """The message in `data`, either byte order; its image payload is a view of `data`.

    Raises PanopticError if the bytes are no such message. Never allocates more than a small multiple of len(data).
    """
    try:
        return _record(cls).read(_Reader(data))
    except PanopticError as error:
        raise PanopticError(f"malformed {cls.__name__} of {len(data)} bytes: {error}") from None


class _Writer:
    """Collects the parts of a message; `size` counts from the end of the encapsulation header."""

    def __init__(self) -> None:
        self.parts: list[bytes | memoryview] = [b"\x00\x01\x00\x00"]
        self.size = 0

    def put(self, alignment: int, part: bytes | memoryview) -> None:
        padding = -self.size % alignment
        if padding:
            self.parts.append(bytes(padding))
        self.parts.append(part)
        self.size += padding + len(part)


class _Reader:
    """Walks over a message and never past its end."""

    def __init__(self, data: bytes) -> None:
        order = _BYTE_ORDERS.get(bytes(data[:2]))
        if len(data) < _HEADER_SIZE or order is None:
            raise PanopticError(
                f"its header is {bytes(data[:_HEADER_SIZE]).hex() or 'missing'}; 00000000 and 00010000 are understood"
            )
        self.view = memoryview(data)[_HEADER_SIZE:]
        self.order = order
        self.at = 0

    def claim(self, alignment: int, size: int) -> int:
        """The offset of the next `size` bytes."""
        start = self.at + -self.at % alignment
        if size > len(self.view) - start:
            raise PanopticError(f"{size} bytes wanted at offset {start}, where {max(0, len(self.view) - start)} are left")
        self.at = start + size
        return start

    def take(self, size: int) -> memoryview:
        start = self.claim(1, size)
        return self.view[start : start + size]


class _Codec(Protocol):
    def write(self, out: _Writer, value: Any) -> None: ...

    def read(self, data: _Reader) -> Any: ...


class _Numbers:
    """A fixed-length array of one number type."""

    def __init__(self, kind: str, length: int) -> None:
        self.size = struct.calcsize(_FORMATS[kind])
        self.structs = {order: struct.Struct(f"{order}{length}{_FORMATS[kind]}") for order in "<>"}

    def write(self, out: _Writer, value: Sequence[float]) -> None:
        out.put(self.size, self.structs["<"].pack(*value))

    def read(self, data: _Reader) -> list[float]:
        unpacker = self.structs[data.order]
        return list(unpacker.unpack_from(data.view, data.claim(self.size, unpacker.size)))


class _Number:
    def __init__(self, kind: str) -> None:
        self.size = struct.calcsize(_FORMATS[kind])
        self.structs = {order: struct.Struct(order + _FORMATS[kind]) for order in "<>"}

    def write(self, out: _Writer, value: float) -> None:
        out.put(self.size, self.structs["<"].pack(value))

    def read(self, data: _Reader) -> float:
        return self.structs[data.order].unpack_from(data.view, data.claim(self.size, self.size))[0]


_count = _Number("uint32")


class _Text:
    def write(self, out: _Writer, value: str) -> None:
        text = value.encode() + b"\0"
        _count.write(out, len(text))
        out.put(1, text)

    def read(self, data: _Reader) -> str:
        text = bytes(data.take(int(_count.read(data))))
        if text and text[-1]:
            raise PanopticError(f"a string of {len(text)} bytes lacks its final zero")
        try:
            return text[:-1].decode()
        except UnicodeDecodeError as error:
            raise PanopticError(f"a string is not UTF-8: {error}") from None


class _Octets:
    """sequence<uint8>: any C-contiguous buffer going out, a memoryview coming in."""

    def write(self, out: _Writer, value: Any) -> None:
        view = memoryview(value)
        octets = view.cast("B") if view.nbytes else b""
        _count.write(out, len(octets))
        out.put(1, octets)

    def read(self, data: _Reader) -> memoryview:
        return data.take(int(_count.read(data)))


class _List:
    """A sequence of anything else."""

    def __init__(self, element: _Codec) -> None:
        self.element = element

    def write(self, out: _Writer, value: Sequence[Any]) -> None:
        _count.write(out, len(value))
        for item in value:
            self.element.write(out, item)

    def read(self, data: _Reader) -> list[Any]:
        # An absurd count ends at the end of the data: every element takes at least one byte.
        return [self.element.read(data) for _ in range(int(_count.read(data)))]


class _Record:
    def __init__(self, cls: type[IdlStruct]) -> None:
        self.cls = cls
        self.fields = [(name, _codec(hint)) for name, hint in get_type_hints(cls, include_extras=True).items()]

    def write(self, out: _Writer, value: IdlStruct) -> None:
        for name, codec in self.fields:
            codec.write(out, getattr(value, name))

    def read(self, data: _Reader) -> Any:
        return self.cls(*[codec.read(data) for _, codec in self.fields])


@cache
def _record(cls: type[IdlStruct]) -> _Record:
    return _Record(cls)


def _codec(hint: Any) -> _Codec:
    """hint: the annotation of a field."""
    if hint is str:
        return _Text()
    if isinstance(hint, type):
        return _Number("bool") if hint is bool else _record(hint)
    note = get_args(hint)[1]  # Annotated[int, "uint8"], Annotated[..., idl.array], Annotated[..., idl.sequence]
    if isinstance(note, idl.array):
        return _Numbers(get_args(note.subtype)[1], note.length)
    if isinstance(note, idl.sequence):
        return _Octets() if note.subtype == idl.uint8 else _List(_codec(note.subtype))
    return _Number(note)
