"""
Count the requests that real inputs cost, at the vendor's side: ``python -m tests.real_inputs.requests_paid``.

With the package of another version first on the path, it counts that version's.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from airflow_imagepipeline.operators.batch import EditImageBatchOperator
from airflow_imagepipeline.operators.imagepipeline import EditImageOperator
from tests.airflow_versions import HAS_TASK_STATE_STORE
from tests.doubles.moto_server import Moto, running_moto
from tests.operators.nights import TaskInstance
from tests.real_inputs.echo_vendor import EchoVendor, running_echo_vendor
from tests.real_inputs.five_nights import connections
from tests.real_inputs.people_folder import photo_bytes
from tests.running import KEY, FakeStore, context, run_to_end

PROMPT: Final = "put it on white"


class World:
    """A vendor, S3 and a folder on disk; what a task says in the end is kept as one line."""

    def __init__(self, moto: Moto, vendor: EchoVendor, home: Path) -> None:
        self.moto = moto
        self.vendor = vendor
        self.bucket = moto.bucket()
        self.home = home
        self.said: list[str] = []

    def put(self, *keys: str, content: bytes | None = None, **more: Any) -> None:
        """Put photos under keys; each is another one."""
        for key in keys:
            body = photo_bytes(sum(key.encode())) if content is None else content
            self.moto.s3.put_object(Bucket=self.bucket, Key=key, Body=body, **more)

    def file(self, name: str, content: bytes | str | None = None) -> Path:
        """Write a file, a photo by default."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            content = photo_bytes(sum(name.encode()))
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def link(self, name: str) -> str:
        """Return a link to a photo on the vendor's side."""
        self.vendor.keep(name, photo_bytes(sum(name.encode())))
        return f"{self.vendor.url}/results/{name}.png"

    def batch(self, inputs: Any, *, run: str = "night", request: Any = None, **arguments: Any) -> None:
        """Run a batch to its end, whatever that is."""
        asked = {"prompt": PROMPT, "output_format": "png", **(request or {})}
        usual: dict[str, Any] = {
            "destination": f"s3://{self.bucket}/edited",
            "on_invalid_row": "skip",
            "file_stem": "{name}",
        }
        usual |= {"poll_interval": 0.1, "timeout": 20.0, "retries": 3, "task_id": "edit", "request": asked}
        ti = TaskInstance(run)
        given: dict[str, Any] = {"ti": ti, "params": {}, "run_id": run}
        if HAS_TASK_STATE_STORE:
            given["task_state_store"] = FakeStore()
        make = lambda **mode: EditImageBatchOperator(**{**usual, "inputs": inputs, **mode, **arguments})  # noqa: E731
        self._run(make, given)

    def single(self, image: str, **arguments: Any) -> None:
        """Run a single job to its end, whatever that is."""
        usual: dict[str, Any] = {"prompt": PROMPT, "output_format": "png", "destination": f"s3://{self.bucket}/edited"}
        usual |= {"poll_interval": 0.1, "timeout": 5.0, "task_id": "edit"}
        given = context(FakeStore() if HAS_TASK_STATE_STORE else None)
        make = lambda **mode: EditImageOperator(**{**usual, "input_image": image, **mode, **arguments})  # noqa: E731
        self._run(make, given)

    def _run(self, make: Callable[..., Any], given: Any) -> None:
        try:
            result = run_to_end(make, given, "worker")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the task's end
            self.said.append(f"{type(error).__name__}: {error}"[:110])
        else:
            found = {name: count for name, count in result.get("counts", {}).items() if count}
            self.said.append(str(found or [image["uri"].rpartition("/")[2] for image in result.get("images", [])]))


def _a1(world: World) -> None:
    world.put("in/Größe XL.jpg", "in/Обувь 5.jpg", "in/红色杯子.jpg", "in/Sofa Ä.jpg")
    world.batch(f"s3://{world.bucket}/in/")


