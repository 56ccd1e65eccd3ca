"""Stores that speak S3 and do not know all of it: found out once, and written the way such a store can."""

from __future__ import annotations

import base64
import hashlib
import logging
from typing import TYPE_CHECKING

import pytest

from airflow_imagepipeline.storage.folder import AlreadyThere, DestinationUnusable, StorageFailed, StoredFile
from airflow_imagepipeline.storage.s3 import S3Folder
from tests.doubles.moto_server import CONNECTION, aws_connection
from tests.doubles.small_store import SmallStore
from tests.faults import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Maker = Callable[[bytes], StoredFile]

ONCE = {"retries": {"total_max_attempts": 1}}
WITHOUT_CONDITIONS = {
    "R2 of old, 501": SmallStore({"if-none-match": (501, "NotImplemented")}),
    "B2, 501 to both": SmallStore(
        {"if-none-match": (501, "NotImplemented"), "x-amz-checksum": (501, "NotImplemented")}
    ),
    "B2, 400": SmallStore({"if-none-match": (400, "InvalidArgument"), "x-amz-checksum": (400, "InvalidArgument")}),
    "an open code": SmallStore({"if-none-match": (400, "UnsupportedHeader")}),
    "Ceph, ignored": SmallStore(ignores_conditions=True),
    "ignored, no checksums": SmallStore({"x-amz-checksum": (400, "InvalidRequest")}, ignores_conditions=True),
}
WITH_CONDITIONS = {
    "all of it": SmallStore(),
    "MinIO of old, no checksums": SmallStore({"x-amz-checksum": (400, "InvalidRequest")}),
    "R2, unknown header": SmallStore({"x-amz-checksum": (501, "NotImplemented"), "x-amz-sdk": (501, "NotImplemented")}),
}
without_conditions = pytest.mark.parametrize(
    "store", WITHOUT_CONDITIONS.values(), ids=WITHOUT_CONDITIONS, indirect=True
)
of_every_kind = pytest.mark.parametrize(
    "store", (WITH_CONDITIONS | WITHOUT_CONDITIONS).values(), ids=WITH_CONDITIONS | WITHOUT_CONDITIONS, indirect=True
)


@pytest.fixture
def store(request: pytest.FixtureRequest) -> SmallStore:
    chosen: SmallStore = request.param
    chosen.objects.clear()
    return chosen


