"""Station files of USCRN, SCAN and ISMN to one screened Zarr store."""

import json
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from vadose.artefact import fingerprint, is_current, provenance, writing
from vadose.errors import VadoseError
from vadose.products.ismn import read_ismn
from vadose.products.scan import read_scan, read_scan_stations
from vadose.products.uscrn import NAME, SITE_INFO, read_uscrn, read_uscrn_soils
from vadose.variables import VARIABLES, describe

# Depths of the store, and how far from each the middle of its sensor may lie [cm].
DEPTHS = {5: 2.5, 10: 2.5, 20: 5.0, 50: 10.0, 100: 15.0}
# A sensor that averages over more than this is at no depth of the store [m]; cosmic-ray probes do.
THICKEST = 0.10
# Each layer is represented by one sensor [cm]; layers are not averaged over sensors.
LAYER_DEPTHS = {"0-10 cm": 5, "10-40 cm": 20, "40-100 cm": 50}
WEATHER = (
    "precipitation", "air_temperature", "air_temperature_max", "air_temperature_min", "relative_humidity",
    "shortwave_radiation", "surface_temperature",
)  # fmt: skip
SOILS = ("sand_fraction", "silt_fraction", "clay_fraction", "bulk_density", "saturation")
# The sun at the top of the atmosphere gives no place more in a day's mean [W m-2].
RANGES = {name: v.valid_range for name, v in VARIABLES.items()} | {"shortwave_radiation": (0.0, 550.0)}
SIMULATED_MARKER = "SIMULATED.txt"
SAME_SITE = 0.02  # degree, between the coordinates of a USCRN file and of its soil table

# Flag -> what it means; its bit is its place here.
FLAGS = {
    "range_low": "below 0 m3 m-3 (ISMN C01)",
    "range_high": "above 0.60 m3 m-3 (ISMN C02)",
    "above_saturation": "above the pore space known for the sensor (ISMN C03)",
    "frozen": "soil temperature at the sensor at or below 0 degC",
    "zero": "exactly 0: below what the sensor resolves",
    "spike": "a day apart from both its neighbours, and no water came",
    "break": "a jump no water explains, or a sudden fall from a steady level, or to 0",
    "constant": "the same value for longer than soils hold it, or through rain",
    "plateau": "steady near the highest value, reached at a stroke",
    "unreliable": "sensor with too many values out of range, 0, constant or on a plateau",
    "unflagged": "ISMN series that its network never flagged",
}
BIT = {name: 1 << i for i, name in enumerate(FLAGS)}
# Bulk densities are of few samples, and some sensors read above their pore space for years: kept, but marked.
KEPT = ("above_saturation",)
LEFT_OUT = sum(bit for name, bit in BIT.items() if name not in KEPT)

FREEZING = 273.15
THAWED = 274.15  # K; next to 0 degC a part of the water may freeze and thaw again
WARM = 278.15  # K; above it what falls is rain, not snow
QUARTZ = 2.65  # g cm-3, density of soil grains
RAIN = 1.0  # kg m-2 of a day that may wet the soil
SPIKE = 0.05  # m3 m-3
JUMP = 0.10  # m3 m-3
RESPONSE = 0.02  # m3 m-3, a change in another sensor of the station that day or the days beside it
STEADY = (5, 0.03)  # days, m3 m-3
# Days of one value: more than the longest run at any of 107 USCRN stations in 2015-2021, by depth.
CONSTANT_DAYS = {5: 16, 10: 25, 20: 32, 50: 35, 100: 49}
CONSTANT_IN_RAIN = (7, 20.0, 12.5)  # days, kg m-2 meanwhile, down to [cm]
PLATEAU = (7, 0.002, 0.95, 0.03)  # days, spread, share of the highest value, rise in the STEADY days before
UNRELIABLE_SHARE = 0.25

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Progress = Callable[[str, float], None]


