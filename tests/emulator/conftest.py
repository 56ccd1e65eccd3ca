"""A running emulator, and a small web server that has the images to edit."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, ImageDraw

from airflow_imagepipeline.emulator import Emulator, Settings

from .api import EDIT, KEY, SDXL, Dialect

if TYPE_CHECKING:
    from collections.abc import Iterator


def _blank(size: tuple[int, int]) -> bytes:
    target = io.BytesIO()
    Image.new("1", size).save(target, "PNG")
    return target.getvalue()


def _draw(size: tuple[int, int] = (120, 80), kind: str = "PNG", mode: str = "RGB") -> bytes:
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    pen = ImageDraw.Draw(image)
    pen.ellipse((size[0] // 8, size[1] // 8, size[0] // 2, size[1] // 2), fill=(220, 60, 40))
    pen.rectangle((size[0] // 2, size[1] // 3, size[0] - 9, size[1] - 9), fill=(30, 110, 200), outline="white")
    target = io.BytesIO()
    image.convert(mode).save(target, kind)
    return target.getvalue()


_FILES = {
    "/photo.png": _draw(),
    "/photo.jpg": _draw(kind="JPEG"),
    "/palette.gif": _draw(kind="GIF", mode="P"),
    "/transparent.png": _draw(mode="RGBA"),
    "/large.png": _draw((1600, 400)),
    "/wide.png": _draw((4096, 64)),
    "/too-many-pixels.png": _blank((10_000, 5_001)),
    "/too-many-bytes.png": bytes(20 * 2**20 + 1),
    "/cut.png": _draw()[:200],
    "/page.html": b"<html><body>no image</body></html>",
    "/empty.png": b"",
}


class _Handler(BaseHTTPRequestHandler):
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == "/moved.png":
            self._begin(302, 0, location="/photo.png")
        elif self.path == "/drip.png":
            self._begin(200, 100_000)
            self._drip()
        else:
            content = _FILES.get(self.path)
            self._begin(404 if content is None else 200, len(content or b""))
            with contextlib.suppress(OSError):  # the client may have enough
                self.wfile.write(content or b"")

    def _begin(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()

    def _drip(self) -> None:
        with contextlib.suppress(OSError):  # until the client goes away
            while True:
                self.wfile.write(b"x")
                time.sleep(0.05)

    def log_message(self, *_args: object) -> None:
        """Stay silent."""


@pytest.fixture(scope="session")
def files() -> Iterator[str]:
    """Serve the images to edit; the base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """Decode the picture that requests edit."""
    return Image.open(io.BytesIO(_FILES["/photo.png"])).convert("RGB")


@pytest.fixture(scope="session", params=[SDXL, EDIT], ids=str)
def api(request: pytest.FixtureRequest) -> Dialect:
    """Name the generation of the API that a test speaks; it runs once for each."""
    dialect: Dialect = request.param
    return dialect


@pytest.fixture(scope="session")
def body(api: Dialect, files: str) -> dict[str, Any]:
    """Give a complete request, for a PNG; copy it before changing it."""
    request = {api.image_field: f"{files}/photo.png", "prompt": "a watercolor of a boat", "seed": 12345}
    return {**request, **({"model_id": "sdxl"} if api is SDXL else {"output_format": "png"})}


@pytest.fixture(scope="session")
def shared() -> Iterator[Emulator]:
    """Run an emulator for tests that look only at their own jobs; both generations refuse in one wording there."""
    with Emulator(api_key=KEY, job_seconds=0, error_envelope="detail") as emulator:
        yield emulator


@pytest.fixture(scope="session")
def _tunable() -> Iterator[Emulator]:
    with Emulator(api_key=KEY, job_seconds=0) as emulator:
        yield emulator


@pytest.fixture
def tunable(_tunable: Emulator) -> Iterator[Emulator]:
    """Lend an emulator whose settings a test may turn; its counts and jobs are not the test's own."""
    yield _tunable
    vars(_tunable.settings).update(vars(Settings(api_key=KEY, job_seconds=0)))


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """Run an emulator of the test's own, whose counts and settings it may rely on."""
    with Emulator(api_key=KEY, job_seconds=0) as emulator:
        yield emulator
