"""Luciole, the models after Lucie-7B: tokens by phase, mixes by language, GPU hours, energy and emissions."""

from __future__ import annotations

import math
from decimal import Decimal

import polars as pl

SIZES = ("1B", "8B", "23B")
PHASES = ("initial", "continued", "annealing", "extension_32k", "extension_131k")  # in the order of training
SEQUENCE = 4096  # tokens of a sequence in the weights of a mix
BATCH = 1024  # sequences of that length in a step
MIX_OF = {  # the mix that each phase was trained on; that of the extensions does not depend on their length
    "initial": "luciole_phase1",
    "continued": "luciole_phase2_variant",
    "annealing": "luciole_phase3",
    "extension_32k": "luciole_context_extension_longmino_50B",
    "extension_131k": "luciole_context_extension_longmino_50B",
}
FIRST_SIZE = SIZES[0]  # whose card seems to have been the model of the others
SOURCES = ("rte", "emaps", "owid")  # of carbon intensities


def plan(setup: pl.DataFrame) -> pl.DataFrame:
    """Steps, batch size, context length, samples and tokens of each size and phase, from transcribed/luciole_setup.

    A card states for a phase only what differs from the phase before.
    """
    wide = setup.pivot("parameter", index=["size", "phase"], values="value").filter(pl.col("last_step").is_not_null())
    ordered = wide.sort(_place("size", SIZES), _place("phase", PHASES))
    filled = ordered.with_columns(pl.col("context_length", "batch_size").forward_fill().over("size"))
    return _counted(filled.rename({"last_step": "steps"}))


def _place(column: str, order: tuple[str, ...]) -> pl.Expr:
    return pl.col(column).replace_strict({name: place for place, name in enumerate(order)})


def _counted(phases: pl.DataFrame) -> pl.DataFrame:
    samples = pl.col("steps") * pl.col("batch_size")
    return phases.select(
        "size",
        "phase",
        "steps",
        "batch_size",
        "context_length",
        samples=samples,
        tokens=samples * pl.col("context_length"),
    )


def plan_with_copies(phases: pl.DataFrame) -> pl.DataFrame:
    """The same with the entries that the cards of the larger sizes seem to have copied.

    Steps of the second phase and of the last extension of 8B are those of 1B; the samples of the first extension
    of 23B are counted with the batch size of the second.
    """
    first = phases.filter(size=FIRST_SIZE).select("phase", copied=pl.col("steps"))
    second_phase = pl.col("phase") == "continued"
    last_of_8b = (pl.col("size") == "8B") & (pl.col("phase") == "extension_131k")
    steps = pl.when(second_phase | last_of_8b).then("copied").otherwise("steps")
    copied = _counted(phases.join(first, on="phase", how="left").with_columns(steps=steps).drop("copied"))
    last_batch = phases.filter(size="23B", phase="extension_131k")["batch_size"].item()
    wrong = (pl.col("size") == "23B") & (pl.col("phase") == "extension_32k")
    return copied.with_columns(samples=pl.when(wrong).then(pl.col("steps") * last_batch).otherwise("samples"))


def totals(phases: pl.DataFrame) -> pl.DataFrame:
    """Steps and tokens of each size over all phases, as the cards' headers name them: num_steps and num_tokens."""
    summed = phases.group_by("size", maintain_order=True).agg(num_steps=pl.sum("steps"), num_tokens=pl.sum("tokens"))
    return summed.unpivot(index="size", variable_name="parameter")


def logged(losses: pl.DataFrame, phases: pl.DataFrame) -> pl.DataFrame:
    """The logged steps with their tokens, since the start of the phase and of the training.

    ``losses`` is input/luciole_losses; a step of a phase always has the same number of tokens.
    """
    before = phases.with_columns(before=pl.col("tokens").cum_sum().over("size") - pl.col("tokens"))
    joined = losses.join(before, on=["size", "phase"], how="left", validate="m:1")
    tokens = pl.col("step") * pl.col("batch_size") * pl.col("context_length")
    return joined.select(
        "size", "phase", "step", "loss", "gpu_seconds", "wall_seconds", tokens=tokens, seen=tokens + pl.col("before")
    )


def ends(steps: pl.DataFrame, phases: pl.DataFrame) -> pl.DataFrame:
    """For each size and phase: its tokens, the last logged loss, hours and GPU hours, and how many GPUs that makes."""
    last = steps.group_by("size", "phase", maintain_order=True).last()
    hours = {"hours": pl.col("wall_seconds") / 3600, "gpu_hours": pl.col("gpu_seconds") / 3600}
    timed = last.select("size", "phase", "loss", **hours, gpus=pl.col("gpu_seconds") / pl.col("wall_seconds"))
    return phases.join(timed, on=["size", "phase"], how="left", validate="1:1", maintain_order="left")