def build_stations(
    out: Path,
    *,
    uscrn: Path | None = None,
    scan: Path | None = None,
    ismn: Path | None = None,
    metadata: Path | None = None,
    period: tuple[str, str] | None = None,
    progress: Progress = lambda what, share: None,
) -> Path:
    """Read stations, screen their soil moisture, and write the station store.

    Written are ``soil_moisture`` (station, layer, time), NaN where missing or flagged;
    ``soil_moisture_sensor`` as measured, ``soil_moisture_flag`` and ``soil_temperature`` (station, depth,
    time); weather (station, time); soil (station, depth). Each layer is the sensor of `LAYER_DEPTHS`. A day
    is the network's own (attribute ``day_boundary``): local standard days of USCRN and SCAN are not shifted
    to UTC. Weather is not screened but for values no weather has.

    Stations without coordinates or without any soil moisture are left out; the attribute ``left_out`` names
    each with the reason, ``flagged`` counts the days of each flag by network.

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
    metadata
        Folder of ``crn_site_info.csv`` (soil of USCRN stations) and of ``station-metadata.csv`` or
        ``scan_stations.csv`` (coordinates of SCAN stations, without which they are of no use).
    period
        First and last day to keep; screening sees all days.
    progress
        Called with what is under way and the share done.

    Raises
    ------
    VadoseError
        When a folder is missing or holds no such files, a file is not as published, or no station is
        left; ``out`` is not touched then.
    """
    given = {"uscrn": uscrn, "scan": scan, "ismn": ismn}
    sources = {name: path for name, path in given.items() if path is not None}
    if not sources:
        raise VadoseError("no station files given; give a folder of USCRN, SCAN or ISMN files")
    for path in (*sources.values(), *([metadata] if metadata else [])):
        if not path.exists():
            raise VadoseError(f"{path}: no such folder; give the folder of the station files")
    if scan is not None and metadata is None:
        raise VadoseError(
            f"{scan}: SCAN files do not say where their stations are; give the folder of scan_stations.csv (--metadata)"
        )
    files = sources | ({"metadata": metadata} if metadata else {})
    inputs: dict[str, Any] = {
        name: {"source": str(path), "sha256": fingerprint([path])} for name, path in files.items()
    }
    inputs["period"] = {"days": period}
    if is_current(out, **inputs):
        return out

    left_out: dict[str, str] = {}
    found: dict[str, xr.Dataset] = {}
    for station in _read(uscrn, scan, ismn, metadata, left_out, progress):
        name = f"{station.attrs['network']}:{station.attrs['station']}"
        if name in found:
            raise VadoseError(f"station {name} comes from two files; keep one of them")
        at_depths = _at_depths(station)
        if not np.isfinite(at_depths.soil_moisture).any():
            left_out[name] = "every soil moisture is missing"
            if np.isfinite(station.soil_moisture).any():
                left_out[name] = f"no sensor near the depths of the store: {_sensors(station)}"
        else:
            found[name] = at_depths.assign(soil_moisture_flag=screen(at_depths))
    if not found:
        some = "; ".join(f"{name}: {why}" for name, why in list(left_out.items())[:3])
        raise VadoseError(f"{', '.join(map(str, sources.values()))}: no station is left of {len(left_out)} ({some})")
    store = _store(found, period)
    simulated = any((path / SIMULATED_MARKER).exists() for path in sources.values())
    store.attrs |= {"left_out": json.dumps(left_out, sort_keys=True), "simulated": str(simulated).lower()}
    store.attrs |= provenance(**inputs)
    progress("writing the station store", 0.99)
    with writing(out) as scratch:
        store.to_zarr(scratch, zarr_format=3, consolidated=False, encoding=_chunks(store))
    progress("writing the station store", 1.0)
    return out


