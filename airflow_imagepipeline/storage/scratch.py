"""Private folders of this machine, removed in every case, also after their process was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final

_PREFIX: Final = "imagepipeline-"
_LEFT_AFTER: Final = 24 * 3600.0
"""Seconds without a change after which a folder that no process holds was left behind."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """
    Make a folder that only this user can read, and remove it in the end.

    The first call of a process also removes what killed processes of this user left on this machine more than a day
    ago.
    """
    _remove_left_behind(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # The lock ends with the process, however that ends. Some network file systems have none.
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield Path(folder)
        finally:
            os.close(descriptor)


@cache
def _remove_left_behind(place: str) -> None:
    with suppress(OSError), os.scandir(place) as found:
        for entry in found:
            # Other processes of this user remove the same folders meanwhile.
            with suppress(OSError):
                if entry.name.startswith(_PREFIX) and entry.is_dir(follow_symlinks=False):
                    _remove_if_left(entry.path)


def _remove_if_left(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        facts = os.fstat(descriptor)
        # A folder of a person or of another program may begin with the same word, but is rarely private.
        if facts.st_uid != os.geteuid() or stat.S_IMODE(facts.st_mode) != stat.S_IRWXU:
            return
        changed = [facts.st_mtime, *(entry.stat(follow_symlinks=False).st_mtime for entry in os.scandir(descriptor))]
        if max(changed) < time.time() - _LEFT_AFTER:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
    finally:
        os.close(descriptor)
