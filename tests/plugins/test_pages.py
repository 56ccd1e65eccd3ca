"""What stands on the pages: before and after, how it was made, why there is nothing, and only ever as text."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from airflow_imagepipeline.contract.manifest import RowOutcome
from airflow_imagepipeline.plugins import words
from airflow_imagepipeline.plugins.answers import PAGES
from tests.plugins.conftest import PICTURE, RUN, job, row, summary

if TYPE_CHECKING:
    from tests.plugins.conftest import Tab

MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


def sidecar(tab: Tab, image: dict[str, Any], **more: Any) -> None:
    """Write the sidecar of an image."""
    facts = {name: image[name] for name in ("sha256", "bytes", "format", "width", "height")}
    note = {
        "v": 1, "file": image["uri"].rpartition("/")[2], **facts, "api": "edit/image/v1", "job_id": "job-1", "seed": 7,
        "submitted_at": 1.0, "landed_at": 2.0, "fingerprint": None, "request": {}, "inputs": [], "cost": {},
        "checks": {}, "dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "package": "p", **more,
    }  # fmt: skip
    tab.put(image["uri"].split("/", 3)[3] + ".json", json.dumps(note).encode())


def test_a_job_shows_before_and_after_and_how_it_was_made(tab: Tab) -> None:
    source, image = tab.put("photos/cup.png", PICTURE), tab.image()
    sidecar(
        tab, image, request={"prompt": "a red cup", "guidance_scale": 4.5}, checks={"sharpness": 0.8, "ok": True},
        inputs=[{"address": source, "sha256": image["sha256"], "version": None}],
    )  # fmt: skip
    path = tab.task(job(image, cost={"cost_usd": 0.0125}))
    page = tab.get(f"task/{path}").text
    for text in ("a red cup", "Guidance scale", "4.5", "job-1", "$0.0125", "Sharpness", "yes", source, image["uri"]):
        assert text in page
    assert 'type="range"' in page
    assert tab.get(f"image/{path}/job/0").content == PICTURE
    assert tab.get(f"image/{path}/job/input").content == PICTURE


def test_samples_of_one_job_are_chosen_by_their_number(tab: Tab) -> None:
    images = [tab.image(f"results/a-{number:02d}.png", width=400 + number) for number in range(3)]
    path = tab.task(job(*images))
    assert "402 \u00d7 300 pixels" in tab.get(f"task/{path}?image=2").text
    assert "402 \u00d7 300 pixels" in tab.get(f"task/{path}?image=99").text
    assert "400 \u00d7 300 pixels" in tab.get(f"task/{path}?image=-1").text
    assert tab.get(f"task/{path}").text.count("/job/") == 1 + 3


def test_the_placeholder_of_airflow_means_a_task_that_is_not_mapped(tab: Tab) -> None:
    path = tab.task(job(tab.image()))
    assert tab.get(f"task/{path.removesuffix('-1')}%7BMAP_INDEX%7D").status_code == 200


def test_a_mapped_task_without_an_index_lists_its_instances(tab: Tab) -> None:
    path = tab.task(job(tab.image()), map_index=0)
    dag_id = path.split("/", maxsplit=1)[0]
    tab.task(job(tab.image("results/b-00.png")), dag_id=dag_id, map_index=1)
    tab.task(job(tab.image("results/c-00.png")), dag_id=dag_id, task_id="other")
    page = tab.get(f"task/{path[:-1]}%7BMAP_INDEX%7D").text
    assert "edit [0]" in page
    assert "edit [1]" in page
    assert "other" not in page


@pytest.mark.real_input("F5")
def test_an_instance_is_called_as_its_map_index_template_says(tab: Tab) -> None:
    path = tab.task(job(tab.image()), map_index=0, label="sku1 <front>")
    dag_id = path.split("/", maxsplit=1)[0]
    tab.task(job(tab.image("results/b-00.png")), dag_id=dag_id, map_index=1)
    for page in (f"run/{dag_id}/{RUN}", f"task/{path[:-1]}%7BMAP_INDEX%7D"):
        text = tab.get(page).text
        assert "edit [sku1 &lt;front&gt;]" in text
        assert "edit [1]" in text
    assert "<title>edit [sku1 &lt;front&gt;]</title>" in tab.get(f"task/{path}").text


@pytest.mark.real_input("F5")
@pytest.mark.parametrize(
    "result",
    [
        job(),
        job(status="PENDING"),
        {**job(), "download_urls": ["https://x/1.png"]},
        {"pairs": 1, "counts": 2, "manifest": 3, "ledger": 4},
    ],
    ids=["no image", "only submitted", "links of the vendor", "a stranger's"],
)
def test_a_run_does_not_list_a_task_that_has_nothing_to_be_seen(tab: Tab, result: dict[str, Any]) -> None:
    dag_id = tab.task(job(tab.image())).split("/", maxsplit=1)[0]
    tab.task(result, dag_id=dag_id, task_id="without")
    page = tab.get(f"run/{dag_id}/{RUN}").text
    assert page.count('class="card"') == 1
    assert "without" not in page


def test_a_run_lists_the_tasks_that_made_images_and_no_others(tab: Tab) -> None:
    path = tab.task(job(tab.image()))
    dag_id, run = path.split("/")[:2]
    rows = [row(0, "landed"), row(1, "failed")]
    tab.task(tab.batch(rows), dag_id=dag_id, task_id="batch")
    tab.task({"job_id": 5, "submitted_at": "no"}, dag_id=dag_id, task_id="stranger")
    tab.task("a text", dag_id=dag_id, task_id="text")
    page = tab.get(f"run/{dag_id}/{run}").text
    assert "edit</span>" in page
    assert "batch</span>" in page
    assert "stranger" not in page
    assert "text</span>" not in page
    assert tab.get(f"run/{dag_id}/other").status_code == 404


def test_a_run_of_many_tasks_is_paged(tab: Tab) -> None:
    image = tab.image()
    dag_id = tab.task(job(image), map_index=0).split("/", maxsplit=1)[0]
    for index in range(1, 30):
        tab.task(job(image), dag_id=dag_id, map_index=index)
    first, second = (tab.get(f"run/{dag_id}/{RUN}?page={number}").text for number in (1, 2))
    assert (first.count('class="card"'), second.count('class="card"')) == (24, 6)
    assert "edit [29]" in second


def test_a_page_that_a_run_does_not_have_is_its_last(tab: Tab) -> None:
    dag_id = tab.task(job(tab.image()), task_id="zzz").split("/", maxsplit=1)[0]
    assert "zzz</span>" in tab.get(f"run/{dag_id}/{RUN}?page=9").text
    for index in range(24):
        tab.task({"manifest": 1, "ledger": index}, dag_id=dag_id, task_id="stranger", map_index=index)
    first, second = (tab.get(f"run/{dag_id}/{RUN}?page={number}").text for number in (1, 2))
    assert "No images in this run yet" not in first
    assert ('href="?page=2"' in first, "zzz</span>" in second) == (True, True)


@pytest.mark.parametrize(
    ("result", "state", "said"),
    [
        pytest.param(None, "running", "No images yet", id="a task that runs"),
        pytest.param(None, None, "has not started", id="a task that waits for its turn"),
        pytest.param(None, "failed", "Its log says why", id="a task that failed"),
        pytest.param({"a": 1}, "success", "has no images of ImagePipeline", id="somebody else's result"),
        pytest.param([1, 2], "success", "has no images of ImagePipeline", id="a list"),
        pytest.param(job(status="PENDING"), "success", "nobody waited", id="a job that was only submitted"),
        pytest.param(
            {**job(), "download_urls": ["https://x/1.png"]}, "success", "were not stored", id="links of the vendor"
        ),
        pytest.param(summary("s3://nowhere-at-all/m.jsonl", []), "success", "manifest", id="a manifest that is gone"),
        pytest.param(summary("https://evil.example/m", []), "success", "outside of your storage", id="a web manifest"),
        pytest.param(
            {**job(), "more": "x" * 100_000},
            "success",
            "has no images of ImagePipeline",
            id="a result too large to be ours",
        ),
    ],
)
def test_where_there_is_nothing_the_page_says_why(tab: Tab, result: Any, state: str | None, said: str) -> None:
    answer = tab.get(f"task/{tab.task(result, state=state)}")
    assert answer.status_code == 200
    assert said in answer.text
    assert "https://x/1.png" not in answer.text


def test_a_value_stored_as_text_by_an_older_airflow_is_understood(tab: Tab) -> None:
    assert "400 \u00d7 300" in tab.get(f"task/{tab.task(json.dumps(job(tab.image())))}").text


def test_an_input_of_the_web_is_shown_as_text_and_never_fetched(tab: Tab) -> None:
    image = tab.image()
    address = "https://photos.example/cup.png?X-Amz-Signature=secret"
    sidecar(tab, image, inputs=[{"address": address, "sha256": None, "version": None}])
    path = tab.task(job(image))
    page = tab.get(f"task/{path}").text
    assert "https://photos.example/cup.png" in page
    assert "secret" not in page
    assert "/job/input" not in page
    refused = tab.get(f"image/{path}/job/input")
    assert (refused.status_code, "outside of your storage" in refused.text) == (404, True)


def test_without_a_sidecar_the_inputs_are_those_of_the_rendered_fields(tab: Tab) -> None:
    source = tab.put("photos/cup.png", PICTURE)
    path = tab.task(job(tab.image()), rendered={"input_image": [source], "aws_conn_id": "None"})
    assert tab.get(f"image/{path}/job/input").content == PICTURE


def test_the_connection_of_the_task_is_the_one_that_is_used(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.doubles.moto_server import aws_connection

    path = tab.task(job(tab.image()), rendered={"aws_conn_id": "aws_of_this_task"})
    monkeypatch.setenv(
        "AIRFLOW_CONN_AWS_OF_THIS_TASK",
        aws_connection("http://127.0.0.1:9", config_kwargs={"retries": {"total_max_attempts": 1}}),
    )
    refused = tab.get(f"image/{path}/job/0")
    assert (refused.status_code, "aws_of_this_task" in refused.text) == (404, True)


@pytest.mark.parametrize("place", ["prompt", "file name", "error", "job id", "outcome of checks", "input"])
def test_markup_is_text_wherever_it_stands(tab: Tab, place: str) -> None:
    image = tab.image()
    if place in {"prompt", "outcome of checks"}:
        sidecar(tab, image, request={"prompt": MARKUP, MARKUP: MARKUP}, checks={MARKUP: MARKUP})
        page = tab.get(f"task/{tab.task(job(image))}").text
    elif place == "file name":
        page = tab.get(f"task/{tab.task(job(tab.image(f'results/{MARKUP}.png')))}").text
    elif place == "job id":
        page = tab.get(f"task/{tab.task(job(image, job_id=MARKUP))}").text
    else:
        one = row(0, "failed", reason=MARKUP, reason_code=MARKUP)
        one["input"] = f"s3://bucket/{MARKUP}.png" if place == "input" else MARKUP
        path = tab.task(tab.batch([one]))
        page = tab.get(f"task/{path}").text + tab.get(f"task/{path}/rows/0").text
    assert "alert(1)" in page
    assert "<script>" not in page
    assert "<img src=x" not in page
    assert re.search(r"""["']>?\s*<img src=x""", page) is None
    assert set(re.findall(r" on\w+=", re.sub(r"&[#\w]+;[^<]*", "", page))) == set()


