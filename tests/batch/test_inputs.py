"""Every kind of ``inputs`` becomes rows, and what is none of them is refused with what to give instead."""

from __future__ import annotations

import json
from collections import UserList
from typing import TYPE_CHECKING, Any

import pytest

from airflow_imagepipeline.batch.inputs import read_rows
from airflow_imagepipeline.contract.errors import InvalidParameters, NotSent
from airflow_imagepipeline.storage.folder import StorageFailed
from tests.doubles.moto_server import aws_connection
from tests.memory import peak_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.doubles.moto_server import Moto

NAMES = [
    ".hidden.png",
    "B.JPG",
    "_imagepipeline/manifest.png",
    "_own.png",
    "a b#1.webp",
    "cup.jpeg",
    "edited/_imagepipeline/a.png",
    "edited/cup-00.png",
    "notes.txt",
    "sub/.x/z.png",
    "sub/deep/glass.gif",
    "sub/plate.png",
    "tässchen.png",
]


def columns(inputs: object) -> list[dict[str, Any]]:
    return [dict(row.columns) for row in read_rows(inputs, link_field="image", aws_conn_id="aws_default")]


def filled_bucket(moto: Moto, bucket: str) -> str:
    for name in NAMES:
        moto.s3.put_object(Bucket=bucket, Key=f"catalog/{name}", Body=b"x")
    moto.s3.put_object(Bucket=bucket, Key="catalog/folder.png/", Body=b"")
    moto.s3.put_object(Bucket=bucket, Key="catalog-of-others/other.png", Body=b"x")
    return f"s3://{bucket}/catalog"


def filled_folder(root: Path) -> str:
    for name in NAMES:
        (root / "catalog" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "catalog" / name).write_bytes(b"x")
    (root / "catalog-of-others").mkdir()
    (root / "catalog-of-others" / "other.png").write_bytes(b"x")
    return f"file://{root}/catalog"


