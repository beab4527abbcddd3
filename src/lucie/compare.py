"""Compares two sets of results, number by number, and sets apart what they were made from and ran in.

    lucie compare build/mini results          # a folder, and the tier of the same name
    lucie compare HEAD~5 HEAD --json          # results/ of two commits

A number is *equal*, *within tolerance* or *differs*; one that only one side has differs too, unless that side alone ran
its whole stage: then the stage is named. Values and tables that
vary from machine to machine (times, speeds) are counted and never judged. Where a claim says how near a rerun must
come, its tolerance holds; elsewhere whole numbers and words must be equal, and other numbers to nine digits, since the
same formula may end in other bits on another processor.
"""

from __future__ import annotations

import csv
import subprocess
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from lucie.claims import Committed, Precision, Tolerance, Training, load_all
from lucie.errors import Exit, UsageError
from lucie.manifest import Ingredients, Manifest, load_values
from lucie.project import Project
from lucie.tolerance import HELD, REPRODUCED
from lucie.tolerance import compare as compare_numbers

EQUAL, WITHIN, DIFFERS, VARIES = "equal", "within tolerance", "differs", "varies"
LAST_BITS = Precision(kind="precision", relative=1e-9)
NOT_RECORDED = "not recorded"
SHOWN = 3  # differing cells of a table

Values = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Number:
    """A value, or a table as a whole, on both sides."""

    name: str
    stage: str
    verdict: str
    a: str
    b: str


@dataclass(frozen=True)
class Difference:
    """Something on both sides that is no result: a package's version, an input's sha256, a processor."""

    what: str
    a: str
    b: str


@dataclass
class Comparison:
    """One tier on both sides."""

    tier: str
    numbers: list[Number] = field(default_factory=list)
    stages: list[Difference] = field(default_factory=list)  # that only one side ran
    made_from: list[Difference] = field(default_factory=list)  # inputs, code, parameters
    environment: list[Difference] = field(default_factory=list)  # machine, Python, container
    packages: list[Difference] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        found = Counter(number.verdict for number in self.numbers)
        return {name: found[name] for name in (EQUAL, WITHIN, DIFFERS, VARIES)}

    @property
    def unequal(self) -> list[Number]:
        return [number for number in self.numbers if number.verdict in (WITHIN, DIFFERS)]

    def to_json(self) -> dict[str, Any]:
        """Counts, the numbers that are not equal, and every other difference."""
        others = {name: [asdict(entry) for entry in getattr(self, name)] for name in OTHERS}
        return {
            "tier": self.tier,
            "counts": self.counts,
            "numbers": [asdict(number) for number in self.unequal],
            **others,
        }


OTHERS = {
    "stages": "only one side has these stages",
    "made_from": "made from other inputs, code or parameters",
    "environment": "ran elsewhere",
    "packages": "with other packages",
}


def exit_code(found: list[Comparison]) -> Exit:
    """1 when a number differs, whatever the rest."""
    return Exit.DIFFERS if any(comparison.counts[DIFFERS] for comparison in found) else Exit.HELD


def compare(project: Project, a: str, b: str) -> list[Comparison]:
    """Compare each tier that both sides have. A side is a folder of results, of one tier's results, or a commit.

    Raises UsageError for a side that is none of these, or when no tier is on both.
    """
    with ExitStack() as opened:
        one, other = (opened.enter_context(_side(project, name)) for name in (a, b))
        both = [tier for tier in one if tier in other]
        if not both:
            raise UsageError(
                f"'{a}' has the tiers {', '.join(one)} and '{b}' has {', '.join(other)}: there is nothing to compare."
            )
        return [compare_folders(project, tier, one[tier], other[tier]) for tier in both]


