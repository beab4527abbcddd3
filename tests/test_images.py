"""Container images: their definitions, the lock, the launcher; and a real one, built and run by a real Apptainer.

That takes root, the network (a Debian with Apptainer, another as the base, the packages) and some minutes; where it
cannot be had, the tests that need it say why.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, edit
from typer.testing import CliRunner

from lucie.cli import app
from lucie.errors import LucieError, MismatchError, UsageError
from lucie.files import sha256
from lucie.hpc import container, images, provisions
from lucie.hpc.sites import Site
from lucie.manifest import CONTAINER_VARIABLE
from lucie.project import Project

DEFINITIONS = sorted((ROOT / "containers").glob("*.def"))
SECTIONS = ["arguments", "help", "labels", "files", "post", "environment", "runscript", "test"]
SCRIPT = ROOT / "tools" / "apptainer.sh"
CANNOT = 3  # the script's exit code where Apptainer cannot be had
QUICK = 'APPTAINER_MKSQUASHFS_ARGS="-comp zstd -Xcompression-level 1"'  # an image that lives for minutes
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


# Definitions


def sections(path: Path) -> dict[str, str]:
    """The sections of a definition, in order; the header is the empty name."""
    parts = re.split(r"^%(\w+)\n", path.read_text("utf-8"), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.stem)
def test_a_definition_is_whole_and_pinned(path: Path) -> None:
    found, defaults = sections(path), images.arguments(path)
    assert list(found) == ["", *SECTIONS]
    assert {"Bootstrap: {{ BOOT }}", "From: {{ FROM }}"} <= set(found[""].splitlines()), "the base can be swapped"
    assert re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", defaults["FROM"]), "the base is pinned by digest"
    text = path.read_text("utf-8")
    assert "latest" not in text
    assert set(re.findall(r"\{\{ (\w+) \}\}", text)) == set(defaults), "every template has a default, and is used"
    for line in re.findall(r"pip install(?:[^\\\n]|\\\n)*", found["post"]):
        assert "--constraint requirements.lock" in line or "--no-deps" in line, "what pip installs is locked"
    assert all(found[name].startswith("    set -eu\n") for name in ("post", "test")), "what fails is no success"
    assert "dpkg-query --show >" in found["post"], "versions of Debian packages are recorded"
    assert all(f"lucie.{label} {{{{ {label.upper()} }}}}" in found["labels"] for label in ("commit", "lock", "base"))
    shell = re.sub(r"\{\{ (\w+) \}\}", lambda match: defaults[match[1]], found["post"] + found["test"])
    assert subprocess.run(["sh", "-n"], input=shell, text=True, check=False).returncode == 0


def test_cuda_is_pinned_beside_the_lock_of_all() -> None:
    def pins(path: Path) -> dict[str, str]:
        lines = [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
        return dict(line.split("==") for line in lines)

    ours, all_of_them = pins(ROOT / "containers/train.lock"), pins(ROOT / "requirements.lock")
    assert {"nvidia-nccl-cu13", "nvidia-cudnn-cu13", "nvidia-cublas", "triton"} <= set(ours)
    assert not set(ours) & set(all_of_them), "a package is pinned in one place"
    assert f"torch {all_of_them['torch']} " in (ROOT / "containers/train.lock").read_text("utf-8"), "made for our torch"


# The lock and the launcher


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", "-C", folder, *identity, *words], check=True, capture_output=True)


def test_one_image_is_built_after_the_other(tmp_path: Path) -> None:
    """From one commit, though the first is listed in the lock by then; not where anything else is open."""
    shutil.copytree(ROOT / "containers", tmp_path / "containers")
    (tmp_path / ".gitignore").write_text("build/\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message=x")
    entry = container.Locked(sha256="1", base="x", definition="2", lock="3", commit="c")
    images.write_lock(Project(tmp_path), {"lucie": entry})
    assert (images.checkout(Project(tmp_path)) / "containers/lucie-train.def").is_file()
    (tmp_path / "new").touch()
    with pytest.raises(UsageError, match="changes that are in none: new"):
        images.checkout(Project(tmp_path))


@pytest.fixture
def listed(tmp_path: Path) -> Project:
    """A project whose lock lists an image, which is where the site slurm looks for it."""
    for name in ("config", "containers"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    project, image = Project(tmp_path), tmp_path / "build/images/lucie-train.sif"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"an image")
    definition = sha256(tmp_path / "containers/lucie-train.def")
    entry = container.Locked(
        sha256=sha256(image), base="x", definition=definition, lock=sha256(tmp_path / "requirements.lock"), commit="c"
    )
    images.write_lock(project, {"lucie-train": entry})
    return project


def test_an_image_that_was_changed_is_refused(listed: Project) -> None:
    site = Site.load(listed, "slurm")
    image = container.find(listed, site, "lucie-train")
    assert image is not None and (listed.root / container.LOCK).read_text("utf-8").startswith("# The images by name")
    container.check(image)
    images.verify(listed, "lucie-train", image.path)
    image.path.write_bytes(b"an Image")
    with pytest.raises(MismatchError, match=r"is not the image that containers/lock.yaml lists.*Nothing was started"):
        container.check(image)
    with pytest.raises(MismatchError, match="is not the image"):
        images.install(listed, site, "lucie-train", image.path)
    image.path.unlink()
    with pytest.raises(UsageError, match="or run without: --image none"):
        container.find(listed, site, "lucie-train")
    assert container.find(listed, site, "lucie") is None, "what the lock does not list is not looked for"


def test_an_image_of_another_definition_is_not_that_image(listed: Project) -> None:
    edit(listed.root / "containers/lucie-train.def", "set -eu", "set -e")
    with pytest.raises(MismatchError, match=r"lucie-train.def changed since"):
        images.verify(listed, "lucie-train", listed.root / "build/images/lucie-train.sif")


def test_images_run_only_from_where_the_site_allows(listed: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    site, image = Site.load(listed, "jean-zay"), listed.root / "build/images/lucie-train.sif"
    monkeypatch.delenv("SINGULARITY_ALLOWED_DIR", raising=False)
    with pytest.raises(UsageError, match="runs images only from"):
        container.find(listed, site, "lucie-train")
    allowed = listed.root / "allowed"
    allowed.mkdir()
    monkeypatch.setenv("SINGULARITY_ALLOWED_DIR", str(allowed))
    with pytest.raises(UsageError, match="there is no idrcontmgr"):
        images.install(listed, site, "lucie-train", image)
    registering(listed, allowed, monkeypatch)
    assert images.install(listed, site, "lucie-train", image) == allowed / "lucie-train.sif"
    found = container.find(listed, site, "lucie-train")
    assert found is not None and found.program == "singularity"
    container.check(found)


def registering(listed: Project, allowed: Path, monkeypatch: pytest.MonkeyPatch, does: str = 'cp "$2"') -> None:
    """An idrcontmgr: without other words it copies under the name that the file has."""
    program = listed.root / "bin" / "idrcontmgr"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$1" = cp ] && {does} {allowed}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SINGULARITY_ALLOWED_DIR", str(allowed))


def test_an_image_is_installed_by_its_name_whatever_its_file_is_called(
    listed: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, allowed = Site.load(listed, "jean-zay"), tmp_path / "allowed"
    other = (listed.root / "build/images/lucie-train.sif").rename(tmp_path / "other-name.sif")
    allowed.mkdir()
    registering(listed, allowed, monkeypatch)
    assert images.install(listed, site, "lucie-train", other) == allowed / "lucie-train.sif"
    assert [path.name for path in allowed.iterdir()] == ["lucie-train.sif"]
    assert other.is_file() and not list((listed.root / "build/images").iterdir()), "nothing else is left"


@pytest.mark.parametrize(("does", "says"), [("ls", "is not there"), ("echo > lucie-train.sif; ls", "is another file")])
def test_an_image_that_is_not_in_place_afterwards_is_an_error(
    does: str, says: str, listed: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    monkeypatch.chdir(allowed)
    registering(listed, allowed, monkeypatch, does)
    with pytest.raises(MismatchError, match=f"lucie-train.sif {says}"):
        images.install(
            listed, Site.load(listed, "jean-zay"), "lucie-train", listed.root / "build/images/lucie-train.sif"
        )


def said_where_no_image_is(listed: Project) -> str:
    with pytest.raises(UsageError) as refused:
        container.find(listed, Site.load(listed, "slurm"), "lucie-train")
    return str(refused.value)


def said_where_it_is_another(listed: Project) -> str:
    path = listed.root / "build/images/lucie-train.sif"
    with pytest.raises(MismatchError) as refused:
        container.check(container.Image(name="lucie-train", path=path, sha256="0" * 64, program="apptainer"))
    return str(refused.value)


def said_by_the_doctor(listed: Project) -> str:
    return " ".join(check.says for check in provisions.image_checks(listed, Site.load(listed, "slurm")))


def said_where_none_is_listed(listed: Project) -> str:
    images.write_lock(listed, {})
    return said_by_the_doctor(listed)


@pytest.mark.parametrize(
    "said", [said_where_no_image_is, said_where_it_is_another, said_by_the_doctor, said_where_none_is_listed]
)
def test_what_messages_advise_is_a_command(
    said: Callable[[Project], str], listed: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes as far as its own refusal: here there is no such file, site or git."""
    (listed.root / "build/images/lucie-train.sif").unlink()
    monkeypatch.setenv("LUCIE_ROOT", str(listed.root))
    advised = re.findall(r"lucie (image (?:install|build)[^():]*)", said(listed))
    assert advised
    for words in advised:
        assert isinstance(CliRunner().invoke(app, shlex.split(words)).exception, LucieError), words


