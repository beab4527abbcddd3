"""Runs one stage: its notebook through papermill, then its results into build/<tier>/, all or nothing."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

from lucie import notebook as notebooks
from lucie.claims import judged_in
from lucie.environment import environment, lock_digest
from lucie.errors import StageError, UsageError, unknown
from lucie.files import sha256_of
from lucie.groups import require
from lucie.inputs import folders, input_file, work_folder
from lucie.landing import land
from lucie.manifest import Ingredients, StageManifest, container, ingredients
from lucie.project import Project
from lucie.results import OUTPUT_VARIABLE, STAMP_VARIABLE, WORK_VARIABLE, read_outputs
from lucie.stages import Stage, get_tier

NOTEBOOK_LIMIT = 1_000_000  # bytes, of an executed notebook


def run_stage(project: Project, stage: Stage, tier: str, overrides: dict[str, Any] | None = None) -> StageManifest:
    """Run a stage and put its results in build/<tier>/.

    Raises UsageError for an unknown tier or parameter, StageError when the notebook fails, reads what it may not
    read or leaves no results. Then build/<tier>/ is as it was, and the notebook as far as it came is in
    build/<tier>/failed/.
    """
    require(get_tier(project, tier).groups)
    made_from = ingredients(project, stage, tier, overrides)
    _refuse_judging_inputs(project, stage, tier)
    folder = project.build / tier
    scratch = folder / ".running" / f"{stage.id}-{os.getpid()}"
    _clear_leftovers(scratch.parent)
    scratch.mkdir(parents=True)
    started = time.monotonic()
    try:
        _execute(project, stage, made_from, scratch)
        outputs = _outputs(stage, scratch)
        _refuse_other_reads(project, stage, made_from, outputs)
        _finish_notebook(scratch / stage.notebook, project.root)
        made_in = environment(project, outputs["packages"])
        return land(project, stage, scratch, made_from, outputs, made_in, time.monotonic() - started)
    except StageError:
        _keep_failed(folder, scratch, stage)
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _execute(project: Project, stage: Stage, made_from: Ingredients, scratch: Path) -> None:
    import papermill
    from papermill.exceptions import PapermillExecutionError

    from lucie.kernel import SocketKernelManager, runtime_folder

    cells = notebooks.read(project.notebooks / stage.notebook, made_from.parameters["tier"])
    notebook = nbformat.from_dict(cells)
    known = papermill.inspect_notebook(notebook)
    parameters = {**made_from.parameters, **made_from.repeats}
    for name in parameters:
        if name not in known:
            raise unknown(f"parameter of stage '{stage.id}'", name, known)
    variables = {
        OUTPUT_VARIABLE: str(scratch),
        WORK_VARIABLE: str(work_folder(project, made_from.parameters["tier"])),
        STAMP_VARIABLE: stamp(project, stage, made_from),
        "LUCIE_ROOT": str(project.root),
        "PYTHONHASHSEED": "0",
        "PYTHONWARNINGS": "ignore:IProgress not found",  # tqdm's wish for widgets, with a path of this machine
        "SOURCE_DATE_EPOCH": "0",
        "HF_HUB_OFFLINE": "1",
        "MPLCONFIGDIR": str(project.build / ".cache" / "matplotlib"),
    }
    try:
        with runtime_folder() as runtime, _variables({**variables, "JUPYTER_RUNTIME_DIR": runtime}):
            done = papermill.execute_notebook(
                notebook,
                str(scratch / stage.notebook),
                parameters=parameters,
                kernel_name="python3",
                kernel_manager_class=SocketKernelManager,
                cwd=str(project.notebooks),
                progress_bar=False,
            )
    except PapermillExecutionError as error:
        raise StageError(
            f"Stage '{stage.id}' failed in cell '{_failed_cell(scratch / stage.notebook)}' of {stage.notebook}: "
            f"{error.ename}: {error.evalue}\n"
            f"The notebook as far as it came: build/{made_from.parameters['tier']}/failed/{stage.notebook}"
        ) from None
    except Exception as error:  # whatever Jupyter says when a kernel does not start or dies
        raise StageError(f"Stage '{stage.id}' was cut off: {type(error).__name__}: {error}") from error
    _write_log(scratch / "logs" / f"{stage.id}.log", done)


def _clear_leftovers(folder: Path) -> None:
    """Remove the scratch folders of runs that were killed."""
    for leftover in folder.glob("*-*"):
        pid = leftover.name.rpartition("-")[2]
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            shutil.rmtree(leftover, ignore_errors=True)
        except (ValueError, PermissionError):
            continue


def _failed_cell(notebook: Path) -> str:
    """The id of the cell that raised."""
    for cell in nbformat.read(notebook, as_version=4).cells:
        if any(output.output_type == "error" for output in cell.get("outputs", [])):
            return str(cell.id)
    return "?"


def _write_log(path: Path, notebook: nbformat.NotebookNode) -> None:
    path.parent.mkdir()
    lines = [
        f"cell {index:<3} {cell.metadata.papermill.duration:8.2f} s  {cell.source.strip().splitlines()[0][:80]}"
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and cell.source.strip()
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def stamp(project: Project, stage: Stage, made_from: Ingredients) -> str:
    """The manifest's short form, shown inside the executed notebook."""
    commit = project.commit
    lines = {
        "stage": f"{stage.id} · tier {made_from.parameters['tier']}",
        "key": made_from.key[:16],
        "commit": commit.id[:12] + (" with uncommitted changes" if commit.dirty else ""),
        "inputs": f"{len(made_from.inputs)} files, {sha256_of(made_from.inputs)[:16]}",
        "code": f"{len(made_from.code)} modules, {sha256_of(made_from.code)[:16]}",
        "python": f"{platform.python_version()} · lock {lock_digest(project)[:16]}",
        "container": container() or "none",
    }
    return "\n".join(f"{name:<10}{text}" for name, text in lines.items())


