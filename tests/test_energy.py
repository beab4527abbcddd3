"""Energy: the power model, its bounds, and the counters of a machine that has them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucie.energy import ASSUMPTIONS, JOULES_PER_KWH, Energy, Meter, assumptions, estimate
from lucie.files import write_json
from lucie.training.footprint import of_run
from lucie.training.metrics import METRICS
from lucie.training.run import RUN

SECONDS = st.floats(1, 1e6)
SHARES = st.floats(0, 1)
CORES = st.integers(1, 256)


def test_an_hour_of_two_busy_cores_by_hand() -> None:
    energy = estimate(cpu_seconds=7200, wall_seconds=3600, cores=2, memory=10)
    assert energy.kwh == pytest.approx((2 * 3.5 + 10 * 0.392) * 1.135 / 1000)
    assert energy.grams == pytest.approx(energy.kwh * 445)
    assert energy.grams_low == pytest.approx((2 * 1.69 + 10 * 0.156) / 1000 * 21.7)


@given(SHARES, SECONDS, CORES, st.floats(0, 1000))
def test_bounds_enclose_the_value_and_work_costs_more_than_waiting(
    share: float, wall: float, cores: int, memory: float
) -> None:
    energy, idle = estimate(share * wall * cores, wall, cores, memory), estimate(0, wall, cores, memory)
    assert energy.kwh_low < energy.kwh < energy.kwh_high and energy.grams_low < energy.grams < energy.grams_high
    assert idle.kwh <= energy.kwh <= estimate(wall * cores, wall, cores, memory).kwh * (1 + 1e-9)


@given(SHARES, SECONDS, CORES, st.floats(0, 1000), st.integers(2, 9))
def test_energies_of_parts_add_up(share: float, wall: float, cores: int, memory: float, parts: int) -> None:
    whole = estimate(share * wall * cores, wall, cores, memory)
    part = estimate(share * wall * cores / parts, wall / parts, cores, memory)
    assert whole.kwh == pytest.approx(parts * part.kwh) and whole.grams_high == pytest.approx(parts * part.grams_high)


@pytest.mark.parametrize(("cpu", "wall", "memory"), [(21, 10, 1), (-1, 10, 1), (1, 10, -1)])
def test_what_cannot_be_is_refused(cpu: float, wall: float, memory: float) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        estimate(cpu, wall, 2, memory)


def test_every_number_has_bounds_and_a_source() -> None:
    table = assumptions()
    assert table["what"].to_list() == list(ASSUMPTIONS)
    for row in table.iter_rows(named=True):
        assert row["low"] <= row["value"] <= row["high"] and row["low"] < row["high"]
        assert row["unit"] and row["source"]


def counter(folder: Path, processor: int, joules: float, wraps: float = 262_143.0) -> None:
    place = folder / f"intel-rapl:{processor}"
    (place / f"intel-rapl:{processor}:0").mkdir(parents=True, exist_ok=True)  # a part of the processor, counted in it
    (place / "energy_uj").write_text(f"{round(joules * 1e6)}\n")
    (place / "max_energy_range_uj").write_text(f"{round(wraps * 1e6)}\n")


def metered(folder: Path, memory: float, *after: tuple[int, float]) -> Energy:
    with Meter(memory, counters=folder) as meter:
        for processor, joules in after:
            counter(folder, processor, joules)
    return meter.energy


def test_counters_are_used_where_there_are_any(tmp_path: Path) -> None:
    counter(tmp_path, 0, joules=1000)
    counter(tmp_path, 1, joules=262_000)
    energy = metered(tmp_path, 0, (0, 1500), (1, 57))  # the second one started again
    assert energy.method == "RAPL counters"
    assert energy.kwh_low == pytest.approx((500 + 200) / JOULES_PER_KWH)
    assert energy.kwh_high == pytest.approx(1.58 * energy.kwh_low), "what is left unknown is the overhead"


def test_a_counter_that_may_have_wrapped_twice_is_not_used(tmp_path: Path) -> None:
    counter(tmp_path, 0, joules=1, wraps=1)
    with Meter(0, counters=tmp_path) as meter:
        time.sleep(0.01)
    assert meter.energy.method == "power model"


def test_work_is_metered_as_more_than_waiting(tmp_path: Path) -> None:
    """In the same time, however much of it the machine gives to others."""
    began = time.monotonic()
    with Meter(0, counters=tmp_path) as working:
        end = time.process_time() + 0.5
        while time.process_time() < end:
            pass
    with Meter(0, counters=tmp_path) as waiting:
        time.sleep(time.monotonic() - began)
    assert working.energy.kwh > 1.05 * waiting.energy.kwh > 0


def test_a_training_s_energy_is_that_of_its_phases(tmp_path: Path) -> None:
    steps = [("main", 100, 2.0, 3.0), ("main", 300, 4.0, 5.0), ("annealing", 350, 1.0, 9.0)]  # the last: two clocks
    lines = [
        {"phase": phase, "step": number, "tokens": tokens, "seconds": seconds, "cpu_seconds": cpu}
        for number, (phase, tokens, seconds, cpu) in enumerate(steps, start=1)
    ]
    (tmp_path / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_json(tmp_path / RUN, {"key": "k", "recipe": {}, "seed": 7, "tokens": "t"})
    found = of_run(tmp_path, cores=2, memory=10.0)
    assert found.select("seed", "phase", "tokens", "seconds").rows() == [
        (7, "main", 300, 6.0),
        (7, "annealing", 50, 1.0),
    ]
    for row, expected in zip(
        found.iter_rows(named=True), (estimate(8.0, 6.0, 2, 10.0), estimate(2.0, 1.0, 2, 10.0)), strict=True
    ):
        assert (row["kwh_low"], row["kwh"], row["kwh_high"]) == (expected.kwh_low, expected.kwh, expected.kwh_high)
        assert row["kwh_low"] < row["kwh"] < row["kwh_high"]