def test_what_runs_in_an_image_has_options_of_its_own(listed: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """All after the image's name, even such as `image run` has itself."""
    ran: list[list[str]] = []

    def run(words: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        ran.append(words)
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr("lucie.hpc.image_verbs.subprocess.run", run)
    monkeypatch.setenv("LUCIE_ROOT", str(listed.root))
    inside = ["lucie", "submit", "x", "--site", "jean-zay", "--into", "foo", "--no-network", "--help"]
    for dashes in ([], ["--"]):
        words = ["image", "run", "--into", str(listed.root / "out"), "lucie-train", *dashes, *inside]
        assert CliRunner().invoke(app, words).exit_code == 0
        assert ran[-1][-len(inside) - 1 :] == [str(listed.root / "build/images/lucie-train.sif"), *inside]
        assert f"{listed.root / 'out'}:/opt/lucie/build" in ran[-1] and "--net" not in ran[-1]


def test_what_runs_inside_sees_what_it_is_given_and_its_digest(tmp_path: Path) -> None:
    image = container.Image(name="lucie", path=tmp_path / "lucie.sif", sha256="abc", program="singularity")
    words = container.command(image, ["/tokens:/tokens:ro"], {"OMP_NUM_THREADS": "1"}, ["python", "-V"], ["--nv"])
    assert words[:2] == ["singularity", "exec"] and {"--cleanenv", "--no-home", "--nv"} <= set(words)
    assert words[-3:] == [str(image.path), "python", "-V"]
    given = [after for word, after in pairwise(words) if word == "--env"]
    assert given == ["OMP_NUM_THREADS=1", f"{CONTAINER_VARIABLE}=abc"]


# Real images


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where an ordinary user may look, too."""
    folder = tmp_path_factory.mktemp("images")
    for path in (folder, *folder.parents[:2]):
        path.chmod(0o777)
    return folder


def made(*words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen([SCRIPT, *words], stderr=subprocess.PIPE, text=True)


def wait_for(making: subprocess.Popen[str]) -> None:
    said = making.communicate()[1]
    if making.returncode == CANNOT:
        pytest.skip(said.strip().splitlines()[-1])
    assert making.returncode == 0, said


@pytest.fixture(scope="module")
def root(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A Debian with Apptainer, on its way."""
    wait_for(made("can"))  # by one alone: it may install what makes both
    making = made("make", folder / "root")
    yield making
    making.wait()
    subprocess.run([SCRIPT, "remove", folder / "root"], check=True)


@pytest.fixture(scope="module")
def base(folder: Path, root: subprocess.Popen[str]) -> Iterator[Path]:
    """A Debian with Python 3.11, from which images are made; the other one is made meanwhile."""
    path = folder / "base"
    wait_for(made("base", folder / "root", path))
    yield path
    subprocess.run([SCRIPT, "remove", path], check=True)


@pytest.fixture(scope="module")
def clone(folder: Path) -> Path:
    """Of the commit that is checked out."""
    subprocess.run(["git", "clone", "--quiet", ROOT, folder / "clone"], check=True)
    (folder / "clone/build/images").mkdir(parents=True)
    (folder / "clone/build/images").chmod(0o777)
    return folder / "clone"


@pytest.fixture(scope="module")
def place(folder: Path, root: subprocess.Popen[str], base: Path, clone: Path) -> Path:
    """The folder, with base.sif and an `apptainer` that is an ordinary user's."""
    wait_for(root)
    (folder / "bin").mkdir()
    (folder / "out").mkdir()
    (folder / "out").chmod(0o777)
    enter = f"{SCRIPT} enter {folder / 'root'} {folder}:{folder} /etc/ssl/certs:/opt/ca --"
    subprocess.run([*enter.split(), "apptainer", "--quiet", "build", folder / "base.sif", base], check=True)
    for program in ("apptainer", "singularity"):
        path = folder / "bin" / program
        user = f"setpriv --reuid=ci --regid=ci --init-groups env HOME=/home/ci {QUICK}"
        path.write_text(f'#!/bin/sh\nexec {enter} {user} {program} "$@"\n')
        path.chmod(0o755)
    return folder


def lucie(place: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{place / 'bin'}:{os.environ['PATH']}", "LUCIE_ROOT": str(place / "clone")}
    words = [sys.executable, "-m", "lucie", *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def built(place: Path) -> Path:
    """lucie.def, built by an ordinary user from another base and with the packages of the record tier alone."""
    given = {"BOOT": "localimage", "FROM": place / "base.sif", "SYSTEM": "", "GROUPS": "", "WHEELS": ""}
    words = [word for name, value in given.items() for word in ("--arg", f"{name}={value}")]
    done = lucie(
        place, "image", "build", "lucie", *words, "--bind", f"/opt/ca/{Path(CERTIFICATES).name}:{CERTIFICATES}"
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "lucie: the committed results hold" in done.stdout + done.stderr, "its own test"
    return place / "clone/build/images/lucie.sif"


def test_an_image_says_what_it_was_made_from(place: Path, built: Path) -> None:
    done = lucie(place, "image", "verify", "lucie")
    assert done.returncode == 0, done.stderr
    said = dict(line.split() for line in done.stdout.splitlines() if line.startswith("lucie."))
    assert said["lucie.commit"] == Project(place / "clone").commit.id
    assert said["lucie.lock"] == sha256(place / "clone/requirements.lock")
    assert said["lucie.base"] == f"base.sif@sha256:{sha256(place / 'base.sif')}"
    tested = subprocess.run([place / "bin/apptainer", "test", built], capture_output=True, text=True)
    assert tested.returncode == 0, tested.stderr


def test_the_record_tier_is_reproduced_inside_without_a_network(place: Path, built: Path) -> None:
    """By an ordinary user, whose only writable folder is the one that is bound: and each notebook shows the image."""
    run = ("image", "run", "--no-network", "--into", place / "out", "lucie")
    refused = lucie(place, *run, "sh", "-c", "touch /opt/lucie/README.md; id -u; cat /proc/net/dev")
    assert "Read-only file system" in refused.stderr and "1500" in refused.stdout and "eth" not in refused.stdout
    done = lucie(place, *run, "lucie", "reproduce", "--tier", "record")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert values(place / "out/record") == values(ROOT / "results/record")
    digest = sha256(built)
    notebooks = sorted((place / "out/record/notebooks").glob("*.ipynb"))
    assert len(notebooks) == len(list((ROOT / "results/record/notebooks").glob("*.ipynb")))
    assert all(digest in notebook.read_text("utf-8") for notebook in notebooks)
    stages = json.loads((place / "out/record/manifest.json").read_text("utf-8"))["stages"]
    assert {stage["environment"]["container"] for stage in stages.values()} == {digest}
    with built.open("r+b") as file:  # one byte of its content
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    tampered = lucie(place, *run, "true")
    assert tampered.returncode == 2 and "Nothing was started" in " ".join(tampered.stderr.split())


def values(folder: Path) -> dict[str, Any]:
    return {name: entry["value"] for name, entry in json.loads((folder / "values.json").read_text("utf-8")).items()}


@pytest.mark.parametrize("name", ["lucie-train", "lucie"])
def test_post_runs_without_apptainer(name: str, root: subprocess.Popen[str], base: Path, clone: Path) -> None:
    """The fallback: the same section by bubblewrap, in the base as it was unpacked, with the packages of base alone."""
    if name == "lucie" and root.wait() == 0:
        pytest.skip("Apptainer itself runs it, in the tests above")
    if not shutil.which("bwrap"):
        pytest.skip("there is no bwrap: apt-get install bubblewrap")
    path = ROOT / "containers" / f"{name}.def"
    given = images.arguments(path) | {"SYSTEM": "", "GROUPS": "", "WHEELS": ""}
    parts = sections(path)
    shutil.copytree(clone, base / "opt/lucie", ignore=shutil.ignore_patterns("build", ".venv"), dirs_exist_ok=True)
    post, test = (re.sub(r"\{\{ (\w+) \}\}", lambda match: given[match[1]], parts[name]) for name in ("post", "test"))
    enter = ["bwrap", "--bind", base, "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--die-with-parent"]
    for file in ("/etc/resolv.conf", CERTIFICATES):
        enter += ["--ro-bind", file, file]
    enter += ["--unshare-pid", "--clearenv", "--setenv", "PATH", "/usr/sbin:/usr/bin:/sbin:/bin"]
    done = subprocess.run([*enter, "sh", "-c", post], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    listed = {
        file: (base / "opt" / file).read_text("utf-8").splitlines() for file in ("lucie.packages", "lucie.wheels")
    }
    assert any(line.startswith("python3.11\t") for line in listed["lucie.packages"])
    assert f"papermill=={pinned('papermill')}" in listed["lucie.wheels"]
    tested = subprocess.run([*enter, "sh", "-c", test], capture_output=True, text=True)
    if name == "lucie":
        assert "the committed results hold" in tested.stdout, tested.stderr
    else:
        assert tested.returncode and "No module named 'torch'" in tested.stderr, "its own test finds what was left out"


def pinned(package: str) -> str:
    lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith(f"{package}=="))
