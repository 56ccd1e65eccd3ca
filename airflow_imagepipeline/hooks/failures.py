"""
Which class of the contract an error of an HTTP library has: whether the request had left decides about money.

Both libraries tell the same failure in their own ways; here, and only here, they are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_imagepipeline.contract.errors import ImagePipelineError, Misconfigured, NotSent, Uncertain

if TYPE_CHECKING:
    import requests
    from urllib3.exceptions import LocationParseError


def named_requests(error: requests.RequestException | LocationParseError, source: str) -> ImagePipelineError:
    """Return what an error of requests means; what is not known to have stopped the request counts as uncertain."""
    import requests
    from urllib3 import exceptions as urllib3

    if isinstance(error, urllib3.LocationParseError):
        # Raised past requests for a name that cannot be looked up, a proxy's say: no connection was tried.
        return _not_formed(source, type(error).__name__)
    cause = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(cause, urllib3.ProxyError):
        cause = cause.original_error
    name = type(cause or error).__name__
    if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(cause):
        return _bad_certificate(source, _verify_reason(str(cause)))
    # With a request of its own, an InvalidHeader is one of the answer: the request had left.
    is_ours = isinstance(error, requests.exceptions.InvalidHeader) and error.request is None
    if is_ours or isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return _not_formed(source, name)
    not_connected = (urllib3.ConnectTimeoutError, urllib3.NewConnectionError, urllib3.NameResolutionError)
    if isinstance(error, requests.ConnectTimeout) or isinstance(cause, not_connected):
        return _not_sent(source, name)
    if isinstance(error, requests.exceptions.ProxyError) and "Tunnel" in str(cause):
        return _no_tunnel(source, str(cause))
    return _uncertain(source, name)


def named_aiohttp(error: Exception, source: str) -> ImagePipelineError:
    """Return what an error of aiohttp means; what is not known to have stopped the request counts as uncertain."""
    import aiohttp

    name = type(error).__name__
    # From the special to the general: a connector error is also a ClientOSError, a connect timeout also a timeout.
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _bad_certificate(source, _verify_reason(str(error.certificate_error)))
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return _no_tunnel(source, str(error.status))
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return _uncertain(source, name)
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return _not_sent(source, name)
    if isinstance(error, aiohttp.InvalidURL) or not isinstance(error, aiohttp.ClientError | TimeoutError):
        return _not_formed(source, name)
    return _uncertain(source, name)


def _not_formed(source: str, name: str) -> Misconfigured:
    return Misconfigured(
        f"{source} could not be formed ({name}): check the host and the key of the connection, and the proxy if there "
        "is one."
    )


def _verify_reason(text: str) -> str:
    return text.partition("CERTIFICATE_VERIFY_FAILED] ")[2].partition(" (_ssl")[0][:160]


def _bad_certificate(source: str, reason: str) -> Misconfigured:
    return Misconfigured(
        f"{source} was not sent: the server's certificate is not valid ({reason}). Check the host of the connection."
    )


def _not_sent(source: str, name: str) -> NotSent:
    return NotSent(f"{source} was not sent: no connection to the host ({name}).")


def _no_tunnel(source: str, said: str) -> ImagePipelineError:
    if "407" in said:
        return Misconfigured(f"{source} was not sent: the proxy asks for credentials (407).")
    return _not_sent(source, "ProxyError")


def _uncertain(source: str, name: str) -> Uncertain:
    return Uncertain(f"{source} had left when the connection failed ({name}): no readable answer came.")
