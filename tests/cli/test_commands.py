"""The commands ``replay`` and ``verify``: what they print, what they pay, how they end."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest

from airflow_imagepipeline.cli import get_cli_commands, main
from tests.airflow_versions import AIRFLOW
from tests.doubles.pictures import picture
from tests.faults import SUBMIT, ScriptedServer, answer, reset_after_request
from tests.generations import only_current
from tests.running import KEY, FakeStore, assert_discreet, context, edit_image, image_to_image, run_to_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.doubles.moto_server import Moto
    from tests.generations import Generation
    from tests.vendor import Vendor

    Run: TypeAlias = Callable[..., tuple[int, str, str]]

AIRFLOW_HAS_COMMANDS: Final = AIRFLOW >= (3, 2)

pytestmark = pytest.mark.usefixtures("quick", "logs", "generation")


@pytest.fixture
def landed(vendor: Vendor, photos: str, tmp_path: Path, generation: Generation) -> Path:
    """Land a job's images and return their folder."""
    make = image_to_image(f"{photos}/a.png", destination=f"file://{tmp_path}/landed", **generation.several)
    run_to_end(make, context(FakeStore()), "worker")
    assert vendor.count("accepted") == 1
    return tmp_path / "landed"


def first_sidecar(folder: Path) -> Path:
    return min(folder.glob("*.json"))


def changed(sidecar: Path, **values: Any) -> None:
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), **values}))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return what runs a command in this process, and gives its exit code and what it printed."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "set back when the test is over")

    def run_command(*arguments: object) -> tuple[int, str, str]:
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        assert_discreet(out + err)
        assert "Traceback" not in err
        return code, out, err

    return run_command


def test_an_intact_folder_verifies(landed: Path, run: Run, generation: Generation) -> None:
    assert run("verify", landed) == (0, f"{generation.count} intact, 0 with a problem, 0 unexplained.\n", "")
    assert run("verify", f"file://{landed}")[0] == 0


def test_one_changed_byte_is_found_and_named(landed: Path, run: Run) -> None:
    image = min(landed.glob("*.png"))
    content = bytearray(image.read_bytes())
    content[len(content) // 2] ^= 1
    image.write_bytes(content)

    code, out, _ = run("verify", landed)

    problem, summary = out.splitlines()
    assert code == 1
    assert problem.startswith(f"changed: {image.name}: its SHA-256 is ")
    assert "1 with a problem" in summary


def test_an_image_without_a_sidecar_is_a_problem_only_where_that_is_asked_for(landed: Path, run: Run) -> None:
    (landed / "alone.png").write_bytes(b"x")
    lax, strict = run("verify", landed), run("verify", landed, "--strict")
    assert (lax[0], strict[0]) == (0, 1)
    assert lax[1] == strict[1]
    assert "unexplained: alone.png: no sidecar lies next to it." in lax[1]
    assert ", 1 unexplained." in lax[1]


def test_images_that_are_no_results_need_no_sidecar(landed: Path, run: Run) -> None:
    image = min(landed.glob("*.png")).read_bytes()
    for name in ("_thumbnails/a.webp", "_manifests/night.jpg", "night/_imagepipeline/x/b.png"):
        (landed / name).parent.mkdir(parents=True, exist_ok=True)
        (landed / name).write_bytes(image)
    assert run("verify", landed, "--strict")[0] == 0
    (landed / "_begins_with_an_underscore.png").write_bytes(image)
    assert run("verify", landed, "--strict")[0] == 1


def test_a_result_is_judged_wherever_it_lies(landed: Path, run: Run) -> None:
    sidecar = first_sidecar(landed)
    own = landed / "_kept"
    own.mkdir()
    (own / sidecar.name).write_bytes(sidecar.read_bytes())
    assert run("verify", landed)[0] == 1


def test_a_folder_on_s3_is_verified(moto: Moto, bucket: str, landed: Path, run: Run, generation: Generation) -> None:
    for path in landed.iterdir():
        moto.s3.put_object(Bucket=bucket, Key=f"a/{path.name}", Body=path.read_bytes())
    assert run("verify", f"s3://{bucket}/a")[:2] == (
        0,
        f"{generation.count} intact, 0 with a problem, 0 unexplained.\n",
    )
    moto.s3.put_object(Bucket=bucket, Key=f"a/{min(landed.glob('*.png')).name}", Body=b"other")
    assert run("verify", f"s3://{bucket}/a")[0] == 1


def test_nothing_to_verify_is_no_success(tmp_path: Path, run: Run) -> None:
    code, out, err = run("verify", tmp_path / "typo")
    assert (code, out) == (1, "")
    assert err == f"There is neither an image nor a sidecar in {tmp_path}/typo: check the address.\n"


@pytest.mark.usefixtures("bucket")
def test_a_folder_that_cannot_be_listed_is_a_sentence(run: Run) -> None:
    code, _, err = run("verify", "s3://no-such-bucket-4711/a")
    assert code == 1
    assert err.startswith(
        "The folder cannot be verified: s3://no-such-bucket-4711/a could not be listed (NoSuchBucket: The specified"
    )


def test_a_malicious_sidecar_is_refused_by_both(landed: Path, run: Run) -> None:
    sidecar = first_sidecar(landed)
    changed(sidecar, file="../../../etc/passwd")
    code, out, _ = run("verify", landed)
    assert code == 1
    assert out.startswith(f"refused: {sidecar.stem}: its sidecar is refused: not a sidecar: file: it is no plain name")
    assert run("replay", sidecar) == (
        1,
        "",
        "not a sidecar: file: it is no plain name of a file. Nothing was submitted.\n",
    )


def test_a_replay_prints_the_request_and_pays_nothing(
    vendor: Vendor, landed: Path, run: Run, generation: Generation
) -> None:
    sidecar = first_sidecar(landed)
    known = json.loads(sidecar.read_text())
    code, out, err = run("replay", sidecar)
    assert code == 0
    assert json.loads(out) == {
        "api": generation.name,
        "fingerprint": known["fingerprint"],
        "seed": known["seed"],
        "request": known["request"],
    }
    assert "Nothing was submitted" in err
    assert vendor.count("submits") == 1


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("seed", 8, "its seed is "), ("fingerprint", "0" * 64, "its fingerprint is ")],
)
def test_a_request_that_is_not_the_sidecars_is_never_submitted(
    vendor: Vendor, landed: Path, run: Run, *, name: str, value: Any, words: str
) -> None:
    changed(first_sidecar(landed), **{name: value})
    code, _, err = run("replay", first_sidecar(landed), "--submit", "--destination", landed)
    assert code == 1
    assert words in err
    assert "Nothing was submitted." in err
    assert vendor.count("submits") == 1


