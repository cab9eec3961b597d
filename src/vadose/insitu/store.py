"""Station files of USCRN, SCAN and ISMN, and own tables, to one screened Zarr store."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.artefact import identity, is_current, provenance, writing
from vadose.errors import VadoseError
from vadose.insitu.columns import Columns
from vadose.insitu.files import DEPTHS, nearest, stands_for, stations_of
from vadose.insitu.screening import BIT, FLAGS, KEPT, KEPT_HIGH, masks_of, screen
from vadose.insitu.tables import stations_of_tables
from vadose.parallel.progress import Progress
from vadose.products.ranges import within
from vadose.variables import VARIABLES, describe

# A sensor that averages over more than this is at no depth of the store [m]; cosmic-ray probes do.
THICKEST = 0.10
# Each layer is represented by one sensor [cm]; layers are not averaged over sensors.
LAYER_DEPTHS = {"0-10 cm": 5, "10-40 cm": 20, "40-100 cm": 50}
WEATHER = (
    "precipitation",
    "air_temperature",
    "air_temperature_max",
    "air_temperature_min",
    "relative_humidity",
    "shortwave_radiation",
    "surface_temperature",
)
SOILS = ("sand_fraction", "silt_fraction", "clay_fraction", "bulk_density", "saturation")
# The sun at the top of the atmosphere gives no place more in a day's mean [W m-2].
RANGES = {name: v.valid_range for name, v in VARIABLES.items()} | {"shortwave_radiation": (0.0, 550.0)}
COUNTS = ("missing_codes", "lines_dropped", "readings_repeated")  # attributes of its files that the store sums up
SIMULATED_MARKER = "SIMULATED.txt"


def build_stations(
    out: Path,
    *,
    uscrn: Path | None = None,
    scan: Path | None = None,
    ismn: Path | None = None,
    tables: Sequence[Path | pd.DataFrame] = (),
    mapping: Columns | Path | None = None,
    metadata: Path | None = None,
    period: tuple[str, str] | None = None,
    high: bool = False,
    progress: Progress = lambda what, share: None,
) -> Path:
    """Read stations, screen their soil moisture, and write the station store.

    Written are ``soil_moisture`` (station, layer, time), NaN where missing or flagged, to learn from and to score
    against; ``soil_moisture_causal``, the same but for the flags that need days after
    (`vadose.insitu.screening.HINDSIGHT`), to forecast from; ``soil_moisture_sensor`` as measured,
    ``soil_moisture_flag`` and ``soil_temperature`` (station, depth, time); weather (station, time); soil (station,
    depth). Each layer is the sensor of `LAYER_DEPTHS`. A day is the network's own (attribute ``day_boundary``): local
    standard days of USCRN and SCAN are not shifted to UTC. Weather is not screened but for values no weather has.

    Files that cannot be read, stations without coordinates or without any soil moisture, sensors at a depth that stands
    for none of the store's (40 cm), and variables of which more than 1 % of the values are none that weather has, are
    left out; the attribute ``left_out`` names each with the
    reason. ``flagged`` counts the days of each flag by network, ``out_of_range`` single values set missing; `COUNTS`
    are of the readers.

    Parameters
    ----------
    out
        Zarr store to write; left alone when it was made from the same files already.
    uscrn
        Folder of USCRN daily files, in folders of years or not.
    scan
        Folder of SCAN daily CSV exports.
    ismn
        ISMN archive, folder or zip. Its networks may not be among those given besides.
    tables
        Own tables: files, folders of files, or data frames (`vadose.insitu.tables`).
    mapping
        What the columns of these hold (`vadose.insitu.columns.Columns`), or the YAML file that says it; recognised by
        names, units and values when left out.
    metadata
        Folder of ``crn_site_info.csv`` (soil of USCRN stations) and of ``station-metadata.csv`` or
        ``scan_stations.csv`` (coordinates of SCAN stations, without which they are of no use); of own tables a CSV file
        of station, latitude, longitude, elevation.
    period
        First and last day to keep; screening sees all days.
    high
        Keep values above 0.60 m3 m-3, as Xu et al. (2025) do: hours that the ISMN flags C02, C03 or both count as good.
    progress
        Called with what is under way and the share done.

    Raises
    ------
    VadoseError
        When a folder is missing or holds no such files, a station or a day comes from two files, or no station is
        left; ``out`` is not touched then.
    """
    given = {"uscrn": uscrn, "scan": scan, "ismn": ismn}
    sources = {name: path for name, path in given.items() if path is not None}
    sources |= {f"table {k + 1}": table for k, table in enumerate(tables) if isinstance(table, Path)}
    if not sources and not tables:
        raise VadoseError("no station files given; give a table, or a folder of USCRN, SCAN or ISMN files")
    said = {"metadata": metadata, "mapping": mapping if isinstance(mapping, Path) else None}
    files = sources | {name: path for name, path in said.items() if path is not None}
    for path in files.values():
        if not path.exists():
            raise VadoseError(f"{path}: no such folder; give the folder of the station files")
    if scan is not None and metadata is None:
        raise VadoseError(
            f"{scan}: SCAN files do not say where their stations are; give the folder of scan_stations.csv (--metadata)"
        )
    inputs: dict[str, Any] = {name: {"source": str(path), "identity": identity(path)} for name, path in files.items()}
    inputs |= {"period": {"days": period}, "screening": {"flags": list(FLAGS)} | ({"high": high} if high else {})}
    inputs |= {f"frame {k}": _hash(table) for k, table in enumerate(tables) if isinstance(table, pd.DataFrame)}
    inputs |= {"columns": asdict(mapping)} if isinstance(mapping, Columns) else {}
    if is_current(out, **inputs):
        return out

    left_out: dict[str, str] = {}
    own = stations_of_tables(tables, mapping, metadata if metadata and metadata.is_file() else None, left_out)
    found = _screened(chain(stations_of(uscrn, scan, ismn, metadata, left_out, progress, high), own), left_out)
    if not found:
        some = "; ".join(f"{name}: {why}" for name, why in list(left_out.items())[:3])
        raise VadoseError(
            f"{', '.join(map(str, sources.values())) or 'the tables'}: no station is left of {len(left_out)} ({some})"
        )
    store = _store(found, period, masks_of(KEPT_HIGH if high else KEPT))
    simulated = any((path / SIMULATED_MARKER).exists() for path in sources.values())
    store.attrs |= {"left_out": json.dumps(left_out, sort_keys=True), "simulated": str(simulated).lower()}
    store.attrs |= provenance(**inputs)
    progress("writing the station store", 0.99)
    with writing(out) as scratch:
        store.to_zarr(scratch, zarr_format=3, consolidated=False, encoding=_chunks(store))
    progress("writing the station store", 1.0)
    return out


def _screened(stations: Iterable[xr.Dataset], left_out: dict[str, str]) -> dict[str, xr.Dataset]:
    """Stations with flags by name; those without any moisture are noted in ``left_out``."""
    found: dict[str, xr.Dataset] = {}
    for station in stations:
        name = f"{station.attrs['network']}:{station.attrs['station']}"
        if name in found:
            raise VadoseError(f"station {name} comes from two files; keep one of them")
        at_depths, dropped = _at_depths(station)
        left_out |= {f"{name} {variable}": why for variable, why in dropped.items()}
        if not np.isfinite(at_depths.soil_moisture).any():
            left_out[name] = "every soil moisture is missing"
            if np.isfinite(station.soil_moisture).any():
                left_out[name] = f"no sensor near the depths of the store: {_sensors(station)}"
        else:
            found[name] = at_depths.assign(soil_moisture_flag=screen(at_depths))
    return found


def _hash(table: pd.DataFrame) -> dict[str, str]:
    values = pd.util.hash_pandas_object(table.astype(str)).to_numpy()
    return {"sha256": hashlib.sha256(f"{list(table)}".encode() + values.tobytes()).hexdigest()}


def _at_depths(station: xr.Dataset) -> tuple[xr.Dataset, dict[str, str]]:
    """The station at the depths of the store, each variable from its nearest sensor; what is left out, and why."""
    parts: dict[str, Any] = {}
    outside: dict[str, int] = {}
    left_out: dict[str, str] = {}
    for name in map(str, station.data_vars):
        values = station[name]
        if "depth" in values.dims:
            depths = station.depth.values.astype(float)
            usable = values.notnull().any([d for d in values.dims if d != "depth"]).values
            thick = np.zeros(len(depths), bool)
            if "depth_from" in station.coords:
                thick = usable & ((station.depth_to - station.depth_from).values > THICKEST + 1e-9)
            if name == "soil_moisture":
                idle = [depth for depth in depths[usable] if not stands_for(depth)]
                left_out |= {f"depth {d:g} cm": f"it stands for none of {list(DEPTHS)} cm" for d in idle}
                left_out |= {f"depth {d:g} cm": f"averages over more than {100 * THICKEST:g} cm" for d in depths[thick]}
            usable &= ~thick
            at = np.flatnonzero(usable)
            chosen = [nearest(depths[at], wanted) for wanted in DEPTHS]
            filled = values.astype(float).transpose("depth", ...).values
            empty = np.full(filled.shape[1:], np.nan)
            values = xr.DataArray(
                np.stack([empty if k is None else filled[at[k]] for k in chosen], axis=-1),
                dims=(*(d for d in values.dims if d != "depth"), "depth"),
            )
        if name in (*WEATHER, "soil_temperature"):
            try:
                found, counted = within(values.values.astype(np.float32), name, name, RANGES[name])
            except VadoseError as error:
                left_out[name] = str(error).removeprefix(f"{name}: ")
                continue
            values = values.copy(data=found)
            outside[name] = sum(counted.values())
        parts[name] = values.variable
    dataset = xr.Dataset(parts, coords={"time": station.time, "depth": list(DEPTHS)}, attrs=station.attrs)
    if "unflagged" in dataset:
        dataset["unflagged"] = dataset.unflagged == 1
    return dataset.assign_attrs(outside={name: n for name, n in outside.items() if n}), left_out


def _chunks(store: xr.Dataset) -> dict[str, Any]:
    """Whole series of up to 64 stations at one depth: what is read is a layer's series."""
    size = {"station": min(64, store.sizes["station"]), "time": store.sizes["time"], "layer": 1, "depth": 1}
    return {
        str(n): {"chunks": tuple(size[str(d)] for d in v.dims)} for n, v in store.data_vars.items() if "time" in v.dims
    }


