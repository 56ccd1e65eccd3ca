"""The vendor in a process of its own: it takes jobs, makes them at once, and counts charges by input image."""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any, Final
from urllib.parse import unquote

from tests.doubles.pictures import picture

_SUBMIT: Final = "/edit/image/v1"
_STATUS: Final = f"{_SUBMIT}/status/"
CHARGES: Final = "/_charges/"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    jobs: dict[str, list[str]] = defaultdict(list)  # noqa: RUF012 - one vendor a process
    lock = threading.Lock()
    taken = 0
    image = picture()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == _SUBMIT, self.path
        image = body["input_image"]
        with self.lock:
            type(self).taken += 1
            job = f"sweep-job-{self.taken:07d}"
            self.jobs[image[0] if isinstance(image, list) else image].append(job)
        self._answer({"job_id": job, "status": "queued"})

    def do_GET(self) -> None:
        path = unquote(self.path)
        if path.startswith(_STATUS):
            job = path.removeprefix(_STATUS)
            link = f"http://{self.headers['Host']}/files/{job}.png"
            self._answer({"job_id": job, "status": "completed", "result_url": link})
        elif path.startswith(CHARGES):
            with self.lock:
                wanted = path.removeprefix(CHARGES)
                self._answer({image: ids for image, ids in self.jobs.items() if f"/{wanted}/" in image})
        else:
            self._send(self.image, "image/png")

    def _answer(self, value: Any) -> None:
        self._send(json.dumps(value).encode(), "application/json")

    def _send(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True  # the other side was killed

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def _serve(ready: Connection) -> None:
    server = _Server(("127.0.0.1", 0), _Handler)
    ready.send(server.server_port)
    server.serve_forever(poll_interval=0.2)


@contextmanager
def running_vendor() -> Iterator[str]:
    """Start the vendor, yield its URL, end its process."""
    mine, its = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(its,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{mine.recv()}"
    finally:
        process.kill()
        process.join(10)
