"""The vendor of the kill suite: an API with a memory, that counts what would be billed and waits where it is told to.

Each order has a prompt of its own, so that several runs can share one server. A request counts as accepted as soon as
it was read: the vendor works, and bills, whether or not anybody is left to hear the answer.
"""

from __future__ import annotations

import io
import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote

from PIL import Image

from demo.processes import wait_until
from tests.faults import STATUS, SUBMIT, Instruction, Request, ScriptedServer, answer, hold, pending, success

if TYPE_CHECKING:
    from types import TracebackType

SIGNATURE = "signed-Rk3+links/stay=private"


@dataclass
class Order:
    """What was asked for with one prompt, and how the vendor behaves towards it.

    :param jobs: ids of the accepted requests: what is paid for.
    :param looks: how often somebody has asked where one of them stands.
    :param looked_at: when that was last, by the monotonic clock.
    :param is_done: whether the jobs are finished.
    :param links_work: False: every download is answered 500.
    :param may_answer: cleared: a request is accepted, and its answer waits.
    """

    prompt: str
    jobs: list[str] = field(default_factory=list)
    looks: int = 0
    looked_at: float = 0.0
    downloads: int = 0
    is_done: bool = False
    links_work: bool = True
    may_answer: threading.Event = field(default_factory=threading.Event)
    _gates: dict[str, threading.Event] = field(default_factory=dict)
    _reached: dict[str, int] = field(default_factory=dict)

    def close(self, place: str) -> None:
        """Hold whoever comes to this point of the task's code."""
        self._gates[place] = threading.Event()

    def open(self, place: str) -> None:
        """Let go whoever waits at this point, and all who come."""
        self._gates.pop(place).set()

    def let_go(self) -> None:
        """Hold nobody any more and finish the job, so that a scenario that failed does not disturb the next one."""
        self.may_answer.set()
        self.is_done = self.links_work = True
        for place in list(self._gates):
            self.open(place)

    def pass_point(self, place: str) -> threading.Event | None:
        """Note that a task has come to a point, and return what it has to wait for."""
        self._reached[place] = self._reached.get(place, 0) + 1
        return self._gates.get(place)

    def wait_for_point(self, place: str, seconds: float = 120, *, times: int = 1) -> None:
        """Wait until so many tries have come to a point."""
        what = f"{self.prompt!r} to come to the point {place!r} ({times})"
        wait_until(lambda: self._reached.get(place, 0) >= times or None, seconds=seconds, what=what)

    def wait_for_jobs(self, count: int = 1, seconds: float = 120) -> None:
        """Wait until so many requests were accepted."""
        wait_until(lambda: len(self.jobs) >= count or None, seconds=seconds, what=f"job {count} of {self.prompt!r}")

    def wait_for_looks(self, more: int = 2, seconds: float = 120) -> None:
        """Wait until somebody has asked so many times from now on."""
        goal = self.looks + more
        what = f"look {goal} at {self.prompt!r}"
        wait_until(lambda: self.looks >= goal or None, seconds=seconds, what=what)

    def wait_for_silence(self, silence: float = 10, seconds: float = 120) -> None:
        """Wait until nobody has asked for a while; those who wait for a job ask every second."""

        def look() -> bool | None:
            return True if time.monotonic() - self.looked_at > silence else None

        wait_until(look, seconds=seconds, what=f"the end of the looks at {self.prompt!r}")

    def wait_for_downloads(self, seconds: float = 120) -> None:
        """Wait until somebody has tried to fetch a picture."""
        wait_until(lambda: self.downloads or None, seconds=seconds, what=f"a download of {self.prompt!r}")


class Vendor:
    """The vendor's API on the loopback, up between ``with`` and its end; the latter fails on unexpected requests."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}
        self._order_of_job: dict[str, Order] = {}
        self.server = ScriptedServer(
            {
                SUBMIT: self._submit,
                STATUS: self._status,
                "GET /pictures": self._picture,
                "GET /points": self._point,
            },
            allow_unused=True,
        )

    def __enter__(self) -> Self:
        """Open the port."""
        self.server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let everybody go, and close it."""
        self.let_go()
        self.server.__exit__(kind, error, trace)

    def let_go(self) -> None:
        """Finish all orders, and hold nobody."""
        for order in self._orders.values():
            order.let_go()

    def expect(self, prompt: str) -> Order:
        """Return the order of this prompt, made on the first call."""
        order = Order(prompt)
        order.may_answer.set()
        return self._orders.setdefault(prompt, order)

    def picture(self, job_id: str) -> bytes:
        """Return the PNG of a job; each has its own colours."""
        shade = 40 + list(self._order_of_job).index(job_id) % 200
        image = Image.linear_gradient("L").resize((64, 64))
        buffer = io.BytesIO()
        Image.merge("RGB", (image, image.rotate(90), Image.new("L", image.size, shade))).save(buffer, "PNG")
        return buffer.getvalue()

    def _submit(self, request: Request) -> Instruction:
        order = self._orders[json.loads(request.body)["prompt"]]
        job_id = f"job-{len(self._order_of_job) + 1}"
        self._order_of_job[job_id] = order
        order.jobs.append(job_id)
        return hold(order.may_answer, then=pending(job_id))

    def _status(self, request: Request) -> Instruction:
        job_id = request.path.rpartition("/")[2]
        order = self._order_of_job[job_id]
        order.looks += 1
        order.looked_at = time.monotonic()
        if not order.is_done:
            return pending(job_id)
        return success([f"{self.server.url}/pictures/{job_id}.png?signature={SIGNATURE}"], job_id)

    def _picture(self, request: Request) -> Instruction:
        job_id = request.path.rpartition("/")[2].removesuffix(".png")
        order = self._order_of_job[job_id]
        order.downloads += 1
        if not order.links_work:
            return answer(500)
        return answer(200, self.picture(job_id), headers={"Content-Type": "image/png"})

    def _point(self, request: Request) -> Instruction:
        _, _, place, prompt = unquote(request.path).split("/", 3)
        gate = self._orders[prompt].pass_point(place)
        return answer(204) if gate is None else hold(gate, then=answer(204))
