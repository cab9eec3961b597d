"""Archives of the International Soil Moisture Network, read through its ``ismn`` package.

Downloads come from https://ismn.earth, as folder or zip, in one of two formats that the package tells
apart: "header + values" and "CEOP in separate files". Stamps are hourly and UTC, so are the days here.
"""

import re
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from vadose.errors import VadoseError, extras
from vadose.products.containers import container_of
from vadose.products.product import Product
from vadose.products.station_text import MOST_BYTES, MOST_MEMBERS, check_moisture, check_place, impossible_days
from vadose.variables import describe

GOOD, UNFLAGGED = "G", "U"
WITH_HIGH = (GOOD, "C02", "C03", "C02,C03")
"""Good, and above 0.60 m3 m-3, above saturation, or both: the flags that Xu et al. (2025) keep."""
# The archive writes -999.99 or -9999 where a value is missing.
MISSING_BELOW = -999.0
# A day counts when at least this share of its readings is good.
SHARE_OF_DAY = 0.5
READ = {"sm": "soil_moisture", "ts": "soil_temperature"}
SOILS = ("saturation", "clay_fraction", "sand_fraction", "silt_fraction")
# Depths anchor a name: networks, stations and sensors may hold underscores of their own.
REST = re.compile(
    r"(?P<station>.+)_(?P<variable>[a-z0-9]+)_(?P<depth_from>-?\d+\.\d+)_(?P<depth_to>-?\d+\.\d+)_(?P<sensor>.+)"
    r"_(?P<first>\d{8})_(?P<last>\d{8})\.stm"
)


# Degrees between the sensors of one station; metres in the header, which has 2 decimals, and in the name.
ONE_PLACE, ONE_DEPTH = 0.02, 0.011
SERIES = re.compile(r".+_[a-z0-9]+_-?\d+\.\d{6}_-?\d+\.\d{6}_.+_\d{8}_\d{8}\.stm")


class Sensor(NamedTuple):
    """What a file's place and name say."""

    network: str
    station: str
    variable: str
    depth_from: float
    depth_to: float
    sensor: str
    first: str
    last: str


def read_ismn(path: Path, broken: dict[str, str] | None = None, flags: tuple[str, ...] = (GOOD,)) -> list[xr.Dataset]:
    """Read all stations of an archive as daily means.

    A day's value is the mean of the hours flagged good (exactly ``G``, or one of ``flags``), NaN where these are fewer
    than half of the day's readings. Old archives hold series no one has flagged (``U``): their daily means stand apart
    as ``soil_moisture_unflagged``. Of several sensors at one depth the one with most days is kept, since a
    mean over sensors jumps when one of them fails. Nothing is written into the archive's folder.

    What cannot be read of an archive is left out and named with its reason: a series or a station's table of soils,
    or a station whose sensors lie at several places. What macOS adds (``._*``, ``__MACOSX``) is passed over.

    Parameters
    ----------
    path
        Folder that holds a folder for each network, or the zip file as downloaded; or one series (``.stm``).
    broken
        Takes up what was left out: its name in the archive, and the reason.
    flags
        Of the hours that count, such as `WITH_HIGH`.

    Returns
    -------
    list of xarray.Dataset
        One a station: ``soil_moisture`` and ``soil_moisture_unflagged`` [m3 m-3], ``soil_temperature`` [K],
        (time, depth) each; ``saturation`` [m3 m-3] and texture (depth) where the archive has them;
        coordinates depth (the middle) [cm], depth_from and depth_to [m]. Attributes: ``left_out`` lists what was
        left out of the archive, ``readings_repeated`` counts those of a time that came before, which are not used.

    Raises
    ------
    VadoseError
        When there is no archive at ``path``, or nothing of it can be read.

    References
    ----------
    Dorigo et al. (2021), doi:10.5194/hess-25-5749-2021; flags: Dorigo et al. (2013),
    doi:10.2136/vzj2012.0097.

    Examples
    --------
    >>> with TemporaryDirectory() as folder:
    ...     station = Path(folder) / "NET" / "Hill"
    ...     station.mkdir(parents=True)
    ...     file = station / "NET_NET_Hill_sm_0.050000_0.050000_Probe_20200101_20200101.stm"
    ...     _ = file.write_text(
    ...         "NET NET Hill 40.0 -100.0 700.0 0.05 0.05 Probe\\n"
    ...         "2020/01/01 00:00 0.20 G M\\n2020/01/01 01:00 0.30 G M\\n2020/01/01 02:00 0.90 C02 M\\n"
    ...     )
    ...     (hill,) = read_ismn(Path(folder))
    >>> hill.attrs["station"], hill.depth.values.tolist(), hill.soil_moisture.values.tolist()
    ('Hill', [5.0], [[0.25]])
    """
    if not path.exists():
        raise VadoseError(f"{path}: no such file or folder; give an ISMN download, unpacked or as zip")
    if path.is_file() and container_of(path) == "text":
        return _alone(path, flags)
    if not path.is_dir() and not zipfile.is_zipfile(path):
        raise VadoseError(f"{path}: neither a folder nor a whole zip file; download the archive again")
    broken = {} if broken is None else broken
    with _quiet(), TemporaryDirectory() as scratch:
        stations = _sensors(path, scratch, broken, flags)
    datasets = []
    for (network, station), sensors in sorted(stations.items(), key=lambda item: item[0]):
        with _noting(broken, f"{network}/{station}"):
            datasets.append(_station(network, station, sensors))
    if not datasets:
        name, reason = next(iter(broken.items()), ("", "no series of soil moisture or soil temperature"))
        count = f" (and {len(broken) - 1} more files)" if len(broken) > 1 else ""
        raise VadoseError(f"{path / name}: {reason}{count}; nothing of the archive can be read")
    if broken:
        said = "; ".join(f"{name}: {reason}" for name, reason in broken.items())
        datasets = [dataset.assign_attrs(left_out=said) for dataset in datasets]
    return datasets


