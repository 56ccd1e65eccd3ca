"""Pictures as phones, cameras, editors and old programs write them: whole, and odd around their pixels."""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache

from PIL import Image

from tests.doubles.pictures import painted, pictures, saved

BROKEN_EXIF = b"Exif\0\0II*\0" + b"\xff" * 40


def chunk(kind: bytes, data: bytes, *, sound: bool = True) -> bytes:
    """Return a chunk of a PNG."""
    crc = zlib.crc32(kind + data) if sound else 12345
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def png_with(*chunks: bytes, behind_pixels: bool = False) -> bytes:
    """Return a PNG with chunks between its head and its pixels, or between its pixels and its end."""
    whole = saved(painted(), "PNG")
    at = whole.index(b"IEND" if behind_pixels else b"IDAT") - 4
    return whole[:at] + b"".join(chunks) + whole[at:]


def jpeg_with(marker: int, data: bytes) -> bytes:
    """Return a JPEG with a segment behind its first mark."""
    whole = saved(painted(), "JPEG")
    return whole[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data + whole[2:]


def webp(*, odd: bool = True, pad: bytes = b"\0", off: int = 0) -> bytes:
    """
    Return a WEBP whose last chunk has an odd length, or an even one.

    :param pad: what stands behind an odd chunk.
    :param off: added to the length in the head, which counts the padding that is there.
    """
    pixels = saved(painted(), "WEBP", lossless=True)[12:]
    notes = b"XMP " + struct.pack("<I", 5 if odd else 6) + b"<x/>\n" + (pad if odd else b"\n")
    size = struct.pack("<I", 10) + struct.pack("<I", 4) + (39).to_bytes(3, "little") + (29).to_bytes(3, "little")
    body = b"WEBP" + b"VP8X" + size + pixels + notes
    return b"RIFF" + struct.pack("<I", len(body) + off) + body


def mpo() -> bytes:
    """Return two pictures in one file, as cameras of two eyes and phones with a gain map write them."""
    return saved(painted(), "MPO", save_all=True, append_images=[painted((20, 15))])


@lru_cache
def with_something_behind() -> dict[str, tuple[bytes, int]]:
    """Return files with something behind the end of the picture, and how many bytes that is."""
    jpeg, second = saved(painted(), "JPEG"), saved(painted((20, 15)), "JPEG")
    two = mpo()
    video = struct.pack(">I", 24) + b"ftypmp42" + bytes(12) + b"mdat" * 50
    files = {
        "a motion photo": (jpeg, video),
        "a gain map": (jpeg_with(0xE1, b'http://ns.adobe.com/xap/1.0/\0 hdrgm:Version="1.0"'), second),
        "zeros behind a JPEG": (jpeg, bytes(4096)),
        "a second end mark": (jpeg, b"\xff\xd9"),
        "a newline behind a PNG": (pictures()["png"], b"\n"),
        "a CRLF behind a GIF": (pictures()["gif"], b"\r\n"),
        "zeros behind a GIF": (pictures()["animated gif"], bytes(3)),
        "a picture behind a GIF": (pictures()["gif"], second),
        "a newline behind a WEBP": (pictures()["lossy webp"], b"\n"),
        "a video behind an animated WEBP": (pictures()["animated webp"], video),
        "a newline behind an odd WEBP without padding": (webp(pad=b""), b"\n"),
    }  # fmt: skip
    return {name: (whole + more, len(more)) for name, (whole, more) in files.items()} | {
        "two pictures of a camera": (two, len(two) - two.index(b"\xff\xd9\xff\xd8") - 2)
    }


@lru_cache
def of_odd_lengths() -> dict[str, bytes]:
    """Return WEBP files whose lengths are not what they should be, and which lack nothing of their pixels."""
    return {
        "no padding, counted": webp(pad=b"", off=1),
        "no padding, not counted": webp(pad=b""),
        "padding that is not counted": webp(off=-1),
        "one less": webp(odd=False, off=-1),
        "one more": webp(odd=False, off=1),
        "the whole file's": webp(odd=False, off=8),
    }


@lru_cache
def with_odd_notes() -> dict[str, bytes]:
    """Return pictures with notes on them that cannot be read, or are larger than Pillow likes."""
    text = b"Comment\0\0" + zlib.compress(bytes(2 * 1024 * 1024), 9)
    icc = b"icc\0\0" + zlib.compress(bytes(2 * 1024 * 1024), 9)
    many = [chunk(b"zTXt", b"%d\0\0" % number + zlib.compress(bytes(500_000))) for number in range(135)]
    short = [chunk(kind, b"\1") for kind in (b"gAMA", b"pHYs", b"cHRM", b"tIME", b"sRGB")]
    jpeg, gif = saved(painted(), "JPEG"), saved(painted().quantize(256), "GIF")
    return {
        "2 MB of zTXt": png_with(chunk(b"zTXt", text)),
        "2 MB of iTXt": png_with(chunk(b"iTXt", b"Comment\0\1\0\0\0" + text[9:])),
        "2 MB of text behind the pixels": png_with(chunk(b"zTXt", text), behind_pixels=True),
        "2 MB of a profile": png_with(chunk(b"iCCP", icc)),
        "135 large texts": png_with(*many),
        "a broken profile": png_with(chunk(b"iCCP", b"icc\0\0no zlib")),
        "an unknown compression of a profile": png_with(chunk(b"iCCP", b"icc\0\x09abc")),
        "a broken text": png_with(chunk(b"zTXt", b"Comment\0\x07no zlib")),
        "a broken EXIF": png_with(chunk(b"eXIf", b"no TIFF at all")),
        "a broken EXIF behind the pixels": png_with(chunk(b"eXIf", b"II*\0\xff\xff\xff\xff"), behind_pixels=True),
        "short gAMA, pHYs, cHRM, tIME, sRGB": png_with(*short),
        "an empty pHYs": png_with(chunk(b"pHYs", b"")),
        "a false CRC of a text": png_with(chunk(b"tEXt", b"a\0b", sound=False)),
        "a false CRC of a gAMA": png_with(chunk(b"gAMA", b"\0\1\0\0", sound=False)),
        "a false CRC of an unknown chunk": png_with(chunk(b"vpAg", b"abc", sound=False), behind_pixels=True),
        "an animation that says nothing": png_with(chunk(b"acTL", b"\0")),
        "a JPEG with a broken EXIF": jpeg_with(0xE1, BROKEN_EXIF),
        "a JPEG with a cut EXIF": jpeg_with(0xE1, b"Exif\0\0MM"),
        "a JPEG with half a profile": jpeg_with(0xE2, b"ICC_PROFILE\0\1\2no profile"),
        "a JPEG with a broken index of pictures": jpeg_with(0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
        "a JPEG with a short JFIF": jpeg_with(0xE0, b"JFIF\0"),
        "a JPEG with a broken Photoshop note": jpeg_with(0xED, b"Photoshop 3.0\0008BIM\4\4"),
        "a JPEG with bytes between two segments": jpeg[:20] + b"\0\0\n" + jpeg[20:],
        "a GIF with zeros between two blocks": gif[:13 + 768] + bytes(3) + gif[13 + 768:],
        "a WEBP with a broken EXIF": saved(painted(), "WEBP", exif=BROKEN_EXIF),
        "a WEBP with a broken profile": saved(painted(), "WEBP", icc_profile=b"no profile"),
    }  # fmt: skip


@lru_cache
def of_odd_colours() -> dict[str, bytes]:
    """Return pictures whose pixels are stored in a way that few programs choose."""
    palette = painted().quantize(16)
    frames = [painted().rotate(angle) for angle in (0, 45, 90)]
    return {
        "CMYK JPEG": saved(painted().convert("CMYK"), "JPEG"),
        "RGB JPEG with Adobe's mark": saved(painted(), "JPEG", keep_rgb=True),
        "progressive grey JPEG": saved(painted(mode="L"), "JPEG", progressive=True),
        "16 bit PNG": saved(painted(mode="L").convert("I").point(lambda value: value * 256).convert("I;16"), "PNG"),
        "palette with transparency": saved(palette, "PNG", transparency=3),
        "palette with many transparencies": saved(palette, "PNG", transparency=bytes(range(0, 160, 10))),
        "grey with alpha": saved(painted(mode="L").convert("LA"), "PNG"),
        "one bit": saved(painted(mode="L").convert("1"), "PNG"),
        "animated PNG": saved(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        "animated WEBP": saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "animated GIF": saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
    }


def rotated_with_large_text() -> bytes:
    """Return a PNG on its side, with a note that Pillow does not like: 40x30 pixels that are seen as 30x40."""
    exif = Image.Exif()
    exif[0x0112] = 6
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2 * 1024 * 1024), 9))
    return png_with(chunk(b"eXIf", exif.tobytes()[6:]), text)