def test_the_same_request_and_seed_give_the_same_bytes(
    vendor: Vendor, landed: Path, tmp_path: Path, run: Run, generation: Generation
) -> None:
    sidecar = first_sidecar(landed)
    known = json.loads(sidecar.read_text())

    code, out, err = run("replay", sidecar, "--submit", "--destination", tmp_path / "again")

    result = json.loads(out)
    assert code == 0
    assert "this is paid for" in err
    assert "The image is the same, byte for byte." in err
    assert vendor.count("accepted") == 2
    assert result["images"][0]["sha256"] == known["sha256"]
    assert result["job_id"] != known["job_id"]
    again = json.loads(first_sidecar(tmp_path / "again").read_text())
    same = ("sha256", "fingerprint", "seed", "request", "inputs", "api")
    assert {name: again[name] for name in same} == {name: known[name] for name in same}
    assert again["dag_id"] is None
    assert run("verify", tmp_path / "again")[1].startswith(f"{generation.count} intact")


def test_another_model_is_told_apart(
    vendor: Vendor, landed: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vendor.settings, "model", "v2")
    code, _, err = run("replay", first_sidecar(landed), "--submit", "--destination", tmp_path / "again")
    assert code == 0
    assert "No image is the same, byte for byte." in err


def test_an_uploaded_input_that_has_changed_is_noticed_before_anything_is_paid(
    vendor: Vendor, tmp_path: Path, photo: bytes, run: Run
) -> None:
    cup = tmp_path / "cup.png"
    cup.write_bytes(photo)
    make = edit_image(str(cup), upload_inputs=True, destination=f"file://{tmp_path}/landed")
    run_to_end(make, context(FakeStore()), "worker")
    again = ("replay", first_sidecar(tmp_path / "landed"), "--submit", "--destination", tmp_path / "again")
    assert "the same, byte for byte" in run(*again)[2]
    cup.write_bytes(picture(5))
    code, _, err = run(*again)
    assert code == 1
    assert err == f"{cup} is not what the image was made from: its SHA-256 is another. Nothing was submitted.\n"
    assert vendor.count("accepted") == 2


def test_a_connection_that_is_not_there_is_a_sentence(landed: Path, tmp_path: Path, run: Run) -> None:
    more = ("--submit", "--destination", tmp_path / "again", "--imagepipeline-conn-id", "nowhere")
    code, out, err = run("replay", first_sidecar(landed), *more)
    assert (code, out, err) == (1, "", "The conn_id `nowhere` isn't defined. Nothing was submitted.\n")


