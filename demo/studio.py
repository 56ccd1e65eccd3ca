"""Results as the operators leave them behind: images, sidecars and a manifest in S3, and what the tasks return.

Photos come from scikit-image's wheel, results from the emulator's brushes.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boto3
import skimage
from PIL import Image

from airflow_imagepipeline.emulator.editing import edit, open_inputs
from airflow_imagepipeline.emulator.order import EditOrder

BUCKET: Final = "photo-studio"
_BEGAN: Final = 1_795_300_000.0
_SIDE: Final = 512
_LARGE: Final = 1024
_PHOTOS: Final = ("coffee.png", "astronaut.png", "chelsea.png", "rocket.jpg", "hubble_deep_field.jpg", "retina.jpg")
_PROMPTS: Final = (
    "A watercolour of the scene, soft paper, autumn colours",
    "Neon poster of the subject, purple and teal glow",
    "An oil painting on canvas, warm gold light",
    "A pencil drawing, fine graphite lines on rough paper",
)
# Every so many rows, this is what becomes of one.
_ENDS: Final = {
    7: ("failed", "The job failed: the input could not be read as an image.", "INPUT_UNREADABLE"),
    11: ("rejected", "It is blurred: its sharpness is 0.31; 0.45 is the least.", "REJECTED"),
    17: ("filtered", "The image is of one colour, as the vendor's safety filter paints what it withholds.", "FILTERED"),
    23: ("invalid", "strength: 1.4 is not between 0 and 1", ""),
    29: ("uncertain", "The connection broke after the request had left; it may have been taken.", ""),
    31: ("over_budget", "The budget of 3.00 was used up before its turn.", ""),
}


@dataclass(frozen=True)
class Picture:
    """A file, and what a result says of it."""

    content: bytes
    facts: dict[str, Any]


class Studio:
    """Photos, what was made of them, and the bucket that both lie in.

    :param url: of an S3 on the loopback.
    """

    def __init__(self, url: str) -> None:
        self._s3 = boto3.Session("testing", "testing", region_name="us-east-1").client("s3", endpoint_url=url)
        self._s3.create_bucket(Bucket=BUCKET)
        self._photos = [_photo(name) for name in _PHOTOS]
        self._inputs = [
            self._put(f"photos/{Path(name).stem}.jpg", photo.content)
            for name, photo in zip(_PHOTOS, self._photos, strict=True)
        ]
        self._looks = [[_painted(photo, prompt) for prompt in _PROMPTS] for photo in self._photos]

    def results(self, rows: int) -> dict[str, Any]:
        """Return what each task returns, by its name.

        :param rows: images of the batch.
        """
        cover = [_painted(self._photos[0], _PROMPTS[0], sample, longest=_LARGE) for sample in range(4)]
        web = "https://photos.example/astronaut.jpg"
        each = range(len(_PHOTOS))
        lines = [self._row(index) for index in range(rows)]
        manifest = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
        return {
            "edit_cover": self._job("cover/latte", 0, 0, cover),
            "edit_from_web": self._job("web/astronaut", 1, 1, [self._looks[1][1]], source=web),
            "submit_only": {**_handle("5f2d"), "status": "PENDING"},
            "edit_catalogue": _summary(self._put("catalogue/_manifests/summer.jsonl", manifest), lines),
            **{f"edit_each-{n}": self._job(f"each/{n}", n, n % 4, [self._looks[n][n % 4]]) for n in each},
        }

    def _put(self, key: str, content: bytes) -> str:
        self._s3.put_object(Bucket=BUCKET, Key=key, Body=content)
        return f"s3://{BUCKET}/{key}"

    def _job(
        self, stem: str, photo: int, prompt: int, results: list[Picture], *, source: str | None = None
    ) -> dict[str, Any]:
        job_id = _job_id(stem)
        images = [
            self._landed(f"{stem}-{number:02d}.webp", result, photo, prompt, source=source, job_id=job_id)
            for number, result in enumerate(results)
        ]
        return {**_handle(job_id), "status": "SUCCESS", "cost": {"cost_usd": 0.012}, "images": images}

    def _landed(
        self, key: str, result: Picture, photo: int, prompt: int, *, job_id: str, source: str | None = None
    ) -> dict[str, Any]:
        uri = self._put(key, result.content)
        digest = None if source else self._photos[photo].facts["sha256"]
        address = source or self._inputs[photo]
        note = {
            "v": 1, "file": Path(key).name, **result.facts, **_handle(job_id), "landed_at": _BEGAN + 10.0,
            "fingerprint": None, "request": {
                "input_image": address, "prompt": _PROMPTS[prompt], "num_inference_steps": 20, "guidance_scale": 4.5,
                "output_format": "webp", "seed": 7,
            },
            "inputs": [{"address": address, "sha256": digest, "version": None}], "cost": {"cost_usd": 0.012},
            "checks": {"sharpness": 0.82, "difference": 0.314}, "dag_id": "summer_catalogue", "run_id": "manual",
            "task_id": "edit", "map_index": -1, "package": "airflow-provider-imagepipeline",
        }  # fmt: skip
        self._put(f"{key}.json", json.dumps(note).encode())
        return {"uri": uri, **result.facts}

    def _row(self, index: int) -> dict[str, Any]:
        photo, prompt = index % len(_PHOTOS), index // len(_PHOTOS) % len(_PROMPTS)
        good = ("reused" if index % 5 == 0 else "landed", "", "")
        outcome, reason, code = next((end for step, end in _ENDS.items() if index % step == step - 1), good)
        line = {"index": index, "input": self._inputs[photo], "outcome": outcome, "reason": reason, "reason_code": code}
        if outcome not in {"landed", "reused", "rejected"}:
            return {**line, "images": []}
        job_id, began = _job_id(f"row {index}"), _BEGAN + index * 2.5
        key = f"catalogue/item-{index:04d}-00.webp"
        return {
            **line, "job_id": job_id, "seed": 1000 + index, "attempts": 1, "cost": {"cost_usd": 0.012},
            "images": [self._landed(key, self._looks[photo][prompt], photo, prompt, job_id=job_id)],
            "timings": {"submitted_at": began, "finished_at": began + 9, "landed_at": began + 10},
            "checks": {"sharpness": 0.31 if outcome == "rejected" else 0.82, "difference": 0.314},
        }  # fmt: skip


def _summary(manifest: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    counts = dict.fromkeys(("landed", "reused", *(end[0] for end in _ENDS.values()), "not_submitted"), 0)
    for line in lines:
        counts[line["outcome"]] += 1
    paid = counts["landed"] + counts["rejected"]
    return {
        "v": 1, "manifest": manifest, "ledger": f"s3://{BUCKET}/catalogue/_ledger", "total": len(lines),
        "counts": counts, "submitted": paid, "cost": round(paid * 0.012, 4), "seconds": 612.4,
        "bytes": sum(image["bytes"] for line in lines for image in line["images"]),
    }  # fmt: skip


def _photo(name: str) -> Picture:
    with Image.open(Path(skimage.__file__).parent / "data" / name) as image:
        plain = image.convert("RGB")
        plain.thumbnail((_LARGE, _LARGE))
        return _picture(plain, "JPEG", quality=88)


def _painted(photo: Picture, prompt: str, sample: int = 0, *, longest: int = _SIDE) -> Picture:
    order = EditOrder(model_id="edit", init_image=None, prompt=prompt, seed=7, longest_side=longest, samples=4)
    with Image.open(io.BytesIO(edit(open_inputs([photo.content], order), order, sample))) as image:
        return _picture(image, "WEBP", quality=90)


def _picture(image: Image.Image, form: str, **options: Any) -> Picture:
    target = io.BytesIO()
    image.save(target, form, **options)
    content = target.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    size = {"width": image.width, "height": image.height}
    return Picture(content, {"sha256": digest, "bytes": len(content), "format": form, **size})


def _handle(job_id: str) -> dict[str, Any]:
    return {"v": 1, "api": "edit/image/v1", "job_id": job_id, "seed": 7, "submitted_at": _BEGAN}


def _job_id(name: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}"
