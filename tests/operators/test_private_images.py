"""Inputs that only the user's own account can read: signed for the vendor, and shown to nobody else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.faults import SUBMIT, ScriptedServer, pending
from tests.running import FakeStore, assert_discreet, context, image_to_image, in_task_modes, run_to_end

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.doubles.moto_server import Moto
    from tests.generations import Generation
    from tests.vendor import Vendor

pytestmark = pytest.mark.usefixtures("quick", "generation")


@in_task_modes
def test_an_image_on_s3_is_signed_for_the_vendor_and_for_nobody_else(
    vendor: Vendor, moto: Moto, bucket: str, photo: bytes, tmp_path: Path, *, mode: str, logs: Callable[[], str]
) -> None:
    moto.s3.put_object(Bucket=bucket, Key="photos/my cup.png", Body=photo)
    make = image_to_image(f"s3://{bucket}/photos/my cup.png", destination=f"file://{tmp_path}", file_stem="cup")
    store = FakeStore()

    result = run_to_end(make, context(store), mode)

    # The emulator has fetched the input by the link it was given, or there would be no image.
    assert (tmp_path / "cup-00.png").stat().st_size == result["images"][0]["bytes"]
    assert_discreet(str(result))
    assert_discreet("".join(store.rows.values()), hide_links=True)
    assert "Job" in logs()
    assert vendor.count("accepted") == 1


@in_task_modes
@pytest.mark.parametrize(("timeout", "seconds"), [(600.0, 600), (86400.0, 3600)], ids=["the wait", "an hour at most"])
def test_a_signed_link_lives_as_long_as_the_wait_and_an_hour_at_most(
    connection: Callable[..., None],
    moto: Moto,
    bucket: str,
    *,
    mode: str,
    timeout: float,
    seconds: int,
    generation: Generation,
    logs: Callable[[], str],
) -> None:
    moto.s3.put_object(Bucket=bucket, Key="a.png", Body=b"photo")
    make = image_to_image(f"s3://{bucket}/a.png", wait_for_completion=False, timeout=timeout)
    with ScriptedServer({SUBMIT: [pending()]}) as server:
        connection(server.url)
        run_to_end(make, context(FakeStore()), mode)

    link = json.loads(server.requests[0].body)[generation.image]
    query = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    assert seconds - 60 < float(query["X-Amz-Expires"]) <= seconds
    assert "Job" in logs()
