"""Valid inputs made invalid, in their bytes or inside their structure, so that checksums and parsers do not stop all of them."""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from copy import deepcopy
from random import Random
from typing import Any

Mutate = Callable[[Random, Sequence[bytes]], bytes]
"""(source of chance, valid inputs) -> an input."""

_EDGES = (0, 1, 2, 3, 127, 128, 255, 256, 32767, 32768, 65500, 65535, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
_MOST = 1 << 16
"""Bytes that are inserted or repeated at once."""
_PNG = b"\x89PNG\r\n\x1a\n"
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 255, 1 << 31, -(1 << 63), 10**400, 0.5, float("nan"), float("inf"), 1e308, "", "0", "x" * 5000,
    "9" * 5000, "\0", "/", "../../passwd", "/dev/zero", "é\U0001f600", "${oc.env:HOME}", "${", [], {}, [[]], [None], [0, 0],
    {"id": 0}, {"": ""},
)  # fmt: skip


def octets(random: Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds with one to eight changes of its bytes."""
    data = bytearray(random.choice(seeds))
    for _ in range(random.choice((1, 1, 1, 2, 2, 4, 8))):
        random.choice(_CHANGES)(random, data, seeds)
    return bytes(data)


def _flip(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _number(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    """A value at the edge of a type's range, in either byte order."""
    form = random.choice(("B", "<H", ">H", "<I", ">I", "<Q", ">Q"))
    size, at = struct.calcsize(form), random.randrange(len(data) + 1)
    data[at : at + size] = struct.pack(form, random.choice(_EDGES) & (1 << 8 * size) - 1)


def _remove(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    del data[at : at + random.choice((1, 2, 4, 8, 100))]


def _truncate(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[random.randrange(len(data) + 1) :]


def _insert(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    data[at:at] = random.randbytes(random.choice((1, 2, 4, 8, 100)))


def _repeat(random: Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    part = data[at : at + random.choice((1, 4, 16, 64))]
    data[at:at] = part * random.choice((1, 2, 10, max(1, _MOST // max(1, len(part)))))


def _splice(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    other, at = random.choice(seeds), random.randrange(len(data) + 1)
    data[at:] = other[min(at, random.randrange(len(other) + 1)) :]


_CHANGES = (_flip, _flip, _number, _number, _remove, _truncate, _insert, _repeat, _splice)


def text(random: Random) -> str:
    """Odd in its characters, in its length (up to 65000, rarely), or in both."""
    part = random.choice(("x", "\0", "\n", "'\"", "%s{0}", "é", "\U0001f600", "../", "image/jpeg; ", "\x7f"))
    return part * (random.choice((0, 1, 1, 3, 20, 200, 200, 5000, 65_000)) // len(part.encode()))


def tree(random: Random, seeds: Sequence[bytes]) -> bytes:
    """A JSON document with other values at some of its places; sometimes with other bytes."""
    if random.random() < 0.3:
        return octets(random, seeds)
    holder = [json.loads(random.choice(seeds))]
    for _ in range(random.choice((1, 1, 2, 3))):
        _change_tree(random, holder)
    text = json.dumps(holder[0])
    if random.random() < 0.02:
        depth = random.choice((50, 500, 5000, 50_000))
        text = text.replace("0", "[" * depth + "]" * depth, 1)
    return text.encode("utf-8", "surrogatepass")


def _change_tree(random: Random, holder: list[Any]) -> None:
    """Walks to a random place and puts something else there, or takes it away."""
    parent: Any = holder
    key: Any = 0
    while isinstance(parent[key], (dict, list)) and parent[key] and random.random() < 0.85:
        parent = parent[key]
        key = random.choice(list(parent)) if isinstance(parent, dict) else random.randrange(len(parent))
    chance = random.random()
    if chance < 0.15 and parent is not holder:
        del parent[key]
    elif chance < 0.25 and isinstance(parent, dict):
        parent[random.choice(("", "id", "x" * 300, "é"))] = deepcopy(parent[key])
    elif chance < 0.3:
        parent[key] = [deepcopy(parent[key]) for _ in range(random.choice((0, 2, 30)))]
    else:
        parent[key] = deepcopy(random.choice(_VALUES))


def picture(random: Random, seeds: Sequence[bytes]) -> bytes:
    """An encoded image; of a PNG the chunks are changed and their checksums made right again."""
    data = random.choice(seeds)
    if not data.startswith(_PNG) or random.random() < 0.3:
        return octets(random, seeds)
    chunks = _chunks(data)
    number = random.randrange(len(chunks))
    kind, body = chunks[number]
    if kind == b"IDAT" and random.random() < 0.5:
        chunks[number] = kind, zlib.compress(octets(random, [zlib.decompress(body)]))
    else:
        chunks[number] = kind, octets(random, [body])
    if random.random() < 0.1:
        random.shuffle(chunks)
    return _PNG + b"".join(chunk(*each) for each in chunks)


def _chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and body of each."""
    found, at = [], len(_PNG)
    while at < len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + size]))
        at += 12 + size
    return found


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG, with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def archive(random: Random, seeds: Sequence[bytes]) -> bytes:
    """A zip file with other bytes in one of its files; sometimes in itself."""
    data = random.choice(seeds)
    if not data.startswith(b"PK") or random.random() < 0.2:
        return octets(random, seeds)
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(changed, "w") as target:
        names = source.namelist()
        chosen = random.choice([*names, *(name for name in names if name.endswith("data.pkl"))])
        for name in names:
            content = source.read(name)
            target.writestr(name, octets(random, [content]) if name == chosen else content)
    return changed.getvalue()
