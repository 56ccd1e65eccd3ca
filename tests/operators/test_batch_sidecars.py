"""What the sidecars of a batch know of its inputs: the version that its plan has seen."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from airflow_imagepipeline.batch.planning import planned_rows
from airflow_imagepipeline.contract.parameters import EditImageParameters
from airflow_imagepipeline.contract.planned_row import PlannedRow
from tests.doubles.pictures import picture
from tests.generations import only_current

if TYPE_CHECKING:
    from pathlib import Path

    from tests.doubles.moto_server import Moto
    from tests.operators.nights import Nights


@only_current
@pytest.mark.usefixtures("generation")
def test_the_sidecar_names_the_version_of_its_input(nights: Nights) -> None:
    nights.run("n1", [{**row, "version": "v7"} for row in nights.rows(1)], file_stem="{sku}")
    (note,) = [json.loads(path.read_text()) for path in nights.folder.glob("*.json")]
    assert [one["version"] for one in note["inputs"]] == ["v7"]


def test_a_planned_row_keeps_what_its_inputs_are_known_by(moto: Moto, bucket: str, tmp_path: Path) -> None:
    moto.s3.put_object(Bucket=bucket, Key="a.png", Body=picture(0))
    tag = moto.s3.head_object(Bucket=bucket, Key="a.png")["ETag"].strip('"')
    (tmp_path / "b.png").write_bytes(picture(1))
    rows = planned_rows(
        [{"input_image": f"s3://{bucket}/a.png"}, {"input_image": str(tmp_path / "b.png")}],
        request={"prompt": "a cup"},
        file_stem=None,
        parameters_class=EditImageParameters,
        link_field="input_image",
        aws_conn_id="aws_default",
        upload_inputs=True,
    )
    kept = [PlannedRow.from_line(row.to_line()).tags for row in rows]
    assert kept == [[f"{tag}:{len(picture(0))}"], [hashlib.sha256(picture(1)).hexdigest()]]
