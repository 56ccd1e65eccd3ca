"""The user's own checks of a result: functions found by their dotted names, and asked one after the other."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.contract.text import cleaned

Check: TypeAlias = Callable[[str, str | None], Any]
"""Called with the paths of a result and of its input (None where there is none); returns why the result is bad."""

# A comparison of numbers of NumPy gives one of these, which is no bool of Python.
_BOOLEANS: Final = frozenset({"bool", "bool_"})


def resolved(names: Iterable[str]) -> dict[str, Check]:
    """
    Return the functions of these names. To be asked before anything is submitted: an unknown name costs nothing then.

    :param names: ``module.function``, importable where the task runs.
    :raises InvalidParameters: when a module cannot be imported, has no such function, or has one that cannot be called
        with two paths.
    """
    return {name: _function(name) for name in names}


def _function(name: str) -> Check:
    module_name, _, function_name = name.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except Exception as exc:  # a module of the user's may fail in any way
        msg = (
            f"accept: checks: {cleaned(module_name, 120)} cannot be imported here ({type(exc).__name__}): give the "
            "dotted name of a function that the workers can import."
        )
        raise InvalidParameters(msg) from exc
    found: Any = getattr(module, function_name, None)
    if not callable(found):
        msg = f"accept: checks: {cleaned(module_name, 120)} has no function {cleaned(function_name, 80)!r}"
        raise InvalidParameters(msg)
    if not _takes_two(found):
        msg = (
            f"accept: checks: {cleaned(name, 200)} cannot be called with two paths: write it as "
            "def check(result, original)"
        )
        raise InvalidParameters(msg)
    check: Check = found
    return check


def _takes_two(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind("result", None)
    except TypeError:
        return False
    except ValueError:
        pass  # one that is written in C does not say
    return True


def own_checks(checks: Mapping[str, Check] | Iterable[str], result: Path, original: Path | None) -> list[str]:
    """
    Return what the user's checks have against a result, a sentence for each that has something.

    :param checks: what :func:`resolved` returned, or names.
    :param result: a file that was found to be a whole image; a check must not change it.
    :param original: the input; None where it could not be had.
    """
    functions = checks if isinstance(checks, Mapping) else resolved(checks)
    said = ((name, _said(check, result, original)) for name, check in functions.items())
    return [f"{name} refused it: {reason}." for name, reason in said if reason]


def _said(check: Check, result: Path, original: Path | None) -> str:
    try:
        answer = check(str(result), str(original) if original else None)
    except Exception as exc:  # noqa: BLE001 - a check that fails, however it does, has not found the result good
        # Its words may hold anything, links and paths of this machine too.
        return f"it raised {type(exc).__name__}"
    if isinstance(answer, str):
        return cleaned(answer).rstrip(".")
    if answer is None:
        return ""
    if type(answer).__name__ in _BOOLEANS:
        return "" if answer else "it returned False"
    return f"it returned {type(answer).__name__}; a check returns None or True for good, or the reason as a text"
