"""The command `vadose stations` as a function, and station stores with the weather of a grid."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from vadose.errors import VadoseError
from vadose.parallel.progress import Progress, silent

if TYPE_CHECKING:
    import pandas as pd

    from vadose.download.roles import Access
    from vadose.insitu.columns import Columns

PathLike = str | os.PathLike[str]
Out = PathLike | None


def stations(
    table: "PathLike | pd.DataFrame | Sequence[PathLike | pd.DataFrame]" = (),
    *,
    mapping: "PathLike | Columns | Mapping[str, Any] | None" = None,
    metadata: Out = None,
    uscrn: Out = None,
    scan: Out = None,
    ismn: Out = None,
    out: PathLike = "stations.zarr",
    progress: Progress = silent,
) -> xr.Dataset:
    """Build the station store from own tables, or files of USCRN, SCAN and ISMN, with quality flags.

    Parameters
    ----------
    table
        CSV, Parquet or NetCDF files, folders of them, or data frames: a row a day, time or sensor, or a value a row.
    mapping
        What the columns of own tables hold: a YAML file (``vadose stations --explain`` writes one), or its content.
        Default: recognised where name, unit and values leave no doubt; other columns are left out and named.
    metadata
        CSV file of station, latitude, longitude, elevation; for USCRN and SCAN the folder of their coordinates and
        soils.
    uscrn, scan, ismn
        Folders of published files, see `vadose.insitu.store.build_stations`.
    out
        Zarr store to write.

    Raises
    ------
    VadoseError
        If a table cannot be read, a value is no number, a unit is wrong, or it is not said where a station is.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import pandas as pd
    >>> days = pd.date_range("2020-06-01", periods=30)
    >>> mine = pd.DataFrame({"date": days, "lat": 39.1, "lon": -96.6, "vwc_5cm (%)": [20.0 + k % 3 for k in range(30)]})
    >>> with TemporaryDirectory() as folder:
    ...     float(stations(mine, out=f"{folder}/mine.zarr").soil_moisture.sel(layer="0-10 cm")[0, 0])
    0.20000000298023224
    """
    import pandas as pd

    from vadose.door import open_store
    from vadose.insitu.columns import columns_of
    from vadose.insitu.store import build_stations

    several = [table] if isinstance(table, str | os.PathLike | pd.DataFrame) else list(table)
    tables = [one if isinstance(one, pd.DataFrame) else Path(one) for one in several]
    said = Path(mapping) if isinstance(mapping, str | os.PathLike) else mapping
    columns = columns_of(dict(said), "mapping") if isinstance(said, Mapping) else said
    of_network = [None if path is None else Path(path) for path in (metadata, uscrn, scan, ismn)]
    store = build_stations(
        Path(out),
        tables=tables,
        mapping=columns,
        metadata=of_network[0],
        uscrn=of_network[1],
        scan=of_network[2],
        ismn=of_network[3],
        progress=progress,
    )
    return open_store(store)


def with_weather_of_gridmet(store: xr.Dataset, names: Sequence[str], access: "Access") -> xr.Dataset:
    """The stations named, as far as the store has them, with the weather of the gridMET cell that holds each.

    It stands in place of what the stations measure.

    Raises
    ------
    VadoseError
        When gridMET is away, or has no weather at a station.
    """
    from vadose.download.roles import past_weather
    from vadose.samples.land_surface import WEATHER

    store = store.sel(station=store.station.isin(list(names)))
    days = store.indexes["time"]
    points = list(zip(store.lat.values.tolist(), store.lon.values.tolist(), strict=True))
    weather = past_weather(points, days[0].date(), days[-1].date(), access=access)
    if not weather.attrs["source"].startswith("gridMET"):
        raise VadoseError(f"weather of gridMET at stations: {weather.attrs['tried']}; try again later")
    weather = weather.drop_vars(["lat", "lon", "status"], errors="ignore").rename(place="station")
    weather = weather.reindex(time=days)[list(WEATHER)].transpose("station", "time")
    return store.assign(weather.drop_vars("station", errors="ignore").data_vars).assign_attrs(
        weather_source=f"{weather.attrs['source']}, at the cell of each station"
    )
