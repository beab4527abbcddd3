"""Claims: what was published, which result must reproduce it, by which tolerance and why.

They are the YAML files of paper/claims/. A claim is about one number or about a table, cell by cell; or it says what
a rerun must give again, or what a result must reach.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field, ValidationError, model_validator

from lucie.config import Strict, read_yaml
from lucie.errors import UsageError, unknown
from lucie.project import Project
from lucie.records import pick


class Published(Strict):
    """Where the published number is: cells of a record."""

    record: str = Field(description="published/NAME or transcribed/NAME")
    column: str
    where: dict[str, str | int | list[str] | list[int]] = Field(default={}, description="which rows")
    key: list[str] = Field(default=[], description="columns that name a cell; none for a single number")
    scale: float = Field(default=1, description="our value is divided by this before it is compared")


class Ours(Strict):
    """The result: a value, or a column of a table, whose rows are matched by the published key."""

    value: str | None = None
    table: str | None = None
    column: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Ours:
        if (self.value is None) == (self.table is None) or (self.table is None) != (self.column is None):
            raise ValueError("give either 'value', or 'table' and 'column'")
        return self

    @property
    def name(self) -> str:
        return self.value or f"{self.table}, column {self.column}"


class Exact(Strict):
    """The same number or word."""

    kind: Literal["exact"]


class Rounding(Strict):
    """Equal to the published number at its printed digits."""

    kind: Literal["rounding"]


class Precision(Strict):
    """Within what the published number's format can hold (a float32 in a log)."""

    kind: Literal["precision"]
    relative: float = 0.0
    absolute: float = 0.0


class Training(Strict):
    """Within the interval over seeds that the committed run gives for a value; others within ``relative``."""

    kind: Literal["training"]
    relative: float = 0.0


Tolerance = Annotated[Exact | Rounding | Precision | Training, Field(discriminator="kind")]


class Explanation(Strict):
    """A computed check: another result, made on purpose with the suspected quirk, gives the published number."""

    alternative: Ours
    tolerance: Tolerance
    because: str


class Claim(Strict):
    """One published number or table, and what must reproduce it."""

    id: str
    item: str = Field(description="the published table or figure: T1 ... F13")
    says: str
    stage: str
    tier: str = "record"
    published: Published
    ours: Ours
    tolerance: Tolerance
    reason: str = Field(min_length=20, description="why this tolerance")
    explanation: Explanation | None = None

    @property
    def records(self) -> list[str]:
        """The records it is judged against."""
        return [self.published.record]


class Statement(Published):
    """One source's statement of a quantity. ``explained`` gives a result that it equals, and what that result is."""

    label: str
    explained: Ours | None = None
    because: str = ""

    @model_validator(mode="after")
    def _single(self) -> Statement:
        if self.key or bool(self.explained) != bool(self.because):
            raise ValueError("a statement is one cell without 'key'; 'explained' and 'because' go together")
        return self


class Contradiction(Strict):
    """Statements of one quantity that do not agree, held against each other and against our result."""

    id: str
    item: str
    says: str
    statements: list[Statement] = Field(min_length=1)
    stage: str = ""
    tier: str = "record"
    ours: Ours | None = None
    tolerance: Tolerance
    reason: str = Field(min_length=20)

    @model_validator(mode="after")
    def _comparable(self) -> Contradiction:
        if bool(self.stage) != bool(self.ours):
            raise ValueError("'stage' and 'ours' go together")
        if not self.ours and len(self.statements) < 2:
            raise ValueError("without 'ours' give two statements or more")
        return self

    @property
    def records(self) -> list[str]:
        """The records it is judged against."""
        return [statement.record for statement in self.statements]


class Committed(Strict):
    """All values that a stage gives out, as the committed run of the same tier gave them."""

    id: str
    item: str
    says: str
    stage: str
    tier: str
    committed: Literal[True] = Field(description="judged by results/TIER, not by a published record")
    tolerance: Tolerance
    reason: str = Field(min_length=20)

    @property
    def records(self) -> list[str]:
        """No record judges it."""
        return []


class Expected(Strict):
    """What a result must reach, said before it was known."""

    id: str
    item: str
    says: str
    stage: str
    tier: str
    ours: Ours
    at_least: float
    reason: str = Field(min_length=20, description="why so much")

    @model_validator(mode="after")
    def _one_value(self) -> Expected:
        if self.ours.value is None:
            raise ValueError("'ours' must name a value")
        return self

    @property
    def records(self) -> list[str]:
        """No record judges it."""
        return []


class Unjudged(Strict):
    """What is only repeated, or was not tried: there is nothing to compare."""

    id: str
    item: str
    says: str
    verdict: Literal["quoted", "not attempted"]
    reason: str = Field(min_length=20)
    about: list[Published] = Field(default=[], description="the published cells it speaks of")
    tier: str = "record"


Judged = Claim | Contradiction | Committed | Expected


def judged_in(project: Project, stage: str, tier: str) -> list[Judged]:
    """The claims that results of ``stage`` are judged by in ``tier``."""
    claims = (claim for claim in load_all(project) if not isinstance(claim, Unjudged))
    return [claim for claim in claims if (claim.stage, claim.tier) == (stage, tier)]


def load_all(project: Project) -> list[Judged | Unjudged]:
    """Every claim, in the order of the files.

    Raises UsageError, naming file and claim, for one that is malformed or whose name is taken.
    """
    claims: list[Judged | Unjudged] = []
    taken: dict[str, str] = {}
    for path in sorted((project.paper / "claims").glob("*.yaml")):
        for entry in read_yaml(path) or []:
            claim = _parse(entry, path.name)
            if claim.id in taken:
                raise UsageError(f"Claim '{claim.id}' is in both {taken[claim.id]} and {path.name}.")
            taken[claim.id] = path.name
            claims.append(claim)
    return claims


def _parse(entry: Any, file: str) -> Judged | Unjudged:
    given = entry if isinstance(entry, dict) else {}
    kinds: dict[str, type[Judged | Unjudged]]
    kinds = {"verdict": Unjudged, "statements": Contradiction, "committed": Committed, "at_least": Expected}
    kind = next((kind for name, kind in kinds.items() if name in given), Claim)
    try:
        return kind.model_validate(entry)
    except ValidationError as error:
        name = given.get("id", entry)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"Claim '{name}' in paper/claims/{file}: {where}: {first['msg']}.") from error


def get_claim(project: Project, name: str) -> Judged | Unjudged:
    claims = {claim.id: claim for claim in load_all(project)}
    if name not in claims:
        raise unknown("claim", name, claims)
    return claims[name]


def published_cells(published: Published, record: pl.DataFrame) -> pl.DataFrame:
    """The published cells: the key columns and `published`, one row a cell."""
    for column in [*published.where, *published.key, published.column]:
        if column not in record.columns:
            raise unknown(f"column of record '{published.record}'", column, record.columns)
    cells = pick(record, published.where).select(*published.key, pl.col(published.column).alias("published"))
    if cells.is_empty() or (not published.key and len(cells) != 1):
        raise UsageError(f"Record '{published.record}' has {len(cells)} cells where {published.where}.")
    return cells