@pytest.mark.parametrize("odd", [float("inf"), float("nan"), 10**400, -(10**400)], ids=["inf", "nan", "huge", "deep"])
def test_a_number_that_nobody_can_read_does_not_hide_its_page(tab: Tab, odd: float) -> None:
    single = tab.task(job(tab.image(), seed=odd, submitted_at=odd, cost={"cost_usd": odd, "credits_amount": odd}))
    rows = [row(0, "landed", tab.image("b-00.png"))]
    batch = tab.task({**tab.batch(rows), **dict.fromkeys(("seconds", "bytes", "cost", "submitted"), odd)})
    plan = tab.task({"plan_only": True, "total": 3, "new": 3, "cost": odd, "seconds": odd})
    for path in (single, batch, plan):
        assert tab.get(f"task/{path}").status_code == 200
        assert tab.get(f"run/{'/'.join(path.split('/')[:2])}").status_code == 200


def test_half_a_character_does_not_hide_its_page(tab: Tab) -> None:
    batch = tab.task(tab.batch([row(0, "failed", input="s3://photos/\udcff.png", reason="It \ud83d broke.")]))
    for page in (f"task/{batch}", f"task/{batch}/rows/0"):
        assert "It ? broke." in tab.get(page).text
    assert tab.get(f"thumbnail/{batch}/0/input").status_code == 404