def screen(station: xr.Dataset) -> xr.DataArray:
    """Flag what is wrong with the soil moisture of one station: a bit mask by day and depth.

    Range and saturation are the ISMN's checks C01, C02 and C03, run by ``flagit``; they look at single values
    and hold at any step. Its other checks do not: spikes (D06: 15 % there and back, over 25 readings), breaks
    (D07, D08: derivatives over 25 readings), low constant values (D09: 13 readings) and saturated plateaus
    (D10: 12 readings) have windows and thresholds meant for hourly readings; on daily means an ordinary
    rain is a "spike" and a dry fortnight "constant". Checks of this package take their place, for daily
    means. They call on what an hourly check lacks, the other sensors of the station: water that comes or goes
    shows in more than one of them, or in the rain gauge. Where neither can be asked a rise is not judged.

    ==================  ====================================================================================
    range_low, _high    below 0, above 0.60 m3 m-3
    above_saturation    above ``saturation``, where known
    frozen              soil temperature at the same depth <= 0 degC; not set where it is missing
    zero                exactly 0
    spike               > 0.05 from both neighbours, which agree within half of that; thawed; no rain
                        >= 1 kg m-2 within a day, no rise > 0.02 in another sensor
    break               rise > 0.10 under the same conditions that stays; fall > 0.10 after 5 days within
                        0.03, in this sensor alone, thawed; fall > 0.05 to exactly 0
    constant            one value for 16, 25, 32, 35, 49 days at 5, 10, 20, 50, 100 cm; or for 7 days in
                        which >= 20 kg m-2 of rain fell on warm soil, to 12.5 cm
    plateau             >= 7 days within 0.002, from 0.95 of the sensor's highest value on, after a rise
                        > 0.03 within 5 days
    unreliable          all values of a sensor, when > 25 % of them are out of range, zero, constant, plateau
    unflagged           value stems from ISMN hours without any flag
    ==================  ====================================================================================

    Parameters
    ----------
    station
        ``soil_moisture`` [m3 m-3] (time, depth), consecutive days; ``soil_temperature`` [K],
        ``precipitation`` [kg m-2] (time), ``saturation`` [m3 m-3] (depth) and ``unflagged`` where known.

    Returns
    -------
    xarray.DataArray
        int32 (time, depth), 0 where nothing is wrong or nothing was measured; CF ``flag_masks`` and
        ``flag_meanings``.

    Raises
    ------
    VadoseError
        When days are missing or out of order.

    References
    ----------
    Dorigo et al. (2013), doi:10.2136/vzj2012.0097.

    Examples
    --------
    >>> days = pd.date_range("2020-06-01", periods=30)
    >>> moisture = 0.20 - 0.001 * np.arange(30)
    >>> moisture[[9, 19]] = 0.65, 0.0
    >>> series = xr.DataArray(moisture[:, None], {"time": days, "depth": [5]}, name="soil_moisture")
    >>> flags = screen(series.to_dataset()).values[:, 0]
    >>> {k: [name for name in FLAGS if flags[k] & BIT[name]] for k in flags.nonzero()[0].tolist()}
    {9: ['range_high'], 19: ['zero', 'break']}
    """
    if (np.diff(station.time.values) != np.timedelta64(1, "D")).any():
        name = station.attrs.get("station", "")
        raise VadoseError(f"station {name}: days are missing or out of order; give every day once")
    moisture: Array = station.soil_moisture.transpose("time", "depth").values.astype(float)
    none = np.full(moisture.shape, np.nan)
    temperature: Array = (
        station.get("soil_temperature", xr.DataArray(none, dims=("time", "depth"))).transpose("time", "depth").values
    )
    rain: Array = station["precipitation"].values if "precipitation" in station else none[:, 0]
    saturation = station["saturation"].values if "saturation" in station else none[0]
    unflagged = station["unflagged"].values if "unflagged" in station else np.zeros(moisture.shape, bool)

    flagged = {name: np.zeros(moisture.shape, bool) for name in FLAGS}
    for i in range(moisture.shape[1]):
        for name, mask in zip(FLAGS, _plausible(moisture[:, i], float(saturation[i])), strict=False):
            flagged[name][:, i] = mask
    flagged["frozen"] = temperature <= FREEZING
    flagged["zero"] = moisture == 0
    flagged["spike"], flagged["break"] = _steps(moisture, temperature, rain)
    for i, depth in enumerate(station.depth.values):
        series, sound = moisture[:, i], moisture[:, i] <= 0.60
        flagged["constant"][:, i] = _constant(series, temperature[:, i], rain, float(depth))
        flagged["plateau"][:, i] = _plateau(series, np.where(sound & ~flagged["frozen"][:, i], series, np.nan))
    wrong = np.any([flagged[k] for k in ("range_low", "range_high", "zero", "constant", "plateau")], axis=0)
    measured = np.isfinite(moisture)
    flagged["unreliable"][:, wrong.sum(axis=0) > UNRELIABLE_SHARE * measured.sum(axis=0)] = True
    flagged["unflagged"] = unflagged
    bits = sum(np.where(mask & measured, BIT[name], 0) for name, mask in flagged.items())
    return xr.DataArray(
        np.asarray(bits, np.int32),
        dims=("time", "depth"),
        coords={"time": station.time, "depth": station.depth},
        attrs={
            "long_name": "what is wrong with soil moisture",
            "flag_masks": list(BIT.values()),
            "flag_meanings": " ".join(FLAGS),
            "comment": json.dumps(FLAGS),
        },
    )