def _a2(world: World) -> None:
    world.put("in/Sofa Ä.jpg", "in/Sofa Ü.jpg")
    world.batch(f"s3://{world.bucket}/in/", overwrite=True)
    world.moto.s3.delete_object(Bucket=world.bucket, Key="in/Sofa Ä.jpg")
    world.batch(f"s3://{world.bucket}/in/", run="second", overwrite=True)


def _a3(world: World) -> None:
    world.put("in/1/IMG_0001.jpg", "in/2/IMG_0001.jpg", "in/3/IMG_0001.jpg", "in/4/IMG_0001.jpg")
    world.batch(f"s3://{world.bucket}/in/", file_stem="{path}")


def _a4(world: World) -> None:
    world.put("in/cup.jpg", "in/cup.png", "in/sofa.jpg")
    world.batch(f"s3://{world.bucket}/in/")


def _a5(world: World) -> None:
    world.put("in/a.jpg")
    world.batch([{"input_image": f"s3://{world.bucket}/in/a.jpg", "sku": "Größe/XL 5"}], file_stem="{sku}")


def _a6(world: World) -> None:
    world.put("in/a.jpg", "in/b.jpg")
    rows = [{"input_image": f"s3://{world.bucket}/in/{n}.jpg", "sku": sku} for n, sku in (("a", "Cup"), ("b", "cup"))]
    world.batch(rows, file_stem="{sku}")


def _a7(world: World) -> None:
    world.file("mit Leer ü/a.jpg")
    destination = f"{world.home.as_uri()}/out%20put"
    world.batch(f"{world.home.as_uri()}/mit%20Leer%20%C3%BC/", upload_inputs=True, destination=destination)


def _a8(world: World) -> None:
    world.put("in/a.jpg", "in/b.JPG", "in/c.Jpg")
    world.batch(f"s3://{world.bucket}/in/**/*.jpg")


def _a9(world: World) -> None:
    world.put("in/a//b.jpg", "in/shoes [new]/c.jpg")
    world.batch(f"s3://{world.bucket}/in/")
    world.batch(f"s3://{world.bucket}/in/shoes [new]/", run="second")


def _b1(world: World) -> None:
    world.batch(f"s3://{world.bucket}/no-such-folder/")


def _b2(world: World) -> None:
    world.put("in/a.jpg", "in/b.jpg")
    lines = [f"s3://{world.bucket}/in/{name}.jpg\t{name}" for name in "ab"]
    table = world.file("rows.tsv", "input_image\tsku\n" + "\n".join(lines) + "\n")
    world.batch(f"file://{table}", file_stem="{sku}")


def _b3(world: World) -> None:
    link = world.link("p1").replace("p1", "{sku}")
    table = world.file("rows.csv", "sku,title\np1,cup\n,\np1,\n")
    asked = {"input_image": link, "prompt": "{title} on white"}
    world.batch(f"file://{table}", request=asked, file_stem="{sku}-{title}")


def _b4(world: World) -> None:
    rows = [{"input_image": world.link("p1"), "name": float("nan"), "sku": "a"}]
    rows += [{"input_image": world.link("p2"), "name": None, "sku": "b"}]
    world.batch(rows, request={"prompt": "{name} on white"}, file_stem="{sku}")


def _b5(world: World) -> None:
    table = world.file("rows.csv", f"\ufeff\ufeffinput_image,\u200bsku\n{world.link('p1')},a\n")
    world.batch(f"file://{table}", file_stem="{sku}")


def _b7(world: World) -> None:
    world.put("in/empty.jpg", content=b"")
    world.put("in/cold.jpg", StorageClass="GLACIER")
    world.put("in/good.jpg")
    world.batch(f"s3://{world.bucket}/in/")


def _b10(world: World) -> None:
    world.put("in/a.jpg")
    world.batch(f"s3://{world.bucket}/in/", plan_only="{{ False }}")


def _c1(world: World) -> None:
    world.single(f"s3://{world.bucket}/in/misspelt.jpg")
    world.single("s3://no-such-bucket-here/in/a.jpg")