@pytest.mark.real_input("F5")
@pytest.mark.parametrize(
    ("address", "folder", "name"),
    [
        ("s3://photos/cup.png", "", "cup.png"),
        ("s3://photos/shop/sku1/front.jpg", "sku1/", "front.jpg"),
        ("s3://photos/sku1/what?.jpg", "sku1/", "what?.jpg"),
        ("file:///data/sku1/front.jpg", "sku1/", "front.jpg"),
        ("/data/sku1/front.jpg", "sku1/", "front.jpg"),
        ("https://cdn.test/sku1/front.jpg?exp=1/2", "sku1/", "front.jpg"),
        ("https://cdn.test/front.jpg", "", "front.jpg"),
        ("s3://photos/a//b.jpg", "", "b.jpg"),
        ("cup.png", "", "cup.png"),
        ("", "", ""),
    ],
)
def test_an_address_is_said_by_its_folder_and_its_file(address: str, folder: str, name: str) -> None:
    assert (words.folder_of(address), words.last_part(address)) == (folder, name)


@pytest.mark.real_input("F5")
@pytest.mark.parametrize(
    ("reason", "brief"),
    [
        ("s3://photos/shop/sku1/front.jpg is empty.", "front.jpg is empty."),
        ("/mnt/photos/front.jpg is empty and/or gone.", "front.jpg is empty and/or gone."),
        ("It was not landed in s3://results/2026/11/28: no space.", "It was not landed in 28: no space."),
        ("row 3: 'file:///data/a/b.jpg' (https://x.test/a/b.png)", "row 3: 'b.jpg' (b.png)"),
        ("404 on GET edit/image/v1/status/x", "404 on GET edit/image/v1/status/x"),
    ],
)
def test_a_short_reason_has_file_names_in_the_place_of_addresses(reason: str, brief: str) -> None:
    assert words.without_folders(reason) == brief


