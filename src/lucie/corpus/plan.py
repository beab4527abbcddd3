"""What a corpus will need before anything is started: shards, bytes, files, hours, and where it fits on a site.

A corpus that is here is measured. One that is not (the whole Lucie Training Dataset) is estimated from the authors'
counts, which are records, and from what `sample` and `mini` say of bytes and speed, which the recipe holds.
"""

from __future__ import annotations

import math

from lucie import records
from lucie.corpus import composition
from lucie.corpus.clean import STEPS
from lucie.corpus.duplicates import buckets
from lucie.corpus.recipe import Recipe
from lucie.hpc.sites import Site, Storage
from lucie.project import Project

FILES_OF_A_SHARD = 4  # kept, dropped and their marker; the clean shard's marker is counted with it
FILES_OF_A_CLEAN_SHARD = 2
COPIES_ON_DISK = 3  # as fetched, as filtered, clean: the middle one may go when all is done
SIGNATURE_BYTES = 8 * 8 + 4  # of a document in one bucket: eight 64-bit hashes and its number
IN_MEMORY = 120  # bytes of a document whose id and digest are held while copies are looked for
BYTES_OF_A_TOKEN = 2  # uint16 holds 65,024 entries


def plan(project: Project, recipe: Recipe, site: Site) -> list[tuple[str, str]]:
    """The plan, as lines of a name and a text."""
    lines = [("corpus", f"{recipe.name}: {recipe.says}")]
    if recipe.estimate is None:
        found = recipe.source(project).shards()
        here = _bytes(sum(shard.bytes for shard in found))
        return [*lines, ("shards", f"{len(found):,} files, {here}"), *_jobs(len(found), site)]
    estimate = recipe.estimate
    documents, characters, tokens = _published(project)
    size = characters * estimate.bytes_per_character
    packed = size * estimate.packed
    shards = math.ceil(packed / estimate.shard_bytes)
    hours = size / (estimate.bytes_per_core_second * 3600)
    kept = packed * COPIES_ON_DISK + documents * SIGNATURE_BYTES * buckets()
    files = shards * (1 + FILES_OF_A_SHARD + FILES_OF_A_CLEAN_SHARD) + buckets() * (shards + 2)
    return [
        *lines,
        ("documents", f"{documents:,} and {characters:,} characters, as the authors counted them"),
        ("text", f"about {_bytes(size)}: {estimate.bytes_per_character:g} bytes a character ({estimate.measured})"),
        ("shards", f"about {shards:,} Parquet files of {_bytes(estimate.shard_bytes)}, {_bytes(packed)} in all"),
        ("hours", f"about {hours:,.0f} core hours at {_bytes(estimate.bytes_per_core_second)}/s a core"),
        *_jobs(shards, site),
        ("memory", f"about {_bytes(documents * IN_MEMORY)} for step duplicates: less by language, one after the other"),
        ("on disk", f"about {_bytes(kept)} while it works: {COPIES_ON_DISK} copies and MinHash signatures"),
        ("files", f"about {files:,}"),
        ("token files", f"{_bytes(tokens * BYTES_OF_A_TOKEN)}: {tokens:,} tokens as uint16 (the next stage)"),
        *_where(site, kept, files, tokens * BYTES_OF_A_TOKEN),
        ("not known", "the sizes of the files on the hub: the network is not asked here; `lucie fetch full` says them"),
    ]


def _published(project: Project) -> tuple[int, int, int]:
    """Documents, characters and tokens of the released dataset."""
    released = composition.released(
        composition.parts(records.load("input/document_counts"), records.load("input/token_counts"))
    )
    return (
        sum(part.documents for part in released),
        sum(part.characters for part in released),
        sum(part.tokens for part in released),
    )


def _jobs(shards: int, site: Site) -> list[tuple[str, str]]:
    jobs = site.jobs["cpu"]
    each = math.ceil(shards / jobs.array)
    arrays = f"steps filter and write: arrays of {math.ceil(shards / each):,} jobs, {each:,} shards each"
    return [("jobs", f"{arrays}; {', '.join(step for step in STEPS if step not in ('filter', 'write'))}: {site.says}")]


def _where(site: Site, size: float, files: int, tokens: float) -> list[tuple[str, str]]:
    if not site.storage:
        return [("storage", f"{site.says} has no storage rules listed")]
    return [(name, _fits(storage, size, files, tokens)) for name, storage in site.storage.items()]


def _fits(storage: Storage, size: float, files: int, tokens: float) -> str:
    if storage.purged_after_days:
        return f"${storage.variable}: purged after {storage.purged_after_days} days without access; only for the work"
    lacks = [
        f"{what} would not fit ({_bytes(need)} of {_bytes(storage.bytes)})"
        for what, need in (("the work", size), ("the token files", tokens), ("both", size + tokens))
        if need > storage.bytes
    ]
    if files > storage.inodes:
        lacks.append(f"{files:,} files are more than its {storage.inodes:,}")
    return f"${storage.variable}: " + ("; ".join(lacks) or f"fits ({_bytes(size + tokens)} of {_bytes(storage.bytes)})")


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB"
