"""Every kind of ``inputs`` becomes rows, and what is none of them is refused with what to give instead."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import UserList
from typing import TYPE_CHECKING, Any

import pytest

from airflow_imagepipeline.batch.inputs import _matcher, read_rows
from airflow_imagepipeline.contract.errors import InvalidParameters, NotSent
from airflow_imagepipeline.storage.folder import StorageFailed
from tests.doubles.moto_server import aws_connection
from tests.memory import peak_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_imagepipeline.batch.tables import SourceRow
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


def read(inputs: object, **more: Any) -> list[SourceRow]:
    return list(read_rows(inputs, link_field="image", aws_conn_id="aws_default", **more))


@pytest.mark.real_input("A8")
def test_endings_match_without_case_and_what_a_glob_leaves_out_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["a.jpg", "b.JPG", "c.Jpg", "d.JPEG", "e.png", "IMG.jpg", "sub/f.JPG", "notes.txt", "_own.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with caplog.at_level("INFO"):
        found = [row.below for row in read(f"{tmp_path}/**/*.jpg")]
    assert found == ["IMG.jpg", "a.jpg", "b.JPG", "c.Jpg", "sub/f.JPG"]
    assert "leaves out 2 images, d.JPEG, e.png among them" in caplog.text
    assert [row.below for row in read(f"{tmp_path}/img*.JPG")] == []
    assert [row.below for row in read(f"{tmp_path}/[a-d].[jJ]*")] == ["a.jpg", "b.JPG", "c.Jpg", "d.JPEG"]


@pytest.mark.real_input("A9")
@pytest.mark.parametrize("kind", ["s3", "file"])
def test_a_folder_that_exists_is_one_whatever_it_is_called(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    names = ["shoes [new]/a.jpg", "50*/b.jpg", "who?/in/c.jpg", "x.csv/d.jpg", "e.jpg/f.jpg"]
    root = f"file://{tmp_path}"
    if kind == "s3":
        bucket = request.getfixturevalue("bucket")
        root = f"s3://{bucket}"
        for name in [*names, "in//g.jpg", "/h.jpg"]:
            request.getfixturevalue("moto").s3.put_object(Bucket=bucket, Key=name, Body=b"x")
        assert [row.below for row in read(f"{root}/in/")] == ["/g.jpg"]
        assert [row.columns["image"] for row in read(f"{root}/**/[g-h].jpg")] == [f"{root}//h.jpg", f"{root}/in//g.jpg"]
    else:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True)
            (tmp_path / name).write_bytes(b"x")
    for name in names:
        folder, _, file = name.partition("/")
        assert [row.below for row in read(f"{root}/{folder}/")] == [file]
        assert [row.below for row in read(f"{root}/{folder}/**/*.jpg")] == [file]
    assert [row.below for row in read(f"{root}/shoes [new]")] == ["a.jpg"]
    # A slash behind a wildcard means the images in the folders that match.
    assert [row.below for row in read(f"{root}/*[]w]/")] == ["shoes [new]/a.jpg"]


@pytest.mark.fault(124)
@pytest.mark.parametrize("glob", ["**/**/**/**/none.jpg", "**/a/**/a/**/a/**/b.jpg", "**/*a*a*a*a*a*a*b.jpg"])
def test_a_glob_takes_no_longer_than_a_name_is_long(glob: str) -> None:
    tried = 0

    class Counted(str):
        __slots__ = ()

        def startswith(self, *given: Any) -> bool:
            nonlocal tried
            tried += 1
            return super().startswith(*given)

    class Name(str):
        __slots__ = ()

        def split(self, *given: Any) -> Any:
            return [Counted(part) for part in super().split(*given)]

    matches = _matcher(glob.split("/"))
    assert not matches(Name("a/" * 300 + "a" * 200 + "c.jpg"))
    assert not matches(Name("a/" * 300 + "none.JPEG"))
    assert tried < 300 * 20


@pytest.mark.real_input("B1")
@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("{root}/catlog/", "there is no folder {root}/catlog/, or nothing is in it"),
        ("{root}/catalog/*.tiff", "none of the 1 files in {root}/catalog/ matches {root}/catalog/*.tiff"),
        ("{root}/catlog/*.jpg", "there is no folder {root}/catlog/"),
        ("{root}/catalog/", "none of the 1 files in {root}/catalog/ is an image (.jpg"),
        ("{root}/empty.csv", "the table {root}/empty.csv holds no row"),
    ],
)
def test_inputs_without_a_row_are_refused_with_what_was_looked_for(tmp_path: Path, inputs: str, message: str) -> None:
    root = f"file://{tmp_path}"
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "notes.txt").write_bytes(b"x")
    (tmp_path / "empty.csv").write_text("image\n,\n")
    with pytest.raises(InvalidParameters) as caught:
        read(inputs.format(root=root), on_empty="fail")
    assert message.format(root=root) in str(caught.value)
    assert "on_empty='succeed'" in str(caught.value)
    assert read(inputs.format(root=root), on_empty="succeed") == []
    assert read([], on_empty="fail") == []


@pytest.mark.real_input("B1")
def test_a_folder_that_may_not_be_listed_is_no_empty_folder(bucket: str) -> None:
    with pytest.raises(StorageFailed, match="NoSuchBucket"):
        read(f"s3://{bucket}-none/in/", on_empty="succeed")


@pytest.mark.real_input("B2")
@pytest.mark.parametrize("name", ["rows.xlsx", "rows.txt", "rows.csv.zip", "rows.parq", "book.ods"])
def test_a_table_that_is_not_read_is_refused_by_its_ending(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InvalidParameters, match=rf"is no folder, and \.{name.rpartition('.')[2]} is no table"):
        read(f"{tmp_path}/{name}")


ROWS = [{"image": "s3://b/1.png", "title": "Größe \u2028XL"}, {"image": "s3://b/2.png", "title": "a,b"}]


@pytest.mark.real_input("B2")
@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "ndjson", "json", "array.json"])
@pytest.mark.parametrize("packed", [False, True])
def test_tables_of_every_kind_have_the_same_rows(
    table: Callable[[str, bytes], str], ending: str, *, packed: bool
) -> None:
    if ending in {"csv", "tsv"}:
        sink = io.StringIO()
        writer = csv.writer(sink, delimiter="," if ending == "csv" else "\t")
        writer.writerows([["image", "title"], *[list(row.values()) for row in ROWS]])
        text = sink.getvalue()
    elif ending == "array.json":
        text = json.dumps(ROWS, indent=2)
    else:
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
    content = gzip.compress(text.encode()) if packed else text.encode()
    assert columns(table(f"rows.{ending}{'.GZ' if packed else ''}", content)) == ROWS


@pytest.mark.real_input("B2")
def test_parquet_is_a_table(table: Callable[[str, bytes], str]) -> None:
    from pyarrow import BufferOutputStream, Table, parquet

    sink = BufferOutputStream()
    parquet.write_table(Table.from_pylist([*ROWS, {"image": None, "title": None}]), sink)
    assert columns(table("rows.parquet", sink.getvalue().to_pybytes())) == ROWS
    with pytest.raises(InvalidParameters, match=r"rows.parquet, row 1 is no Parquet"):
        columns(table("rows.parquet", b"PAR1 or not"))


@pytest.mark.real_input("B2")
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv.gz", b"image\nx\n", "it is not whole, or no gzip"),
        ("a.csv.gz", gzip.compress(b"image\n" + b"x\n" * 9000, mtime=0)[:-9], "it is not whole, or no gzip"),
        ("a.json", b'{"image":\n 1}', "line 1 is no JSON; each line must be one object"),
        ("a.json", b'[{"image": 1}, 7]', "entry 2 is no JSON object"),
        ("a.json", b'[{"image": 1}', "entry 0 is no JSON; give an array"),
    ],
)
def test_a_packed_or_json_table_that_is_none_says_so(
    table: Callable[[str, bytes], str], name: str, content: bytes, message: str
) -> None:
    with pytest.raises(InvalidParameters, match=message):
        columns(table(name, content))


@pytest.mark.real_input("B3", "B5")
def test_what_spreadsheets_leave_is_no_row_and_hidden_letters_are_no_part_of_a_header(tmp_path: Path) -> None:
    header = "\ufeff\u200bimage\u200b,\u2060ti\u200btle\u00a0,می\u200cشود"
    lines = [",,", header, ",", " ,\t,", "s3://b/1.png,Cup,x,,", ""]
    (tmp_path / "rows.csv").write_text("\n".join(lines), "utf-8-sig")
    row = {"image": "s3://b/1.png", "title": "Cup", "می\u200cشود": "x"}
    assert columns(f"{tmp_path}/rows.csv") == [row]
    (tmp_path / "rows.jsonl").write_text('{"\\ufeffimage": 1}\n{"image": null, "t": " "}\n', "utf-8")
    assert columns(f"{tmp_path}/rows.jsonl") == [{"image": 1}]
    assert columns([{"\u200bimage": 1}, {}]) == [{"image": 1}, {}]


@pytest.mark.fault(116)
def test_a_number_of_thousands_of_digits_spoils_its_row_only(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(f'{{"image": {"9" * 5000}}}\n{{"image": 1}}\n')
    assert columns(f"{tmp_path}/rows.jsonl") == [{"image": "9" * 5000}, {"image": 1}]


@pytest.mark.real_input("B8")
def test_a_path_object_is_an_address(tmp_path: Path) -> None:
    assert columns([tmp_path / "a b.png"]) == [{"image": f"{tmp_path}/a b.png"}]
