"""A tier's results as a Workflow Run RO-Crate: a folder whose ro-crate-metadata.json says what made what.

    lucie crate --tier record         # build/crate/record/

It holds the results, the notebooks, the records that were read and the workflow; the run of every stage is an action
with its notebook, inputs and outputs, and the run of the workflow is the action around them. The graph is written as
plain JSON-LD, which needs no library; the tests hold it against the profile with roc-validator.
"""

from __future__ import annotations

import datetime
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lucie import citation
from lucie.errors import MismatchError, UsageError
from lucie.files import sha256, write_json
from lucie.inputs import input_file
from lucie.manifest import Manifest, StageManifest, wrong_outputs
from lucie.project import Project
from lucie.stages import Stages, get_tier

Entity = dict[str, Any]

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
CONTEXT = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
WORKFLOW = "workflow/Snakefile"
README = "README.md"
MEDIA_TYPES = {
    ".csv": "text/csv",
    ".ipynb": "application/x-ipynb+json",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".log": "text/plain",
    ".md": "text/markdown",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".yaml": "application/yaml",
}
OWN = ("manifest.json", "values.json", "verdicts.json")


def write_crate(project: Project, tier: str) -> Path:
    """Write build/crate/<tier>/ from results/<tier>/; returns the folder.

    Raises UsageError where the tier has no results, or an input that they were made from is not here, and
    MismatchError for a file that is not what its manifest says.
    """
    source = project.results / get_tier(project, tier).name
    manifest = Manifest.load(source)
    if not manifest.stages:
        raise UsageError(f"There are no results in results/{tier}. Make them with: lucie reproduce --tier {tier}")
    wrong = [(stage, name) for stage in manifest.stages for name in wrong_outputs(manifest, stage)]
    if wrong:
        raise MismatchError(
            f"results/{tier}/{wrong[0][1]} is not what stage '{wrong[0][0]}' made. Restore it from git."
        )
    target = project.build / "crate" / tier
    fresh = target.with_name(f".{tier}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    files = _files(project, manifest)
    for name, path in files.items():
        (fresh / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, fresh / name)
    write_json(
        fresh / "ro-crate-metadata.json", {"@context": CONTEXT, "@graph": list(_graph(project, manifest, files))}
    )
    shutil.rmtree(target, ignore_errors=True)
    fresh.replace(target)
    return target


def _files(project: Project, manifest: Manifest) -> dict[str, Path]:
    """What the crate holds: place in it -> file."""
    names = [WORKFLOW, README, "requirements.lock", "LICENSE", citation.FILE]
    found = {name: project.root / name for name in names}
    found |= {f"results/{name}": manifest.folder / name for name in OWN}
    for stage, entry in manifest.stages.items():
        found |= {name: project.root / name for name in entry.ingredients.notebook}
        found |= {f"results/{name}": manifest.folder / name for name in entry.outputs}
        found |= {_input(name): input_file(project, manifest.folder, name) for name in entry.ingredients.inputs}
        missing = [name for name in entry.ingredients.inputs if not found[_input(name)].is_file()]
        if missing:
            raise UsageError(f"{missing[0]}, which stage '{stage}' read, is not here. Fetch or make it first.")
    lacking = [project.relative(path) for path in found.values() if not path.is_file()]
    if lacking:
        raise MismatchError(f"{lacking[0]} is missing, and the crate needs it: git checkout -- {lacking[0]}")
    return found


def _input(name: str) -> str:
    """The place of an input in the crate: products of another stage lie among the results."""
    return f"results/{name}" if name.startswith("products/") else name


def _graph(project: Project, manifest: Manifest, files: dict[str, Path]) -> Iterator[Entity]:
    cited = citation.load(project)
    tier = manifest.folder.name
    actions = [f"#run-{stage}" for stage in manifest.stages]
    yield {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": [{"@id": "https://w3id.org/ro/crate/1.1"}, {"@id": list(PROFILES)[-1]}],
    }
    yield {
        "@id": "./",
        "@type": "Dataset",
        "name": f"{cited.title} (tier {tier})",
        "description": f"{get_tier(project, tier).says[:1].upper()}{get_tier(project, tier).says[1:]}.",
        "datePublished": _date(project, manifest),
        "license": {"@id": "LICENSE"},
        "author": {"@id": "#authors"},
        "publisher": {"@id": "#authors"},
        "conformsTo": [{"@id": profile} for profile in PROFILES],
        "hasPart": [{"@id": name} for name in files],
        "mainEntity": {"@id": WORKFLOW},
        "mentions": [{"@id": action} for action in ["#run", *actions]],
    }
    for profile, (name, version) in PROFILES.items():
        yield {"@id": profile, "@type": "CreativeWork", "name": name, "version": version}
    yield {"@id": "#authors", "@type": "Organization", "name": cited.author}
    yield {
        "@id": "https://w3id.org/workflowhub/workflow-ro-crate#snakemake",
        "@type": "ComputerLanguage",
        "name": "Snakemake",
        "identifier": {"@id": "https://snakemake.github.io"},
        "url": {"@id": "https://snakemake.github.io"},
    }
    yield {
        "@id": "#python",
        "@type": "ComputerLanguage",
        "name": "Python",
        "version": ", ".join(sorted({entry.environment["python"] for entry in manifest.stages.values()})),
        "url": {"@id": "https://www.python.org"},
    }
    yield from _described(project, manifest, files)
    yield from _runs(project, manifest)


def _described(project: Project, manifest: Manifest, files: dict[str, Path]) -> Iterator[Entity]:
    """Each file of the crate; notebooks and the workflow are programs."""
    programs = {name: stage for stage, entry in manifest.stages.items() for name in entry.ingredients.notebook}
    alt = {
        f"results/{file}": shown["alt"]
        for entry in manifest.stages.values()
        for shown in entry.shown.values()
        if shown["kind"] == "figure"
        for file in shown["files"]
    }
    titles = {stage.id: stage.title for stage in Stages.load(project).all.values()}
    for name, path in files.items():
        entity: Entity = {
            "@id": name,
            "@type": "File",
            "name": name,
            "contentSize": str(path.stat().st_size),
            "sha256": sha256(path),
            "encodingFormat": MEDIA_TYPES.get(path.suffix, "text/plain"),
        }
        if name in alt:
            entity["description"] = alt[name]
        if name in programs:
            entity |= {"@type": ["File", "SoftwareSourceCode"], "name": titles[programs[name]]}
            entity["programmingLanguage"] = {"@id": "#python"}
            entity["version"] = manifest.stages[programs[name]].commit
        if name == WORKFLOW:
            entity |= {"@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"], "name": "All stages"}
            entity["programmingLanguage"] = {"@id": "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"}
            entity |= {"license": {"@id": "LICENSE"}, "creator": {"@id": "#authors"}}
            entity["version"] = project.commit.id
            entity["hasPart"] = [{"@id": notebook} for notebook in programs]
        if name == README:
            entity["about"] = {"@id": "./"}
        yield entity


