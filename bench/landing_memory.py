"""
Print how much memory large and hostile answers take, at the peak, above what the process held before::

    python -m bench.landing_memory

Each case runs in a process of its own, against a server on the loopback; the first use of everything comes before the
measurement. Ends with 1 when a case takes more than 64 MiB. Needs Linux, for ``/proc``.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from PIL import Image

from tests.faults import STATUS, ScriptedServer, answer, endless, forever, gzip_bomb

MOST_MIB: Final = 64.0
MIB: Final = 2**20
SECONDS: Final = 60
BOMB_BYTES: Final = 300 * MIB
DECODED_SIDE: Final = 4096
"""2**24 pixels: an image of more is not decoded when it is landed."""


def png(width: int, height: int, rows: bytes, colour_type: int) -> bytes:
    """Return a PNG of 8 bits a sample."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0))]
    parts += [(b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def noise(side: int, samples: int) -> bytes:
    """Return a square PNG that cannot be compressed: 3 samples a pixel are RGB, 4 RGBA."""
    source = random.Random(1)
    rows = b"".join(b"\0" + source.randbytes(side * samples) for _ in range(side))
    return png(side, side, rows, {3: 2, 4: 6}[samples])


def smooth(form: str, mode: str, side: int = DECODED_SIDE, **options: Any) -> bytes:
    """Return a square image that is small as a file."""
    target = io.BytesIO()
    Image.linear_gradient("L").resize((side, side)).convert(mode).save(target, form, **options)
    return target.getvalue()


# The side of the process that is measured.


def high_water() -> float:
    """Return the most memory that this process has held since the last reset, in MiB."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def land(url: str, destination: str) -> str:
    """Land one image and say how it ended."""
    from airflow_imagepipeline.contract.api import SDXL_IMAGE_TO_IMAGE, JobStatus
    from airflow_imagepipeline.contract.job import Job, JobHandle
    from airflow_imagepipeline.exceptions import LandingFailed
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook
    from airflow_imagepipeline.landing.landing import land_job
    from airflow_imagepipeline.storage.folder import open_folder

    job = Job(JobHandle(SDXL_IMAGE_TO_IMAGE, "job-1"), JobStatus.SUCCESS, (url,))
    try:
        result = land_job(ImagePipelineHook(), job, open_folder(destination, "aws_bench"), None, overwrite=True)
    except LandingFailed as error:
        return str(error)
    return f"landed {(result.images or ())[0].bytes} bytes"


def look(library: str) -> str:
    """Look at a job and say how it ended."""
    import asyncio

    from airflow_imagepipeline.contract.errors import ImagePipelineError
    from airflow_imagepipeline.contract.job import JobHandle
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook

    handle, hook = JobHandle.from_payload("job-1"), ImagePipelineHook()

    async def in_the_triggerer() -> None:
        async with hook.asession() as session:
            await hook.aget_job(handle, session)

    try:
        hook.get_job(handle) if library == "requests" else asyncio.run(in_the_triggerer())
    except ImagePipelineError as error:
        return str(error)
    return "was believed"


def measured(case: dict[str, str]) -> None:
    """Play a case small, then in earnest, and print the peak in between."""
    with tempfile.TemporaryDirectory() as scratch:
        destination = case.get("destination") or f"file://{scratch}/landed"
        play: Callable[[str], str] = (
            (lambda _: look(case["library"])) if "library" in case else (lambda url: land(url, destination))
        )
        play(f"{case['url']}/small")
        Path("/proc/self/clear_refs").write_text("5")
        before = high_water()
        end = play(f"{case['url']}/large")
        print(json.dumps({"mib": high_water() - before, "end": end}))


# The side of the process that measures.


def taken(case: dict[str, str]) -> tuple[float, str]:
    """Return the MiB that a case takes in a process of its own, and how it ended."""
    connection = {"conn_type": "imagepipeline", "host": case["url"], "password": "the-key-of-the-bench"}
    aws = {"region_name": "us-east-1", "endpoint_url": case["url"]}
    environment = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
    with tempfile.TemporaryDirectory() as home:
        environment |= {
            "AIRFLOW_HOME": home,
            "AIRFLOW_CONN_IMAGEPIPELINE_DEFAULT": json.dumps(connection),
            "AIRFLOW_CONN_AWS_BENCH": json.dumps({"conn_type": "aws", "login": "a", "password": "b", "extra": aws}),
        }
        program = [sys.executable, "-m", "bench.landing_memory", json.dumps(case)]
        done = subprocess.run(
            program, cwd=Path(__file__).parents[1], env=environment, capture_output=True, text=True, timeout=SECONDS,
            check=False,
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    said = json.loads(done.stdout.splitlines()[-1])
    return said["mib"], said["end"]


IMAGES: Final[dict[str, Callable[[], bytes]]] = {
    "noise, PNG of 60 MB, 20 megapixels": lambda: noise(4472, 3),
    "noise, PNG of 60 MB, 15 megapixels": lambda: noise(3873, 4),
    "PNG of 16 megapixels": lambda: smooth("PNG", "RGB"),
    "PNG with a palette of 16 megapixels": lambda: smooth("PNG", "P"),
    "GIF of 16 megapixels": lambda: smooth("GIF", "P"),
    "WEBP of 16 megapixels": lambda: smooth("WEBP", "RGB", quality=50),
    "WEBP of 16 megapixels, lossless": lambda: smooth("WEBP", "RGBA", lossless=True, method=0),
    "progressive JPEG of 49 megapixels": lambda: smooth("JPEG", "RGB", side=7000, progressive=True),
    "bomb, PNG of 3.6 gigapixels": lambda: png(60_000, 60_000, b"\0", 2),
    "bomb, PNG of 49 megapixels": lambda: smooth("PNG", "RGB", side=7000),
}
ANSWERS: Final = {
    "gzip JSON of 300 MB": gzip_bomb(BOMB_BYTES),
    "JSON of 300 MB": endless(b"[" * 65536, BOMB_BYTES),
}


def cases() -> list[tuple[str, ScriptedServer, dict[str, str]]]:
    """Return the cases, each with the server that it needs."""
    found = []
    for name, make in IMAGES.items():
        for place in ["disk", "S3"] if "noise" in name else ["disk"]:
            routes = {"GET /small": [answer(200, smooth("PNG", "RGB", side=64))], "PUT /": [forever(answer(200))]}
            server = ScriptedServer({**routes, "GET /large": [forever(answer(200, make()))]}, allow_unused=True)
            destination = {"destination": "s3://bucket/landed"} if place == "S3" else {}
            found.append((f"land on {place}: {name}", server, destination))
    for name, instruction in ANSWERS.items():
        for library in ("requests", "aiohttp"):
            server = ScriptedServer({STATUS: [answer(200, b"{}"), instruction]})
            found.append((f"{library}: {name}", server, {"library": library}))
    return found


def main() -> int:
    """Measure and judge each case."""
    worst = 0.0
    for name, server, case in cases():
        with server:
            mib, end = taken({**case, "url": server.url})
        worst = max(worst, mib)
        verdict = "" if mib <= MOST_MIB else "  TOO MUCH"
        print(f"{name:<52} {mib:7.1f} MiB{verdict}   {end[:100]}", flush=True)
    print(f"At most {worst:.1f} MiB; {MOST_MIB:.0f} are allowed.")
    return int(worst > MOST_MIB)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        if len(sys.argv) > 1:
            measured(json.loads(sys.argv[1]))
        else:
            sys.exit(main())
