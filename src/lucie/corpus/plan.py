"""What a corpus will need before anything is started: shards, bytes, files, hours, and where it fits."""

from __future__ import annotations

from lucie.corpus.recipe import Recipe
from lucie.project import Project


def plan(project: Project, recipe: Recipe) -> list[tuple[str, str]]:
    """The plan, as lines of a name and a text."""
    shards = recipe.source(project).shards()
    total = sum(shard.bytes for shard in shards)
    return [("corpus", f"{recipe.name}: {recipe.says}"), ("shards", f"{len(shards):,}, {total:,} bytes")]
