"""The sidecars of what the operator and the transfer land: whose request it was, also after a restart."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_imagepipeline.contract.replay import rebuilt
from airflow_imagepipeline.contract.sidecar import sidecar_in
from airflow_imagepipeline.exceptions import LandingFailed, SubmissionUncertain
from airflow_imagepipeline.storage.folder import AlreadyThere
from airflow_imagepipeline.transfers.object_storage import ImagePipelineToObjectStorageOperator
from tests.faults import STATUS, SUBMIT, ScriptedServer, forever, pending, reset_after_request, success
from tests.generations import spoken
from tests.running import (
    KEY,
    PROMPT,
    FakeStore,
    assert_discreet,
    context,
    edit_image,
    fails_with,
    image_to_image,
    in_task_modes,
    retried,
    run_to_end,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.doubles.moto_server import Moto
    from tests.generations import Generation
    from tests.vendor import Vendor

pytestmark = pytest.mark.usefixtures("quick", "logs", "generation")


def task(store: FakeStore | None, **more: Any) -> Any:
    """Return a context whose task instance says who it is, as Airflow's does."""
    given = context(store, **more)
    for name, value in {"dag_id": "edit", "run_id": "manual__1", "task_id": "restyle"}.items():
        setattr(given["ti"], name, value)
    return given


def sidecars(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))]


@in_task_modes
def test_each_landed_image_says_what_it_was_made_from(
    vendor: Vendor, photos: str, tmp_path: Path, *, mode: str, generation: Generation
) -> None:
    link = f"{photos}/a.png"
    make = image_to_image(f"{link}?token=secret", destination=f"file://{tmp_path}", **generation.several)

    result = run_to_end(make, task(FakeStore(), max_tries=0, map_index=4), mode)

    found = sidecars(tmp_path)
    assert len(found) == generation.count
    for read, image in zip(found, result["images"], strict=True):
        assert (read["file"], read["sha256"]) == (image["uri"].rpartition("/")[2], image["sha256"])
        assert (
            (read["job_id"], read["seed"])
            == (result["job_id"], result["seed"])
            == (read["job_id"], read["request"]["seed"])
        )
        assert (read["request"]["prompt"], read["request"][generation.image]) == (PROMPT, link)
        assert read["inputs"] == [{"address": link, "sha256": None, "version": None}]
        assert read["cost"] == result.get("cost", {})
        assert [read[name] for name in ("dag_id", "run_id", "task_id", "map_index")] == [
            "edit",
            "manual__1",
            "restyle",
            4,
        ]
        assert_discreet(json.dumps(read))
        assert KEY not in str(read)
    assert vendor.count("accepted") == 1


@in_task_modes
def test_the_fingerprint_is_that_of_the_record(vendor: Vendor, photos: str, tmp_path: Path, mode: str) -> None:
    store = FakeStore()
    run_to_end(image_to_image(f"{photos}/a.png", destination=f"file://{tmp_path}"), task(store), mode)
    (read,) = sidecars(tmp_path)
    assert read["fingerprint"] == store.record()["fingerprint"]
    assert vendor.count("accepted") == 1


@pytest.mark.usefixtures("vendor")
@in_task_modes
def test_a_private_input_keeps_its_address(
    moto: Moto, bucket: str, photo: bytes, *, mode: str, generation: Generation
) -> None:
    moto.s3.put_object(Bucket=bucket, Key="photos/cup.png", Body=photo)
    make = image_to_image(f"s3://{bucket}/photos/cup.png", destination=f"s3://{bucket}/edited", file_stem="cup")

    run_to_end(make, task(FakeStore()), mode)

    read = json.loads(moto.body(bucket, "edited/cup-00.png.json"))
    assert read["request"][generation.image] == f"s3://{bucket}/photos/cup.png"
    assert_discreet(json.dumps(read))


@pytest.mark.usefixtures("vendor")
@in_task_modes
def test_none_is_written_where_none_is_wanted(photos: str, tmp_path: Path, mode: str) -> None:
    make = image_to_image(f"{photos}/a.png", destination=f"file://{tmp_path}", provenance=False)
    run_to_end(make, task(FakeStore()), mode)
    assert sidecars(tmp_path) == []


@in_task_modes
def test_an_uploaded_input_is_known_by_its_digest(vendor: Vendor, tmp_path: Path, photo: bytes, mode: str) -> None:
    cup = tmp_path / "cup.png"
    cup.write_bytes(photo)
    make = edit_image(str(cup), upload_inputs=True, destination=f"file://{tmp_path}/edited")
    store = FakeStore()
    first = task(store)

    run_to_end(make, first, mode)
    before = sidecars(tmp_path / "edited")
    for path in (tmp_path / "edited").glob("*.json"):
        path.unlink()
    run_to_end(make, retried(first), mode)

    (read,) = sidecars(tmp_path / "edited")
    assert read["inputs"] == [{"address": str(cup), "sha256": hashlib.sha256(photo).hexdigest(), "version": None}]
    # A retry uploads nothing, and knows it all the same.
    assert (read["inputs"], read["seed"]) == (before[0]["inputs"], before[0]["seed"])
    assert vendor.count("uploads") == 1


@pytest.mark.usefixtures("vendor")
@pytest.mark.parametrize("operation", ["get", "set"])
@in_task_modes
def test_a_store_that_loses_the_digests_costs_no_image(
    tmp_path: Path, photo: bytes, *, operation: str, mode: str
) -> None:
    cup = tmp_path / "cup.png"
    cup.write_bytes(photo)
    store = FakeStore()
    store.is_down = lambda what, key, _: what == operation and key.startswith("imagepipeline:inputs:")
    make = edit_image(str(cup), upload_inputs=True, destination=f"file://{tmp_path}/edited")
    run_to_end(make, task(store), mode)
    (read,) = sidecars(tmp_path / "edited")
    assert read["inputs"][0]["sha256"] in {None, hashlib.sha256(photo).hexdigest()}
    assert read["fingerprint"] is not None