def is_ismn(path: Path) -> bool:
    """Whether a folder or zip file holds series (``.stm``) of the archive, or a file is one, if only by its ending."""
    container = container_of(path)
    if container == "text":
        return SERIES.match(path.name) is not None or path.suffix.lower() == ".stm"
    if container == "zip":
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".stm") for name in archive.namelist())
    # Unpacked by a program that makes a folder for the archive, networks lie a level or two deeper.
    return container == "folder" and any(any(path.glob(f"{'*/' * depth}*.stm")) for depth in range(6))


def _alone(path: Path, flags: tuple[str, ...]) -> list[xr.Dataset]:
    """Read one series as an archive of its own, with the static variables beside it."""
    with TemporaryDirectory() as folder:
        home = Path(folder) / path.parent.parent.name / path.parent.name
        home.mkdir(parents=True)
        for file in (path, *path.parent.glob("*_static_variables.csv")):
            (home / file.name).symlink_to(file.resolve())
        try:
            return read_ismn(Path(folder), flags=flags)
        except VadoseError as error:
            raise VadoseError(str(error).replace(str(home), str(path.parent))) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what the package warns of its own use of pandas."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", category=category, module=r"ismn\.")
        yield


@contextmanager
def _noting(broken: dict[str, str], name: str) -> Iterator[None]:
    """Note what is wrong with a part of an archive instead of giving up all of it."""
    try:
        yield
    except VadoseError as error:
        broken[name] = str(error)
    except Exception as error:
        # The package raises what its libraries do, or a traceback as text; few of these are of use to people.
        said = str(error) if isinstance(error, OSError | ValueError | zipfile.BadZipFile | RuntimeError) else ""
        if not said or "Traceback" in said:
            said = "lines or fields are missing, or it is no text"
        broken[name] = f"not as published ({' '.join(said.split())[:200]})"


def _sensors(
    path: Path, scratch: str, broken: dict[str, str], flags: tuple[str, ...]
) -> dict[tuple[str, str], list[tuple[Sensor, pd.DataFrame, Any]]]:
    """Daily means, place and soils of every sensor by network and station."""
    with extras():
        from ismn.base import IsmnRoot
        from ismn.filehandlers import DataFile, StaticMetaFile

    found: dict[tuple[str, str], list[tuple[Sensor, pd.DataFrame, Any]]] = defaultdict(list)
    soils: dict[PurePath, Any] = {}
    root = IsmnRoot(path)
    try:
        sizes = _members(path, root.zip)
        files = [name for name in sizes if name.suffix == ".stm"]
        if not files:
            packed = next((name for name in sizes if name.suffix.lower() == ".zip"), None)
            advice = f"it holds {packed}, unpack that first" if packed else "is it an ISMN download?"
            raise VadoseError(f"{path}: no .stm file in it; {advice}")
        for name in (name for name in sizes if name.name.endswith("_static_variables.csv")):
            with _noting(broken, str(name)):
                _check_member(name, sizes[name])
                soils[name.parent] = StaticMetaFile(root, name, temp_root=scratch).metadata
        for name in files:
            with _noting(broken, str(name)):
                _check_member(name, sizes[name])
                _check_start(root, name)
                sensor = _sensor(root.path / name)
                if sensor.variable in READ:
                    file = DataFile(root, name, temp_root=scratch)
                    days = _daily(file.read_data(), sensor.variable, flags)
                    _check_period(pd.DatetimeIndex(days.index), sensor)
                    place = _place(file.metadata, sensor)
                    found[sensor.network, sensor.station].append((sensor, days, (place, soils.get(name.parent))))
    finally:
        root.close()
    return found


