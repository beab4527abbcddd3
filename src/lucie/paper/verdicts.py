"""What the report says of each claim: the table of verdicts, the discrepancies, what was not tried."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

from lucie.paper.links import Places, indexed
from lucie.paper.numbers import code, escape, grouped
from lucie.tolerance import DIFFERS, EXPLAINED
from lucie.verdict import Verdict

LISTED_CELLS = 8  # of a claim, in print; verdicts.json has all
SHOWN_CHARACTERS = 26  # of a published or recomputed number, in the table of verdicts


def verdicts_table(verdicts: list[Verdict], places: Places | None = None) -> str:
    """Rows of a longtable: item, claim, published, ours, tolerance, verdict."""
    lines = []
    for _, group in groupby(verdicts, key=lambda verdict: verdict.claim.partition(".")[0]):
        lines += [_row(verdict, places) for verdict in group]
        lines.append(r"\addlinespace")
    return "\n".join(lines[:-1]) + "\n"


def _row(verdict: Verdict, places: Places | None) -> str:
    anchor = rf"\raisebox{{\baselineskip}}[0pt][0pt]{{\hypertarget{{claim.{verdict.claim}}}{{}}}}"
    colour = {"reproduced": "held", "within tolerance": "held", EXPLAINED: "explained", DIFFERS: "off"}
    mark = rf"\textcolor{{{colour.get(verdict.verdict, 'unjudged')}}}{{{verdict.verdict}}}"
    shown = (_short(verdict.published), _short(verdict.value), verdict.tolerance)
    cells = [grouped(text) or "--" for text in shown]
    name = indexed(code(verdict.claim), places.claim(verdict.claim) if places else "")
    return rf"{anchor}{verdict.item} & {name} & {' & '.join(cells)} & {mark} \\"


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3].rstrip(" |") + " ..."


def discrepancies(verdicts: list[Verdict]) -> str:
    """A paragraph for each claim that differs, with its explanation and the cells that differ."""
    parts = [_discrepancy(verdict) for verdict in verdicts if verdict.verdict in (DIFFERS, EXPLAINED)]
    return "\n".join(parts) or "No claim differs.\n"


def _discrepancy(verdict: Verdict) -> str:
    head = rf"\paragraph{{{escape(verdict.says)}}} {escape(verdict.explanation or 'No check explains this.')}"
    if verdict.statements:
        return head + "\n"
    shown = verdict.differing[:LISTED_CELLS]
    if len(verdict.differing) == 1 and not shown[0]["key"]:
        return f"{head}\n\n" + _pair(verdict)
    rows = [rf"{escape(cell['key'])} & {grouped(cell['published'])} & {grouped(cell['ours'])} \\" for cell in shown]
    more = len(verdict.differing) - len(shown)
    rest = rf"\par\noindent\footnotesize and {more} more in \code{{verdicts.json}}\par" if more else ""
    body = "\n".join(rows)
    return (
        f"{head}\n\n"
        rf"\begin{{center}}\footnotesize\begin{{tabular}}{{@{{}}lrr@{{}}}}\toprule"
        "\n"
        rf"Cell & Published & Recomputed \\ \midrule"
        f"\n{body}\n"
        rf"\bottomrule\end{{tabular}}{rest}\end{{center}}"
        "\n"
    )


def _pair(verdict: Verdict) -> str:
    return rf"\noindent Published: {grouped(verdict.published)}. Recomputed: {grouped(verdict.value)}.\par" + "\n"


def unattempted(verdicts: list[Verdict]) -> str:
    """List items for what was only quoted or not tried, with the reason."""
    chosen = [verdict for verdict in verdicts if verdict.verdict in ("quoted", "not attempted")]
    items = [
        rf"\item[{verdict.item}] {escape(verdict.says)} \textit{{{verdict.verdict}.}} "
        rf"{escape(verdict.explanation or verdict.reason)}"
        for verdict in chosen
    ]
    return "\n".join(items) + "\n"


def items_table(verdicts: list[Verdict], items: dict[str, str], notebooks: dict[str, str]) -> str:
    """Rows: published item, what it is, its notebooks, the page of their sections, its verdicts."""
    return "\n".join(_item(item, what, verdicts, notebooks) for item, what in items.items()) + "\n"


def _item(item: str, what: str, verdicts: list[Verdict], notebooks: dict[str, str]) -> str:
    mine = [verdict for verdict in verdicts if verdict.item == item]
    stages = list(dict.fromkeys(verdict.stage for verdict in mine if verdict.stage))
    files = ", ".join(escape(notebooks[stage].removesuffix(".ipynb")) for stage in stages) or "--"
    pages = ", ".join(rf"\pageref{{stage:{stage}}}" for stage in stages) or "--"
    links = [rf"\hyperlink{{claim.{verdict.claim}}}{{{number}}}" for number, verdict in enumerate(mine, start=1)]
    counts = Counter(verdict.verdict for verdict in mine)
    found = ", ".join(f"{count} {name}" for name, count in counts.items())
    return rf"{item} & {escape(what)} & {files} & {pages} & {' '.join(links)} & {found} \\"
