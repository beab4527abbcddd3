"""What the report says of each claim: the table of verdicts, the discrepancies, what was not tried."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

from lucie.paper.links import Places, claim_link, indexed
from lucie.paper.numbers import code, escape, grouped
from lucie.tolerance import DIFFERS, EXPLAINED, number
from lucie.verdict import Verdict

LISTED_CELLS = 8  # of a claim, in print; verdicts.json has all
SHOWN_CHARACTERS = 26  # of a published or recomputed number, in the table of verdicts
LONGEST_NUMBER = 10  # characters; of a longer one that is not whole, fewer digits are shown there
BETWEEN = " | "  # statements of a quantity


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
    cells = [_short(verdict.published) or "--", _short(verdict.value) or "--", escape(verdict.tolerance) or "--"]
    name = indexed(code(verdict.claim), places.claim(verdict.claim) if places else "")
    return rf"{anchor}{verdict.item} & {name} & {' & '.join(cells)} & {mark} \\"


def _short(text: str) -> str:
    """A number, statements of one, or words, as a narrow column holds them."""
    short = BETWEEN.join(_rounded(part) for part in text.split(BETWEEN))
    if len(short) > SHOWN_CHARACTERS:
        short = short[: SHOWN_CHARACTERS - 3].rstrip(" |") + " ..."
    return BETWEEN.join(grouped(part) for part in short.split(BETWEEN))


def _rounded(text: str) -> str:
    """A number that is not whole and has many digits, with fewer; anything else as it is.

    >>> _rounded("56.913566803777336"), _rounded("12345678.912345"), _rounded("73498.624"), _rounded("3002228277248")
    ('56.9136', '12345678.9', '73498.624', '3002228277248')
    """
    value = number(text)
    if value is None or len(text) <= LONGEST_NUMBER or value == int(value):
        return text
    return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.1f}"


def discrepancies(verdicts: list[Verdict], places: Places | None = None) -> str:
    """A paragraph for each claim that differs, with its explanation and the cells that differ."""
    parts = [_discrepancy(verdict, places) for verdict in verdicts if verdict.verdict in (DIFFERS, EXPLAINED)]
    return "\n".join(parts) or "No claim differs.\n"


def _says(verdict: Verdict, places: Places | None) -> str:
    """What a claim says, as a link to it."""
    return rf"\textcolor{{link}}{{{claim_link(verdict.claim, escape(verdict.says), places)}}}"


def _discrepancy(verdict: Verdict, places: Places | None) -> str:
    why = escape(verdict.explanation or "No check explains this.")
    head = rf"\paragraph*{{{_says(verdict, places)}}} {why}"
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


def unattempted(verdicts: list[Verdict], places: Places | None = None) -> str:
    """List items for what was only quoted or not tried, with the reason."""
    chosen = [verdict for verdict in verdicts if verdict.verdict in ("quoted", "not attempted")]
    items = [
        rf"\item[{verdict.item}] {_says(verdict, places)} \textit{{{verdict.verdict}.}} "
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
