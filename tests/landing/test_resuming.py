from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_imagepipeline.exceptions import LandingFailed
from airflow_imagepipeline.storage.folder import AlreadyThere
from tests.doubles.moto_server import CONNECTION, aws_connection
from tests.doubles.pictures import picture, png
from tests.faults import STATUS, ScriptedServer, TcpProxy, answer, failure, pending, success
from tests.landing.conftest import Lander, Store

if TYPE_CHECKING:
    from tests.faults import Instruction


def file(name: str) -> str:
    return f"GET /files/{name}"


def test_the_next_try_keeps_what_is_landed_and_fetches_the_rest(store: Store, lander: Lander) -> None:
    routes = {
        file("a"): [answer(200, picture(0))],
        file("b"): [*[answer(503)] * 4, answer(200, picture(1))],
        file("c"): [answer(200, picture(2))],
    }
    with ScriptedServer(routes) as server:
        with pytest.raises(LandingFailed, match="image 2 of 3"):
            lander.land(server, store, "a", "b", "c")
        assert store.files == {"job-1-00.png": picture(0)}
        second = lander.land(server, store, "a", "b", "c")
        third = lander.land(server, store, "a", "b", "c")
        assert second == third
        assert [image["uri"] for image in third] == [f"{store.uri}/job-1-{n:02d}.png" for n in range(3)]
    assert store.files == {f"job-1-{n:02d}.png": picture(n) for n in range(3)}