def _members(path: Path, archive: zipfile.ZipFile | None) -> dict[PurePath, int]:
    """Files of an archive in order of name and their sizes, without what macOS adds."""
    sizes: dict[PurePath, int]
    if archive is not None:
        sizes = {PurePosixPath(info.filename): info.file_size for info in archive.infolist() if not info.is_dir()}
    else:
        sizes = {file.relative_to(path): file.stat().st_size for file in path.rglob("*") if file.is_file()}
    if len(sizes) > MOST_MEMBERS:
        raise VadoseError(f"{path}: holds {len(sizes)} files; expected at most {MOST_MEMBERS} of an ISMN archive")
    wanted = (name for name in sorted(sizes) if not name.name.startswith("._") and "__MACOSX" not in name.parts)
    return {name: sizes[name] for name in wanted}


def _check_member(name: PurePath, size: int) -> None:
    if name.is_absolute() or ".." in name.parts:
        raise VadoseError("its path leads out of the archive")
    if size > MOST_BYTES:
        raise VadoseError(f"{size >> 20} MiB; expected at most {MOST_BYTES >> 20} MiB of a station file")
    if not size:
        raise VadoseError("empty (0 bytes)")


def _check_start(root: Any, name: PurePath) -> None:
    with root.zip.open(str(name)) if root.zip else (root.path / name).open("rb") as stream:
        start = stream.read(64).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        raise VadoseError("a web page, not data")


def _check_period(days: pd.DatetimeIndex, sensor: Sensor) -> None:
    """Raise where no day of a file is of the period in its name; a file may hold more."""
    begin, end = (pd.to_datetime(day, format="%Y%m%d", errors="coerce") for day in (sensor.first, sensor.last))
    if len(days) and not (days[0] <= end and days[-1] >= begin):
        raise VadoseError(
            f"holds {days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d}, its name says {sensor.first} to {sensor.last}; renamed?"
        )


def _place(metadata: Any, sensor: Sensor) -> dict[str, float]:
    """Where a file's header says that its sensor is; its depth has to be that of the name."""
    place = {key: float(metadata[key].val) for key in ("latitude", "longitude", "elevation")}
    check_place(place["latitude"], place["longitude"], "header")
    said = metadata["instrument"].depth
    if max(abs(said.start - sensor.depth_from), abs(said.end - sensor.depth_to)) > ONE_DEPTH:
        raise VadoseError(
            f"depths {said.start:g} to {said.end:g} m in the header, {sensor.depth_from:g} to {sensor.depth_to:g} m in "
            "the name"
        )
    return place


def _sensor(name: PurePath) -> Sensor:
    """Read a file's name, CSE_network_station_variable_from_to_sensor_first_last.stm, by the folders it lies in."""
    # A file in no folder of its network tells this by the second word alone.
    for network in (*name.parts[-3:-1], *name.name.split("_")[1:2]):
        _, _, rest = name.name.partition(f"_{network}_")
        if match := REST.fullmatch(rest):
            parts = match.groupdict()
            depths = float(parts["depth_from"]), float(parts["depth_to"])
            said = (parts[key] for key in ("sensor", "first", "last"))
            return Sensor(network, parts["station"], parts["variable"], *depths, *said)
    raise VadoseError("not the name of an ISMN file; keep names as published")