def _plausible(series: Array, saturation: float) -> list[Mask]:
    """C01, C02, C03 of one sensor by flagit, which works in percent of volume."""
    with warnings.catch_warnings():
        # It imports pkg_resources, which warns of its end; requirements pin a setuptools that has it.
        warnings.filterwarnings("ignore", message=".*pkg_resources", category=Warning)
        from flagit.flagit import Interface
    checks = ["C01", "C02", "C03"]
    masks = [np.zeros(len(series), bool) for _ in checks]
    at = np.flatnonzero(np.isfinite(series))
    if len(at):
        percent = pd.DataFrame({"soil_moisture": np.round(100 * series[at], 6)})
        limit = 100 * saturation if np.isfinite(saturation) else None
        tags = Interface(percent, sat_point=limit).run(name=checks)["qflag"]
        for mask, check in zip(masks, checks, strict=True):
            mask[at] = [check in tag for tag in tags]
    return masks


def _steps(moisture: Array, temperature: Array, rain: Array) -> tuple[Mask, Mask]:
    """Spikes and breaks, (time, depth) each."""
    step = np.diff(moisture, axis=0, prepend=np.nan)
    after = np.diff(moisture, axis=0, append=np.nan)
    wet = _near((rain >= RAIN)[:, None])
    gauge = ~_near(np.isnan(rain)[:, None])
    cold = _near(temperature <= THAWED)
    rises, falls, known = step > RESPONSE, step < -RESPONSE, np.isfinite(step)
    others = [np.arange(moisture.shape[1]) != i for i in range(moisture.shape[1])]

    def elsewhere(mask: Mask) -> Mask:
        return np.column_stack([mask[:, other].any(axis=1) for other in others])

    dry = ~wet & ~_near(elsewhere(rises)) & (gauge | elsewhere(known)) & ~cold
    apart = np.where(np.sign(step) == -np.sign(after), np.fmin(np.abs(step), np.abs(after)), 0.0)
    spike = dry & (apart > SPIKE) & (np.abs(step + after) <= apart / 2)
    # The day after a spike is a step too, back to where it was.
    back = np.roll(spike, 1, axis=0)
    jump = dry & (step > JUMP)
    days, spread = STEADY
    steady = np.zeros(moisture.shape, bool)
    if len(moisture) > days:
        windows = sliding_window_view(moisture, days, axis=0)[:-1]
        steady[days:] = windows.max(axis=-1) - windows.min(axis=-1) < spread
    fall = (step < -JUMP) & steady & ~cold & ~_near(elsewhere(falls))
    to_zero = (step < -SPIKE) & (moisture == 0)
    return spike, (jump | fall | to_zero) & ~spike & ~back


