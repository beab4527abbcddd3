"""Whether a site is ready: a line a check, ok, warn or fail, with what to do.

    for check in checks(project, Site.load(project, "jean-zay"), "h100", charged="abc"):
        print(check.state, check.name, check.says)

Whom Slurm charges, its partitions, nodes and limits are asked of Slurm itself and held against the site's file. What
cannot be asked here (no such command) is a warning that says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lucie.errors import UsageError
from lucie.hpc.chain import Chain
from lucie.hpc.scheduler import Scheduler, UnavailableError
from lucie.hpc.sites import Jobs, Site

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """What was looked at, and what came of it."""

    name: str
    state: State
    says: str


def refuse(site: Site, kind: str, chain: Chain, charged: str, qos: str, scheduler: Scheduler) -> None:
    """Raises UsageError for jobs that Slurm would not take, before it is asked to."""
    nodes = max(leg.nodes for leg in chain.legs)
    for check in job_checks(site, kind, charged, qos, chain.minutes, nodes, scheduler):
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
    held = scheduler.associations()
    accounts = {association.account: association for association in held}
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
    allowed = accounts[account.lower()].qos if account else frozenset().union(*(one.qos for one in held))
    if qos not in allowed:
        yield Check("QoS", "fail", f"'{account}' may not use '{qos}'; it may use: {', '.join(sorted(allowed))}.")
        return
    longest = scheduler.longest(qos)
    if longest is not None and minutes > longest:
        yield Check("QoS", "fail", f"'{qos}' takes jobs of {longest} minutes, and {minutes} were asked for: --minutes.")
    else:
        yield Check("QoS", "ok", qos)


def storage_warning(site: Site, folder: Path) -> str:
    """Why a folder is a bad place for what shall stay; empty where it is not."""
    for storage in site.storage.values():
        root = os.environ.get(storage.variable)
        if storage.purged_after_days and root and folder.resolve().is_relative_to(Path(root).resolve()):
            return (
                f"{folder} lies in ${storage.variable}: what is not read for {storage.purged_after_days} days is "
                "removed there. Copy checkpoints that shall stay elsewhere."
            )
    return ""
