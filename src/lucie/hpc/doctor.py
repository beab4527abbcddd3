"""Whether a site is ready: a line a check, ok, warn or fail, with what to do.

    for check in checks(project, site, Wanted("h100", recipe, folder, tokens, charged="abc")):
        print(check.state, check.name, check.says)

Whom Slurm charges, its partitions, nodes and limits are asked of Slurm itself and held against the site's file. What
cannot be asked here (no such command) is a warning that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lucie.errors import UsageError
from lucie.hpc import provisions
from lucie.hpc.chain import check_rules, legs
from lucie.hpc.checks import Check
from lucie.hpc.scheduler import Scheduler, UnavailableError
from lucie.hpc.sites import Jobs, Site
from lucie.hpc.stages import KIND
from lucie.project import Project
from lucie.training.recipe import Recipe


@dataclass(frozen=True)
class Wanted:
    """The training that a site shall be ready for."""

    kind: str  # of the site's jobs
    recipe: Recipe
    folder: Path
    tokens: Path
    charged: str = ""
    qos: str = ""
    minutes: int = 0  # of a job; 0: as many as the site allows
    data: Path | None = None  # where the corpus `full` was fetched to


def checks(project: Project, site: Site, wanted: Wanted) -> Iterator[Check]:
    """All of them, for a training, and for the stages before and after it."""
    scheduler = Scheduler()
    yield from training_checks(site, wanted, scheduler)
    if KIND in site.jobs and wanted.kind != KIND:
        yield from stage_checks(site, wanted.charged, scheduler)
    yield from provisions.storage_checks(site, wanted.recipe, wanted.folder)
    yield from provisions.image_checks(project, site)
    if site.gpus:
        yield provisions.gpu_check()
    yield from provisions.data_checks(project, wanted.recipe, wanted.tokens, wanted.data)
    yield from provisions.model_checks(project)


def training_checks(site: Site, wanted: Wanted, scheduler: Scheduler) -> Iterator[Check]:
    """What the site's file and Slurm say of the jobs of a training, by its largest leg."""
    jobs, kind, qos = site.job(wanted.kind), wanted.kind, wanted.qos
    nodes = max(leg.nodes for leg in legs(wanted.recipe, jobs.processes))
    minutes = wanted.minutes or 60 * (jobs.qos[qos].hours if qos in jobs.qos else jobs.hours)
    try:
        check_rules(site, kind, qos, minutes, nodes)
        yield Check("rules", "ok", f"config/sites/{site.name}.yaml allows {kind} jobs of {nodes} nodes")
    except UsageError as error:
        yield Check("rules", "fail", str(error))
    yield from job_checks(site, kind, wanted.charged, qos, minutes, nodes, scheduler)


def stage_checks(site: Site, charged: str, scheduler: Scheduler) -> Iterator[Check]:
    """What Slurm says of the jobs that stages are, in the site's default QoS."""
    for check in job_checks(site, KIND, charged, "", 60 * site.job(KIND).hours, 1, scheduler):
        yield replace(check, name=f"{KIND} {check.name}")


def refuse(site: Site, kind: str, charged: str, qos: str, minutes: int, nodes: int, scheduler: Scheduler) -> None:
    """Raises UsageError for jobs that Slurm would not take, before it is asked to."""
    for check in job_checks(site, kind, charged, qos, minutes, nodes, scheduler):
        if check.state == "fail":
            raise UsageError(f"{check.name}: {check.says}")


def job_checks(
    site: Site, kind: str, charged: str, qos: str, minutes: int, nodes: int, scheduler: Scheduler
) -> Iterator[Check]:
    """What Slurm itself says of a job: partition, constraint, walltime, account, QoS."""
    jobs = site.job(kind)
    yield from _asked("partition", lambda: _partition(site, jobs, minutes, nodes, scheduler))
    yield from _asked("account", lambda: _account(site, jobs, charged, qos, minutes, scheduler))


def _asked(name: str, look: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """The checks, or that they could not be made here."""
    try:
        yield from list(look())
    except UnavailableError as error:
        yield Check(name, "warn", f"not checked here: {error}")


def _partition(site: Site, jobs: Jobs, minutes: int, nodes: int, scheduler: Scheduler) -> Iterator[Check]:
    known = scheduler.partitions()
    named = jobs.option("partition") or jobs.partition
    where = f"config/sites/{site.name}.yaml"
    if named and named not in known:
        yield Check("partition", "fail", f"There is no '{named}' here; there are {', '.join(known)}. Correct {where}.")
        return
    chosen = [known[named]] if named else list(known.values())
    says = f"{named or 'any'}: {sum(partition.nodes for partition in chosen)} nodes"
    yield Check("partition", "ok", says)
    constraint, features = jobs.option("constraint"), frozenset().union(*(one.features for one in chosen))
    if constraint and constraint not in features:
        has = ", ".join(sorted(features)) or "no features"
        yield Check("constraint", "fail", f"No node there is '{constraint}'; they are {has}. Correct {where}.")
    elif constraint:
        yield Check("constraint", "ok", constraint)
    most = max((10**9 if one.minutes is None else one.minutes) for one in chosen)
    if minutes > most:
        yield Check("walltime", "fail", f"{minutes} minutes; {named or 'no partition'} takes {most}. Use --minutes.")
    else:
        yield Check("walltime", "ok", f"{minutes} minutes a job")
    if nodes > max(one.nodes for one in chosen):
        yield Check("nodes", "fail", f"{nodes} are needed, and there are {max(one.nodes for one in chosen)}.")


def _account(site: Site, jobs: Jobs, charged: str, qos: str, minutes: int, scheduler: Scheduler) -> Iterator[Check]:
    accounts: dict[str, frozenset[str]] = {}  # one may be listed once a partition
    for held in scheduler.associations():
        accounts[held.account] = accounts.get(held.account, frozenset()) | held.qos
    try:
        account = jobs.charged(charged)
    except UsageError as error:
        yield Check("account", "fail", str(error))
        return
    if account and account.lower() not in accounts:
        mine = ", ".join(sorted(accounts)) or "none"
        yield Check("account", "fail", f"You may not charge '{account}'; you may charge: {mine}. Use --project.")
        return
    yield Check("account", "ok", account or "Slurm's default")
    if not qos:
        return
    allowed = accounts[account.lower()] if account else frozenset().union(*accounts.values())
    if qos not in allowed:
        yield Check("QoS", "fail", f"'{account}' may not use '{qos}'; it may use: {', '.join(sorted(allowed))}.")
        return
    longest = scheduler.longest(qos)
    if longest is not None and minutes > longest:
        yield Check("QoS", "fail", f"'{qos}' takes jobs of {longest} minutes, and {minutes} were asked for: --minutes.")
    else:
        yield Check("QoS", "ok", qos)
