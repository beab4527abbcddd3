"""Judges what is committed in results/ without running anything: every claim, every manifest, every file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lucie.claims import Unjudged, load_all
from lucie.errors import Exit, MismatchError, UsageError
from lucie.files import sha256, sha256_of, write_json
from lucie.inputs import input_file
from lucie.judge import Judge
from lucie.manifest import Manifest, changed_parts, ingredients, load_values, wrong_outputs
from lucie.notebook import RECORD
from lucie.project import Project
from lucie.records import KINDS
from lucie.records.build import index_problems
from lucie.stages import Stages, load_tiers
from lucie.tolerance import DIFFERS
from lucie.verdict import Verdict

VERDICTS = ("reproduced", "within tolerance", "differs, explained", "quoted", "not attempted", "differs")
OWN_FILES = {"manifest.json", "values.json", "verdicts.json"}


@dataclass
class Report:
    """What became of a tier."""

    tier: str
    verdicts: list[Verdict] = field(default_factory=list)
    mismatches: list[str] = field(default_factory=list)  # sentences; each names a file
    behind: dict[str, list[str]] = field(default_factory=dict)  # stage -> what changed since it ran

    @property
    def counts(self) -> dict[str, int]:
        found = Counter(verdict.verdict for verdict in self.verdicts)
        return {name: found[name] for name in VERDICTS}

    @property
    def exit_code(self) -> Exit:
        if self.mismatches:
            return Exit.MISMATCH
        return Exit.DIFFERS if self.counts[DIFFERS] else Exit.HELD

    def verdicts_json(self) -> dict[str, Any]:
        """What verdicts.json holds."""
        verdicts = [verdict.to_json() for verdict in self.verdicts]
        return {"tier": self.tier, "verdicts": verdicts, "counts": self.counts}

    def to_json(self) -> dict[str, Any]:
        return {**self.verdicts_json(), "mismatches": self.mismatches, "behind": self.behind}


def together(reports: list[Report]) -> Report:
    """One report of several tiers; a stage that is behind is named with its tier, except in `record`."""
    if len(reports) == 1:
        return reports[0]
    found = Report(", ".join(report.tier for report in reports))
    for report in reports:
        found.verdicts += report.verdicts
        found.mismatches += report.mismatches
        prefix = "" if report.tier == RECORD else f"{report.tier}/"
        found.behind |= {f"{prefix}{stage}": changed for stage, changed in report.behind.items()}
    found.mismatches = list(dict.fromkeys(found.mismatches))
    return found


def judge(project: Project, folder: Path, tier: str) -> Report:
    """The verdicts on every claim of ``tier``, from the results in ``folder``."""
    report, judging = Report(tier), Judge(project, folder)
    stages = Stages.load(project)
    for claim in load_all(project):
        if claim.tier != tier:
            continue
        if not isinstance(claim, Unjudged) and claim.stage:
            stages.get(claim.stage)
        try:
            report.verdicts.append(judging.verdict(claim))
        except MismatchError as error:
            report.mismatches.append(str(error))
    return report


def judge_again(project: Project, tier: str) -> Report:
    """The verdicts on what build/<tier>/ holds; those of the last time where nothing they depend on has changed."""
    folder = project.build / tier
    code = [sha256(path) for path in sorted(Path(__file__).parent.glob("*.py"))]
    committed = project.results / tier / "values.json"
    against = [judged_files(project), sha256(committed) if committed.is_file() else ""]
    key = sha256_of([sha256(folder / "manifest.json"), against, code])
    kept = folder / ".verdicts.json"
    if kept.is_file():
        content = json.loads(kept.read_text(encoding="utf-8"))
        if content["key"] == key:
            return Report(tier, [Verdict(**entry) for entry in content["verdicts"]], content["mismatches"])
    report = judge(project, folder, tier)
    write_json(kept, {"key": key, **report.verdicts_json(), "mismatches": report.mismatches})
    return report


def judge_whole(project: Project, folder: Path) -> Report:
    """The verdicts on a tier's folder in build/ or results/, for what is made of it.

    Raises MismatchError where its files are not those that the runs made, or a claim lacks its result.
    """
    if folder.parent == project.results:
        report = verify(project, folder.name)
    else:
        report = judge(project, folder, folder.name)
        report.mismatches += _wrong_outputs(project, Manifest.load(folder))
    if report.mismatches:
        raise MismatchError("\n".join(dict.fromkeys(report.mismatches)))
    return report


def unpublished(project: Project) -> list[Report]:
    """A mismatch for each tier that should be in results/ and is not."""
    names = [name for name, tier in load_tiers(project).items() if tier.by_default]
    return [
        Report(name, mismatches=[f"results/{name}/manifest.json is missing. Restore results/{name} from git."])
        for name in names
        if not (project.results / name / "manifest.json").is_file()
    ]


def verify(project: Project, tier: str) -> Report:
    """Judge results/<tier>/ and check every file in it and every input it names."""
    folder = project.results / tier
    manifest = Manifest.load(folder)
    if not manifest.stages:
        raise UsageError(f"There are no results in results/{tier}. Make them with: lucie reproduce --tier {tier}")
    report = judge(project, folder, tier)
    report.mismatches += index_problems(project)
    report.mismatches += _changed_files(project, manifest)
    report.mismatches += _unlisted(project, manifest)
    report.mismatches += _other_verdicts(project, folder, report)
    for stage in Stages.load(project).in_tier(tier):
        if stage.id not in manifest.stages:
            report.mismatches.append(f"results/{tier} lacks stage '{stage.id}'. Run it, then lucie publish.")
            continue
        now, then = ingredients(project, stage, tier, folder=folder), manifest.stages[stage.id].ingredients
        changed = [name for name in changed_parts(then, now) if name not in then.inputs]
        if changed:
            report.behind[stage.id] = changed
    report.mismatches = list(dict.fromkeys(report.mismatches))
    return report


def judged_files(project: Project) -> dict[str, str]:
    """The sha256 of everything that verdicts are judged against: claims and records."""
    files = [*(project.paper / "claims").glob("*.yaml")]
    files += [path for kind in KINDS for path in (project.records / kind).glob("*.*")]
    return _digests(project, files)


def _digests(project: Project, files: Iterable[Path]) -> dict[str, str]:
    return {project.relative(path): sha256(path) for path in sorted(files)}


def _changed_files(project: Project, manifest: Manifest) -> list[str]:
    problems = _wrong_outputs(project, manifest)
    for name, entry in manifest.stages.items():
        problems += [
            f"{called} is not what stage '{name}' read" if path.is_file() else f"{called} is missing"
            for called, digest in entry.ingredients.inputs.items()
            for path in [input_file(project, manifest.folder, called)]
            if not path.is_file() or sha256(path) != digest
        ]
    now = judged_files(project)
    problems += [
        f"{path} changed since the verdicts were published. Judge and publish again with: lucie publish"
        for path in sorted(manifest.judged.keys() | now.keys())
        if manifest.judged.get(path) != now.get(path)
    ]
    return problems


def _wrong_outputs(project: Project, manifest: Manifest) -> list[str]:
    where = project.relative(manifest.folder)
    return [
        f"{where}/{wrong} is not what stage '{name}' made"
        for name in manifest.stages
        for wrong in wrong_outputs(manifest, name)
    ]


def _unlisted(project: Project, manifest: Manifest) -> list[str]:
    listed = {name for entry in manifest.stages.values() for name in entry.outputs} | OWN_FILES
    found = {path.relative_to(manifest.folder).as_posix() for path in manifest.folder.rglob("*") if path.is_file()}
    where = project.relative(manifest.folder)
    extra = [f"{where}/{name} is in no manifest" for name in sorted(found - listed) if name != ".lock"]
    names = {name for entry in manifest.stages.values() for name in entry.values}
    extra += [f"{where}/values.json, {name} is in no manifest" for name in load_values(manifest.folder).keys() - names]
    return extra


def _other_verdicts(project: Project, folder: Path, report: Report) -> list[str]:
    path = folder / "verdicts.json"
    where = project.relative(path)
    if not path.is_file():
        return [f"{where} is missing"]
    try:
        published = {entry["claim"]: entry for entry in json.loads(path.read_text(encoding="utf-8"))["verdicts"]}
    except (ValueError, KeyError, TypeError) as error:
        return [f"{where} is not a list of verdicts: {error}"]
    other = [
        verdict.claim
        for verdict in report.verdicts
        if json.loads(json.dumps(verdict.to_json())) != published.get(verdict.claim)
    ]
    if not other:
        return []
    more = f" and {len(other) - 1} more" if len(other) > 1 else ""
    return [f"{where} does not say what judging says of claim '{other[0]}'{more}"]
