"""Carbon footprint of a training from its GPU hours, and what it would be at another utilisation of the GPUs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

GRAMS_PER_TONNE = 1e6
DAYS_PER_MONTH = 365.25 / 12


def tonnes(gpu_hours: float, grams_per_gpu_hour: float, pue: float = 1.0) -> float:
    """Tonnes of CO2 equivalent. ``pue`` multiplies: the data centre's energy over that of its computers, 1 or more.

    Raises ValueError for a PUE below 1, which no data centre can have, and for negative hours.
    """
    if pue < 1 or gpu_hours < 0:
        raise ValueError(f"PUE {pue} or {gpu_hours} GPU hours cannot be.")
    return gpu_hours * grams_per_gpu_hour * pue / GRAMS_PER_TONNE


def table(gpu_hours: Mapping[str, float], grams_per_gpu_hour: float, pue: float) -> pl.DataFrame:
    """One row a figure of GPU hours: tonnes with and without the PUE."""
    return pl.DataFrame(
        [
            {
                "source": source,
                "gpu_hours": float(hours),
                "tonnes": tonnes(hours, grams_per_gpu_hour),
                "tonnes_with_pue": tonnes(hours, grams_per_gpu_hour, pue),
            }
            for source, hours in gpu_hours.items()
        ]
    )


def gpu_hours_needed(flops: float, peak: float, utilisation: float) -> float:
    """GPU hours for ``flops`` operations on GPUs of ``peak`` TFLOP/s of which the share ``utilisation`` is used."""
    if not 0 < utilisation <= 1:
        raise ValueError(f"A utilisation lies between 0 and 1, not {utilisation}.")
    return flops / (peak * 1e12 * utilisation * 3600)


def curve(flops: float, peak: float, grams_per_gpu_hour: float, shares: Sequence[float]) -> pl.DataFrame:
    """GPU hours and tonnes of the same training at each utilisation, all else equal.

    The coefficient is per GPU hour: that a busier GPU draws more power is left out, so the gain is an upper bound.
    """
    hours = [gpu_hours_needed(flops, peak, share) for share in shares]
    return pl.DataFrame(
        {
            "utilisation": [float(share) for share in shares],
            "gpu_hours": hours,
            "tonnes": [tonnes(hour, grams_per_gpu_hour) for hour in hours],
        }
    )


def shares(lowest: float, highest: float, count: int = 60) -> list[float]:
    """Utilisations in equal ratios, for a curve."""
    return [float(share) for share in np.geomspace(lowest, highest, count)]


def grid_intensity(cards: pl.DataFrame, model: str) -> float:
    """Grams of CO2 equivalent per kWh behind the emissions that a card states for ``model``."""
    row = cards.filter(model=model).row(0, named=True)
    return float(row["tonnes"] * GRAMS_PER_TONNE / _kilowatt_hours(row))


def comparators(cards: pl.DataFrame, siblings: Mapping[str, str]) -> pl.DataFrame:
    """Tonnes of each model in ``siblings`` from its GPU hours and power, at its sibling's intensity."""
    rows = []
    for model, sibling in siblings.items():
        row = cards.filter(model=model).row(0, named=True)
        intensity = grid_intensity(cards, sibling)
        rows.append(
            {
                "model": model,
                "gpu_hours": row["gpu_hours"],
                "watts": row["watts"],
                "grams_per_kilowatt_hour": intensity,
                "tonnes": _kilowatt_hours(row) * intensity / GRAMS_PER_TONNE,
            }
        )
    return pl.DataFrame(rows)


def _kilowatt_hours(row: Mapping[str, float]) -> float:
    return row["gpu_hours"] * row["watts"] / 1000
