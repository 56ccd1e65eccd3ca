"""Who sees what: nobody without a login, nothing without the right to read the DAG, and no trace of what exists."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from airflow_imagepipeline.plugins.workers import Overloaded, Workers
from tests.plugins.conftest import job, row

if TYPE_CHECKING:
    from tests.plugins.conftest import Tab


def pages(tab: Tab) -> dict[str, str]:
    """Return one address of every kind, each of which has something to show."""
    single = tab.task(job(tab.image()))
    batch = tab.task(tab.batch([row(0, "landed", tab.image("results/b-00.png"))]))
    return {
        "task": f"task/{single}",
        "batch": f"task/{batch}",
        "row": f"task/{batch}/rows/0",
        "run": f"run/{'/'.join(single.split('/')[:2])}",
        "image": f"image/{single}/job/0",
        "thumbnail": f"thumbnail/{single}/job/0",
        "image of a row": f"image/{batch}/0/0",
    }


def test_who_may_read_the_dag_sees_every_page(tab: Tab) -> None:
    assert {kind: tab.get(path).status_code for kind, path in pages(tab).items()} == dict.fromkeys(pages(tab), 200)


def test_who_is_not_logged_in_gets_401_everywhere(tab: Tab) -> None:
    for kind, path in pages(tab).items():
        answer = tab.get(path, role="")
        assert answer.status_code == 401, kind
        assert "s3://" not in answer.text, kind


def test_not_logged_in_comes_before_not_there(tab: Tab) -> None:
    assert tab.get("task/none/none/none/nonsense", role="").status_code == 401
    assert tab.get("image/none/none/none/-1/job/0", role="").status_code == 401


def test_who_may_not_read_the_dag_gets_what_a_dag_gives_that_does_not_exist(tab: Tab) -> None:
    there = pages(tab)
    for kind, path in there.items():
        start, dag_id, rest = path.split("/", 2)
        refused = tab.get(path, role=None)
        missing = tab.get(f"{start}/{'x' * len(dag_id)}/{rest}", role=None)
        missing_for_a_reader = tab.get(f"{start}/{'x' * len(dag_id)}/{rest}")
        assert refused.status_code == 404, kind
        assert refused.text == missing.text == missing_for_a_reader.text, kind
        assert dict(refused.headers) == dict(missing.headers) == dict(missing_for_a_reader.headers), kind


def test_each_dag_is_asked_for_by_its_own_name(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    mine, other = pages(tab), tab.task(job(tab.image("results/c-00.png")))
    allowed, asked = mine["task"].split("/")[1], []

    def authorized(_self: object, **question: object) -> bool:
        asked.append((question["method"], getattr(question["access_entity"], "value", None)))
        return getattr(question["details"], "id", None) == allowed

    monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", authorized)
    assert tab.get(mine["task"]).status_code == 200
    assert tab.get(f"task/{other}").status_code == 404
    assert tab.get(f"image/{other}/job/0").status_code == 404
    assert set(asked) >= {("GET", "TASK_INSTANCE"), ("GET", "XCOM")}


@pytest.mark.parametrize("entity", ["TASK_INSTANCE", "XCOM"])
def test_a_user_without_one_of_the_rights_sees_nothing(tab: Tab, monkeypatch: pytest.MonkeyPatch, entity: str) -> None:
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    monkeypatch.setattr(
        SimpleAuthManager,
        "is_authorized_dag",
        lambda _self, **question: getattr(question["access_entity"], "value", None) != entity,
    )
    assert {tab.get(path).status_code for path in pages(tab).values()} == {404}


def test_the_cookie_of_airflows_ui_is_enough(tab: Tab) -> None:
    from tests.plugins.conftest import _token

    path = pages(tab)["task"]
    assert tab.get(path, role="", Cookie=f"_token={_token('viewer')}").status_code == 200
    assert tab.get(path, role="", Cookie="_token=nonsense").status_code in {401, 403}


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_the_tab_can_only_be_read(tab: Tab, method: str) -> None:
    from tests.plugins.conftest import _token

    login = {"Authorization": f"Bearer {_token('admin')}"}
    for path in pages(tab).values():
        assert getattr(tab.client, method)(f"/imagepipeline/{path}", headers=login).status_code == 405


def test_every_answer_tells_the_browser_what_it_may_not_do(tab: Tab) -> None:
    single = pages(tab)
    answers = [tab.get(path) for path in single.values()]
    for answer in [*answers, tab.get("static/images.js"), tab.get("nothing/here"), tab.get(single["run"], role="")]:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "frame-ancestors 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "public" not in answer.headers["cache-control"]


def test_pages_hold_no_script_and_no_style_of_their_own(tab: Tab) -> None:
    for path in pages(tab).values():
        answer = tab.get(path)
        if answer.headers["content-type"].startswith("text/html"):
            assert " style=" not in answer.text
            assert "<style" not in answer.text
            assert " onload=" not in answer.text
            assert answer.text.count("<script") == answer.text.count("<script src=")
            assert "://" not in answer.text.replace("s3://", "")


@pytest.mark.slow
def test_importing_the_plugin_imports_no_web_framework() -> None:
    program = (
        "import sys, airflow.plugins_manager; before = set(sys.modules);"
        "import airflow_imagepipeline.plugins.imagepipeline;"
        "print(sorted(name for name in set(sys.modules) - before if not name.startswith('airflow_imagepipeline')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)  # noqa: S603 - this interpreter, a literal program
    assert done.stdout.splitlines()[-1] == "[]"


def test_too_many_at_once_are_refused_instead_of_piled_up() -> None:
    async def crowd() -> list[str]:
        workers = Workers("test", threads=1, waiting=2)
        gate = __import__("threading").Event()
        waiting = [asyncio.ensure_future(workers.run(gate.wait, 10)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await workers.run(gate.wait, 10)
        gate.set()
        await asyncio.gather(*waiting)
        return [await workers.run(str, "free again")]

    assert asyncio.run(crowd()) == ["free again"]


def test_nobody_waits_for_ever_for_a_storage_that_does_not_answer() -> None:
    async def patient() -> None:
        workers = Workers("test", threads=1, waiting=2, patience=0.05)
        gate = __import__("threading").Event()
        with pytest.raises(Overloaded, match="has not answered"):
            await workers.run(gate.wait, 10)
        gate.set()

    asyncio.run(patient())
