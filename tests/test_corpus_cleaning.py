"""Cleaning in steps: the same bytes with any number of workers and after any interruption; nothing is lost or half."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import ROOT
from filelock import FileLock

from lucie.corpus import clean as cleaning_module
from lucie.corpus import planted, work
from lucie.corpus.clean import STEPS, Cleaning, Counts
from lucie.corpus.examine import Examined
from lucie.corpus.recipe import Recipe
from lucie.corpus.shards import ShardWriter, read_frames
from lucie.corpus.work import Done, clean
from lucie.errors import Exit, StageError, UsageError
from lucie.project import Project

SHARDS = 6
DOCUMENTS = 60
SETTINGS = ["on_duplicate_ids=keep"]


def mini_texts(*categories: str) -> list[dict[str, Any]]:
    """Documents of our own corpus."""
    folder = ROOT / "data" / "mini" / "documents"
    files = sorted(path for path in folder.glob("*.jsonl") if path.name.split(".")[0] in categories)
    return [json.loads(line) for path in files for line in path.read_text("utf-8").split("\n") if line]


def write_documents(path: Path, documents: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(document, ensure_ascii=False) + "\n" for document in documents), "utf-8")


def copies_and_strangers() -> set[tuple[str, str]]:
    """Documents of our own corpus that are near copies of each other, or in another language than they say."""
    listed = planted.load(ROOT / "data" / "mini" / "planted.csv")
    chosen = listed.filter(pl.col("kind").is_in(["near_duplicate", "exact_duplicate", "wrong_language"]))
    originals = [tuple(name.split("/")) for name in chosen["detail"].drop_nulls() if "/" in name]
    return {*chosen.select("source", "id").iter_rows(), *originals}  # type: ignore[arg-type]


def files_of(folder: Path) -> dict[str, bytes]:
    """What a cleaning has made under final names: everything that a later step or a reader may take for whole."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for step in (*STEPS, "clean")
        for path in sorted((folder / step).glob("[!.]*"))
    }


@contextmanager
def one_at_a_time(place: Path) -> Iterator[None]:
    with FileLock(place.with_suffix(".lock")):
        yield


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the workers of pytest share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def corpus(shared: Path) -> Path:
    """A corpus of several shards, with faults of many kinds, one shard much larger than the others."""
    folder = shared / "corpus to clean"
    with one_at_a_time(folder):
        if not folder.is_dir():
            found = mini_texts("web", "book", "newspaper")
            random.Random(1).shuffle(found)
            chosen = copies_and_strangers()
            found.sort(key=lambda document: (document["source"], document["id"]) not in chosen)
            found = [{**document, "id": f"{document['source']}/{document['id']}"} for document in found]
            made = folder.with_name(".making")
            for n in range(SHARDS):
                part = found[n:DOCUMENTS:SHARDS]
                write_documents(made / f"{n}.jsonl", part * 3 if n == 4 else part)
            made.rename(folder)
    return folder


@pytest.fixture(scope="session")
def whole(shared: Path, corpus: Path) -> Path:
    """The corpus cleaned by one worker, never interrupted."""
    folder = shared / "cleaned at once"
    with one_at_a_time(folder):
        if not (folder / work.FINISHED).is_file():
            project = Project(ROOT)
            clean(project, Recipe.load(project, str(corpus), SETTINGS), folder, jobs=1)
    return folder


