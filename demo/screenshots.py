"""Take the documentation's pictures of the Images tab: `make screenshots`.

Needs Debian's chromium, or another one whose path is in CHROMIUM.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from playwright.sync_api import sync_playwright

from demo.gallery import Gallery

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TARGET: Final = Path(__file__).parents[1] / "docs" / "images"
_DESK: Final = {"width": 1360, "height": 900}
_PHONE: Final = {"width": 390, "height": 844}


def main() -> None:
    """Start an Airflow with images, look at it, and end it."""
    with tempfile.TemporaryDirectory(prefix="gallery-") as home, Gallery(Path(home)) as gallery:
        shots: list[tuple[str, str, dict[str, Any]]] = [
            ("images-tab-job", gallery.tab("edit_cover"), {"viewport": _DESK}),
            ("images-tab-batch", gallery.tab("edit_catalogue"), {"viewport": _DESK}),
            ("images-tab-dark", gallery.tab("edit_catalogue"), {"viewport": _DESK, "color_scheme": "dark"}),
            ("images-tab-run", gallery.tab(), {"viewport": _DESK}),
            ("images-tab-row", f"{gallery.page('edit_catalogue')}/rows/10", {"viewport": _DESK}),
            ("images-tab-phone", gallery.page("edit_cover"), {"viewport": _PHONE}),
        ]
        with sync_playwright() as playwright:
            chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for name, address, options in shots:
                _take(browser, gallery, address, TARGET / f"{name}.png", options)
                print(TARGET / f"{name}.png")
            browser.close()


def _take(browser: Browser, gallery: Gallery, address: str, target: Path, options: dict[str, Any]) -> None:
    context = browser.new_context(**options)
    login = {"username": "viewer", "password": gallery.airflow.passwords["viewer"]}
    token = context.request.post(f"{gallery.airflow.url}/auth/token", data=login).json()["access_token"]
    context.add_cookies([{"name": "_token", "value": token, "url": gallery.airflow.url}])
    page = context.new_page()
    page.goto(address)
    inside = page.frame_locator("iframe[title=Images]") if "/plugin/" in address else page
    # Thumbnails are made at the first look; `ready` is set when one has come.
    inside.locator("img.ready").first.wait_for(timeout=60_000)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)
    target.parent.mkdir(exist_ok=True)
    page.screenshot(path=target)
    context.close()


if __name__ == "__main__":
    main()