@pytest.mark.real_input("F5")
def test_no_two_outcomes_have_the_same_colour() -> None:
    css = (PAGES / "images.css").read_text()
    rule = r"^\.{}(?:,[^{{]*)? {{\n  --tone: var\((--\w+)\)"
    names = [re.search(rule.format(outcome.value), css, re.MULTILINE) for outcome in RowOutcome]
    tones = [found[1] for found in names if found]
    assert len(set(tones)) == len(RowOutcome)
    for theme in re.findall(r"color-scheme: (?:light|dark);[^}]*", css):
        colours = [re.search(rf"{tone}: (#\w+);", theme) for tone in tones]
        assert len({found[1] for found in colours if found}) == len(RowOutcome)


def test_values_are_said_as_a_person_says_them() -> None:
    assert [words.size(number) for number in (0, 999, 1500, 25_000, 3_400_000)] == [
        "0 bytes", "999 bytes", "1.5 kB", "25 kB", "3.4 MB",
    ]  # fmt: skip
    assert [words.money(amount) for amount in (0, 0.012, 0.5, 1, 1234.5)] == [
        "$0.00", "$0.012", "$0.50", "$1.00", "$1,234.50",
    ]  # fmt: skip
    assert [words.duration(time) for time in (0.4, 42, 612.4, 7300)] == ["0.4 s", "42 s", "10 min 12 s", "2 h 01 min"]
    assert words.moment(1e300) == ""
    assert words.said({"a_b": [True, None, 0.123456], "c": "x"}) == "A b: yes, none, 0.1235, C: x"


def test_an_image_that_was_put_aside_is_shown_with_its_reasons(tab: Tab) -> None:
    good = tab.image("results/a-00.png", checks={"sharpness": 0.9})
    bad = tab.image("results/_rejected/job/a-01.png", checks={"sharpness": 0.1, "reasons": ["It is blurred."]})
    path = tab.task(job(good, rejected=[bad]))
    first, second = (tab.get(f"task/{path}?image={number}").text for number in (0, 1))
    assert ("It is blurred." in first, "It is blurred." in second) == (False, True)
    assert ("Put aside" in first, "Put aside" in second) == (False, True)
    assert ("0.9" in first, "0.1" in second) == (True, True)
    assert tab.get(f"image/{path}/job/1").status_code == 200


def test_a_contact_sheet_is_shown_as_the_one_picture_that_it_is(tab: Tab) -> None:
    uri = tab.put("sheets/contact-sheet.png", PICTURE)
    path = tab.task({"uri": uri, "bytes": 1, "pairs": 12, "counts": {"landed": 10, "failed": 2}})
    page = tab.get(f"task/{path}").text
    assert "Landed 10" in page
    assert tab.get(f"image/{path}/sheet/0").content == PICTURE
    assert 'alt="Contact sheet"' in tab.get(f"run/{'/'.join(path.split('/')[:2])}").text
    batch = tab.task({**tab.batch([row(0)]), "contact_sheet": uri})
    assert "/sheet/0" in tab.get(f"task/{batch}").text
    assert tab.get(f"image/{batch}/sheet/0").content == PICTURE


def test_the_digest_of_an_input_is_part_of_its_address(tab: Tab) -> None:
    source, image = tab.put("photos/cup.png", PICTURE), tab.image()
    sidecar(tab, image, inputs=[{"address": source, "sha256": "b" * 64, "version": None}])
    path = tab.task(job(image))
    assert f"/job/input?v={'b' * 16}" in tab.get(f"task/{path}").text
    changed = tab.get(f"image/{path}/job/input")
    assert (changed.status_code, "has changed since the job was submitted" in changed.text) == (404, True)


def test_the_checks_of_a_row_are_those_of_the_manifest(tab: Tab) -> None:
    image = tab.image()
    sidecar(tab, image, checks={"sharpness": 0.8125})
    path = tab.task(tab.batch([row(0, "landed", image), row(1, "rejected", image, checks={"sharpness": 0.3125})]))
    first, second = (tab.get(f"task/{path}/rows/{place}").text for place in (0, 1))
    assert ("0.8125" in first, "0.8125" in second, "0.3125" in second) == (True, False, True)
