"""The ten-day table of Sentinel-1, Sentinel-2 and SMAP at gauges of USCRN, as features of stations."""

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vadose import features
from vadose.artefact import identity, provenance
from vadose.errors import VadoseError
from vadose.features.derived import derive
from vadose.gapfill.overpasses import fill_days
from vadose.variables import describe

TABLE, PLACES = "SMGaugePoints2.csv", "namesandcoordinates.csv"
COLUMNS = (
    "B2",
    "B3",
    "B4",
    "B8",
    "B11",
    "VV",
    "VH",
    "ssm",
    "fc",
    "landcover",
    "elevation",
    "StartDate",
    "EndDate",
    "PointIndex",
)
DEPTH = 50.0
"""Layer that the table's surface moisture [mm] is of [mm]: SMAP's, 0-5 cm."""
SAME_SITE = 0.02
"""Degrees between a gauge and the station of its name."""
_BANDS = {
    "B2": "reflectance_blue",
    "B3": "reflectance_green",
    "B4": "reflectance_red",
    "B8": "reflectance_nir",
    "B11": "reflectance_swir1",
    "VV": "vv",
    "VH": "vh",
}
_INDICES = ("ndvi", "evi", "ndwi", "lswi", "cross_ratio", "dpsvim", "polarization")


def is_ten_day(folder: Path) -> bool:
    """Whether a folder holds the table."""
    return (folder / TABLE).exists() and (folder / PLACES).exists()


def read_ten_day(folder: Path, stations: xr.Dataset, days: pd.DatetimeIndex, *, mode: str = "causal") -> xr.Dataset:
    """Read the table as daily features of the stations of a store.

    Composites of ten days of Sentinel-2 (top-of-atmosphere reflectance x 10000, so that indices differ from those
    of surface reflectance; clouds are not masked), Sentinel-1 [dB] and SMAP (surface moisture in mm, divided by the 50
    mm of its layer). The value of a composite is known from the day its ten days have ended; between them it is
    filled by `vadose.gapfill.overpasses.fill_days`.

    Parameters
    ----------
    folder
        Of ``SMGaugePoints2.csv``, whose rows are gauge by gauge in the order of ``namesandcoordinates.csv``, and the
        latter.
    stations
        (station) with ``lat`` and ``lon`` [degree]; a gauge is the station of network USCRN whose name ends as its own
        and which lies within 0.02 degrees of it.
    days
        Each day of a period.
    mode
        ``'causal'`` or ``'paper'``.

    Returns
    -------
    xarray.Dataset
        (station, time): ``ndvi``, ``evi``, ``ndwi``, ``lswi``, ``cross_ratio``, ``dpsvim``, ``polarization``,
        ``soil_moisture_smap`` and their ages; (station): ``field_capacity``, ``topographic_position`` and
        ``land_cover_forest`` and so on, NaN at stations that the table does not have.

    Raises
    ------
    VadoseError
        When a file is missing or not as published, or no gauge is among the stations.
    """
    if not is_ten_day(folder):
        raise VadoseError(f"{folder}: no {TABLE} and {PLACES}; give the folder of the ten-day table")
    rows, places = pd.read_csv(folder / TABLE), pd.read_csv(folder / PLACES)
    if missing := [name for name in COLUMNS if name not in rows]:
        raise VadoseError(f"{folder / TABLE}: no column {missing}; found {list(rows)[:8]} ...")
    if missing := [name for name in ("Station", "Latitude", "Longitude") if name not in places]:
        raise VadoseError(f"{folder / PLACES}: no column {missing}; found {list(places)}")
    steps = rows.PointIndex.nunique()
    if len(rows) != steps * len(places) or (np.asarray(rows.PointIndex).reshape(-1, steps) != np.arange(steps)).any():
        raise VadoseError(
            f"{folder / TABLE}: {len(rows)} rows are not {steps} steps of each of the {len(places)} gauges in turn"
        )
    known = pd.to_datetime(rows.EndDate.values[:steps])
    of_gauge = {name: rows[name].to_numpy(float).reshape(len(places), steps) for name in COLUMNS[:11]}
    gauge = _gauges(places, stations)
    if (gauge < 0).all():
        raise VadoseError(f"{folder / PLACES}: none of its {len(places)} gauges is among the stations; give USCRN too")
    axes = {"station": stations.station.values.astype(object), "time": known}

    def at(values: np.ndarray) -> np.ndarray:
        return np.where((gauge >= 0).reshape(-1, *[1] * (values.ndim - 1)), values[gauge], np.nan)

    band = {name: xr.DataArray(at(of_gauge[name]), axes, ("station", "time")) for name in of_gauge}
    for name in ("B2", "B3", "B4", "B8", "B11"):
        band[name] = band[name] / 1e4
    for name in ("VV", "VH"):
        band[name] = features.from_decibel(band[name])
    bands = xr.Dataset({ours: band[theirs] for theirs, ours in _BANDS.items()})
    indices = derive(bands, _INDICES, ("pixel",))
    made = {name: indices[name] for name in _INDICES}
    made["soil_moisture_smap"] = (band["ssm"] / DEPTH).rename("soil_moisture_smap")
    whole = pd.date_range(min(days[0], known[0]), days[-1])
    table = xr.Dataset(coords={"station": axes["station"], "time": days})
    for name, values in made.items():
        daily = values.astype(np.float32).rename(name).reindex(time=whole)
        table = table.merge(fill_days(daily, mode).reindex(time=days), combine_attrs="drop")
    fixed = {name: at(of_gauge[name][:, 0]) for name in ("fc", "landcover", "elevation")}
    # Means over pixels of several classes are no class.
    code = np.where(fixed["landcover"] == np.round(fixed["landcover"]), fixed["landcover"], np.nan)
    covers = [f"land_cover_{name}" for name in features.NLCD_GROUPS["mmnet"]]
    groups = derive(xr.Dataset({"land_cover_nlcd": ("station", code)}), covers, ("pixel",))
    table = table.assign(groups[covers].data_vars)
    table["field_capacity"] = "station", (fixed["fc"] / 100).astype(np.float32)
    table["topographic_position"] = "station", fixed["elevation"].astype(np.float32)
    table.attrs = {"mode": mode, "simulated": "false"} | provenance(
        files=identity(folder / TABLE, folder / PLACES), mode=mode, days=[str(days[0]), str(days[-1])]
    )
    return describe(table)


def _gauges(places: pd.DataFrame, stations: xr.Dataset) -> np.ndarray:
    """Row of the gauge at each station, -1 where there is none."""
    found = np.full(stations.sizes["station"], -1)
    for k, station in enumerate(map(str, stations.station.values)):
        network, _, name = station.partition(":")
        near = (abs(places.Latitude - stations.lat.values[k]) < SAME_SITE) & (
            abs(places.Longitude - stations.lon.values[k]) < SAME_SITE
        )
        same = near & np.array([name.endswith(f"_{gauge}") for gauge in places.Station])
        if network == "USCRN" and same.any():
            found[k] = int(np.flatnonzero(same)[0])
    return found
