"""Cleans a corpus in steps, each over numbered tasks, so that a laptop and a cluster do the same work.

    model       one task        trains the character models and finds the usual perplexity of each kind of text
    filter      one a shard     applies the rules; signs what is kept
    compare     one a bucket    finds pairs of near duplicates
    duplicates  one task        decides which copies are dropped
    write       one a shard     writes the clean shard

A task that is done leaves a marker (JSON, written last); a rerun passes it over, so a killed or failed task is redone
alone. The bytes that come out depend on neither the number of workers nor on interruptions. In every shard
documents in = kept + dropped, by reason + unreadable: checked each time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from lucie.corpus import duplicates
from lucie.corpus.documents import COLUMNS, SCHEMA, TEXT
from lucie.corpus.examine import Examined, Examiner
from lucie.corpus.language import SINGLE, identify
from lucie.corpus.perplexity import HALVES, CharacterModel, Scale, half_of, scales_of
from lucie.corpus.recipe import Recipe
from lucie.corpus.rules import THRESHOLDS
from lucie.corpus.shards import ShardWriter, read_frames, write_frame
from lucie.corpus.sources import Batch, Folder, Shard
from lucie.errors import UsageError
from lucie.files import sha256, sha256_of, write_json
from lucie.hub.mirror import MANIFEST
from lucie.project import Project

WORK = "work.json"  # says what the work in a folder is made from
STEPS = ("model", "filter", "compare", "duplicates", "write")
PROBLEMS_LISTED = 1000  # of a shard; the rest is counted
UNREADABLE = "unreadable"
SAME_ID = "id seen before"
SAMPLED = 200  # documents at most of a language and category in each half, whose perplexities set its scale


@dataclass(frozen=True)
class Reference:
    """A text that a model is trained on."""

    category: str
    text: str


@dataclass(frozen=True)
class Cleaning:
    """One corpus being cleaned in one folder."""

    project: Project
    recipe: Recipe
    folder: Path

    @cached_property
    def source(self) -> Folder:
        return self.recipe.source(self.project)

    @cached_property
    def shards(self) -> list[Shard]:
        return self.source.shards()

    def tasks(self, step: str) -> int:
        """How many tasks a step has."""
        return {"filter": len(self.shards), "write": len(self.shards), "compare": duplicates.buckets()}.get(step, 1)

    def pending(self, step: str) -> list[int]:
        """The tasks of a step that are not done."""
        return [task for task in range(self.tasks(step)) if not self.marker(step, task).is_file()]

    def marker(self, step: str, task: int) -> Path:
        return self.folder / step / f"{task:05d}.json"

    def run(self, step: str, task: int) -> None:
        """Do one task, unless it is done."""
        if self.marker(step, task).is_file():
            return
        (self.folder / step).mkdir(parents=True, exist_ok=True)
        report = _STEPS[step](self, task)
        write_json(self.marker(step, task), report)

    def reports(self, step: str) -> list[dict[str, Any]]:
        """What the tasks of a step left in their markers."""
        return [json.loads(self.marker(step, task).read_text("utf-8")) for task in range(self.tasks(step))]

    @cached_property
    def key(self) -> str:
        """What the work is made from: the recipe, this package's code, and the content of every file it reads.

        Of a mirror of the hub its list stands for the files: they were checked against it when they came.
        """
        documents = [self.source.path / MANIFEST] if self.recipe.hub else [shard.path for shard in self.shards]
        return sha256_of([self.sketch, _digests(documents)])

    @cached_property
    def sketch(self) -> str:
        """The key without the content of the documents: what a job among many can afford to look at."""
        files = [*sorted(Path(__file__).parent.glob("*.py")), self.project.records / f"{THRESHOLDS}.csv"]
        files += self.recipe.list_files(self.project)
        shards = [[shard.name, shard.bytes] for shard in self.shards]
        return sha256_of([self.recipe.model_dump(mode="json"), _digests(files), shards])

    def claim_folder(self) -> None:
        """Start in the folder, or go on there. Raises UsageError where it holds the work of something else."""
        path, source = self.folder / WORK, self.source.path.resolve()
        if source in (self.folder.resolve(), *self.folder.resolve().parents):
            raise UsageError(f"{self.folder} is in the corpus itself, {source}. Give another folder with --into.")
        held = work_in(self.folder)
        if held:
            self._refuse_other_work(held, "key")
        elif self.folder.exists() and not _is_empty(self.folder):
            raise UsageError(
                f"{self.folder} is not an empty folder, and was not made by lucie. Give another with --into."
            )
        names = [shard.name for shard in self.shards]
        content = {"corpus": self.recipe.name, "key": self.key, "sketch": self.sketch, "shards": names}
        write_json(path, content)

    def join(self) -> None:
        """Go on in a folder that was claimed, as one of many jobs. Raises UsageError where it is of something else."""
        held = work_in(self.folder)
        if not held:
            raise UsageError(f"Nothing was started in {self.folder}. Start with: lucie corpus submit (or build)")
        self._refuse_other_work(held, "sketch")

    def _refuse_other_work(self, held: dict[str, Any], by: str) -> None:
        if held.get(by) != getattr(self, by):
            raise UsageError(
                f"{self.folder} holds work on corpus '{held['corpus']}' by another recipe or code, or from other "
                "files. Remove it, or give another folder with --into."
            )

    # The steps

    def train_models(self, _: int) -> dict[str, Any]:
        """Train two models a language, each on half of the corpus, and find the usual perplexity."""
        scales: dict[str, dict[str, dict[str, float]]] = {}
        for language, halves in (self._reference_texts() if self._needs_models else {}).items():
            models = [CharacterModel.train(entry.text for entry in texts) for texts in halves]
            scores: dict[str, list[float]] = {}
            for half, model in enumerate(models):
                model.save(self._model_path(language, half))
                for category, texts in _by_category(halves[1 - half]).items():
                    scores.setdefault(category, []).extend(model.perplexity(text) for text in texts[:SAMPLED])
            scales[language] = {category: vars(scale) for category, scale in scales_of(scores).items()}
        return {"languages": sorted(scales), "scales": scales}

    def filter_shard(self, task: int) -> dict[str, Any]:
        """Apply the rules to a shard; write what is kept and what is dropped, and sign what is kept."""
        shard, counts = self.shards[task], Counts()
        step = self.folder / "filter"
        examiner = Examiner(self.project, self.recipe, *self._models())
        kept_path, dropped_path = step / f"{task:05d}.kept.parquet", step / f"{task:05d}.dropped.parquet"
        with ShardWriter(kept_path, KEPT) as kept, ShardWriter(dropped_path, DROPPED) as dropped:

            def keep() -> Iterator[str]:
                for document, examined in self._examined(shard, examiner, counts):
                    if examined.reason:
                        dropped.add(_dropped_row(document, examined))
                    else:
                        kept.add(_kept_row(document, examined))
                        yield examined.text

            if self.recipe.deduplicate:
                duplicates.sign(keep(), task, self.folder / "signatures")
            else:
                for _ in keep():
                    pass
        counts.check(shard)
        return {"shard": shard.name, **counts.to_json()}

    def compare(self, bucket: int) -> dict[str, Any]:
        """Find the near duplicates of one bucket."""
        if self.recipe.deduplicate:
            duplicates.compare_bucket(bucket, self.folder / "signatures", self.folder / "pairs")
        return {"bucket": bucket}

    def drop_copies(self, _: int) -> dict[str, Any]:
        """Decide which copies are dropped, and write them by shard."""
        names = [self.folder / "filter" / f"{task:05d}.kept.parquet" for task in range(self.tasks("filter"))]
        frames = [
            pl.read_parquet(path, columns=["id", "source", "digest"]).with_columns(
                shard=pl.lit(task, pl.Int64()), row=pl.int_range(pl.len(), dtype=pl.Int64())
            )
            for task, path in enumerate(names)
        ]
        held = pl.concat(frames)
        same = self._same_ids(held)
        if self.recipe.on_duplicate_ids == "skip":  # or the copies of what is left out would be left out too
            held = held.join(same, on=["shard", "row"], how="anti", maintain_order="left")
        copies = held.clear().select("shard", "row").with_columns(reason=pl.lit(""), twin=pl.lit(0, pl.UInt32()))
        if self.recipe.deduplicate:
            clusters = self.folder / "clusters"
            copies = duplicates.later_copies(self.folder / "pairs", clusters, held.select("shard", "row", "digest"))
        if self.recipe.on_duplicate_ids == "skip":
            again = same.select("shard", "row").with_columns(reason=pl.lit(SAME_ID), twin=pl.lit(None, pl.UInt32()))
            copies = pl.concat([again, copies])
        kept = held["id"].to_list()
        copies = copies.with_columns(
            pl.col("twin").map_elements(kept.__getitem__, pl.String(), skip_nulls=True).alias("twin")
        )
        write_frame(self.folder / "duplicates" / "copies.parquet", copies.sort("shard", "row", maintain_order=True))
        return {"dropped": Counter(copies["reason"].to_list()), "ids_seen_before": same.height}

    def write_shard(self, task: int) -> dict[str, Any]:
        """Write a shard without the copies."""
        copies = pl.read_parquet(self.folder / "duplicates" / "copies.parquet").filter(shard=task)
        reasons = dict(copies.select("row", "reason").iter_rows())
        before = json.loads(self.marker("filter", task).read_text("utf-8"))
        path = self.folder / "clean" / f"{task:05d}.parquet"
        path.parent.mkdir(exist_ok=True)
        row = 0
        with ShardWriter(path, SCHEMA) as clean:
            for batch in read_frames(self.folder / "filter" / f"{task:05d}.kept.parquet"):
                for document in batch.select(COLUMNS).iter_rows(named=True):
                    if row not in reasons:
                        clean.add(document)
                    row += 1
        dropped = Counter(before["dropped"]) + Counter(reasons.values())
        if before["read"] != clean.rows + dropped.total() or row != before["kept"]:
            raise AssertionError(
                f"shard {before['shard']}: {before['read']} documents in, {clean.rows} kept, {dropped}"
            )
        return {
            **before,
            "kept": clean.rows,
            "dropped": dropped,
            "file": path.name,
            "bytes": path.stat().st_size,
            "sha256": sha256(path),
        }

    # What the steps share

    @property
    def _needs_models(self) -> bool:
        return any(name for names in self.recipe.rule_sets.values() for name in names)

    def _model_path(self, language: str, half: int) -> Path:
        return self.folder / "model" / f"{language}-{half}.npz"

    def _models(self) -> tuple[dict[str, tuple[CharacterModel, ...]], dict[tuple[str, str], Scale]]:
        scales = json.loads(self.marker("model", 0).read_text("utf-8"))["scales"]
        models = {
            language: tuple(CharacterModel.load(self._model_path(language, half)) for half in range(HALVES))
            for language in scales
        }
        found = {
            (lang, category): Scale(**scale) for lang, kinds in scales.items() for category, scale in kinds.items()
        }
        return models, found

    def _reference_texts(self) -> dict[str, list[list[Reference]]]:
        """Texts of each language, in two halves: so many characters of each, and what sets the scale of a category."""
        limit = self.recipe.perplexity.characters
        found: dict[str, list[list[Reference]]] = {}
        sizes: Counter[tuple[str, int]] = Counter()
        numbers: Counter[tuple[str, int, str]] = Counter()
        for shard in self.shards:
            for batch in self.source.read(shard, ("id", TEXT, "language", "source", "category")):
                for row in self._documents(batch):
                    language, entry = row["language"], Reference(row["category"] or "", row[TEXT] or "")
                    half = half_of(entry.text) if language in SINGLE else 0
                    number = numbers[language or "", half, entry.category]
                    if language in SINGLE and (sizes[language, half] < limit or number < SAMPLED):
                        found.setdefault(language, [[] for _ in range(HALVES)])[half].append(entry)
                        sizes[language, half] += len(entry.text)
                        numbers[language or "", half, entry.category] += 1
        return found

    def _examined(
        self, shard: Shard, examiner: Examiner, counts: Counts
    ) -> Iterator[tuple[dict[str, str | None], Examined]]:
        for batch in self.source.read(shard):
            counts.unreadable(batch.problems)
            for document in self._documents(batch):
                examined = examiner.examine(document)
                counts.add(examined, examiner.not_applied(document, examined))
                yield document, examined

    def _documents(self, batch: Batch) -> Iterator[dict[str, str | None]]:
        for document in batch.documents.iter_rows(named=True):
            if self.recipe.identify_language and not document["language"]:
                document["language"] = identify(document[TEXT])[0] or None
            yield document

    def _same_ids(self, held: pl.DataFrame) -> pl.DataFrame:
        """The documents whose id another of the same source had before."""
        same = held.filter(~pl.struct("source", "id").is_first_distinct())
        if not same.is_empty() and self.recipe.on_duplicate_ids == "refuse":
            first = same.row(0, named=True)
            shard = self.shards[first["shard"]]
            raise UsageError(
                f"{shard.path} holds the id '{first['id']}' of source '{first['source']}', which was there before "
                f"({same.height} such documents in all). Ids must be unique in a source; to go on all the same: "
                "--set on_duplicate_ids=keep (or skip)"
            )
        return same


class Counts:
    """Documents in, kept, dropped by reason; what could not be read, listed."""

    def __init__(self) -> None:
        self.read = self.kept = self.chunks_cut = 0
        self.dropped: Counter[str] = Counter()
        self.replaced: Counter[str] = Counter()
        self.not_applied: Counter[str] = Counter()
        self._problems: list[str] = []

    def add(self, examined: Examined, not_applied: Iterable[str]) -> None:
        self.read += 1
        self.not_applied.update(not_applied)
        self.chunks_cut += examined.chunks_cut
        self.replaced += examined.replaced
        if examined.reason:
            self.dropped[examined.reason] += 1
        else:
            self.kept += 1

    def unreadable(self, problems: tuple[Any, ...]) -> None:
        self.read += len(problems)
        if problems:
            self.dropped[UNREADABLE] += len(problems)
        self._problems += map(str, problems[: PROBLEMS_LISTED - len(self._problems)])

    def check(self, shard: Shard) -> None:
        if self.read != self.kept + self.dropped.total():
            raise AssertionError(f"{shard.name}: {self.read} documents in, {self.kept} kept, {self.dropped} dropped")

    def to_json(self) -> dict[str, Any]:
        return {
            "read": self.read,
            "kept": self.kept,
            "dropped": dict(sorted(self.dropped.items())),
            "chunks_cut": self.chunks_cut,
            "replaced": dict(sorted(self.replaced.items())),
            "not_applied": dict(sorted(self.not_applied.items())),
            "problems": self._problems,
        }


def work_in(folder: Path) -> dict[str, Any] | None:
    """What the work in a folder is made from; None where it holds no work of ours."""
    try:
        held = json.loads((folder / WORK).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return held if isinstance(held, dict) and {"corpus", "key", "shards"} <= held.keys() else None


def _digests(files: Iterable[Path]) -> list[str]:
    try:
        return [sha256(path) for path in files]
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}.") from error


def _is_empty(folder: Path) -> bool:
    """Whether nothing is in the folder but what is left of a start that was killed."""
    return folder.is_dir() and all(path.name.startswith(f".{WORK}.") for path in folder.iterdir())


KEPT = {**SCHEMA, "digest": pl.Binary()}
DROPPED = {"id": pl.String(), "source": pl.String(), "language": pl.String(), "category": pl.String(),
           "reason": pl.String(), "broken": pl.List(pl.String()), "quality_signals": pl.String()}  # fmt: skip

_STEPS: dict[str, Callable[[Cleaning, int], dict[str, Any]]] = {
    "model": Cleaning.train_models,
    "filter": Cleaning.filter_shard,
    "compare": Cleaning.compare,
    "duplicates": Cleaning.drop_copies,
    "write": Cleaning.write_shard,
}


def _by_category(texts: Iterable[Reference]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entry in texts:
        found.setdefault(entry.category, []).append(entry.text)
    return found


def _kept_row(document: dict[str, str | None], examined: Examined) -> dict[str, Any]:
    return {
        **document,
        TEXT: examined.text,
        "quality_signals": document["quality_signals"] or _signals_json(examined),
        "digest": duplicates.digest(examined.text),
    }


def _dropped_row(document: dict[str, str | None], examined: Examined) -> dict[str, Any]:
    return {**{name: document.get(name) for name in DROPPED}, "reason": examined.reason,
            "broken": examined.broken, "quality_signals": _signals_json(examined)}  # fmt: skip


def _signals_json(examined: Examined) -> str:
    return json.dumps({name: float(f"{value:.6g}") for name, value in examined.signals.items()})
