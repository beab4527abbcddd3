"""What the tokenizer of a tier is trained with, and which documents it never sees: config/tokenizers/NAME.yaml."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from lucie.config import checked, find, read_mapping
from lucie.project import Project
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
        path = find(project, "tokenizers", name, "tokenizer")
        return checked(cls, {"name": name, **read_mapping(path)}, str(path))

    @staticmethod
    def path(project: Project, name: str) -> Path:
        return project.root / "config" / "tokenizers" / f"{name}.yaml"

    @property
    def options(self) -> Options:
        """What `lucie.tokenizer.bpe.train` takes."""
        return Options(vocabulary=self.vocabulary)