@pytest.mark.usefixtures("vendor")
@in_task_modes
def test_before_airflow_3_3_the_tasks_own_arguments_are_believed(photos: str, tmp_path: Path, mode: str) -> None:
    result = run_to_end(image_to_image(f"{photos}/a.png", destination=f"file://{tmp_path}"), task(None), mode)
    (read,) = sidecars(tmp_path)
    assert (read["request"]["seed"], read["request"]["prompt"]) == (result["seed"], PROMPT)


@pytest.mark.usefixtures("vendor")
def test_arguments_that_changed_while_the_job_ran_are_not_written_down_as_its_request(
    photos: str, tmp_path: Path
) -> None:
    store = FakeStore()
    given = task(store, word="first")
    make = image_to_image(
        f"{photos}/a.png", prompt="{{ params.pop('word', 'second') }}", destination=f"file://{tmp_path}"
    )
    run_to_end(make, given, "triggerer")
    (read,) = sidecars(tmp_path)
    assert read["request"] == {}
    assert read["fingerprint"] == store.record()["fingerprint"]


@in_task_modes
def test_a_job_that_somebody_else_started_is_not_explained_by_the_tasks_arguments(
    vendor: Vendor, photos: str, tmp_path: Path, mode: str
) -> None:
    link = f"{photos}/a.png"
    paid = run_to_end(image_to_image(link, wait_for_completion=False), task(FakeStore()), "worker")
    make = image_to_image(link, prompt="another", job_id=paid["job_id"], destination=f"file://{tmp_path}")
    run_to_end(make, task(FakeStore()), mode)
    (read,) = sidecars(tmp_path)
    assert (read["job_id"], read["request"], read["fingerprint"]) == (paid["job_id"], {}, None)
    assert vendor.count("accepted") == 1


@in_task_modes
def test_a_job_that_a_human_found_again_has_the_seed_that_the_record_kept(
    connection: Callable[..., None], photos: str, tmp_path: Path, mode: str
) -> None:
    store = FakeStore()
    given = task(store)
    make = image_to_image("http://127.0.0.1/a.png", destination=f"file://{tmp_path}")
    script = {SUBMIT: [reset_after_request()], STATUS: [forever(success([f"{photos}/result.png"]))]}
    with ScriptedServer(script) as server:
        connection(server.url)
        with fails_with(SubmissionUncertain, "set job_id"):
            run_to_end(make, given, mode)
        run_to_end(functools.partial(make, job_id="job-1"), retried(given), mode)
    (read,) = sidecars(tmp_path)
    assert (read["job_id"], read["seed"], read["request"]["seed"]) == ("job-1", *[store.record()["seed"]] * 2)
    assert rebuilt(sidecar_in(json.dumps(read).encode())).differences == ()


@in_task_modes
def test_a_retry_that_takes_the_job_up_has_its_seed(
    connection: Callable[..., None], photos: str, tmp_path: Path, mode: str
) -> None:
    given = task(FakeStore())
    make = image_to_image("http://127.0.0.1/a.png", destination=f"file://{tmp_path}")
    obstacle = tmp_path / "job-1-00.png.json"
    obstacle.mkdir()
    script = {SUBMIT: [pending("job-1")], STATUS: [forever(success([f"{photos}/result.png"]))]}
    with ScriptedServer(script) as server:
        connection(server.url)
        with fails_with(LandingFailed, "their sidecars are not", "pays nothing"):
            run_to_end(make, given, mode)
        obstacle.rmdir()
        result = run_to_end(make, retried(given), mode)
        sent = json.loads(next(request.body for request in server.requests if request.method == "POST"))
    (read,) = sidecars(tmp_path)
    assert read["seed"] == read["request"]["seed"] == result["seed"] == sent["seed"]


@in_task_modes
def test_a_sidecar_alone_does_not_stand_in_the_way_and_an_image_does(
    vendor: Vendor, photos: str, tmp_path: Path, mode: str
) -> None:
    make = image_to_image(f"{photos}/a.png", destination=f"file://{tmp_path}", file_stem="cup")
    (tmp_path / "cup-00.png.json").write_text("{}")
    run_to_end(make, task(FakeStore()), mode)
    with fails_with(AlreadyThere, "cup-00.png exists"):
        run_to_end(make, task(FakeStore()), mode)
    assert vendor.count("accepted") == 1


@pytest.mark.usefixtures("vendor")
@pytest.mark.parametrize("wanted", [True, False])
def test_the_transfer_explains_what_it_knows(photos: str, tmp_path: Path, *, wanted: bool) -> None:
    job = run_to_end(image_to_image(f"{photos}/a.png", seed=7, wait_for_completion=False), context(), "worker")
    make = functools.partial(
        ImagePipelineToObjectStorageOperator,
        task_id="store",
        job=job,
        api=spoken().name,
        destination=f"file://{tmp_path}",
        provenance=wanted,
    )
    run_to_end(make, task(None), "plain")
    found = sidecars(tmp_path)
    assert len(found) == int(wanted)
    for read in found:
        assert (read["request"], read["fingerprint"], read["inputs"], read["seed"]) == ({}, None, [], 7)
        assert (read["job_id"], read["dag_id"]) == (job["job_id"], "edit")
