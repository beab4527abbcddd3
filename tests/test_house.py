"""House rules: versions in step, notebooks in their form, nothing of one machine in a commit."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lucie.manifest import load_values
from lucie.project import Project
from lucie.tolerance import DIFFERS, EXPLAINED

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import lock  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LONGEST_CELL = 25  # lines


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_environment_yml_has_the_versions_of_the_lock() -> None:
    assert (ROOT / "environment.yml").read_text() == lock.environment(lock.read_lock())
    pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"][-1]["pip"]
    pins = dict(line.split("==") for line in pip if "==" in line)
    assert set(pins) == set(lock.direct())
    assert all(lock.read_lock()[name] == version for name, version in pins.items())


def test_every_direct_dependency_is_locked_and_torch_is_the_one_that_is_meant() -> None:
    assert set(lock.direct()) <= set(lock.read_lock())
    assert lock.read_lock()["torch"] == "2.13.0"
    assert not [name for name in lock.read_lock() if name.startswith("nvidia-") and name != "nvidia-ml-py"]


def test_what_is_installed_is_what_is_locked() -> None:
    from importlib.metadata import distributions

    pins = lock.read_lock()
    wrong = {
        d.name: d.version for d in distributions() if d.version.split("+")[0] != pins.get(lock.plain(d.name), d.version)
    }
    assert wrong == {}


def test_verifying_imports_no_torch_and_no_notebook_machinery() -> None:
    heavy = "('torch', 'papermill', 'matplotlib', 'snakemake')"
    code = f"import sys, lucie.cli, lucie.verify; print([m for m in sys.modules if m in {heavy}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_the_form_of_one(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in code]
    assert code[0]["metadata"]["tags"] == ["parameters"]
    assert all(isinstance(node, ast.AnnAssign) for node in ast.parse(sources[0]).body), "typed parameters only"
    assert all("#" in line for line in sources[0].splitlines()), "each parameter has its comment"
    assert sources[1].startswith("from lucie.results import Results"), "the second cell starts the trace and stamps"
    assert sources[-1] == "results.close()"
    assert not any(cell["outputs"] for cell in code), "sources hold no outputs: nbstripout"
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", cell["id"]) for cell in content["cells"]), "ids that say what it does"
    assert max(len(source.splitlines()) for source in sources) <= LONGEST_CELL, "logic belongs in src"
    assert not any(isinstance(node, ast.FunctionDef | ast.ClassDef) for s in sources for node in ast.walk(ast.parse(s)))
    assert "**En bref.**" in "".join(content["cells"][0]["source"])


def test_every_notebook_is_a_stage_and_every_stage_has_its_notebook(project: Project) -> None:
    from lucie.stages import Stages

    assert {stage.notebook for stage in Stages.load(project).all.values()} == {path.name for path in NOTEBOOKS}


def test_groups_and_sorts_keep_their_order() -> None:
    """Polars orders groups and equal rows by chance unless told not to; then two runs give different tables."""
    files = [*(ROOT / "src").rglob("*.py"), *NOTEBOOKS]
    chance = re.compile(r"\.group_by\((?![^\n]*maintain_order)|\.sort\((?=\\?\"|pl\.)(?![^\n]*maintain_order)")
    found = []
    for path in files:
        lines = path.read_text(encoding="utf-8").splitlines()
        # A call that the formatter broke over lines has its options within the next few.
        found += [
            f"{path.name}, line {number}"
            for number, line in enumerate(lines, start=1)
            if chance.search(line) and "maintain_order" not in "".join(lines[number : number + 6])
        ]
    assert found == []


def test_every_figure_has_alternative_text(project: Project) -> None:
    from lucie.manifest import Manifest

    for entry in Manifest.load(project.results / "record").stages.values():
        for name, shown in entry.shown.items():
            assert shown["kind"] != "figure" or len(shown["alt"]) > 40, name


def test_every_notebook_ends_with_something_to_try() -> None:
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        *_, text, cell, _close = json.loads(path.read_text("utf-8"))["cells"]
        assert (text["id"], cell["id"]) == ("try-text", "try"), path.name


def test_no_commit_holds_a_path_of_one_machine_or_a_big_file() -> None:
    here = re.compile(rb"(?<![\w.])/(work|farm|root|home/\w+|tmp/\w+)/")
    for path in tracked():
        content = path.read_bytes()
        assert len(content) < 3_000_000, path
        if path != Path(__file__):
            assert not here.search(content), f"{path.relative_to(ROOT)} holds a machine's path"
    results = sum(path.stat().st_size for path in (ROOT / "results").rglob("*") if path.is_file())
    assert results < 25_000_000


def test_no_file_of_the_authors_is_among_ours(upstream: Path) -> None:
    from lucie.files import sha256
    from lucie.records.upstream import load_pins

    theirs = {pin.sha256 for pin in load_pins(Project(ROOT)).values()}
    assert not [path for path in tracked() if sha256(path) in theirs]


def test_the_readme_says_what_the_verdicts_say(project: Project) -> None:
    from lucie.verify import verify

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    report = verify(project, "record")
    counts, verdicts = report.counts, {verdict.claim: verdict for verdict in report.verdicts}

    def cells(*claims: str) -> int:
        return sum(sum(verdicts[claim].cells.values()) for claim in claims)

    exact = [verdicts[f"corpus.composition.{kind}.exact"] for kind in ("subsets", "totals")]
    contradictions = sum(1 for verdict in verdicts.values() if verdict.statements)
    undecided = [
        one for one in verdicts.values() if one.verdict == EXPLAINED and one.statements and DIFFERS in one.cells
    ]
    for number in (
        f"{len(undecided)} are",
        f"{contradictions} contradictions",
        f"{counts['reproduced']} reproduced, {counts['within tolerance']} within",
        f"{counts['differs, explained']} differ and are explained, {counts['quoted']} quoted",
        f"all {cells('corpus.composition.subsets', 'corpus.composition.totals')} quantities",
        f"{cells('corpus.ratios.subsets', 'corpus.ratios.totals')} ratios",
        f"{sum(len(verdict.differing) for verdict in exact)} cells differ",
        f"{int(verdicts['pretraining.parameters'].value):,} parameters",
        f"weights of the {cells('mix.weights')} token files",
        f"{cells('pretraining.tokens.main', 'pretraining.tokens.later_phases')} logged steps",
        f"{cells('evaluation.stderr')} standard errors",
        f"{cells('evaluation.tokens.main')} positions",
    ):
        assert number in readme, number


def test_the_readme_s_budget_is_that_of_the_plan(project: Project) -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    values = {name: entry["value"] for name, entry in load_values(project.results / "record").items()}
    plan = {name.removeprefix("scaling.plan."): value for name, value in values.items() if "scaling.plan." in name}
    low, hours, high = (plan[f"fastest_of_64.gpu_hours{bound}"] / 1000 for bound in ("_low", "", "_high"))
    least, most = (plan[f"as_elsewhere.{bound}"] / 1000 for bound in ("least", "most"))
    for said in (
        f"a median error of {100 * values['scaling.model.test.median_error']:.1f} %",
        f"{plan['fastest_of_64.gpus']} H100 would take {hours:.0f} thousand GPU hours ({low:.0f} to {high:.0f})",
        f"in {plan['fastest_of_64.days']:.0f} days, at {100 * plan['fastest_of_64.utilisation']:.0f} % of their peak",
        f"{100 * plan['fastest_of_64.share']:.0f} % of the hours that were used",
        f"it would be {least:.0f} to {most:.0f} thousand",
    ):
        assert said in readme, said
