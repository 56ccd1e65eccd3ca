"""
Ledgers that version 0.1.0 wrote: what it landed is found under the names that it gave, and is not paid for again.

``ledgers_of_0_1_0.json`` holds all objects of two destinations after a night of that version, with the bytes of those
that belong to the ledger: ``edited`` of a folder (``file_stem="{name}"``, which it cut down to ASCII, in the prompt,
too), ``links`` of a list.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.generations import only_current
from tests.operators.nights import Nights, counts

if TYPE_CHECKING:
    from tests.doubles.moto_server import Moto

pytestmark = pytest.mark.usefixtures("generation", "quick", "shop")

BUCKET: Final = "shop-of-0-1-0"
PHOTOS: Final = ("Größe XL.jpg", "Sofa.jpg", "a%20b.jpg", "cup.jpg", "sku 1/front.jpg")
FOLDER: Final[dict[str, Any]] = {
    "inputs": f"s3://{BUCKET}/photos/",
    "request": {"prompt": "{name} on white", "output_format": "png"},
    "destination": f"s3://{BUCKET}/edited",
    "overwrite": True,
}
LINKS: Final[dict[str, Any]] = {
    "request": {"prompt": "on white", "output_format": "png"},
    "destination": f"s3://{BUCKET}/links",
    "file_stem": "{sku}",
    "overwrite": True,
}
SIGNED: Final = (
    "https://photos.test/cup.jpg?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=b&X-Amz-Date=20261128T000000Z"
    "&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=ffff"
)


@pytest.fixture
def shop(moto: Moto, bucket: str) -> Any:
    """Put the photos, and what version 0.1.0 left, into the bucket of that name."""
    assert bucket
    moto.s3.create_bucket(Bucket=BUCKET)
    for number, name in enumerate(PHOTOS):
        moto.s3.put_object(Bucket=BUCKET, Key=f"photos/{name}", Body=f"photo {number}".encode())
    left = json.loads(Path(__file__).with_name("ledgers_of_0_1_0.json").read_text("utf-8"))
    for key, content in left.items():
        moto.s3.put_object(Bucket=BUCKET, Key=key, Body=content.encode())
    yield
    for key in moto.keys(BUCKET):
        moto.s3.delete_object(Bucket=BUCKET, Key=key)
    moto.s3.delete_bucket(Bucket=BUCKET)


def links(*addresses: str) -> list[dict[str, str]]:
    return [{"input_image": address, "sku": f"s{number}"} for number, address in enumerate(addresses)]


def uris(moto: Moto, summary: dict[str, Any]) -> list[str]:
    key = summary["manifest"].removeprefix(f"s3://{BUCKET}/")
    return [json.loads(line)["uri"].rpartition("/")[2] for line in moto.body(BUCKET, key).decode().splitlines()]


@only_current
@pytest.mark.real_input("A1")
@pytest.mark.parametrize("stem", ["{name}", "{path}", None])
def test_what_it_has_landed_is_found_under_the_names_that_it_gave(nights: Nights, moto: Moto, stem: str | None) -> None:
    for night in ("n2", "n3"):
        summary = nights.run(night, **FOLDER, file_stem=stem)
        assert counts(summary) == {"reused": 5}
        assert nights.paid == 0
        assert uris(moto, summary) == [*("Gr-e-XL-00.png", "Sofa-00.png", "a-20b-00.png", "cup-00.png", "front-00.png")]


@only_current
@pytest.mark.real_input("A2")
def test_a_replaced_photo_gets_its_new_name_and_the_others_keep_theirs(nights: Nights, moto: Moto) -> None:
    moto.s3.put_object(Bucket=BUCKET, Key="photos/Größe XL.jpg", Body=b"\xff\xd8 another photo")
    moto.s3.put_object(Bucket=BUCKET, Key="photos/cup.jpg", Body=b"\xff\xd8 another cup")
    summary = nights.run("n2", **FOLDER, file_stem="{path}")
    assert counts(summary) == {"landed": 2, "reused": 3}
    assert uris(moto, summary)[::3] == ["Größe XL-00.png", "cup-00.png"]
    assert counts(nights.run("n3", **FOLDER, file_stem="{path}")) == {"reused": 5}


@only_current
@pytest.mark.real_input("A1")
def test_a_night_that_calls_pictures_otherwise_says_so_before_it_pays(nights: Nights, logs: Callable[[], str]) -> None:
    request = {"prompt": "{name} on black", "output_format": "png"}
    report = nights.run("n2", **{**FOLDER, "request": request}, file_stem="{name}", plan_only=True)
    assert report["new"] == 5
    assert "2 pictures that are to be made will not be called as version 0.1.0 called them" in logs()
    assert "'Gr-e-XL' becomes 'Größe XL'" in logs()


@only_current
@pytest.mark.fault(106)
@pytest.mark.real_input("C6")
def test_its_links_are_found_and_no_two_of_them_share_a_picture(nights: Nights) -> None:
    known = [SIGNED, "https://photos.test/download?token=AAA", "https://photos.test/image.php?id=7"]
    assert counts(nights.run("n2", links(*known), **LINKS)) == {"reused": 3}
    assert nights.paid == 0

    more = links(*known, "https://photos.test/download?token=BBB", "https://photos.test/image.php?id=8")
    assert counts(nights.run("n3", more, **LINKS)) == {"reused": 3, "landed": 2}
    assert counts(nights.run("n4", more, **LINKS)) == {"reused": 5}
    assert nights.paid == 0
