"""How much memory this process has taken at most since a moment, as Linux says; not what its parent took before."""

from __future__ import annotations

from pathlib import Path

_OWN = Path("/proc/self")
_FORGET_THE_PEAK = "5"


def marked() -> int:
    """Forget the peak so far, and return what is taken now, in kB."""
    (_OWN / "clear_refs").write_text(_FORGET_THE_PEAK)
    return _kilobytes("VmHWM")


def grown(before: int) -> int:
    """Return by how many kB the peak has grown since."""
    return _kilobytes("VmHWM") - before


def _kilobytes(name: str) -> int:
    found = next(line for line in (_OWN / "status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(found.split()[1])
