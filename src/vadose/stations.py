"""Station files of all networks to one store: moisture by sensor and by layer, weather, flags."""

import json
import re
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vadose.artefact import fingerprint, is_current, provenance, writing
from vadose.errors import VadoseError
from vadose.products import PRODUCTS
from vadose.variables import VARIABLES, describe

LAYERS: dict[str, tuple[float, float]] = {"0-10 cm": (5.0, 2.5), "10-40 cm": (20.0, 5.0), "40-100 cm": (50.0, 10.0)}
"""Layer -> depth of the sensor that stands for it, and how far from it [cm] a sensor may be."""

FLAGS: dict[str, int] = {
    "below_zero": 1,
    "above_0.60": 2,
    "above_porosity": 4,
    "spike": 8,
    "drop": 16,
    "jump": 32,
    "stuck": 64,
    "frozen_soil": 128,
}
_OF_FLAGIT = {"C01": 1, "C02": 2, "C03": 4, "D06": 8, "D07": 16, "D08": 32}
_WEATHER = (
    "precipitation", "air_temperature", "air_temperature_max", "air_temperature_min", "relative_humidity",
    "shortwave_radiation", "surface_temperature",
)  # fmt: skip
FREEZING = 273.15
WETTING = 1.0
"""Rain [kg m-2] of a day and the one before that makes a sudden rise plausible."""
STUCK_DAYS = 30
"""Days of exactly one value at 20 cm or above; three times as many below, where little changes."""
MINERAL = 2.65
"""Particle density [g cm-3]: porosity = 1 - bulk density / 2.65."""


