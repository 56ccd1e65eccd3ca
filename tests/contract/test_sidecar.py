"""The sidecar of an image: what it holds, what is refused, and the request that is rebuilt from it."""

from __future__ import annotations

import json
import random
from typing import Any, Final

import pytest

from airflow_imagepipeline.contract.job_parameters import JobParameters
from airflow_imagepipeline.contract.parameters import EditImageParameters, ImageToImageParameters
from airflow_imagepipeline.contract.replay import rebuilt, request_of
from airflow_imagepipeline.contract.sidecar import LARGEST_SIDECAR, Sidecar, is_sidecar, sidecar_in

KEYS: Final = (
    *(
        "v",
        "file",
        "sha256",
        "bytes",
        "format",
        "width",
        "height",
        "api",
        "job_id",
        "seed",
        "submitted_at",
        "landed_at",
    ),
    *("fingerprint", "request", "inputs", "cost", "checks", "dag_id", "run_id", "task_id", "map_index", "package"),
)
SIGNED = "https://a.example/cup.png?X-Amz-Signature=secret&version=3"
UNSIGNED = "https://a.example/cup.png?version=3"


def payload(**changes: Any) -> dict[str, Any]:
    return {
        "v": 1,
        "file": "job-1-00.png",
        "sha256": "ab" * 32,
        "bytes": 1234,
        "format": "PNG",
        "width": 40,
        "height": 30,
        "api": "edit/image/v1",
        "job_id": "job-1",
        "seed": 7,
        "submitted_at": 1.5,
        "landed_at": 2.5,
        "fingerprint": "cd" * 32,
        "request": {"prompt": "a cup", "input_image": "s3://bucket/cup.png", "deep": [{"x": None}]},
        "inputs": [{"address": "s3://bucket/cup.png", "sha256": None, "version": None}],
        "cost": {"cost_usd": 0.01, "credits_charged": True},
        "checks": {},
        "dag_id": "edit",
        "run_id": "manual__1",
        "task_id": "restyle",
        "map_index": -1,
        "package": "airflow-provider-imagepipeline 1.0",
        **changes,
    }


def sidecar_of(parameters: JobParameters, *, asked: JobParameters | None = None, **changes: Any) -> Sidecar:
    """Return the sidecar of an image that was made from parameters with a seed."""
    request, fingerprint = request_of(parameters), (asked or parameters).fingerprint()
    known = {"api": parameters.api.name, "seed": parameters.seed, "request": request, "fingerprint": fingerprint}
    return Sidecar.from_payload(payload(**{**known, **changes}))


def test_a_sidecar_comes_back_as_it_was_written() -> None:
    written = Sidecar.from_payload(payload())
    assert written.to_payload() == payload()
    assert sidecar_in(written.to_text().encode()) == written


def test_it_has_exactly_these_keys_in_this_order() -> None:
    assert list(Sidecar.from_payload(payload()).to_payload()) == list(KEYS)


def test_what_is_not_known_is_null() -> None:
    unknown = dict.fromkeys(["job_id", "seed", "submitted_at", "fingerprint", "dag_id", "map_index"])
    read = Sidecar.from_payload(payload(**unknown, request={}, inputs=[]))
    assert {name: read.to_payload()[name] for name in unknown} == unknown


@pytest.mark.parametrize("stranger", [None, [], "x", 1, {}, payload(v=None), payload(v=1e9)], ids=repr)
def test_a_stranger_is_refused(stranger: object) -> None:
    with pytest.raises(ValueError, match=r"^not a sidecar: it is no JSON object with 'v': 1$"):
        Sidecar.from_payload(stranger)


def test_a_sidecar_of_a_later_release_is_named_as_such() -> None:
    with pytest.raises(ValueError, match=r"^not a sidecar of version 1, but of 2: a later release of this package"):
        Sidecar.from_payload(payload(v=2))


@pytest.mark.parametrize("key", KEYS[1:])
def test_a_sidecar_without_one_of_its_keys_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=f"^not a sidecar: {key}: Field required$"):
        Sidecar.from_payload({name: value for name, value in payload().items() if name != key})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"file": "../../etc/passwd"}, "file: it is no plain name of a file", id="a path upwards"),
        pytest.param({"file": ".."}, "file: it is no plain name", id="the folder above"),
        pytest.param({"file": "/etc/passwd"}, "file: it is no plain name", id="an absolute path"),
        pytest.param({"file": "a\n.png"}, "file: it is no plain name", id="a control character"),
        pytest.param({"file": ""}, "file: it is no plain name", id="no name"),
        pytest.param({"file": "x" * 901}, "file: it is no plain name", id="a long name"),
        pytest.param({"file": 1}, "file: Input should be a valid string", id="a name that is a number"),
        pytest.param({"sha256": "AB" * 32}, "sha256: String should match", id="a digest that is none"),
        pytest.param({"bytes": True}, "bytes: Input should be a valid integer", id="a boolean size"),
        pytest.param({"bytes": -1}, "bytes: Input should be greater", id="a negative size"),
        pytest.param({"width": "40"}, "width: Input should be a valid integer", id="a width that is text"),
        pytest.param({"seed": 1.5}, "seed: Input should be a valid integer", id="half a seed"),
        pytest.param({"job_id": "../x"}, "job_id: not a job id", id="an id that is a path"),
        pytest.param({"request": []}, "request: Input should be an object", id="a request that is a list"),
        pytest.param({"inputs": [{"address": 1}]}, "inputs.0.address: Input should be", id="an input without address"),
        pytest.param({"cost": {"cost_usd": "free"}}, "cost.cost_usd", id="a price in words"),
        pytest.param({"surprise": 1}, "surprise: Unexpected keyword", id="a key too many"),
        pytest.param({"landed_at": float("nan")}, "it holds what is no JSON", id="no number"),
        pytest.param({"dag_id": object()}, "it holds what is no JSON", id="no JSON value"),
    ],
)
def test_a_malicious_sidecar_is_refused_with_a_sentence(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=r"^not a sidecar: ") as caught:
        Sidecar.from_payload(payload(**changes))
    assert words in str(caught.value)
    assert len(str(caught.value)) < 350