def _daily(hours: pd.DataFrame, variable: str, flags: tuple[str, ...]) -> pd.DataFrame:
    """Daily means of the good and of the unflagged hours, columns ``good`` and ``unflagged``."""
    value, flag = pd.to_numeric(hours.iloc[:, 0], errors="coerce"), hours.iloc[:, 1].astype(str).str.strip()
    wrong = (value.isna() & hours.iloc[:, 0].notna()) | np.isinf(value) | impossible_days(hours.index).to_numpy()
    if wrong.any():
        k = int(wrong.to_numpy().argmax())
        raise VadoseError(
            f"row {k + 1} of the data is {hours.index[k]} {str(hours.iloc[k, 0])!r}, not a time and a number"
        )
    if len(hours) and hours.iloc[:, 1].isna().iloc[-1]:
        raise VadoseError(f"its last row, {hours.index[-1]}, has no flag: cut short; fetch it again")
    table = pd.DataFrame({"value": value, "flag": flag})[(value > MISSING_BELOW).to_numpy()]
    repeated = table.index.duplicated()
    table = table[~repeated]
    if variable == "sm":
        check_moisture(table["value"][table["flag"].isin([GOOD, UNFLAGGED])], "readings flagged good")
    day = pd.DatetimeIndex(table.index).normalize()
    readings = table["value"].groupby(day).size()
    means = {}
    for name, wanted in (("good", flags), ("unflagged", (UNFLAGGED,))):
        chosen = table["value"].where(table["flag"].isin(wanted)).groupby(day)
        means[name] = chosen.mean().where(chosen.count() >= SHARE_OF_DAY * readings)
    days = pd.DataFrame(means)
    days.attrs["repeated"] = int(repeated.sum())
    return days


def _check_places(places: list[dict[str, float]]) -> None:
    for axis in ("latitude", "longitude"):
        if max(place[axis] for place in places) - min(place[axis] for place in places) > ONE_PLACE:
            where = sorted({f"{place['latitude']:g}, {place['longitude']:g}" for place in places})
            raise VadoseError(f"its sensors lie at several places ({'; '.join(where[:3])})")


def _station(network: str, station: str, sensors: list[tuple[Sensor, pd.DataFrame, Any]]) -> xr.Dataset:
    """One station's dataset, the fullest sensor of each variable and depth."""
    _check_places([place for _, _, (place, _) in sensors])
    fullest: dict[tuple[str, float, float], pd.DataFrame] = {}
    for sensor, days, _ in sensors:
        key = sensor.variable, sensor.depth_from, sensor.depth_to
        if key not in fullest or days.notna().to_numpy().sum() > fullest[key].notna().to_numpy().sum():
            fullest[key] = days
    depths = sorted({key[1:] for key in fullest})
    ends = [day for days in fullest.values() if len(days) for day in days.index[[0, -1]]]
    time = pd.date_range(min(ends), max(ends)) if ends else pd.DatetimeIndex([])
    dims = ("time", "depth")
    values: dict[str, Any] = {}
    for name, variable, column, offset in (
        ("soil_moisture", "sm", "good", 0.0),
        ("soil_moisture_unflagged", "sm", "unflagged", 0.0),
        ("soil_temperature", "ts", "good", 273.15),
    ):
        table = np.full((len(time), len(depths)), np.nan)
        for i, (depth_from, depth_to) in enumerate(depths):
            if (variable, depth_from, depth_to) in fullest:
                table[:, i] = fullest[variable, depth_from, depth_to][column].reindex(time) + offset
        values[name] = dims, table
    place, soil = sensors[0][2]
    if soil is not None:
        from ismn.meta import Depth

        at = [soil.best_meta_for_depth(Depth(*depth)) for depth in depths]
        for name in SOILS:
            found = [float(m[name].val) if name in m and m[name].val is not None else np.nan for m in at]
            values[name] = "depth", np.array(found) / (1 if name == "saturation" else 100)
    dataset = xr.Dataset(
        values,
        coords={
            "time": time,
            "depth": ("depth", [round(50 * (a + b), 2) for a, b in depths], {"units": "cm"}),
            "depth_from": ("depth", [a for a, _ in depths], {"units": "m"}),
            "depth_to": ("depth", [b for _, b in depths], {"units": "m"}),
        },
        attrs={
            "network": network,
            "station": station,
            "station_name": station,
            "lat": place["latitude"],
            "lon": place["longitude"],
            "elevation": place["elevation"],
            "day_boundary": "UTC midnight to midnight",
            "sensors": ", ".join(sorted({sensor.sensor for sensor, _, _ in sensors})),
            "readings_repeated": sum(days.attrs["repeated"] for _, days, _ in sensors),
        },
    )
    return describe(dataset)


PRODUCT = Product("International Soil Moisture Network", "station", "10.5194/hess-25-5749-2021", read_ismn, is_ismn)
