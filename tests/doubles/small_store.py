"""An S3 in a few lines, with the habits of stores that are not AWS: each is what users of that store have reported.

::

    store = SmallStore(refuses={"if-none-match": (501, "NotImplemented")})
    with ScriptedServer({"* /": store.answer}) as server: ...
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

from tests.faults.instructions import answer

if TYPE_CHECKING:
    from tests.faults.exchange import Instruction
    from tests.faults.wire import Request

_XML = {"Content-Type": "application/xml"}
_SENTENCE = "A header you provided implies functionality that is not implemented"


class SmallStore:
    """Objects in memory.

    :param refuses: headers of a PUT (beginnings of their names, lower case) to the status and code they are refused
        with.
    :param ignores_conditions: write whatever ``If-None-Match`` says.
    :param removes_many: know the request that removes many objects.
    :param region: what the bucket's own is said to be; None says nothing.
    """

    def __init__(
        self,
        refuses: Mapping[str, tuple[int, str]] | None = None,
        *,
        ignores_conditions: bool = False,
        removes_many: bool = True,
        region: str | None = None,
    ) -> None:
        """Begin empty."""
        self._refuses = refuses or {}
        self._ignores_conditions = ignores_conditions
        self._removes_many = removes_many
        self._region = {} if region is None else {"x-amz-bucket-region": region}
        self.objects: dict[str, bytes] = {}
        self._headers: dict[str, dict[str, str]] = {}
        self._classes: dict[str, str] = {}

    def put(self, key: str, content: bytes, *, storage_class: str = "STANDARD") -> None:
        """Put an object there as somebody else."""
        self.objects[key], self._headers[key], self._classes[key] = content, {}, storage_class

    def answer(self, request: Request) -> Instruction:
        """Answer a request to ``/bucket`` or ``/bucket/key``."""
        key = unquote(request.path).lstrip("/").partition("/")[2]
        if request.method == "PUT":
            return self._put(key, request)
        if request.method == "POST":
            return self._remove_many(request)
        if request.method == "DELETE":
            self.objects.pop(key, None)
            return answer(204)
        if key:
            return self._get(key, request)
        return answer(200, headers=self._region) if request.method == "HEAD" else self._list(request)

    def _put(self, key: str, request: Request) -> Instruction:
        for name, value in request.headers:
            for start, (status, code) in self._refuses.items():
                if name.lower().startswith(start):
                    return _error(status, code, f"{_SENTENCE}: {name}: {value}")
        if request.header("If-None-Match") and key in self.objects and not self._ignores_conditions:
            return _error(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
        self.objects[key] = request.body
        kept = ("content-type", "x-amz-meta-")
        self._headers[key] = {name: value for name, value in request.headers if name.lower().startswith(kept)}
        return answer(200, headers={"ETag": _tag(request.body)})

    def _remove_many(self, request: Request) -> Instruction:
        if not self._removes_many:
            return _error(501, "NotImplemented", "DeleteObjects is not implemented")
        if not request.header("Content-MD5") and not any("checksum" in name.lower() for name, _ in request.headers):
            return _error(400, "InvalidRequest", "Missing required header for this request: Content-MD5")
        for key in re.findall(rb"<Key>(.*?)</Key>", request.body):
            self.objects.pop(key.decode(), None)
        return answer(200, "<DeleteResult/>", headers=_XML)

    def _get(self, key: str, request: Request) -> Instruction:
        if key not in self.objects:
            return _error(404, "NoSuchKey", "The specified key does not exist.")
        if self._classes.get(key) in {"GLACIER", "DEEP_ARCHIVE"}:
            return _error(403, "InvalidObjectState", "The operation is not valid for the object's storage class")
        content, headers = self.objects[key], {**self._headers[key], "ETag": _tag(self.objects[key])}
        if request.header("Range") == "bytes=0-0":
            if not content:
                return _error(416, "InvalidRange", "The requested range is not satisfiable")
            return answer(206, content[:1], headers={**headers, "Content-Range": f"bytes 0-0/{len(content)}"})
        return answer(200, content, headers=headers)

    def _list(self, request: Request) -> Instruction:
        prefix = parse_qs(request.query).get("prefix", [""])[0]
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size><ETag>{_tag(content)}</ETag>"
            f"<StorageClass>{self._classes.get(key, 'STANDARD')}</StorageClass></Contents>"
            for key, content in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return answer(200, f"<ListBucketResult>{found}</ListBucketResult>", headers=_XML)


def _tag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


def _error(status: int, code: str, sentence: str) -> Instruction:
    body = f"<Error><Code>{code}</Code><Message>{escape(sentence)}</Message></Error>"
    return answer(status, body, headers=_XML)
