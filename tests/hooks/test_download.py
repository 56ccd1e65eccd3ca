from __future__ import annotations

import base64
import gzip
import hashlib
import logging
import zlib
from pathlib import Path
from urllib.parse import quote

import pytest

from airflow_imagepipeline.contract.errors import (
    DownloadFailed,
    LinkExpired,
    LinkRefused,
    NotTheResult,
    ResultRefused,
)
from airflow_imagepipeline.hooks.download import Downloader
from airflow_imagepipeline.hooks.download_limits import DownloadLimits
from tests.faults import (
    Instruction,
    ScriptedServer,
    TcpProxy,
    answer,
    chunked,
    close_after_request,
    cut_after,
    gzip_bomb,
    raw,
    redirect,
    reset_after_request,
)
from tests.hooks.downloads import BODY, CANARY, FILE, Clock, Resolves, attempt_of, fetch, whole


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_a_file_is_fetched_with_nothing_but_what_a_stranger_would_send(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = "http://127.0.0.1:9"
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, dead)
    netrc = folder / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\ndefault login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with ScriptedServer({FILE: [answer(200, BODY)]}) as server:
        assert fetch(server.url, folder) == BODY
    (request,) = server.requests
    headers = {name.lower(): value for name, value in request.headers}
    assert set(headers) == {"host", "accept", "accept-encoding", "connection", "user-agent"}
    assert headers["accept-encoding"] == "identity"
    assert headers["host"] == f"127.0.0.1:{server.port}"
    assert headers["user-agent"].startswith("airflow-provider-imagepipeline/")
    assert request.target == f"/file?Authorization={CANARY}"


def test_the_link_is_sent_byte_for_byte_as_it_was_signed(folder: Path) -> None:
    target = "/a%2Fb/%7e/c+d/../e.png?X=%41%2b+%c3%a4&y=a/b?c&&z"
    with ScriptedServer({"GET ~/.*": [answer(200, BODY)]}) as server:
        Downloader(allow_loopback=True).fetch(server.url + target + "#here", folder / "result", whole)
    assert server.requests[0].target == target


@pytest.mark.parametrize(
    "fault",
    [
        cut_after(60_000, BODY),
        cut_after(60_000, BODY, framing="chunked"),
        cut_after(60_000, BODY, framing="close"),
        cut_after(60_000, BODY, abrupt=True),
        cut_after(0, BODY),
        reset_after_request(),
        close_after_request(),
        answer(500),
        answer(502, b"<html>"),
        answer(503),
        answer(504),
        answer(429),
        answer(408),
        answer(204),
        answer(206, BODY),
        answer(200, b"<html>502 Bad Gateway</html>"),
        answer(200, json={"error": "later"}),
        answer(200, b""),
        answer(200, BODY[:-1], headers={"Content-Length": str(len(BODY) - 2)}),
        answer(200, gzip.compress(BODY)[:-9], headers={"Content-Encoding": "gzip"}),
        answer(200, gzip.compress(BODY)[:-9] + bytes(9), headers={"Content-Encoding": "gzip"}),
        answer(200, BODY, headers={"Content-Encoding": "deflate"}),
        answer(200, BODY, headers={"Content-Encoding": "br"}),
        gzip_bomb(50_000_000, "zeros"),
        raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"),
    ],
    ids=lambda fault: fault.name,
)
def test_a_passing_fault_is_mended_by_fetching_the_whole_file_again(
    fault: Instruction, folder: Path, clock: Clock
) -> None:
    with ScriptedServer({FILE: [*attempt_of(fault), answer(200, BODY)]}) as server:
        assert fetch(server.url, folder, clock) == BODY
    assert all(request.header("Range") is None for request in server.requests)
    assert len(clock.slept) == 1