def _sensors(station: xr.Dataset) -> str:
    if "depth_from" in station.coords:
        edges = zip(station.depth_from.values, station.depth_to.values, strict=True)
        return ", ".join(f"{100 * a:g}-{100 * b:g} cm" for a, b in edges)
    return ", ".join(f"{depth:g} cm" for depth in station.depth.values)


def _store(found: dict[str, xr.Dataset], period: tuple[str, str] | None, masks: tuple[int, int]) -> xr.Dataset:
    """All stations on one axis of days."""
    time, stations = _days(found, period), list(found.values())
    values = {
        name: (("station", *dims), _gathered(stations, name, dims, time)) for name, dims in _names(stations).items()
    }
    sensor, flag = values.pop("soil_moisture")[1], values["soil_moisture_flag"][1]
    layers = [list(DEPTHS).index(depth) for depth in LAYER_DEPTHS.values()]
    for name, flags in zip(("soil_moisture", "soil_moisture_causal"), masks, strict=True):
        screened = np.where(flag & flags, np.float32(np.nan), sensor)[:, layers]
        values[name] = ("station", "layer", "time"), screened
    values["soil_moisture_sensor"] = ("station", "depth", "time"), sensor
    attrs = [station.attrs for station in stations]
    of = np.array([a["network"] for a in attrs])
    store = xr.Dataset(
        values,
        coords={
            # Objects become Zarr's strings of any length; fixed-length ones are not in its standard.
            "station": np.array(list(found), object),
            "layer": np.array(list(LAYER_DEPTHS), object),
            "depth": ("depth", list(DEPTHS), {"units": "cm"}),
            "time": time,
            "network": ("station", of.astype(object)),
            "station_name": ("station", np.array([a["station_name"] for a in attrs], object)),
            **{
                name: ("station", np.array([float(a.get(name, np.nan)) for a in attrs]), {"units": units})
                for name, units in (("lat", "degrees_north"), ("lon", "degrees_east"), ("elevation", "m"))
            },
        },
        attrs={
            "dataset": "+".join(sorted(set(of.tolist()))),
            "day_boundary": json.dumps({a["network"]: a["day_boundary"] for a in attrs}),
            "layer_depths": json.dumps(LAYER_DEPTHS),
            "left_out_flags": masks[0],
            **_counts(stations, of, sensor, flag),
        },
    )
    store.soil_moisture_flag.attrs = dict(stations[0].soil_moisture_flag.attrs)
    store = describe(store)
    for name, how in (("sensor", "as measured, not screened"), ("causal", "screened by what was known on the day")):
        store[f"soil_moisture_{name}"].attrs = store.soil_moisture.attrs | {"long_name": f"soil moisture {how}"}
    return store


