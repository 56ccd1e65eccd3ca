"""Write a note of provenance into an image file, where the vendor's files carry their C2PA metadata.

The boxes have the right shape and place, so readers of files meet what they will meet in real results; there is no
signature in them and no C2PA tool will call them valid. The same file gets the same bytes.
"""

from __future__ import annotations

import json
import zlib

_UUID_TAIL = bytes.fromhex("00110010800000aa00389b71")
_LABELLED = b"\x03"  # requestable, and a label follows
_NOTE = {"claim_generator": "imagepipeline-emulator", "actions": [{"action": "c2pa.edited"}], "signature": None}


def _box(kind: bytes, content: bytes) -> bytes:
    return (len(content) + 8).to_bytes(4, "big") + kind + content


def _described(uuid_head: bytes, label: bytes) -> bytes:
    return _box(b"jumd", uuid_head + _UUID_TAIL + _LABELLED + label + b"\0")


_STORE = _box(
    b"jumb",
    _described(b"c2pa", b"c2pa")
    + _box(b"jumb", _described(b"json", b"emulator.note") + _box(b"json", json.dumps(_NOTE).encode())),
)


def sign_png(raw: bytes) -> bytes:
    """Put a ``caBX`` chunk behind the head.

    :param raw: a PNG file.
    :return: the same image with the chunk.
    """
    head = 8 + 25  # the magic bytes, and IHDR
    checksum = zlib.crc32(b"caBX" + _STORE).to_bytes(4, "big")
    return raw[:head] + len(_STORE).to_bytes(4, "big") + b"caBX" + _STORE + checksum + raw[head:]


def sign_jpeg(raw: bytes) -> bytes:
    """Put an APP11 segment behind the JFIF head.

    :param raw: a JPEG file whose first segment is the JFIF head, as Pillow writes it.
    :return: the same image with the segment.
    """
    head = 4 + int.from_bytes(raw[4:6], "big")
    box_instance, sequence = (1).to_bytes(2, "big"), (1).to_bytes(4, "big")
    content = b"JP" + box_instance + sequence + _STORE
    return raw[:head] + b"\xff\xeb" + (len(content) + 2).to_bytes(2, "big") + content + raw[head:]


def sign_webp(raw: bytes, size: tuple[int, int]) -> bytes:
    """Append a ``C2PA`` chunk, turning a simple file into an extended one, which alone may hold other chunks.

    :param raw: a WebP file without transparency, metadata or animation.
    :param size: pixels.
    :return: the same image with the chunk.
    """
    chunks = raw[12:]
    if chunks[:4] != b"VP8X":
        canvas = b"".join((side - 1).to_bytes(3, "little") for side in size)
        chunks = _chunk(b"VP8X", bytes(4) + canvas) + chunks
    content = b"WEBP" + chunks + _chunk(b"C2PA", _STORE)
    return b"RIFF" + len(content).to_bytes(4, "little") + content


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + len(content).to_bytes(4, "little") + content + bytes(len(content) % 2)
