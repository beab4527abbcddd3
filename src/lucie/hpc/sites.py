"""Where jobs run: one YAML file a site, config/sites/NAME.yaml."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError

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


class Site(Strict):
    """A cluster."""

    name: str
    says: str
    jobs: dict[str, Jobs]
    storage: dict[str, Storage]

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