def build_stations(
    out: Path,
    *,
    uscrn: Path | None = None,
    scan: Path | None = None,
    ismn: Path | None = None,
    metadata: Path | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Path:
    """Read station files, check their quality and write one store.

    USCRN and SCAN values come without checks, so these are made here, see `screen`; ISMN values are
    the hours its own checks call good. Stations without coordinates or without any moisture are
    left out and named in the store's attributes.

    Parameters
    ----------
    out
        Zarr store: ``soil_moisture`` (station, layer, time) screened; ``soil_moisture_sensor``,
        ``soil_moisture_flag`` and ``soil_temperature`` (station, depth, time); weather (station,
        time).
    uscrn, scan, ismn
        Folder of yearly USCRN files, of SCAN exports, and an ISMN archive; any may be left out.
    metadata
        Folder with ``station-metadata.csv`` (SCAN coordinates) and ``crn_site_info.csv`` (USCRN
        soils).

    Raises
    ------
    VadoseError
        When no source is given, a file is broken, or no station is left.
    """
    sources = {name: path for name, path in (("uscrn", uscrn), ("scan", scan), ("ismn", ismn)) if path is not None}
    if not sources:
        raise VadoseError("no station files given; name at least one of --uscrn, --scan, --ismn")
    for path in (*sources.values(), *([metadata] if metadata else [])):
        if not path.exists():
            raise VadoseError(f"{path}: no such file or folder")
    inputs = {name: fingerprint([path]) for name, path in {**sources, "metadata": metadata}.items() if path}
    if is_current(out, **inputs):
        return out
    tell = progress or (lambda what, share: None)
    stations: list[xr.Dataset] = []
    left_out: dict[str, str] = {}
    for name, path in sources.items():
        found = list(_read(name, path, tell))
        places = _scan_places(metadata) if name == "scan" and metadata else {}
        soils = _uscrn_soils(metadata) if name == "uscrn" and metadata else {}
        for number, station in enumerate(found):
            label = f"{station.attrs['network']}:{station.attrs['station']}"
            station.attrs |= places.get(station.attrs["station"], {})
            if not np.isfinite(station.soil_moisture).any():
                left_out[label] = "no soil moisture"
            elif "lat" not in station.attrs:
                left_out[label] = "no coordinates"
            else:
                if name in ("uscrn", "scan"):
                    station["bulk_density"] = "depth", _soil_of(station, soils)
                    station["soil_moisture_flag"] = ("time", "depth"), screen(station)
                else:
                    station["soil_moisture_flag"] = ("time", "depth"), np.zeros(station.soil_moisture.shape, np.int32)
                stations.append(station)
            tell(f"checking {name}: {label}", (number + 1) / len(found))
    if not stations:
        raise VadoseError(f"no station is left: {left_out or 'no files found'}")
    store = _store(stations)
    simulated = any(path.parent.joinpath("SIMULATED.txt").exists() or (path / "SIMULATED.txt").exists()
                    for path in sources.values())  # fmt: skip
    store.attrs |= {
        "dataset": "stations: " + ", ".join(dict.fromkeys(s.attrs["network"] for s in stations)),
        "day_boundary": json.dumps({s.attrs["network"]: s.attrs["day_boundary"] for s in stations}),
        "left_out": json.dumps(left_out),
        "simulated": "true" if simulated else "false",
        "layer_rule": json.dumps(LAYERS),
        **provenance(**inputs),
    }
    with writing(out) as scratch:
        store.to_zarr(scratch, mode="w", zarr_format=3, consolidated=False)
    return out


def screen(station: xr.Dataset) -> np.ndarray:
    """Quality flags (time, depth) of one station, bits as in `FLAGS`; 0 is good.

    Range, spikes and breaks as the ISMN checks hourly series (C01-C03, D06-D08), by its ``flagit``
    package. Its windows count values: 25 hours there are 25 days here. A day's rise after rain looks
    like a spike or a jump at this step, so these two are dropped unless the station measured less
    than `WETTING` on the day and the one before. Saturation (C03) is checked where bulk density is
    known. The package's checks of plateaus (D09, D10) are tied to hours; in their place values that
    stay the same to the last digit for `STUCK_DAYS` are flagged. Soil at or below 0 C is too: the
    sensor does not see its ice.

    References
    ----------
    Dorigo et al. (2013), doi:10.2136/vzj2012.0097.
    """
    days = pd.date_range(station.time.values[0], station.time.values[-1])
    at = days.get_indexer(pd.DatetimeIndex(station.time.values))
    moisture = pd.DataFrame(station.soil_moisture.values, station.time.values).reindex(days).to_numpy()
    flags = np.zeros(moisture.shape, np.int32)
    rain = np.full(len(days), np.nan)
    if "precipitation" in station:
        rain[at] = station.precipitation.values
    two_days = np.fmax(rain, np.roll(rain, 1)) if len(rain) > 1 else rain
    dry = np.isfinite(two_days) & (two_days < WETTING)
    for column, depth in enumerate(station.depth.values):
        series = moisture[:, column]
        if np.isfinite(series).sum() < 30:
            continue
        porosity = None
        if "bulk_density" in station and np.isfinite(station.bulk_density.values[column]):
            porosity = 1 - float(station.bulk_density.values[column]) / MINERAL
        found = _flagit(series, days, porosity)
        rising = np.diff(series, prepend=np.nan) > 0
        doubtful = FLAGS["spike"] | FLAGS["jump"]
        found = np.where(rising & ~dry, found & ~doubtful, found)
        found |= np.where(_stuck(series, STUCK_DAYS if depth <= 20 else 3 * STUCK_DAYS), FLAGS["stuck"], 0)
        flags[:, column] = np.where(np.isfinite(series), found, 0)
    flags = flags[at]
    if "soil_temperature" in station:
        frozen = (station.soil_temperature <= FREEZING).transpose("time", "depth").values
        flags |= np.where(frozen, FLAGS["frozen_soil"], 0).astype(np.int32)
    return flags


def _flagit(series: np.ndarray, days: pd.DatetimeIndex, porosity: float | None) -> np.ndarray:
    """Flags of the ``flagit`` package for one daily series, as bits."""
    with warnings.catch_warnings():
        # flagit 0.3 announces its own deprecated imports and divides by zero where nothing changes.
        warnings.simplefilter("ignore")
        from flagit.flagit import Interface

        table = pd.DataFrame({"soil_moisture": 100 * series}, index=days)
        checks = ["C01", "C02", *(["C03"] if porosity else []), "D06", "D07"]
        found = Interface(table).run(name=checks, sat_point=100 * porosity if porosity else None)
    bits = pd.Series(0, index=days)
    of_day = found["qflag"].map(lambda flags: sum(_OF_FLAGIT[flag] for flag in flags))
    bits.loc[of_day.index] = of_day
    return bits.to_numpy(dtype=np.int32)


def _stuck(series: np.ndarray, least: int) -> np.ndarray:
    """Where a series keeps exactly one value for ``least`` known days or more."""
    known = np.flatnonzero(np.isfinite(series))
    values = series[known]
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    lengths = np.diff(np.append(starts, len(values)))
    stuck = np.zeros(len(series), bool)
    stuck[known] = np.repeat(lengths >= least, lengths)
    return stuck


def at_layers(moisture: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Sensors (..., depth) matched to `LAYERS`: (..., layer), NaN where no sensor is near enough.

    The sensor nearest to a layer's depth stands for it, if within the distance allowed.

    Examples
    --------
    >>> at_layers(np.array([[0.1, 0.2, 0.3]]), np.array([5.0, 10.0, 20.0])).tolist()
    [[0.1, 0.3, nan]]
    """
    layers = []
    for target, reach in LAYERS.values():
        nearest = int(np.abs(depth - target).argmin())
        near = abs(float(depth[nearest]) - target) <= reach
        layers.append(moisture[..., nearest] if near else np.full(moisture.shape[:-1], np.nan))
    return np.stack(layers, axis=-1)


def _read(name: str, path: Path, tell: Callable[[str, float], None]) -> Iterable[xr.Dataset]:
    """All stations of a source."""
    read = PRODUCTS[name].read
    if name == "ismn":
        yield from read(path)
        return
    pattern = "**/CRND0103-*.txt" if name == "uscrn" else "*.csv"
    files = sorted(path.glob(pattern))
    if not files:
        raise VadoseError(f"{path}: no {pattern.removeprefix('**/')} in it; give the folder of the {name} files")
    by_station: dict[str, list[Path]] = {}
    for file in files:
        by_station.setdefault(file.stem.split("-", 2)[2] if name == "uscrn" else file.stem, []).append(file)
    for number, of_station in enumerate(by_station.values()):
        tell(f"reading {name}: {of_station[0].name}", (number + 1) / len(by_station))
        years = [read(file) for file in sorted(of_station)]
        yield years[0] if len(years) == 1 else xr.concat(
            years, "time", data_vars="minimal", coords="minimal", compat="override", join="outer", combine_attrs="override"
        ).sortby("time")


def _scan_places(metadata: Path) -> dict[str, dict[str, float]]:
    """Coordinates and elevation [m] of SCAN stations by their number."""
    path = metadata / "station-metadata.csv"
    if not path.exists():
        raise VadoseError(f"{path}: no such file; it holds the coordinates of SCAN stations")
    table = pd.read_csv(path, dtype={"Site": str})
    table = table[table["Network"].isin(["SCAN", "SCANBR"])].dropna(subset=["Latitude", "Longitude"])
    return {
        str(row.Site): {"lat": float(row.Latitude), "lon": float(row.Longitude), "elevation": 0.3048 * float(row.Elevation_ft)}
        for row in table.itertuples()
    }


def _uscrn_soils(metadata: Path) -> dict[tuple[str, str], dict[int, float]]:
    """Bulk density [g cm-3] by depth [cm] of USCRN stations, by state and simplified name."""
    path = metadata / "crn_site_info.csv"
    if not path.exists():
        raise VadoseError(f"{path}: no such file; it holds the soils of USCRN stations")
    table = pd.read_csv(path, encoding="latin-1", dtype=str)
    soils = {}
    for _, row in table.iterrows():
        densities = {}
        for number in range(1, 6):
            depth, density = row.get(f"Depth{number}(cm)"), row.get(f"BulkDensity{number}(g/cc)")
            value = pd.to_numeric(pd.Series([depth, density]), errors="coerce")
            if value.notna().all():
                densities[int(value[0])] = float(value[1])
        soils[_STATES.get(str(row["State"]).strip(), ""), _plain(str(row["StationName"]))] = densities
    return soils


def _soil_of(station: xr.Dataset, soils: dict[tuple[str, str], dict[int, float]]) -> np.ndarray:
    """Bulk density of a station at its depths, NaN where unknown."""
    state, _, name = station.attrs["station"].partition("_")
    of_station = soils.get((state, _plain(name)), {})
    return np.array([of_station.get(int(depth), np.nan) for depth in station.depth.values])


def _plain(name: str) -> str:
    """A station's name without what different lists write differently."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _store(stations: list[xr.Dataset]) -> xr.Dataset:
    """All stations on the union of their days and of their depths to the centimetre."""
    time = pd.date_range(min(s.time.values[0] for s in stations), max(s.time.values[-1] for s in stations))
    depths = np.array(sorted({round(float(d)) for s in stations for d in s.depth.values}))
    n = len(stations)

    def empty(*shape: int) -> np.ndarray:
        return np.full(shape, np.nan, np.float32)

    sensor, temperature = empty(n, len(depths), len(time)), empty(n, len(depths), len(time))
    density, layers = empty(n, len(depths)), empty(n, len(LAYERS), len(time))
    flags = np.zeros(sensor.shape, np.int32)
    weather = {name: empty(n, len(time)) for name in _WEATHER if any(name in s for s in stations)}
    for number, station in enumerate(stations):
        rows = time.get_indexer(pd.DatetimeIndex(station.time.values))
        columns = np.searchsorted(depths, np.round(station.depth.values).astype(int))
        values = station.soil_moisture.transpose("time", "depth").values
        own_flags = station.soil_moisture_flag.values
        sensor[number][np.ix_(columns, rows)] = values.T
        flags[number][np.ix_(columns, rows)] = own_flags.T
        layers[number][:, rows] = at_layers(np.where(own_flags == 0, values, np.nan), station.depth.values.astype(float)).T
        if "soil_temperature" in station:
            temperature[number][np.ix_(columns, rows)] = station.soil_temperature.transpose("depth", "time").values
        if "bulk_density" in station:
            density[number, columns] = station.bulk_density.values
        for name, into in weather.items():
            if name in station:
                into[number, rows] = station[name].values
    attributes = [s.attrs for s in stations]

    def text(key: str) -> np.ndarray:
        return np.array([str(a.get(key, "")) for a in attributes], dtype=object)

    daily = ("station", "depth", "time")
    store = xr.Dataset(
        {"soil_moisture": (("station", "layer", "time"), layers), "soil_moisture_sensor": (daily, sensor),
         "soil_moisture_flag": (daily, flags), "soil_temperature": (daily, temperature),
         "bulk_density": (("station", "depth"), density),
         **{name: (("station", "time"), values) for name, values in weather.items()}},
        coords={
            "station": np.array([f"{a['network']}:{a['station']}" for a in attributes], dtype=object),
            "layer": np.array(list(LAYERS), dtype=object), "depth": ("depth", depths, {"units": "cm"}), "time": time,
            "network": ("station", text("network")), "station_name": ("station", text("station_name")),
            "lat": ("station", np.array([a["lat"] for a in attributes], float)),
            "lon": ("station", np.array([a["lon"] for a in attributes], float)),
            "elevation": ("station", np.array([a.get("elevation", np.nan) for a in attributes], float)),
        },
    )  # fmt: skip
    store.soil_moisture_flag.attrs = {"flag_masks": list(FLAGS.values()), "flag_meanings": " ".join(FLAGS)}
    store.soil_moisture_sensor.attrs = {
        "units": VARIABLES["soil_moisture"].units,
        "long_name": "soil moisture of the sensor, before screening",
    }
    return describe(store)


_STATES = {
    "Alabama": "AL", "Alaska": "AK", "Arizona": "AZ", "Arkansas": "AR", "California": "CA", "Colorado": "CO",
    "Connecticut": "CT", "Delaware": "DE", "Florida": "FL", "Georgia": "GA", "Hawaii": "HI", "Idaho": "ID",
    "Illinois": "IL", "Indiana": "IN", "Iowa": "IA", "Kansas": "KS", "Kentucky": "KY", "Louisiana": "LA",
    "Maine": "ME", "Maryland": "MD", "Massachusetts": "MA", "Michigan": "MI", "Minnesota": "MN",
    "Mississippi": "MS", "Missouri": "MO", "Montana": "MT", "Nebraska": "NE", "Nevada": "NV",
    "New Hampshire": "NH", "New Jersey": "NJ", "New Mexico": "NM", "New York": "NY", "North Carolina": "NC",
    "North Dakota": "ND", "Ohio": "OH", "Oklahoma": "OK", "Oregon": "OR", "Pennsylvania": "PA",
    "Rhode Island": "RI", "South Carolina": "SC", "South Dakota": "SD", "Tennessee": "TN", "Texas": "TX",
    "Utah": "UT", "Vermont": "VT", "Virginia": "VA", "Washington": "WA", "West Virginia": "WV",
    "Wisconsin": "WI", "Wyoming": "WY",
}  # fmt: skip