@contextmanager
def _side(project: Project, name: str) -> Iterator[dict[str, Path]]:
    """The folders of a side's tiers, by tier."""
    path = Path(name)
    if path.is_dir():
        yield _tiers(path, name)
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "results.tar"
        command = ["git", "-C", str(project.root), "archive", "--output", str(archive), name, "results"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise UsageError(
                f"'{name}' is no folder, and no commit that holds results/: {done.stderr.strip().splitlines()[-1]}"
            )
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        yield _tiers(Path(folder) / "results", name)


def _tiers(folder: Path, name: str) -> dict[str, Path]:
    manifests = [folder / "manifest.json", *sorted(folder.glob("[!.]*/manifest.json"))]
    found = {_tier_of(path.parent): path.parent for path in manifests if path.is_file()}
    if not found:
        raise UsageError(f"'{name}' holds no results: there is no manifest.json in it, nor in a folder of it.")
    return found


def _tier_of(folder: Path) -> str:
    entry = next(iter(Manifest.load(folder).stages.values()), None)
    if entry is None:
        raise UsageError(f"{folder}/manifest.json lists no stage. Run one with: lucie reproduce")
    return str(entry.ingredients.parameters["tier"])


def compare_folders(project: Project, tier: str, a: Path, b: Path) -> Comparison:
    """Compare two folders of one tier."""
    tolerances = {
        claim.stage: claim.tolerance
        for claim in load_all(project)
        if isinstance(claim, Committed) and claim.tier == tier
    }
    found = Comparison(tier)
    one, other = Manifest.load(a), Manifest.load(b)
    ran_a, ran_b = (dict.fromkeys(side.stages, "ran") for side in (one, other))
    found.stages = _differences(ran_a, ran_b, missing="not there")
    both = one.stages.keys() & other.stages.keys()
    for side in (one, other):
        side.stages = {name: entry for name, entry in side.stages.items() if name in both}
    values_a, values_b = (_values_of(folder, both) for folder in (a, b))
    for name in sorted(values_a.keys() | values_b.keys()):
        stage = (values_a.get(name) or values_b[name])["stage"]
        found.numbers.append(_value(name, stage, values_a, values_b, tolerances.get(stage, LAST_BITS)))
    found.numbers += _tables(one, other, tolerances)
    found.made_from = _ingredients(one, other)
    found.environment, found.packages = _environments(one, other)
    return found


def _values_of(folder: Path, stages: Set[str]) -> Values:
    return {name: value for name, value in load_values(folder).items() if value["stage"] in stages}


def _value(name: str, stage: str, a: Values, b: Values, tolerance: Tolerance) -> Number:
    if name not in a or name not in b:
        return Number(name, stage, DIFFERS, *(str(side[name]["value"]) if name in side else "none" for side in (a, b)))
    one, other = a[name]["value"], b[name]["value"]
    if a[name].get("varies") and b[name].get("varies"):
        verdict = VARIES
    elif isinstance(one, int) and isinstance(other, int):
        verdict = EQUAL if one == other else _verdict(str(one), str(other), _strict(tolerance))
    else:
        verdict = _verdict(str(one), str(other), tolerance)
    between = a[name].get("between") or b[name].get("between")
    if verdict == DIFFERS and between and isinstance(tolerance, Training):
        verdict = WITHIN if all(between[0] <= number <= between[1] for number in (one, other)) else DIFFERS
    return Number(name, stage, verdict, str(one), str(other))


def _strict(tolerance: Tolerance) -> Tolerance:
    """Whole numbers get no allowance for last bits."""
    return Precision(kind="precision") if tolerance is LAST_BITS else tolerance


def _verdict(a: str, b: str, tolerance: Tolerance) -> str:
    found = compare_numbers("", a, b, 1, tolerance).verdict
    return EQUAL if found == REPRODUCED else WITHIN if found in HELD else DIFFERS


def _tables(a: Manifest, b: Manifest, tolerances: Mapping[str, Tolerance]) -> Iterator[Number]:
    """Each table as one number: how many of its cells are as on the other side."""
    shown = [
        {name: (stage, about) for stage, entry in side.stages.items() for name, about in entry.shown.items()}
        for side in (a, b)
    ]
    names = sorted(name for name in shown[0].keys() | shown[1].keys())
    for name in names:
        stage, about = shown[0].get(name) or shown[1][name]
        if about["kind"] != "table":
            continue
        if name not in shown[0] or name not in shown[1]:
            yield Number(name, stage, DIFFERS, *("a table" if name in side else "none" for side in shown))
            continue
        verdict, one, other = _table(a.folder, b.folder, about["files"][0], tolerances.get(stage, LAST_BITS))
        loose = about.get("varies") or isinstance(tolerances.get(stage), Training)
        yield Number(name, stage, VARIES if verdict == DIFFERS and loose else verdict, one, other)


def _table(a: Path, b: Path, file: str, tolerance: Tolerance) -> tuple[str, str, str]:
    """The verdict on a table, and its first cells that differ on both sides."""
    rows_a, rows_b = (list(csv.reader((folder / file).open(encoding="utf-8", newline=""))) for folder in (a, b))
    if rows_a == rows_b:
        return EQUAL, "", ""
    header = rows_a[0]
    off: list[tuple[str, str, str]] = []
    empty: list[str] = []
    for line, (one, other) in enumerate(zip_longest(rows_a, rows_b, fillvalue=empty), start=1):
        for place, (x, y) in enumerate(zip_longest(one, other, fillvalue="none")):
            if x != y and _verdict(x, y, tolerance) == DIFFERS:
                off.append((f"line {line}, {header[place] if place < len(header) else place + 1}", x, y))
    if not off:
        return WITHIN, "", ""
    more = f" and {len(off) - SHOWN} more" if len(off) > SHOWN else ""
    sides = [", ".join(f"{cell[0]}: {cell[side]}" for cell in off[:SHOWN]) + more for side in (1, 2)]
    return DIFFERS, sides[0], sides[1]


def _ingredients(a: Manifest, b: Manifest) -> list[Difference]:
    sides: list[dict[str, str]] = [{}, {}]
    for side, manifest in zip(sides, (a, b), strict=True):
        for stage, entry in manifest.stages.items():
            side |= _flat(stage, entry.ingredients)
    return _differences(sides[0], sides[1], missing="none")


def _flat(stage: str, made_from: Ingredients) -> dict[str, str]:
    files = {**made_from.notebook, **made_from.code, **made_from.inputs}
    parameters = {**made_from.parameters, **made_from.repeats}
    return {**files, **{f"{stage}: {name}": str(value) for name, value in parameters.items()}}


def _environments(a: Manifest, b: Manifest) -> tuple[list[Difference], list[Difference]]:
    facts: list[dict[str, str]] = []
    packages: list[dict[str, str]] = []
    for manifest in (a, b):
        found: dict[str, set[str]] = {}
        versions: dict[str, set[str]] = {}
        for entry in manifest.stages.values():
            for name, fact in entry.environment.items():
                if name != "packages":
                    found.setdefault(name, set()).add("none" if fact is None else str(fact))
            for name, version in entry.environment["packages"].items():
                versions.setdefault(name, set()).add(version)
        facts.append({name: ", ".join(sorted(said)) for name, said in found.items()})
        packages.append({name: ", ".join(sorted(said)) for name, said in versions.items()})
    return (
        _differences(facts[0], facts[1], missing=NOT_RECORDED),
        _differences(packages[0], packages[1], missing="not used"),
    )


def _differences(a: Mapping[str, str], b: Mapping[str, str], missing: str) -> list[Difference]:
    return [
        Difference(name, a.get(name, missing), b.get(name, missing))
        for name in sorted(a.keys() | b.keys())
        if a.get(name) != b.get(name)
    ]
