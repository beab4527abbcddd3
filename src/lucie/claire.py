"""CLAIRE: what its training runs were made of, how they were sampled, and whom readers preferred."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

MEASURES = ("conversations", "turns", "words")
GENRES = {  # of the French groups, as the cards put them together
    "parliament": ("FR/ParliamentaryProceedings",),
    "theatre": ("FR/Theatre",),
    "interviews": ("FR/Interviews",),
    "free conversations": ("FR/FreeConversations",),
    "meetings": ("FR/Meetings",),
    "debates": ("FR/Debates",),
    "assistance": ("FR/Assistance",),
    "presentations": ("FR/PresDiscourse",),
}
PUT_TOGETHER = ("presentations", "free conversations")  # on the card of the Apache variant


@dataclass(frozen=True)
class Run:
    """A training run: beginnings of the names of its corpora, and what divides the weights of two genres."""

    name: str
    corpora: tuple[str, ...]
    parliament_penalty: float
    theatre_penalty: float

    @classmethod
    def from_record(cls, runs: pl.DataFrame, name: str) -> Run:
        """The run ``name`` of transcribed/claire_runs; without a penalty nothing is divided."""
        given = dict(runs.filter(run=name).select("parameter", "value").iter_rows())
        penalties = {key: float(given.get(key, 1)) for key in ("parliament_penalty", "theatre_penalty")}
        return cls(name, tuple(given["corpora"].split()), **penalties)

    def composition(self, counts: pl.DataFrame) -> pl.DataFrame:
        """Conversations, turns and words of each group with their shares and weights in percent.

        A corpus without a training split is taken as a whole; those put aside or without a group are left out. The
        weight of a group is its words and turns over its penalty.
        """
        part = training_parts(counts).filter(
            pl.any_horizontal(pl.col("corpus").str.starts_with(start) for start in self.corpora)
        )
        groups = part.group_by("group", maintain_order=True).agg(pl.sum(*MEASURES)).sort("group", maintain_order=True)
        penalty = (
            pl.when(pl.col("group").str.starts_with("FR/Parliament"))
            .then(self.parliament_penalty)
            .when(pl.col("group") == "FR/Theatre")
            .then(self.theatre_penalty)
            .otherwise(1.0)
        )
        scaled = (pl.col("words") + pl.col("turns")) / penalty
        return groups.select(
            pl.lit(self.name).alias("run"),
            "group",
            *MEASURES,
            percent_conversations=100 * pl.col("conversations") / pl.col("conversations").sum(),
            percent_words=100 * pl.col("words") / pl.col("words").sum(),
            weight=100 * scaled / scaled.sum(),
        )


def training_parts(counts: pl.DataFrame) -> pl.DataFrame:
    """The rows of input/claire_counts that runs train on: training splits, else whole corpora."""
    kept = counts.filter(~pl.col("discarded"), ~pl.col("group").is_in(["", "EN/discarded"]))
    split = kept.filter(split="train")["corpus"].to_list()
    whole = (pl.col("split") == "all") & ~pl.col("corpus").is_in(split)
    return kept.filter((pl.col("split") == "train") | whole)


def long(compositions: pl.DataFrame) -> pl.DataFrame:
    """The compositions, one row a number, with the totals of each run under an empty group."""
    shares = ["percent_conversations", "percent_words", "weight"]
    groups = compositions.unpivot(shares, index=["run", "group"], variable_name="quantity")
    totals = compositions.group_by("run", maintain_order=True).agg(pl.sum(*MEASURES))
    summed = totals.unpivot(MEASURES, index="run", variable_name="quantity").with_columns(group=pl.lit(""))
    cells = pl.concat([groups, summed.select("run", "group", "quantity", pl.col("value").cast(pl.Float64))])
    return cells.with_columns(pl.col("value").round(9))


def genres(compositions: pl.DataFrame) -> pl.DataFrame:
    """Words, words with turns, share of words and weight of each genre of each run."""
    rows = [
        {
            "run": run,
            "genre": genre,
            "words": (own := _of(group, starts))["words"].sum(),
            "words_and_turns": int(own["words"].sum()) + int(own["turns"].sum()),
            "percent_words": own["percent_words"].sum(),
            "weight": own["weight"].sum(),
        }
        for (run,), group in compositions.group_by("run", maintain_order=True)
        for genre, starts in GENRES.items()
    ]
    return pl.DataFrame(rows)


def _of(groups: pl.DataFrame, starts: tuple[str, ...]) -> pl.DataFrame:
    return groups.filter(pl.any_horizontal(pl.col("group").str.starts_with(start) for start in starts))


def on_cards(table: pl.DataFrame) -> pl.DataFrame:
    """The genres with those that one card puts together."""
    together = table.filter(pl.col("genre").is_in(PUT_TOGETHER)).group_by("run", maintain_order=True)
    summed = together.agg(pl.sum(*table.columns[2:])).with_columns(genre=pl.lit(" and ".join(PUT_TOGETHER)))
    return pl.concat([table, summed.select(table.columns)])


def pairs(preferences: pl.DataFrame) -> pl.DataFrame:
    """Both shares of each pair of models and their sum in percent, which is 100 where nobody was undecided."""
    other = preferences.select(preferred="over", over="preferred", reverse="percent")
    both = preferences.join(other, on=["preferred", "over"], validate="1:1", maintain_order="left")
    once = both.filter(pl.col("percent") > pl.col("reverse"))
    return once.select("preferred", "over", "percent", "reverse", sum=(pl.col("percent") + pl.col("reverse")).round(6))
