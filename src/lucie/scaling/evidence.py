"""What records say of trainings on the same machine: hours, energy, emissions, utilisation."""

from __future__ import annotations

from math import fsum

import polars as pl

from lucie import luciole
from lucie.hpc.sites import Gpus
from lucie.project import Project
from lucie.records import load_record
from lucie.scaling.option import Range
from lucie.training.scaling import utilisation

LUCIOLE_PARAMETERS = {"8B": 8.08e9, "23B": 23.2e9}  # their model cards (OpenLLM-France/Luciole-Training, eaaa60d244ba)


def ending_minutes(project: Project, hours: int) -> float:
    """Minutes that the authors' jobs, of so many hours at most, stop before their limit."""
    scripts = load_record(project, "transcribed/launch_scripts").filter(phase="main", parameter="walltime_limit")
    return 60 * hours - float(scripts["value"].item())


def published_hours(project: Project) -> float:
    """GPU hours of Lucie-7B's three phases, as their logs add up."""
    losses = load_record(project, "input/training_losses")
    return float(losses.group_by("phase", maintain_order=True).agg(pl.max("gpu_hours"))["gpu_hours"].sum())


def _trainings(project: Project) -> pl.DataFrame:
    """Luciole's trainings, as the cluster's accounting measured them."""
    return luciole.by_size(luciole.footprint(load_record(project, "input/luciole_consumption")))


def kilowatts(project: Project) -> Range:
    """Of a GPU with its share of the node: energy by GPU hours of Luciole's trainings; bounds: of single ones."""
    trainings = _trainings(project)
    each = [watts / 1000 for watts in trainings["watts_per_gpu"]]
    return Range(min(each), fsum(trainings["total_energy"]) / fsum(trainings["gpu_hours"]), max(each))


def grams(project: Project) -> Range:
    """CO2 equivalent of a kWh in these trainings by the grid's operator; bounds: the extremes of three sources."""
    trainings = _trainings(project)
    energy = fsum(trainings["total_energy"])
    by_source = {source: fsum(trainings[f"total_emissions_{source}"]) / energy for source in luciole.SOURCES}
    return Range(min(by_source.values()), by_source["rte"], max(by_source.values()))


def utilisation_elsewhere(project: Project, gpus: Gpus) -> dict[str, float]:
    """Utilisation of Luciole's whole trainings from their logged steps: 6 FLOP a weight and token, no attention."""
    phases = luciole.plan(load_record(project, "transcribed/luciole_setup"))
    logged = luciole.logged(load_record(project, "input/luciole_losses"), phases)
    ends = logged.group_by("size", "phase", maintain_order=True).last()
    sums = ends.group_by("size", maintain_order=True).agg(pl.sum("tokens", "gpu_seconds"))
    speeds = {row["size"]: row["tokens"] / row["gpu_seconds"] for row in sums.iter_rows(named=True)}
    return {
        f"Luciole-{size}": utilisation(speeds[size], 6 * weights, gpus.peak.value / 1e12)
        for size, weights in LUCIOLE_PARAMETERS.items()
    }
