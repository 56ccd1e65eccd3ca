"""What is done around an edit: cut-outs have an alpha channel, new backgrounds are new, upscaled images are larger."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests
from PIL import Image, ImageChops, ImageDraw

from airflow_imagepipeline.emulator import Emulator

from .api import KEY, PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_RED = (200, 30, 20)


@pytest.fixture(scope="module")
def running() -> Iterator[Emulator]:
    with Emulator(api_key=KEY, job_seconds=0.0) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def product() -> bytes:
    """Return a red disc on grey."""
    image = Image.new("RGB", (120, 90), (128, 128, 128))
    ImageDraw.Draw(image).ellipse((35, 20, 85, 70), fill=_RED)
    target = io.BytesIO()
    image.save(target, "PNG")
    return target.getvalue()


@pytest.fixture(scope="module")
def ask(running: Emulator, product: bytes) -> Callable[..., dict[str, Any]]:
    headers = {"X-API-Key": KEY}
    files = {"file": ("product.png", product, "image/png")}
    link = requests.post(f"{running.url}/upload/image/v1", files=files, headers=headers, timeout=PATIENCE).json()["url"]

    def done(path: str, **body: Any) -> dict[str, Any]:
        url = f"{running.url}/{path}"
        asked = requests.post(url, json={"input_image": link, **body}, headers=headers, timeout=PATIENCE)
        assert asked.status_code == 200, asked.text
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            status = f"{url}/status/{asked.json()['job_id']}"
            answer: dict[str, Any] = requests.get(status, headers=headers, timeout=PATIENCE).json()
            if answer["status"] in {"completed", "failed"}:
                return answer
            time.sleep(0.02)
        raise TimeoutError

    return done


def picture(link: str) -> Image.Image:
    return Image.open(io.BytesIO(requests.get(link, timeout=PATIENCE).content))


def test_a_cut_out_is_transparent_around_the_product(ask: Callable[..., dict[str, Any]]) -> None:
    answer = ask("background/remove/image/v1")
    assert (answer["result_url"], answer["result_mime_type"]) == (None, "image/png")
    cut = picture(answer["cutout_url"])
    assert (cut.mode, cut.size) == ("RGBA", (120, 90))
    assert (cut.getchannel("A").getpixel((2, 2)), cut.getpixel((60, 45))) == (0, (*_RED, 255))


def test_recolor_gives_the_product_on_that_colour_and_the_cut_out(ask: Callable[..., dict[str, Any]]) -> None:
    answer = ask("background/remove/image/v1", recolor="#00ff00", drop_shadow=True, shadow_dy=20, shadow_blur=2)
    result = picture(answer["result_url"])
    assert (result.mode, result.getpixel((2, 2)), result.getpixel((60, 45))) == ("RGB", (0, 255, 0), _RED)
    below = result.getchannel("G").crop((60, 80, 61, 81)).tobytes()
    assert b"\x64" < below < b"\xff"
    assert picture(answer["cutout_url"]).mode == "RGBA"


@pytest.mark.parametrize(("form", "mode"), [("webp", "RGBA"), ("jpeg", "RGB")])
def test_a_cut_out_is_as_transparent_as_its_format_allows(
    ask: Callable[..., dict[str, Any]], form: str, mode: str
) -> None:
    assert picture(ask("background/remove/image/v1", output_format=form)["cutout_url"]).mode == mode


def test_another_background_leaves_the_product(ask: Callable[..., dict[str, Any]], product: bytes) -> None:
    wanted = {"prompt": "a forest in autumn", "seed": 3, "output_format": "png", "harmonize_strength": 0}
    changed = picture(ask("background/change/image/v1", **wanted)["result_url"])
    before = Image.open(io.BytesIO(product))
    assert (changed.size, changed.getpixel((60, 45))) == (before.size, _RED)
    corner = (0, 0, 30, 90)
    assert ImageChops.difference(changed.crop(corner), before.crop(corner)).getbbox() is not None
    again = picture(ask("background/change/image/v1", **wanted)["result_url"])
    assert again.tobytes() == changed.tobytes()


@pytest.mark.parametrize(
    ("asked", "size"), [({}, (480, 360)), ({"scale": 2}, (240, 180)), ({"scale": 1.5}, (180, 135))]
)
def test_an_image_is_scaled_up(
    ask: Callable[..., dict[str, Any]], asked: dict[str, float], size: tuple[int, int]
) -> None:
    assert picture(ask("upscale/image/v1", **asked)["result_url"]).size == size


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("upscale/image/v1", {"scale": 5}, "scale"),
        ("background/change/image/v1", {}, "prompt"),
        ("background/remove/image/v1", {"recolor": "red"}, "recolor"),
    ],
)
def test_a_field_out_of_its_range_is_refused(running: Emulator, path: str, body: dict[str, Any], field: str) -> None:
    url, headers = f"{running.url}/{path}", {"X-API-Key": KEY}
    answer = requests.post(url, json=body, headers=headers, timeout=PATIENCE)
    assert answer.status_code == 422
    assert field in answer.text
