"""Checkpoints as one file each: whole, or not at all."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest

from lucie.errors import MismatchError, UsageError
from lucie.files import sha256, write_json
from lucie.training.archive import pack, pack_run, unpack
from lucie.training.checkpoints import HIDDEN, MANIFEST, check, finish, read, steps
from lucie.training.run import RUN, RunFile

ABOUT = {
    "recipe": "toy", "key": "k", "seed": 1, "phase": "main", "phase_step": 1, "tokens": 8, "sequence_length": 4,
    "rope_theta": 1e4,
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The checkpoints of three steps."""
    folder = tmp_path / "checkpoints"
    for step in (5, 10, 15):
        for name in ("model/a.safetensors", "optimizer/b.pt"):
            path = folder / HIDDEN / str(step) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{name} {step}".encode() * 1000)
        finish(folder, step, ABOUT)
    write_run(tmp_path, "k")
    return folder


def write_run(folder: Path, key: str) -> None:
    write_json(folder / RUN, RunFile(key=key, recipe={}, seed=1, tokens="").model_dump())


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256(path) for path in folder.rglob("*") if path.is_file()}


def test_all_but_the_last_are_packed_and_come_back_as_they_were(run: Path, tmp_path: Path) -> None:
    before = {step: contents(run / str(step)) for step in (5, 10)}
    made = list(pack_run(run, tmp_path / "packed", keep=1))
    assert [path.name for path in made] == ["5.tar", "10.tar"] and steps(run) == [15]
    assert sorted(path.name for path in (tmp_path / "packed").iterdir()) == ["10.tar", "5.tar"], "nothing else is left"
    for path in made:
        back = unpack(path, tmp_path)
        assert contents(back) == before[int(path.stem)] and check(back) == read(back)
    assert steps(run) == [5, 10, 15]
    digest = sha256(made[0])
    made[0].unlink()
    assert sha256(pack(run / "5", tmp_path / "packed")) == digest, "equal checkpoints have equal archives"
    assert list(pack_run(run, tmp_path / "packed", keep=1)) == [made[1]], "what was unpacked is packed without writing"


def test_a_damaged_checkpoint_is_not_packed_and_stays(run: Path, tmp_path: Path) -> None:
    (run / "5/model/a.safetensors").write_bytes(b"other")
    with pytest.raises(MismatchError, match=r"a.safetensors in .* is not what its manifest says"):
        pack(run / "5", tmp_path)
    (run / "10/model/a.safetensors").unlink()
    with pytest.raises(MismatchError, match=r"a\.safetensors is missing"):
        pack(run / "10", tmp_path)
    assert steps(run) == [5, 10, 15] and not list(tmp_path.glob("[0-9]*.tar"))


def test_an_archive_of_another_checkpoint_is_not_taken_for_this_one(run: Path, tmp_path: Path) -> None:
    packed = pack(run / "5", tmp_path)
    packed.rename(tmp_path / "10.tar")
    with pytest.raises(MismatchError, match="is an archive of another checkpoint"):
        pack(run / "10", tmp_path)
    assert steps(run) == [10, 15]


def test_a_damaged_archive_makes_no_checkpoint(run: Path, tmp_path: Path) -> None:
    packed = pack(run / "5", tmp_path)
    whole = packed.read_bytes()
    packed.write_bytes(whole.replace(b"model/a.safetensors 5", b"model/a.safetensors 6", 40)[:-1])
    with pytest.raises(MismatchError, match="no checkpoint was made of it"):
        unpack(packed, tmp_path)
    packed.write_bytes(whole[: len(whole) // 2])
    with pytest.raises((MismatchError, UsageError)):
        unpack(packed, tmp_path)
    packed.write_bytes(b"no archive")
    with pytest.raises(UsageError, match="is no archive of a checkpoint"):
        unpack(packed, tmp_path)
    assert steps(run) == [10, 15] and not list(run.glob(".*"))
    packed.write_bytes(whole)
    shutil.copytree(run / "10", run / "5")
    with pytest.raises(UsageError, match="is there already"):
        unpack(packed, tmp_path)


def test_an_archive_goes_back_into_its_own_training_only(run: Path, tmp_path: Path) -> None:
    packed = pack(run / "5", tmp_path).rename(tmp_path / "999.tgz")
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(MismatchError, match=r"run\.json is missing"):
        unpack(packed, other)
    write_run(other, "another")
    with pytest.raises(UsageError, match="is of another training than"):
        unpack(packed, other)
    assert [path.name for path in other.iterdir()] == [RUN]
    assert unpack(packed, tmp_path) == run / "5", "by what is in it, not by its name"


def test_what_a_killed_command_left_goes_away(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "5", run / ".packing-5")
    (tmp_path / ".packing-5.tar").write_bytes(b"half")
    list(pack_run(run, tmp_path, keep=1))
    assert not [*run.glob(".*"), *tmp_path.glob(".*")] and steps(run) == [15]


def test_no_file_of_an_archive_leaves_the_folder(run: Path, tmp_path: Path) -> None:
    evil, inside = tmp_path / "5.tar", read(run / "5")
    write_json(tmp_path / MANIFEST, inside.model_dump() | {"files": {"../../outside": "0"}})
    with tarfile.open(evil, "w") as tar:
        tar.add(tmp_path / MANIFEST, MANIFEST)
        tar.addfile(tarfile.TarInfo("../../outside"), io.BytesIO())
    shutil.rmtree(run / "5")
    with pytest.raises(MismatchError, match="outside of the checkpoint"):
        unpack(evil, tmp_path)
    assert not (tmp_path / "outside").exists() and steps(run) == [10, 15]


def test_the_last_checkpoint_stays(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="The last checkpoint is not packed"):
        list(pack_run(run, tmp_path, keep=0))
    assert [path.name for path in pack_run(run, tmp_path, keep=2)] == ["5.tar"]