def test_without_a_destination_nothing_is_submitted(vendor: Vendor, landed: Path, run: Run) -> None:
    code, _, err = run("replay", first_sidecar(landed), "--submit")
    assert (code, "--destination" in err, vendor.count("submits")) == (1, True, 1)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param(reset_after_request(), "may or may not have been taken, and paid for", id="uncertain"),
        pytest.param(answer(401, json={"message": "no"}), "Nothing was submitted.", id="refused"),
    ],
)
def test_a_submission_that_fails_says_whether_it_may_be_paid(
    connection: Callable[..., None], landed: Path, tmp_path: Path, run: Run, *, fault: Any, words: str
) -> None:
    with ScriptedServer({SUBMIT: [fault]}) as server:
        connection(server.url)
        code, out, err = run("replay", first_sidecar(landed), "--submit", "--destination", tmp_path / "again")
    assert (code, out) == (1, "")
    assert words in err.splitlines()[-1]


def test_a_job_that_fails_is_a_sentence(vendor: Vendor, landed: Path, tmp_path: Path, run: Run) -> None:
    vendor.settings.fail_next = ["MODEL_ERROR"]
    code, _, err = run("replay", first_sidecar(landed), "--submit", "--destination", tmp_path / "again")
    assert code == 1
    assert " failed" in err.splitlines()[-1]


def test_images_that_cannot_be_landed_are_not_to_be_paid_again(
    vendor: Vendor, landed: Path, tmp_path: Path, run: Run
) -> None:
    vendor.settings.link_seconds = 0
    code, _, err = run("replay", first_sidecar(landed), "--submit", "--destination", tmp_path / "again")
    assert code == 1
    assert "Do not submit again: ImagePipelineToObjectStorageOperator lands job " in err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read (ENOENT: No such file or directory)"),
        (b"x", "it is no JSON"),
        (b"[1]", "it is no JSON object"),
    ],
    ids=["missing", "no JSON", "another thing"],
)
def test_what_is_no_sidecar_is_a_sentence(content: bytes | None, words: str, tmp_path: Path, run: Run) -> None:
    path = tmp_path / "a.png.json"
    if content is not None:
        path.write_bytes(content)
    code, out, err = run("replay", path)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert words in err


def test_a_sidecar_on_s3_is_replayed(moto: Moto, bucket: str, landed: Path, run: Run) -> None:
    moto.s3.put_object(Bucket=bucket, Key="a.json", Body=first_sidecar(landed).read_bytes())
    assert run("replay", f"s3://{bucket}/a.json")[0] == 0


def called(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603 - our own


@functools.cache
def offers_commands(program: Path) -> bool:
    return "imagepipeline" in called(program, "--help").stdout


def airflow(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the real ``airflow`` where it has the commands (3.2+), else this package's own."""
    program = Path(sys.executable).with_name("airflow")
    if offers_commands(program):
        return called(program, "imagepipeline", *arguments)
    assert not AIRFLOW_HAS_COMMANDS
    return called(sys.executable, "-m", "airflow_imagepipeline.cli", *arguments)


@pytest.mark.slow
@only_current  # once is enough: a start of Airflow takes seconds
@pytest.mark.usefixtures("vendor")
def test_airflow_itself_offers_the_commands(photos: str, tmp_path: Path) -> None:
    run_to_end(image_to_image(f"{photos}/a.png", destination=f"file://{tmp_path}"), context(FakeStore()), "worker")
    (sidecar,) = tmp_path.glob("*.json")
    good, replayed = airflow("verify", str(tmp_path)), airflow("replay", str(sidecar))
    assert (good.returncode, good.stdout.splitlines()[-1]) == (0, "1 intact, 0 with a problem, 0 unexplained.")
    assert replayed.returncode == 0
    assert json.loads(replayed.stdout[replayed.stdout.index("{") :])["request"]["prompt"]
    sidecar.with_suffix("").write_bytes(b"other")
    assert airflow("verify", str(tmp_path)).returncode == 1
    assert KEY not in good.stdout + replayed.stdout + replayed.stderr


def test_the_help_says_that_submitting_is_paid_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["replay", "--help"])
    assert "PAID FOR" in capsys.readouterr().out
    assert [group.name for group in get_cli_commands()] == ["imagepipeline"]


def test_importing_the_commands_imports_nothing_heavy() -> None:
    program = "import sys, airflow_imagepipeline.cli; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    done = called(sys.executable, "-c", program)
    assert "airflow_imagepipeline" in done.stdout
    for heavy in ("airflow", "pydantic", "requests", "PIL", "boto3"):
        assert f"'{heavy}'" not in done.stdout


@pytest.mark.parametrize("seconds", ["-5", "0", "nan", "inf", "1e9", "soon"])
def test_a_time_in_which_nothing_can_be_landed_is_found_before_anything_is_paid(
    vendor: Vendor, landed: Path, tmp_path: Path, run: Run, seconds: str
) -> None:
    more = ("--submit", "--destination", tmp_path / "again", "--timeout", seconds)
    code, out, err = run("replay", first_sidecar(landed), *more)
    assert (code, out, vendor.count("submits")) == (2, "", 1)
    assert "--timeout" in err
