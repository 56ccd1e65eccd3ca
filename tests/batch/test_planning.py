"""Rows are filled, checked, named and keyed; what is wrong with one stays with that one."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from airflow_imagepipeline.batch.planning import planned_rows
from airflow_imagepipeline.contract.errors import InvalidParameters, NotSent
from airflow_imagepipeline.contract.parameters import EditImageParameters, ImageToImageParameters
from airflow_imagepipeline.contract.planned_row import PlannedRow
from tests.doubles.moto_server import aws_connection
from tests.memory import peak_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.doubles.moto_server import Moto

Plan = Callable[..., list[PlannedRow]]

LINK = "https://photos.test/{}.png"


def links(count: int) -> list[str]:
    return [LINK.format(number) for number in range(count)]


def only(rows: list[PlannedRow]) -> PlannedRow:
    (row,) = rows
    return row


def changed(before: list[PlannedRow], after: list[PlannedRow]) -> list[int]:
    """Return the places of the rows whose keys differ."""
    return [one.index for one, other in zip(before, after, strict=True) if one.key != other.key]


def test_a_row_is_planned_whole(planned: Plan) -> None:
    request = {"prompt": "{colour} {name} no. {index}", "strength": "{strength}", "width": None, "seed": 7}
    row = {"init_image": f"{LINK.format('Cup%20A')}?X-Amz-Signature=abc", "colour": "red", "strength": 0.5}

    found = only(planned([row], request=request, file_stem="{colour}/{name}-{index}"))

    assert re.fullmatch("[0-9a-f]{32}", found.key)
    assert re.fullmatch("[0-9a-f]{32}", found.old_key)
    assert re.fullmatch("[0-9a-f]{12}", found.owner)
    assert found == PlannedRow(
        index=0,
        input="https://photos.test/Cup%20A.png",
        key=found.key,
        arguments={"prompt": "red Cup A no. 0", "strength": 0.5, "seed": 7, "init_image": row["init_image"]},
        stem="red/Cup A-0",
        tags=[""],
        owner=found.owner,
        old_key=found.old_key,
        old_stem="red/Cup-A-0",
    )


def test_what_was_planned_survives_its_line_and_means_the_same(planned: Plan) -> None:
    row = {"input_image": ["https://a.test/1.png", "https://a.test/2.png"], "n": "7", "p": ["#112233"]}
    request = {"prompt": "ä {n}", "seed": "{n}", "palette": "{p}", "samples": 1, "extra_parameters": {"x": [1, "{n}"]}}

    found = only(planned([row], edit=True, request=request))

    assert PlannedRow.from_line(found.to_line()) == found
    expected = {"input_image": row["input_image"], "prompt": "ä 7", "seed": 7, "palette": ["#112233"]}
    assert found.arguments == expected | {"extra_parameters": {"x": [1, "7"]}}
    again = EditImageParameters.checked(found.arguments)
    assert (
        again.fingerprint()
        == EditImageParameters.checked(
            expected
            | request
            | {"prompt": "ä 7", "seed": 7, "palette": ["#112233"], "extra_parameters": {"x": [1, "7"]}}
        ).fingerprint()
    )


def test_rows_are_data_and_never_a_template(planned: Plan) -> None:
    odd = "{{ 7*7 }} {0.__class__} {name} {lbrace} {% raise %}"
    found = only(planned([{"init_image": LINK.format(1), "text": odd}], request={"prompt": "x {text}"}))
    assert found.arguments["prompt"] == f"x {odd}"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://a.test/in/Red%20cup%20(1).final.png?w=1#x", "Red cup (1).final"),
        ("https://a.test/%E9%9D%B4.png", "靴"),
        ("https://a.test/So%CC%88fa.png", "Söfa"),
        ("s3://bucket/in/cup?#1.png", "cup?#1"),
        ("s3://bucket/cup", "cup"),
    ],
)
def test_a_row_has_the_name_of_its_input(planned: Plan, address: str, name: str) -> None:
    found = only(
        planned([{"init_image": address, "version": "1"}], request={"prompt": "<{name}>"}, aws_conn_id=None)
        if not address.startswith("s3")
        else planned([address], request={"prompt": "<{name}>"}, parameters_class=_Unasked)
    )
    assert found.arguments["prompt"] == f"<{name}>"


class _Unasked(ImageToImageParameters):
    """Its inputs are not looked at."""

    def inputs(self) -> tuple[str, ...]:
        return ()


def test_a_rows_own_columns_win(planned: Plan) -> None:
    row = {"init_image": LINK.format(1), "index": "A", "name": "B"}
    assert only(planned([row], file_stem="{index}-{name}")).stem == "A-B"


def test_the_request_may_make_the_address(planned: Plan) -> None:
    request = {"prompt": "x", "init_image": "https://photos.test/{sku}.png"}
    assert only(planned([{"sku": "A1"}], request=request, file_stem="{name}")).stem == "A1"
    assert only(planned([{"sku": "A1"}], request=request)).input == "https://photos.test/A1.png"


@pytest.mark.parametrize(
    ("row", "more", "message"),
    [
        pytest.param({}, {}, "init_image: there is no column 'init_image'; the row has: index", id="no image"),
        pytest.param(None, {}, "init_image must be given", id="an empty place in the list"),
        pytest.param(7, {}, "init_image: input should be a valid string", id="a number"),
        pytest.param("cup.png", {}, "init_image: 'cup.png' is not an https link", id="a name"),
        pytest.param("https://a.test/x", {"request": {}}, "prompt must be given", id="no prompt"),
        pytest.param(
            {"init_image": LINK, "s": 2},
            {"request": {"prompt": "x", "strength": "{s}"}},
            "strength: 2 is not a number from 0 to 1",
            id="out of range",
        ),
        pytest.param(
            "https://a.test/x",
            {"request": {"prompt": "{sku}"}},
            "prompt: there is no column 'sku'; the row has: file, folder, index, init_image, name, path",
            id="unknown column",
        ),
        pytest.param("https://a.test/x", {"file_stem": "{sku}"}, "file_stem: there is no column 'sku'", id="stem"),
        pytest.param(
            {"init_image": "https://a.test/x", "s": "../a"},
            {"file_stem": "{s}"},
            "file_stem: '../a' may hold no empty part, no '.' and no '..'",
            id="a stem that leaves the folder",
        ),
        pytest.param(
            "https://a.test/", {"file_stem": "{name}"}, "file_stem: '' may hold no empty part", id="an empty stem"
        ),
        pytest.param(
            "/in/cup.png",
            {"edit": True, "upload_inputs": False},
            "input_image: '/in/cup.png' is a file, which only an upload",
            id="a file",
        ),
        pytest.param(
            "/in/cup.png",
            {"edit": True},
            "/in/cup.png cannot be read (ENOENT: No such file or directory)",
            id="no file",
        ),
        pytest.param(
            {"init_image": "https://a.test/x", "p": "\ud800"},
            {"request": {"prompt": "{p}"}},
            "prompt: it holds half a character",
            id="no Unicode",
        ),
        pytest.param(
            {"init_image": "https://a.test/x", "p": "\ud800"},
            {"request": {"prompt": "x", "extra_parameters": {"y": "{p}"}}},
            "extra_parameters: it holds half a character",
            id="no Unicode in a field that is not listed",
        ),
    ],
)
def test_a_wrong_row_is_invalid_with_the_reason_and_the_others_are_planned(
    planned: Plan, row: object, more: dict[str, Any], message: str
) -> None:
    good = {"init_image": LINK.format(1), "input_image": LINK.format(1), "sku": "A", "s": "1", "p": "x", "name": "n"}
    wrong, right = planned([row, good], **more)
    assert message in wrong.invalid
    assert len(wrong.invalid) <= 300
    assert (wrong.index, wrong.key, wrong.arguments, wrong.stem) == (0, "", {}, None)
    assert wrong.to_line().encode()
    if more.get("request") != {}:
        assert (right.index, right.invalid, len(right.key)) == (1, "", 32)


def test_what_is_invalid_shows_no_signature(planned: Plan) -> None:
    signed = "https://photos.test/x y.png?X-Amz-Signature=abcdef&token=abcdef"
    rows = planned([signed, {"init_image": signed}, {"init_image": LINK.format(1), "s": signed}], file_stem="{s}")
    rows += planned([{"init_image": LINK.format(1), "w": signed}], request={"prompt": "x", "width": "{w}"})
    assert len(rows) == 4
    for row in rows:
        assert row.invalid
        assert "abcdef" not in row.to_line()


def test_a_brace_that_stands_alone_stops_the_batch(planned: Plan) -> None:
    with pytest.raises(InvalidParameters, match=r"prompt: the '\{' at character 1 belongs to no"):
        planned([], request={"prompt": "{ cup"})
    with pytest.raises(InvalidParameters, match="file_stem: the '}' at character 2"):
        planned([], file_stem="a}")


def test_a_storage_that_does_not_answer_stops_the_batch(
    planned: Plan, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = {"config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 1}}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection("http://127.0.0.1:1", **quick))
    with pytest.raises(NotSent):
        planned([f"s3://{bucket}/{number}.png" for number in range(100)])


def test_equal_work_has_equal_keys(planned: Plan) -> None:
    first, second, signed, other = planned([*[LINK.format(1)] * 2, f"{LINK.format(1)}?X-Amz-Signature=a", LINK])
    assert first.key == second.key == signed.key != other.key


def test_one_changed_column_changes_exactly_its_keys(planned: Plan) -> None:
    rows = [{"init_image": address, "colour": "red"} for address in links(6)]
    request = {"prompt": "a {colour} cup"}
    before = planned(rows, request=request)
    rows[2] = rows[2] | {"colour": "blue"}
    rows[4] = rows[4] | {"version": "2"}
    rows[5] = rows[5] | {"note": "not asked for"}
    assert changed(before, planned(rows, request=request)) == [2, 4]


def test_salt_and_request_change_every_key(planned: Plan) -> None:
    before = planned(links(3))
    assert changed(before, planned(links(3))) == []
    assert changed(before, planned(links(3), salt="again")) == [0, 1, 2]
    assert changed(before, planned(links(3), request={"prompt": "a mug"})) == [0, 1, 2]
    assert changed(before, planned(links(3), file_stem="{index}")) == []


def test_a_replaced_photo_changes_exactly_its_key_on_s3(planned: Plan, moto: Moto, bucket: str) -> None:
    for number in range(4):
        moto.s3.put_object(Bucket=bucket, Key=f"in/{number}.png", Body=b"before")
    folder, addresses = f"s3://{bucket}/in/", [f"s3://{bucket}/in/{number}.png" for number in range(4)]
    before = planned(folder)
    assert [row.input for row in before] == addresses
    assert planned(addresses) == before

    moto.s3.put_object(Bucket=bucket, Key="in/2.png", Body=b"after!")

    assert changed(before, planned(folder)) == changed(before, planned(addresses)) == [2]


def test_a_replaced_file_changes_exactly_its_key(planned: Plan, tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(b"before")
    before = planned(f"file://{tmp_path}", edit=True)
    assert len({row.key for row in before}) == 4

    (tmp_path / "1.png").write_bytes(b"after!")

    assert changed(before, planned(f"file://{tmp_path}", edit=True)) == [1]


def test_every_image_of_a_row_counts(planned: Plan, moto: Moto, bucket: str) -> None:
    for key in ("in/a.png", "in/b.png", "logo.png"):
        moto.s3.put_object(Bucket=bucket, Key=key, Body=b"\x89PNG" + key.encode())
    request = {"prompt": "x", "input_image": ["{input_image}", f"s3://{bucket}/logo.png"]}
    before = planned(f"s3://{bucket}/in/", edit=True, request=request)
    moto.s3.put_object(Bucket=bucket, Key="in/b.png", Body=b"new")
    assert changed(before, planned(f"s3://{bucket}/in/", edit=True, request=request)) == [1]
    moto.s3.put_object(Bucket=bucket, Key="logo.png", Body=b"new")
    assert changed(before, planned(f"s3://{bucket}/in/", edit=True, request=request)) == [0, 1]


def test_an_object_that_is_not_there_is_an_invalid_row(planned: Plan, moto: Moto, bucket: str) -> None:
    moto.s3.put_object(Bucket=bucket, Key="a.png", Body=b"x")
    good, missing = planned([f"s3://{bucket}/a.png", f"s3://{bucket}/none.png"])
    assert (good.invalid, missing.key) == ("", "")
    assert missing.invalid.startswith(f"s3://{bucket}/none.png cannot be read")


def test_order_is_kept_while_objects_are_asked_about(planned: Plan, moto: Moto, bucket: str) -> None:
    for number in range(60):
        moto.s3.put_object(Bucket=bucket, Key=f"{number}.png", Body=str(number).encode())
    addresses = [f"s3://{bucket}/{number}.png" for number in range(60)]
    mixed = [address for pair in zip(addresses, links(60), strict=True) for address in pair]

    rows = planned(mixed)

    assert [row.input for row in rows] == mixed
    assert [row.index for row in rows] == list(range(120))
    assert len({row.key for row in rows}) == 120


def test_the_second_of_two_different_requests_may_not_take_the_name_of_the_first(planned: Plan) -> None:
    rows = [{"init_image": LINK.format(number), "sku": sku} for number, sku in enumerate(["a", "b", "a", "a"])]
    rows.append(rows[0])
    found = planned(rows, file_stem="{sku}")
    assert [bool(row.invalid) for row in found] == [False, False, True, True, False]
    assert f"its name 'a' is that of another row, 'a' of {LINK.format(0)}: give a file_stem" in found[2].invalid
    assert "{folder}/{file}" in found[2].invalid
    assert found[2].input == LINK.format(2)
    assert found[4].key == found[0].key


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_partition_the_inputs(planned: Plan, count: int) -> None:
    rows = [{"init_image": LINK.format(number), "sku": str(number % 15)} for number in range(20)]
    whole = planned(rows, file_stem="{sku}")
    shards = [planned(iter(rows), file_stem="{sku}", shard=(place, count)) for place in range(count)]
    assert sorted((row for shard in shards for row in shard), key=lambda row: row.index) == whole
    assert all(0 < len(shard) < 40 / count for shard in shards)
    assert sum(bool(row.invalid) for row in whole) == 5


def test_nothing_is_read_before_it_is_asked_for() -> None:
    taken: list[int] = []

    def rows() -> Any:
        for number in range(10_000):
            taken.append(number)
            yield LINK.format(number)

    plan = planned_rows(
        rows(),
        request={"prompt": "x"},
        file_stem=None,
        parameters_class=ImageToImageParameters,
        link_field="init_image",
        aws_conn_id=None,
        upload_inputs=False,
    )
    assert taken == []
    assert next(plan).index == 0
    assert len(taken) < 100


def many(kind: str, count: int, folder: Path) -> object:
    """Return inputs of a kind: so many links, a table of them, or a folder of files."""
    if kind == "links":
        return (LINK.format(number) for number in range(count))
    folder.mkdir()
    if kind == "table":
        lines = "\n".join(LINK.format(number) for number in range(count))
        (folder / "rows.csv").write_text(f"input_image\n{lines}\n")
        return f"{folder}/rows.csv"
    for number in range(count):
        (folder / f"photo-{number:05}.png").write_bytes(b"x")
    return str(folder)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "most"), [("links", 10_000), ("table", 3_000), ("folder", 3_000)])
def test_rows_take_three_megabytes_for_ten_thousand_at_most(tmp_path: Path, kind: str, most: int) -> None:
    def valid(inputs: object) -> int:
        rows = planned_rows(
            inputs,
            request={"prompt": "a cup"},
            file_stem="{name}",
            parameters_class=EditImageParameters,
            link_field="input_image",
            aws_conn_id=None,
            upload_inputs=True,
        )
        return sum(not row.invalid for row in rows)

    # What is imported for the first row is not the rows'.
    assert valid(many(kind, 3, tmp_path / "few")) == 3
    inputs = many(kind, most, tmp_path / "many")

    assert valid(inputs) == most
    assert peak_of(lambda: valid(inputs)) < 500_000 + 250 * most


def test_a_plan_is_json(planned: Plan) -> None:
    for row in planned([*links(3), None]):
        assert json.loads(row.to_line())["index"] == row.index


@pytest.mark.real_input("A3", "A9")
@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("cup.jpg", "cup|cup.jpg||cup"),
        ("sku1/front.final.JPG", "front.final|front.final.JPG|sku1|sku1/front.final"),
        ("a/b/Größe XL.jpg", "Größe XL|Größe XL.jpg|a/b|a/b/Größe XL"),
        ("a//b.jpg", "b|b.jpg|a/=|a/=/b"),
        ("shoes [new]/x.jpg", "x|x.jpg|shoes [new]|shoes [new]/x"),
        ("So\u0308fa.jpg", "Söfa|Söfa.jpg||Söfa"),
    ],
)
def test_every_input_has_columns_of_where_it_lies(
    planned: Plan, moto: Moto, bucket: str, name: str, columns: str
) -> None:
    moto.s3.put_object(Bucket=bucket, Key=f"in/{name}", Body=b"x")
    row = {"name": "{name}", "file": "{file}", "folder": "{folder}", "path": "{path}"}
    request = {"prompt": "x", "extra_parameters": row}

    for inputs in (f"s3://{bucket}/in/", f"s3://{bucket}/in/**/*.jpg"):
        found = only(planned(inputs, request=request, file_stem="{path}"))
        assert "|".join(found.arguments["extra_parameters"].values()) == columns
        assert found.stem == columns.rpartition("|")[2]
    # Of one that is named alone, the folder is that below its bucket.
    assert only(planned([f"s3://{bucket}/in/{name}"], file_stem="{path}")).stem == f"in/{columns.rpartition('|')[2]}"


@pytest.mark.real_input("A3", "A4", "A6")
@pytest.mark.fault(125)
@pytest.mark.parametrize(
    ("names", "stem", "way_out"),
    [
        (["a/IMG_0001.jpg", "b/IMG_0001.jpg"], "{name}", "{path}"),
        (["cup.jpg", "cup.png"], "{name}", "{folder}/{file}"),
        (["a/cup.jpg", "a/cup.png"], "{path}", "{folder}/{file}"),
        (["Cup.jpg", "cup.jpg"], "{path}", None),
        (["So\u0308fa.jpg", "Söfa.jpg"], "{file}", None),
        (["Straße.jpg", "strasse.jpg"], "{path}", None),
    ],
)
def test_two_files_that_would_have_one_name_are_both_named_with_the_way_out(
    planned: Plan, tmp_path: Path, names: list[str], stem: str, way_out: str | None
) -> None:
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * (number + 1))
    first, second = planned(str(tmp_path), edit=True, file_stem=stem)
    assert first.invalid == ""
    assert first.input in second.invalid
    assert second.input.endswith(tuple(names))
    if way_out is not None:
        assert not any(row.invalid for row in planned(str(tmp_path), edit=True, file_stem=way_out))


@pytest.mark.real_input("A4")
def test_a_folder_that_is_none_is_no_part_of_a_name(planned: Plan, tmp_path: Path) -> None:
    (tmp_path / "cup.jpg").write_bytes(b"x")
    assert only(planned(str(tmp_path), edit=True, file_stem="{folder}/{file}")).stem == "cup.jpg"
    assert (
        "the column 'folder' is empty"
        in only(planned(str(tmp_path), edit=True, file_stem="in {folder}", request={"prompt": "x"})).invalid
    )


@pytest.mark.fault(116)
@pytest.mark.real_input("B8")
@pytest.mark.parametrize(
    "version", ["\ud800", 10**5000, "v" * 2000, -(10**4400)], ids=["half", "long number", "long", "negative"]
)
@pytest.mark.parametrize("column", ["version", "sku", "text"])
def test_a_row_that_nobody_can_write_down_is_invalid_and_the_others_go_on(
    planned: Plan, column: str, version: object
) -> None:
    good = {"init_image": LINK.format(1), "sku": "a", "text": "b", "version": 1}
    rows = [{**good, column: version}, {**good, "sku": "c"}]
    wrong, right = planned(rows, file_stem="{sku}", request={"prompt": "{text} on white"})
    if version != "v" * 2000 or column == "version":
        assert wrong.invalid
    assert not right.invalid
    assert wrong.to_line().encode()


@pytest.mark.fault(116)
def test_a_file_whose_name_is_no_text_is_an_invalid_row(planned: Plan, tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(b"x")
    (tmp_path / os.fsdecode(b"b\xfcd.png")).write_bytes(b"x")
    rows = planned(str(tmp_path), edit=True, file_stem="{path}")
    assert sorted(bool(row.invalid) for row in rows) == [False, True]
    assert all(row.to_line().encode() for row in rows)


@pytest.mark.real_input("B3", "B4")
def test_a_cell_that_is_empty_makes_its_row_invalid_where_it_is_needed(planned: Plan) -> None:
    request = {"prompt": "{title} on white", "init_image": "https://cdn.test/{sku}.png", "seed": "{seed}"}
    rows = [
        {"sku": "a", "title": "Cup", "seed": None},
        {"sku": "", "title": "Cup", "seed": 1},
        {"sku": "b", "title": math.nan, "seed": 1},
        {"sku": "c", "title": "Mug", "seed": math.nan, "version": math.nan},
    ]
    found = planned(rows, request=request, file_stem="{sku}")
    assert [bool(row.invalid) for row in found] == [False, True, True, False]
    assert "init_image: the column 'sku' is empty" in found[1].invalid
    assert "seed" not in found[3].arguments


@pytest.mark.real_input("C7")
def test_one_place_is_one_piece_of_work_however_it_is_written(planned: Plan, tmp_path: Path) -> None:
    photo = tmp_path / "mit Leer ü.png"
    photo.write_bytes(b"x")
    spellings = [
        str(photo),
        f"file://{photo}",
        photo.as_uri(),
        f"file://localhost{photo}",
        f"{tmp_path}/./{photo.name}",
    ]
    rows = planned([*spellings, photo], edit=True, file_stem="{name}")
    assert {(row.key, row.input, row.stem, row.invalid) for row in rows} == {
        (rows[0].key, f"file://{photo}", "mit Leer ü", "")
    }
    assert only(planned(tmp_path.as_uri(), edit=True)).key == rows[0].key
    # Another address is another input, whatever its bytes.
    (tmp_path / "b.png").write_bytes(b"x")
    assert only(planned([str(tmp_path / "b.png")], edit=True)).key != rows[0].key


@pytest.mark.real_input("B7")
def test_what_no_one_can_read_is_invalid_before_it_is_paid_for(planned: Plan, moto: Moto, bucket: str) -> None:
    moto.s3.put_object(Bucket=bucket, Key="in/a.png", Body=b"x")
    moto.s3.put_object(Bucket=bucket, Key="in/empty.png", Body=b"")
    for kind in ("GLACIER", "DEEP_ARCHIVE", "GLACIER_IR", "STANDARD_IA"):
        moto.s3.put_object(Bucket=bucket, Key=f"in/{kind}.png", Body=b"x", StorageClass=kind)
    for inputs in (f"s3://{bucket}/in/", [f"s3://{bucket}/{key}" for key in moto.keys(bucket)]):
        reasons = {row.input.rpartition("/")[2]: row.invalid for row in planned(inputs)}
        assert {name for name, reason in reasons.items() if reason} == {"empty.png", "GLACIER.png", "DEEP_ARCHIVE.png"}
        assert "is empty (0 bytes)" in reasons["empty.png"]
        assert "InvalidObjectState" in reasons["GLACIER.png"]
