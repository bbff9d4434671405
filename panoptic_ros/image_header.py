"""What an encoded image says of its size, read before a codec is let at it: a few bytes can ask for gigabytes."""

import struct

MAX_SIDE = 16384
"""Pixels; an image or frame with a longer side is refused."""
MAX_PIXELS = 1 << 26
"""Of an encoded image, 192 MiB as RGB."""


def size_of(data: bytes) -> tuple[int, int] | None:
    """(height, width) of a JPEG, PNG, WebP, BMP or TIFF; None for anything else, and for a header that is not whole."""
    for signature, read in _READERS.items():
        if data.startswith(signature):
            try:
                return read(data)
            except (struct.error, ValueError, IndexError):
                return None
    return None


def is_truncated(data: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end; OpenCV would fill up the rest with grey, or make room for what never comes.

    A JPEG's thumbnail has an end of its own, but before the scan (0xFFDA) of the image itself.
    """
    if data.startswith(b"\xff\xd8"):
        return data.rfind(b"\xff\xd9") < max(data.rfind(b"\xff\xda"), 2)
    return data.startswith(_PNG) and not _ends(data)


def _ends(png: bytes) -> bool:
    """Whether its chunks follow each other up to the last, IEND."""
    at = len(_PNG)
    while at + 12 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        at += 12 + length
        if kind == b"IEND":
            return at <= len(png)
    return False


def _jpeg(data: bytes) -> tuple[int, int]:
    """Walks from marker to marker as libjpeg does, to the frame header SOFn."""
    at = 2
    while True:
        at = data.index(0xFF, at)
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">xxxHH", data, at)  # behind length and bits
            return height, width
        if marker > 1 and not 0xD0 <= marker <= 0xD7:  # the others have no length
            at += struct.unpack_from(">H", data, at)[0]


def _png(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return height, width


def _bmp(data: bytes) -> tuple[int, int]:
    old = struct.unpack_from("<I", data, 14)[0] == 12
    width, height = struct.unpack_from("<HH" if old else "<ii", data, 18)
    return abs(height), width  # from the bottom or from the top


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if data[8:12] != b"WEBP" or len(data) < 30:
        return None
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    if kind == b"VP8L":
        both = struct.unpack_from("<I", data, 21)[0]
        return (both >> 14 & 0x3FFF) + 1, (both & 0x3FFF) + 1
    if kind == b"VP8X":
        return int.from_bytes(data[27:30], "little") + 1, int.from_bytes(data[24:27], "little") + 1
    return None


def _tiff(data: bytes) -> tuple[int, int] | None:
    """Of the first picture in the file, by its tags 256 (width) and 257."""
    order = "<" if data.startswith(b"II") else ">"
    directory = struct.unpack_from(f"{order}I", data, 4)[0]
    found: dict[int, int] = {}
    for entry in range(struct.unpack_from(f"{order}H", data, directory)[0]):
        at = directory + 2 + 12 * entry
        tag, kind = struct.unpack_from(f"{order}HH", data, at)
        if tag in (256, 257) and kind in (3, 4):
            found.setdefault(tag, struct.unpack_from(order + "HI"[kind - 3], data, at + 8)[0])
    return (found[257], found[256]) if len(found) == 2 else None


_PNG = b"\x89PNG\r\n\x1a\n"
_READERS = {b"\xff\xd8\xff": _jpeg, _PNG: _png, b"BM": _bmp, b"RIFF": _webp, b"II*\0": _tiff, b"MM\0*": _tiff}
