"""What load runs need: durations and failures by seeded chance, and results that cost nothing."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from airflow_imagepipeline.emulator import Emulator, Settings
from airflow_imagepipeline.emulator.__main__ import _parser, main
from airflow_imagepipeline.emulator.chance import Chance
from airflow_imagepipeline.emulator.failures import FAILURES

from .api import KEY, Dialect, distance, picture

if TYPE_CHECKING:
    from airflow_imagepipeline.emulator.chance import Fate


def _fates(count: int = 2000, **settings: Any) -> list[Fate]:
    chance = Chance(Settings(job_seconds=10, **settings))
    return [chance.decide() for _ in range(count)]


def test_without_a_spread_all_jobs_take_the_same_time() -> None:
    assert {fate.seconds for fate in _fates(50)} == {10}


def test_a_spread_is_even_around_the_middle() -> None:
    seconds = [fate.seconds for fate in _fates(spread=0.3)]
    assert 7 <= min(seconds) < 7.1
    assert 12.9 < max(seconds) <= 13
    assert statistics.fmean(seconds) == pytest.approx(10, abs=0.2)


def test_a_heavy_tail_keeps_the_median_and_stretches_few_jobs() -> None:
    seconds = sorted(fate.seconds for fate in _fates(heavy_tail=True))
    assert statistics.median(seconds) == pytest.approx(10, rel=0.1)
    assert 45 < seconds[-20] < 100


def test_chance_fails_its_part_of_the_jobs_in_several_ways() -> None:
    codes = Counter(fate.failure.code for fate in _fates(fail_rate=0.1) if fate.failure)
    assert 150 < codes.total() < 250
    assert len(codes) > 4
    assert set(codes) <= set(FAILURES)


def test_a_seed_repeats_its_draws_and_no_other_knob_moves_them() -> None:
    one, again, other = (_fates(50, spread=0.3, fail_rate=0.2, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    assert [fate.seconds for fate in _fates(50, spread=0.3, seed=1)] == [fate.seconds for fate in one]


def test_failures_by_chance_reach_the_wire(emulator: Emulator, api: Dialect, body: dict[str, Any]) -> None:
    emulator.settings.canned = True
    emulator.settings.fail_rate = 0.2
    ends = Counter(api.run(emulator, body)["status"] for _ in range(40))
    assert set(ends) == {api.done, api.failed}
    assert 2 <= ends[api.failed] <= 20


def test_canned_results_look_at_no_input(tunable: Emulator, api: Dialect, body: dict[str, Any]) -> None:
    tunable.settings.canned = True
    unreachable = {**body, api.image_field: "http://127.0.0.1:9/none.png"}
    (raw,) = api.edited(tunable, {**unreachable, "width": 2048, "height": 2048})
    assert picture(raw).size == (64, 64)
    assert api.edited(tunable, unreachable) == [raw]
    assert picture(raw).getextrema() != ((0, 0), (0, 0), (0, 0))


@pytest.mark.slow
@pytest.mark.xdist_group("clock")
def test_a_hundred_canned_jobs_cost_little(emulator: Emulator, api: Dialect, body: dict[str, Any]) -> None:
    def cost(jobs: int) -> float:
        before = time.process_time()
        for _ in range(jobs):
            api.run(emulator, body)
        return time.process_time() - before

    emulator.settings.canned = True
    canned = cost(100)
    emulator.settings.canned = False
    # Beside those that are painted, on whatever machine: client and server together, a seventh.
    assert canned < cost(50)
    assert emulator.stats()["accepted"] == 150


def test_another_model_gives_another_look(tunable: Emulator, api: Dialect, body: dict[str, Any]) -> None:
    looks = []
    for model in ("v1", "v2", "v2", "v3"):
        tunable.settings.model = model
        looks.append(api.edited(tunable, body)[0])
    first, second, again, third = looks
    assert second == again
    assert all(distance(picture(a), picture(b)) > 6 for a, b in ((first, second), (second, third), (first, third)))


def test_the_command_turns_every_knob() -> None:
    line = (
        "--port 0 --api-key k --job-seconds 10 --spread 0.3 --heavy-tail --link-seconds 60 --credits 9 --seed 4"
        " --concurrent-jobs 5 --fail-rate 0.03 --fail-next TIMEOUT CANCELLED --refuse-next INPUT_INVALID"
        " --error-envelope detail --model v2 --canned"
    )
    assert Emulator(**vars(_parser().parse_args(line.split()))).settings == Settings(
        api_key="k",
        job_seconds=10,
        spread=0.3,
        heavy_tail=True,
        link_seconds=60,
        credits=9,
        seed=4,
        concurrent_jobs=5,
        fail_rate=0.03,
        fail_next=["TIMEOUT", "CANCELLED"],
        refuse_next=["INPUT_INVALID"],
        error_envelope="detail",
        model="v2",
        canned=True,
    )


def test_the_commands_own_knobs_are_the_settings_own() -> None:
    assert Emulator(**vars(_parser().parse_args([]))).settings == Settings()


@pytest.mark.parametrize("arguments", [["--fail-rate", "1.5"], ["--spread", "-1"], ["--error-envelope", "soap"]])
def test_the_command_refuses_what_makes_no_sense(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert arguments[0] in capsys.readouterr().err


def test_a_setting_of_no_name_is_refused() -> None:
    with pytest.raises(TypeError, match="job_secs"):
        Emulator(api_key=KEY, job_secs=1)
