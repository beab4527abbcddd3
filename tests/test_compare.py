"""`lucie compare`: a planted number and a planted package are found and told apart; two clones give equal values."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Lucie, edit

from lucie.compare import DIFFERS, EQUAL, VARIES, VARIES_MEANS, WITHIN, Comparison, compare, exit_code
from lucie.errors import Exit, MismatchError, UsageError
from lucie.project import Project

Sides = tuple[Path, Path]


@pytest.fixture
def sides(tmp_path: Path, project: Project) -> Sides:
    """The committed results twice, as what two machines made."""
    for name in ("here", "there"):
        shutil.copytree(project.results, tmp_path / name)
    return tmp_path / "here", tmp_path / "there"


def compared(project: Project, sides: Sides) -> dict[str, Comparison]:
    return {one.tier: one for one in compare(project, *map(str, sides))}


def nothing_else(one: Comparison, *parts: str) -> bool:
    return not any(getattr(one, part) for part in {"stages", "made_from", "environment", "packages"} - set(parts))


def test_equal_results_are_equal(project: Project, sides: Sides) -> None:
    found = compared(project, sides)
    assert list(found) == ["mini", "record"]
    assert found["record"].counts == {EQUAL: len(found["record"].numbers), WITHIN: 0, DIFFERS: 0, VARIES: 0}
    assert not any(one.counts[VARIES] for one in found.values()), "what varies and is equal counts as equal"
    assert all(nothing_else(one) and not one.unequal for one in found.values())


def test_a_planted_number_differs_and_nothing_else_does(project: Project, sides: Sides, lucie: Lucie) -> None:
    edit(sides[1] / "record" / "values.json", "6706958336", "6706958337")
    edit(sides[1] / "record" / "tables" / "claire.by_genre.csv", "parliament", "parliaments")
    one = compared(project, sides)["record"]
    assert [(number.name, number.a, number.b) for number in one.unequal] == [
        ("pretraining.parameters", "6706958336", "6706958337"),
        ("claire.by_genre", one.unequal[1].a, one.unequal[1].b),
    ]
    assert "parliaments" in one.unequal[1].b and "line" in one.unequal[1].b
    assert nothing_else(one)
    done = lucie(project, "compare", str(sides[0] / "record"), str(sides[1]), "--json")
    assert done.returncode == Exit.DIFFERS
    tiers = json.loads(done.stdout)["tiers"]
    assert [tier["tier"] for tier in tiers] == ["record"]
    assert tiers[0]["counts"][DIFFERS] == 2 and tiers[0]["packages"] == []


def test_a_planted_package_is_no_number(project: Project, sides: Sides, tmp_path: Path, lucie: Lucie) -> None:
    path = sides[1] / "record" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for entry in manifest["stages"].values():
        entry["environment"]["packages"]["polars"] = "9.9.9"
        entry["environment"] |= {"container": "sha256:c0ffee", "cpu": "Another CPU", "blas": "mkl 1"}
    path.write_text(json.dumps(manifest), encoding="utf-8")
    one = compared(project, sides)["record"]
    assert [(entry.what, entry.b) for entry in one.packages] == [("polars", "9.9.9")]
    planted = {"container": "sha256:c0ffee", "cpu": "Another CPU", "blas": "mkl 1"}
    assert {entry.what: entry.b for entry in one.environment} == planted
    assert nothing_else(one, "packages", "environment") and not one.unequal
    page = tmp_path / "page.html"
    done = lucie(project, "compare", *map(str, sides), "--html", str(page))
    assert done.returncode == Exit.HELD
    assert "polars: " in done.stdout and "Another CPU" in done.stdout
    text = page.read_text(encoding="utf-8")
    assert "9.9.9" in text and "No number differs." in text and "href=" not in text and "src=" not in text


def planted(value: float | int, **fields: object) -> Callable[[dict[str, object]], None]:
    return lambda entry: entry.update({"value": value, **fields})


@pytest.mark.parametrize(
    ("tier", "name", "plant", "verdict"),
    [
        ("record", "claire.debates.weight", planted(1.7233705022938543), WITHIN),  # the last bit
        ("record", "claire.debates.weight", planted(1.7233706), DIFFERS),
        ("record", "claire.debates.words", planted(402009), DIFFERS),
        ("record", "pretraining.samples", planted(762145000), DIFFERS),
        ("mini", "pretraining.again.loss.main", planted(5.6), WITHIN),  # in the interval over seeds
        ("mini", "pretraining.again.loss.main", planted(9.9), DIFFERS),
        ("mini", "pretraining.again.minutes", planted(99.0), VARIES),
    ],
)
def test_a_number_is_judged_by_the_tolerance_that_is_its_own(
    project: Project, sides: Sides, tier: str, name: str, plant: Callable[[dict[str, object]], None], verdict: str
) -> None:
    path = sides[1] / tier / "values.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    plant(values[name])
    path.write_text(json.dumps(values), encoding="utf-8")
    one = compared(project, sides)[tier]
    assert next(number.verdict for number in one.numbers if number.name == name) == verdict
    assert exit_code([one]) == (Exit.DIFFERS if verdict == DIFFERS else Exit.HELD)


def test_a_stage_that_one_side_did_not_run_is_named_once(project: Project, sides: Sides) -> None:
    path = sides[1] / "record" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    del manifest["stages"]["claire"]
    path.write_text(json.dumps(manifest), encoding="utf-8")
    one = compared(project, sides)["record"]
    assert [(entry.what, entry.a, entry.b) for entry in one.stages] == [("claire", "ran", "not there")]
    assert not one.unequal


def test_commits_are_compared_and_what_is_neither_is_named(copy: Project, lucie: Lucie) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", copy.root, *who, *arguments], check=True, capture_output=True)

    git("init")
    git("add", "results")
    git("commit", "-m", "first")
    edit(copy.results / "record" / "values.json", "6706958336", "6706958337")
    git("commit", "-am", "second")
    (one,) = [one for one in compare(copy, "HEAD~1", "HEAD") if one.tier == "record"]
    assert [number.name for number in one.unequal] == ["pretraining.parameters"]
    assert lucie(copy, "compare", "HEAD", "results").returncode == Exit.HELD
    with pytest.raises(UsageError, match=f"'no-such' is no folder in .* nor {copy.root}, and no commit that holds"):
        compare(copy, "no-such", "HEAD")
    with pytest.raises(UsageError, match=r"there is no manifest\.json in it"):
        compare(copy, str(copy.paper), "HEAD")


def test_what_varies_is_listed_apart_and_said_once(
    project: Project, sides: Sides, tmp_path: Path, lucie: Lucie
) -> None:
    manifest = json.loads((sides[0] / "mini" / "manifest.json").read_text(encoding="utf-8"))
    shown = {name: about for entry in manifest["stages"].values() for name, about in entry["shown"].items()}
    table = next(name for name, about in shown.items() if about["kind"] == "table" and about.get("varies"))
    with (sides[1] / "mini" / "tables" / f"{table}.csv").open("a", encoding="utf-8") as file:
        file.write("9.75\n")
    path = sides[1] / "mini" / "values.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    values["pretraining.again.minutes"]["value"] = 99.75
    path.write_text(json.dumps(values), encoding="utf-8")
    page = tmp_path / "page.html"
    text = lucie(project, "compare", *map(str, sides), "--html", str(page))
    content = json.loads(lucie(project, "compare", *map(str, sides), "--json").stdout)
    assert text.returncode == Exit.HELD
    mini = next(tier for tier in content["tiers"] if tier["tier"] == "mini")
    assert [number["name"] for number in mini["varying"]] == ["pretraining.again.minutes", table]
    assert mini["numbers"] == [] and mini["counts"][VARIES] == 2
    assert content["words"][VARIES] == VARIES_MEANS
    for said in (text.stdout, page.read_text(encoding="utf-8")):
        assert "99.75" in said and table in said and said.count("it depends on the machine or on chance") == 1


def test_a_tier_that_one_side_lacks_differs_unless_a_side_is_one_tier(
    project: Project, sides: Sides, tmp_path: Path, lucie: Lucie
) -> None:
    shutil.rmtree(sides[1] / "record")
    found = compared(project, sides)
    assert (found["record"].only, found["mini"].only) == (str(sides[0]), "")
    assert exit_code(list(found.values())) == Exit.DIFFERS
    page = tmp_path / "page.html"
    done = lucie(project, "compare", *map(str, reversed(sides)), "--html", str(page))
    assert done.returncode == Exit.DIFFERS
    assert f"tier record  only {sides[0]} has it" in " ".join(done.stdout.split("\n"))
    assert f"Only <code>{sides[0]}</code> has this tier." in page.read_text(encoding="utf-8")
    (one,) = compare(project, str(sides[0]), str(sides[1] / "mini"))
    assert one.tier == "mini" and exit_code([one]) == Exit.HELD


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(
    ("content", "says"), [(None, "is missing"), (b"", "is an empty table"), (b"\xff", "is not a table")]
)
def test_a_spoiled_table_is_named(project: Project, sides: Sides, side: int, content: bytes | None, says: str) -> None:
    path = sides[side] / "record" / "tables" / "claire.by_genre.csv"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MismatchError, match=f"{path} {says}"):
        compared(project, sides)


def test_a_relative_folder_is_looked_for_here_and_then_in_the_project(
    project: Project, sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sides[0].parent)
    edit(sides[1] / "record" / "values.json", "6706958336", "6706958337")
    found = {one.tier: one for one in compare(project, "results/record", "there")}
    assert [number.name for number in found["record"].unequal] == ["pretraining.parameters"]