def _runs(project: Project, manifest: Manifest) -> Iterator[Entity]:
    """The run of the workflow, and that of each stage."""
    everything = [_run(stage, entry) for stage, entry in manifest.stages.items()]
    made = {result["@id"] for run in everything for result in run["result"]}
    read = {used["@id"]: used for run in everything for used in run["object"] if used["@id"] not in made}
    yield {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"lucie reproduce --tier {manifest.folder.name}",
        "description": get_tier(project, manifest.folder.name).says,
        "instrument": {"@id": WORKFLOW},
        "agent": {"@id": "#authors"},
        "endTime": _date(project, manifest),
        "actionStatus": "http://schema.org/CompletedActionStatus",
        "object": [used for name, used in read.items() if not name.startswith("#")],
        "result": [{"@id": name} for name in [*sorted(made), "results/values.json", "results/manifest.json"]],
    }
    for run, (stage, entry) in zip(everything, manifest.stages.items(), strict=True):
        yield run
        yield from _parameters(stage, entry)


def _run(stage: str, entry: StageManifest) -> Entity:
    where = entry.environment
    container = where["container"] or "none"
    return {
        "@id": f"#run-{stage}",
        "@type": "CreateAction",
        "name": f"lucie run {stage} --tier {entry.ingredients.parameters['tier']}",
        "description": (
            f"commit {entry.commit}{' with uncommitted changes' if entry.dirty else ''}; key {entry.key}; Python "
            f"{where['python']}; {where['platform']}; container {container}; lock {where['lock']}; {entry.seconds} s"
        ),
        "instrument": {"@id": next(iter(entry.ingredients.notebook))},
        "agent": {"@id": "#authors"},
        "actionStatus": "http://schema.org/CompletedActionStatus",
        "object": [
            *({"@id": _input(name)} for name in entry.ingredients.inputs),
            *({"@id": parameter["@id"]} for parameter in _parameters(stage, entry)),
        ],
        "result": [{"@id": f"results/{name}"} for name in entry.outputs],
    }


def _parameters(stage: str, entry: StageManifest) -> list[Entity]:
    given = {**entry.ingredients.parameters, **entry.ingredients.repeats}
    return [
        {"@id": f"#{stage}-{name}", "@type": "PropertyValue", "name": name, "value": value}
        for name, value in given.items()
    ]


def _date(project: Project, manifest: Manifest) -> str:
    """When the newest commit among the stages' was made; outside of git, when the manifest was written."""
    commits = sorted({entry.commit for entry in manifest.stages.values()})
    command = ["git", "-C", str(project.root), "show", "--no-patch", "--format=%cI", *commits]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return max(done.stdout.split(), key=datetime.datetime.fromisoformat)
    written = (manifest.folder / "manifest.json").stat().st_mtime
    return datetime.datetime.fromtimestamp(written, datetime.UTC).isoformat(timespec="seconds")
