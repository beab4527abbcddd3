"""Bytes and files of checkpoints and token files."""

from __future__ import annotations

from lucie.corpus import composition
from lucie.project import Project
from lucie.records import load_record
from lucie.scaling.layout import Layout, Work
from lucie.scaling.memory import HALF, STATE
from lucie.training.architecture import count_parameters
from lucie.training.recipe import Recipe

LARGE_ENTRIES = 4  # of a layer: files of its matrices, one a tensor-parallel rank each; its norms are whole
SMALL_ENTRIES = 2
SINGLE_FILES = 6  # of a checkpoint: configurations, metadata, learning-rate schedule, our manifest
FILES_OF_A_KIND = 5  # a kind of text: tokens, ends, metadata, documents, what they were made from
OF_16_BITS = 2**16  # entries of a vocabulary whose tokens take two bytes, others four
END = 8  # bytes of where a document ends


def checkpoint_bytes(work: Work) -> float:
    """Of a checkpoint: weights in bfloat16, their float32 copy and two moments."""
    config = work.architecture.as_config()
    return (HALF + STATE) * int(count_parameters(config)["parameters"].sum())


def checkpoint_files(work: Work, layout: Layout) -> int:
    """Files of a checkpoint of nanotron 0.4 with our manifest."""
    split = layout.parallelism
    layers = work.architecture.num_hidden_layers * (LARGE_ENTRIES * split.tensor + SMALL_ENTRIES)
    optimizer = split.processes if split.zero_stage else split.tensor * split.pipeline
    return layers + 2 * split.tensor + 1 + optimizer + split.processes + SINGLE_FILES


def token_files(project: Project, recipe: Recipe) -> tuple[int, int]:
    """Bytes of the released dataset's token files, with the ends of documents; files of them and held-out ones."""
    parts = composition.parts(load_record(project, "input/document_counts"), load_record(project, "input/token_counts"))
    released = composition.released(parts)
    each = 2 if recipe.architecture.vocab_size <= OF_16_BITS else 4
    size = each * sum(part.tokens for part in released) + END * sum(part.documents for part in released)
    kinds = {(language, category) for language, found in recipe.mix.epochs.items() for category in found}
    kinds |= {(lang, cat) for lang, found in recipe.mix.phase("annealing").shares.items() for cat in found}
    return size, 2 * FILES_OF_A_KIND * len(kinds) + 1