def _c5(world: World) -> None:
    for name in "abcde":
        world.file(f"in/{name}.jpg")
    world.batch(f"file://{world.home}/in/", upload_inputs=True, max_jobs=3)
    world.said.append(f"{world.vendor.uploads} uploads")


def _c6(world: World) -> None:
    for night in ("1", "2"):
        sign = f"?q-sign-algorithm=sha1&q-ak=AK&q-sign-time={night};9&q-key-time={night};9&q-signature=ab{night}"
        more = "&q-header-list=host&q-url-param-list="
        rows = [{"input_image": world.link(f"p{n}") + sign + more, "sku": f"p{n}"} for n in range(10)]
        world.batch(rows, run=night, file_stem="{sku}", overwrite=True)


def _c6_unknown(world: World) -> None:
    for night in ("1", "2"):
        rows = [{"input_image": world.link(f"p{n}") + f"?pass={night}", "sku": f"p{n}"} for n in range(10)]
        world.batch(rows, run=night, file_stem="{sku}", overwrite=True)


def _c7(world: World) -> None:
    world.file("in/a.jpg")
    world.batch(f"file://{world.home}/in/", upload_inputs=True)
    world.batch(f"file://localhost{world.home}//in/./", run="second", upload_inputs=True)


def _c8(world: World) -> None:
    world.single(world.link("p1"), prompt=f"{KEY} on white")
    leaked = [prompt for prompt, _ in world.vendor.posts if KEY in prompt]
    world.said.append(f"the key was sent {len(leaked)} times")


def _d1(world: World) -> None:
    world.file("in/motion.jpg", photo_bytes(1) + b"\0\0\0\x18ftypmp42" + bytes(999))
    world.vendor.change_result = lambda picture: picture + b"\n"
    world.batch(f"file://{world.home}/in/", upload_inputs=True)


def _d2(world: World) -> None:
    def with_text(picture: bytes) -> bytes:
        import zlib

        data = b"Comment\0\0" + zlib.compress(bytes(2 * 2**20))
        chunk = len(data).to_bytes(4, "big") + b"zTXt" + data + zlib.crc32(b"zTXt" + data).to_bytes(4, "big")
        return picture[:33] + chunk + picture[33:]

    world.vendor.change_result = with_text
    world.single(world.link("p1"))


def _d5(world: World) -> None:
    world.vendor.name_job = "_V1StGXR8={}".format
    world.single(world.link("p1"))


def _d9(world: World) -> None:
    world.vendor.status_word = "Done"
    world.single(world.link("p1"))


def _d10(world: World) -> None:
    world.put(*(f"in/{n}.jpg" for n in range(6)))
    world.vendor.fail_next = ["MODEL_UNAVAILABLE", "STORAGE_ERROR"]
    world.batch(f"s3://{world.bucket}/in/", min_success_ratio=1.0)


def _attack_6(world: World) -> None:
    rows = [{"input_image": world.link("p1") + f"?token={word}", "sku": word} for word in ("AAA", "BBB", "CCC")]
    world.batch(rows, file_stem="{sku}")


SCENARIOS: Final[dict[str, Callable[[World], None]]] = {
    name.removeprefix("_").replace("_", " "): scenario
    for name, scenario in list(globals().items())
    if name[:2] in {"_a", "_b", "_c", "_d"} and callable(scenario)
}


@contextlib.contextmanager
def _world(moto: Moto) -> Iterator[World]:
    with running_echo_vendor() as vendor, connections(moto, vendor), tempfile.TemporaryDirectory() as home:
        yield World(moto, vendor, Path(home))


def main(*wanted: str) -> int:
    """Print each row's requests, and what the tasks ended with."""
    for moto in running_moto():
        for name, scenario in SCENARIOS.items():
            if not wanted or name in wanted:
                with _world(moto) as world:
                    scenario(world)
                    print(f"{name:<12} {len(world.vendor.posts):>3}  {json.dumps(world.said, ensure_ascii=False)}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
