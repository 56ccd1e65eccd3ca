"""
What can go wrong between this provider and the API, told apart by class, never by text.

::

    ImagePipelineError
    ├─ InvalidParameters   a value was refused before any request (also a ValueError)
    ├─ Misconfigured       the connection leads to no usable API: nothing was accepted
    ├─ NotSent             the request did not reach the API: nothing was accepted
    ├─ Refused             the API understood and said no (4xx, 501)
    │  └─ Blocked          ... or what stands before it did: a page answered, not the API
    ├─ Busy                the API asks to come back later (429, 503 with Retry-After)
    ├─ Uncertain           the request may have been taken: no readable answer came
    ├─ Malformed           an answer came that the contract does not allow
    │  └─ WrongAnswer      ... since it speaks of another job
    ├─ DownloadFailed      a result could not be fetched; it may work later
    │  ├─ LinkExpired      ... with another link: the job must be looked at again
    │  └─ NotTheResult     ... since what came whole is no image: an error page, say
    ├─ ResultRefused       a result is more than this provider takes: too many bytes or pixels
    └─ LinkRefused         a link leads to where this provider does not go

Messages carry no key, no query string and at most 300 cleaned characters of remote text.
"""

from __future__ import annotations


class ImagePipelineError(Exception):
    """Base of everything the API side of this provider raises."""


class InvalidParameters(ImagePipelineError, ValueError):
    """A parameter is outside of what the API accepts; no request was made."""


class Misconfigured(ImagePipelineError):
    """The connection's settings cannot work (certificate, redirect, address); nothing was accepted."""


class NotSent(ImagePipelineError):
    """The request did not reach the API, so it may be sent again without paying twice."""


class Refused(ImagePipelineError):
    """
    The API refused the request and will refuse it again.

    :param message: the sentence for the reader.
    :param status: HTTP status of the answer.
    :param detail: the API's own words, cleaned, at most 300 characters; empty if it gave none.
    :param code: the API's own code (``INPUT_INVALID``, say); empty if it gave none.
    """

    def __init__(self, message: str, *, status: int, detail: str = "", code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail
        self.code = code


class Blocked(Refused):
    """A page answered in the API's place (a CDN's challenge, a firewall): the request did not reach the API."""


class Busy(ImagePipelineError):
    """
    The API did not take the request and asks to come back later.

    :param message: the sentence for the reader.
    :param retry_after: seconds the API asked for; None when it named no usable time.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Uncertain(ImagePipelineError):
    """No readable answer came after the request had left: it may have been taken, and paid for."""


class Malformed(ImagePipelineError):
    """The answer is not what the contract allows."""


class WrongAnswer(Malformed):
    """The answer does not belong to the request."""


class DownloadFailed(ImagePipelineError):
    """
    A result could not be fetched whole; the same link may work later.

    :param message: the sentence for the reader.
    :param retry_after: seconds the storage host asked for; None when it named no usable time.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LinkExpired(DownloadFailed):
    """The storage host does not give the file for this link any more; a fresh look at the job gives another."""


class NotTheResult(DownloadFailed):
    """What the storage host gave is no image of a known format, or compressed: an error page that says 200, say."""


class ResultRefused(ImagePipelineError):
    """A result has more bytes or pixels than this provider takes, whenever it is fetched."""


class LinkRefused(ImagePipelineError):
    """A link leads to where nothing is fetched from: not https, not public, or too many redirects."""
