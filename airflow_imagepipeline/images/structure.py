"""
Walk a file's own structure from its first byte to its last, without decoding a pixel.

A cut or a byte behind the end is found in every format, a flipped bit only in PNG, which has checksums. Files are
streamed, so memory stays small. What hides inside of a valid structure (a comment, an unused chunk) is not looked at.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final, NoReturn

_PIECE: Final = 65536

_PNG_START: Final = 8
_IHDR_LENGTH: Final = 13
_VP8X, _VP8, _VP8L = b"VP8X", b"VP8 ", b"VP8L"

_SOS, _EOI = 0xDA, 0xD9
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
# In the coded data 0xFF stands only before a stuffed zero, a restart mark, a filling 0xFF, or a real marker.
_JPEG_MARKER: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")

_GIF_EXTENSION, _GIF_IMAGE, _GIF_END = 0x21, 0x2C, 0x3B
_GIF_TABLE: Final = 0x80

Size = tuple[int, int]


class Damaged(ValueError):
    """The bytes do not hold together as the format they began as."""


def damaged(what: str) -> NoReturn:
    """
    Give a file up.

    :raises Damaged: always.
    """
    raise Damaged(what)


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        damaged("it ends too early")
    return data


def _pieces(file: BinaryIO, count: int) -> Iterator[bytes]:
    while count:
        piece = _exactly(file, min(count, _PIECE))
        count -= len(piece)
        yield piece


def _skip(file: BinaryIO, count: int) -> None:
    # Reading, not seeking: seeking goes beyond the end of a cut file without a word.
    for _ in _pieces(file, count):
        pass


def _ended(file: BinaryIO) -> None:
    if file.read(1):
        damaged("bytes follow its end")


def png_size(file: BinaryIO) -> Size:
    """
    Walk the chunks of a PNG, checking each one's CRC, and return width and height in pixels.

    :raises Damaged: when it is not whole.
    """
    _skip(file, _PNG_START)
    kind, length, head = _png_chunk(file)
    if kind != b"IHDR" or length != _IHDR_LENGTH:
        damaged("its first chunk is no IHDR")
    kinds = {kind}
    while kind != b"IEND":
        kind, _, _ = _png_chunk(file)
        kinds.add(kind)
    _ended(file)
    if b"IDAT" not in kinds:
        damaged("it holds no pixels")
    return int.from_bytes(head[:4], "big"), int.from_bytes(head[4:8], "big")


def _png_chunk(file: BinaryIO) -> tuple[bytes, int, bytes]:
    length, kind = int.from_bytes(_exactly(file, 4), "big"), _exactly(file, 4)
    crc, start = zlib.crc32(kind), b""
    for piece in _pieces(file, length):
        crc = zlib.crc32(piece, crc)
        start = start or piece[:_IHDR_LENGTH]
    if int.from_bytes(_exactly(file, 4), "big") != crc:
        damaged("a chunk's checksum is wrong")
    return kind, length, start


def jpeg_size(file: BinaryIO) -> Size:
    """
    Walk the segments of a JPEG and return width and height in pixels.

    :raises Damaged: when it is not whole.
    """
    _skip(file, 2)
    size: Size | None = None
    marker = _jpeg_marker(file)
    while marker != _EOI:
        if marker not in _JPEG_BARE:
            length = int.from_bytes(_exactly(file, 2), "big")
            segment = _exactly(file, max(0, length - 2))
            if marker in _JPEG_FRAMES:
                size = int.from_bytes(segment[3:5], "big"), int.from_bytes(segment[1:3], "big")
        if marker == _SOS:
            if size is None:
                damaged("its pixels come before its size")
            _skip_coded(file)
        marker = _jpeg_marker(file)
    _ended(file)
    if size is None:
        damaged("it holds no pixels")
    return size[0], size[1]


def _jpeg_marker(file: BinaryIO) -> int:
    if _exactly(file, 1) != b"\xff":
        damaged("a segment does not begin where the last one ends")
    marker = 0xFF
    while marker == 0xFF:  # noqa: PLR2004 - any number of them may fill the space before a marker
        marker = _exactly(file, 1)[0]
    return marker


def _skip_coded(file: BinaryIO) -> None:
    carried = b""
    while piece := file.read(_PIECE):
        data = carried + piece
        if found := _JPEG_MARKER.search(data):
            file.seek(found.start() - len(data), 1)
            return
        carried = data[-1:]
    damaged("it ends too early")


def webp_size(file: BinaryIO) -> Size:
    """
    Walk the chunks of a WEBP, compare their sum with the length in its head, return width and height in pixels.

    :raises Damaged: when it is not whole.
    """
    left = int.from_bytes(_exactly(file, 12)[4:8], "little") - 4
    size: Size | None = None
    kinds = set()
    while left > 0:
        kind, length = _exactly(file, 4), int.from_bytes(_exactly(file, 4), "little")
        left -= 8 + length + length % 2
        if left < 0:
            damaged("a chunk is longer than the file says it is")
        start = _exactly(file, min(length, 10))
        _skip(file, length - len(start) + length % 2)
        size = size or _webp_chunk_size(kind, start)
        kinds.add(kind)
    _ended(file)
    if size is None or not kinds & {_VP8, _VP8L, b"ANMF"}:
        damaged("it holds no pixels")
    return size


def _webp_chunk_size(kind: bytes, start: bytes) -> Size | None:
    if kind == _VP8X:
        return int.from_bytes(start[4:7], "little") + 1, int.from_bytes(start[7:10], "little") + 1
    if kind == _VP8L:
        bits = int.from_bytes(start[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == _VP8:
        return int.from_bytes(start[6:8], "little") & 0x3FFF, int.from_bytes(start[8:10], "little") & 0x3FFF
    return None


def gif_size(file: BinaryIO) -> Size:
    """
    Walk the blocks of a GIF and return width and height in pixels: the screen, or a picture that reaches beyond it.

    :raises Damaged: when it is not whole.
    """
    head = _exactly(file, 13)
    width, height, pictures = int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little"), 0
    _skip(file, _gif_table(head[10]))
    while (block := _exactly(file, 1)[0]) != _GIF_END:
        if block == _GIF_IMAGE:
            left, top, across, down = (int.from_bytes(_exactly(file, 2), "little") for _ in range(4))
            width, height, pictures = max(width, left + across), max(height, top + down), pictures + 1
            # Behind the colours stands one byte for the compression.
            _skip(file, _gif_table(_exactly(file, 1)[0]) + 1)
        elif block == _GIF_EXTENSION:
            _skip(file, 1)
        else:
            damaged("a block is of no known kind")
        while length := _exactly(file, 1)[0]:
            _skip(file, length)
    _ended(file)
    if not pictures:
        damaged("it holds no pixels")
    return width, height


def _gif_table(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & _GIF_TABLE else 0
