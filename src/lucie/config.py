"""What people write: YAML files in config/ and elsewhere, checked as they are read.

path = find(project, "sites", "jean-zay", "site")          # UsageError that lists the sites, where there is none
site = checked(Site, {"name": path.stem, **read_yaml(path)}, str(path))
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from lucie.errors import UsageError, unknown
from lucie.project import Project

Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """A part of such a file: a key that we do not know is an error, not a wish that nobody hears."""

    model_config = ConfigDict(extra="forbid")


def find(project: Project, folder: str, name: str, what: str, hidden: Collection[str] = ()) -> Path:
    """config/FOLDER/NAME.yaml. Raises UsageError, with those that there are, for another or a hidden one."""
    path = project.root / "config" / folder / f"{name}.yaml"
    if name in hidden or Path(name).name != name or not path.is_file():
        raise unknown(what, name, sorted({other.stem for other in path.parent.glob("*.yaml")} - {*hidden}))
    return path


def checked(model: type[Model], content: Mapping[str, Any], where: str) -> Model:
    """The content as a model. Raises UsageError with the first thing that is wrong, and where."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(f"{where}: {f'{place}: ' if place else ''}{first['msg']}.") from error


def read_yaml(path: Path) -> Any:
    """A YAML file's content. Raises UsageError where it is missing or no YAML."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except FileNotFoundError as error:
        raise UsageError(f"{path} is missing. It is part of the repository: git checkout -- {path.name}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not valid YAML: {error}") from error


def read_mapping(path: Path) -> dict[str, Any]:
    """A YAML file's content, which has names and values. Raises UsageError where it has not."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UsageError(f"{path} holds no names with values.")
    return content


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
