"""Which web pages may be used: not on a list of blocked sites, not in another part of the corpus, not forbidden.

The authors dropped pages by datatrove's list, pages of sites that other parts of the corpus hold, and pages whose
site forbids the crawler CCBot in its robots.txt, or whose robots.txt could not be had.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.robotparser import RobotFileParser

from lucie.errors import UsageError

CRAWLER = "CCBot"
# Parts of addresses whose pages the corpus has from a better source, by language; Lucie-Training,
# webdata_processing/base.py, line 155.
COVERED = {
    "fr": ("fr.wikipedia", "wiktionary", "wikisource", "theses.fr"),
    "en": (
        "en.wikipedia",
        "arxiv.org",
        "www.ncbi.nlm.nih.gov/pmc",
        "philpapers.org",
        "exporter.nih.gov",
        "irclogs.ubuntu.com",
        "courtlistener.com",
        "uspto.gov",
    ),
}
COVERED_ELSEWHERE = ("wikipedia", "europarl", "op.europa.eu")


def host(url: str) -> str:
    """The host of an address, in lower case; '' where it has none or is no address."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:  # http://[broken
        return ""


def is_covered(url: str, language: str) -> bool:
    """Whether another part of the corpus holds the page."""
    return any(part in url for part in COVERED.get(language, COVERED_ELSEWHERE))


class BlockList:
    """Blocked sites: datatrove's own list, or just the domains given."""

    def __init__(self, domains: Iterable[str], integrated: bool) -> None:
        self._domains = [f"{domain}\n" for domain in domains]
        self._integrated = integrated

    def why_blocked(self, url: str) -> str | None:
        """What of the address is blocked: domain, url, a word; None where nothing is."""
        from datatrove.data import Document

        lower = re.sub(r"(?<=://)[^/?#]*", lambda found: found[0].lower(), url, count=1)  # its list is in lower case
        verdict: Any = self._filter.filter(Document(text="", id="", metadata={"url": lower}))
        return None if verdict is True else str(verdict[1])

    @cached_property
    def _filter(self) -> Any:
        from datatrove.pipeline.filters import URLFilter
        from tldextract import TLDExtract

        found = URLFilter(extra_domains=self._domains, use_integrated_lists=self._integrated)
        # The suffixes that it ships, no network and no cache; invented sites end in .example, which is no suffix there.
        found.tldextractor = TLDExtract(suffix_list_urls=(), cache_dir=None, extra_suffixes=("example",))
        return found


class Robots:
    """What the sites' robots.txt files say."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files
        self._known: dict[str, bool | None] = {}

    @classmethod
    def load(cls, path: Path) -> Robots:
        """From JSON lines of `domain` and `text`."""
        try:
            entries = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
            return cls({entry["domain"]: entry["text"] for entry in entries})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path} is not a list of robots.txt files, one JSON object a line: {error}") from error

    def allows(self, url: str) -> bool | None:
        """Whether the crawler may fetch the site; None where its robots.txt is not known. Asked of the site's root."""
        name = host(url)
        if name not in self._known:
            self._known[name] = self._ask(name)
        return self._known[name]

    def _ask(self, name: str) -> bool | None:
        if name not in self._files:
            return None
        parser = RobotFileParser()
        parser.parse(self._files[name].splitlines())
        return parser.can_fetch(CRAWLER, f"https://{name}/")
