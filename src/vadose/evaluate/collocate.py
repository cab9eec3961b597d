"""Predictions and observations brought to the same sites: cells of a map, or stations in them."""

import numpy as np
import xarray as xr

from vadose.errors import VadoseError
from vadose.grid import grid_of


def at_cells(observed: xr.Dataset, variable: str) -> tuple[xr.DataArray, np.ndarray, np.ndarray]:
    """Observations of a cube at its cells ever observed: (time, site), and the rows and columns."""
    values = observed[variable].transpose("time", "y", "x")
    rows, columns = np.nonzero(values.notnull().any("time").values)
    if not len(rows):
        raise VadoseError(f"the cube holds no {variable} at all; there is nothing to score against")
    at = {"y": xr.DataArray(rows, dims="site"), "x": xr.DataArray(columns, dims="site")}
    names = [f"row {r}, column {c}" for r, c in zip(rows, columns, strict=True)]
    found = values.isel(at).reset_coords(drop=True)
    coords = {
        "site": names,
        "lat": ("site", observed.lat.isel(at).values),
        "lon": ("site", observed.lon.isel(at).values),
    }
    return found.assign_coords(coords), rows, columns


def at_stations(
    stations: xr.Dataset, predicted: xr.Dataset, variable: str
) -> tuple[xr.DataArray, np.ndarray, np.ndarray]:
    """Observations of the stations that lie in a cell of the predictions' grid: (time, site).

    A station outside every cell is left out; ``attrs['stations_outside']`` counts them.

    Raises
    ------
    VadoseError
        When the store lacks the layer of the predictions, or no station lies in any cell.
    """
    layer = predicted.attrs["layer"]
    if layer not in stations.layer.values:
        raise VadoseError(f"the station store has no layer {layer!r}; it has {stations.layer.values.tolist()}")
    rows, columns = grid_of(predicted).rowcol(stations.lat.values, stations.lon.values)
    inside = np.flatnonzero(rows >= 0)
    # A cell of the lattice without data holds no prediction either.
    some = predicted[variable].notnull().any(("init_time", "lead_time")).values
    inside = inside[some[rows[inside], columns[inside]]]
    if not len(inside):
        raise VadoseError(f"none of the {len(rows)} stations lies in a cell of the predictions")
    chosen = stations[variable].sel(layer=layer).isel(station=inside).transpose("time", "station")
    found = (
        chosen.rename(station="site")
        .reset_coords(drop=True)
        .assign_coords(
            site=[str(name) for name in stations.station.values[inside]],
            lat=("site", stations.lat.values[inside]),
            lon=("site", stations.lon.values[inside]),
        )
    )
    found.attrs["stations_outside"] = len(rows) - len(inside)
    return found, rows[inside], columns[inside]
