"""A task that is run against a vendor that is told what to say, and whatever such a run leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from airflow_imagepipeline.policy.job_event import JobEvent
from tests import running
from tests.faults import STATUS, SUBMIT, Instruction, ScriptedServer, forever, pending
from tests.running import FakeStore, context, image_to_image, run_to_end

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.canary import Canaries

POLL: Final = 0.01


@contextmanager
def vendor_that_says(
    connection: Callable[..., None],
    key: str,
    *looks: Instruction,
    submit: Sequence[Instruction] = (pending(),),
) -> Iterator[ScriptedServer]:
    """Run a vendor: what it answers to the submission, and to each look; the last look is repeated."""
    routes = {SUBMIT: submit, STATUS: [*looks[:-1], forever(looks[-1])]} if looks else {SUBMIT: submit}
    with ScriptedServer(routes, allow_unused=True) as api:
        connection(api.url, key)
        yield api


class Run:
    """
    One run of the image-to-image task; everything that Airflow would store of it is watched.

    :param mode: ``worker`` or ``triggerer``.
    :param arguments: of the operator.
    """

    def __init__(self, canaries: Canaries, mode: str, **arguments: Any) -> None:
        self.store = FakeStore()
        self.events: list[Any] = []
        self.result: Any = None
        self.error: BaseException | None = None
        self._canaries = canaries
        usual = {"init_image": "https://img.example/a.png", "poll_interval": POLL, "timeout": 20.0}
        make = image_to_image(**{**usual, **arguments})
        before = running.through_triggerer
        running.through_triggerer = self._through_triggerer(before)
        try:
            self.result = run_to_end(make, context(self.store), mode)
        except Exception as error:  # noqa: BLE001 - a test says which it expects
            self.error = error
        finally:
            running.through_triggerer = before
        canaries.watch(self.stored(), "what Airflow stores")
        if self.error is not None:
            canaries.watch(self.error, "what the task fails with")

    def _through_triggerer(self, before: Callable[..., Any]) -> Callable[..., Any]:
        def watched(serialized: Any) -> Any:
            self._canaries.watch(json.dumps(serialized), "the trigger's arguments")
            event = before(serialized)
            self._canaries.watch(json.dumps(event), "the event")
            JobEvent.from_payload(event)
            self.events.append(event)
            return event

        return watched

    def stored(self) -> str:
        """Return records, events and result as Airflow stores them."""
        return json.dumps([self.store.rows, self.events, self.result])

    @property
    def said(self) -> str:
        """The sentence that the task fails with."""
        return str(self.error)