def mix_weights(files: pl.DataFrame, repeats: pl.DataFrame, counts: pl.DataFrame) -> pl.DataFrame:
    """The weight of each file of a mix, in whole sequences: tokens of its data set times repeats.

    Where two files hold one data set, the one named for a fraction of it gets that, the other what is left.
    Raises ValueError for a file whose data set has no repeats or no tokens.
    """
    known = files.join(repeats, on=["mix", "dataset"]).join(counts, on="dataset")
    if len(known) != len(files):
        raise ValueError(f"{len(files) - len(known)} files have no repeats or no token counts.")
    rows = []
    for (mix, _dataset), group in known.group_by("mix", "dataset", maintain_order=True):
        first = group.row(0, named=True)
        whole = sequences(first["tokens"], first["repeats"])
        parts = {row["file"]: whole for row in group.iter_rows(named=True)}
        if len(parts) > 1:
            parts = _split(group, first["tokens"], whole)
        rows += [{"mix": mix, "file": file, "sequences": count} for file, count in parts.items()]
    return pl.DataFrame(rows)


def sequences(tokens: int, repeats: str) -> int:
    """Whole sequences in ``tokens`` repeated ``repeats`` times, a decimal number."""
    return math.floor(tokens * Decimal(repeats) / SEQUENCE)


def _split(group: pl.DataFrame, tokens: int, whole: int) -> dict[str, int]:
    part = group.filter(pl.col("fraction").is_not_null()).row(0, named=True)
    rest = group.filter(pl.col("fraction").is_null()).row(0, named=True)
    held = sequences(tokens, str(part["fraction"]))
    return {part["file"]: held, rest["file"]: whole - held}


def mix_tokens(weights: pl.DataFrame) -> pl.DataFrame:
    """Tokens that each mix gives when it is trained on in whole steps."""
    steps = pl.sum("sequences") // BATCH
    return weights.group_by("mix", maintain_order=True).agg(steps=steps, tokens=steps * BATCH * SEQUENCE)


def mix_languages(weights: pl.DataFrame, files: pl.DataFrame) -> pl.DataFrame:
    """Share of each language, in percent, in each mix."""
    named = weights.join(files, on=["mix", "file"], validate="1:1")
    percent = 100 * pl.col("sequences") / pl.col("sequences").sum().over("mix")
    return named.with_columns(percent=percent).group_by("mix", "language", maintain_order=True).agg(pl.sum("percent"))


def shares(phases: pl.DataFrame, languages: pl.DataFrame) -> pl.DataFrame:
    """Share of each language, in percent, in all tokens of a size."""
    mixed = phases.with_columns(mix=pl.col("phase").replace_strict(MIX_OF)).join(languages, on="mix")
    part = pl.col("tokens") * pl.col("percent")
    by_language = mixed.group_by("size", "language", maintain_order=True).agg(part=part.sum())
    total = phases.group_by("size", maintain_order=True).agg(total=pl.sum("tokens"))
    parameter = pl.concat_str(pl.lit("share:"), "language")
    return by_language.join(total, on="size", maintain_order="left").select(
        "size", "language", parameter=parameter, percent=pl.col("part") / pl.col("total")
    )


def shares_of_first(table: pl.DataFrame) -> pl.DataFrame:
    """The shares of the smallest size, given for all sizes."""
    first = table.filter(size=FIRST_SIZE).drop("size")
    return table.select("size").unique(maintain_order=True).join(first, how="cross")


def consumption_total(consumption: pl.DataFrame) -> pl.DataFrame:
    """Sums of input/luciole_consumption over all jobs, one row a quantity, free of the noise of binary fractions."""
    return consumption.group_by("quantity", maintain_order=True).agg(pl.sum("value").round(6))


def emission_gaps(consumption: pl.DataFrame) -> pl.DataFrame:
    """Total emissions less those of hosts and GPUs, in g, for each kind of jobs and source of intensities."""
    wide = consumption.pivot("quantity", index="job", values="value")
    gap = {by: pl.col(f"total_emissions_{by}").sub(pl.col(f"host_emissions_{by}") + pl.col(f"gpu_emissions_{by}"))
           for by in SOURCES}  # fmt: skip
    gaps = wide.select("job", **gap).unpivot(index="job", variable_name="source", value_name="gap")
    return gaps.with_columns(pl.col("gap").round(6))


def footprint(consumption: pl.DataFrame) -> pl.DataFrame:
    """One row a kind of jobs, and TOTAL: hours, energy, emissions, and what follows from them.

    ``gpus`` is how many ran on average, ``intensity_SOURCE`` the emissions in g per kWh, ``watts_per_gpu`` the energy
    per GPU hour.
    """
    total = consumption_total(consumption).with_columns(job=pl.lit("TOTAL"))
    cells = pl.concat([consumption.select("job", "quantity", "value"), total.select("job", "quantity", "value")])
    wide = cells.pivot("quantity", index="job", values="value")
    intensity = {f"intensity_{by}": pl.col(f"total_emissions_{by}") / pl.col("total_energy") for by in SOURCES}
    return wide.with_columns(
        gpus=pl.col("gpu_hours") / pl.col("wall_hours"),
        watts_per_gpu=1000 * pl.col("total_energy") / pl.col("gpu_hours"),
        **intensity,
    )


def by_size(footprint: pl.DataFrame) -> pl.DataFrame:
    """The rows of the trainings themselves, by size instead of kind of jobs."""
    trainings = footprint.filter(pl.col("job").str.starts_with("Training "))
    named = trainings.select(pl.col("job").str.strip_prefix("Training ").alias("size"), pl.exclude("job"))
    return named.sort(_place("size", SIZES))
