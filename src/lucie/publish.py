"""build/ replaces results/, after showing what changes."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lucie.errors import MismatchError, UsageError
from lucie.files import write_json
from lucie.manifest import Manifest, StageManifest, load_values, wrong_outputs
from lucie.project import Project
from lucie.stages import Stages
from lucie.verify import judge, judged_files

LIMIT = 25_000_000  # bytes, of results/ in all
RERUN_DIFFERS = ("logs/", "notebooks/")  # hold times or the commit: a rerun changes them, and nothing is meant by it


@dataclass
class Changes:
    """What differs between two folders of a tier."""

    values: list[str] = field(default_factory=list)  # "name: before -> now"
    files: list[str] = field(default_factory=list)  # "added/removed/changed path"

    def __bool__(self) -> bool:
        return bool(self.values or self.files)


def changes(before: Path, now: Path) -> Changes:
    """What replacing ``before`` by ``now`` changes in values, tables and figures, but for what varies anyway."""
    found = Changes()
    old_values, new_values = load_values(before), load_values(now)
    for name in sorted(old_values.keys() | new_values.keys()):
        old, new = (values.get(name, {}).get("value") for values in (old_values, new_values))
        if old != new and not _expected(old_values.get(name), new_values.get(name)):
            found.values.append(f"{name}: {_word(old)} → {_word(new)}")
    old_files, new_files = _outputs(before), _outputs(now)
    for path in sorted(old_files.keys() | new_files.keys()):
        if old_files.get(path) != new_files.get(path):
            verb = "added" if path not in old_files else "removed" if path not in new_files else "changed"
            found.files.append(f"{verb} {path}")
    return found


def _expected(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> bool:
    """Whether two values of one name may differ: both vary, or the new one is where the old one says."""
    if old is None or new is None:
        return False
    low, high = old.get("between", (math.inf, -math.inf))
    return bool(old.get("varies") and new.get("varies")) or (
        isinstance(new["value"], int | float) and low <= new["value"] <= high
    )


def _word(value: object) -> str:
    return "none" if value is None else str(value)


def _outputs(folder: Path) -> dict[str, str]:
    stages = Manifest.load(folder).stages.values()
    varying = {
        path for entry in stages for shown in entry.shown.values() if shown.get("varies") for path in shown["files"]
    }
    return {
        path: "varies" if path in varying else digest
        for entry in stages
        for path, digest in entry.outputs.items()
        if not path.startswith(RERUN_DIFFERS)
    }


def check_publishable(project: Project, tier: str) -> None:
    """Raises UsageError or MismatchError, naming what is missing or wrong, when build/<tier>/ may not be published."""
    folder = project.build / tier
    manifest, published = Manifest.load(folder), Manifest.load(project.results / tier)
    for stage in Stages.load(project).in_tier(tier):
        if stage.id not in manifest.stages:
            raise UsageError(f"build/{tier} lacks stage '{stage.id}'. Run: lucie reproduce --tier {tier}")
        if stage.id in published.stages:
            _check_repeats(tier, stage.id, manifest.stages[stage.id], published.stages[stage.id])
        wrong = wrong_outputs(manifest, stage.id)
        if wrong:
            raise MismatchError(f"build/{tier}/{wrong[0]} was changed after stage '{stage.id}' made it.")
    size = sum(path.stat().st_size for name in _all_outputs(manifest) if (path := folder / name).is_file())
    others = sum(
        path.stat().st_size
        for path in project.results.rglob("*")
        if path.is_file() and project.results / tier not in path.parents
    )
    if size + others > LIMIT:
        raise UsageError(f"results/ would be {size + others:,} bytes; the limit is {LIMIT:,}. Show less.")


def _check_repeats(tier: str, stage: str, made: StageManifest, published: StageManifest) -> None:
    """Raises UsageError where the published results were repeated more often."""
    for name, often in published.ingredients.repeats.items():
        if made.ingredients.repeats.get(name, 0) < often:
            raise UsageError(
                f"Stage '{stage}' was published with {name}={often}, and build/{tier} has less. "
                f"Run: lucie run {stage} --tier {tier} --set {name}={often}"
            )


def publish(project: Project, tier: str) -> None:
    """Replace results/<tier>/ by what build/<tier>/ holds, with fresh verdicts, all at once."""
    check_publishable(project, tier)
    source, target = project.build / tier, project.results / tier
    manifest = Manifest.load(source)
    fresh, old = project.results / f".{tier}.new", project.results / f".{tier}.old"
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    for name in [*_all_outputs(manifest), "values.json"]:
        (fresh / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, fresh / name)
    manifest.folder, manifest.judged = fresh, judged_files(project)
    manifest.save()
    report = judge(project, fresh, tier)
    if report.mismatches:
        shutil.rmtree(fresh)
        raise MismatchError("\n".join(report.mismatches))
    write_json(fresh / "verdicts.json", report.verdicts_json())
    if target.exists():
        target.replace(old)
    fresh.replace(target)
    shutil.rmtree(old, ignore_errors=True)


def _all_outputs(manifest: Manifest) -> list[str]:
    return [name for entry in manifest.stages.values() for name in entry.outputs]
