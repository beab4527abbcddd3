"""Measures the corpus code beside its peers: `.venv/bin/python benchmarks/corpus.py`; `--small` for a quick look.

Counting must reach 0.7 of what a bare polars scan does and five times datatrove's DocStats, and its memory must not
follow the size of the corpus. The documents are those of data/mini, over and over with their words shuffled, in a
temporary folder. Contestants take turns until their times are steady; medians count. Exit code 1: a bound was missed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import polars as pl

from lucie.corpus.clean import STEPS, Cleaning
from lucie.corpus.documents import SCHEMA
from lucie.corpus.recipe import Recipe
from lucie.corpus.sources import Folder
from lucie.corpus.statistics import GROUPS, MEASURES, WANTED, count
from lucie.corpus.words import WORD
from lucie.corpus.work import run_step
from lucie.machine import cores
from lucie.project import Project

MB = 1_000_000
PIECES = 64  # of 1 MB, different: what corpora are put together from
OF_POLARS, OF_DATATROVE, OF_MEMORY = 0.7, 5.0, 1.25  # the bounds
ROUNDS = 5, 20  # at least, at most
STEADY = 0.2  # of the median: within so much lies the middle half of the times
COPIED_WORDS = 0.5  # of a document's words, in the corpus that is cleaned; the others change


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="fewer bytes: a quick look")
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        return print_memory(options.memory_of)
    project, small = Project.find(), options.small
    print(f"{'':<46}{'measured':>12}{'beside':>12}{'ratio':>8}  wanted")
    pieces = shuffled(project)
    with tempfile.TemporaryDirectory() as folder:
        held = speed(Path(folder), pieces, 40 if small else 200)
    for layout, large in (("one file", 2000), ("files of 1 MB", 2000), ("Parquet", 800)):
        held &= memory(pieces, layout, *((100, 300) if small else (200, large)))
    with tempfile.TemporaryDirectory() as folder:
        cleaning(project, Path(folder), copies=1 if small else 7)
    sys.exit(0 if held else 1)


def show(what: str, measured: float, beside: float, unit: str, wanted: str = "", held: bool = True) -> bool:
    """A line of the table."""
    verdict = f"  {wanted}  {'held' if held else 'MISSED'}" if wanted else ""
    print(f"{what:<46}{measured:>7.0f} {unit}{beside:>7.0f} {unit}{measured / beside:>8.2f}{verdict}", flush=True)
    return held


# Documents


def mini(project: Project) -> dict[str, list[dict[str, Any]]]:
    """The documents of data/mini by file."""
    files = sorted((project.root / "data" / "mini" / "documents").glob("*.jsonl"))
    return {file.name: [json.loads(line) for line in file.read_text("utf-8").splitlines()] for file in files}


def shuffled(project: Project) -> list[bytes]:
    """Pieces of JSON lines, each of about 1 MB."""
    chance, pieces, held = random.Random(0), list[bytes](), b""
    documents = [document for file in mini(project).values() for document in file]
    chance.shuffle(documents)
    for number, document in enumerate(cycle(documents)):
        words = document["text"].split(" ")
        chance.shuffle(words)
        held += as_line({**document, "id": f"copy-{number}", "text": " ".join(words)})
        if len(held) > MB:
            pieces.append(held)
            held = b""
        if len(pieces) == PIECES:
            return pieces
    return pieces


def as_line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode() + b"\n"


def write(folder: Path, pieces: list[bytes], files: int, each: int) -> int:
    """Write files of so many pieces each, every time with other ids; returns the bytes."""
    chance = random.Random(0)
    folder.mkdir(parents=True)
    for number in range(files):
        with (folder / f"{number:05d}.jsonl").open("wb") as file:
            for copy in range(each):
                file.write(chance.choice(pieces).replace(b'"copy-', b'"%d-%d-' % (number, copy)))
    return sum(path.stat().st_size for path in folder.iterdir())


# Speed


def speed(folder: Path, pieces: list[bytes], size: int) -> bool:
    """Counting beside polars, on large and on small files, and beside datatrove, on a part."""
    large, small, part = folder / "large", folder / "small", folder / "part"
    sizes = {large: write(large, pieces, 4, size // 4), small: write(small, pieces, size, 1)}
    sizes[part] = write(part, pieces, cores(), max(1, size // 50))
    for corpus in (large, small):
        assert ours(corpus).equals(bare(corpus)), "polars counts something else"
    contestants: dict[tuple[str, Path], Callable[[], object]] = {
        ("lucie", large): partial(ours, large),
        ("polars", large): partial(bare, large),
        ("lucie", small): partial(ours, small),
        ("polars", small): partial(bare, small),
    }
    readable = find_spec("orjson") is not None
    with ProcessPoolExecutor(cores(), multiprocessing.get_context("spawn")) as pool:
        if readable:
            contestants |= {
                ("DocStats", part): partial(datatrove, pool, part, doc_stats),
                ("split", part): partial(datatrove, pool, part, split),
            }
            total = ours(part).select(MEASURES).sum().row(0)
            assert datatrove(pool, part, doc_stats) == [total[0], total[2]], "DocStats counts something else"
            assert datatrove(pool, part, split) == [*total], "Python counts something else"
        seconds = race(contestants)
    rate = {(who, corpus): sizes[corpus] / MB / taken for (who, corpus), taken in seconds.items()}
    mine, other = rate["lucie", large], rate["polars", large]
    what = f"count {size} MB, 4 files; polars scan"
    held = show(what, mine, other, "MB/s", f">= {OF_POLARS}", mine >= OF_POLARS * other)
    show(f"count {size} MB, files of 1 MB; polars scan", rate["lucie", small], rate["polars", small], "MB/s")
    if not readable:
        print("datatrove is not measured: its reader needs orjson (group dev)")
        return False
    other = rate["DocStats", part]
    what = "count; datatrove's reader, DocStats"
    held &= show(what, mine, other, "MB/s", f">= {OF_DATATROVE:g}", mine >= OF_DATATROVE * other)
    show("count; datatrove's reader, the same counts", mine, rate["split", part], "MB/s")
    return held


def race(contestants: dict[Any, Callable[[], object]]) -> dict[Any, float]:
    """The median seconds of each; they take turns until the times of all are steady."""
    times: dict[Any, list[float]] = {name: [] for name in contestants}
    least, most = ROUNDS
    for number in range(1, most + 1):
        for name, run in contestants.items():
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
        if number >= least and all(map(steady, times.values())):
            break
    return {name: median(taken) for name, taken in times.items()}


def steady(times: list[float]) -> bool:
    low, middle, high = quantiles(times, n=4)
    return high - low < STEADY * middle


def ours(corpus: Path) -> pl.DataFrame:
    return count(Folder(corpus), cores()).counts


def bare(corpus: Path) -> pl.DataFrame:
    """The same counts by polars alone, streamed; it checks nothing."""
    text = pl.col("text")
    year = pl.col("date").str.extract(r"(?:^|\D)(\d{4})(?:\D|$)")
    return (
        pl.scan_ndjson(sorted(corpus.iterdir()), schema={name: pl.String() for name in WANTED})
        .group_by(*GROUPS[:3], year=year)
        .agg(
            documents=pl.len().cast(pl.Int64),
            words=text.str.count_matches(WORD).cast(pl.Int64).sum(),
            characters=text.str.len_chars().cast(pl.Int64).sum(),
            bytes=text.str.len_bytes().cast(pl.Int64).sum(),
        )
        .with_columns(pl.col(GROUPS).fill_null(""))
        .sort(*GROUPS)
        .collect(engine="streaming")
    )


def datatrove(pool: Executor, corpus: Path, function: Callable[[Path], list[int]]) -> list[int]:
    """What a function counts in each file, a process a core, summed."""
    return [sum(counts) for counts in zip(*pool.map(function, sorted(corpus.iterdir())), strict=True)]


def read(file: Path) -> Any:
    """A file's documents as datatrove reads them."""
    from datatrove.pipeline.readers import JsonlReader
    from loguru import logger

    logger.remove()
    return JsonlReader(str(file.parent), glob_pattern=file.name).run()


