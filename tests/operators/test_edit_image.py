"""The fields of the current generation: what is sent of them, and what is refused before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from airflow_imagepipeline.contract.parameters import EditImageParameters
from airflow_imagepipeline.exceptions import SubmissionRefused
from airflow_imagepipeline.operators.imagepipeline import EditImageOperator
from tests.faults import SUBMIT, ScriptedServer, pending
from tests.running import KEY, PROMPT, FakeStore, context, edit_image, fails_with, in_task_modes, run_to_end

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("quick", "logs")

LINK: Final = "http://127.0.0.1/a.png"
OTHER: Final = "http://127.0.0.1/b.png"

# Field: the ends of its range, and the nearest values outside of it.
RANGES: Final[dict[str, tuple[float, float, list[Any]]]] = {
    "width": (1, 2048, [0, 2049, 1.5]),
    "height": (1, 2048, [0, 2049, "tall"]),
    "num_inference_steps": (1, 100, [0, 101, True]),
    "guidance_scale": (0, 20, [-0.1, 20.1, False]),
    "refine_strength": (0, 1, [-0.1, 1.1, "nan"]),
    "cfg_norm_strength": (0, 1, [-0.1, 1.1, float("inf")]),
    "product_saturation": (0, 2, [-0.1, 2.1, "much"]),
}


def submitted(connection: Callable[..., None], way: str, given: Any = None, **arguments: Any) -> dict[str, Any]:
    """
    Return the body of the request that a task sends, its seed checked against the result and taken out.

    :param way: of waiting; ``mode`` is a field of the endpoint.
    """
    make = edit_image(**{"image": LINK, "output_format": None, "wait_for_completion": False, **arguments})
    with ScriptedServer({SUBMIT: [pending()]}) as server:
        connection(server.url)
        result = run_to_end(make, given or context(FakeStore()), way)
    (request,) = server.requests
    assert (request.path, request.header("X-API-Key"), request.header("API-Key")) == ("/edit/image/v1", KEY, None)
    body: dict[str, Any] = request.json()
    assert body.pop("seed") == result["seed"]
    return body


def refused(connection: Callable[..., None], way: str, *words: str, **arguments: Any) -> None:
    """Run a task that must be refused before any request."""
    store = FakeStore()
    with ScriptedServer() as server:
        connection(server.url)
        with fails_with(SubmissionRefused, *words, ". Nothing was submitted."):
            run_to_end(edit_image(**{"image": LINK, **arguments}), context(store), way)
    assert server.requests == ()
    assert set(store.rows) <= {"imagepipeline:claim", "imagepipeline:latest"}


@in_task_modes
def test_only_what_was_given_is_sent(connection: Callable[..., None], mode: str) -> None:
    assert submitted(connection, mode) == {"input_image": LINK, "prompt": PROMPT}


@in_task_modes
def test_values_of_templates_are_read_as_what_they_stand_for(connection: Callable[..., None], mode: str) -> None:
    values: dict[str, Any] = {"name": "cup", "prompt": PROMPT, "steps": 30, "fast": "False", "colour": "#1e90ff"}
    body = submitted(
        connection,
        mode,
        context(FakeStore(), **values),
        image="http://127.0.0.1/{{ params.name }}.png",
        prompt="{{ params.prompt }}",
        mode="anime",
        width="1024",
        height=768,
        num_inference_steps="{{ params.steps }}",
        guidance_scale="7.5",
        refine_strength="0.25",
        faster_inference="{{ params.fast }}",
        cfg_norm_strength="1",
        product_saturation="0",
        palette=["{{ params.colour }}", "FFD700"],
        output_format="{{ 'jpeg' }}",
        profile_id="None",
        extra_parameters={"negative_prompt": "{{ params.name }}", "mask_feather_px": 8},
    )
    assert body == {
        "input_image": "http://127.0.0.1/cup.png",
        "prompt": PROMPT,
        "mode": "anime",
        "width": 1024,
        "height": 768,
        "num_inference_steps": 30,
        "guidance_scale": 7.5,
        "refine_strength": 0.25,
        "faster_inference": False,
        "cfg_norm_strength": 1.0,
        "product_saturation": 0.0,
        "palette": ["#1e90ff", "FFD700"],
        "output_format": "jpeg",
        "negative_prompt": "cup",
        "mask_feather_px": 8,
    }


@in_task_modes
@pytest.mark.parametrize("end", [0, 1], ids=["lowest", "highest"])
@pytest.mark.parametrize("field", RANGES)
def test_the_ends_of_a_range_are_in_it(connection: Callable[..., None], field: str, end: int, mode: str) -> None:
    value = RANGES[field][end]
    for written in (value, str(value)):
        assert submitted(connection, mode, **{field: written})[field] == value


@in_task_modes
@pytest.mark.parametrize(("field", "value"), [(field, value) for field, (*_, bad) in RANGES.items() for value in bad])
def test_what_is_out_of_range_is_refused(connection: Callable[..., None], field: str, value: Any, mode: str) -> None:
    low, high, _ = RANGES[field]
    refused(connection, mode, f"{field}: ", f"number from {low} to {high}", **{field: value})


@in_task_modes
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"prompt": ""}, "prompt must be given", id="no prompt"),
        pytest.param({"image": "None"}, "input_image must be given", id="no image"),
        pytest.param({"image": []}, "input_image must be given", id="no image in a list"),
        pytest.param({"image": [LINK, "cup.png"]}, "'cup.png' is not an https link", id="one of the images"),
        pytest.param({"image": [LINK, ""]}, "'' is not an https link", id="an image without a name"),
        pytest.param({"image": [LINK, 7]}, "input_image: input should be a valid string", id="a number for an image"),
        pytest.param({"image": f"['{LINK}']"}, "is not an https link", id="a list that became text"),
        pytest.param({"faster_inference": "perhaps"}, "faster_inference: 'perhaps' is not a boolean", id="no boolean"),
        pytest.param({"output_format": "gif"}, "'gif' is not one of 'webp', 'jpeg' and 'png'", id="format"),
        pytest.param({"palette": ["#1e90ff", "red"]}, "palette: must hold colours like '#1e90ff'", id="a name"),
        pytest.param({"palette": "#1e90ff"}, "palette: input should be a valid list", id="a colour alone"),
        pytest.param({"seed": "x"}, "seed: 'x' is not a whole number", id="seed"),
        pytest.param({"extra_parameters": {"palette": []}}, "must be given as an argument", id="a listed extra"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    connection: Callable[..., None], arguments: dict[str, Any], words: str, mode: str
) -> None:
    refused(connection, mode, words, **arguments)


@in_task_modes
@pytest.mark.parametrize("samples", [2, "4", 0, -1], ids=repr)
def test_more_images_than_one_are_a_matter_of_mapping(connection: Callable[..., None], samples: Any, mode: str) -> None:
    refused(connection, mode, "makes one image a job; map the task over seeds for more", samples=samples)


@in_task_modes
@pytest.mark.parametrize("samples", [1, "1", None, "None"], ids=repr)
def test_one_image_may_be_asked_for_and_is_not_sent(connection: Callable[..., None], samples: Any, mode: str) -> None:
    assert "samples" not in submitted(connection, mode, samples=samples)


@in_task_modes
@pytest.mark.parametrize("seed", [-1, "-1", None, ""], ids=repr)
def test_a_seed_is_drawn_where_the_vendor_would_draw_one(connection: Callable[..., None], seed: Any, mode: str) -> None:
    # The picture can be made again only with a seed that is known here; `submitted` finds the sent one in the result.
    make = edit_image(LINK, seed=seed, wait_for_completion=False)
    with ScriptedServer({SUBMIT: [pending("job-1"), pending("job-2")]}) as server:
        connection(server.url)
        drawn = [run_to_end(make, context(FakeStore()), mode)["seed"] for _ in range(2)]
    assert drawn == [request.json()["seed"] for request in server.requests]
    assert all(0 <= one < 2**31 for one in drawn)
    assert drawn[0] != drawn[1]


@in_task_modes
@pytest.mark.parametrize("seed", [0, "12345", 2**40], ids=repr)
def test_an_own_seed_is_sent(connection: Callable[..., None], seed: Any, mode: str) -> None:
    make = edit_image(LINK, seed=seed, wait_for_completion=False)
    with ScriptedServer({SUBMIT: [pending()]}) as server:
        connection(server.url)
        assert run_to_end(make, context(FakeStore()), mode)["seed"] == int(seed)
    assert server.requests[0].json()["seed"] == int(seed)


@in_task_modes
@pytest.mark.parametrize(
    ("palette", "sent"),
    [(["#1e90ff", "FFD700"], ["#1e90ff", "FFD700"]), ([], None), (None, None)],
    ids=["colours", "empty", "none"],
)
def test_a_palette_is_sent_as_it_is_or_not_at_all(
    connection: Callable[..., None], palette: list[str] | None, sent: list[str] | None, mode: str
) -> None:
    assert submitted(connection, mode, palette=palette).get("palette") == sent


@in_task_modes
def test_several_images_keep_their_order(connection: Callable[..., None], mode: str) -> None:
    values = context(FakeStore(), second=OTHER)
    images = [f"{LINK}?v=2", "{{ params.second }}", LINK]
    assert submitted(connection, mode, values, image=images)["input_image"] == [f"{LINK}?v=2", OTHER, LINK]


@in_task_modes
@pytest.mark.parametrize("images", [LINK, [LINK], ["https://example.com/a.png", LINK]], ids=["one", "list", "second"])
def test_an_image_on_this_machine_is_refused_where_the_api_is_elsewhere(
    connection: Callable[..., None], images: str | list[str], mode: str
) -> None:
    connection("https://x.invalid")
    words = ("input_image: the image lies on this machine", "https://x.invalid", "Nothing was submitted.")
    with fails_with(SubmissionRefused, *words):
        run_to_end(edit_image(images), context(FakeStore()), mode)


@in_task_modes
def test_a_mapped_task_over_seeds_makes_one_job_each(connection: Callable[..., None], mode: str) -> None:
    with ScriptedServer({SUBMIT: [pending(f"job-{number}") for number in range(3)]}) as server:
        connection(server.url)
        for number in range(3):
            make = edit_image(LINK, seed=f"{{{{ params.seeds[{number}] }}}}", wait_for_completion=False)
            given = context(FakeStore(), map_index=number, seeds=[7, 8, 9])
            assert run_to_end(make, given, mode)["job_id"] == f"job-{number}"
    assert [request.json()["seed"] for request in server.requests] == [7, 8, 9]


def test_every_field_is_an_argument_an_attribute_and_a_template() -> None:
    fields = EditImageParameters.model_fields
    task = EditImageOperator(task_id="edit", input_image=LINK, prompt=PROMPT)
    assert set(fields) <= set(EditImageOperator.template_fields)
    assert all(hasattr(task, name) for name in fields)
    assert EditImageOperator.template_fields_renderers == {"extra_parameters": "json"}
