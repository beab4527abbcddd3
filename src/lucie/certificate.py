"""A page to sign: what was rerun, with which verdicts, equal to what was published or not, and all digests.

    lucie certificate                 # build/certificate.pdf, of what is in build/
    lucie certificate --published     # of results/: that they were judged again, not that anything was rerun

Who, when and where are left blank: a program cannot certify them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from lucie.compare import DIFFERS, NOT_RECORDED, Comparison, compare_folders
from lucie.errors import UsageError
from lucie.files import sha256, write_atomic
from lucie.manifest import Manifest
from lucie.paper import latex
from lucie.paper.numbers import escape
from lucie.project import Project
from lucie.verify import VERDICTS, judge_whole

COLUMNS = "p{26mm}>{\\raggedright\\arraybackslash}p{132mm}"


def write_certificate(project: Project, results: Path) -> Path:
    """Make build/certificate.pdf of the tiers in ``results``; returns its path.

    Raises UsageError where nothing was rerun, MismatchError for results that are not what their runs made, NoTexError
    and StageError as the report does.
    """
    tiers = [path.parent for path in sorted(results.glob("[!.]*/manifest.json"), reverse=True)]
    if not tiers:
        raise UsageError(f"There is nothing to certify in {project.relative(results)}. First: lucie reproduce")
    folder = project.build / "certificate"
    shutil.rmtree(folder, ignore_errors=True)
    write_atomic(folder / "kind.tex", r"\rerunfalse" if results == project.results else r"\reruntrue")
    parts = [_summary(project, tiers), *(_tier(project, tier) for tier in tiers)]
    write_atomic(folder / "body.tex", "\n\n".join(parts) + "\n")
    shutil.copyfile(project.paper / "certificate.tex", folder / "main.tex")
    latex(folder)
    target = project.build / "certificate.pdf"
    write_atomic(target, (folder / "main.pdf").read_bytes())
    return target


def _summary(project: Project, tiers: list[Path]) -> str:
    commit = project.commit
    changed = ", with uncommitted changes" if commit.dirty else ""
    runs = {entry.commit for tier in tiers for entry in Manifest.load(tier).stages.values()}
    rows = [
        ("commit", rf"\code{{{escape(commit.id)}}}{changed}"),
        ("commits of runs", rf"\code{{{escape(', '.join(sorted(run[:12] for run in runs)))}}}"),
        ("tiers", escape(", ".join(tier.name for tier in tiers))),
        *((name, escape(", ".join(sorted(said)))) for name, said in _environment(tiers).items()),
    ]
    return _table(rows)


def _environment(tiers: list[Path]) -> dict[str, set[str]]:
    """What every stage ran in; facts of several stages side by side."""
    found: dict[str, set[str]] = {}
    for tier in tiers:
        for entry in Manifest.load(tier).stages.values():
            for name in ("python", "platform", "cpu", "blas", "container"):
                found.setdefault(name, set()).add(str(entry.environment.get(name, NOT_RECORDED) or "none"))
    return found


def _tier(project: Project, tier: Path) -> str:
    report = judge_whole(project, tier)
    manifest = Manifest.load(tier)
    counts = " · ".join(f"{report.counts[name]} {name}" for name in VERDICTS if report.counts[name])
    rows = [
        ("stages", escape(", ".join(manifest.stages))),
        ("verdicts", escape(counts).replace("·", r"$\cdot$")),
        ("against results/", _against(project, tier)),
        *((name, rf"\code{{{sha256(tier / name)}}}") for name in ("manifest.json", "values.json")),
        ("lock", rf"\code{{{', '.join(sorted({e.environment['lock'] for e in manifest.stages.values()}))}}}"),
    ]
    return rf"\textbf{{Tier \code{{{escape(tier.name)}}}}}\par\smallskip" + "\n" + _table(rows)


def _against(project: Project, tier: Path) -> str:
    published = project.results / tier.name
    if tier == published:
        return "these are the committed results themselves"
    if not (published / "manifest.json").is_file():
        return "nothing of this tier is published"
    found = compare_folders(project, tier.name, published, tier)
    return escape(_counted(found))


def _counted(found: Comparison) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in found.counts.items() if count)
    which = [number.name for number in found.numbers if number.verdict == DIFFERS]
    return counts + (f" (first: {which[0]})" if which else "")


def _table(rows: list[tuple[str, str]]) -> str:
    body = "\n".join(rf"{escape(name)} & {text} \\" for name, text in rows)
    return (
        rf"\begin{{tabular}}{{@{{}}{COLUMNS}@{{}}}}\toprule" + f"\n{body}\n" + r"\bottomrule\end{tabular}\par\bigskip"
    )