def doc_stats(file: Path) -> list[int]:
    """Documents and characters by datatrove's DocStats, which works out shares of kinds of characters as well."""
    from datatrove.pipeline.stats import DocStats

    with tempfile.TemporaryDirectory() as folder:
        for _ in DocStats(folder, groups_to_compute=["summary"]).run(read(file)):
            pass
        length = json.loads((Path(folder) / "summary" / "length" / "00000.json").read_text())["summary"]
    return [length["n"], length["total"]]


def split(file: Path) -> list[int]:
    """Documents, words, characters and bytes, counted in Python."""
    texts = (document.text for document in read(file))
    return [sum(counts) for counts in zip(*((1, len(t.split()), len(t), len(t.encode())) for t in texts), strict=True)]


# Memory


def memory(pieces: list[bytes], layout: str, small: int, large: int) -> bool:
    """The peak of a new process that counts a large corpus, beside one that counts a small one."""
    peaks = []
    for size in (large, small):
        with tempfile.TemporaryDirectory() as folder:
            corpus = Path(folder) / "corpus"
            write(corpus, pieces, *((size, 1) if layout == "files of 1 MB" else (1, size)))
            if layout == "Parquet":
                file = corpus / "00000.jsonl"
                pl.scan_ndjson(file, schema=SCHEMA).sink_parquet(file.with_suffix(".parquet"), row_group_size=8192)
                file.unlink()
            command = [sys.executable, __file__, "--memory-of", str(corpus)]
            peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    what = f"memory, {layout}: {large} MB; {small} MB"
    return show(what, peaks[0] / MB, peaks[1] / MB, "MB  ", f"<= {OF_MEMORY}", peaks[0] <= OF_MEMORY * peaks[1])


