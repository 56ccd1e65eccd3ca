"""Sixty photos as people keep them: names of every script, odd files, odd folders, and what is no photo at all."""

from __future__ import annotations

import io
import random
from typing import Final

from PIL import Image

from tests.images.corpus import photo

_PHOTOS: Final = ("coffee.png", "chelsea.png", "astronaut.png", "rocket.jpg", "motorcycle_left.png")
_NAMES: Final = (
    "Größe XL.jpg",
    "Sofa Ä.jpg",
    "Sofa Ü.jpg",
    "Обувь 5.jpg",
    "Обувь 6.jpg",
    "红色杯子.jpg",
    "蓝色杯子.jpg",
    "赤いカップ.jpg",
    "빨간 컵.jpg",
    "كوب أحمر.jpg",
    "כוס אדומה.jpg",
    "κόκκινο φλιτζάνι.jpg",
    "लाल कप.jpg",
    "ถ้วยแดง.jpg",
    "Café crème (1).jpg",
    "Café crème (2).jpg",
    "naïve & co.jpg",
    "50% off!.jpg",
    "a+b=c.jpg",
    "what? #1.jpg",
    "100€ 'deal'.jpg",
    "emoji 🛋️.jpg",
    "dot.in.name.v2.jpg",
    "  leading spaces.jpg",
    "UPPER.JPG",
    "Mixed.Jpeg",
    "under_score-dash~tilde.jpg",
    "cup.jpg",
    "cup.png",
    "a//b.jpg",
    "shoes [new]/left.jpg",
    "shoes [new]/right.jpg",
    "2024/IMG_0001.jpg",
    "2025/IMG_0001.jpg",
    "2026/winter/IMG_0001.jpg",
    "Neuer Ordner/IMG_0001.jpg",
    "sku1/front.jpg",
    "sku2/front.jpg",
    "sku2/Rückseite.jpg",
    "DSC00001.JPG",
)
MOTION: Final = "PXL_20260101.MP.jpg"
MPO: Final = "stereo.jpg"
CMYK: Final = "print CMYK.jpg"
DEEP: Final = "scan 16 bit.png"
EMPTY: Final = "empty.jpg"
TEXT: Final = "notes.jpg"
TWINS: Final = ("cup.jpg", "cup.png")


def photo_bytes(number: int, form: str = "JPEG") -> bytes:
    """Return a photo; each number gives another one, and the same number the same bytes."""
    source = photo(_PHOTOS[number % len(_PHOTOS)]).convert("RGB")
    drawn = random.Random(number)
    left, top = drawn.randrange(source.width // 4), drawn.randrange(source.height // 4)
    part = source.crop((left, top, left + source.width * 3 // 4, top + source.height * 3 // 4)).resize((160, 120))
    return _saved(part, form)


def people_folder() -> dict[str, bytes]:
    """Return sixty files by their keys below the folder."""
    files = {name: photo_bytes(n, "PNG" if name.lower().endswith("png") else "JPEG") for n, name in enumerate(_NAMES)}
    files[MOTION] = photo_bytes(101) + b"\x00\x00\x00\x18ftypmp42" + random.Random(1).randbytes(5000)
    files[MPO] = photo_bytes(102) + photo_bytes(103)
    files[CMYK] = _saved(Image.open(io.BytesIO(photo_bytes(104))).convert("CMYK"), "JPEG")
    grey = Image.open(io.BytesIO(photo_bytes(105))).convert("L")
    files[DEEP] = _saved(grey.convert("I").point(lambda value: value * 256).convert("I;16"), "PNG")
    files[EMPTY] = b""
    files[TEXT] = b"These are my notes, and no photo.\n" * 20
    for number in range(60 - len(files)):
        files[f"IMG_{2000 + number}.jpg"] = photo_bytes(200 + number)
    return files


def _saved(image: Image.Image, form: str) -> bytes:
    target = io.BytesIO()
    image.save(target, form)
    return target.getvalue()