def _outputs(stage: Stage, scratch: Path) -> dict[str, Any]:
    if not (scratch / "outputs.json").is_file():
        raise StageError(f"Stage '{stage.id}' left no results: {stage.notebook} must end with results.close().")
    return read_outputs(scratch)


def _refuse_judging_inputs(project: Project, stage: Stage, tier: str) -> None:
    targets = {record for claim in judged_in(project, stage.id, tier) for record in claim.records}
    both = sorted(set(stage.run(tier).reads) & targets)
    if both:
        raise UsageError(f"Stage '{stage.id}' reads {both[0]}, which its claims are judged against: a tautology.")


def _refuse_other_reads(project: Project, stage: Stage, made_from: Ingredients, outputs: dict[str, Any]) -> None:
    tier = made_from.parameters["tier"]
    allowed = [*folders(project, tier, stage.run(tier).reads)]
    allowed += [work_folder(project, tier) / name for name in outputs["products"]]
    within = tuple(f"{project.relative(folder)}/" for folder in allowed)
    inputs = {project.relative(input_file(project, project.build / tier, called)) for called in made_from.inputs}
    for path in outputs["reads"]:
        if path in inputs or f"{path}/".startswith(within):
            continue
        if path.startswith("data/records/published/"):
            raise StageError(
                f"Stage '{stage.id}' read {path}: a published record is what results are judged against, "
                "never what they are made from."
            )
        raise StageError(f"Stage '{stage.id}' read {path}, which config/stages.yaml does not list among its reads.")


def _finish_notebook(path: Path, root: Path) -> None:
    """Leave only what a rerun would give again: no times, no random cell ids, no path of this machine."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("papermill", None)
    for index, cell in enumerate(notebook.cells):
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.id = f"injected-{index}"
    text = nbformat.writes(notebook)
    if str(root) in text:
        raise StageError(f"{path.name} shows this machine's path {root}. Print paths relative to the project.")
    if len(text) > NOTEBOOK_LIMIT:
        raise StageError(f"{path.name} is {len(text):,} bytes executed; the limit is {NOTEBOOK_LIMIT:,}. Show less.")
    path.write_text(text + "\n", encoding="utf-8")


def _keep_failed(folder: Path, scratch: Path, stage: Stage) -> None:
    if (scratch / stage.notebook).is_file():
        (folder / "failed").mkdir(parents=True, exist_ok=True)
        shutil.copy(scratch / stage.notebook, folder / "failed" / stage.notebook)


@contextmanager
def _variables(added: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(added)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
