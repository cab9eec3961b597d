"""The outlook of a place as a figure: the days before, the range ahead, what is usual, drought classes, and sources."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from vadose.artefact import writing
from vadose.predict.outlook.drawing import COLOURS
from vadose.predict.outlook.percentiles import CLASSES, MISSING, NONE, THRESHOLDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 120
"""Days before the day of issue."""
LEADS = (0, 7, 14, 30)
"""Days ahead that are told in words."""
INK, AHEAD = "#1b2a38", "#0b4f8a"
OBSERVED = "soil_moisture_observed"
_FAINT = 0.5
"""Opacity of the classes behind the curves."""
_USUAL, _WET = "#e9eee6", "#cfe3ef"


@dataclass(frozen=True)
class Told:
    """What stands above and below the curves.

    Attributes
    ----------
    title
        Such as ``'Riley, KS (39.10 N, 96.60 W)'``.
    issued
        Day of issue.
    notes
        Lines of small print: sources, their ages, how far to trust the figures.
    simulated
        Whether the data are simulated.
    """

    title: str
    issued: pd.Timestamp
    notes: Sequence[str]
    simulated: bool = False


def draw_place(outlook: xr.Dataset, told: Told, out_png: Path) -> Path:
    """Draw one place of `vadose.predict.outlook.point.outlook_of_places`, (time, layer), a panel a layer.

    Behind the curve lie the drought classes of each day, by the model's own 1991-2020. The range ahead is that of the
    weather and of the model's changes; the bar at its end has the error of the place's level too. Own observations,
    ``soil_moisture_observed``, are points.
    """
    from matplotlib.figure import Figure

    kept = outlook.sel(time=slice(told.issued - pd.Timedelta(days=SHOWN), None))
    figure = Figure(figsize=(12.4, 11.2), layout="constrained")
    rows = len(kept.layer)
    grid = figure.add_gridspec(rows + 1, 2, width_ratios=(5.2, 1.9), height_ratios=(*[1.0] * rows, 0.34))
    curves = [figure.add_subplot(grid[row, 0]) for row in range(rows)]
    for row, (axis, layer) in enumerate(zip(curves, kept.layer.values, strict=True)):
        of_layer = kept.sel(layer=layer)
        _curve(axis, of_layer, told.issued)
        _words(figure.add_subplot(grid[row, 1]), of_layer, told.issued)
        _dates(axis, last=row == rows - 1)
    curves[0].set_title("soil moisture [m³ m⁻³], the days before and ahead", fontsize=10, loc="left", color="0.3")
    below = figure.add_subplot(grid[rows, :])
    below.axis("off")
    _key(below, OBSERVED in kept)
    small = "\n".join(fill(note, 185) for note in told.notes)
    below.text(0.0, 0.45, small, fontsize=7.4, color="0.35", va="top", transform=below.transAxes)
    simulated = " — SIMULATED DATA" * told.simulated
    title = f"Soil-moisture outlook for {told.title}, {told.issued:%-d %B %Y}{simulated}"
    figure.suptitle(title, fontsize=14, color="#a00000" if simulated else "black")
    with writing(out_png) as scratch:
        figure.savefig(scratch, format="png", dpi=110)
    return out_png


def day_number(day: Any) -> float:
    """Position of a day on an axis of dates."""
    from matplotlib.dates import date2num

    return float(date2num(pd.Timestamp(day).to_pydatetime()))  # type: ignore[no-untyped-call]


def class_name(number: int) -> str:
    """Of a drought class, for people."""
    if number == MISSING:
        return "unknown"
    return "no drought" if number == NONE else f"D{number} {CLASSES[number]}"


def _curve(axis: "Axes", of_layer: xr.Dataset, issued: pd.Timestamp) -> None:
    time = of_layer.time.values
    observed = of_layer[OBSERVED].values if OBSERVED in of_layer else None
    narrow = of_layer.soil_moisture_quantile_given_level
    spread = narrow.where((of_layer.time >= np.datetime64(issued)) | (narrow["quantile"].isin([0.25, 0.5, 0.75])))
    seen = [float(spread.min()), float(spread.max())]
    seen += (
        [] if observed is None or np.isnan(observed).all() else [float(np.nanmin(observed)), float(np.nanmax(observed))]
    )
    low, high = min(seen), max(seen)
    low, high = max(low - 0.12 * (high - low), 0.0), high + 0.12 * (high - low)
    _classes(axis, of_layer, low, high)
    before, after = time <= np.datetime64(issued), time >= np.datetime64(issued)
    level = {q: narrow.sel(quantile=q).values for q in narrow["quantile"].values}
    axis.fill_between(time[before], level[0.25][before], level[0.75][before], color=INK, alpha=0.18, linewidth=0)
    for inner, outer, alpha in ((0.05, 0.95, 0.2), (0.25, 0.75, 0.3)):
        axis.fill_between(time[after], level[inner][after], level[outer][after], color=INK, alpha=alpha, linewidth=0)
    axis.plot(time[before], level[0.5][before], color=INK, linewidth=1.6)
    axis.plot(time[after], level[0.5][after], color=AHEAD, linewidth=1.8, linestyle=(0, (4, 1.5)))
    if observed is not None:
        axis.plot(time, observed, ".", color="#7a3b8f", markersize=3.5, zorder=5)
    axis.axvline(day_number(issued), color=INK, linewidth=0.8, linestyle=":")
    # The whole uncertainty, the level of the place with it, beside the end of the range.
    end, ends = day_number(time[-1]) + 3, of_layer.soil_moisture_quantile.isel(time=-1)
    axis.plot([end, end], [ends.sel(quantile=0.05), ends.sel(quantile=0.95)], color=INK, linewidth=1.0, clip_on=True)
    axis.plot([end, end], [ends.sel(quantile=0.25), ends.sel(quantile=0.75)], color=INK, linewidth=3.0, clip_on=True)
    axis.set_xlim(day_number(time[0]), end + 2)
    axis.set_ylim(low, high)
    axis.tick_params(labelsize=8)
    axis.set_ylabel(str(of_layer.layer.values), fontsize=11, fontweight="bold")
    axis.annotate(
        "today",
        (day_number(issued), 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(3, -10),
        textcoords="offset points",
        fontsize=8,
    )


def _classes(axis: "Axes", of_layer: xr.Dataset, low: float, high: float) -> None:
    """Drought classes of each day, from the driest below to what is wet above."""
    time = of_layer.time.values
    level = {round(float(of), 2): of_layer.normal.sel(level=of).values for of in of_layer.level.values}
    edges = [np.full(len(time), low), *(level[t / 100] for t in THRESHOLDS[::-1]), level[0.7], np.full(len(time), high)]
    shades = [*COLOURS[:0:-1], _USUAL, _WET]
    for under, over, shade in zip(edges[:-1], edges[1:], shades, strict=True):
        axis.fill_between(
            time, np.clip(under, low, high), np.clip(over, low, high), color=shade, alpha=_FAINT, linewidth=0
        )
    axis.plot(time, level[0.5], color="0.45", linewidth=0.7, linestyle="-")


def _words(axis: "Axes", of_layer: xr.Dataset, issued: pd.Timestamp) -> None:
    """Percentile and class of some days, and how probable drought is."""
    axis.axis("off")
    issued_on = of_layer.time.values == np.datetime64(issued)
    first = int(np.flatnonzero(issued_on)[0])
    leads = [lead for lead in LEADS if first + lead < of_layer.sizes["time"]]
    axis.set_ylim(len(leads) - 0.35, -0.65)
    axis.set_xlim(0, 1)
    for row, lead in enumerate(leads):
        day = of_layer.isel(time=first + lead)
        number, share = int(day.drought_class), float(day.soil_moisture_percentile)
        chance = 100 * float(day.drought_probability.sel(drought_threshold=20))
        shade = COLOURS[number + 1] if number != MISSING else "0.8"
        axis.add_patch(_box(0.0, row - 0.3, 0.1, 0.6, shade))
        when = "today" if lead == 0 else f"in {lead} days"
        axis.text(0.14, row - 0.14, f"{when}: {class_name(number)}", fontsize=9.5, va="center", fontweight="bold")
        moisture = day.soil_moisture_quantile.values
        axis.text(
            0.14,
            row + 0.16,
            f"wetter than {share:.0f} % of 1991-2020; D1 or worse {chance:.0f} %\n"
            f"{moisture[2]:.2f} m³ m⁻³ (90 %: {moisture[0]:.2f}-{moisture[4]:.2f})",
            fontsize=7.6,
            va="center",
            color="0.25",
        )


def _box(x: float, y: float, width: float, height: float, shade: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), width, height, facecolor=shade, edgecolor="0.5", linewidth=0.6)


def _dates(axis: "Axes", *, last: bool) -> None:
    from matplotlib.dates import ConciseDateFormatter, MonthLocator

    locator = MonthLocator()  # type: ignore[no-untyped-call]
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axis.tick_params(labelbottom=last)


def _key(axis: "Axes", observed: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Line2D([], [], color=INK, linewidth=1.6, label="estimate, with the middle half of its error"),
        Line2D([], [], color=AHEAD, linewidth=1.8, linestyle=(0, (4, 1.5)), label="median ahead"),
        Patch(facecolor=INK, alpha=0.44, label="25-75 %"),
        Patch(facecolor=INK, alpha=0.2, label="5-95 %"),
        Line2D([], [], color=INK, linewidth=3, label="bar at the end: with the error of the place's level"),
        Line2D([], [], color="0.45", linewidth=0.7, label="median 1991-2020"),
    ]
    if observed:
        handles.append(Line2D([], [], color="#7a3b8f", marker=".", linestyle="", label="own sensor"))
    shades = [
        Patch(facecolor=COLOURS[k + 1], alpha=_FAINT, label=f"D{k} (driest {t} %)") for k, t in enumerate(THRESHOLDS)
    ]
    shades += [Patch(facecolor=_USUAL, label="usual (30-70 %)"), Patch(facecolor=_WET, label="wet (above 70 %)")]
    axis.legend(handles=[*handles, *shades], loc="upper left", ncols=5, fontsize=7.8, frameon=False, borderaxespad=0)
