"""Makes the report: every number a macro made from a value, every table and figure generated."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from lucie.config import read_yaml
from lucie.errors import LucieError, StageError, UsageError
from lucie.files import write_atomic
from lucie.manifest import Manifest, load_values
from lucie.notebook import RECORD
from lucie.paper import tables, verdicts
from lucie.paper.links import Places, cell_links
from lucie.paper.numbers import Numbers
from lucie.project import Project
from lucie.verdict import Verdict
from lucie.verify import judge_whole

LOG_LINES = 12
TEX_ERROR = re.compile(r"!|\S+\.tex:\d+: ")


class NoTexError(LucieError):
    """TeX is not installed."""


def build_report(project: Project, results: Path) -> Path:
    """Make build/report.pdf from the tiers' folders in ``results`` (build/ or results/); returns its path."""
    target = project.build / "report.pdf"
    write_atomic(target, make_pdf(project, results))
    return target


def make_pdf(project: Project, results: Path, places: Places | None = None) -> bytes:
    """The report. With ``places`` its numbers, tables and figures link to pages beside it; else to its own index.

    A tier that is only published is taken as it was published.

    Raises NoTexError where there is no TeX, MismatchError for results that are not what their runs made, UsageError for
    a number, table or figure that they lack, and StageError with TeX's own words when it fails.
    """
    _require_tex()
    found = {path.parent.name: path.parent for place in (project.results, results) for path in _manifests(place)}
    if not found:
        raise UsageError(f"There are no results in {project.relative(results)}. Make some with: lucie reproduce")
    tiers = [found[name] for name in sorted(found, key=lambda name: (name != RECORD, name))]
    folder = project.build / "paper"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(project.paper, folder, ignore=shutil.ignore_patterns("claims", "certificate.tex"))
    _generate(project, tiers, folder, places)
    latex(folder)
    return (folder / "main.pdf").read_bytes()


def _manifests(place: Path) -> list[Path]:
    return sorted(place.glob("[!.]*/manifest.json"))


def _generate(project: Project, tiers: list[Path], folder: Path, places: Places | None) -> None:
    values: dict[str, dict[str, Any]] = {}
    judged: list[Verdict] = []
    for tier in tiers:
        values |= {f"{_prefix(tier)}{name}": value for name, value in load_values(tier).items()}
        judged += judge_whole(project, tier).verdicts
    numbers = Numbers(values, {verdict.claim: verdict for verdict in judged}, _facts(project, tiers), places)
    sources = [folder / "main.tex", *folder.glob("sections/*.tex")]
    write_atomic(folder / "numbers.tex", numbers.macros(sources))
    write_atomic(folder / "values.tex", tables.values_table(numbers.used(sources), _notebooks(tiers), places))
    write_atomic(folder / "verdicts.tex", verdicts.verdicts_table(judged, places))
    write_atomic(folder / "discrepancies.tex", verdicts.discrepancies(judged, places))
    write_atomic(folder / "unattempted.tex", verdicts.unattempted(judged, places))
    write_atomic(
        folder / "items.tex", verdicts.items_table(judged, read_yaml(folder / "items.yaml"), _notebooks(tiers))
    )
    cells = dict(tables.sources(folder / "tables.yaml", tiers))
    for name, text in tables.generate(folder / "tables.yaml", tiers).items():
        write_atomic(folder / "generated" / f"{name}.tex", text)
    for tier in tiers:
        for figure in tier.glob("figures/*.pdf"):
            name = f"{_prefix(tier)}{figure.stem}".replace(":", "-")
            shutil.copyfile(figure, folder / "generated" / f"{name}.pdf")
            cells[name] = (tier.name, figure.stem)
    write_atomic(folder / "cells.tex", cell_links(cells, places))


def _prefix(tier: Path) -> str:
    """What the text puts before the names of a tier's values: \\val{mini:corpus.again.documents}."""
    return "" if tier.name == RECORD else f"{tier.name}:"


def _facts(project: Project, tiers: list[Path]) -> dict[str, str]:
    """Facts of the build itself that the report may state."""
    commits = {entry.commit for tier in tiers for entry in Manifest.load(tier).stages.values()}
    return {
        "commit": " ".join(sorted(commit[:12] for commit in commits)),
        "tiers": ", ".join(tier.name + (" (as published)" if tier.parent == project.results else "") for tier in tiers),
    }


def _notebooks(tiers: list[Path]) -> dict[str, str]:
    """Stage -> the file name of its notebook."""
    return {
        stage: Path(next(iter(entry.ingredients.notebook))).name
        for tier in tiers
        for stage, entry in Manifest.load(tier).stages.items()
    }


def _require_tex() -> None:
    if not (shutil.which("latexmk") and shutil.which("pdflatex")):
        raise NoTexError(
            "There is no TeX here (latexmk, pdflatex), so the PDF was not built. On Debian: apt-get install "
            "texlive-latex-recommended latexmk lmodern; elsewhere install TeX Live. Then: lucie report"
        )


def latex(folder: Path) -> None:
    """Make main.pdf of main.tex in ``folder``, both in build/. Raises NoTexError, and StageError with what TeX says."""
    _require_tex()
    command = ["latexmk", "-pdf", "-interaction=nonstopmode", "-halt-on-error", "-file-line-error", "main.tex"]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1", "max_print_line": "200"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", env=environment)
    if done.returncode:
        lines = done.stdout.splitlines()
        first = next((i for i, line in enumerate(lines) if TEX_ERROR.match(line)), -LOG_LINES)
        said = "\n".join(lines[first:][:LOG_LINES])
        raise StageError(f"TeX failed; its log is build/{folder.name}/main.log. It said:\n{said}")
