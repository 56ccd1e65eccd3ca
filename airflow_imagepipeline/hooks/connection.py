"""What a connection of type ``imagepipeline`` says: where the API is, and the key, kept in one place."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from airflow_imagepipeline.contract.addresses import is_loopback
from airflow_imagepipeline.contract.errors import Misconfigured

if TYPE_CHECKING:
    from airflow.sdk import Connection

DEFAULT_HOST: Final = "https://api.imagepipeline.io"
_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
_HOST_NAME: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*|[0-9a-fA-F.]*:[0-9a-fA-F:.]*")

_SHORTEST_HIDDEN: Final = 8


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
        """Return the header that carries the key. Nothing else hands it out."""
        return {key_header: self._key}

    def without_key(self, received: str) -> str:
        """
        Return text of the API without the key, should the API have repeated it, in the spellings of JSON and of links.

        A key of fewer than eight characters is left: such a word may well mean something else.
        """
        if len(self._key) < _SHORTEST_HIDDEN:
            return received
        escaped = json.dumps(self._key)[1:-1]
        for spelling in (escaped.replace("/", "\\/"), escaped, quote(self._key, safe=""), quote(self._key), self._key):
            received = received.replace(spelling, "***")
        return received

    @classmethod
    def from_connection(cls, connection: Connection) -> ApiAccess:
        """
        Read a connection.

        :raises Misconfigured: when key or host cannot be used; the message never holds the key.
        """
        access = cls(connection.conn_id or "", "", connection.password or "")
        host, schema, port = connection.host, connection.schema, connection.port
        # Error trackers collect the local variables of all frames, and a connection's repr holds its key.
        del connection
        access._refuse_unfit_key()
        return replace(access, origin=_origin(access.conn_id, host, schema, port))

    def _refuse_unfit_key(self) -> None:
        if not self._key:
            msg = f"Connection {self.conn_id!r} holds no API key: put it into the password."
            raise Misconfigured(msg)
        # A line break in the key would start a header of its own; the HTTP libraries would print the value.
        if re.search(r"[^\x21-\x7e]", self._key):
            msg = f"The API key of connection {self.conn_id!r} holds a space, a line break or a foreign letter: "
            raise Misconfigured(msg + "paste it again.")


def _origin(conn_id: str, host: str | None, schema: str | None, usual_port: int | None) -> str:
    host = (host or DEFAULT_HOST).strip()
    address = host if "://" in host else f"{schema or 'https'}://{host}"
    try:
        parts = urlsplit(address)
        name, port = parts.hostname or "", parts.port or usual_port
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