@pytest.fixture
def recipe(project: Project, corpus: Path) -> Recipe:
    return Recipe.load(project, str(corpus), SETTINGS)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The tasks that were really done, in order."""
    done: list[tuple[str, int]] = []
    for step, function in list(cleaning_module._STEPS.items()):

        def spy(
            cleaning: Cleaning, task: int, step: str = step, function: Callable[..., dict[str, Any]] = function
        ) -> dict[str, Any]:
            done.append((step, task))
            return function(cleaning, task)

        monkeypatch.setitem(cleaning_module._STEPS, step, spy)
    return done


# What comes out


def test_the_corpus_of_these_tests_has_all_kinds_of_ends(whole: Path) -> None:
    report = json.loads((whole / "report.json").read_text())
    assert report["read"] == DOCUMENTS + 2 * DOCUMENTS // SHARDS
    assert report["kept"] > DOCUMENTS / 3
    assert {"exact duplicate", "near duplicate", "perplexity too high"} <= set(report["dropped"])
    assert len(report["dropped"]) >= 5


def test_documents_in_are_kept_or_dropped_in_each_shard_and_in_all(whole: Path, corpus: Path) -> None:
    report = json.loads((whole / "report.json").read_text())
    assert report["read"] == report["kept"] + sum(report["dropped"].values())
    for shard in report["shards"]:
        lines = len((corpus / shard["shard"]).read_text("utf-8").splitlines())
        rows = pl.read_parquet(whole / "clean" / shard["file"]).height
        assert shard["read"] == lines == rows + sum(shard["dropped"].values())
        assert shard["kept"] == rows


def test_what_became_of_each_document_is_told_once(project: Project, recipe: Recipe, whole: Path, corpus: Path) -> None:
    told = work.decisions(Cleaning(project, recipe, whole))
    report = json.loads((whole / "report.json").read_text())
    assert told.height == report["read"]
    dropped = told.filter(pl.col("reason") != "")
    assert dict(dropped["reason"].value_counts().iter_rows()) == report["dropped"]
    assert (dropped["reason"] == dropped["broken"].list.first()).all()
    copies = told.filter(pl.col("reason").str.contains("duplicate"))
    assert copies["twin"].null_count() == 0
    assert told.filter(pl.col("twin").is_not_null()).height == copies.height
    kept = told.filter(reason="")["id"]
    assert set(copies["twin"]) <= set(kept), "of each pair one is kept"
    held = pl.concat(map(pl.read_parquet, work.kept(whole)))
    assert sorted(held["id"]) == sorted(kept)


def test_what_is_kept_is_what_was_there_in_its_order(whole: Path, corpus: Path) -> None:
    columns = ["id", "text", "source", "language", "category", "title", "licence"]
    for task, path in enumerate(sorted(corpus.glob("*.jsonl"))):
        there = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
        kept = pl.read_parquet(whole / "clean" / f"{task:05d}.parquet").select(columns).rows()
        among = iter([tuple(document.get(name) for name in columns) for document in there])
        assert all(row in among for row in kept), "in order, unchanged"


# Workers and interruptions


def test_two_workers_write_the_bytes_that_one_writes(
    project: Project, recipe: Recipe, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "WORTH_A_PROCESS", 0)
    started: list[int] = []
    real = work.ProcessPoolExecutor
    monkeypatch.setattr(work, "ProcessPoolExecutor", lambda *of, **more: started.append(of[0]) or real(*of, **more))
    watched: list[Done] = []

    def watch(done: Done) -> None:
        watched.append(done)  # to start processes for the buckets too would only take time
        monkeypatch.setattr(work, "WORTH_A_PROCESS", 10**12 if done.step == "filter" else 0)

    clean(project, recipe, tmp_path / "into", 2, watch)
    assert started == [2, 2], "filter and write were done side by side"
    assert files_of(tmp_path / "into") == files_of(whole)
    assert (tmp_path / "into" / "report.json").read_bytes() == (whole / "report.json").read_bytes()
    assert sorted((done.step, done.task) for done in watched) == sorted(
        (step, task)
        for step, tasks in (("model", 1), ("filter", SHARDS), ("compare", 14), ("duplicates", 1), ("write", SHARDS))
        for task in range(tasks)
    )


RUN = "import sys; from lucie.corpus import work; work.WORTH_A_PROCESS = int(sys.argv.pop(1)); from lucie.cli import main; main()"  # noqa: E501


def start(project: Project, corpus: Path, into: Path, jobs: int = 1) -> subprocess.Popen[bytes]:
    """`lucie corpus build` as a process of its own; with several jobs, even for a small corpus."""
    command = ["-m", "lucie"] if jobs == 1 else ["-c", RUN, "0"]
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    return subprocess.Popen(
        [sys.executable, *command, "corpus", "build", str(corpus), "--into", str(into), "--jobs", str(jobs), *settings],
        cwd=project.root,
        env={**os.environ, "PYTHONPATH": str(project.root / "src"), "LUCIE_ROOT": str(project.root)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_when(process: subprocess.Popen[bytes], there: Callable[[], bool]) -> None:
    """Kill -9 as soon as something is there."""
    while process.poll() is None:
        if there():
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.001)
    process.wait()


# Each is there when the process is in the middle of something else.
MOMENTS = [
    "work.json",
    "model",
    "signatures/bucket_013/00001.minhash.sig",
    "filter/.00004.dropped.parquet.tmp",
    "compare/00006.json",
    "clusters",
    "clean/.00001.parquet.tmp",
    "write/00003.json",
]


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(
    project: Project, corpus: Path, whole: Path, tmp_path: Path
) -> None:
    into, expected, killed = tmp_path / "into", files_of(whole), 0
    for moment in MOMENTS:
        process = start(project, corpus, into)
        kill_when(process, (into / moment).exists)
        killed += process.returncode == -signal.SIGKILL
        held = files_of(into)
        assert {name: expected.get(name) for name in held} == held, f"nothing half-written at {moment}"
        assert not (into / "report.json").exists()
    assert killed == len(MOMENTS) >= 8
    process = start(project, corpus, into)
    assert process.wait() == 0
    assert files_of(into) == expected
    assert (into / "report.json").read_bytes() == (whole / "report.json").read_bytes()


def children_of(process: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True)
    return [int(word) for word in listed.stdout.split()]


def is_running(process: int) -> bool:
    found = Path(f"/proc/{process}/stat")
    return found.exists() and found.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists() or not shutil.which("ps"), reason="asks Linux for processes")
def test_workers_end_when_their_parent_is_killed_and_the_rest_is_done_by_the_next_run(
    project: Project, corpus: Path, whole: Path, tmp_path: Path
) -> None:
    into = tmp_path / "into"
    process = start(project, corpus, into, jobs=2)
    workers: list[int] = []

    def while_filtering() -> bool:
        if list((into / "filter").glob(".*.tmp")):
            workers.extend(children_of(process.pid))
        return bool(workers)

    kill_when(process, while_filtering)
    assert process.returncode == -signal.SIGKILL
    for _ in range(500):
        if not any(map(is_running, workers)):
            break
        time.sleep(0.01)
    left = [worker for worker in workers if is_running(worker)]
    for worker in left:
        os.kill(worker, signal.SIGKILL)
    assert not left
    again = start(project, corpus, into)
    assert again.wait() == 0
    assert files_of(into) == files_of(whole)


def test_a_finished_run_does_nothing_again(
    project: Project, recipe: Recipe, whole: Path, counted: list[tuple[str, int]]
) -> None:
    before = files_of(whole)
    _, report = clean(project, recipe, whole, jobs=1)
    assert counted == []
    assert files_of(whole) == before
    assert report == json.loads((whole / "report.json").read_text())


@pytest.mark.parametrize(("step", "task"), [("filter", 4), ("compare", 3), ("write", 1)])
def test_a_task_without_its_marker_is_redone_alone(
    project: Project, recipe: Recipe, whole: Path, tmp_path: Path, counted: list[tuple[str, int]], step: str, task: int
) -> None:
    into = tmp_path / "into"
    shutil.copytree(whole, into)
    (into / step / f"{task:05d}.json").unlink()
    for path in (into / step).glob(f"{task:05d}.*"):
        path.write_bytes(b"spoiled")
    clean(project, recipe, into, jobs=1)
    assert counted == [(step, task)]
    assert files_of(into) == files_of(whole)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_shard_that_fails_is_redone_alone(
    project: Project,
    recipe: Recipe,
    whole: Path,
    tmp_path: Path,
    counted: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
    jobs: int,
) -> None:
    """With two workers the others are done before the failure is told; they are threads here, so as to be spoiled."""
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setattr(work, "WORTH_A_PROCESS", 0)
    monkeypatch.setattr(work, "ProcessPoolExecutor", lambda jobs, **_: ThreadPoolExecutor(1))
    into = tmp_path / "into"
    spied = cleaning_module._STEPS["filter"]

    def failing(cleaning: Cleaning, task: int) -> dict[str, Any]:
        if task == 3:
            with ShardWriter(cleaning.folder / "filter" / "00003.kept.parquet", {"id": pl.String()}) as shard:
                shard.add({"id": "a"})
                raise OSError("the disk is full")
        return spied(cleaning, task)

    monkeypatch.setitem(cleaning_module._STEPS, "filter", failing)
    with pytest.raises(OSError, match="the disk is full"):
        clean(project, recipe, into, jobs)
    done = [task for step, task in counted if step == "filter"]
    assert sorted(done) == ([0, 1, 2] if jobs == 1 else [0, 1, 2, 4, 5])
    assert not list((into / "filter").glob("*00003*"))
    monkeypatch.setitem(cleaning_module._STEPS, "filter", spied)
    counted.clear()
    clean(project, recipe, into, jobs=1)
    assert [task for step, task in counted if step == "filter"] == [n for n in range(SHARDS) if n not in done]
    assert files_of(into) == files_of(whole)


def test_a_worker_that_is_killed_is_a_sentence(
    project: Project, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def __init__(self, *_: object, **__: object) -> None: ...

        def __enter__(self) -> Broken:
            return self

        def __exit__(self, *_: object) -> None: ...

        def submit(self, *_: object) -> Future[None]:
            future: Future[None] = Future()
            future.set_exception(BrokenProcessPool("killed"))
            return future

    monkeypatch.setattr(work, "WORTH_A_PROCESS", 0)
    monkeypatch.setattr(work, "ProcessPoolExecutor", Broken)
    cleaning = Cleaning(project, recipe, tmp_path / "into")
    with pytest.raises(StageError, match=r"killed in step filter.*start again with fewer --jobs") as caught:
        work.run_step(cleaning, "filter", 2, lambda _: None)
    assert caught.value.code == Exit.STAGE_FAILED


def test_two_runs_do_not_work_in_one_folder(project: Project, recipe: Recipe, tmp_path: Path) -> None:
    into = tmp_path / "into"

    def second(_: Done) -> None:
        with pytest.raises(UsageError, match="being worked on by another lucie"):
            clean(project, recipe, into, jobs=1)
        raise StopIteration

    with pytest.raises(StopIteration):
        clean(project, recipe, into, 1, second)


# Parquet files that are written in parts


def test_a_shard_has_its_name_when_it_is_whole_and_not_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lucie.corpus.shards.GROUP_CHARACTERS", 10)
    path = tmp_path / "a.parquet"
    with ShardWriter(path, {"text": pl.String(), "part": pl.Binary()}) as shard:
        for n in range(50):
            shard.add({"text": f"text {n}", "part": b"x"})
            assert not path.exists()
    assert pl.concat(read_frames(path))["text"].to_list() == [f"text {n}" for n in range(50)]
    assert [file.name for file in tmp_path.iterdir()] == ["a.parquet"]


def test_a_shard_that_could_not_be_finished_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with ShardWriter(path, {"text": pl.String()}) as shard:
        shard.add({"text": "old"})
    with pytest.raises(KeyboardInterrupt), ShardWriter(path, {"text": pl.String()}) as shard:
        shard.add({"text": "new"})
        raise KeyboardInterrupt
    assert pl.read_parquet(path)["text"].to_list() == ["old"]
    assert [file.name for file in tmp_path.iterdir()] == ["a.parquet"]


def test_a_shard_of_nothing_has_its_columns(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "a.parquet", {"text": pl.String(), "broken": pl.List(pl.String())}):
        pass
    assert pl.read_parquet(tmp_path / "a.parquet").schema == {"text": pl.String(), "broken": pl.List(pl.String())}


def test_documents_that_do_not_add_up_are_an_error(
    project: Project, recipe: Recipe, whole: Path, tmp_path: Path
) -> None:
    counts = Counts()
    counts.add(Examined([], "", {}), [])
    counts.kept += 1
    with pytest.raises(AssertionError, match="1 documents in, 2 kept"):
        counts.check(Cleaning(project, recipe, whole).shards[0])
    into = tmp_path / "into"
    shutil.copytree(whole, into)
    marker = into / "write" / "00000.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "read": 7}))
    with pytest.raises(StageError, match="documents in"):
        clean(project, recipe, into, jobs=1)


# Folders that hold something else


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A folder of JSON lines that hold nothing but texts."""
    folder = tmp_path / "my texts"
    found = [{"text": document["text"]} for document in mini_texts("wiki")]
    write_documents(folder / "one.jsonl", found[:20])
    write_documents(folder / "two.jsonl", [*found[20:], {"text": found[0]["text"]}, {"text": "Too short."}])
    return folder


