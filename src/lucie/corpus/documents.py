"""What a document is: its text and the columns of the published dataset, all of them strings."""

from __future__ import annotations

import polars as pl

TEXT = "text"
COLUMNS = (
    "id",
    TEXT,
    "source",
    "language",
    "category",
    "date",
    "author",
    "url",
    "title",
    "extra",
    "quality_signals",
    "licence",
)
SCHEMA = {name: pl.String() for name in COLUMNS}
