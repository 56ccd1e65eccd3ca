"""A vendor whose every picture says which bytes it was made of, so that a wrong picture under a name is seen."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import threading
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from PIL import Image, ImageOps, PngImagePlugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PATH: Final = "/edit/image/v1"


class EchoVendor:
    """
    The current endpoint, as far as a task needs it. It fetches each input when it takes the job, as the real one may.

    :ivar posts: the prompt and the input's digest of each accepted request; no digest where it could not be opened.
    :ivar uploads: files that were uploaded.
    :ivar name_job: gives the next job's id, told how many there were before.
    :ivar status_word: what a finished job is called.
    :ivar change_result: what is done to the bytes of each picture.
    :ivar fail_next: codes of failures that the next jobs end with; none of them is charged.
    """

    def __init__(self) -> None:
        self.posts: list[tuple[str, str | None]] = []
        self.uploads = 0
        self.url = ""
        self.name_job: Callable[[int], str] = "job-{}".format
        self.status_word = "completed"
        self.change_result: Callable[[bytes], bytes] = bytes
        self.fail_next: list[str] = []
        self._results: dict[str, bytes] = {}
        self._failed: dict[str, str] = {}
        self._lock = threading.Lock()

    def submit(self, body: dict[str, Any]) -> dict[str, Any]:
        """Take a job and make its picture at once."""
        image = body["input_image"]
        raw = _fetched(image if isinstance(image, str) else image[0])
        made = None if raw is None else _edited(raw, body["prompt"])
        with self._lock:
            job_id = self.name_job(len(self.posts))
            self.posts.append((body["prompt"], None if raw is None else hashlib.sha256(raw).hexdigest()))
            if self.fail_next:
                self._failed[job_id] = self.fail_next.pop(0)
            elif made is not None:
                self._results[job_id] = self.change_result(made)
        return {"job_id": job_id, "status": "queued"}

    def upload(self, content: bytes) -> dict[str, Any]:
        """Keep an uploaded file."""
        with self._lock:
            name = f"upload-{self.uploads}"
            self.uploads += 1
            self._results[name] = content
        return {"url": f"{self.url}/results/{name}.png", "filename": name, "size_bytes": len(content)}

    def keep(self, name: str, content: bytes) -> None:
        """Serve bytes below ``results/``."""
        self._results[name] = content

    def status(self, job_id: str) -> dict[str, Any]:
        """Tell where a job stands: it is done, or its input could not be opened."""
        if job_id in self._results:
            link = f"{self.url}/results/{quote(job_id, safe='')}.png"
            return {"job_id": job_id, "status": self.status_word, "result_url": link, "cost_usd": 0.04}
        code = self._failed.get(job_id, "INPUT_INVALID")
        failure = {"error": "the input could not be opened or edited", "failure_reason_code": code}
        retryable = code != "INPUT_INVALID"
        return {"job_id": job_id, "status": "failed", "retryable": retryable, "credits_charged": False, **failure}

    def result(self, name: str) -> bytes | None:
        """Return the picture of a job, or a file that is kept, or None."""
        return self._results.get(name)


def source_of(picture: bytes) -> tuple[str, str]:
    """Return the prompt, and the digest of the input, that a picture was made of."""
    with Image.open(io.BytesIO(picture)) as image:
        text = image.info
    return text["prompt"], text["source"]


@contextmanager
def running_echo_vendor() -> Iterator[EchoVendor]:
    """Serve on a free port of 127.0.0.1 until the end of the block."""
    vendor = EchoVendor()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"vendor": vendor}))
    vendor.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield vendor
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    vendor: EchoVendor
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/upload/image/v1":
            # The only part of the form: between the part's head and the last boundary.
            content = body.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0]
            answer = self.vendor.upload(content)
        else:
            answer = self.vendor.submit(json.loads(body))
        self._answer(json.dumps(answer).encode(), "application/json")

    def do_GET(self) -> None:
        name = unquote(self.path.partition("?")[0].rpartition("/")[2])
        if self.path.startswith(f"{_PATH}/status/"):
            self._answer(json.dumps(self.vendor.status(name)).encode(), "application/json")
        elif (picture := self.vendor.result(name.removesuffix(".png"))) is not None:
            self._answer(picture, "image/png")
        else:
            self.send_error(404)

    def _answer(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_args: object) -> None:
        """Stay silent."""


def _fetched(link: str) -> bytes | None:
    try:
        with urllib.request.urlopen(link, timeout=10) as answer:  # noqa: S310 - links of this machine's S3
            content: bytes = answer.read()
            return content
    except (OSError, http.client.HTTPException):
        return None


def _edited(raw: bytes, prompt: str) -> bytes | None:
    try:
        with Image.open(io.BytesIO(raw)) as photo:
            # Of 16 bits, the upper eight; Pillow would cut all to white.
            eight = photo.point(lambda value: value / 256).convert("L") if photo.mode.startswith("I") else photo
            image = ImageOps.posterize(ImageOps.autocontrast(eight.convert("RGB")), 3)
    except OSError:
        return None
    note = PngImagePlugin.PngInfo()
    note.add_itxt("prompt", prompt)
    note.add_text("source", hashlib.sha256(raw).hexdigest())
    target = io.BytesIO()
    image.save(target, "PNG", pnginfo=note)
    return target.getvalue()