def test_a_folder_of_something_else_is_refused_and_left_alone(project: Project, texts: Path, tmp_path: Path) -> None:
    recipe = Recipe.load(project, str(texts), ["rule_sets={}", "deduplicate=false"])
    for name, content in (("notes.txt", "mine"), ("work.json", "{}"), ("work.json", "no JSON"), ("work.json", "[1]")):
        into = tmp_path / "into"
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir()
        (into / name).write_text(content)
        with pytest.raises(UsageError, match=r"was not made by lucie.*--into"):
            clean(project, recipe, into, jobs=1)
        assert [path.name for path in into.iterdir()] == [name]
        assert (into / name).read_text() == content
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UsageError, match="not an empty folder"):
        clean(project, recipe, file, jobs=1)
    assert file.read_text() == "mine"


def test_an_empty_folder_and_one_of_a_start_that_was_killed_are_taken(
    project: Project, texts: Path, tmp_path: Path
) -> None:
    recipe = Recipe.load(project, str(texts), ["rule_sets={}", "deduplicate=false"])
    for left in ([], [".work.json.123.tmp"]):
        into = tmp_path / f"into {len(left)}"
        into.mkdir()
        for name in left:
            (into / name).write_text("{")
        assert clean(project, recipe, into, jobs=1)[1]["kept"] > 0


