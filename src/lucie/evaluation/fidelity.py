"""Does a model keep to the language it is given? The share of its continuations that are in the prompt's language.

A model continues the beginnings of documents that it was not trained on, at random as likely as it finds each token,
from a fixed seed. The language of what it wrote is identified by fastText; so is that of the authors' own
continuations, of as many tokens, whose languages are known: that share is what a perfect model would get.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from lucie.corpus.language import SINGLE, identify

PROMPT, WRITTEN = 24, 48  # tokens
PER_LANGUAGE = 20


def passages(documents: dict[str, list[str]], tokenizer: Any, per_language: int = PER_LANGUAGE) -> pl.DataFrame:
    """Pieces of documents: language, prompt and human (token ids); as many a language, or as there are.

    ``documents`` are the texts of each language; ``tokenizer`` is one of transformers.
    """
    size = PROMPT + WRITTEN
    rows = []
    for language in SINGLE:
        ids = [tokenizer(text, add_special_tokens=False).input_ids for text in documents.get(language, [])]
        pieces = [piece[at : at + size] for piece in ids for at in range(0, len(piece) - size + 1, size)]
        step = max(1, len(pieces) // per_language)
        for piece in pieces[::step][:per_language]:
            rows.append({"language": language, "prompt": piece[:PROMPT], "human": piece[PROMPT:]})
    return pl.DataFrame(rows)


def continuations(folder: Path, prompts: list[list[int]], seed: int) -> list[str]:
    """What the model of a folder writes after each prompt (token ids of one length), sampled from ``seed``."""
    import torch
    from transformers import AutoTokenizer

    from lucie.training.model import load

    model, tokenizer = load(folder), AutoTokenizer.from_pretrained(folder, local_files_only=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    ids = torch.tensor(prompts, device=device)
    torch.manual_seed(seed)
    with torch.inference_mode():
        made = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=WRITTEN, min_new_tokens=WRITTEN, do_sample=True,
            temperature=1.0, top_k=0, pad_token_id=0,
        )  # fmt: skip
    written: list[str] = tokenizer.batch_decode(made[:, ids.shape[1] :], skip_special_tokens=True)
    return written


def fidelity(pieces: pl.DataFrame, written: list[str], human: list[str]) -> pl.DataFrame:
    """By language: pieces, kept (share written in it), identified (share of human text identified as it)."""
    said = pieces.select(
        "language",
        kept=pl.Series([identify(text)[0] for text in written]) == pl.col("language"),
        identified=pl.Series([identify(text)[0] for text in human]) == pl.col("language"),
    )
    return said.group_by("language", maintain_order=True).agg(pl.len().alias("pieces"), pl.mean("kept", "identified"))
