"""Station files of USCRN, SCAN and ISMN, read one station after the other."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypedDict

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.parallel.progress import Progress
from vadose.products.ismn import GOOD, WITH_HIGH, read_ismn
from vadose.products.scan import read_scan, read_scan_stations
from vadose.products.uscrn import NAME, REFINED, SITE_INFO, read_uscrn, read_uscrn_soils

# Depths of the store, and how far from each the middle of its sensor may lie [cm].
DEPTHS = {5: 2.5, 10: 2.5, 20: 5.0, 50: 10.0, 100: 15.0}
TOPS = {20: 10.0, 50: 40.0}
"""Upper bounds of the layers that depths stand for [cm]; a sensor on one is half of the layer above and counts not."""
SAME_SITE = 0.02  # degree, between the coordinates of a USCRN file and of its soil table
QUARTZ = 2.65  # g cm-3, density of soil grains

Array = NDArray[np.float64]


class StationFiles(TypedDict, total=False):
    """Folders of station files, as `vadose.insitu.store.build_stations` takes them."""

    uscrn: Path
    scan: Path
    ismn: Path
    metadata: Path


def folders_of(data: Path) -> StationFiles:
    """Folders of station files in a folder of all, those that are there.

    ``uscrn`` and ``scan`` are as `vadose.download` names them, which lays the coordinates beside the files of SCAN.

    Raises
    ------
    VadoseError
        When no network is there.
    """
    found: StationFiles = {}
    if uscrn := _first(data, "uscrn_daily01", "uscrn"):
        found["uscrn"] = uscrn
    if scan := _first(data, "scan_daily", "scan"):
        found["scan"] = scan
        if (scan / "station-metadata.csv").is_file():
            found["metadata"] = scan
    if ismn := _first(data, "ismn"):
        found["ismn"] = ismn
    if not found:
        expected = "'uscrn_daily01', 'scan_daily' or 'ismn'"
        raise VadoseError(f"{data}: no folder {expected} in it; give the folder they lie in")
    if metadata := _first(data, "station_meta"):
        found["metadata"] = metadata
    return found


def _first(data: Path, *names: str) -> Path | None:
    return next((data / name for name in names if (data / name).is_dir()), None)


def read_station_list(path: Path) -> tuple[str, ...]:
    """Names of stations, ``NETWORK:NAME`` one a line; empty lines and what follows a ``#`` are passed over.

    Raises
    ------
    VadoseError
        When the file cannot be read, or names no station.
    """
    try:
        lines = [line.partition("#")[0].strip() for line in path.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise VadoseError(f"{path}: cannot be read as text ({error})") from error
    if not (names := tuple(dict.fromkeys(line for line in lines if line))):
        raise VadoseError(f"{path}: names no station; expected one a line, such as SCAN:2005")
    return names


def stations_of(
    uscrn: Path | None,
    scan: Path | None,
    ismn: Path | None,
    metadata: Path | None,
    left_out: dict[str, str],
    progress: Progress,
    high: bool = False,
) -> Iterator[xr.Dataset]:
    """Stations that have coordinates, one after the other; the others are noted in ``left_out``."""
    if uscrn is not None:
        yield from _of_uscrn(uscrn, metadata, left_out, progress)
    if scan is not None and metadata is not None:
        yield from _of_scan(scan, metadata, left_out, progress)
    if ismn is not None:
        besides = {network for network, folder in (("USCRN", uscrn), ("SCAN", scan)) if folder}
        yield from _of_ismn(ismn, besides, left_out, progress, WITH_HIGH if high else (GOOD,))


def _of_uscrn(uscrn: Path, metadata: Path | None, left_out: dict[str, str], progress: Progress) -> Iterator[xr.Dataset]:
    by_station = defaultdict(list)
    for path in sorted(uscrn.rglob("CRND0103-*.txt")):
        if not (named := NAME.fullmatch(path.name)):
            raise VadoseError(f"{path}: not named as published, CRND0103-YEAR-ST_Name.txt")
        by_station[named["station"]].append(path)
    if not by_station:
        raise VadoseError(f"{uscrn}: no file CRND0103-YEAR-ST_Name.txt in it; give the folder of USCRN daily files")
    table = metadata / SITE_INFO if metadata else None
    soils = read_uscrn_soils(table) if table and table.exists() else None
    for k, (name, paths) in enumerate(by_station.items()):
        progress("reading USCRN", k / len(by_station))
        years = [year for path in paths for year in _readable(read_uscrn, path, left_out)]
        if years and (why := _several_places(years)):
            left_out[f"USCRN:{name}"] = why
        elif years:
            yield _with_soil(_years(years, paths), soils)
    progress("reading USCRN", 1.0)


def _of_scan(scan: Path, metadata: Path, left_out: dict[str, str], progress: Progress) -> Iterator[xr.Dataset]:
    paths = sorted(scan.glob("*.csv"))
    if not paths:
        raise VadoseError(f"{scan}: no .csv file in it; give the folder of SCAN exports")
    places = read_scan_stations(metadata)
    for k, path in enumerate(paths):
        progress("reading SCAN", k / len(paths))
        for dataset in _readable(read_scan, path, left_out):
            name = str(dataset.attrs["station"])
            if not dataset.sizes["time"]:
                left_out[f"SCAN:{name}"] = f"{path.name} holds a header alone"
            elif name not in places.index:
                left_out[f"SCAN:{name}"] = f"no coordinates in {metadata}"
            else:
                yield _daily(dataset.assign_attrs(places.loc[name].to_dict()))
    progress("reading SCAN", 1.0)


def _of_ismn(
    ismn: Path, besides: set[str], left_out: dict[str, str], progress: Progress, flags: tuple[str, ...]
) -> Iterator[xr.Dataset]:
    progress("reading ISMN", 0.0)
    for dataset in read_ismn(ismn, left_out, flags):
        if dataset.attrs["network"] in besides:
            raise VadoseError(f"{ismn}: holds {dataset.attrs['network']}, whose files are given besides; leave one out")
        dataset["unflagged"] = dataset.soil_moisture.isnull() & dataset.soil_moisture_unflagged.notnull()
        dataset["soil_moisture"] = dataset.soil_moisture.fillna(dataset.soil_moisture_unflagged)
        yield dataset.drop_vars("soil_moisture_unflagged")
    progress("reading ISMN", 1.0)


def _readable(read: Callable[[Path], xr.Dataset], path: Path, left_out: dict[str, str]) -> Iterator[xr.Dataset]:
    """What a file holds, or nothing and a note where it cannot be read."""
    try:
        yield read(path)
    except VadoseError as error:
        left_out[str(path)] = str(error).removeprefix(f"{path}: ")


def _several_places(years: list[xr.Dataset]) -> str:
    places = sorted({(year.attrs["lat"], year.attrs["lon"]) for year in years})
    if all(np.ptp(axis) <= REFINED for axis in zip(*places, strict=True)):
        return ""
    return f"its files lie at several places ({'; '.join(f'{a:g}, {b:g}' for a, b in places[:3])})"


def _years(years: list[xr.Dataset], paths: list[Path]) -> xr.Dataset:
    """The years of a USCRN station as one series."""
    days = np.concatenate([year.time.values for year in years])
    if len(np.unique(days)) < len(days):
        raise VadoseError(f"{', '.join(map(str, paths))}: a day is in two of these files; keep one file a year")
    # Coordinates of a station were refined over the years: the last ones hold.
    series = xr.concat(years, "time", join="exact", combine_attrs="override").sortby("time")
    dropped = sum(year.attrs["lines_dropped"] for year in years)
    return _daily(series.assign_attrs(years[-1].attrs | {"lines_dropped": dropped}))


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
    position = {depth: nearest(site.index.to_numpy(), depth) for depth in dataset.depth.values}
    for name in ("sand_fraction", "silt_fraction", "clay_fraction", "bulk_density"):
        values = site[name].to_numpy()
        dataset[name] = "depth", np.array([np.nan if k is None else values[k] for k in position.values()])
    # What is not grain is pore.
    dataset["saturation"] = 1 - dataset.bulk_density / QUARTZ
    return dataset.assign_attrs(elevation=float(site["elevation"].iloc[0]))


def nearest(depths: Array, wanted: float) -> int | None:
    """Place of the depth nearest to one of the store's, None when none is near enough or within its layer."""
    below = np.flatnonzero(depths > TOPS.get(int(wanted), 0.0))
    if not len(below):
        return None
    k = int(below[np.argmin(np.abs(depths[below] - wanted))])
    return k if abs(depths[k] - wanted) <= DEPTHS[int(wanted)] else None


def stands_for(depth: float) -> list[int]:
    """Depths of the store that a sensor can stand for.

    Examples
    --------
    >>> stands_for(2.5), stands_for(40.0), stands_for(45.0)
    ([5], [], [50])
    """
    return [wanted for wanted in DEPTHS if nearest(np.array([depth]), wanted) is not None]