def print_memory(corpus: Path) -> None:
    """Count, then print this process's peak in bytes (getrusage would tell of the parent's, where that was higher)."""
    ours(corpus)
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    print(int(found[1]) * 1024)


# Cleaning


def cleaning(project: Project, folder: Path, copies: int) -> None:
    """What the steps of a cleaning take of one core, on data/mini in several copies with other words."""
    chance, corpus = random.Random(0), folder / "documents"
    corpus.mkdir()
    for name, documents in mini(project).items():
        words = [word for document in documents for word in document["text"].split(" ")]
        with (corpus / name).open("wb") as file:
            for copy in range(copies):
                for document in documents:
                    kept = (
                        word if chance.random() < COPIED_WORDS else chance.choice(words)
                        for word in document["text"].split(" ")
                    )
                    file.write(as_line({**document, "id": f"{document['id']}-{copy}", "text": " ".join(kept)}))
    size = sum(path.stat().st_size for path in corpus.iterdir()) / MB
    recipe = Recipe.load(project, "mini", [f"folder={corpus}", "planted=''"])
    work = Cleaning(project, recipe, folder / "work")
    work.claim_folder()
    print(f"\ncleaning {size:.1f} MB, {work.tasks('filter')} files{'':<18}{'core':>12}{'a core':>14}")
    begin = time.process_time()
    for step in STEPS:
        started = time.process_time()
        run_step(work, step, 1, lambda _: None)
        show_step(step, size, time.process_time() - started)
    show_step("all steps", size, time.process_time() - begin)


def show_step(step: str, size: float, seconds: float) -> None:
    print(f"{step:<46}{seconds:>10.1f} s{size / seconds:>9.1f} MB/s", flush=True)


if __name__ == "__main__":
    main()