@pytest.fixture(params=["s3", "file"])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a folder of files; each test runs on S3 and on a disk."""
    if request.param == "file":
        return filled_folder(tmp_path)
    return filled_bucket(request.getfixturevalue("moto"), request.getfixturevalue("bucket"))


@pytest.fixture(params=["s3", "file", "path"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str, bytes], str]:
    """Return what puts a table on storage; each test runs on S3 and on a disk."""

    def put(name: str, content: bytes) -> str:
        if request.param != "s3":
            (tmp_path / name).write_bytes(content)
            return f"{'file://' if request.param == 'file' else ''}{tmp_path / name}"
        bucket = request.getfixturevalue("bucket")
        request.getfixturevalue("moto").s3.put_object(Bucket=bucket, Key=name, Body=content)
        return f"s3://{bucket}/{name}"

    return put


@pytest.mark.parametrize("kind", [list, tuple, iter, UserList, lambda rows: (row for row in rows)])
def test_a_list_of_addresses_and_rows_is_read_as_it_is(kind: Callable[[list[Any]], object]) -> None:
    rows = ["https://a.test/x.png", "s3://b/k", "/a/path", {"image": "s3://b/{x}", "t": "{{ 7*7 }}", "n": 1}, {1: 2}]
    expected = [*({"image": address} for address in rows[:3]), rows[3], {"1": 2}]
    assert columns(kind(rows)) == expected


def test_nothing_yields_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_bytes(b"")
    empty: list[object] = [[], (), iter(()), f"file://{tmp_path}/none/", f"{tmp_path}/empty.csv", f"{tmp_path}/*.png"]
    for inputs in empty:
        assert columns(inputs) == []


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_folder_yields_its_images_by_name_without_what_is_hidden(catalog: str, slash: str) -> None:
    names = ["B.JPG", "a b#1.webp", "cup.jpeg", "edited/cup-00.png", "sub/deep/glass.gif", "sub/plate.png"]
    expected = [{"image": f"{catalog}/{name}"} for name in [*names, "tässchen.png"]]
    assert columns(f"{catalog}{slash}") == expected


def test_a_path_is_a_folder_too(tmp_path: Path) -> None:
    address = filled_folder(tmp_path)
    assert columns(str(tmp_path / "catalog")) == columns(address)


@pytest.mark.parametrize(
    ("glob", "names"),
    [
        ("*.png", ["_own.png", "tässchen.png"]),
        ("*", ["B.JPG", "_own.png", "a b#1.webp", "cup.jpeg", "notes.txt", "tässchen.png"]),
        ("cup.*", ["cup.jpeg"]),
        ("c[t-v]p.jpe?", ["cup.jpeg"]),
        ("[!a-zA-Z]*", ["_own.png"]),
        ("?.JPG", ["B.JPG"]),
        (".*.png", [".hidden.png"]),
        ("**/*.png", ["_own.png", "edited/cup-00.png", "sub/plate.png", "tässchen.png"]),
        ("sub/**", ["sub/deep/glass.gif", "sub/plate.png"]),
        ("sub/**/*.gif", ["sub/deep/glass.gif"]),
        ("*/*.png", ["edited/cup-00.png", "sub/plate.png"]),
        ("s*/d*/*", ["sub/deep/glass.gif"]),
        ("_imagepipeline/*", ["_imagepipeline/manifest.png"]),
        ("a b[#]*", ["a b#1.webp"]),
        ("[^]*", []),
        ("*.tiff", []),
    ],
)
def test_a_glob_yields_what_matches(catalog: str, glob: str, names: list[str]) -> None:
    assert columns(f"{catalog}/{glob}") == [{"image": f"{catalog}/{name}"} for name in names]


def test_a_listing_of_s3_tells_what_each_object_is(moto: Moto, bucket: str) -> None:
    moto.s3.put_object(Bucket=bucket, Key="in/cup.png", Body=b"four")
    etag = moto.s3.head_object(Bucket=bucket, Key="in/cup.png")["ETag"].strip('"')
    for inputs in (f"s3://{bucket}/in/", f"s3://{bucket}/in", f"s3://{bucket}/in/*.png", f"s3://{bucket}/**/*.png"):
        (row,) = read_rows(inputs, link_field="image", aws_conn_id="aws_default")
        assert (row.columns, row.tag) == ({"image": f"s3://{bucket}/in/cup.png"}, f"{etag}:4")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_csv_is_a_table(table: Callable[[str, bytes], str], mark: bytes, end: bytes) -> None:
    lines = [
        "image, prompt,,n",
        's3://b/1.png,"a ""red"", {cup}",x,1',
        "",
        "s3://b/2.png,{{ 7*7 }} {0.__class__}",
        's3://b/3.png,"zwei\nZeilen ä",,',
    ]
    address = table("rows.CSV", mark + end.join(line.encode() for line in lines) + end)
    assert columns(address) == [
        {"image": "s3://b/1.png", "prompt": 'a "red", {cup}', "n": "1"},
        {"image": "s3://b/2.png", "prompt": "{{ 7*7 }} {0.__class__}", "n": ""},
        {"image": "s3://b/3.png", "prompt": "zwei\nZeilen ä", "n": ""},
    ]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
def test_a_json_lines_file_is_a_table(table: Callable[[str, bytes], str], mark: bytes) -> None:
    rows = [{"image": "s3://b/1.png", "n": 1, "e": {"a": [None]}}, {"image": "{x}", "t": "ä\u2028{0.__class__}"}]
    lines = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    assert columns(table("rows.jsonl", mark + lines.encode())) == rows


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"image": 1}\n\n{"image": \n', "a.jsonl, line 3 is no JSON; each line"),
        ("a.jsonl", b'{"image": 1}\n["x"]', "a.jsonl, line 2 is no JSON object"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl, line 1 is no JSON; each line"),
        ("a.jsonl", b'{"image": "\xe4"}', "a.jsonl, line 0 or one soon after it is not UTF-8"),
        ("a.csv", b"image,n\nx,1\ny,1,2\n", "a.csv, line 3 has 3 cells, but the header has 2"),
        ("a.csv", b'image\n"open\n', "a.csv, line 2 is no CSV"),
        ("a.csv", b"image,n, image\n", "a.csv, line 1 names the column 'image' twice"),
        ("a.csv", b"image\n\xff\n", "soon after it is not UTF-8: save the table as UTF-8"),
    ],
)
def test_a_table_that_is_none_names_file_and_line(
    table: Callable[[str, bytes], str], name: str, content: bytes, message: str
) -> None:
    with pytest.raises(InvalidParameters, match=message):
        columns(table(name, content))


def test_a_table_that_is_not_there_is_refused(bucket: str, tmp_path: Path) -> None:
    for address in (f"s3://{bucket}/none.csv", f"file://{tmp_path}/none.jsonl"):
        with pytest.raises(InvalidParameters, match="cannot be read"):
            columns(address)


def test_a_storage_that_does_not_answer_is_no_wrong_input(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = {"config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 1}}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection("http://127.0.0.1:1", **quick))
    with pytest.raises(NotSent):
        columns(f"s3://{bucket}/rows.csv")
    with pytest.raises(StorageFailed):
        columns(f"s3://{bucket}/folder/")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (None, "it is not set; give a list of addresses"),
        ("", "it is not set"),
        (" None ", "it is not set"),
        ({}, "of type dict"),
        ({"image": "x"}, "of type dict; give a list of addresses, a list of rows"),
        ({"a", "b"}, "of type set"),
        (b"abc", "of type bytes"),
        (7, "of type int"),
        ("https://a.test/rows.csv?X-Amz-Signature=abc", "'https://a.test/rows.csv.…' is no folder, glob or table"),
        ("['s3://b/k', 's3://b/l']", "is no folder, glob or table"),
        ("catalog", "'catalog' is no folder"),
        ("s3://bucket/cup.png", r"is the name of one image: give a list, \['s3://bucket/cup.png'\]"),
        ("s3://bucket-*/x.png", "a glob needs a folder before its first wildcard"),
        ("/*.png", "a glob needs a folder before its first wildcard"),
        ("s3://", "inputs: 's3://' is no folder"),
        ("nosuch://x/y/", "inputs: .*cannot be opened"),
    ],
)
def test_anything_else_is_refused_with_what_is_accepted(inputs: object, message: str) -> None:
    with pytest.raises(InvalidParameters, match=message) as caught:
        columns(inputs)
    assert "abc" not in str(caught.value)


def test_a_long_table_is_not_held_in_memory(tmp_path: Path) -> None:
    with (tmp_path / "long.csv").open("w") as file:
        file.write("image,prompt\n")
        file.writelines(f"s3://b/{number}.png,{'word ' * 100}\n" for number in range(10_000))

    def count() -> int:
        return sum(1 for _ in read_rows(str(tmp_path / "long.csv"), link_field="image", aws_conn_id=None))

    assert count() == 10_000
    assert peak_of(count) < 500_000