def test_a_value_that_nests_too_deep_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(ValueError, match="it holds what is no JSON"):
        Sidecar.from_payload(payload(request=deep))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "it is no JSON", id="empty"),
        pytest.param(b"\xff\xfe\xfd", "it is no JSON", id="bytes"),
        pytest.param(b"[" * 200_000, "it is no JSON", id="deep"),
        pytest.param(b"9" * 5000, "it is no JSON", id="a long number"),
        pytest.param(b" " * (LARGEST_SIDECAR + 1), "it has more than 4000000 bytes", id="huge"),
        pytest.param(b"{}", "it is no JSON object with 'v': 1", id="another object"),
    ],
)
def test_a_file_that_is_no_sidecar_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=r"^not a sidecar: ") as caught:
        sidecar_in(content)
    assert words in str(caught.value)


@pytest.mark.parametrize(("name", "expected"), [("a-00.png.json", True), ("a-00.png", False)])
def test_a_sidecar_is_known_by_its_name(name: str, *, expected: bool) -> None:
    assert is_sidecar(name) is expected


def test_what_signs_a_link_is_not_kept_and_a_prompt_is_kept_to_the_letter() -> None:
    parameters = EditImageParameters.checked(
        {
            "input_image": [SIGNED, "s3://bucket/cup.png"],
            "prompt": SIGNED,
            "seed": 7,
            "extra_parameters": {"mask": {"of": [SIGNED, 1]}, "style": "y"},
        }
    )
    assert request_of(parameters) == {
        "input_image": [UNSIGNED, "s3://bucket/cup.png"],
        "prompt": SIGNED,
        "seed": 7,
        "mask": {"of": [UNSIGNED, 1]},
        "style": "y",
    }
    assert request_of(parameters, 8)["seed"] == 8


OLD = {"init_image": "s3://bucket/cup.png", "prompt": "a cup", "strength": 0.5, "samples": 2, "safety_checker": False}
CURRENT = {"input_image": ["s3://bucket/cup.png", SIGNED], "prompt": "a cup", "palette": ["#1e90ff"], "width": 512}


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [(ImageToImageParameters, OLD), (EditImageParameters, CURRENT)],
    ids=["sdxl", "edit"],
)
@pytest.mark.parametrize("extra", [{}, {"clip_skip": 2, "lora": {"a": [1]}}], ids=["listed", "unlisted"])
@pytest.mark.parametrize("own_seed", [7, None], ids=["own seed", "drawn seed"])
def test_the_request_is_rebuilt_with_the_same_fingerprint_and_seed(
    kind: type[JobParameters], arguments: dict[str, Any], extra: dict[str, Any], own_seed: int | None
) -> None:
    asked = kind.checked({**arguments, "seed": own_seed, "extra_parameters": extra})
    sent = asked.with_seed(random.Random(1))
    replay = rebuilt(sidecar_of(sent, asked=asked))
    assert replay.differences == ()
    assert replay.fingerprint == asked.fingerprint()
    assert replay.to_payload() == {
        "api": kind.api.name,
        "fingerprint": asked.fingerprint(),
        "seed": sent.seed,
        "request": request_of(sent),
    }
    assert json.loads(json.dumps(replay.to_payload())) == replay.to_payload()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"fingerprint": "00" * 32}, "its fingerprint is ", id="fingerprint"),
        pytest.param({"fingerprint": None}, "the sidecar says None", id="no fingerprint"),
        pytest.param({"seed": 8}, "its seed is 7, the sidecar says 8", id="seed"),
        pytest.param({"seed": None}, "its seed is 7, the sidecar says None", id="no seed"),
    ],
)
def test_a_sidecar_that_was_tampered_with_shows(changes: dict[str, Any], words: str) -> None:
    parameters = EditImageParameters.checked({**CURRENT, "seed": 7})
    (difference,) = rebuilt(sidecar_of(parameters, **changes)).differences
    assert words in difference


def test_a_request_whose_seed_is_not_known_is_not_the_same() -> None:
    asked = EditImageParameters.checked(CURRENT)
    assert rebuilt(sidecar_of(asked)).differences == ("its seed is None, the sidecar says None",)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"request": {}}, "does not know the request", id="no request"),
        pytest.param({"api": "video/v9"}, "'video/v9', an API that this version does not know", id="another API"),
        pytest.param({"request": {"prompt": "x"}}, "cannot be sent: input_image must be given", id="half a request"),
        pytest.param({"request": {**CURRENT, "width": 9999}}, "width: 9999 is not a whole", id="out of range"),
        pytest.param({"request": {**CURRENT, "extra_parameters": {"width": 1}}}, "must be given as", id="smuggled"),
    ],
)
def test_a_request_that_cannot_be_sent_is_refused(changes: dict[str, Any], words: str) -> None:
    parameters = EditImageParameters.checked({**CURRENT, "seed": 7})
    with pytest.raises(ValueError, match=r"^The sidecar ") as caught:
        rebuilt(sidecar_of(parameters, **changes))
    assert words in str(caught.value)