def test_what_lies_on_s3_is_not_read_again_to_be_known(
    on_s3: Store, lander: Lander, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = png(700, 700)
    with ScriptedServer({file("a"): [answer(200, large)]}) as server:
        first = lander.land(server, on_s3, "a")
        assert on_s3.moto
        with TcpProxy(on_s3.moto.port) as proxy:
            monkeypatch.setenv(CONNECTION, aws_connection(proxy.url))
            assert lander.land(server, on_s3, "a") == first
            assert 0 < proxy.bytes_down < len(large) / 4


def test_an_image_without_notes_is_read_and_taken_over(store: Store, lander: Lander) -> None:
    store.write("job-1-00.png", picture())
    with ScriptedServer() as server:
        (image,) = lander.land(server, store, "a")
    assert (image["bytes"], image["width"], image["format"]) == (len(picture()), 40, "PNG")


@pytest.mark.parametrize("damaged", [picture()[:-9], b"", b"<html>"], ids=["cut", "empty", "HTML"])
def test_a_damaged_file_of_the_name_is_neither_taken_over_nor_replaced(
    damaged: bytes, store: Store, lander: Lander
) -> None:
    store.write("job-1-00.png", damaged)
    with ScriptedServer({file("a"): [answer(200, picture())]}) as server, pytest.raises(AlreadyThere):
        lander.land(server, store, "a")
    assert store.files == {"job-1-00.png": damaged}


def test_with_overwrite_everything_is_fetched_and_written_anew(store: Store, lander: Lander) -> None:
    store.write("job-1-00.png", picture(5))
    with ScriptedServer({file("a"): [answer(200, picture())] * 2}) as server:
        for _ in range(2):
            lander.land(server, store, "a", overwrite=True)
    assert store.files == {"job-1-00.png": picture()}


def test_under_a_users_stem_only_equal_bytes_count_as_landed(store: Store, lander: Lander) -> None:
    with ScriptedServer({file("a"): [*[answer(200, picture())] * 2, answer(200, picture(1))]}) as server:
        first = lander.land(server, store, "a", stem="mine")
        assert lander.land(server, store, "a", stem="mine", job_id="job-2") == first
        with pytest.raises(AlreadyThere, match=r"mine-00\.png exists with other bytes"):
            lander.land(server, store, "a", stem="mine", job_id="job-3")
    assert store.files == {"mine-00.png": picture()}


@pytest.mark.parametrize(("one", "other"), [("a:b", "a~b"), ("job", "job-00"), ("job-1", "job-10")])
def test_the_images_of_another_job_are_never_taken_over(one: str, other: str, on_disk: Store, lander: Lander) -> None:
    with ScriptedServer({file("a"): [answer(200, picture(0))], file("b"): [answer(200, picture(1))]}) as server:
        lander.land(server, on_disk, "a", job_id=one)
        lander.land(server, on_disk, "b", job_id=other)
    assert sorted(on_disk.files.values()) == sorted([picture(0), picture(1)])


def test_a_job_without_an_id_has_no_name_to_go_on_from(on_disk: Store, lander: Lander) -> None:
    with ScriptedServer({file("a"): [answer(200, picture())] * 2}) as server:
        for _ in range(2):
            (image,) = lander.land(server, on_disk, "a", job_id=None)
    assert image["uri"].endswith("/seed-7-00.png")


def test_a_folder_that_cannot_be_listed_is_landed_in_all_the_same(
    lander: Lander, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbidden = answer(403, "<Error><Code>AccessDenied</Code></Error>")
    with (
        ScriptedServer({"GET /bucket": [forbidden], "PUT /bucket": [answer(200)]}) as s3,
        ScriptedServer({file("a"): [answer(200, picture())]}) as server,
    ):
        monkeypatch.setenv(CONNECTION, aws_connection(s3.url))
        assert len(lander.land(server, Store("s3://bucket/x"), "a")) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_an_expired_link_is_renewed_by_a_look_at_the_job(status: int, store: Store, lander: Lander) -> None:
    with ScriptedServer({file("old"): [answer(status)], file("new"): [answer(200, picture())]}) as server:
        server.route(STATUS, [pending(), success(lander.links(server, "new"), "job-1")])
        lander.land(server, store, "old")
    assert store.files == {"job-1-00.png": picture()}


def test_only_the_images_that_are_left_are_fetched_by_the_new_links(store: Store, lander: Lander) -> None:
    routes = {
        file("old-a"): [answer(200, picture(0))],
        file("old-b"): [answer(403)],
        file("new-b"): [answer(200, picture(1))],
        file("new-c"): [answer(200, picture(2))],
    }
    with ScriptedServer(routes) as server:
        server.route(STATUS, [success(lander.links(server, "new-a", "new-b", "new-c"), "job-1")])
        lander.land(server, store, "old-a", "old-b", "old-c")
    assert store.files == {f"job-1-{n:02d}.png": picture(n) for n in range(3)}


def test_a_link_that_expires_again_is_given_up(on_disk: Store, lander: Lander) -> None:
    with ScriptedServer({file("old"): [answer(403)], file("new"): [answer(403)]}) as server:
        server.route(STATUS, [success(lander.links(server, "new"), "job-1")])
        with pytest.raises(LandingFailed, match=r"does not give the result for this link any more \(403\)"):
            lander.land(server, on_disk, "old")


@pytest.mark.parametrize(
    ("looks", "why"),
    [
        ([success(["https://storage.example/1", "https://storage.example/2"], "job-1")], "gave 2 links instead of 1"),
        ([failure("expired")], r"\(failed\) gave 0 links instead of 1"),
        ([success([], "job-1")] * 3, r"\(unreachable\) gave 0 links instead of 1"),
    ],
    ids=["more links", "failed", "no links"],
)
def test_a_look_that_gives_no_new_link_ends_it(
    looks: list[Instruction], why: str, on_disk: Store, lander: Lander
) -> None:
    routes = {file("old"): [answer(410)], STATUS: looks}
    with ScriptedServer(routes) as server, pytest.raises(LandingFailed, match=why):
        lander.land(server, on_disk, "old")


def test_without_an_id_an_expired_link_cannot_be_renewed(on_disk: Store, lander: Lander) -> None:
    with ScriptedServer({file("old"): [answer(404)]}) as server, pytest.raises(LandingFailed, match="404"):
        lander.land(server, on_disk, "old", job_id=None)


def test_a_store_that_stops_in_the_middle_keeps_what_it_has(lander: Lander, monkeypatch: pytest.MonkeyPatch) -> None:
    conflict = answer(409, "<Error><Code>ConditionalRequestConflict</Code></Error>")
    empty = answer(200, "<ListBucketResult/>")
    with (
        ScriptedServer({"GET /bucket": [empty], "PUT /bucket": [answer(200), conflict]}) as s3,
        ScriptedServer({file(name): [answer(200, picture())] for name in "ab"}) as server,
    ):
        monkeypatch.setenv(CONNECTION, aws_connection(s3.url))
        with pytest.raises(LandingFailed) as caught:
            lander.land(server, Store("s3://bucket/x"), "a", "b")
    assert str(caught.value) == (
        "Job job-1 is done, but image 2 of 2 was not landed in s3://bucket/x: s3://bucket/x/job-1-01.png could not be "
        "written (ConditionalRequestConflict): check bucket, permissions and connection 'aws_test'. A retry of the "
        "task goes on from here and pays nothing."
    )
