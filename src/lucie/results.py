"""What a notebook leaves behind: values, tables and figures, each through one call.

    results = Results.begin("corpus_statistics", tier=tier)
    results.value("corpus.tokens.total", tokens, unit="tokens")
    results.table("corpus.composition", frame)
    results.figure("corpus.languages", figure, alt="Pie of the tokens by language")
    folder = results.work("clean_corpus")               # for what is too big for git
    results.product("clean_corpus", folder.glob("*.parquet"))
    results.close()

The runner (lucie.run) says by environment variables where to write and what to show as the stamp. A notebook that
is opened by hand writes under build/interactive/ and its stamp says so.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Iterable
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lucie import trace
from lucie.files import sha256, write_json
from lucie.project import Project

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

OUTPUT_VARIABLE = "LUCIE_STAGE_OUTPUT"
STAMP_VARIABLE = "LUCIE_STAMP"
WORK_VARIABLE = "LUCIE_WORK"
NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
FIGURE_DPI = 144


class Results:
    """The results of one stage while its notebook runs."""

    def __init__(self, stage: str, folder: Path, project: Project) -> None:
        self.stage = stage
        self.folder = folder
        self._project = project
        self._values: dict[str, dict[str, Any]] = {}
        self._files: dict[str, dict[str, Any]] = {}
        self._products: list[str] = []
        self._closed = False

    @classmethod
    def begin(cls, stage: str, tier: str) -> Results:
        """Start the stage: from here on, what the notebook reads is recorded. Prints the stamp."""
        project = Project.find()
        trace.start(project.root)
        given = os.environ.get(OUTPUT_VARIABLE)
        folder = Path(given) if given else project.build / "interactive" / tier / stage
        folder.mkdir(parents=True, exist_ok=True)
        _show_tables_plainly()
        print(os.environ.get(STAMP_VARIABLE) or f"stage {stage} · tier {tier} · opened by hand: not recorded")
        return cls(stage, folder, project)

    def value(
        self,
        name: str,
        value: float | int | str,
        unit: str = "",
        between: tuple[float, float] | None = None,
        varies: bool = False,
    ) -> None:
        """Give out one number or word.

        ``between`` is where another run of the same is expected (an interval over seeds). What ``varies`` from machine
        to machine (a time, a speed) is never judged. Raises ValueError for a name already given, a malformed name or a
        value that is not finite.
        """
        self._check(name, self._values)
        plain = value.item() if hasattr(value, "item") else value
        if not isinstance(plain, int | float | str):
            raise ValueError(f"Value '{name}' is a {type(plain).__name__}; give a number or a string.")
        if isinstance(plain, float) and not math.isfinite(plain):
            raise ValueError(f"Value '{name}' is {plain}.")
        self._values[name] = {"value": plain, "unit": unit, "stage": self.stage, "cell": _cell(), **_varying(varies)}
        if between is not None:
            self._values[name]["between"] = [float(bound) for bound in between]

    def table(self, name: str, frame: pl.DataFrame, varies: bool = False) -> pl.DataFrame:
        """Give out a table (kept as CSV, full precision); returns it, to be shown. ``varies`` as for a value."""
        self._check(name, self._files)
        path = self._file("tables", f"{name}.csv")
        frame.write_csv(path)
        self._files[name] = {"kind": "table", "files": [f"tables/{name}.csv"], "cell": _cell(), **_varying(varies)}
        return frame

    def figure(self, name: str, figure: Figure, alt: str, varies: bool = False) -> Any:
        """Give out a figure (PDF and PNG) with its alternative text; returns it, to be shown. ``varies`` as above."""
        from IPython.display import Image

        self._check(name, self._files)
        pdf, png = self._file("figures", f"{name}.pdf"), self._file("figures", f"{name}.png")
        figure.savefig(pdf, metadata={"CreationDate": None, "Producer": None, "Creator": None})
        figure.savefig(png, dpi=FIGURE_DPI, metadata={"Software": None})
        files = [f"figures/{name}.pdf", f"figures/{name}.png"]
        self._files[name] = {"kind": "figure", "files": files, "cell": _cell(), "alt": alt, **_varying(varies)}
        width = round(figure.get_figwidth() * FIGURE_DPI / 1.5)
        return Image(png.read_bytes(), alt=alt, width=width)

    def document(self, name: str, content: Any, varies: bool = False) -> None:
        """Give out what another program wrote, as JSON. ``varies`` as for a value."""
        self._check(name, self._files)
        write_json(self._file("documents", f"{name}.json"), content)
        files = [f"documents/{name}.json"]
        self._files[name] = {"kind": "document", "files": files, "cell": _cell(), **_varying(varies)}

    def work(self, name: str) -> Path:
        """The folder of a product (big files): under build/<tier>/ in `work`, not in git. It outlives a failed run."""
        given = os.environ.get(WORK_VARIABLE)
        folder = (Path(given) if given else self.folder / "work") / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def product(self, name: str, files: Iterable[Path], varies: bool = False) -> dict[str, dict[str, Any]]:
        """Give out big files of the folder ``work(name)``: their sizes and sha256 are kept, and returned."""
        self._check(f"product.{name}", self._files)
        folder = self.work(name)
        listed = {
            path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
            for path in sorted(files)
        }
        write_json(self._file("products", f"{name}.json"), listed)
        listing = {"kind": "product", "files": [f"products/{name}.json"], "cell": _cell(), **_varying(varies)}
        self._files[f"product.{name}"] = listing
        self._products.append(name)
        return listed

    def close(self) -> None:
        """End the stage: nothing can be given out any more. Prints what was."""
        self._refuse_when_closed()
        self._closed = True
        write_json(
            self.folder / "outputs.json",
            {
                "values": self._values,
                "files": self._files,
                "reads": [self._project.relative(path) for path in trace.opened()],
                "products": self._products,
                "packages": _packages(),
            },
        )
        kinds = [entry["kind"] for entry in self._files.values()]
        print(f"{len(self._values)} values, {kinds.count('table')} tables, {kinds.count('figure')} figures")

    def _file(self, folder: str, name: str) -> Path:
        path = self.folder / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _check(self, name: str, taken: dict[str, Any]) -> None:
        self._refuse_when_closed()
        if not NAME.fullmatch(name):
            raise ValueError(f"'{name}' is not a result's name. Write it like 'corpus.tokens.total'.")
        if name in taken:
            raise ValueError(f"'{name}' was already given out by this notebook.")

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise ValueError("The results are closed: give results out before results.close().")


def _varying(varies: bool) -> dict[str, bool]:
    return {"varies": True} if varies else {}


def read_outputs(folder: Path) -> dict[str, Any]:
    """What a notebook's results.close() wrote."""
    content: dict[str, Any] = json.loads((folder / "outputs.json").read_text(encoding="utf-8"))
    return content


def _show_tables_plainly() -> None:
    import polars

    polars.Config(
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
        tbl_rows=40,
        thousands_separator=" ",
        fmt_str_lengths=80,
    )
    shell = _shell()
    if shell:
        shell.display_formatter.formatters["text/html"].for_type(polars.DataFrame, _html)


def _html(frame: pl.DataFrame) -> str:
    """A table as polars shows it, without the quotes around words."""
    return re.sub(r"<td>&quot;(.*?)&quot;</td>", r"<td>\1</td>", frame._repr_html_())


def _shell() -> Any:
    """The running notebook's shell; None outside of one."""
    from IPython.core.getipython import get_ipython

    return get_ipython()


def _cell() -> int | None:
    """The execution count of the running cell; the runner turns it into the cell's id."""
    shell = _shell()
    return len(shell.user_ns["In"]) - 1 if shell else None  # the count itself may already be the next cell's


def _packages() -> dict[str, str]:
    """The installed packages whose modules this process has imported, with their versions."""
    owners = packages_distributions()
    imported = {name.partition(".")[0] for name in sys.modules}
    names = {owner for module in imported for owner in owners.get(module, []) if owner != "lucie"}
    return {name: version(name) for name in sorted(names, key=str.lower)}