def _days(found: dict[str, xr.Dataset], period: tuple[str, str] | None) -> pd.DatetimeIndex:
    """Days from the first to the last of any station, within the period."""
    begin, end = min(s.time.values[0] for s in found.values()), max(s.time.values[-1] for s in found.values())
    if period is not None:
        try:
            begin, end = max(begin, np.datetime64(period[0])), min(end, np.datetime64(period[1]))
        except ValueError as error:
            raise VadoseError(f"period {period[0]} .. {period[1]}: {error}; write days as YYYY-MM-DD") from error
        if end < begin:
            raise VadoseError(f"period {period[0]} .. {period[1]}: no station has a day in it")
    return pd.date_range(begin, end)


def _names(stations: list[xr.Dataset]) -> dict[str, tuple[str, ...]]:
    """Variables of the store that any station has, and their dimensions."""
    daily = dict.fromkeys(("soil_moisture", "soil_moisture_flag", "soil_temperature"), ("depth", "time"))
    more = {**dict.fromkeys(WEATHER, ("time",)), **dict.fromkeys(SOILS, ("depth",))}
    return daily | {name: dims for name, dims in more.items() if any(name in station for station in stations)}


def _gathered(stations: list[xr.Dataset], name: str, dims: tuple[str, ...], time: pd.DatetimeIndex) -> NDArray[Any]:
    """A variable of all stations (station, ...) on one axis of days; flags are 0 where a station has none."""
    sizes = {"time": len(time), "depth": len(DEPTHS)}
    shape = (len(stations), *(sizes[d] for d in dims))
    of_flags = name.endswith("_flag")
    table: NDArray[Any] = np.zeros(shape, np.int32) if of_flags else np.full(shape, np.nan, np.float32)
    for row, station in zip(table, stations, strict=True):
        if name not in station:
            continue
        if "time" not in dims:
            row[...] = station[name].values
            continue
        place = time.get_indexer(pd.DatetimeIndex(station.time.values))
        row[..., place[place >= 0]] = station[name].transpose(*dims).values[..., place >= 0]
    return table


def _counts(
    stations: list[xr.Dataset], of: NDArray[np.str_], sensor: NDArray[np.floating], flag: NDArray[np.integer]
) -> dict[str, object]:
    """Days flagged by network and flag, values out of range, and what else was left out, as attributes."""
    flagged, outside, counts = {}, Counter[str](), Counter[str]()
    for network in sorted(set(of.tolist())):
        of_network = flag[of == network]
        flagged[network] = {"days": int(np.isfinite(sensor[of == network]).sum())}
        flagged[network] |= {name: int((of_network & bit > 0).sum()) for name, bit in BIT.items()}
    for station in stations:
        outside.update(station.attrs["outside"])
        counts.update({name: station.attrs.get(name, 0) for name in COUNTS})
    return {"flagged": json.dumps(flagged), "out_of_range": json.dumps(dict(outside)), **counts}
