"""The mirror of a dataset of the hub: the real client fetches it from a hub on this machine, and corpora are read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from conftest import ROOT, Lucie, write
from filelock import FileLock

from lucie import fetching
from lucie.corpus.recipe import Recipe
from lucie.errors import Exit, LucieError, MismatchError, UsageError
from lucie.hpc.provisions import model_checks
from lucie.hub.mirror import MANIFEST, Hub, Mirror, MirrorFile
from lucie.project import Project

constants = pytest.importorskip("huggingface_hub.constants", reason="the packages of group 'corpus' are not here")

from hub import StandIn, serve  # noqa: E402

from lucie.hub.fetch import ARRIVING, fetch_hub, listing, listing_of_mirror  # noqa: E402

NAME = "OpenLLM-France/Lucie-Training-Dataset"
RECIPE = Hub(repository=NAME, revision="v1.1")  # as config/corpora/full.yaml has it
WIKI, NEWS, CODE = (f"data/v1.1/{path}.parquet" for path in ("natural/fr/Wiki/a", "natural/fr/News/b", "code/c"))
ALL = {WIKI, NEWS, CODE}
FRENCH = "data/v1.1/natural/fr/*"


def documents(source: str, count: int) -> pl.DataFrame:
    """Documents in the columns of the Lucie Training Dataset."""
    texts = [f"{source} : il y avait une fois {n} fils d'un meunier, et le {n}e avait un chat." for n in range(count)]
    return pl.DataFrame(
        {"source": source, "id": [f"{source}-{n}" for n in range(count)], "language": "fr", "text": texts}
    )


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A folder laid out as the dataset is."""
    folder = tmp_path / "dataset"
    for path, count in ((WIKI, 40), (NEWS, 30), (CODE, 20)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        documents(Path(path).parent.name, count).write_parquet(folder / path)
    write(folder / "README.md", "# Données\n")
    return folder


@pytest.fixture
def hub(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A hub that has the dataset; the client, here or in a process of its own, reaches no other."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.delenv(name, raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    # What it read from its environment when it was imported, which another test may have done.
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with serve() as stand_in:
        stand_in.add(f"datasets/{NAME}", dataset, "v1.1")
        monkeypatch.setenv("HF_ENDPOINT", stand_in.url)
        yield stand_in


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "into"


def ignore(_: int) -> None:
    """Shows no progress."""


def bring(hub: StandIn, into: Path, *only: str, recipe: Hub = RECIPE) -> list[str]:
    """List and fetch, as the verb does; the paths that were new."""
    return fetch_hub(listing(recipe, only, hub.url), into, None, ignore, hub.url)


def files_in(folder: Path) -> set[str]:
    """What a folder holds, but for the lock."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return found - {".lock"}


def of(path: Path) -> dict[str, int | str]:
    content = path.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


# Bringing it here


def test_the_files_that_the_recipe_wants_come_and_are_listed(hub: StandIn, dataset: Path, into: Path) -> None:
    shown: list[int] = []
    wanted = listing(RECIPE, (), hub.url)
    assert set(fetch_hub(wanted, into, None, shown.append, hub.url)) == ALL
    assert files_in(into) == {*ALL, MANIFEST}
    assert all((into / path).read_bytes() == (dataset / path).read_bytes() for path in ALL)
    assert json.loads((into / MANIFEST).read_text()) == {
        "kind": "dataset",
        "repository": NAME,
        "revision": "v1.1",
        "commit": hub.repositories[f"datasets/{NAME}"].commit,
        "files": {path: of(dataset / path) for path in ALL},
    }
    assert sum(shown) == wanted.bytes == sum((dataset / path).stat().st_size for path in ALL)


def test_the_second_time_nothing_comes(hub: StandIn, into: Path) -> None:
    bring(hub, into)
    before = (into / MANIFEST).read_bytes()
    hub.requests.clear()
    assert bring(hub, into) == []
    assert not any(hub.asked_for(path) for path in ALL)
    assert (into / MANIFEST).read_bytes() == before


def test_a_small_file_that_the_hub_names_no_sha256_of_is_checked_and_listed_too(
    hub: StandIn, dataset: Path, into: Path
) -> None:
    recipe = RECIPE.model_copy(update={"files": ["*"]})
    hub.content["README.md"] = b"# Donn\xe9es\n"
    with pytest.raises(MismatchError, match=r"README\.md .* arrived with another content"):
        bring(hub, into, "README.md", recipe=recipe)
    hub.content.clear()
    bring(hub, into, recipe=recipe)
    assert json.loads((into / MANIFEST).read_text())["files"]["README.md"] == of(dataset / "README.md")


def test_a_part_may_come_first_and_the_rest_later(hub: StandIn, into: Path) -> None:
    assert set(bring(hub, into, FRENCH)) == {WIKI, NEWS}
    assert files_in(into) == {WIKI, NEWS, MANIFEST}
    assert bring(hub, into, "*/c.parquet") == [CODE]
    assert set(Mirror.read(into / MANIFEST).files) == ALL


def test_a_file_that_was_cut_since_comes_again(hub: StandIn, dataset: Path, into: Path) -> None:
    bring(hub, into)
    (into / NEWS).write_bytes(b"PAR1")
    assert bring(hub, into) == [NEWS]
    assert (into / NEWS).read_bytes() == (dataset / NEWS).read_bytes()


def test_a_connection_that_breaks_goes_on_within_the_file(
    hub: StandIn, dataset: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100)  # what has come of a chunk is lost
    hub.broken[WIKI] = 750
    shown: list[int] = []
    wanted = listing(RECIPE, (), hub.url)
    fetch_hub(wanted, into, None, shown.append, hub.url)
    assert hub.asked_for(WIKI) == ["GET", "GET bytes=700-"]
    assert (into / WIKI).read_bytes() == (dataset / WIKI).read_bytes()
    assert sum(shown) == wanted.bytes


def test_a_fetch_that_was_killed_goes_on(hub: StandIn, project: Project, into: Path) -> None:
    hub.stalled[WIKI] = 700
    command = [sys.executable, "-m", "lucie", "fetch", "full", "--into", str(into)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "LUCIE_ROOT": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: (into / NEWS).is_file() and (into / CODE).is_file() and bool(hub.asked_for(WIKI)))
        process.send_signal(signal.SIGKILL)
    assert list((into / ARRIVING).rglob("*.incomplete"))
    with pytest.raises(MismatchError, match=r"is not a finished mirror: it has no MIRROR\.json\. Get it with: lucie f"):
        Recipe.load(project, "full", [f"folder={into}"]).source(project)
    hub.stalled.clear()
    assert bring(hub, into) == [WIKI]
    assert [len(hub.asked_for(path)) for path in (WIKI, NEWS, CODE)] == [2, 1, 1]
    assert files_in(into) == {*ALL, MANIFEST}


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def test_a_file_that_cannot_be_had_leaves_an_unfinished_mirror(hub: StandIn, into: Path) -> None:
    bring(hub, into, "*/c.parquet")
    hub.gone.add(NEWS)
    with pytest.raises(LucieError, match=r"b\.parquet of .* could not be fetched: .*404"):
        bring(hub, into)
    assert (into / CODE).is_file()
    assert not (into / MANIFEST).exists()
    hub.gone.clear()
    bring(hub, into)
    assert files_in(into) == {*ALL, MANIFEST}


# What must not be


def test_content_that_is_not_the_listed_one_is_not_kept(hub: StandIn, dataset: Path, into: Path) -> None:
    true = (dataset / NEWS).read_bytes()
    hub.content[NEWS] = true[:-5] + b"!" + true[-4:]
    with pytest.raises(MismatchError, match=r"b\.parquet .*another content than is listed at v1\.1 .*sha256 differs"):
        bring(hub, into)
    assert not (into / NEWS).exists() and not (into / MANIFEST).exists()
    hub.content.clear()
    assert NEWS in bring(hub, into)
    assert (into / NEWS).read_bytes() == true


@pytest.mark.parametrize("finished", [True, False])
def test_a_revision_that_moved_is_an_error(hub: StandIn, dataset: Path, into: Path, finished: bool) -> None:
    if finished:
        bring(hub, into)
    else:
        hub.gone.add(NEWS)
        with pytest.raises(LucieError):
            bring(hub, into)
        hub.gone.clear()
    before = hub.repositories[f"datasets/{NAME}"].commit
    documents("Wiki", 41).write_parquet(dataset / WIKI)
    with pytest.raises(MismatchError, match=rf"v1\.1 of {NAME} was moved: it is commit .* now, and .* of {before}\."):
        bring(hub, into)


def test_a_dataset_a_revision_or_a_file_that_there_is_not_is_named(hub: StandIn) -> None:
    for changed, only, error in (
        ({"repository": "OpenLLM-France/Lucie"}, (), "The hub has no dataset OpenLLM-France/Lucie, or shows it to its"),
        ({"repository": "a/b/c"}, (), "The hub has no dataset a/b/c"),
        ({"revision": "v9"}, (), f"The dataset {NAME} has no revision v9"),
        ({"files": ["*.csv"]}, (), rf"No file of {NAME} at v1.1 is called '\*\.csv'. 4 files .* such as README\.md"),
        ({}, (FRENCH, "*/it/*"), r"is called '\*/it/\*'. 3 files can be chosen from, such as data/v1\.1/code"),
    ):
        with pytest.raises(UsageError, match=error):
            listing(RECIPE.model_copy(update=changed), only, hub.url)


def test_a_gated_dataset_needs_a_token(
    hub: StandIn, dataset: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(f"datasets/{NAME}", dataset, "v1.1", token="hf_secret")
    with pytest.raises(UsageError, match=rf"{NAME} is gated\. .*HF_TOKEN"):
        bring(hub, into)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert set(bring(hub, into)) == ALL


def test_without_a_network_the_error_says_so(hub: StandIn, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LucieError, match=r"(?s)list of files of .* could not be fetched: .*refused.*--mirror DIR"):
        listing(RECIPE, (), "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(LucieError, match="HF_HUB_OFFLINE is set"):
        listing(RECIPE, (), hub.url)
    assert hub.requests == []


def test_a_disk_with_too_little_room_is_refused_beforehand(hub: StandIn, into: Path) -> None:
    hub.sizes[NEWS] = 10**18
    with pytest.raises(UsageError, match=r"into needs 1\.0 EB more, and its disk has .*B free\. Make room"):
        bring(hub, into)
    assert hub.asked_for(WIKI) == []
    assert files_in(into) == set()
    assert bring(hub, into, "*/c.parquet") == [CODE]


def test_another_fetch_or_another_folder_is_left_alone(hub: StandIn, into: Path) -> None:
    into.mkdir()
    with FileLock(into / ".lock"), pytest.raises(UsageError, match="Another fetch works on"):
        bring(hub, into)
    write(into / "notes.txt", "mine")
    with pytest.raises(UsageError, match="is not empty, and was not fetched by lucie"):
        bring(hub, into)
    assert files_in(into) == {"notes.txt"}


# A mirror of the mirror


@pytest.fixture
def mirror(hub: StandIn, tmp_path: Path) -> Path:
    """A finished mirror; the hub is not asked again."""
    bring(hub, tmp_path / "mirror")
    hub.repositories.clear()
    return tmp_path / "mirror"


def copy(mirror: Path, into: Path, *only: str) -> list[str]:
    return fetch_hub(listing_of_mirror(RECIPE, mirror, only), into, mirror, ignore)


def test_a_mirror_is_copied_without_the_hub(mirror: Path, into: Path) -> None:
    assert set(copy(mirror, into, FRENCH)) == {WIKI, NEWS}
    assert copy(mirror, into) == [CODE]
    assert {name: (into / name).read_bytes() for name in files_in(into)} == {
        name: (mirror / name).read_bytes() for name in {*ALL, MANIFEST}
    }


def test_a_damaged_mirror_is_named(mirror: Path, into: Path) -> None:
    content = (mirror / NEWS).read_bytes()
    (mirror / NEWS).write_bytes(content[:-1] + b"!")
    with pytest.raises(MismatchError, match=r"mirror/.*/b\.parquet is not the file that MIRROR\.json lists"):
        copy(mirror, into)
    assert not (into / NEWS).exists() and not (into / MANIFEST).exists()
    (mirror / NEWS).unlink()
    with pytest.raises(MismatchError, match=r"b\.parquet is missing, and MIRROR\.json lists it"):
        copy(mirror, into)
    (mirror / NEWS).write_bytes(content)
    copy(mirror, into)
    assert files_in(into) == {*ALL, MANIFEST}


def test_what_is_no_mirror_of_the_dataset_is_refused(mirror: Path, into: Path) -> None:
    held = Mirror.read(mirror / MANIFEST)
    held.model_copy(update={"revision": "v1.2"}).write(mirror / MANIFEST)
    with pytest.raises(UsageError, match=rf"is a mirror of {NAME} at v1\.2, not of {NAME} at v1\.1"):
        copy(mirror, into)
    for damaged, error in (
        ("{", "it: Invalid JSON"),
        ('{"repository": "a/b"}', "revision: Field required"),
        (json.dumps({**held.model_dump(), "files": {"../x": {"bytes": 1}}}), "files: .*x lies outside of the folder"),
    ):
        write(mirror / MANIFEST, damaged)
        with pytest.raises(MismatchError, match=rf"MIRROR\.json is not the list of a mirror \({error}"):
            copy(mirror, into)
    (mirror / MANIFEST).unlink()
    with pytest.raises(UsageError, match=r"is not a finished mirror: it has no MIRROR\.json"):
        copy(mirror, into)


# Reading it


def test_a_mirror_is_read_only_if_it_is_finished_and_whole(project: Project, mirror: Path) -> None:
    recipe = Recipe.load(project, "full", [f"folder={mirror}"])
    assert {shard.name for shard in recipe.source(project).shards()} == ALL
    assert mirror / MANIFEST in recipe.input_files(project)
    for spoil, error in (
        (lambda: shutil.copy(mirror / WIKI, mirror / "data" / "d.parquet"), r"d\.parquet is not in MIRROR\.json"),
        (lambda: (mirror / WIKI).write_bytes(b"PAR1"), r"a\.parquet has 4 bytes and must have [\d,]+\. Get it with"),
        (lambda: (mirror / WIKI).unlink(), r"a\.parquet is missing, and MIRROR\.json lists it\. Get it with: lucie f"),
        (lambda: (mirror / MANIFEST).unlink(), r"has no MIRROR\.json\. Get it with: lucie fetch full --into .*mirror"),
    ):
        spoil()
        with pytest.raises(MismatchError, match=error):
            recipe.source(project)


def test_a_mirror_of_another_revision_is_not_read(project: Project, mirror: Path) -> None:
    settings = [f"folder={mirror}", "hub.revision=v1.2"]
    with pytest.raises(MismatchError, match=rf"is a mirror of {NAME} at v1\.1, not of {NAME} at v1\.2"):
        Recipe.load(project, "full", settings).source(project)


# The command


def test_the_verb_fetches_what_is_then_counted_and_cleaned(
    project: Project, hub: StandIn, into: Path, lucie: Lucie
) -> None:
    done = lucie(project, "fetch", "full", "--into", str(into))
    assert done.returncode == Exit.HELD, done.stderr
    said = " ".join(done.stdout.split())
    assert said.startswith("full ━") and "3 files, " in said and "3 of them new" in said and done.stderr == ""
    assert all(f"/api/datasets/{NAME}/" in line or f"/datasets/{NAME}/resolve/" in line for line in hub.requests)
    counted = lucie(project, "corpus", "count", "full", "--set", f"folder={into}", "--json")
    assert counted.returncode == Exit.HELD, counted.stderr
    assert json.loads(counted.stdout)["total"]["documents"] == 90
    clean = into.with_name("clean")
    built = lucie(project, "corpus", "build", "full", "--set", f"folder={into}", "--into", str(clean), "--jobs", "1")
    assert built.returncode == Exit.HELD, built.stderr
    assert "90 documents in" in built.stdout


def test_a_dry_run_only_says_how_much_there_is(
    hub: StandIn, dataset: Path, into: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    fetching.fetch_full(into, [FRENCH], dry_run=True)
    size = sum((dataset / path).stat().st_size for path in (WIKI, NEWS))
    assert f"2 files, {size / 1000:.1f} kB: {NAME} at v1.1, commit " in " ".join(capsys.readouterr().out.split())
    assert not into.exists()


def test_only_fetching_imports_the_client() -> None:
    code = "import sys, lucie.cli, lucie.hub.fetch; print('huggingface_hub' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_doctor_looks_at_the_mirrors_of_models(tmp_path: Path) -> None:
    whole, cut, begun = (tmp_path / "data/models/OWNER" / name for name in ("a@main", "b@main", "c@main"))
    for folder in (whole, cut, begun):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    for folder in (whole, cut):
        files = {"config.json": MirrorFile(bytes=2), "model.safetensors": MirrorFile(bytes=3)}
        Mirror(kind="model", repository="OWNER/a", revision="main", commit="c", files=files).write(folder / MANIFEST)
        (folder / "model.safetensors").write_bytes(b"123" if folder is whole else b"1")
    said = [(check.state, check.says) for check in model_checks(Project(tmp_path))]
    assert [state for state, _ in said] == ["ok", "fail", "warn"]
    assert "model.safetensors of OWNER/b@main is missing or cut off" in said[1][1]
    assert said[2][1].endswith("Go on with: lucie fetch model OWNER/c@main")
