"""The tree of errors is the one that is drawn."""

from __future__ import annotations

import inspect
import re

import pytest

from airflow_imagepipeline.contract import errors

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__]


def drawn() -> dict[str, str]:
    """Return each class of the drawing with the class it hangs from."""
    parents: list[tuple[int, str]] = [(-1, "")]
    tree = {}
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"    ([ │├└─]*)([A-Z]\w+)", line):
            depth, name = len(found[1]), found[2]
            parents = [(at, parent) for at, parent in parents if at < depth]
            tree[name] = parents[-1][1]
            parents.append((depth, name))
    return tree


def test_the_drawing_shows_every_class_under_its_parent() -> None:
    below = {cls: cls.__bases__[0].__name__ for cls in CLASSES if cls is not errors.ImagePipelineError}
    assert drawn() == {"ImagePipelineError": "", **{cls.__name__: parent for cls, parent in below.items()}}


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_of_the_contract_is_caught_by_its_base(cls: type[Exception]) -> None:
    assert issubclass(cls, errors.ImagePipelineError)


def test_invalid_parameters_are_a_value_error() -> None:
    assert issubclass(errors.InvalidParameters, ValueError)


def test_data_is_on_attributes() -> None:
    refused = errors.Refused("no", status=402, detail="no credits")
    assert (str(refused), refused.status, refused.detail) == ("no", 402, "no credits")
    assert errors.Busy("later").retry_after is None
    assert errors.Busy("later", retry_after=3.0).retry_after == 3.0
    assert errors.DownloadFailed("later").retry_after is None
