"""The world around the tests: an Airflow that lives in a temporary folder, connections, a vendor, a store, a photo."""

from __future__ import annotations

import atexit
import fcntl
import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# Before anything imports Airflow: it reads these when it is imported, and would write into the reader's own home.
_HOME = tempfile.mkdtemp(prefix="air-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
# Killed processes leave their temporary files: they go with this folder, and so does what pytest keeps.
# The names are short, as messages cut long addresses.
tempfile.tempdir = os.environ["TMPDIR"] = str(Path(_HOME, "t"))
Path(tempfile.tempdir).mkdir()
for _name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
    del os.environ[_name]
os.environ |= {
    "AIRFLOW_HOME": _HOME,
    "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).parents[1] / "dags"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}

pytest_plugins = ["tests.canary"]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.doubles.moto_server import Moto
    from tests.generations import Generation
    from tests.vendor import Vendor


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start one real Airflow at a time: two at once are too much for two cores."""
    for item in items:
        if item.get_closest_marker("live"):
            item.add_marker(pytest.mark.xdist_group("live"))


_SERVERS = ("httpx", "httpcore", "uvicorn", "imagepipeline-emulator")
"""Loggers of the other side, which runs in this process: what it logs is not the provider's."""


class _Photo(BaseHTTPRequestHandler):
    content = b""

    def do_GET(self) -> None:
        is_there = self.path.partition("?")[0].endswith(".png")
        self.send_response(200 if is_there else 404)
        self.send_header("Content-Length", str(len(self.content) if is_there else 0))
        self.end_headers()
        self.wfile.write(self.content if is_there else b"")

    def log_message(self, *_args: object) -> None:
        """Stay silent."""


@pytest.fixture(scope="session")
def photo() -> bytes:
    """Return a small PNG."""
    from tests.doubles.pictures import picture

    return picture()


@pytest.fixture(scope="session")
def photos(photo: bytes) -> Iterator[str]:
    """Serve the photo under every name that ends with ``.png``; the base of its links."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Photo", (_Photo,), {"content": photo}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture(params=["sdxl/image2image/v1", "edit/image/v1"], ids=["sdxl", "edit"])
def generation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Generation:
    """Speak one generation of the API during a test, which runs once for each; see ``tests.generations``."""
    from tests import generations

    (found,) = (one for one in generations.BOTH if request.param in (one, one.name, str(one)))
    monkeypatch.setattr(generations.Spoken, "generation", found)
    return found


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what makes a connection of type ``imagepipeline``."""
    from tests.running import KEY

    def connect(url: str | None, key: str | None = KEY, *, conn_id: str = "imagepipeline_default", **more: Any) -> None:
        fields = {"conn_type": "imagepipeline", "host": url, "password": key, **more}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))

    return connect


@pytest.fixture(scope="session")
def _vendor() -> Iterator[Vendor]:
    from tests.vendor import running_vendor

    yield from running_vendor()


@pytest.fixture
def vendor(_vendor: Vendor, connection: Callable[..., None]) -> Vendor:
    """Return the emulated vendor in its usual state, counting from now on, with the default connection to it."""
    _vendor.begin_anew()
    connection(_vendor.url)
    return _vendor


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    """Run S3, SNS and SQS on the loopback."""
    from tests.doubles.moto_server import running_moto

    yield from running_moto()


@pytest.fixture
def bucket(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return an empty bucket, to which the connection aws_default leads."""
    from tests.doubles.moto_server import aws_connection

    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(moto.url))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return moto.bucket()


@pytest.fixture(scope="session")
def _database() -> None:
    """Make Airflow's database; tests that run side by side share what the first of them has migrated."""
    shared = Path(_HOME).parent if "PYTEST_XDIST_WORKER" in os.environ else Path(_HOME)
    own, migrated = Path(_HOME, "airflow.db"), shared / "migrated.db"
    # What has looked for the database before this has made an empty one, and keeps it open.
    settings = sys.modules.get("airflow.settings")
    if settings is not None:
        settings.dispose_orm()
    with (shared / "migrated.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not migrated.exists():
            command = [sys.executable, "-m", "airflow", "db", "migrate"]
            subprocess.run(command, check=True, capture_output=True, timeout=180)  # noqa: S603 - this interpreter
            _copy_database(own, migrated)
    for file in (own, Path(f"{own}-wal"), Path(f"{own}-shm")):
        file.unlink(missing_ok=True)
    _copy_database(migrated, own)
    if settings is not None:
        settings.configure_orm()


def _copy_database(source: Path, target: Path) -> None:
    # Whole, also where a part of it still lies in a journal beside the file.
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses after bad looks and refused submissions; what is done between them stays the same."""
    from airflow_imagepipeline.hooks.imagepipeline import ImagePipelineHook

    monkeypatch.setattr("airflow_imagepipeline.policy.waiting._LONGEST_BACKOFF", 0.05)
    monkeypatch.setattr("airflow_imagepipeline.policy.waiting._SHORTEST_ROW", {})
    monkeypatch.setattr("airflow_imagepipeline.policy.resending._SUBMIT_CAP", 0.02)
    monkeypatch.setattr("airflow_imagepipeline.hooks.imagepipeline.LAST_LOOK", 0.6)
    monkeypatch.setattr(ImagePipelineHook.wait_for_job, "__kwdefaults__", {"poll_interval": 0.05})


@pytest.fixture
def logs(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    """Return what gives everything that was logged; at the end none of it may hold the key or a signed link."""
    import structlog

    from tests.running import assert_discreet

    for name in _SERVERS:
        caplog.set_level(logging.ERROR, logger=name)
    caplog.set_level(logging.INFO)
    for name in ("airflow_imagepipeline", "urllib3", "aiohttp"):
        caplog.set_level(logging.DEBUG, logger=name)
    formatter = logging.Formatter("%(name)s %(levelname)s %(message)s")
    with structlog.testing.capture_logs() as events:

        def text() -> str:
            records = [*caplog.get_records("setup"), *caplog.get_records("call")]
            return "\n".join([*map(formatter.format, records), *map(str, events)])

        yield text
    assert_discreet(text())