def _constant(series: Array, temperature: Array, rain: Array, depth: float) -> Mask:
    """Runs of one value: too long for the depth, or through rain on warm soil."""
    mask = np.zeros(len(series), bool)
    days, amount, deepest = CONSTANT_IN_RAIN
    longest = np.interp(depth, list(CONSTANT_DAYS), list(CONSTANT_DAYS.values()))
    for begin, end in _runs(np.abs(np.diff(series)) < 5e-5):
        first, last = begin, end + 1  # a run of n equal steps is n + 1 values
        rained = depth <= deepest and last - first >= days and np.nansum(rain[first + 1 : last]) >= amount
        if last - first >= longest or (rained and np.min(temperature[first:last]) > WARM):
            mask[first:last] = True
    return mask


def _plateau(series: Array, sound: Array) -> Mask:
    """Steady stretches near the highest sound value that begin with a sharp rise."""
    mask = np.zeros(len(series), bool)
    days, spread, share, rise = PLATEAU
    if len(series) < days or not np.isfinite(sound).any():
        return mask
    windows = sliding_window_view(series, days)
    flat = (windows.max(axis=1) - windows.min(axis=1) <= spread) & (windows.mean(axis=1) >= share * np.nanmax(sound))
    for begin, end in _runs(flat):
        before = series[max(0, begin - STEADY[0]) : begin]
        if np.isfinite(before).any() and series[begin] - np.nanmin(before) > rise:
            mask[begin : end + days - 1] = True
    return mask


def _near(mask: Mask) -> Mask:
    """Whether it is so on the day, the day before or the day after."""
    wide = mask.copy()
    wide[1:] |= mask[:-1]
    wide[:-1] |= mask[1:]
    return wide


