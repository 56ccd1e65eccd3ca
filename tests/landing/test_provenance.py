"""What is written next to landed images, and what becomes of an image whose sidecar cannot be written."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from airflow_imagepipeline import __version__
from airflow_imagepipeline.contract.api import EDIT_IMAGE, JobStatus
from airflow_imagepipeline.contract.job import Job, JobHandle
from airflow_imagepipeline.contract.parameters import EditImageParameters
from airflow_imagepipeline.exceptions import LandingFailed
from airflow_imagepipeline.hooks.download import Downloader
from airflow_imagepipeline.landing.landing import land_job
from airflow_imagepipeline.landing.provenance import Provenance
from airflow_imagepipeline.landing.verification import Finding, Verdict, verify
from tests.doubles.pictures import picture
from tests.faults import ScriptedServer, answer, forever
from tests.landing.conftest import KEY, SIGNATURE, Lander, Store

if TYPE_CHECKING:
    from collections.abc import Sequence

LINK: Final = "https://a.example/cup.png"
PARAMETERS: Final = EditImageParameters.checked(
    {"input_image": [f"{LINK}?Signature={SIGNATURE}", "/data/cup.png"], "prompt": "a cup"}
)
ASKED: Final = Provenance(dag_id="edit", run_id="manual__1", task_id="restyle", map_index=3).asked(
    PARAMETERS, 7, digests={"/data/cup.png": "ab" * 32}
)
UNKNOWN: Final = Provenance(task_id="store", map_index=-1)


def land(
    lander: Lander,
    server: ScriptedServer,
    store: Store,
    *names: str,
    provenance: Provenance | None = ASKED,
    job_id: str | None = "job-1",
    stem: str | None = None,
    overwrite: bool = False,
) -> None:
    handle = JobHandle(EDIT_IMAGE, job_id, submitted_at=1.5, seed=7)
    job = Job(handle, JobStatus.SUCCESS, lander.links(server, *names), cost={"cost_usd": 0.01})
    downloader = Downloader(allow_loopback=True, sleep=lander.sleep)
    hook = lander.hook(server.url)
    land_job(hook, job, store.folder(), stem, overwrite=overwrite, downloader=downloader, provenance=provenance)


def serving(*numbers: int) -> ScriptedServer:
    return ScriptedServer({f"GET /files/{number}": [forever(answer(200, picture(number)))] for number in numbers})


def sidecar(store: Store, name: str = "job-1-00.png") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.files[f"{name}.json"])
    return found


def findings(store: Store) -> list[tuple[Verdict, str]]:
    return [(finding.verdict, finding.name) for finding in verify(store.folder())]


def test_each_image_gets_a_sidecar_that_explains_it(store: Store, lander: Lander) -> None:
    before = time.time()
    with serving(0, 1) as server:
        land(lander, server, store, "0", "1")
    assert set(store.files) == {f"job-1-0{n}.png{end}" for n in range(2) for end in ("", ".json")}
    assert store.files["job-1-01.png"] == picture(1)
    read = sidecar(store, "job-1-01.png")
    assert before <= read.pop("landed_at") <= time.time()
    assert read == {
        "v": 1,
        "file": "job-1-01.png",
        "sha256": hashlib.sha256(picture(1)).hexdigest(),
        "bytes": len(picture(1)),
        "format": "PNG",
        "width": 41,
        "height": 30,
        "api": "edit/image/v1",
        "job_id": "job-1",
        "seed": 7,
        "submitted_at": 1.5,
        "fingerprint": PARAMETERS.fingerprint(),
        "request": {"input_image": [LINK, "/data/cup.png"], "prompt": "a cup", "seed": 7},
        "inputs": [
            {"address": LINK, "sha256": None, "version": None},
            {"address": "/data/cup.png", "sha256": "ab" * 32, "version": None},
        ],
        "cost": {"cost_usd": 0.01},
        "checks": {},
        "dag_id": "edit",
        "run_id": "manual__1",
        "task_id": "restyle",
        "map_index": 3,
        "package": f"airflow-provider-imagepipeline {__version__}",
    }
    assert findings(store) == [(Verdict.INTACT, "job-1-00.png"), (Verdict.INTACT, "job-1-01.png")]


def test_the_version_of_an_input_is_told_where_it_is_known(on_disk: Store, lander: Lander) -> None:
    known = Provenance().asked(PARAMETERS, 7, digests={}, versions={"/data/cup.png": "5f2d:4096"})
    with serving(0) as server:
        land(lander, server, on_disk, "0", provenance=known)
    assert [one["version"] for one in sidecar(on_disk)["inputs"]] == [None, "5f2d:4096"]


def test_a_sidecar_holds_neither_the_key_nor_what_signs_a_link(store: Store, lander: Lander) -> None:
    with serving(0) as server:
        land(lander, server, store, "0")
    assert KEY.encode() not in store.files["job-1-00.png.json"]
    assert SIGNATURE.encode() not in store.files["job-1-00.png.json"]


def test_none_is_written_where_none_is_wanted(store: Store, lander: Lander) -> None:
    with serving(0) as server:
        land(lander, server, store, "0", provenance=None)
    assert set(store.files) == {"job-1-00.png"}


def test_it_lies_next_to_an_image_in_a_folder_below(store: Store, lander: Lander) -> None:
    with serving(0) as server:
        land(lander, server, store, "0", stem="monday/cup")
    assert sidecar(store, "monday/cup-00.png")["file"] == "cup-00.png"
    assert findings(store) == [(Verdict.INTACT, "monday/cup-00.png")]


def test_a_prompt_of_any_script_is_kept_readable(on_disk: Store, lander: Lander) -> None:
    odd = EditImageParameters.checked({"input_image": LINK, "prompt": "ein Bücherregal 本棚", "seed": 7})
    half = odd.model_copy(update={"extra_parameters": {"note": "\ud83d"}})
    with serving(0) as server:
        land(lander, server, on_disk, "0", provenance=Provenance().asked(half, 7, digests={}))
    assert "ein Bücherregal 本棚".encode() in on_disk.files["job-1-00.png.json"]
    assert sidecar(on_disk)["request"]["note"] == "\ud83d"


def test_a_retry_writes_only_the_sidecars_that_are_missing(store: Store, lander: Lander) -> None:
    with serving(0, 1) as server:
        land(lander, server, store, "0", provenance=None)
        land(lander, server, store, "0", "1")
        first = store.files
        land(lander, server, store, "0", "1")
        assert server.count() == 2
    assert store.files == first
    assert len(first) == 4


def in_the_way(store: Store, name: str) -> Path:
    """Put a folder where a file is to be written."""
    path = Path(store.uri.removeprefix("file://"), name)
    path.mkdir(parents=True)
    return path


def test_a_sidecar_that_cannot_be_written_loses_no_image_and_a_retry_writes_it(on_disk: Store, lander: Lander) -> None:
    obstacle = in_the_way(on_disk, "job-1-00.png.json")
    with serving(0, 1) as server:
        with pytest.raises(LandingFailed) as caught:
            land(lander, server, on_disk, "0", "1")
        said = f"The images of job job-1 are landed in {on_disk.uri}, but their sidecars are not: "
        assert str(caught.value).startswith(said)
        assert str(caught.value).endswith("A retry of the task writes them and pays nothing.")
        assert {"job-1-00.png", "job-1-01.png"} <= set(on_disk.files)
        obstacle.rmdir()
        land(lander, server, on_disk, "0", "1")
        assert server.count() == 2
    assert len(on_disk.files) == 4


def test_where_no_retry_could_go_on_a_sidecar_that_cannot_be_written_is_a_warning(
    on_disk: Store, lander: Lander, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way(on_disk, "seed-7-00.png.json")
    with serving(0) as server:
        land(lander, server, on_disk, "0", job_id=None)
    assert set(on_disk.files) == {"seed-7-00.png"}
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "their sidecars are not" in warning.getMessage()


def test_who_knows_less_does_not_replace_a_sidecar(store: Store, lander: Lander) -> None:
    with serving(0) as server:
        land(lander, server, store, "0")
        first = store.files
        for overwrite in (False, True):
            land(lander, server, store, "0", provenance=UNKNOWN, overwrite=overwrite)
    assert store.files == first


def test_who_knows_more_replaces_it(store: Store, lander: Lander) -> None:
    with serving(0) as server:
        land(lander, server, store, "0", provenance=UNKNOWN)
        assert (sidecar(store)["request"], sidecar(store)["fingerprint"]) == ({}, None)
        land(lander, server, store, "0")
    assert sidecar(store)["fingerprint"] == PARAMETERS.fingerprint()


@pytest.mark.parametrize("older", [b'{"label": "a cup"}', b"\xff", b'{"v": 1}'], ids=["of the user's", "bytes", "half"])
@pytest.mark.parametrize("provenance", [ASKED, UNKNOWN], ids=["asked", "unknown"])
def test_a_file_that_is_no_sidecar_is_replaced_only_where_that_was_asked_for(
    older: bytes, provenance: Provenance, store: Store, lander: Lander, caplog: pytest.LogCaptureFixture
) -> None:
    store.write("job-1-00.png.json", older)
    with serving(0) as server:
        for _ in range(2):
            land(lander, server, store, "0", provenance=provenance)
        assert store.files["job-1-00.png.json"] == older
        assert "job-1-00.png.json is no sidecar of this provider: it is left as it is." in caplog.text
        land(lander, server, store, "0", provenance=provenance, overwrite=True)
    assert sidecar(store)["task_id"] == provenance.task_id


def test_an_image_that_is_replaced_gets_a_sidecar_of_its_own(store: Store, lander: Lander) -> None:
    with serving(0, 1) as server:
        land(lander, server, store, "0")
        land(lander, server, store, "1", provenance=UNKNOWN, overwrite=True)
    assert sidecar(store)["width"] == 41
    assert findings(store) == [(Verdict.INTACT, "job-1-00.png")]


def verified(store: Store) -> Sequence[Finding]:
    return [finding for finding in verify(store.folder()) if finding.verdict is not Verdict.INTACT]


def landed(store: Store, lander: Lander) -> dict[str, bytes]:
    with serving(0, 1) as server:
        land(lander, server, store, "0", "1")
    return store.files


@pytest.mark.parametrize("place", [0, 100, -1], ids=["first", "middle", "last"])
def test_one_changed_byte_is_found(place: int, store: Store, lander: Lander) -> None:
    content = bytearray(landed(store, lander)["job-1-01.png"])
    content[place] ^= 1
    store.write("job-1-01.png", bytes(content))
    (found,) = verified(store)
    assert (found.verdict, found.name) == (Verdict.CHANGED, "job-1-01.png")
    assert "its SHA-256 is " in found.reason


def test_what_is_cut_lost_or_has_no_sidecar_is_told_apart(store: Store, lander: Lander) -> None:
    files = landed(store, lander)
    store.write("job-1-00.png", files["job-1-00.png"][:-1])
    store.write("gone-00.png.json", files["job-1-00.png.json"].replace(b"job-1-00.png", b"gone-00.png"))
    store.write("below/alone.webp", b"x")
    store.write("notes.json", b"not ours")
    store.write("readme.txt", b"not ours")
    found = {finding.name: (finding.verdict, finding.reason) for finding in verified(store)}
    size = len(picture(0))
    assert found == {
        "job-1-00.png": (Verdict.CHANGED, f"it has {size - 1:,} bytes, its sidecar says {size}."),
        "gone-00.png": (Verdict.MISSING, "job job-1 made it, and only its sidecar is there."),
        "below/alone.webp": (Verdict.UNEXPLAINED, "no sidecar lies next to it."),
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"file": "../job-1-01.png"}, "file: it is no plain name", id="a path"),
        pytest.param({"file": "job-1-01.png"}, "it speaks of another file, job-1-01.png", id="another image"),
        pytest.param({"bytes": "1"}, "bytes: Input should be a valid integer", id="wrong type"),
        pytest.param({"request": {"x": "y" * 4_000_000}}, "more than 4000000 bytes", id="huge"),
    ],
)
def test_a_malicious_sidecar_is_refused(change: dict[str, Any], words: str, store: Store, lander: Lander) -> None:
    files = landed(store, lander)
    store.write("job-1-00.png.json", json.dumps({**json.loads(files["job-1-00.png.json"]), **change}).encode())
    (found,) = verified(store)
    assert (found.verdict, found.name) == (Verdict.REFUSED, "job-1-00.png")
    assert words in found.reason


def test_a_name_of_control_characters_is_shown_harmless(on_disk: Store) -> None:
    on_disk.write("a\x1b[31m\n.png", b"x")
    (found,) = verified(on_disk)
    assert found.name.isprintable()
