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

from vadose.errors import VadoseError
from vadose.products.containers import container_of
from vadose.variables import describe

GOOD, UNFLAGGED = "G", "U"
# The archive writes -999.99 or -9999 where a value is missing.
MISSING_BELOW = -999.0
# A day counts when at least this share of its readings is good.
SHARE_OF_DAY = 0.5
READ = {"sm": "soil_moisture", "ts": "soil_temperature"}
SOILS = ("saturation", "clay_fraction", "sand_fraction", "silt_fraction")
# Depths anchor a name: networks, stations and sensors may hold underscores of their own.
REST = re.compile(
    r"(?P<station>.+)_(?P<variable>[a-z0-9]+)_(?P<depth_from>-?\d+\.\d+)_(?P<depth_to>-?\d+\.\d+)_(?P<sensor>.+)"
    r"_\d{8}_\d{8}\.stm"
)


SERIES = re.compile(r".+_[a-z0-9]+_-?\d+\.\d{6}_-?\d+\.\d{6}_.+_\d{8}_\d{8}\.stm")


class Sensor(NamedTuple):
    """What a file's place and name say."""

    network: str
    station: str
    variable: str
    depth_from: float
    depth_to: float
    sensor: str


def read_ismn(path: Path) -> list[xr.Dataset]:
    """Read all stations of an archive as daily means.

    A day's value is the mean of the hours flagged good (exactly ``G``), NaN where these are fewer than half
    of the day's readings. Old archives hold series no one has flagged (``U``): their daily means stand apart
    as ``soil_moisture_unflagged``. Of several sensors at one depth the one with most days is kept, since a
    mean over sensors jumps when one of them fails. Nothing is written into the archive's folder.

    Parameters
    ----------
    path
        Folder that holds a folder for each network, or the zip file as downloaded; or one series (``.stm``).

    Returns
    -------
    list of xarray.Dataset
        One a station: ``soil_moisture`` and ``soil_moisture_unflagged`` [m3 m-3], ``soil_temperature`` [K],
        (time, depth) each; ``saturation`` [m3 m-3] and texture (depth) where the archive has them;
        coordinates depth (the middle) [cm], depth_from and depth_to [m].

    Raises
    ------
    VadoseError
        When there is no archive at ``path``, or a file in it cannot be read; it is named.

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
        return _alone(path)
    if not path.is_dir() and not zipfile.is_zipfile(path):
        raise VadoseError(f"{path}: neither a folder nor a whole zip file; download the archive again")
    stations: dict[tuple[str, str], list[tuple[Sensor, pd.DataFrame, Any]]] = defaultdict(list)
    soils: dict[PurePath, Any] = {}
    with _quiet(), TemporaryDirectory() as scratch:
        from ismn.base import IsmnRoot
        from ismn.filehandlers import DataFile, StaticMetaFile

        root = IsmnRoot(path)
        names = _members(path, root.zip)
        files = [name for name in names if name.suffix == ".stm"]
        if not files:
            raise VadoseError(f"{path}: no .stm file in it; is it an ISMN download?")
        for name in (name for name in names if name.name.endswith("_static_variables.csv")):
            with _naming(path / name):
                soils[name.parent] = StaticMetaFile(root, name, temp_root=scratch).metadata
        for name in files:
            sensor = _sensor(path, name)
            if sensor.variable in READ:
                with _naming(path / name):
                    file = DataFile(root, name, temp_root=scratch)
                    days = _daily(file.read_data())
                place = {key: float(file.metadata[key].val) for key in ("latitude", "longitude", "elevation")}
                stations[sensor.network, sensor.station].append((sensor, days, (place, soils.get(name.parent))))
        root.close()
        return [_station(*key, sensors) for key, sensors in sorted(stations.items(), key=lambda item: item[0])]


def is_ismn(path: Path) -> bool:
    """Whether a folder or zip file holds series (``.stm``) of the archive, or a file is one, if only by its ending."""
    container = container_of(path)
    if container == "text":
        return SERIES.match(path.name) is not None or path.suffix.lower() == ".stm"
    if container == "zip":
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".stm") for name in archive.namelist())
    return container == "folder" and any(any(path.glob(f"{depth}*.stm")) for depth in ("", "*/", "*/*/"))


def _alone(path: Path) -> list[xr.Dataset]:
    """Read one series as an archive of its own, with the static variables beside it."""
    with TemporaryDirectory() as folder:
        home = Path(folder) / path.parent.parent.name / path.parent.name
        home.mkdir(parents=True)
        for file in (path, *path.parent.glob("*_static_variables.csv")):
            (home / file.name).symlink_to(file.resolve())
        try:
            return read_ismn(Path(folder))
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
def _naming(path: Path) -> Iterator[None]:
    """Name the file whatever the package stumbles over in it."""
    try:
        yield
    except (
        OSError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
    ) as error:
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise VadoseError(
            f"{path}: {what}; not an ISMN file as published, or cut short; download the archive again"
        ) from error


def _members(path: Path, archive: zipfile.ZipFile | None) -> list[PurePath]:
    if archive is not None:
        return sorted(PurePosixPath(name) for name in archive.namelist())
    return sorted(file.relative_to(path) for file in path.rglob("*") if file.is_file())


def _sensor(path: Path, name: PurePath) -> Sensor:
    """Read a file's name: CSE_network_station_variable_from_to_sensor_first_last.stm."""
    network, rest = "", ""
    for folder in name.parts[:-1]:
        if f"_{folder}_" in name.name:
            network, rest = folder, name.name.split(f"_{folder}_", 1)[1]
            break
    if not network:
        _, _, rest = name.name.partition("_")
        network, _, rest = rest.partition("_")
    match = REST.fullmatch(rest)
    if not match:
        raise VadoseError(f"{path / name}: not the name of an ISMN file; keep names as published")
    parts = match.groupdict()
    depths = float(parts["depth_from"]), float(parts["depth_to"])
    return Sensor(network, parts["station"], parts["variable"], *depths, parts["sensor"])


def _daily(hours: pd.DataFrame) -> pd.DataFrame:
    """Daily means of the good and of the unflagged hours, columns ``good`` and ``unflagged``."""
    value, flag = pd.to_numeric(hours.iloc[:, 0], errors="coerce"), hours.iloc[:, 1].astype(str).str.strip()
    if (wrong := (value.isna() & hours.iloc[:, 0].notna()) | pd.isna(hours.index.to_numpy())).any():
        k = int(wrong.to_numpy().argmax())
        raise ValueError(f"row {k + 1} of the data is {hours.index[k]} {hours.iloc[k, 0]!r}, not a time and a number")
    table = pd.DataFrame({"value": value, "flag": flag})[(value > MISSING_BELOW).to_numpy()]
    table = table[~table.index.duplicated()]
    day = pd.DatetimeIndex(table.index).normalize()
    readings = table["value"].groupby(day).size()
    means = {}
    for name, wanted in (("good", GOOD), ("unflagged", UNFLAGGED)):
        chosen = table["value"].where(table["flag"] == wanted).groupby(day)
        means[name] = chosen.mean().where(chosen.count() >= SHARE_OF_DAY * readings)
    return pd.DataFrame(means)


def _station(network: str, station: str, sensors: list[tuple[Sensor, pd.DataFrame, Any]]) -> xr.Dataset:
    """One station's dataset, the fullest sensor of each variable and depth."""
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
        },
    )
    return describe(dataset)
