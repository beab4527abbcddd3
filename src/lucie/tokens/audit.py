"""`lucie why step:N`: the documents behind a training step."""

from __future__ import annotations

from collections.abc import Iterator

from lucie.errors import UsageError
from lucie.mixture.plan import Mix
from lucie.project import Project
from lucie.tokens.order import OrderedTokens

STEP = "step:"
PRODUCT = "tokens"  # the folder of token files under build/TIER/work


def why_step(project: Project, asked: str, tier: str, phase: str) -> Iterator[tuple[str, str]]:
    """The sequences of a step and their documents, as (what it is, text). ``asked`` is step:N, N from 1.

    Raises UsageError for a step that there is not, MismatchError where the order or the token files changed since the
    order was recorded.
    """
    step = _number(asked)
    folder = project.build / tier / "work" / PRODUCT
    ordered = OrderedTokens(folder, Mix.load(project, tier), phase, check=False)
    sequences, length = ordered.sequences(step), ordered.phase.sequence_length
    recorded = ordered.check_manifest()
    ordered.folder.check()
    yield "step", f"{step} of {ordered.phase.steps} in the {phase} phase of mix '{ordered.mix.name}'"
    yield "batch", f"{len(sequences)} sequences of {length} tokens, and one more as the last target"
    yield "seed", str(ordered.mix.seed)
    yield (
        "order",
        f"as recorded in {ordered.manifest_path.name}" if recorded else "not recorded: by the mix as it is now",
    )
    yield "tokenizer", f"sha256 {ordered.folder.listing.tokenizer[:16]}"
    for index in sequences:
        rows = ordered.documents(index).to_dicts()
        kind = "" if rows[0]["length"] == "all" else f", {rows[0]['length']} documents"
        yield f"sequence {index}", f"{rows[0]['file']}{kind}"
        for row in rows:
            last = row["offset"] + row["tokens"] - 1
            place = f"tokens {row['offset']:,} to {last:,}"
            yield "", f"{row['source']} {row['id']}  {place}  (document {row['document']:,}, epoch {row['epoch'] + 1})"


def _number(asked: str) -> int:
    text = asked.removeprefix(STEP)
    if not text.isdecimal():
        raise UsageError(f"'{asked}' names no training step. Ask for one by its number, from 1: lucie why step:1")
    return int(text)
