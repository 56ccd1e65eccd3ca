"""
A shop's folder through the nightly recipe, six times: as it is, unchanged, and with what people do in between.

``python -m tests.real_inputs.five_nights`` prints what each night has paid for, and which file holds whose picture.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from airflow_imagepipeline.operators.batch import EditImageBatchOperator
from tests.airflow_versions import HAS_TASK_STATE_STORE
from tests.doubles.moto_server import Moto, aws_connection, running_moto
from tests.operators.nights import TaskInstance
from tests.real_inputs.echo_vendor import EchoVendor, running_echo_vendor, source_of
from tests.real_inputs.people_folder import people_folder, photo_bytes
from tests.running import KEY, FakeStore, run_to_end

PROMPT: Final = "put {name} on a plain white background"
WHITE: Final = "put the product on a plain white background"
REPLACED: Final = "Обувь 5.jpg"
DELETED: Final = "Sofa Ä.jpg"
RENAMED: Final = ("2024/IMG_0001.jpg", "2024/Große Tasse.jpg")
_FOLDER: Final = "catalog/"


@dataclass
class Night:
    """
    What a night has done.

    :param posts: requests that the vendor has accepted.
    :param outcomes: outcome to rows.
    :param rows: of the manifest.
    :param holders: key of an image in the destination to the prompt and the input's digest that it was made of.
    """

    name: str
    posts: int
    outcomes: dict[str, int]
    rows: list[dict[str, Any]]
    holders: dict[str, tuple[str, str]] = field(default_factory=dict)


class Shop:
    """A bucket with the folder, a vendor, and the task that runs every night."""

    def __init__(self, moto: Moto, vendor: EchoVendor, bucket: str) -> None:
        self.moto = moto
        self.vendor = vendor
        self.bucket = bucket
        self.files = people_folder()
        self._count = 0
        for key, content in self.files.items():
            self._put(key, content)

    def replace(self, key: str) -> None:
        self.files[key] = photo_bytes(900)
        self._put(key, self.files[key])

    def delete(self, key: str) -> None:
        del self.files[key]
        self.moto.s3.delete_object(Bucket=self.bucket, Key=_FOLDER + key)

    def rename(self, old: str, new: str) -> None:
        content = self.files[old]
        self.delete(old)
        self.files[new] = content
        self._put(new, content)

    def night(self, name: str, prompt: str, mode: str) -> Night:
        """Run the recipe of the README once."""
        before, self._count = len(self.vendor.posts), self._count + 1
        given: dict[str, Any] = {"ti": TaskInstance(f"night-{self._count}"), "params": {}, "run_id": "night"}
        if HAS_TASK_STATE_STORE:
            given["task_state_store"] = FakeStore()

        def make(**how: Any) -> Any:
            return EditImageBatchOperator(
                task_id="edit",
                inputs=f"s3://{self.bucket}/{_FOLDER}",
                request={"prompt": prompt, "output_format": "png"},
                destination=f"s3://{self.bucket}/edited",
                file_stem="{path}",
                overwrite=True,
                accept={},
                on_invalid_row="skip",
                min_success_ratio=0.98,
                max_jobs=2_000,
                price_per_job=0.04,
                poll_interval=0.2,
                defer_after=0.0,
                retries=3,
                **how,
            )

        summary = run_to_end(make, given, mode)
        manifest = self.moto.body(self.bucket, summary["manifest"].removeprefix(f"s3://{self.bucket}/"))
        rows = [json.loads(line) for line in manifest.decode().splitlines()]
        outcomes = {outcome: count for outcome, count in summary["counts"].items() if count}
        return Night(name, len(self.vendor.posts) - before, outcomes, rows, self._holders())

    def _put(self, key: str, content: bytes) -> None:
        self.moto.s3.put_object(Bucket=self.bucket, Key=_FOLDER + key, Body=content)

    def _holders(self) -> dict[str, tuple[str, str]]:
        images = [key for key in _all_keys(self.moto, self.bucket) if key.startswith("edited/") and _is_image(key)]
        return {key: source_of(self.moto.body(self.bucket, key)) for key in images}


def wrong_pictures(shop: Shop, night: Night) -> list[str]:
    """Return the rows whose files are not made of the bytes that their input has now."""
    prefix = f"s3://{shop.bucket}/"
    wrong = []
    for row in night.rows:
        content = shop.files.get(row["input"].removeprefix(prefix + _FOLDER), b"")
        expected = hashlib.sha256(content).hexdigest()
        held = [night.holders[image["uri"].removeprefix(prefix)][1] for image in row["images"]]
        if any(digest != expected for digest in held):
            wrong.append(f"{row['input']}: {row['images']}")
    return wrong


def unexplained_rows(night: Night) -> list[str]:
    """Return the rows that have neither an image nor a reason."""
    return [row["input"] for row in night.rows if not row["images"] and not row["reason"]]


def shared_files(night: Night) -> list[str]:
    """Return the files that several rows name."""
    named = Counter(image["uri"] for row in night.rows for image in row["images"])
    return [uri for uri, count in named.items() if count > 1]


def nights(shop: Shop, mode: str) -> Iterator[Night]:
    """Run the nights, one after the other."""
    yield shop.night("first", WHITE, mode)
    yield shop.night("unchanged", WHITE, mode)
    shop.replace(REPLACED)
    yield shop.night("one replaced", WHITE, mode)
    shop.delete(DELETED)
    yield shop.night("one deleted", WHITE, mode)
    shop.rename(*RENAMED)
    yield shop.night("one renamed", WHITE, mode)
    yield shop.night("prompt changed", PROMPT, mode)


@contextmanager
def connections(moto: Moto, vendor: EchoVendor) -> Iterator[None]:
    """Make the default connections lead to S3 and vendor."""
    with pytest.MonkeyPatch.context() as patch:
        fields = {"conn_type": "imagepipeline", "host": vendor.url, "password": KEY}
        patch.setenv("AIRFLOW_CONN_IMAGEPIPELINE_DEFAULT", json.dumps(fields))
        patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(moto.url))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


def _all_keys(moto: Moto, bucket: str) -> list[str]:
    pages = moto.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [found["Key"] for page in pages for found in page.get("Contents", [])]


def _is_image(key: str) -> bool:
    return key.endswith(".png")


def _print(shop: Shop, night: Night) -> None:
    print(f"\n{night.name}: {night.posts} requests; {night.outcomes}")  # noqa: T201 - talks to a person
    print(f"  wrong pictures: {len(wrong_pictures(shop, night))}, unexplained rows: {len(unexplained_rows(night))}")  # noqa: T201
    for row in night.rows:
        files = ", ".join(image["uri"].removeprefix(f"s3://{shop.bucket}/") for image in row["images"])
        name = row["input"].removeprefix(f"s3://{shop.bucket}/{_FOLDER}")
        print(f"  {row['outcome']:<10} {name!r} -> {files or row['reason']}")  # noqa: T201


def main(mode: str = "worker") -> int:
    """Print the nights."""
    for moto in running_moto():
        with running_echo_vendor() as vendor, connections(moto, vendor):
            shop = Shop(moto, vendor, moto.bucket())
            for night in nights(shop, mode):
                _print(shop, night)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
