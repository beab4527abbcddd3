"""Times counting with a tokenizer beside what it rests on, and its memory: `.venv/bin/python benchmarks/tokenizer.py`.

Trains on data/mini, or takes --tokenizer FOLDER; counts data/mini, or --corpus FOLDER of .jsonl files. Both are timed
in turns in one process, the least of several counts: ours reads Parquet, encodes and counts words, characters and
bytes; the raw one only encodes lists of texts that are in memory. Wanted: at least 0.9 of the raw speed, and memory
that does not grow with the corpus. Machines are noisy: these are measurements, not tests.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
from tokenizers import Encoding, Tokenizer

from lucie.tokenizer import bpe, measure

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5
TEXTS_AT_ONCE = 1000  # of the raw encoding: what the authors' scripts used
LEAST_CHARACTERS = 4_000_000  # the small corpus is repeated up to this
TIMES_LARGER = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=ROOT / "data" / "mini" / "documents")
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--count", type=Path, nargs="+", help=argparse.SUPPRESS)  # the tokenizer, then shards
    chosen = parser.parse_args()
    if chosen.count:
        count_and_say_memory(*chosen.count)
        return
    texts = read_texts(chosen.corpus)
    tokenizer = bpe.load(chosen.tokenizer) if chosen.tokenizer else bpe.train(texts)
    with tempfile.TemporaryDirectory() as folder:
        small = write_shard(Path(folder) / "small.parquet", texts)
        speed(tokenizer, texts, small)
        bpe.save(tokenizer, Path(folder) / "tokenizer")
        large = [write_shard(Path(folder) / f"{part}.parquet", texts) for part in range(TIMES_LARGER)]
        for what, shards in (("small corpus", [small]), (f"{TIMES_LARGER} times larger", large)):
            print(f"{what:<28}{memory(Path(folder) / 'tokenizer', shards):>8.0f} MB at most")


def read_texts(folder: Path) -> list[str]:
    lines = [line for path in sorted(folder.rglob("*.jsonl")) for line in path.read_text("utf-8").split("\n") if line]
    texts: list[str] = [json.loads(line)["text"] for line in lines]
    if not texts:
        sys.exit(f"{folder} holds no .jsonl files with documents.")
    return texts * max(1, LEAST_CHARACTERS // sum(map(len, texts)))


def write_shard(path: Path, texts: list[str]) -> Path:
    named = [pl.lit(name).alias(name) for name in ("source", "language", "category")]
    pl.DataFrame({"text": texts}).with_columns(named).write_parquet(path, row_group_size=measure.ROWS_AT_ONCE)
    return path


def speed(tokenizer: Tokenizer, texts: list[str], shard: Path) -> None:
    raw: dict[str, Callable[[], int]] = {
        "raw encode_batch": lambda: raw_tokens(tokenizer.encode_batch, texts),
        "raw encode_batch_fast": lambda: raw_tokens(tokenizer.encode_batch_fast, texts),
        "ours": lambda: int(measure.count(tokenizer, [shard])["tokens"].sum()),
    }
    seconds = dict.fromkeys(raw, float("inf"))
    tokens = set()
    for _ in range(ROUNDS):
        for what, work in raw.items():
            started = time.perf_counter()
            tokens.add(work())
            seconds[what] = min(seconds[what], time.perf_counter() - started)
    if len(tokens) > 1:
        sys.exit(f"The counts differ: {sorted(tokens)} tokens.")
    size = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{size:.1f} MB, {tokens.pop():,} tokens, {ROUNDS} rounds")
    for what, least in seconds.items():
        print(f"{what:<28}{least:>8.2f} s{size / least:>8.2f} MB/s{seconds['raw encode_batch'] / least:>8.2f} x")


def raw_tokens(encode: Callable[..., list[Encoding]], texts: list[str]) -> int:
    """How many tokens the texts take: nothing but the library's own work."""
    batches = (texts[start : start + TEXTS_AT_ONCE] for start in range(0, len(texts), TEXTS_AT_ONCE))
    return sum(len(encoding.ids) for batch in batches for encoding in encode(batch, add_special_tokens=False))


def memory(tokenizer: Path, shards: list[Path]) -> float:
    """The most memory that a process takes which counts the shards, in megabytes."""
    command = [sys.executable, __file__, "--count", str(tokenizer), *map(str, shards)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def count_and_say_memory(tokenizer: Path, *shards: Path) -> None:
    import resource

    measure.count(bpe.load(tokenizer), shards)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
