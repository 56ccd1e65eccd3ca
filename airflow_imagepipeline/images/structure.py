"""
Walk a file's own structure from its first byte to the end of the image, without decoding a pixel.

A file is whole or cut; a walk stops where the image ends, so that the caller can count what follows: padding, a second
picture, a video. What only describes the pixels (text, profiles, EXIF) may be as large or as broken as it likes. Files
are streamed, so memory stays small. What hides inside of a valid structure (a comment, an unused chunk) is not looked
at.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final, NoReturn

_PIECE: Final = 65536

_PNG_START: Final = 8
_IHDR_LENGTH: Final = 13
_ANCILLARY: Final = 0x20
_CRITICAL: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_PNG_KEPT: Final = _CRITICAL | {b"tRNS", b"eXIf"}
_VP8X, _VP8, _VP8L = b"VP8X", b"VP8 ", b"VP8L"
_RIFF_HEAD, _CHUNK_HEAD = 12, 8

_JPEG_START, _MARKER = 2, 2
_SOS, _EOI, _TEM = 0xDA, 0xD9, 0x01
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_APP1, _ADOBE, _COMMENT = 0xE1, 0xEE, 0xFE
_JPEG_NOTES: Final = frozenset({*range(0xE0, 0xF0), _COMMENT}) - {_APP1, _ADOBE}
# In the coded data 0xFF stands only before a stuffed zero, a restart mark, a filling 0xFF, or a real marker; between
# two segments, decoders skip whatever else there is.
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


def _keep(file: BinaryIO, start: int, stop: int, copy: BinaryIO | None) -> None:
    """Write a part of what was walked into the copy, if one is made."""
    if copy is not None:
        place = file.tell()
        file.seek(start)
        for piece in _pieces(file, stop - start):
            copy.write(piece)
        file.seek(place)


def png_size(file: BinaryIO, copy: BinaryIO | None = None) -> Size:
    """
    Walk the chunks of a PNG, checking the CRC of those that pixels depend on; return width and height in pixels.

    :param copy: is given the file without chunks that only describe its pixels, but for a sound EXIF.
    :raises Damaged: when it is not whole.
    """
    _skip(file, _PNG_START)
    _keep(file, 0, _PNG_START, copy)
    kind, _, size = b"", True, b""
    kinds = set[bytes]()
    while kind != b"IEND":
        place = file.tell()
        kind, is_sound, start = _png_chunk(file)
        if not kinds and (kind != b"IHDR" or len(start) != _IHDR_LENGTH):
            damaged("its first chunk is no IHDR")
        size = size or start
        kinds |= {kind} & _CRITICAL
        if is_sound and kind in _PNG_KEPT:
            _keep(file, place, file.tell(), copy)
    if b"IDAT" not in kinds:
        damaged("it holds no pixels")
    return int.from_bytes(size[:4], "big"), int.from_bytes(size[4:8], "big")


def _png_chunk(file: BinaryIO) -> tuple[bytes, bool, bytes]:
    length, kind = int.from_bytes(_exactly(file, 4), "big"), _exactly(file, 4)
    crc, start = zlib.crc32(kind), b""
    for piece in _pieces(file, length):
        crc = zlib.crc32(piece, crc)
        start = start or piece[: _IHDR_LENGTH + 1]
    is_sound = int.from_bytes(_exactly(file, 4), "big") == crc
    # A flipped bit of a name must not turn pixels into a note.
    if not is_sound and (not kind[0] & _ANCILLARY or kind.upper() in _CRITICAL):
        damaged("a chunk's checksum is wrong")
    return kind, is_sound, start


def jpeg_size(file: BinaryIO, copy: BinaryIO | None = None) -> Size:
    """
    Walk the segments of a JPEG to the end of its first picture, and return width and height in pixels.

    :param copy: is given the picture without segments that only describe it, but for EXIF and Adobe's, which say how it
        is turned and what its colours are.
    :raises Damaged: when it is not whole.
    """
    _skip(file, _JPEG_START)
    _keep(file, 0, _JPEG_START, copy)
    size: Size | None = None
    marker = 0
    while marker != _EOI:
        start = file.tell()
        marker = _next_jpeg_marker(file)
        stop = file.tell() - 2
        if marker not in {_EOI, _TEM}:
            segment = _exactly(file, max(0, int.from_bytes(_exactly(file, 2), "big") - 2))
            if marker in _JPEG_FRAMES:
                size = int.from_bytes(segment[3:5], "big"), int.from_bytes(segment[1:3], "big")
        if marker == _SOS and size is None:
            damaged("its pixels come before its size")
        _keep(file, start, stop if marker in _JPEG_NOTES else file.tell(), copy)
    if size is None:
        damaged("it holds no pixels")
    return size[0], size[1]


def _next_jpeg_marker(file: BinaryIO) -> int:
    carried, most = b"", _MARKER
    while piece := file.read(most):
        data = carried + piece
        if found := _JPEG_MARKER.search(data):
            file.seek(found.end() - len(data), 1)
            return data[found.end() - 1]
        # Of a file of many small segments nothing is read much more often than once.
        carried, most = data[-1:], min(2 * most, _PIECE)
    damaged("it ends too early")


def webp_size(file: BinaryIO, copy: BinaryIO | None = None) -> Size:
    """
    Walk the chunks of a WEBP and return width and height in pixels.

    The length in its head may be wrong by less than a chunk, and the last chunk may lack the byte that makes it even.

    :param copy: is given the same chunks under a head that is right.
    :raises Damaged: when it is not whole.
    """
    end = _CHUNK_HEAD + int.from_bytes(_exactly(file, _RIFF_HEAD)[4:8], "little")
    _keep(file, 0, _RIFF_HEAD, copy)
    size: Size | None = None
    kinds = set[bytes]()
    while end - (place := file.tell()) >= _CHUNK_HEAD:
        head = file.read(_CHUNK_HEAD)
        if not head and end - place == _CHUNK_HEAD:
            break  # the head counts itself, too
        if len(head) < _CHUNK_HEAD:
            damaged("it ends too early")
        kind, length = head[:4], int.from_bytes(head[4:], "little")
        start = _exactly(file, min(length, 10))
        _skip(file, length - len(start))
        _keep(file, place, file.tell(), copy)
        if length % 2:
            _skip_padding(file, end, copy)
        size = size or _webp_chunk_size(kind, start)
        kinds.add(kind)
    if copy is not None:
        whole = copy.tell() - _CHUNK_HEAD
        copy.seek(4)
        copy.write(whole.to_bytes(4, "little"))
    if size is None or not kinds & {_VP8, _VP8L, b"ANMF"}:
        damaged("it holds no pixels")
    return size


def _skip_padding(file: BinaryIO, end: int, copy: BinaryIO | None) -> None:
    # Behind the end of the file as its head says it, only a zero is taken for padding.
    if file.read(1).strip(b"\0") and file.tell() > end:
        file.seek(-1, 1)
    if copy is not None:
        copy.write(b"\0")


def _webp_chunk_size(kind: bytes, start: bytes) -> Size | None:
    if kind == _VP8X:
        return int.from_bytes(start[4:7], "little") + 1, int.from_bytes(start[7:10], "little") + 1
    if kind == _VP8L:
        bits = int.from_bytes(start[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == _VP8:
        return int.from_bytes(start[6:8], "little") & 0x3FFF, int.from_bytes(start[8:10], "little") & 0x3FFF
    return None


def gif_size(file: BinaryIO, copy: BinaryIO | None = None) -> Size:
    """
    Walk the blocks of a GIF and return width and height in pixels: the screen, or a picture that reaches beyond it.

    :param copy: is given the file without what follows its end.
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
        elif not block:
            continue  # some programs leave zeros between two blocks, and every decoder skips them
        else:
            damaged("a block is of no known kind")
        while length := _exactly(file, 1)[0]:
            _skip(file, length)
    _keep(file, 0, file.tell(), copy)
    if not pictures:
        damaged("it holds no pixels")
    return width, height


def _gif_table(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & _GIF_TABLE else 0
