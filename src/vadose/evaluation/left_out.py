"""What a table of scores leaves out: samples, sites, days and models, each with its reason and number."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.evaluation.leads import KEYS, Run

COLUMNS = ["dataset", *KEYS, "layer", "lead_days", "reason", "left_out", "out_of", "found", "wanted"]
"""``left_out`` of ``out_of`` for a reason; of pairs the most ``found`` at a site, and those ``wanted``."""
NO_PAIRS = "model with too few pairs at every site"
FEW_PAIRS = "sites with too few pairs"
NOT_ISSUED = "days of issue that others have"
CELLS = "cells that not all have"
OUTSIDE = "stations in no cell of the forecasts"
VALUES = "values outside the valid range"
LEARNT = "days scored that the model has learnt from (not left out)"
UNSCALED = "series that cannot be scaled to the observations"
STATION_DAYS = "station-days that a model has learnt from"
_OF_ALL = ("all", "all", "all")
Rows = list[dict[str, Any]]


def entry(run: Run | None, reason: str, left_out: int, out_of: int | None = None, **more: Any) -> dict[str, Any]:
    """A row of the table; of all runs without one."""
    return dict(zip(KEYS, run or _OF_ALL, strict=True)) | {
        "reason": reason,
        "left_out": left_out,
        "out_of": out_of,
        **more,
    }


def few_pairs(
    runs: Sequence[Run], leads: NDArray[np.int64], most: NDArray[np.int64], pairs: NDArray[np.int64], min_pairs: int
) -> Iterator[dict[str, Any]]:
    """Models without pairs enough (run, lead) of the most at a site, and sites (lead, site) with too few of them."""
    for k, lead in enumerate(map(int, leads)):
        for run, found in zip(runs, most[:, k], strict=True):
            if found < min_pairs:
                yield entry(run, NO_PAIRS, 1, len(runs), lead_days=lead, found=int(found), wanted=min_pairs)
        few = pairs[k] < min_pairs
        if few.any():
            found = int(pairs[k][few].max())
            yield entry(None, FEW_PAIRS, int(few.sum()), len(few), lead_days=lead, found=found, wanted=min_pairs)


def not_issued(stores: Sequence[xr.Dataset], runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """Days of issue within those of all stores together that a store lacks."""
    issued = [pd.DatetimeIndex(store.init_time.values) for store in stores]
    every = issued[0]
    for days in issued[1:]:
        every = every.union(days)
    for days, run in zip(issued, runs, strict=True):
        if len(days) < len(every):
            yield entry(run, NOT_ISSUED, len(every) - len(days), len(every))


def not_scaled(runs: Sequence[Run], leads: NDArray[np.int64], unscaled: NDArray[np.bool_]) -> Iterator[dict[str, Any]]:
    """Series (run, lead, site) that cannot be scaled to the observations."""
    for run, of_run in zip(runs, unscaled, strict=True):
        for lead, failed in zip(map(int, leads), of_run, strict=True):
            if failed.any():
                yield entry(run, UNSCALED, int(failed.sum()), failed.size, lead_days=lead)


def write_left_out(rows: Rows, named: Mapping[str, object], path: Path) -> None:
    """Write the table ``left_out.csv``."""
    numbers = dict.fromkeys(["lead_days", *COLUMNS[-4:]], "Int64")
    pd.DataFrame([{**named, **of} for of in rows], columns=COLUMNS).astype(numbers).to_csv(path, index=False)


def told(path: Path) -> list[str]:
    """The table in a line for each model and reason."""
    table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    lines = []
    for (model, weather, scenario, reason), rows in table.groupby([*KEYS, "reason"], sort=False):
        who = "" if (model, weather, scenario) == _OF_ALL else f" of {model} ({weather}, {scenario})"
        leads = ", ".join(f"{lead:.0f}" for lead in rows.lead_days.dropna())
        count = "" if reason == NO_PAIRS else f", {rows.left_out.max():.0f}"
        count += "" if reason == NO_PAIRS or rows.out_of.isna().all() else f" of {rows.out_of.max():.0f}"
        pairs = (
            "" if rows.wanted.isna().all() else f", {rows.found.max():.0f} pairs found, {rows.wanted.max():.0f} wanted"
        )
        lines.append(f"left out{who}, {reason}{count}{pairs}" + (f", at leads of {leads} days" if leads else ""))
    return lines
