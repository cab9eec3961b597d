"""Forecasts, observations and products brought to the same cells before they are scored; what falls out is counted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.artefact.learnt import learnt_by_store, overlap
from vadose.door import GRID, as_cube, as_forecasts, as_stations, on_common_cells
from vadose.door.days import Period
from vadose.door.place import Place
from vadose.door.values import MARGIN, checked
from vadose.errors import VadoseError
from vadose.evaluation.collocate import (
    VARIABLE,
    Sites,
    at_cells,
    at_stations,
    compared,
    is_station_store,
    observed_variable,
)
from vadose.evaluation.leads import Run
from vadose.evaluation.strata import Labels, labels_for, strata_of

SPREAD = "soil_moisture_std"
_GIVEN = "stratum "


@dataclass(frozen=True)
class Together:
    """What is scored, all of it in our form and on the same cells.

    Attributes
    ----------
    predictions, runs
        Stores, and model, weather and scenario of each.
    names
        What each is called in messages, the observations last.
    observed
        Cube or station store, with labels given of its cells or stations as coordinates.
    cells_left_out
        Cells of each store, and of the observations, that not all of them have.
    learnt
        Station-days observed that a store has learnt from, and that are left out for all.
    """

    predictions: list[xr.Dataset]
    runs: list[Run]
    names: list[str]
    observed: xr.Dataset
    cells_left_out: list[int]
    learnt: int = 0


def brought_together(
    predictions: Sequence[xr.Dataset],
    observed: xr.Dataset,
    strata: Mapping[str, Sequence[str] | Labels] | None,
    allow_learnt: bool = False,
) -> Together:
    """Forecasts and observations on the cells that all have, found by their coordinates.

    Raises
    ------
    VadoseError
        When one cannot be brought into our form (`vadose.door`), they have no cell in common, or cannot stand in one
        table.
    """
    places = [str(store.encoding.get("source", f"forecasts {n}")) for n, store in enumerate(predictions, 1)]
    stores = [as_forecasts(store, place) for store, place in zip(predictions, places, strict=True)]
    runs = [_key(store) for store in stores]
    _agree(stores, runs)
    of_stations, dims = is_station_store(observed), ("station",) if is_station_store(observed) else ("y", "x")
    sizes = tuple(observed.sizes.get(name, 0) for name in dims)
    number = int(np.prod(sizes))
    for kind, labels in (strata or {}).items():
        words = labels_for(kind, labels, number, f"observations have {number} {'stations' if of_stations else 'cells'}")
        observed = observed.assign_coords({f"{_GIVEN}{kind}": (dims, words.reshape(sizes))})
    place = str(observed.encoding.get("source", "the observations"))
    truth = as_stations(observed, place) if of_stations else as_cube(observed, place)
    learnt = 0
    if of_stations and not allow_learnt:
        truth, learnt = not_learnt(truth, stores)
    if of_stations and len({_grid(store) for store in stores}) > 1:
        stores = [at_stations(store, truth, name) for store, name in zip(stores, places, strict=True)]
    if not of_stations and "station" not in truth.coords:
        named = zip(stores, places, strict=True)
        stores = [at_cells(store, truth, name) if _of_another_grid(store, truth) else store for store, name in named]
    if of_stations:
        stores, left_out = on_common_cells(stores, places)
    else:
        (*stores, truth), left_out = on_common_cells([*stores, truth], [*places, place])
    return Together(stores, runs, [*places, place], truth, left_out, learnt)


def not_learnt(stations: xr.Dataset, stores: Sequence[xr.Dataset]) -> tuple[xr.Dataset, int]:
    """Stations without the days that any store says to have learnt from (``learnt_stations``), and how many these are.

    Raises
    ------
    VadoseError
        When no observation is left.
    """
    names, days = pd.Index(stations.station.values.astype(object)), pd.DatetimeIndex(stations.time.values)
    seen, by = np.zeros((len(names), len(days)), bool), set()
    for store in stores:
        for name, (first, last) in json.loads(str(store.attrs.get("learnt_stations", "{}"))).items():
            if name in names:
                seen[names.get_loc(name)] |= (days >= first) & (days <= last)
                by.add(str(store.attrs["model"]))
    if not seen.any():
        return stations, 0
    of_days = xr.DataArray(seen, dims=("station", "time"))
    observed = stations[VARIABLE].notnull().any("layer")
    count = int((observed & of_days).sum())
    if count and count == int(observed.sum()):
        raise VadoseError(
            f"{', '.join(sorted(by))}: learnt from all {count} station-days observed; score at other stations or on "
            "later days, or say that this is wanted (--allow-learnt-days)"
        )
    return stations.assign({VARIABLE: stations[VARIABLE].where(~of_days)}), count


def learnt_days(
    predictions: Sequence[xr.Dataset], runs: Sequence[Run], days: pd.DatetimeIndex, allowed: bool
) -> dict[Run, int]:
    """How many of the days to score each model has learnt from, where that is any.

    Raises
    ------
    VadoseError
        When it is and is not allowed.
    """
    scored, found = Period(f"{days[0]:%Y-%m-%d}", f"{days[-1]:%Y-%m-%d}"), {}
    for store, run in zip(predictions, runs, strict=True):
        if words := overlap(store.attrs, scored):
            if not allowed:
                raise VadoseError(
                    f"{run[0]}: {words}, and it is scored on {scored}; score later days (--from, --to), or "
                    "say that this is wanted (--allow-learnt-days)"
                )
            spans = [period.days for period in learnt_by_store(store.attrs).values()]
            found[run] = int(np.any([days.isin(span) for span in spans], axis=0).sum())
    return found


def labels_of(observed: xr.Dataset, cube: xr.Dataset | None, sites: Sites, layer: str) -> dict[str, Labels]:
    """Class of each site by kind, of those found and those given; a kind of which no site has any is left out."""
    found: dict[str, Any] = strata_of(
        observed, None if cube is None else as_cube(cube, "the cube of strata"), layer=layer
    )
    for name in map(str, observed.coords):
        if name.startswith(_GIVEN):
            found[name.removeprefix(_GIVEN)] = observed[name].values
    labels = {kind: np.array([str(label) for label in np.ravel(of)[sites.place]], object) for kind, of in found.items()}
    return {kind: of_site for kind, of_site in labels.items() if (of_site != "").any()}


def analyses_at(
    products: Mapping[str, xr.DataArray], first: xr.Dataset, sites: Sites, days: pd.DatetimeIndex
) -> tuple[dict[str, NDArray[np.floating]], dict[Run, int]]:
    """Products at the sites (day, site), and how many of their values lay off the valid range.

    Raises
    ------
    VadoseError
        When one lacks cells of the predictions, and as of `vadose.door.values.checked`.
    """
    found, outside = {}, {}
    for name, values in products.items():
        if set(values.dims) != {"time", "y", "x"}:
            raise VadoseError(f"product {name}: dims {dict(values.sizes)}; expected (time, y, x)")
        # Whatever its own name, it is what the forecasts are compared to, in whose units and range.
        variable = compared(observed_variable(first))
        (_, product), (lacking, _) = on_common_cells(
            [first, as_cube(values.to_dataset(name=variable), f"product {name}")], ["the forecasts", f"product {name}"]
        )
        if lacking:
            raise VadoseError(f"product {name}: lacks {lacking} cells of the forecasts; give one that holds all cells")
        at_sites = product[variable].transpose("time", "y", "x").reindex(time=days).values[:, sites.rows, sites.columns]
        found[name], outside[(name, "analysis", "all")] = checked(
            at_sites.astype(float), variable, f"product {name}", MARGIN
        )
    return found, outside


def _grid(store: xr.Dataset) -> tuple[object, ...]:
    """What tells one grid from another, so far as its cells can be the same."""
    place = Place.of(store)
    if place.stations:
        return ("stations",)
    return (place.crs or place.lat, *(round(float(length), 6) for length in (place.cell, *place.steps)))


def _of_another_grid(store: xr.Dataset, cells: xr.Dataset) -> bool:
    """Whether cells of a store are not those of a cube: of another size or projection, or of places of their own."""
    if "station" in store.coords or not all(cells.attrs.get(name) for name in GRID):
        return False
    if not store.attrs.get("grid_crs"):
        return {"lat", "lon"} <= set(store.coords) and not any(np.isin(store[a], cells[a]).any() for a in ("y", "x"))
    if not all(store.attrs.get(name) for name in GRID):
        return False
    if store.attrs["grid_crs"] != cells.attrs["grid_crs"]:
        return True
    size = float(store.attrs["cell_size"]) / float(cells.attrs["cell_size"])
    return not 1 / 1.5 < size < 1.5


def _key(store: xr.Dataset) -> Run:
    """Model, weather and scenario of a store."""
    for name in {VARIABLE, SPREAD} & {VARIABLE, *store.data_vars}:
        if name not in store or set(store[name].dims) != {"init_time", "lead_time", "y", "x"}:
            raise VadoseError(
                f"the store of {store.attrs['model']} has no {name} (init_time, lead_time, y, x); "
                f"found {list(store.data_vars)}"
            )
    return str(store.attrs["model"]), str(store.attrs["weather"]), str(store.attrs["scenario"])


def _agree(predictions: Sequence[xr.Dataset], runs: list[Run]) -> None:
    """Refuse stores that cannot stand in one table."""
    if double := {run for run in runs if runs.count(run) > 1}:
        raise VadoseError(f"two stores are of {sorted(double)}: expected one store per model, weather and scenario")
    first = predictions[0]
    for store, run in zip(predictions, runs, strict=True):
        for key in ("layer", "dataset", "simulated"):
            if store.attrs[key] != first.attrs[key]:
                raise VadoseError(f"{run[0]} is of {key} {store.attrs[key]!r}, {runs[0][0]} of {first.attrs[key]!r}")
        if observed_variable(store) != observed_variable(first):
            raise VadoseError(
                f"{run[0]} is scored against {observed_variable(store)}, {runs[0][0]} against "
                f"{observed_variable(first)}; evaluate them separately"
            )
        if not np.array_equal(store.lead_time.values, first.lead_time.values):
            raise VadoseError(f"{run[0]} and {runs[0][0]} differ in lead_time; score stores with equal lead times")
