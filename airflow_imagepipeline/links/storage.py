"""The link from a task to what it landed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import XCom
from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import TaskInstanceKey
    from airflow.sdk import BaseOperator


class LandedImageLink(BaseOperatorLink):
    """Open the first landed image on the S3 console; empty for other storage and for tasks that landed nothing."""

    name = "Landed image"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the console's page for the object; never a signed link, never an error."""
        try:
            return console_page(XCom.get_value(ti_key=ti_key, key="return_value"))
        except Exception:  # noqa: BLE001 - Airflow shows a page with a link missing, but not one whose link raises
            return ""


def console_page(result: Any) -> str:
    """Return the S3 console's page for the first image of a result, or an empty text."""
    images = result.get("images") if isinstance(result, dict) else None
    first = images[0] if isinstance(images, list) and images else None
    uri = first.get("uri") if isinstance(first, dict) else None
    if not isinstance(uri, str) or not uri.startswith("s3://"):
        return ""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return f"https://s3.console.aws.amazon.com/s3/object/{quote(bucket)}?prefix={quote(key)}"
