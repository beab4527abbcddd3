"""Where jobs run: one YAML file a site, config/sites/NAME.yaml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lucie.config import Strict, checked, find, read_mapping
from lucie.errors import UsageError, unknown
from lucie.project import Project


class Qos(Strict):
    """A quality of service, by what it allows one job."""

    hours: int
    gpus: int
    source: str


class Jobs(Strict):
    """How one kind of job is asked for."""

    options: list[str]
    account: str = ""  # {project} stands for the user's project
    cores: int
    hours: int
    array: int
    nodes: int = 1  # of one job, at most
    processes: int = 1  # of a training on one node: one a GPU
    ending_minutes: float = 5.0  # kept of a job's time for its last checkpoint and its end
    partition: str = ""  # where such jobs run, even if no option names it
    qos: dict[str, Qos] = {}
    setup: list[str] = []  # shell commands before anything else
    environment: dict[str, str] = {}

    def charged(self, project: str) -> str:
        """The account; empty where the site has none. Raises UsageError where it wants a project and none was named."""
        if "{project}" in self.account and not project:
            raise UsageError("This site charges a project. Name yours with: --project NAME")
        return self.account.format(project=project)

    def sbatch(self, project: str, minutes: int = 0) -> list[str]:
        """The options for sbatch, for so many minutes or as long as such a job may take."""
        minutes = minutes or 60 * self.hours
        account = [f"--account={charged}"] if (charged := self.charged(project)) else []
        time = f"--time={minutes // 60}:{minutes % 60:02}:00"
        return [*self.options, *account, f"--cpus-per-task={self.cores}", time]

    def option(self, name: str) -> str:
        """What an option says, empty where it is not given: ``option("constraint")``."""
        values = [value for key, _, value in (text.partition("=") for text in self.options) if key == f"--{name}"]
        return values[-1] if values else ""


class Storage(Strict):
    """A file system's limits; 0 where none is known."""

    variable: str  # of the environment, that names the folder
    bytes: int
    inodes: int
    purged_after_days: int


class Constant(Strict):
    """A number of the hardware, with who says so. An assumption says that it is one."""

    value: float = Field(gt=0)
    unit: str
    source: str


class Gpus(Strict):
    """One kind of GPU and the nodes it sits in. Speeds are the maker's, in one direction; nothing reaches them."""

    says: str
    per_node: Constant
    peak: Constant  # FLOP/s of dense matrix products in bfloat16
    memory: Constant  # bytes
    hbm: Constant  # bytes/s of the GPU's memory
    nvlink: Constant  # bytes/s between GPUs of a node
    link: Constant  # bytes/s of one network link; a ring of GPUs uses one


class Images(Strict):
    """How the site runs container images."""

    program: Literal["apptainer", "singularity"] = "apptainer"
    variable: str = ""  # of the environment, that names the only folder images may run from; empty: any folder
    registering: str = ""  # the command that puts an image there; {image} stands for the file
    most: int = 0  # images; 0: no limit known


class Site(Strict):
    """A cluster."""

    name: str
    says: str
    jobs: dict[str, Jobs]
    trains: str = "cpu"  # the kind of jobs that trainings are made in
    images: Images = Images()
    storage: dict[str, Storage]
    quota: str = ""  # the command that says how much of them is taken
    checkpoint_speed: Constant | None = None  # bytes/s that a checkpoint is written or read with
    gpus: dict[str, Gpus] = {}

    def job(self, name: str) -> Jobs:
        """The jobs of that kind. Raises UsageError where the site's file lists none."""
        if name not in self.jobs:
            raise unknown(f"kind of job at site '{self.name}'", name, self.jobs)
        return self.jobs[name]

    def gpu(self, name: str) -> Gpus:
        """The GPUs of that name. Raises UsageError where the site's file lists none."""
        if name not in self.gpus:
            raise unknown(f"GPU of site '{self.name}'", name, self.gpus)
        return self.gpus[name]

    @classmethod
    def load(cls, project: Project, name: str) -> Site:
        """The site of that name."""
        path = find(project, "sites", name, "site")
        return checked(cls, {"name": name, **read_mapping(path)}, str(path))
