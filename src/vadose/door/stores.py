"""Stores and files opened lazily."""

from pathlib import Path

import xarray as xr

from vadose.artefact import check_chunks
from vadose.artefact.predictions import as_stored
from vadose.errors import VadoseError

_WAYS = {
    ".gr": "; GRIB is read where cfgrib is installed, or write it as NetCDF (xarray: dataset.to_netcdf)",
    ".csv": "; make a store of a table: vadose stations --table",
}


def open_store(store: Path) -> xr.Dataset:
    """Open a Zarr store of one group, or a NetCDF file, lazily.

    Raises
    ------
    VadoseError
        When there is none, the file cannot be read as NetCDF, or a chunk of the store is missing.
    """
    if store.is_file():
        try:
            return xr.open_dataset(store, chunks={})
        except (OSError, ValueError, EOFError) as error:
            way = next((way for ends, way in _WAYS.items() if store.suffix.lower().startswith(ends)), "")
            said = f"{store}: cannot be read as NetCDF ({str(error).splitlines()[0][:120]}){way}"
            raise VadoseError(said) from error
    if not any((store / name).exists() for name in ("zarr.json", ".zgroup")):
        raise VadoseError(f"{store}: no Zarr store there; make one with 'vadose forecast' or 'vadose stations'")
    check_chunks(store)
    return _as_station_store(as_stored(xr.open_zarr(store, consolidated=False, decode_coords="all")))


def _as_station_store(series: xr.Dataset) -> xr.Dataset:
    """A filled station of an earlier version (time,) as a station store; other data sets as they are."""
    if "station" not in series.attrs or set(series.dims) != {"time"} or "origin" not in series:
        return series
    filled = {name: name.replace("soil_moisture", "soil_moisture_filled") for name in map(str, series.data_vars)}
    observed = series.soil_moisture.where(series.origin == 0)
    station = {"station": [series.attrs["station"]], "layer": ["0-10 cm"]}
    found = series.rename(filled).assign(soil_moisture=observed).expand_dims(station)
    return found.assign_coords({name: ("station", [float(found[name])]) for name in ("lat", "lon") if name in found})