@pytest.mark.real_input("D3")
@pytest.mark.parametrize(
    "label",
    [
        "aws-chunked",
        "identity",
        "",
        "utf-8",
        "UTF8",
        "binary",
        "none",
        "x",
        "aws-chunked,",
        "gzip",
        "GZIP, aws-chunked",
    ],
)
def test_a_label_that_says_nothing_of_the_bytes_is_passed_over(label: str, folder: Path) -> None:
    with ScriptedServer({FILE: [answer(200, BODY, headers={"Content-Encoding": label})]}) as server:
        assert fetch(server.url, folder) == BODY


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.real_input("D3")
@pytest.mark.parametrize(
    ("label", "packed"),
    [
        ("gzip", gzip.compress(BODY)),
        ("x-gzip", gzip.compress(BODY)),
        ("aws-chunked,gzip", gzip.compress(BODY)),
        ("gzip", gzip.compress(BODY) + bytes(100)),
        ("deflate", zlib.compress(BODY, 9)),
        ("deflate", zlib.compress(BODY, 1)),
        ("deflate", raw_deflate(BODY)),
    ],
    ids=["gzip", "its old name", "of an upload", "with padding", "deflate", "quick deflate", "raw deflate"],
)
@pytest.mark.parametrize("in_chunks", [True, False])
def test_what_was_compressed_unasked_is_unpacked(label: str, packed: bytes, *, in_chunks: bool, folder: Path) -> None:
    labelled = {"Content-Encoding": label}
    sent = chunked(packed, 997, headers=labelled) if in_chunks else answer(200, packed, headers=labelled)
    with ScriptedServer({FILE: [sent]}) as server:
        assert fetch(server.url, folder) == BODY


@pytest.mark.real_input("D3")
@pytest.mark.parametrize("label", ["br", "zstd", "compress", "gzip, gzip", "gzip, br"])
def test_what_cannot_be_unpacked_is_named(label: str, folder: Path) -> None:
    page = answer(200, BODY, headers={"Content-Encoding": label})
    with (
        ScriptedServer({FILE: [page] * 3}) as server,
        pytest.raises(NotTheResult, match=rf"127\.0\.0\.1 compressed the result \({label}\)"),
    ):
        fetch(server.url, folder)


@pytest.mark.real_input("D3")
def test_a_bomb_is_bounded_by_what_it_unpacks_to(folder: Path) -> None:
    bomb = gzip.compress(bytes(3_000_000))
    script = {FILE: [answer(200, bomb, headers={"Content-Encoding": "gzip"})]}
    with ScriptedServer(script) as server, pytest.raises(ResultRefused, match="more than 1000000 bytes"):
        fetch(server.url, folder, bytes=1_000_000)
    assert (folder / "result").stat().st_size <= 1_000_000


@pytest.mark.parametrize(
    "fault",
    [cut_after(60_000, BODY), cut_after(60_000, BODY, framing="close"), answer(503), reset_after_request()],
    ids=lambda fault: fault.name,
)
def test_a_lasting_fault_is_given_up_after_four_attempts(fault: Instruction, folder: Path, clock: Clock) -> None:
    with ScriptedServer({FILE: attempt_of(fault) * 4}) as server, pytest.raises(DownloadFailed):
        fetch(server.url, folder, clock)
    assert len(clock.slept) == 3


@pytest.mark.parametrize(
    "page",
    [
        answer(200, b"<html>"),
        answer(200, json={}),
        answer(200, b""),
        answer(200, BODY, headers={"Content-Encoding": "br"}),
    ],
    ids=["HTML", "JSON", "0 bytes", "an encoding"],
)
def test_something_else_than_the_file_is_given_up_after_three_attempts(
    page: Instruction, folder: Path, clock: Clock
) -> None:
    with ScriptedServer({FILE: [page] * 3}) as server, pytest.raises(NotTheResult):
        fetch(server.url, folder, clock)
    assert len(clock.slept) == 2


def test_a_host_that_cannot_be_reached_is_tried_four_times(folder: Path, clock: Clock) -> None:
    with (
        ScriptedServer(listening=False) as server,
        pytest.raises(DownloadFailed, match=r"could not be fetched whole from 127\.0\.0\.1 \(ClientConnectorError\)"),
    ):
        fetch(server.url, folder, clock)
    assert len(clock.slept) == 3


def test_a_host_that_nobody_knows_is_a_failed_download(folder: Path, clock: Clock) -> None:
    downloader = Downloader(allow_loopback=False, resolver=Resolves(), sleep=clock)
    with pytest.raises(DownloadFailed, match=r"from storage\.example \(ClientConnectorDNSError\)"):
        downloader.fetch("https://storage.example/a.png", folder / "result", whole)
    assert len(clock.slept) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416])
def test_a_link_that_is_refused_is_not_asked_again(status: int, folder: Path, clock: Clock) -> None:
    with (
        ScriptedServer({FILE: [answer(status, b"<Error>ExpiredToken</Error>")]}) as server,
        pytest.raises(LinkExpired, match=rf"127\.0\.0\.1 does not give the result for this link any more \({status}\)"),
    ):
        fetch(server.url, folder, clock)
    assert clock.slept == []