def _runs(mask: Mask) -> list[tuple[int, int]]:
    """First and one past last place of every stretch that is true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _read(
    uscrn: Path | None, scan: Path | None, ismn: Path | None, metadata: Path | None,
    left_out: dict[str, str], progress: Progress,
) -> Iterator[xr.Dataset]:  # fmt: skip
    """Stations that have coordinates, one after the other; the others are noted in ``left_out``."""
    if uscrn is not None:
        by_station = defaultdict(list)
        for path in sorted(uscrn.rglob("CRND0103-*.txt")):
            if not (named := NAME.fullmatch(path.name)):
                raise VadoseError(f"{path}: not named as published, CRND0103-YEAR-ST_Name.txt")
            by_station[named["station"]].append(path)
        if not by_station:
            raise VadoseError(f"{uscrn}: no file CRND0103-YEAR-ST_Name.txt in it; give the folder of USCRN daily files")
        table = metadata / SITE_INFO if metadata else None
        soils = read_uscrn_soils(table) if table and table.exists() else None
        for k, paths in enumerate(by_station.values()):
            progress("reading USCRN", k / len(by_station))
            yield _with_soil(_years(paths), soils)
        progress("reading USCRN", 1.0)
    if scan is not None and metadata is not None:
        paths = sorted(scan.glob("*.csv"))
        if not paths:
            raise VadoseError(f"{scan}: no .csv file in it; give the folder of SCAN exports")
        places = read_scan_stations(metadata)
        for k, path in enumerate(paths):
            progress("reading SCAN", k / len(paths))
            dataset = read_scan(path)
            name = str(dataset.attrs["station"])
            if not dataset.sizes["time"]:
                left_out[f"SCAN:{name}"] = f"{path.name} holds a header alone"
            elif name not in places.index:
                left_out[f"SCAN:{name}"] = f"no coordinates in {metadata}"
            else:
                yield _daily(dataset.assign_attrs(places.loc[name].to_dict()))
        progress("reading SCAN", 1.0)
    if ismn is not None:
        progress("reading ISMN", 0.0)
        for dataset in read_ismn(ismn):
            if (uscrn and dataset.attrs["network"] == "USCRN") or (scan and dataset.attrs["network"] == "SCAN"):
                raise VadoseError(
                    f"{ismn}: holds {dataset.attrs['network']}, whose files are given besides; leave one out"
                )
            dataset["unflagged"] = dataset.soil_moisture.isnull() & dataset.soil_moisture_unflagged.notnull()
            dataset["soil_moisture"] = dataset.soil_moisture.fillna(dataset.soil_moisture_unflagged)
            yield dataset.drop_vars("soil_moisture_unflagged")
        progress("reading ISMN", 1.0)


def _years(paths: list[Path]) -> xr.Dataset:
    """The years of a USCRN station as one series."""
    years = [read_uscrn(path) for path in paths]
    days = np.concatenate([year.time.values for year in years])
    if len(np.unique(days)) < len(days):
        raise VadoseError(f"{', '.join(map(str, paths))}: a day is in two of these files; keep one file a year")
    # Coordinates of a station were refined over the years: the last ones hold.
    return _daily(
        xr.concat(years, "time", join="exact", combine_attrs="override").sortby("time").assign_attrs(years[-1].attrs)
    )


def _daily(dataset: xr.Dataset) -> xr.Dataset:
    """Every day from the first to the last, NaN where there was none."""
    time = dataset.time.values
    return dataset.reindex(time=pd.date_range(time[0], time[-1]))


def _with_soil(dataset: xr.Dataset, soils: pd.DataFrame | None) -> xr.Dataset:
    """Add elevation and soil of the table's nearest station, when it is near enough to be the same."""
    if soils is None:
        return dataset
    north = (soils["lat"] - dataset.attrs["lat"]).to_numpy()
    east = (soils["lon"] - dataset.attrs["lon"]).to_numpy() * np.cos(np.radians(dataset.attrs["lat"]))
    apart = np.hypot(north, east)
    if apart.min() > SAME_SITE:
        return dataset
    site = soils[soils["name"] == soils["name"].iloc[int(apart.argmin())]].set_index("depth")
    position = {depth: _nearest(site.index.to_numpy(), depth) for depth in dataset.depth.values}
    for name in ("sand_fraction", "silt_fraction", "clay_fraction", "bulk_density"):
        values = site[name].to_numpy()
        dataset[name] = "depth", np.array([np.nan if k is None else values[k] for k in position.values()])
    # What is not grain is pore.
    dataset["saturation"] = 1 - dataset.bulk_density / QUARTZ
    return dataset.assign_attrs(elevation=float(site["elevation"].iloc[0]))


def _nearest(depths: Array, wanted: float) -> int | None:
    """Place of the depth nearest to one of the store's, None when none is near enough."""
    if not len(depths):
        return None
    k = int(np.argmin(np.abs(depths - wanted)))
    return k if abs(depths[k] - wanted) <= DEPTHS[int(wanted)] else None


def _at_depths(station: xr.Dataset) -> xr.Dataset:
    """The station at the depths of the store, each variable from its nearest sensor; no freak weather."""
    parts: dict[str, Any] = {}
    outside = Counter[str]()
    for name in map(str, station.data_vars):
        values = station[name]
        if "depth" in values.dims:
            depths = station.depth.values.astype(float)
            usable = values.notnull().any([d for d in values.dims if d != "depth"]).values
            if "depth_from" in station.coords:
                usable &= (station.depth_to - station.depth_from).values <= THICKEST + 1e-9
            at = np.flatnonzero(usable)
            chosen = [_nearest(depths[at], wanted) for wanted in DEPTHS]
            filled = values.astype(float).transpose("depth", ...).values
            empty = np.full(filled.shape[1:], np.nan)
            values = xr.DataArray(
                np.stack([empty if k is None else filled[at[k]] for k in chosen], axis=-1),
                dims=(*(d for d in values.dims if d != "depth"), "depth"),
            )
        if name in (*WEATHER, "soil_temperature"):
            low, high = RANGES[name]
            bad = (values < low) | (values > high)
            outside[name] += int(bad.sum())
            values = values.where(~bad)
        parts[name] = values.variable
    dataset = xr.Dataset(parts, coords={"time": station.time, "depth": list(DEPTHS)}, attrs=station.attrs)
    if "unflagged" in dataset:
        dataset["unflagged"] = dataset.unflagged == 1
    return dataset.assign_attrs(outside={name: n for name, n in outside.items() if n})


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


