"""Links that come with another query every night: one photo is one piece of work, and two are two."""

from __future__ import annotations

from typing import Any, Final

import pytest

from airflow_imagepipeline.exceptions import SubmissionRefused
from tests.generations import only_current
from tests.operators.nights import Nights, counts
from tests.running import PROMPT, fails_with

pytestmark = pytest.mark.usefixtures("generation", "quick")

REQUEST: Final[dict[str, Any]] = {"prompt": PROMPT, "output_format": "png"}


def night(nights: Nights, run: str, *queries: str, **more: Any) -> dict[str, Any]:
    """Run a night over one photo for each query: ``cup-0.jpg?...`` and so on, or those that are named."""
    addresses = [query if "/" in query else f"cup-{place}.jpg?{query}" for place, query in enumerate(queries)]
    rows = [{"input_image": f"https://photos.test/{one}", "sku": f"s{place}"} for place, one in enumerate(addresses)]
    return nights.run(run, rows, **{"request": REQUEST, **more})


@only_current
@pytest.mark.real_input("C6")
def test_a_night_whose_links_are_signed_anew_in_an_unknown_way_stops_before_it_pays(nights: Nights) -> None:
    assert counts(night(nights, "n1", *["w=80&left=aaa&moment=1"] * 4)) == {"landed": 4}
    anew = ["w=80&left=bbb&moment=2"] * 4
    words = (
        "link_identity: 4 of 4 new rows",
        "(left, moment)",
        "link_identity='path'",
        "['w']",
        "Nothing was submitted",
    )
    with fails_with(SubmissionRefused, *words):
        night(nights, "n2", *anew)
    with fails_with(SubmissionRefused, "link_identity: 4 of 4"):
        night(nights, "n2", *anew, plan_only=True)
    assert nights.paid == 0

    # What was landed before anything was set is found with either.
    assert counts(night(nights, "n3", *anew, link_identity="path")) == {"reused": 4}
    assert counts(night(nights, "n4", *anew, link_identity=["w"])) == {"reused": 4}
    assert nights.paid == 0
    wider = ["w=90&left=bbb", *anew[1:]]
    assert counts(night(nights, "n5", *wider, link_identity=["w"], overwrite=True)) == {"reused": 3, "landed": 1}
    assert counts(night(nights, "n6", *anew, link_identity="link", overwrite=True)) == {"landed": 4}


@only_current
@pytest.mark.real_input("C6")
@pytest.mark.parametrize(
    "new",
    [
        pytest.param([f"v={int(place == 0)}" for place in range(20)], id="one photo of twenty was replaced"),
        pytest.param(["v=0"] * 20 + ["v=7"], id="one photo more"),
    ],
)
def test_a_photo_of_another_query_among_many_is_another_photo(nights: Nights, new: list[str]) -> None:
    assert counts(night(nights, "n1", *["v=0"] * 20)) == {"landed": 20}
    assert counts(night(nights, "n2", *new, overwrite=True))["landed"] == 1


@only_current
@pytest.mark.fault(106)
@pytest.mark.real_input("C6")
@pytest.mark.parametrize("name", ["token", "key", "sig", "id"])
def test_links_that_differ_in_one_parameter_are_as_many_pieces_of_work(nights: Nights, name: str) -> None:
    three = [f"shop/download?{name}={value}" for value in ("AAA", "BBB", "CCC")]
    assert counts(night(nights, "n1", *three)) == {"landed": 3}
    four = [*three, f"shop/download?{name}=DDD"]
    assert counts(night(nights, "n2", *four)) == {"reused": 3, "landed": 1}
    assert counts(night(nights, "n3", *four)) == {"reused": 4}
    assert nights.paid == 0


@only_current
@pytest.mark.real_input("C6")
def test_another_prompt_is_other_work_whatever_the_queries(nights: Nights) -> None:
    assert counts(night(nights, "n1", "left=aaa", "left=aab")) == {"landed": 2}
    request = {**REQUEST, "prompt": f"{PROMPT} again"}
    assert counts(night(nights, "n2", "left=bbb", "left=bbc", request=request, file_stem=None)) == {"landed": 2}
