"""
Which way requests to the API take: the proxy and the certificate authorities, read in one way for both libraries.

Results are fetched past every proxy (see ``hooks.download``).
"""

from __future__ import annotations

import os
import ssl
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from airflow_imagepipeline.contract.errors import Misconfigured

if TYPE_CHECKING:
    from airflow_imagepipeline.hooks.connection import ApiAccess

_AUTHORITIES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables that name authorities, the first one that is set counts."""
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def proxy_for(origin: str) -> str | None:
    """
    Return the proxy that the environment names for an origin, with its scheme; None when there is none.

    ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy`` are read in small and in capital letters, as
    requests reads them: a proxy may lack its scheme, ``no_proxy`` may hold ports, networks and leading points.
    """
    return _proxy_for(origin, tuple(os.environ.get(form) for name in _PROXIES for form in (name, name.upper())))


# Every poll asks, and reading all of the environment takes a hundred times as long as these few names.
@lru_cache(maxsize=32)
def _proxy_for(origin: str, _environment: tuple[str | None, ...]) -> str | None:
    from requests.utils import get_environ_proxies, select_proxy

    proxy = select_proxy(origin, get_environ_proxies(origin))
    return f"http://{proxy.removeprefix('//')}" if proxy and "://" not in proxy else proxy


def authorities_for(access: ApiAccess, source: str) -> str | Literal[True]:
    """
    Return the file or folder of certificate authorities to trust: the connection's, else what the environment names.

    :param source: what an error's sentence calls the request.
    :return: True for those that the library trusts by itself.
    :raises Misconfigured: naming what leads to a place where none are.
    """
    if urlsplit(access.origin).scheme != "https":
        return True
    named = [(f"ca_bundle of connection {access.conn_id!r}", access.ca_bundle)]
    named += [(name, os.environ.get(name)) for name in _AUTHORITIES]
    name, path = next(((name, path) for name, path in named if path), ("", None))
    if path is None:
        return True
    try:
        tls_context(path)
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "reason", None) or getattr(exc, "strerror", None) or type(exc).__name__
        msg = f"{source} was not sent: {name} names {path}, where no certificate authorities can be read ({reason})."
        raise Misconfigured(msg) from None
    return path


def tls_context(authorities: str | Literal[True]) -> ssl.SSLContext | Literal[True]:
    """
    Return what TLS connections are checked by.

    :param authorities: file or folder; True means those that the library trusts by itself.
    :raises OSError: when there are none.
    """
    if authorities is True:
        return True
    return _tls_context(authorities, Path(authorities).stat().st_mtime_ns)


# Reading a usual bundle takes 20 ms, and every poll needs one. A file that is replaced is read again.
@lru_cache(maxsize=8)
def _tls_context(authorities: str, _changed_at: int) -> ssl.SSLContext:
    if Path(authorities).is_dir():
        return ssl.create_default_context(capath=authorities)
    return ssl.create_default_context(cafile=authorities)
