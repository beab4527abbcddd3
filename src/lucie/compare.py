"""Compares two sets of results, number by number, and sets apart what they were made from and ran in.

    lucie compare build/mini results          # a folder, and the tier of the same name
    lucie compare HEAD~5 HEAD --json          # results/ of two commits

A number is *equal*, *within tolerance* or *differs*; one that only one side has differs too, unless that side alone ran
its whole stage: then the stage is named. A tier that only one of two sets has differs as a whole. Values and tables
that depend on the machine or on chance (times, speeds) are listed apart where they are not equal, and never judged.
Where a claim says how near a rerun must come, its tolerance holds; elsewhere whole numbers and words must be equal, and
other numbers to nine digits, since the same formula may end in other bits on another processor.
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
from lucie.errors import Exit, MismatchError, UsageError
from lucie.manifest import RESTORE, Ingredients, Manifest, load_values
from lucie.project import Project
from lucie.tolerance import HELD, REPRODUCED
from lucie.tolerance import compare as compare_numbers

EQUAL, WITHIN, DIFFERS, VARIES = "equal", "within tolerance", "differs", "varies"
VARIES_MEANS = "varies: not equal, but it depends on the machine or on chance (times, speeds), so nothing judges it"
LAST_BITS = Precision(kind="precision", relative=1e-9)
NOT_RECORDED = "not recorded"
ANEW = "Restore it from git or rerun."
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
    only: str = ""  # the side that alone has it, where there is nothing to compare with
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
        """The numbers that are not equal, but for those that vary anyway."""
        return [number for number in self.numbers if number.verdict in (WITHIN, DIFFERS)]

    @property
    def varying(self) -> list[Number]:
        """The numbers that are not equal, and that nothing judges."""
        return [number for number in self.numbers if number.verdict == VARIES]

    @property
    def differs(self) -> bool:
        return bool(self.only or self.counts[DIFFERS])

    def to_json(self) -> dict[str, Any]:
        """Counts, the numbers that are not equal, those that vary, and every other difference."""
        others = {name: [asdict(entry) for entry in getattr(self, name)] for name in OTHERS}
        return {
            "tier": self.tier,
            "only": self.only,
            "counts": self.counts,
            "numbers": [asdict(number) for number in self.unequal],
            "varying": [asdict(number) for number in self.varying],
            **others,
        }


OTHERS = {
    "stages": "only one side has these stages",
    "made_from": "made from other inputs, code or parameters",
    "environment": "ran elsewhere",
    "packages": "with other packages",
}


def exit_code(found: list[Comparison]) -> Exit:
    """1 when a number differs or a side lacks a tier, whatever the rest."""
    return Exit.DIFFERS if any(comparison.differs for comparison in found) else Exit.HELD


def compare(project: Project, a: str, b: str) -> list[Comparison]:
    """Compare the tiers of both sides. A side is a folder of results, of one tier's results, or a commit.

    Where a side is one tier's folder, only that tier is compared. Raises UsageError for a side that is none of these,
    or when no tier is on both, and MismatchError for a side whose files are not what its manifest lists.
    """
    with ExitStack() as opened:
        one, other = (opened.enter_context(_side(project, name)) for name in (a, b))
        if not one.tiers.keys() & other.tiers.keys():
            raise UsageError(f"{one.has}, {other.has}: there is nothing to compare.")
        return [_tier(project, tier, one, other) for tier in _asked(one, other)]


@dataclass(frozen=True)
class Side:
    """One of the two: its tiers' folders by tier; ``single`` where it is itself the folder of a tier."""

    name: str
    tiers: dict[str, Path]
    single: bool

    @property
    def has(self) -> str:
        return f"'{self.name}' has {', '.join(self.tiers)}"


def _asked(one: Side, other: Side) -> list[str]:
    """The tiers to compare: all that there are, or the one that a side is the folder of."""
    return [
        tier
        for tier in dict.fromkeys([*one.tiers, *other.tiers])
        if all(tier in side.tiers or not side.single for side in (one, other))
    ]


def _tier(project: Project, tier: str, one: Side, other: Side) -> Comparison:
    for side, lacking in ((one, other), (other, one)):
        if tier not in lacking.tiers:
            return Comparison(tier, only=side.name)
    return compare_folders(project, tier, one.tiers[tier], other.tiers[tier])


@contextmanager
def _side(project: Project, name: str) -> Iterator[Side]:
    """A side, as long as its folders are needed. A relative name is looked for here, then in the project."""
    for path in (Path(name), project.root / name):
        if path.is_dir():
            yield _side_of(path, name)
            return
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "results.tar"
        command = ["git", "-C", str(project.root), "archive", "--output", str(archive), name, "results"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            where = " nor ".join(dict.fromkeys(map(str, (Path.cwd(), project.root))))
            said = done.stderr.strip().rpartition("\n")[2]
            raise UsageError(f"'{name}' is no folder in {where}, and no commit that holds results/: {said}")
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        try:
            yield _side_of(Path(folder) / "results", name)
        except MismatchError as error:
            raise MismatchError(str(error).replace(f"{folder}/", f"{name}:")) from error


def _side_of(folder: Path, name: str) -> Side:
    manifests = [folder / "manifest.json", *sorted(folder.glob("[!.]*/manifest.json"))]
    found = {_tier_of(path.parent): path.parent for path in manifests if path.is_file()}
    if not found:
        raise UsageError(f"'{name}' holds no results: there is no manifest.json in it, nor in a folder of it.")
    return Side(name, found, single=folder in found.values())


def _tier_of(folder: Path) -> str:
    entry = next(iter(Manifest.load(folder).stages.values()), None)
    if entry is None:
        raise UsageError(f"{folder}/manifest.json lists no stage. Run one with: lucie reproduce")
    if "tier" not in entry.ingredients.parameters:
        raise MismatchError(f"{folder}/manifest.json does not say of which tier it is. {RESTORE}")
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
        verdict = EQUAL if str(one) == str(other) else VARIES
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
        varies = all(side[name][1].get("varies") for side in shown)
        tolerance = tolerances.get(stage, LAST_BITS)
        files = [side.folder / held[name][1]["files"][0] for side, held in zip((a, b), shown, strict=True)]
        verdict, one, other = _table(files[0], files[1], Precision(kind="precision") if varies else tolerance)
        loose = (varies and verdict != EQUAL) or (isinstance(tolerance, Training) and verdict == DIFFERS)
        yield Number(name, stage, VARIES if loose else verdict, one, other)


def _rows(path: Path) -> list[list[str]]:
    """The rows of a table, its header among them. Raises MismatchError where it is missing or none."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
    except FileNotFoundError as error:
        raise MismatchError(f"{path} is missing, and the manifest of its tier lists it. {ANEW}") from error
    except (ValueError, csv.Error) as error:
        raise MismatchError(f"{path} is not a table ({error}). {ANEW}") from error
    if not rows:
        raise MismatchError(f"{path} is an empty table. {ANEW}")
    return rows


def _table(a: Path, b: Path, tolerance: Tolerance) -> tuple[str, str, str]:
    """The verdict on a table, and its first cells that differ on both sides."""
    rows_a, rows_b = _rows(a), _rows(b)
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
