"""The energy of runs made here, with its uncertainty: measured where the machine has a counter, else estimated.

    with Meter() as meter:
        subprocess.run(...)
    meter.energy  # Energy(kwh=0.0008, kwh_low=0.0003, kwh_high=0.0021, grams=..., method="power model")
    estimate(cpu_seconds=2 * seconds, wall_seconds=seconds, cores=2, memory=16)  # of a run that is over: all cores busy

A virtual machine shows no counter, so the estimate is a power model: watts of a core that waits and of one that works,
of memory, and what the data centre adds. Each number has a low and a high bound and a source (`ASSUMPTIONS`); the
bounds of the energy are those of all numbers at once, so they are wide, and hold for a machine that is not known. What
the hardware cost to make is left out, and so is everything but cores and memory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

import polars as pl

from lucie import machine

COUNTERS = Path("/sys/class/powercap")  # Linux: Intel's and AMD's RAPL
JOULES_PER_KWH = 3.6e6
HIGHEST_WATTS = 1000.0  # of one processor: a counter that this could have wrapped unseen is not used
ROUNDED = 1.01  # CPU seconds and wall seconds come from two clocks


@dataclass(frozen=True)
class Assumption:
    """A number of the power model: its value, what it lies between, and who says so."""

    low: float
    value: float
    high: float
    unit: str
    source: str


CCF = "Cloud Carbon Footprint (cloudcarbonfootprint.org/docs/methodology), from SPECpower_ssj2008"
ASSUMPTIONS = {
    "core waiting": Assumption(
        0.45, 0.74, 3.04, "W per hardware thread", f"{CCF}: AWS average; EPYC 3rd generation; Ivy Bridge"
    ),
    "core working": Assumption(
        1.69, 3.5, 8.58, "W per hardware thread", f"{CCF}: AWS average; EPYC 2nd generation; Sandy Bridge"
    ),
    "memory": Assumption(
        0.156, 0.392, 0.625, "W per GB", f"{CCF}; bounds: codecarbon 3.3.2, 5 W a module, of 32 GB and of 8 GB"
    ),
    "overhead": Assumption(
        1.0,
        1.135,
        1.58,
        "energy of the data centre by that of its computers (PUE)",
        "Cloud Carbon Footprint: AWS; low: not in a data centre; high: Uptime Institute, average of the survey of 2023",
    ),
    "grid": Assumption(
        21.7,
        445.0,
        445.0,
        "g CO2e per kWh",
        "where the machine stands is not known. World, 2024: IEA, Electricity 2025; low: France, 2024: RTE, bilan "
        "électrique. A grid of coal alone has about twice the world's",
    ),
}


@dataclass(frozen=True)
class Energy:
    """Energy and emissions of a run, each with its bounds. An estimate, whatever the method."""

    kwh: float
    kwh_low: float
    kwh_high: float
    grams: float  # CO2 equivalent
    grams_low: float
    grams_high: float
    method: str  # 'power model' or 'RAPL counters'


def assumptions() -> pl.DataFrame:
    """The numbers of the power model: what, low, value, high, unit, source."""
    return pl.DataFrame([{"what": name, **asdict(number)} for name, number in ASSUMPTIONS.items()])


def estimate(
    cpu_seconds: float, wall_seconds: float, cores: int, memory: float, processor_kwh: float | None = None
) -> Energy:
    """The energy of a run that used ``cpu_seconds`` on ``cores`` hardware threads and held ``memory`` GB.

    ``processor_kwh`` is what counters measured: it takes the place of the cores' part. Raises ValueError for more CPU
    seconds than the cores have.
    """
    if not 0 <= cpu_seconds <= ROUNDED * wall_seconds * cores or memory < 0:
        raise ValueError(
            f"{cpu_seconds:g} CPU seconds in {wall_seconds:g} s on {cores} cores with {memory:g} GB cannot be."
        )
    waiting = max(0.0, wall_seconds * cores - cpu_seconds)

    def at(bound: str) -> tuple[float, float]:
        number = {name: float(getattr(assumption, bound)) for name, assumption in ASSUMPTIONS.items()}
        joules = cpu_seconds * number["core working"] + waiting * number["core waiting"]
        processor = joules / JOULES_PER_KWH if processor_kwh is None else processor_kwh
        kwh = (processor + memory * number["memory"] * wall_seconds / JOULES_PER_KWH) * number["overhead"]
        return kwh, kwh * number["grid"]

    (kwh, grams), (kwh_low, grams_low), (kwh_high, grams_high) = at("value"), at("low"), at("high")
    method = "power model" if processor_kwh is None else "RAPL counters"
    return Energy(kwh, kwh_low, kwh_high, grams, grams_low, grams_high, method)


class Meter:
    """Meters what runs inside a ``with`` block: this process and the child processes that end in it.

    ``memory`` in GB is the machine's unless it is given, as it should be where others use the machine too. Counters
    count the whole processor, whoever uses it.
    """

    def __init__(self, memory: float | None = None, counters: Path = COUNTERS) -> None:
        self._memory = machine.memory() if memory is None else memory
        self._counters = counters

    def __enter__(self) -> Meter:
        self._before = dict(_read(self._counters))
        self._cpu, self._wall = _cpu_seconds(), time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wall = time.monotonic() - self._wall
        cpu = min(_cpu_seconds() - self._cpu, wall * machine.cores())
        processor = _kwh(self._before, dict(_read(self._counters)), wall)
        self.energy = estimate(cpu, wall, machine.cores(), self._memory, processor)


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _read(folder: Path) -> Iterator[tuple[str, tuple[float, float]]]:
    """The counter of each processor that may be read: its joules, and at how many it starts again."""
    for processor in sorted(folder.glob("intel-rapl:[0-9]")):
        try:
            joules, wraps = (int((processor / name).read_text()) / 1e6 for name in ("energy_uj", "max_energy_range_uj"))
        except OSError:  # root's alone on most machines
            continue
        yield processor.name, (joules, wraps)


def _kwh(before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]], wall: float) -> float | None:
    """What the counters rose by; None without counters, or where they may have started again more than once."""
    if not before or before.keys() != after.keys():
        return None
    if any(wraps < HIGHEST_WATTS * wall for _, wraps in after.values()):
        return None
    joules = sum((after[name][0] - before[name][0]) % after[name][1] for name in before)
    return joules / JOULES_PER_KWH
