"""Footprint: tonnes, PUE, utilisation, and the figures that the records give."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucie import footprint
from lucie.project import Project
from lucie.records import load_record

HOURS = st.floats(0, 1e8)
SHARES = st.floats(1e-3, 1)


def test_the_published_total_is_hours_times_coefficient() -> None:
    assert footprint.tonnes(500_000, 25.7) == pytest.approx(12.85, abs=1e-12)


@given(HOURS, st.floats(0.1, 1000), st.floats(1, 3))
def test_the_pue_multiplies(hours: float, grams: float, pue: float) -> None:
    assert footprint.tonnes(hours, grams, pue) == pytest.approx(pue * footprint.tonnes(hours, grams))


@pytest.mark.parametrize(("hours", "pue"), [(1, 0.99), (-1, 1.2)])
def test_what_no_data_centre_has_is_refused(hours: float, pue: float) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        footprint.tonnes(hours, 25.7, pue)


@given(st.floats(1e18, 1e25), st.floats(10, 5000), SHARES)
def test_hours_at_a_utilisation_give_the_operations_back(flops: float, peak: float, share: float) -> None:
    hours = footprint.gpu_hours_needed(flops, peak, share)
    assert hours * 3600 * peak * 1e12 * share == pytest.approx(flops)


@pytest.mark.parametrize("share", [0, -0.1, 1.01])
def test_an_impossible_utilisation_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        footprint.gpu_hours_needed(1e20, 989, share)


@given(st.lists(SHARES, min_size=2, max_size=6, unique=True).map(sorted))
def test_better_used_gpus_emit_less(shares: list[float]) -> None:
    tonnes = footprint.curve(1e23, 989, 25.7, shares)["tonnes"].to_list()
    assert tonnes == sorted(tonnes, reverse=True)


def test_shares_reach_from_end_to_end() -> None:
    shares = footprint.shares(0.08, 0.5, count=5)
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (pytest.approx(0.08), pytest.approx(0.5))


def test_siblings_give_the_compared_models_tonnes(project: Project) -> None:
    cards = load_record(project, "transcribed/llama_compute")
    for sibling in ("Llama-2-13B", "Llama-2-70B"):
        tonnes = footprint.comparators(cards, {"Llama-2-7B": sibling})["tonnes"].item()
        assert round(tonnes, 2) == 31.22
    assert footprint.comparators(cards, {"Llama-3-8B": "Llama-3-70B"})["tonnes"].item() == pytest.approx(390, rel=0.02)


def test_logged_gpu_hours_are_wall_time_times_the_gpus_of_the_scripts(project: Project) -> None:
    log = load_record(project, "input/training_losses")
    gpus = {"main": 512, "extension": 128, "annealing": 128}
    for row in log.iter_rows(named=True):
        assert row["gpu_hours"] == pytest.approx(row["wall_hours"] * gpus[row["phase"]])


def test_the_judged_tonnes_are_not_among_what_the_stage_reads(project: Project) -> None:
    cards = load_record(project, "transcribed/llama_compute")
    assert cards.filter(cards["tonnes"].is_null())["model"].to_list() == ["Llama-2-7B", "Llama-3-8B"]