def test_the_corpus_itself_is_no_place_to_work_in(project: Project, texts: Path) -> None:
    recipe = Recipe.load(project, str(texts))
    for into in (texts, texts / "clean"):
        with pytest.raises(UsageError, match="is in the corpus itself"):
            clean(project, recipe, into, jobs=1)
    assert sorted(path.name for path in texts.glob("[!.]*")) == ["one.jsonl", "two.jsonl"]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of its own, so that its build/ may be worked in."""
    root = tmp_path / "project"
    (root / "data").mkdir(parents=True)
    for name in ("config", "data/records", "data/mini"):
        (root / name).symlink_to(ROOT / name)
    monkeypatch.setenv("LUCIE_ROOT", str(root))
    return Project(root)


CHANGES: dict[str, Callable[[Path], list[str]]] = {
    "another setting": lambda _: ["perplexity.spreads=5"],
    "another document": lambda folder: write_documents(folder / "one.jsonl", [{"text": "Other."}]) or [],
    "another file": lambda folder: write_documents(folder / "three.jsonl", [{"text": "Third."}]) or [],
    "another name": lambda folder: (folder / "one.jsonl").rename(folder / "four.jsonl") and [],
}


@pytest.mark.parametrize("what", CHANGES)
def test_work_from_something_else_is_done_anew_under_build_and_refused_elsewhere(
    elsewhere: Project, texts: Path, tmp_path: Path, counted: list[tuple[str, int]], what: str
) -> None:
    plain = ["rule_sets={}", "deduplicate=false"]
    recipe = Recipe.load(elsewhere, str(texts), plain)
    inside, outside = recipe.work(elsewhere), tmp_path / "into"
    assert inside == elsewhere.build / "corpora" / "my texts"
    for into in (inside, outside):
        clean(elsewhere, recipe, into, jobs=1)
    changed = Recipe.load(elsewhere, str(texts), [*plain, *CHANGES[what](texts)])
    before = files_of(outside)
    counted.clear()
    with pytest.raises(UsageError, match=r"holds work on corpus 'folder' by another recipe.*--into"):
        clean(elsewhere, changed, outside, jobs=1)
    assert files_of(outside) == before
    assert counted == []
    (inside / "left over").write_text("by the first")
    _, report = clean(elsewhere, changed, inside, jobs=1)
    assert counted
    assert not (inside / "left over").exists()
    assert [path.name for path in inside.parent.iterdir() if path.name.endswith(".old")] == []
    sources = {source.split(":")[0] for path in work.kept(inside) for source in pl.read_parquet(path)["id"]}
    assert sources == {shard["shard"].split(".")[0] for shard in report["shards"]}


def test_a_list_that_is_not_there_is_a_sentence(project: Project, texts: Path, tmp_path: Path) -> None:
    recipe = Recipe.load(project, str(texts), ["lists.words=nowhere.txt"])
    with pytest.raises(UsageError, match=r"nowhere\.txt cannot be read: No such file"):
        clean(project, recipe, tmp_path / "into", jobs=1)


# Any folder, one command


def test_a_folder_of_texts_is_cleaned_by_one_command_that_says_what_it_did(
    elsewhere: Project, texts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lucie.cli import main

    monkeypatch.setattr(sys, "argv", ["lucie", "corpus", "build", str(texts)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = " ".join(capsys.readouterr().out.split())
    assert not ended.value.code
    report = json.loads((elsewhere.build / "corpora" / "my texts" / "report.json").read_text())
    read, kept, dropped = report["read"], report["kept"], sum(report["dropped"].values())
    assert f"{read} documents in = {kept} kept ({kept / read:.1%}) + {dropped} dropped" in said
    assert "exact duplicate 2" in said
    assert f"not applied to {read} documents, for want of metadata or a list:" in said
    assert "metadata or a list: listed words too high" in said
    assert "perplexity by a small model trained on this corpus" in said
    assert "my texts/clean" in said
    held = pl.concat(map(pl.read_parquet, work.kept(elsewhere.build / "corpora" / "my texts")))
    assert held.height == kept > 20
    assert held["id"].is_unique().all()
    assert set(held["id"].str.split(":").list.first()) == {"one", "two"} == set(held["source"])
    assert set(held["language"]) == {"de", "en", "es", "fr", "it"}  # they did not say so themselves


def test_one_setting_leaves_noncommercial_documents_out(elsewhere: Project, tmp_path: Path) -> None:
    open_ones, others = ["CC0-1.0", "CC-BY-SA-4.0"], ["CC-BY-NC-SA-4.0", "CC BY-NC 4.0"]
    documents = [
        {**document, "licence": [*open_ones, *others][n % 4]} for n, document in enumerate(mini_texts("wiki")[:20])
    ]
    write_documents(tmp_path / "licensed" / "a.jsonl", documents)
    reports = {}
    for kept in ("[open, noncommercial]", "[open]"):
        recipe = Recipe.load(elsewhere, str(tmp_path / "licensed"), [f"rights={kept}", "rule_sets={}"])
        _, reports[kept] = clean(elsewhere, recipe, recipe.work(elsewhere), jobs=1)
        held = pl.concat(map(pl.read_parquet, work.kept(recipe.work(elsewhere))))
        assert set(held["licence"]) == {*open_ones, *(others if "noncommercial" in kept else [])}
    assert reports["[open]"]["dropped"]["licence noncommercial"] == 10
    assert "licence noncommercial" not in reports["[open, noncommercial]"]["dropped"]


def test_every_kind_of_text_has_a_scale_however_little_is_trained_on(elsewhere: Project, tmp_path: Path) -> None:
    """The kinds that come after the models have had enough must not be judged without one."""
    documents = [{**document, "language": "fr"} for document in mini_texts("newspaper", "wiki", "web")]
    french = sorted((d for d in documents if d["source"] in ("newspaper", "wiki", "web")), key=lambda d: d["category"])
    write_documents(tmp_path / "kinds" / "a.jsonl", french)
    recipe = Recipe.load(elsewhere, str(tmp_path / "kinds"), ["perplexity.characters=5000"])
    cleaning = Cleaning(elsewhere, recipe, tmp_path / "into")
    cleaning.run("model", 0)
    scales = json.loads(cleaning.marker("model", 0).read_text())["scales"]["fr"]
    assert set(scales) == {document["category"] for document in french}


def test_models_are_trained_on_little_where_a_recipe_says_so(elsewhere: Project, tmp_path: Path) -> None:
    texts = [{"text": f"{n} mots de plus, et encore.", "language": "fr", "category": "web"} for n in range(1500)]
    write_documents(tmp_path / "many" / "a.jsonl", texts)
    recipe = Recipe.load(elsewhere, str(tmp_path / "many"), ["perplexity.characters=100"])
    halves = Cleaning(elsewhere, recipe, tmp_path / "into")._reference_texts()["fr"]
    assert [len(half) for half in halves] == [cleaning_module.SAMPLED] * 2


def test_copies_across_shards_are_dropped_and_the_first_is_kept(elsewhere: Project, tmp_path: Path) -> None:
    text = mini_texts("wiki")[0]["text"]
    words = text.split()
    near = " ".join([*words[:60], "changed", *words[61:]])
    write_documents(tmp_path / "copies" / "a.jsonl", [{"id": "1", "text": "Something else, not a copy of it."}])
    write_documents(tmp_path / "copies" / "b.jsonl", [{"id": "2", "text": text}, {"id": "3", "text": text.upper()}])
    write_documents(tmp_path / "copies" / "c.jsonl", [{"id": "4", "text": near}, {"id": "5", "text": f"  {text}!"}])
    recipe = Recipe.load(elsewhere, str(tmp_path / "copies"), ["rule_sets={}"])
    cleaning, report = clean(elsewhere, recipe, tmp_path / "into", jobs=1)
    told = work.decisions(cleaning).select("id", "reason", "twin").rows()
    assert told == [
        ("1", "", None),
        ("2", "", None),
        ("3", "exact duplicate", "2"),
        ("4", "near duplicate", "2"),
        ("5", "exact duplicate", "2"),
    ]
    assert report["kept"] == 2


@pytest.mark.parametrize(
    "documents", [[{"text": ""}], [{"text": "one two"}], [{"text": "{"}, {"text": "{ {"}]], ids=["none", "two", "both"]
)
@pytest.mark.parametrize("rules", ["{}", "{'*': [RedPajama]}"])
def test_a_corpus_of_next_to_nothing_is_cleaned_too(
    elsewhere: Project, tmp_path: Path, documents: list[dict[str, str]], rules: str
) -> None:
    write_documents(tmp_path / "little" / "a.jsonl", [{**document, "language": "fr"} for document in documents])
    (tmp_path / "little" / "b.jsonl").write_text("\n")  # no document, but not an empty file
    recipe = Recipe.load(elsewhere, str(tmp_path / "little"), [f"rule_sets={rules}"])
    _, report = clean(elsewhere, recipe, tmp_path / "into", jobs=1)
    assert report["read"] == len(documents) == report["kept"] + sum(report["dropped"].values())
    assert pl.read_parquet(tmp_path / "into" / "clean" / "00001.parquet").is_empty()
