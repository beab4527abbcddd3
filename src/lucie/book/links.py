"""Where things are in the book: the same places for its pages, for its search and for the links of the PDF.

>>> cell("record", "05_pretraining.ipynb", "architecture")
'notebook/record/05_pretraining.html#architecture'
"""

from __future__ import annotations

from pathlib import Path


def claim(name: str) -> str:
    """The page of a claim."""
    return f"claim/{name}.html"


def notebook(tier: str, file: str) -> str:
    """The page of an executed notebook."""
    return f"notebook/{tier}/{Path(file).stem}.html"


def cell(tier: str, file: str, name: str) -> str:
    """A cell of a notebook, or a value that it gives out: the names of values have dots, those of cells have none."""
    return f"{notebook(tier, file)}#{name}"
