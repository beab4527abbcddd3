"""The RO-Crate of a tier is valid under the Workflow Run Crate profile, and holds what it names."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from lucie.crate import write_crate
from lucie.errors import LucieError, MismatchError
from lucie.files import sha256
from lucie.project import Project

# The terms of the contexts that a crate names, as far as it may use them; the validator would fetch all of them.
SCHEMA_ORG = (
    "about actionStatus agent author contentSize creator datePublished description encodingFormat endTime hasPart "
    "identifier instrument license mainEntity mentions name object programmingLanguage publisher result url value "
    "version ComputerLanguage CreateAction CreativeWork Dataset Organization PropertyValue SoftwareSourceCode"
)
TERMS = {
    **{name: f"http://schema.org/{name}" for name in SCHEMA_ORG.split()},
    "File": "http://schema.org/MediaObject",
    "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
    "conformsTo": "http://purl.org/dc/terms/conformsTo",
    "sha256": "https://w3id.org/ro/terms/workflow-run#sha256",
}


@pytest.fixture
def contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two contexts without a network; everything else is refused."""
    import requests

    def send(self: object, request: Any, **options: object) -> requests.Response:
        assert request.url.startswith("https://w3id.org/ro/"), request.url
        response = requests.Response()
        response.status_code, response.url, response.request = 200, request.url, request
        response.headers["Content-Type"] = "application/ld+json"
        response.raw = io.BytesIO(json.dumps({"@context": TERMS}).encode())
        return response

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)


@pytest.mark.parametrize("tier", ["record", "mini"])
def test_the_crate_is_valid_and_whole(copy: Project, tier: str, contexts: None) -> None:
    from rocrate_validator import models, services

    folder = write_crate(copy, tier)
    settings = services.ValidationSettings(
        rocrate_uri=str(folder),
        profile_identifier="workflow-run-crate-0.5",
        requirement_severity=models.Severity.REQUIRED,
        no_cache=True,
    )
    result = services.validate(settings)
    assert [f"{issue.check.identifier}: {issue.message}" for issue in result.get_issues()] == []
    assert result.passed()
    graph = json.loads((folder / "ro-crate-metadata.json").read_text(encoding="utf-8"))["@graph"]
    described = {entity["@id"]: entity for entity in graph}
    assert len(described) == len(graph)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files - {"ro-crate-metadata.json"} == {name for name, entity in described.items() if "sha256" in entity}
    assert all(
        sha256(folder / name) == described[name]["sha256"] for name in files & described.keys() if name in PINNED
    )
    named = {
        used["@id"] for entity in graph for part in ("object", "result", "hasPart") for used in entity.get(part, [])
    }
    assert named <= described.keys()


PINNED = {"results/values.json", "results/manifest.json", "workflow/Snakefile", "LICENSE"}


def test_an_output_changed_after_the_run_is_not_packed(copy: Project, tmp_path: Path) -> None:
    (copy.results / "record" / "tables" / "claire.cards.csv").write_text("x")
    with pytest.raises(
        MismatchError, match=r"results/record/tables/claire\.cards\.csv is not what stage 'claire' made"
    ):
        write_crate(copy, "record")
    assert not (copy.build / "crate").exists()


@pytest.mark.parametrize("name", ["results/record/verdicts.json", "results/record/values.json", "CITATION.cff"])
def test_what_the_crate_lacks_is_named(copy: Project, name: str) -> None:
    (copy.root / name).unlink()
    with pytest.raises(MismatchError, match=name):
        write_crate(copy, "record")
    assert not (copy.build / "crate").exists()


def test_a_citation_that_is_not_whole_is_named(copy: Project) -> None:
    (copy.root / "CITATION.cff").write_text("title: A title\n")
    with pytest.raises(LucieError, match=r"CITATION\.cff: version: Field required"):
        write_crate(copy, "record")