def _store(found: dict[str, xr.Dataset], period: tuple[str, str] | None) -> xr.Dataset:
    """All stations on one axis of days."""
    begin, end = min(s.time.values[0] for s in found.values()), max(s.time.values[-1] for s in found.values())
    if period is not None:
        try:
            begin, end = max(begin, np.datetime64(period[0])), min(end, np.datetime64(period[1]))
        except ValueError as error:
            raise VadoseError(f"period {period[0]} .. {period[1]}: {error}; write days as YYYY-MM-DD") from error
        if end < begin:
            raise VadoseError(f"period {period[0]} .. {period[1]}: no station has a day in it")
    time = pd.date_range(begin, end)
    stations = list(found.values())
    numbers = range(len(stations))
    values: dict[str, Any] = {}

    def gather(name: str, dims: tuple[str, ...], dtype: Any = np.float32, empty: float = np.nan) -> None:
        sizes = {"time": len(time), "depth": len(DEPTHS)}
        table = np.full((len(stations), *(sizes[d] for d in dims)), empty, dtype)
        for k in numbers:
            if name not in stations[k]:
                continue
            if "time" not in dims:
                table[k] = stations[k][name].values
                continue
            place = time.get_indexer(pd.DatetimeIndex(stations[k].time.values))
            table[k][..., place[place >= 0]] = stations[k][name].transpose(*dims).values[..., place >= 0]
        values[name] = ("station", *dims), table

    gather("soil_moisture", ("depth", "time"))
    gather("soil_moisture_flag", ("depth", "time"), np.int32, 0)
    gather("soil_temperature", ("depth", "time"))
    for name in WEATHER:
        if any(name in station for station in stations):
            gather(name, ("time",))
    for name in SOILS:
        if any(name in station for station in stations):
            gather(name, ("depth",))
    sensor, flag = values.pop("soil_moisture")[1], values["soil_moisture_flag"][1]
    layers = [list(DEPTHS).index(depth) for depth in LAYER_DEPTHS.values()]
    screened = np.where(flag & LEFT_OUT, np.float32(np.nan), sensor)[:, layers]
    values |= {
        "soil_moisture": (("station", "layer", "time"), screened),
        "soil_moisture_sensor": (("station", "depth", "time"), sensor),
    }
    attrs = [station.attrs for station in stations]
    networks = sorted({a["network"] for a in attrs})
    of = np.array([a["network"] for a in attrs])
    flagged, outside = {}, Counter[str]()
    for network in networks:
        of_network = flag[of == network]
        flagged[network] = {"days": int(np.isfinite(sensor[of == network]).sum())}
        flagged[network] |= {name: int((of_network & bit > 0).sum()) for name, bit in BIT.items()}
    for a in attrs:
        outside.update(a["outside"])
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
            "dataset": "+".join(networks),
            "day_boundary": json.dumps({a["network"]: a["day_boundary"] for a in attrs}),
            "layer_depths": json.dumps(LAYER_DEPTHS),
            "left_out_flags": LEFT_OUT,
            "flagged": json.dumps(flagged),
            "out_of_range": json.dumps(dict(outside)),
        },
    )
    store.soil_moisture_flag.attrs = dict(stations[0].soil_moisture_flag.attrs)
    store = describe(store)
    store.soil_moisture_sensor.attrs = store.soil_moisture.attrs | {
        "long_name": "soil moisture as measured, not screened"
    }
    return store
