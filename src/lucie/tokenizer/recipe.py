"""What the tokenizer of a tier is trained with, and which documents it never sees: config/tokenizers/NAME.yaml."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lucie.errors import UsageError, unknown
from lucie.project import Project
from lucie.stages import read_yaml
from lucie.tokenizer.bpe import Options


class TokenizerRecipe(BaseModel):
    """The settings that differ between tiers; all others are the released tokenizer's (`lucie.tokenizer.bpe`)."""

    model_config = ConfigDict(extra="forbid")

    name: str
    says: str
    vocabulary: int = Field(ge=1)
    held_out_per_mille: int = Field(ge=0, le=1000, description="of the documents, by `lucie.tokens.heldout`")
    beside_others: bool = Field(default=False, description="measured beside the tokenizers that were fetched")

    @classmethod
    def load(cls, project: Project, name: str) -> TokenizerRecipe:
        """The recipe config/tokenizers/NAME.yaml. Raises UsageError where there is none, or it says what cannot be."""
        path = cls.path(project, name)
        if not path.is_file():
            raise unknown("tokenizer", name, [other.stem for other in path.parent.glob("*.yaml")])
        try:
            return cls.model_validate({"name": name, **read_yaml(path)})
        except ValidationError as error:
            first = error.errors()[0]
            raise UsageError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}.") from error

    @staticmethod
    def path(project: Project, name: str) -> Path:
        return project.root / "config" / "tokenizers" / f"{name}.yaml"

    @property
    def options(self) -> Options:
        """What `lucie.tokenizer.bpe.train` takes."""
        return Options(vocabulary=self.vocabulary)
