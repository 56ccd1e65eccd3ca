"""What the tests of threats share: whom this process connects to, and a server that speaks TLS and is trusted."""

from __future__ import annotations

import ssl
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.faults.certificates import Certificate, self_signed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_listening: Final[list[list[Any]]] = []


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        for addresses in _listening:
            addresses.append(arguments[1])


sys.addaudithook(_on_event)  # cannot be removed: it hears nothing while nobody listens


@pytest.fixture
def connected_to() -> Iterator[list[Any]]:
    """Return the addresses that this process tries to connect to, as they come."""
    addresses: list[Any] = []
    _listening.append(addresses)
    yield addresses
    _listening.remove(addresses)


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    """Return a certificate for 127.0.0.1 that requests and aiohttp trust during this test."""
    certificate = self_signed(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.authority))
    # aiohttp reads the system's authorities once, when it is imported.
    context = ssl.create_default_context(cafile=str(certificate.authority))
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", context)
    return certificate


@pytest.fixture(autouse=True)
def _as_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    # The proxies of the machine that runs the tests are no part of them.
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let downloads be tried again at once."""
    limits = "airflow_imagepipeline.hooks.download_limits.DownloadLimits"
    monkeypatch.setattr(f"{limits}.pause", lambda *_args, **_kwargs: 0.01)
