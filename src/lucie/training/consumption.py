"""What a run has read of each source, against its mix: from the tokens that its metrics count, and the data order.

ordered = OrderedTokens(tokens, recipe.mix, "main")
consumption(read_metrics(run / METRICS), ordered)  # one row a source: consumed, share, weight, epochs
"""

from __future__ import annotations

import polars as pl

from lucie.errors import MismatchError, UsageError
from lucie.tokens.order import OrderedTokens


def consumption(metrics: pl.DataFrame, ordered: OrderedTokens) -> pl.DataFrame:
    """Tokens that the steps of a phase in ``metrics`` (phase, step, tokens) have trained on, by source.

    Returns name, length, language, category, tokens (there are), consumed, share (of all consumed), weight (by the
    mix), epochs (consumed by tokens); sources with weight 0 are left out. Raises UsageError where the metrics have no
    step of the phase, MismatchError where they count other tokens than the order.
    """
    rows = metrics.filter(phase=ordered.phase_name).sort("step", maintain_order=True)
    if rows.is_empty():
        raise UsageError(f"The metrics have no step of the {ordered.phase_name} phase. Train it first.")
    first, last = ordered.sequences(1), ordered.sequences(rows.height)
    counted = rows["tokens"][-1] - rows["tokens"][0]
    expected = (last.stop - first.stop) * ordered.phase.sequence_length
    if counted != expected:
        raise MismatchError(
            f"The {rows.height} steps of the {ordered.phase_name} phase count {counted} tokens after the first, "
            f"mix '{ordered.mix.name}' {expected}. Use the mix that the run was made with."
        )
    sources = ordered.plan.filter(pl.col("weight") > 0)
    sequences = [ordered.interleaving.drawn(source, last.stop) for source in range(sources.height)]
    consumed = pl.Series("consumed", sequences, dtype=pl.Int64) * ordered.phase.sequence_length
    return sources.select("name", "length", "language", "category", "tokens", consumed, "weight").select(
        pl.exclude("weight"),
        share=pl.col("consumed") / pl.col("consumed").sum(),
        weight="weight",
        epochs=pl.col("consumed") / pl.col("tokens"),
    )
