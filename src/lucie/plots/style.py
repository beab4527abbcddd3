"""One look for all figures."""

from __future__ import annotations

import matplotlib
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure

TEXT_WIDTH = 6.3  # inches, of the report's page
COLOURS = seaborn.color_palette("colorblind", 10)
GREY = "0.45"

matplotlib.rcParams.update(
    {
        "font.size": 8,
        "axes.titlesize": 9,
        "axes.labelsize": 8,
        "legend.fontsize": 7.5,
        "xtick.labelsize": 7.5,
        "ytick.labelsize": 7.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "grid.linewidth": 0.4,
        "grid.color": "0.85",
        "lines.linewidth": 1.2,
        "legend.frameon": False,
        "pdf.fonttype": 42,  # text stays text
        "svg.hashsalt": "lucie",
        "figure.dpi": 110,
    }
)

__all__ = ["COLOURS", "GREY", "TEXT_WIDTH", "Axes", "Figure", "new_figure"]


def new_figure(height: float, width: float = TEXT_WIDTH) -> Figure:
    """An empty figure of that size in inches; it is not shown before it is given out."""
    return Figure(figsize=(width, height), layout="constrained")