@pytest.fixture
def server(store: SmallStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with ScriptedServer({"* /": store.answer}) as running:
        monkeypatch.setenv(CONNECTION, aws_connection(running.url, config_kwargs=ONCE))
        yield running


@pytest.fixture
def folder(server: ScriptedServer) -> S3Folder:
    assert server.url
    return S3Folder("s3://bucket/landed", "aws_test")


@of_every_kind
@pytest.mark.real_input("E1")
def test_an_image_is_landed_once_on_a_store_of_every_kind(folder: S3Folder, store: SmallStore, file_of: Maker) -> None:
    folder.prepare()
    for content in (b"one", b"one"):
        folder.put("job-00.png", file_of(content), overwrite=False)
    with pytest.raises(AlreadyThere):
        folder.put("job-00.png", file_of(b"two"), overwrite=False)
    assert store.objects["landed/job-00.png"] == b"one"
    folder.put("job-00.png", file_of(b"two"), overwrite=True)
    assert store.objects["landed/job-00.png"] == b"two"
    assert folder.notes("job-00.png")["sha256"] == hashlib.sha256(b"two").hexdigest()


@of_every_kind
@pytest.mark.real_input("E1")
def test_a_sidecar_is_created_once_on_a_store_of_every_kind(folder: S3Folder) -> None:
    folder.prepare()
    assert folder.create("job-00.png.json", b"{}")
    assert folder.create("job-00.png.json", b"{}")
    assert not folder.create("job-00.png.json", b"[]")
    assert folder.content("job-00.png.json") == b"{}"


@pytest.mark.parametrize("store", [SmallStore(WITHOUT_CONDITIONS["B2, 400"]._refuses)], indirect=True)
@pytest.mark.real_input("E1")
def test_a_store_that_nobody_has_asked_is_found_out_by_the_first_image(
    folder: S3Folder, server: ScriptedServer, store: SmallStore, file_of: Maker
) -> None:
    folder.put("job-00.png", file_of(b"one"), overwrite=False)
    asked = server.count("PUT")
    folder.put("job-01.png", file_of(b"two"), overwrite=False)
    assert server.count("PUT") == asked + 1
    assert store.objects == {"landed/job-00.png": b"one", "landed/job-01.png": b"two"}


@without_conditions
@pytest.mark.real_input("E1")
@pytest.mark.fault(125)
def test_a_ledger_is_refused_before_anything_else_where_conditions_are_not_known(
    folder: S3Folder, store: SmallStore, server: ScriptedServer
) -> None:
    for _ in range(2):
        with pytest.raises(DestinationUnusable) as caught:
            folder.prepare(write_once=True)
    message = str(caught.value)
    assert message.startswith("ledger s3://bucket/landed: two processes that write one file at once may both succeed")
    assert "Nothing was submitted. Set ledger= to a folder elsewhere" in message
    assert "If-None-Match" in message
    assert list(store.objects) == ["landed/.imagepipeline"]
    assert server.count() <= 4


@pytest.mark.parametrize("store", WITH_CONDITIONS.values(), ids=WITH_CONDITIONS, indirect=True)
@pytest.mark.real_input("E1")
def test_the_proof_of_a_ledger_takes_two_requests_the_first_time_and_one_from_then_on(
    folder: S3Folder, server: ScriptedServer, store: SmallStore
) -> None:
    folder.prepare(write_once=True)
    assert server.count() == 2
    folder.prepare(write_once=True)
    assert server.count() == 3
    assert list(store.objects) == ["landed/.imagepipeline"]


@pytest.mark.parametrize("store", [SmallStore(ignores_conditions=True)], indirect=True)
@pytest.mark.real_input("E1")
def test_what_is_weaker_is_said_once(folder: S3Folder, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    another = S3Folder("s3://bucket-said-once/landed", "aws_test")
    another.prepare()
    another.prepare()
    S3Folder("s3://bucket-said-once/elsewhere", "aws_test").prepare()
    warnings = [record.message for record in caplog.records if "conditional writes" in record.message]
    assert len(warnings) == 1
    assert "s3://bucket-said-once" in warnings[0]
    assert "it ignores If-None-Match" in warnings[0]
    assert folder.uri not in warnings[0]


@pytest.mark.parametrize("store", [SmallStore({"x-amz-checksum": (400, "InvalidRequest")})], indirect=True)
@pytest.mark.real_input("E1")
def test_a_digest_that_every_store_knows_goes_along_where_the_checksum_is_refused(
    folder: S3Folder, server: ScriptedServer, file_of: Maker
) -> None:
    folder.put("job-00.png", file_of(b"one"), overwrite=False)
    last = server.requests[-1]
    assert last.header("Content-MD5") == base64.b64encode(hashlib.md5(b"one").digest()).decode()  # noqa: S324 - what stores take
    assert last.header("If-None-Match") == "*"
    assert last.body == b"one"


@pytest.mark.parametrize("store", [SmallStore({"content-type": (400, "InvalidArgument")})], indirect=True)
@pytest.mark.real_input("E1")
def test_a_refusal_that_no_header_of_ours_explains_is_shown_as_it_came_and_changes_nothing(
    folder: S3Folder, file_of: Maker
) -> None:
    with pytest.raises(StorageFailed, match=r"\(InvalidArgument: A header you provided implies .* check bucket"):
        folder.put("job-00.png", file_of(b"one"), overwrite=False)
    assert folder._knows.conditions
    assert folder._knows.sha256


@pytest.mark.parametrize(
    "store", [SmallStore(removes_many=False), SmallStore()], ids=["one by one", "many"], indirect=True
)
@pytest.mark.real_input("E1")
def test_what_a_store_cannot_remove_at_once_is_removed_one_by_one(
    folder: S3Folder, store: SmallStore, server: ScriptedServer
) -> None:
    for name in ("a", "b", "c"):
        folder.write(name, b"")
    folder.remove(["a", "b", "nothing"])
    assert list(store.objects) == ["landed/c"]
    assert not [request for request in server.requests if "trailer" in str(request.headers).lower()]
