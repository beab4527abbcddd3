"""The energy of trainings made here, by seed and phase, from what their metrics say of time."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import polars as pl

from lucie import machine
from lucie.energy import estimate
from lucie.inputs import product_files
from lucie.project import Project
from lucie.training.metrics import METRICS, read_metrics
from lucie.training.run import RunFile

KWH = ("kwh", "kwh_low", "kwh_high")
GRAMS = ("grams", "grams_low", "grams_high")


def of_trainings(tier: str) -> pl.DataFrame:
    """The trainings that the notebook on pretraining gave out; they are taken to have had this machine to themselves.

    Columns: seed, phase, tokens, seconds, cpu_seconds, and energy (kWh) and emissions (g CO2e), each with its bounds.
    """
    runs = [path.parent for path in product_files(Project.find(), tier, "training", METRICS)]
    return pl.concat([of_run(folder, machine.cores(), machine.memory()) for folder in runs])


def of_run(folder: Path, cores: int, memory: float) -> pl.DataFrame:
    """The same of one run's folder, on so many cores with so many GB of memory."""
    steps = read_metrics(folder / METRICS).with_columns(
        tokens=pl.col("tokens").diff().fill_null(pl.col("tokens").first())
    )
    phases = steps.group_by("phase", maintain_order=True).agg(pl.sum("tokens", "seconds", "cpu_seconds"))
    seed, rows = RunFile.read(folder).seed, []
    for row in phases.iter_rows(named=True):
        energy = asdict(estimate(min(row["cpu_seconds"], row["seconds"] * cores), row["seconds"], cores, memory))
        rows.append({"seed": seed, **row, **{name: energy[name] for name in (*KWH, *GRAMS)}})
    return pl.DataFrame(rows)