def test_a_line_that_breaks_in_the_middle_is_mended(folder: Path, clock: Clock) -> None:
    with ScriptedServer({FILE: [answer(200, BODY)] * 3}) as server, TcpProxy(server.port) as proxy:
        proxy.cut_after(50_000, times=1)
        proxy.reset(70_000, times=1)
        assert fetch(proxy.url, folder, clock) == BODY
    assert len(clock.slept) >= 1


def test_a_longer_first_attempt_leaves_nothing_in_the_second(folder: Path, clock: Clock) -> None:
    with ScriptedServer({FILE: [answer(200, BODY + BODY), answer(200, BODY)]}) as server:
        assert fetch(server.url, folder, clock) == BODY


def test_what_signs_a_link_is_in_no_message_and_no_log(
    folder: Path, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    caplog.set_level(logging.DEBUG)
    faults = [answer(503), *attempt_of(reset_after_request()), cut_after(9, BODY), raw(b"nonsense\r\n\r\n")]
    with ScriptedServer({FILE: faults}) as server, pytest.raises(DownloadFailed) as caught:
        fetch(server.url, folder, clock)
    inwards = redirect(302, f"http://10.0.0.1/{CANARY}?sig={CANARY}")
    with ScriptedServer({FILE: [inwards]}) as server, pytest.raises(LinkRefused) as refused:
        fetch(server.url, folder, clock)
    assert len([record for record in caplog.records if "Attempt" in record.message]) == 3
    assert CANARY not in caplog.text + str(caught.value) + str(refused.value)
    assert "127.0.0.1" in str(caught.value)


def test_nothing_of_a_link_goes_into_a_name(tmp_path: Path, clock: Clock) -> None:
    wish = {"Content-Disposition": "attachment; filename=../../evil.sh"}
    inside = tmp_path / "inside"
    inside.mkdir()
    with ScriptedServer({"GET ~/.*": [answer(200, BODY, headers=wish)]}) as server:
        link = f"{server.url}/../../etc/passwd"
        Downloader(allow_loopback=True, sleep=clock).fetch(link, inside / "result", whole)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["inside", "inside/result"]


PIXEL = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
ENCODED = base64.b64encode(PIXEL).decode()


@pytest.mark.real_input("D7")
@pytest.mark.parametrize(
    "link",
    [
        pytest.param(f"data:image/png;base64,{ENCODED}", id="as usual"),
        pytest.param(f"DATA:image/webp;charset=utf-8;BASE64,{ENCODED}", id="capital letters and parameters"),
        pytest.param(f"data:;base64,{ENCODED.rstrip('=')}", id="no type, no padding"),
        pytest.param(f"data:image/png;base64,{quote(ENCODED, safe='')}", id="quoted"),
        pytest.param("data:image/png;base64," + base64.encodebytes(PIXEL).decode(), id="in lines"),
        pytest.param("data:image/png;base64," + base64.urlsafe_b64encode(PIXEL).decode(), id="URL-safe"),
        pytest.param("data:image/png," + quote(PIXEL), id="without base64"),
    ],
)
def test_a_link_that_holds_the_image_is_written(folder: Path, link: str) -> None:
    download = Downloader(allow_loopback=False).fetch(link, folder / "result", Path.read_bytes)
    assert (download.found, download.size) == (PIXEL, len(PIXEL))
    assert download.sha256 == hashlib.sha256(PIXEL).hexdigest()


@pytest.mark.real_input("D7")
@pytest.mark.parametrize(
    "link", ["data:", "data:image/png;base64,", "data:image/png;base64,a", "data:image/png;base64,%"]
)
def test_a_link_that_holds_nothing_is_no_result(folder: Path, link: str) -> None:
    with pytest.raises(NotTheResult, match="data: link cannot be decoded"):
        Downloader(allow_loopback=False).fetch(link, folder / "result", whole)


@pytest.mark.real_input("D7")
def test_a_link_that_holds_too_much_is_refused(folder: Path) -> None:
    limits = DownloadLimits(bytes=100)
    for content in (bytes(101), bytes(10_000)):
        link = "data:image/png;base64," + base64.b64encode(content).decode()
        with pytest.raises(ResultRefused, match="more than 100 bytes"):
            Downloader(allow_loopback=False, limits=limits).fetch(link, folder / "result", whole)
