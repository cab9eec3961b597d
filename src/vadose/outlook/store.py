"""An outlook in place of the forecast store it is made of."""

from pathlib import Path

import xarray as xr

from vadose.artefact import writing
from vadose.outlook.percentiles import with_outlook


def write_outlook(store: Path, cube: xr.Dataset, *, first: str, last: str) -> xr.Dataset:
    """Add percentiles, quantiles and drought classes to a forecast store, and open it.

    Parameters
    ----------
    store
        As `vadose.forecast.forecast` wrote it; it stays as it was when anything fails.
    cube
        Holds the variable that was forecast on the days ``first`` .. ``last`` of the local climatology.

    Raises
    ------
    VadoseError
        As `with_outlook`.
    """
    forecast = xr.open_zarr(store, consolidated=False)
    if "drought_class" in forecast:
        forecast = forecast[["soil_moisture", *({"soil_moisture_std", "inputs_missing"} & set(forecast.data_vars))]]
    outlook = with_outlook(forecast, cube, first=first, last=last)
    for array in outlook.variables.values():
        array.encoding.pop("chunks", None)
    with writing(store) as scratch:
        outlook.to_zarr(scratch, mode="w", zarr_format=3, consolidated=False)
    written: xr.Dataset = xr.open_zarr(store, consolidated=False)
    return written
