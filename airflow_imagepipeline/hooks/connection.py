"""What a connection of type ``imagepipeline`` says: where the API is, and the key, kept in one place."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from airflow_imagepipeline.contract.errors import Misconfigured
from airflow_imagepipeline.contract.links import is_loopback

if TYPE_CHECKING:
    from airflow.sdk import Connection

DEFAULT_HOST: Final = "https://api.imagepipeline.io"
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.\-]*[A-Za-z0-9])?|[0-9a-fA-F:.]+")


@dataclass(frozen=True)
class ApiAccess:
    """
    Where the API is and what opens it.

    :param origin: scheme, host and port, without a slash at the end.
    """

    conn_id: str
    origin: str
    _key: str = field(repr=False)

    @property
    def is_loopback(self) -> bool:
        """Tell whether the API is on this machine (the emulator): only then may links be plain http."""
        return is_loopback(urlsplit(self.origin).hostname)

    def key_headers(self, key_header: str) -> dict[str, str]:
        """Return the header that carries the key. Nothing else ever reads it."""
        return {key_header: self._key}

    @classmethod
    def from_connection(cls, connection: Connection) -> ApiAccess:
        """
        Read a connection.

        :raises Misconfigured: when key or host cannot be used; the message never holds the key.
        """
        conn_id = connection.conn_id or ""
        return cls(conn_id, _origin(connection, conn_id), _checked_key(connection.password, conn_id))


def _checked_key(key: str | None, conn_id: str) -> str:
    if not key:
        msg = f"Connection {conn_id!r} holds no API key: put it into the password."
        raise Misconfigured(msg)
    # A line break in the key would start a header of its own; the HTTP libraries would print the value.
    if not all("\x21" <= c <= "\x7e" for c in key):
        msg = f"The API key of connection {conn_id!r} holds a space, a line break or a foreign letter: paste it again."
        raise Misconfigured(msg)
    return key


def _origin(connection: Connection, conn_id: str) -> str:
    host = (connection.host or DEFAULT_HOST).strip()
    address = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    try:
        parts = urlsplit(address)
        name, port = parts.hostname or "", parts.port or connection.port
    except ValueError:
        raise Misconfigured(_bad_host(conn_id, "is no host name")) from None
    if parts.username is not None or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise Misconfigured(_bad_host(conn_id, "holds a path, a user name or a query"))
    if not _HOST_NAME.fullmatch(name):
        raise Misconfigured(_bad_host(conn_id, "is no host name"))
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(name)):
        raise Misconfigured(_bad_host(conn_id, "must be reached by https, so that the key is not sent in clear"))
    shown = f"[{name}]" if ":" in name else name
    return f"{parts.scheme}://{shown}" + (f":{port}" if port else "")


def _bad_host(conn_id: str, what: str) -> str:
    return f"The host of connection {conn_id!r} {what}: give {DEFAULT_HOST}, or leave it empty."
