"""Predicted against observed, as counts of pairs in bins."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vadose.evaluation.metrics import bias, pearson_r, rmse, sums, ubrmse

Pairs = tuple[NDArray[Any], NDArray[Any]]
"""Predicted and observed, paired [m3 m-3]."""
_BINS = 70


def scatter(panels: Mapping[str, Mapping[str, Pairs]], predicted: str = "predicted") -> Figure:
    """Predicted against observed, one row of panels per key of ``panels`` and one panel per key of its entries.

    The scores in a panel pool all its pairs, as in the papers; they are not medians over sites. ``predicted`` is the
    word on the vertical axis.
    """
    titles = list(dict.fromkeys(title for row in panels.values() for title in row))
    figure = Figure(figsize=(2.7 * len(titles) + 1.0, 2.7 * len(panels) + 0.3), layout="compressed")
    axes = figure.subplots(len(panels), len(titles), squeeze=False, sharex=True, sharey=True)
    series = [values for row in panels.values() for pairs in row.values() for values in pairs if len(values)]
    top = 1.1 * max((float(np.percentile(values, 99.9)) for values in series), default=0.5)
    edges = np.linspace(0, top, _BINS)
    counts = {}
    for row, (name, shown) in enumerate(panels.items()):
        for column, title in enumerate(titles):
            axis = axes[row, column]
            if title not in shown:
                axis.set_axis_off()
                continue
            counts[row, column] = np.histogram2d(*shown[title][::-1], bins=[edges, edges])[0].T
            _annotate(axis, _pooled(*shown[title]), top)
            if row == 0:
                axis.set_title(title, fontsize=9)
        axes[row, 0].set_ylabel(f"{name}\n{predicted} [m³ m⁻³]", fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("observed [m³ m⁻³]", fontsize=8)
    norm = LogNorm(1, max(2.0, *(count.max() for count in counts.values())))
    for place, count in counts.items():
        drawn = axes[place].pcolormesh(edges, edges, np.where(count > 0, count, np.nan), norm=norm, cmap="viridis")
    colour_bar(figure, drawn, axes, "pairs in a bin")
    return figure


def _annotate(axis: Axes, text: str, top: float) -> None:
    box = {"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1}
    axis.text(0.03, 0.97, text, transform=axis.transAxes, va="top", fontsize=7, bbox=box)
    axis.plot([0, top], [0, top], color="black", linewidth=0.8)
    axis.set_aspect("equal")
    axis.tick_params(labelsize=7)


def _pooled(predicted: NDArray[np.floating], observed: NDArray[np.floating]) -> str:
    """Scores of all pairs of a panel together."""
    if not len(observed):
        return "no pairs"
    m = sums(predicted, observed, observed.mean())
    errors = f"RMSE {rmse(m):.3f}\nbias {bias(m):+.3f}\nubRMSE {ubrmse(m):.3f}"
    return f"R {pearson_r(m):.2f}\n{errors}\nn {len(observed):,}"


def colour_bar(figure: Figure, drawn: ScalarMappable, axes: Axes | Iterable[Axes], label: str, **options: Any) -> None:
    """Add a colour bar with small labels."""
    bar = figure.colorbar(drawn, ax=axes, shrink=0.85, pad=0.01, **options)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)
