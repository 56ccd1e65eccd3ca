"""Links to images that carry their own authorization, like those of the vendor's object storage.

A link's token is signed, not stored: any number of links to one image can be alive, and none of them takes memory.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from .encoding import FileFormat

FILES_PATH = "/_emulator/files"

_TOKEN = re.compile(r"3_(?P<stem>[0-9a-f]{16}_(?P<expiry>[0-9]{1,20}))_[0-9a-f]{40}_dnld")


class LinkSigner:
    """Makes and checks result links; links of another signer are never accepted."""

    def __init__(self) -> None:
        """Draw the secret that signs the links."""
        self._secret = secrets.token_bytes(32)

    def link(self, base_url: str, job_id: str, index: int, file: FileFormat, *, seconds: float) -> str:
        """Make a fresh link to one image.

        :param base_url: scheme, host and port that the link leads to.
        :param job_id: the job that the image belongs to.
        :param index: the image's place among the samples, from 0.
        :param file: the image's format.
        :param seconds: the link's lifetime; with 0 or less the link is born dead.
        :return: the link.
        """
        expiry = math.ceil((time.time() + seconds) * 1000) if seconds > 0 else 0
        token = self._token(job_id, index, f"{secrets.token_hex(8)}_{expiry}")
        query = urlencode({"Authorization": token, "b2ContentType": file.media_type})
        return f"{base_url.rstrip('/')}{FILES_PATH}/{job_id}/{index}.{file.suffix}?{query}"

    def allows(self, token: str, job_id: str, index: int) -> bool:
        """Say whether a token opens an image now.

        :param token: the ``Authorization`` of a link's query.
        :param job_id: the job in the link's path.
        :param index: the image in the link's path.
        :return: False when the token is not this signer's, is for another image, or has expired.
        """
        match = _TOKEN.fullmatch(token)
        if match is None:
            return False
        expected = self._token(job_id, index, match["stem"])
        return hmac.compare_digest(token, expected) and time.time() * 1000 < int(match["expiry"])

    def _token(self, job_id: str, index: int, stem: str) -> str:
        signed = hmac.new(self._secret, f"{job_id}/{index}/{stem}".encode(), hashlib.sha256)
        return f"3_{stem}_{signed.hexdigest()[:40]}_dnld"
