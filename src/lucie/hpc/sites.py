"""Where jobs run: one YAML file a site, config/sites/NAME.yaml."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lucie.errors import UsageError, unknown
from lucie.project import Project
from lucie.stages import read_yaml


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Jobs(Strict):
    """How one kind of job is asked for."""

    options: list[str]
    account: str = ""  # {project} stands for the user's project
    cores: int
    hours: int
    array: int

    def sbatch(self, project: str) -> list[str]:
        """The options for sbatch. Raises UsageError where the site wants a project and none was named."""
        if "{project}" in self.account and not project:
            raise UsageError("This site charges a project. Name yours with: --project NAME")
        account = [f"--account={self.account.format(project=project)}"] if self.account else []
        return [*self.options, *account, f"--cpus-per-task={self.cores}", f"--time={self.hours}:00:00"]


class Storage(Strict):
    """A file system's limits; 0 where none is known."""

    variable: str
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


class Site(Strict):
    """A cluster."""

    name: str
    says: str
    jobs: dict[str, Jobs]
    storage: dict[str, Storage]
    checkpoint_speed: Constant | None = None  # bytes/s that a checkpoint is written or read with
    gpus: dict[str, Gpus] = {}

    def gpu(self, name: str) -> Gpus:
        """The GPUs of that name. Raises UsageError where the site's file lists none."""
        if name not in self.gpus:
            raise unknown(f"GPU of site '{self.name}'", name, self.gpus)
        return self.gpus[name]

    @classmethod
    def load(cls, project: Project, name: str) -> Site:
        """The site of that name."""
        folder = project.root / "config" / "sites"
        path = folder / f"{name}.yaml"
        if not path.is_file():
            raise unknown("site", name, [other.stem for other in folder.glob("*.yaml")])
        try:
            return cls.model_validate({"name": name, **read_yaml(path)})
        except (ValidationError, TypeError) as error:
            raise UsageError(f"{path} is not a site: {error}") from error
