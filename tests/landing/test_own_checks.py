"""The user's own checks: found by name before anything is paid for, and asked about every result."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_imagepipeline.contract.errors import InvalidParameters
from airflow_imagepipeline.landing.own_checks import own_checks, resolved

SHOP = '''
"""What a user might write."""
asked = []
not_a_function = 3


def fine(result, original):
    asked.append((result, original))


def fine_as_true(result, original):
    return True


def fine_as_nothing(result, original):
    return ""


def no_logo(result, original):
    return "there is no logo\\nin the corner."


def false(result, original):
    return False


def number(result, original):
    return 3


class bool_:  # as NumPy calls what a comparison gives
    def __init__(self, value):
        self.value = value

    def __bool__(self):
        return self.value


def true_of_numpy(result, original):
    return bool_(True)


def false_of_numpy(result, original):
    return bool_(False)


def of_one(result):
    return None


def of_three(result, original, threshold):
    return None


def of_any(*paths, threshold=1):
    return None


def broken(result, original):
    raise KeyError("canary-5521")
'''


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a module with checks, importable during the test."""
    name = f"shop_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(SHOP)
    (tmp_path / f"{name}_broken.py").write_text("raise RuntimeError('canary-5521')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


RESULT, ORIGINAL = Path("/result.png"), Path("/original.jpg")


def test_a_check_is_asked_with_the_paths_as_text(shop: str) -> None:
    checks = resolved([f"{shop}.fine"])
    assert own_checks(checks, RESULT, ORIGINAL) == []
    assert own_checks(checks, RESULT, None) == []
    asked = checks[f"{shop}.fine"].__globals__["asked"]
    assert asked == [("/result.png", "/original.jpg"), ("/result.png", None)]


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        ("fine", None),
        ("fine_as_true", None),
        ("fine_as_nothing", None),
        ("no_logo", "there is no logo in the corner"),
        ("false", "it returned False"),
        ("true_of_numpy", None),
        ("false_of_numpy", "it returned False"),
        ("of_any", None),
        ("broken", "it raised KeyError"),
        ("number", "it returned int; a check returns None or True for good, or the reason as a text"),
    ],
)
def test_what_a_check_returns_decides(shop: str, check: str, reason: str | None) -> None:
    name = f"{shop}.{check}"
    assert own_checks([name], RESULT, ORIGINAL) == ([f"{name} refused it: {reason}."] if reason else [])


def test_every_check_is_asked_although_one_fails(shop: str) -> None:
    reasons = own_checks([f"{shop}.{check}" for check in ("broken", "no_logo", "fine")], RESULT, None)
    assert [reason.split(" refused")[0] for reason in reasons] == [f"{shop}.broken", f"{shop}.no_logo"]
    assert "canary" not in str(reasons)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module_at_all.check", r"no_such_module_at_all cannot be imported here \(ModuleNotFoundError\): give"),
        ("{shop}.no_such_check", "{shop} has no function 'no_such_check'"),
        ("{shop}.not_a_function", "{shop} has no function 'not_a_function'"),
        ("{shop}.of_one", "{shop}.of_one cannot be called with two paths: write it as def check"),
        ("{shop}.of_three", "{shop}.of_three cannot be called with two paths: write it as def check"),
        ("{shop}_broken.check", r"{shop}_broken cannot be imported here \(RuntimeError\): give"),
    ],
)
def test_a_check_that_cannot_be_found_is_refused(shop: str, name: str, message: str) -> None:
    with pytest.raises(InvalidParameters, match=f"accept: checks: {message.replace('{shop}', shop)}") as caught:
        resolved([f"{shop}.fine", name.format(shop=shop)])
    assert "canary" not in str(caught.value)
