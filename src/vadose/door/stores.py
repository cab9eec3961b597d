"""Stores and files opened lazily."""

from pathlib import Path

import xarray as xr

from vadose.artefact import check_chunks
from vadose.artefact.predictions import as_stored
from vadose.errors import VadoseError


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
        except (OSError, ValueError) as error:
            raise VadoseError(f"{store}: cannot be read as NetCDF ({str(error).splitlines()[0]})") from error
    if not any((store / name).exists() for name in ("zarr.json", ".zgroup")):
        raise VadoseError(f"{store}: no Zarr store there; make one with 'vadose forecast' or 'vadose stations'")
    check_chunks(store)
    return as_stored(xr.open_zarr(store, consolidated=False, decode_coords="all"))
