"""The search for secrets finds what it is for, and only that."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.canary import Canaries, forms

ROOT: Final = Path(__file__).parents[2]
SECRET: Final = 'Ck/0123456789abcdef+"=&%<ffff'

LEAKS: Final = """
    import base64, json, logging, sqlite3, sys, warnings
    from airflow.sdk import Connection

    log = logging.getLogger("some.library")
    aside = logging.getLogger("aside")
    aside.propagate = False
    aside.addHandler(logging.NullHandler())

    def a_connection(key):
        return Connection(conn_id="c", conn_type="imagepipeline", password=key)

    def test_leak_the_password_of_a_connection(canary_key):
        log.info(a_connection(canary_key).password)

    def test_leak_a_whole_connection(canary_key):
        log.debug("using %r", a_connection(canary_key))

    def test_leak_a_signed_link(canary_signature):
        log.warning("fetching https://files.example/a.png?X-Amz-Signature=%s&x=1", canary_signature)

    def test_leak_aside(canary_key):
        aside.debug("key %s", canary_key)

    def test_leak_in_an_exception(canary_key):
        try:
            raise ValueError(canary_key)
        except ValueError:
            log.exception("it failed")

    def test_leak_in_the_cause_of_an_exception(canary_key):
        try:
            raise KeyError("plain") from ValueError(canary_key)
        except KeyError:
            log.exception("it failed")

    def test_leak_on_stdout(canary_key):
        print(json.dumps({"headers": {"API-Key": canary_key}}))

    def test_leak_on_stderr_in_base64(canary_key):
        print(base64.b64encode(f"user:{canary_key}!".encode()).decode(), file=sys.stderr)

    def test_leak_into_a_database(canaries, canary_key, tmp_path):
        database = sqlite3.connect(tmp_path / "airflow.db")
        canaries.watch(tmp_path)
        database.execute("create table trigger (kwargs text)")
        database.execute("insert into trigger values (?)", ("x" * 4090 + canary_key,))
        database.commit()
        database.close()

    def test_leak_into_a_value_that_is_watched(canaries, canary_key):
        xcom = {}
        canaries.watch(xcom, "XCom")
        xcom["headers"] = [canary_key]

    def test_leak_before_a_failure(canary_key):
        log.info(canary_key)
        raise OSError("the test itself fails")

    def test_keep_a_secret(canaries, canary_key, canary_signature, canary_prompt, tmp_path):
        (tmp_path / "log").write_text("job-1 submitted")
        canaries.watch(tmp_path)
        canaries.watch({"job_id": "job-1"})
        log.info("submitted %s to a host with a key of %d letters", "job-1", len(canary_key))

    def test_keep_a_secret_without_canaries():
        log.info("nothing is looked for")
"""


def ran(folder: Path, source: str) -> tuple[dict[str, str], str]:
    """Run tests in a process of their own; return how each ended, and all output."""
    lines = source.strip("\n").splitlines()
    indent = len(lines[0]) - len(lines[0].lstrip())
    (folder / "test_it.py").write_text("\n".join(line[indent:] for line in lines))
    options = ["-p", "tests.canary", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(folder), "-rA"]
    done = subprocess.run(  # noqa: S603 - this file's own text
        [sys.executable, "-m", "pytest", *options, str(folder / "test_it.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    ends = re.findall(r"^(PASSED|ERROR|FAILED) \S*::(\w+)", done.stdout, re.MULTILINE)
    return {name: end for end, name in sorted(ends, key=lambda pair: pair[0] != "PASSED")}, done.stdout + done.stderr


@pytest.mark.slow
def test_every_leak_fails_its_test_and_only_those(tmp_path: Path) -> None:
    ends, output = ran(tmp_path, LEAKS)
    assert len(ends) == LEAKS.count("def test_"), output
    assert {name for name, end in ends.items() if end == "PASSED"} == {name for name in ends if "_keep_" in name}, (
        output
    )
    assert "A secret got out:" in output
    assert "the API key (plain) stands in the log" in output
    assert "a link's signature (plain) stands in the log" in output
    assert "the API key (in base64" in output
    assert "stands in XCom" in output
    assert "airflow.db" in output


@pytest.mark.slow
def test_a_warning_fails_the_session(tmp_path: Path) -> None:
    source = """
    import warnings

    def test_it(canary_key):
        warnings.warn("using " + canary_key)
    """
    _, output = ran(tmp_path, source)
    assert "A secret got out: " in output
    assert "the API key (plain) stands in a warning" in output


@given(before=st.binary(max_size=7), after=st.binary(max_size=7))
def test_base64_is_found_whatever_stands_around(before: bytes, after: bytes) -> None:
    canaries = Canaries()
    canaries.add("it", SECRET)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        with pytest.raises(AssertionError, match="it \\(in base64"):
            canaries.watch(encode(before + SECRET.encode() + after).decode())


def test_what_is_found_is_not_shown() -> None:
    canaries = Canaries()
    canaries.add("it", SECRET)
    for text in forms(SECRET).values():
        with pytest.raises(AssertionError) as caught:
            canaries.watch(f"{SECRET} {text} {text}")
        assert not [form for form in forms(SECRET).values() if form in str(caught.value)]


def test_a_part_of_a_secret_is_not_the_secret() -> None:
    canaries = Canaries()
    canaries.add("it", SECRET)
    canaries.watch(SECRET[:-3])
    canaries.watch(base64.b64encode(SECRET[: len(SECRET) // 2].encode()).decode())


def test_a_word_that_stands_everywhere_is_no_canary() -> None:
    with pytest.raises(AssertionError, match="too short"):
        Canaries().add("it", "key")
