"""
Tell what an input is, so that equal work has an equal key whenever and wherever it is planned.

An object on S3 is its bucket, key, ETag and size; a file is its bytes (and its address, which the request holds); a
link is its address without what signs it. A photo that is replaced under the same link is therefore *not* noticed: a
column ``version`` in its row says that it is another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Final, TypeVar

from airflow_imagepipeline.contract.links import is_file, link_identity

THREADS: Final = 16
WINDOW: Final = 32
"""Inputs that are asked about at a time, at most."""
_REMEMBERED: Final = 256

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Identities:
    """
    What inputs are; it serves many threads.

    :param aws_conn_id: connection for ``s3://``.
    :param identity: returns what of a link names its image.
    :param upload: whether the vendor gets copies of objects, not signed links to them.
    """

    def __init__(
        self, aws_conn_id: str | None, identity: Callable[[str], str] = link_identity, *, upload: bool = False
    ) -> None:
        from airflow_imagepipeline.storage.inputs import InputTags

        self._identity = identity
        # A picture that many rows share, a logo say, is asked for once.
        self._tag = lru_cache(maxsize=_REMEMBERED)(InputTags(aws_conn_id, upload=upload).of)

    def of(self, address: str, *, tag: str = "", version: str = "") -> tuple[str, ...]:
        """
        Return what an input is.

        :param address: of the input image, as the parameters take it.
        :param tag: ``ETag:size`` of an object, where it is known; else it is asked for.
        :param version: the user's word for which version of the input it is; empty where there is none.
        :raises InvalidParameters: when there is no such input, or it may not be read.
        :raises NotSent: when the storage does not answer well.
        """
        if address.startswith("s3://"):
            bucket, _, key = address.removeprefix("s3://").partition("/")
            return "s3", bucket, key, tag.replace('"', "") or self._tag(address), version
        if is_file(address):
            return "file", self._tag(address), version
        return "link", self._identity(address), version


def in_order(
    function: Callable[[Item], Answer], items: Iterable[Item], *, threads: int = THREADS, window: int = WINDOW
) -> Iterator[Answer]:
    """
    Yield what a function returns for each item, in the order of the items, while threads work ahead.

    :param window: items that are taken ahead of what was yielded, at most.
    """
    pending: deque[Future[Answer]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="imagepipeline-inputs") as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= window:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            # Else what is still in line would be asked for, though nobody reads it.
            pool.shutdown(wait=False, cancel_futures=True)
