"""A user's own tables of stations, CSV, Parquet, NetCDF or data frames, as series of days."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.products.station_text import check_moisture, check_place, fields_of, impossible_days, read_text
from vadose.stations.columns import OF_DEPTH, Columns, Site, explained, read_columns, recognised
from vadose.variables import describe

Array = NDArray[np.float64]
Source = Path | pd.DataFrame
BLANK = ("", "nan", "na", "n/a", "null", "none", "-", "--")
FORMATS = ("ISO8601", "%Y/%m/%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%d-%b-%Y", "%d-%b-%Y %H:%M:%S", "%d %b %Y")
AMBIGUOUS = ("%m/%d/%Y", "%d/%m/%Y", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%d.%m.%Y", "%d.%m.%Y %H:%M")
"""Forms of days of which one alone has to fit, as a day above 12 makes sure."""
HALF = 0.5
"""Least share of a day's usual readings that make its mean; a sum needs them all."""
LOWEST_MOST = 1.0
"""Moisture that nowhere exceeds this [percent] is a fraction."""
_A_VALUE = re.compile(r"^\s*[-+]?[\d.]+(?:e[-+]?\d+)?\s*$|\d{4}|\d[/.-]\d", re.IGNORECASE)
_RATE = re.compile(r"^W|[/ ](?:s|sec|h|hr|hour)(?:-1|\*\*-1|\^-1)?$")
_TABLES = ("*.csv", "*.txt", "*.tsv", "*.parquet", "*.nc")


def explain_table(path: Path) -> str:
    """What the columns of a table hold, as YAML text to be corrected (`vadose.stations.columns.Columns`).

    Raises
    ------
    VadoseError
        When the table cannot be read, or has no column of the day.
    """
    first = next(_files(path))
    table, units = _read(first)
    columns, others = recognised(table, units, str(first))
    return explained(path, columns, others, _names(table, columns, first))


def stations_of_tables(
    sources: Iterable[Source], columns: Columns | Path | None, sites: Path | None, left_out: dict[str, str]
) -> Iterator[xr.Dataset]:
    """Stations of tables, one after the other; columns that are not taken are noted in ``left_out``.

    Of several columns of a quantity at one depth that with most values is taken. Readings of a day are averaged where
    at least `HALF` of its usual number are there, amounts summed where all are.

    Parameters
    ----------
    sources
        Files, folders of files, or data frames.
    columns
        What the columns hold, or the file that says it; recognised when left out.
    sites
        CSV file of stations: station, latitude, longitude, and elevation and name if known.

    Raises
    ------
    VadoseError
        When a table or value cannot be read, moisture is in another unit than is said, a time comes twice, or a
        station's place is not known.
    """
    given = read_columns(columns) if isinstance(columns, Path) else columns
    known = _sites(sites) if sites is not None else {}
    for source in (file for one in sources for file in _files(one)):
        place = "the table" if isinstance(source, pd.DataFrame) else str(source)
        table, units = _read(source)
        of, others = (given, {}) if given else recognised(table, units, place)
        if not given:
            left_out |= {f"{place} column {name}": why for name, why in others.items()}
            if not any(column.variable == "soil_moisture" for column in of.columns.values()):
                why = "; ".join(f"{name}: {why}" for name, why in list(others.items())[:4])
                raise VadoseError(
                    f"{place}: no column is soil moisture for certain ({why}); say what they are: "
                    f"vadose stations --explain {place}, and --mapping"
                )
        else:
            of.check(place)
        yield from _stations(table, of, place, source, known | dict(of.sites), left_out)


def _files(source: Source) -> Iterator[Source]:
    if isinstance(source, pd.DataFrame) or source.is_file():
        yield source
    elif source.is_dir():
        found = sorted(path for pattern in _TABLES for path in source.glob(pattern))
        if not found:
            raise VadoseError(f"{source}: none of {', '.join(_TABLES)} in it; give a table or a folder of them")
        yield from found
    else:
        raise VadoseError(f"{source}: no such file or folder")


def _read(source: Source) -> tuple[pd.DataFrame, dict[str, str]]:
    """A table with plain column names, and the units that it says elsewhere than in these."""
    units: dict[str, str] = {}
    if isinstance(source, pd.DataFrame):
        named = source.reset_index() if source.index.name or isinstance(source.index, pd.DatetimeIndex) else source
        table = named.rename(columns={"index": "time"})
    elif source.suffix == ".parquet":
        table = _opened(pd.read_parquet, source)
    elif source.suffix in (".nc", ".nc4"):
        dataset = _opened(xr.load_dataset, source)
        units = {
            str(name): str(array.attrs["units"]) for name, array in dataset.variables.items() if "units" in array.attrs
        }
        table = dataset.to_dataframe().reset_index()
    else:
        table, units = _text_table(source)
    table.columns = [str(name).strip() for name in table.columns]
    if (twice := table.columns[table.columns.duplicated()].tolist()) or not len(table):
        found = f"column {twice[0]!r} comes twice" if twice else "no row"
        raise VadoseError(f"{source if isinstance(source, Path) else 'the table'}: {found}; expected a table of values")
    return table, units


def _opened(read: Any, path: Path) -> Any:
    try:
        return read(path)
    except ImportError as error:
        raise VadoseError(f"{path}: {error}") from error
    except (OSError, ValueError) as error:
        raise VadoseError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]})") from error


def _text_table(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """A table of text, its units where they stand in a row of their own below the header."""
    text = "\n".join(line for line in read_text(path).split("\n") if line.strip() and not line.startswith("#"))
    try:
        rows = [row for _, row in fields_of(text)]
    except csv.Error as error:
        raise VadoseError(f"{path}: {error}; expected a table with a line of column names") from error
    if len(rows) < 2:
        raise VadoseError(f"{path}: found {len(rows)} lines; expected a line of column names, and values below")
    header, units = [label.strip() for label in rows[0]], {}
    if not any(_A_VALUE.search(value) for value in rows[1]):
        units, rows = {n: u.strip() for n, u in zip(header, rows[1], strict=False) if u.strip()}, [rows[0], *rows[2:]]
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise VadoseError(f"{path}: row {number}: found {len(row)} values; the header has {len(header)} columns")
    return pd.DataFrame(rows[1:], columns=header, dtype=object), units


def _stations(
    table: pd.DataFrame, of: Columns, place: str, source: Source, sites: Mapping[str, Site], left_out: dict[str, str]
) -> Iterator[xr.Dataset]:
    """Each station of a table."""
    said = [of.time] if isinstance(of.time, str) else [*of.time]
    said += [name for name in (of.station, of.depth, of.variable, of.value, of.latitude, of.longitude) if name]
    if lacking := [name for name in (*said, *(() if of.variable else of.columns)) if name not in table]:
        raise VadoseError(f"{place}: no column {lacking[0]!r}; found {list(table)[:12]}")
    time, steps = _times(table, of, place)
    names = _names(table, of, source)
    of_row = table[of.station].map(_name) if of.station else pd.Series(names[0], index=table.index)
    for name in names:
        here = (of_row == name).to_numpy()
        at = _site(name, table[here], of, sites, place)
        dataset = _series(table[here], time[here], of, f"{place}, station {name}" if of.station else place, left_out)
        yield dataset.assign_attrs(
            network=of.network,
            station=name,
            station_name=at.name or name,
            lat=at.latitude,
            lon=at.longitude,
            elevation=at.elevation,
            day_boundary=_boundary(of, steps),
        )


def _names(table: pd.DataFrame, of: Columns, source: Source) -> list[str]:
    if of.station:
        return list(dict.fromkeys(table[of.station].map(_name)))
    return ["station" if isinstance(source, pd.DataFrame) else source.stem]


def _name(value: object) -> str:
    """A station's name; a number without a fraction, which a missing value makes a float, is a whole one."""
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value).strip()


def _boundary(of: Columns, steps: str) -> str:
    zone = of.days_of or of.time_zone or "the table"
    return f"midnight to midnight, {zone}" if steps == "times" else f"days of {zone}"


def _times(table: pd.DataFrame, of: Columns, place: str) -> tuple["pd.Series[pd.Timestamp]", str]:
    """The time of each row in the zone whose days are wanted, and whether rows are of ``days`` or ``times``."""
    if isinstance(of.time, str):
        times = _parsed(table[of.time], of, place)
    else:
        parts = {part: pd.to_numeric(table[name], errors="coerce") for part, name in zip(_PARTS, of.time, strict=False)}
        times = pd.to_datetime(pd.DataFrame(parts), errors="coerce")
    zoned = times.dt.tz is not None
    if of.time_zone and not zoned:
        times, zoned = _in_zone(times, of.time_zone, place), True
    if zoned:
        times = (_to_zone(times, of.days_of, place) if of.days_of else times).dt.tz_localize(None)
    elif of.days_of:
        raise VadoseError(f"{place}: days of {of.days_of} are wanted of times of an unknown zone; say the 'time_zone'")
    if (wrong := impossible_days(times).to_numpy()).any():
        k = int(wrong.argmax())
        raise VadoseError(
            f"{place}: row {k + 2}: found {_written(table, of, k)!r}; expected a day from 1900 to next year"
        )
    return times, "times" if (times != times.dt.normalize()).any() else "days"


_PARTS = ("year", "month", "day", "hour", "minute")


def _written(table: pd.DataFrame, of: Columns, k: int) -> str:
    return " ".join(str(table[name].iloc[k]) for name in ([of.time] if isinstance(of.time, str) else of.time))


def _parsed(column: "pd.Series[Any]", of: Columns, place: str) -> "pd.Series[pd.Timestamp]":
    if pd.api.types.is_datetime64_any_dtype(column):
        return column
    text = column.map(_name)
    if of.time_format:
        return pd.to_datetime(text, format=of.time_format, errors="coerce")
    if text.str.fullmatch(r"\d{8}").all():
        return pd.to_datetime(text, format="%Y%m%d", errors="coerce")
    fitting = [times for form in FORMATS if (times := pd.to_datetime(text, format=form, errors="coerce")).notna().all()]
    several = (
        []
        if fitting
        else [
            times for form in AMBIGUOUS if (times := pd.to_datetime(text, format=form, errors="coerce")).notna().all()
        ]
    )
    if not fitting and len(several) != 1:
        read = pd.to_datetime(text, format="ISO8601", errors="coerce")
        k = int(read.isna().to_numpy().argmax())
        raise VadoseError(
            f"{place}: column {of.time!r}, row {k + 2}: found {text.iloc[k]!r}"
            + (", which is two days" if several else "")
            + "; expected days such as 2020-06-25, or the 'time_format' in --mapping, such as '%m/%d/%Y'"
        )
    return (fitting or several)[0]


def _in_zone(times: "pd.Series[pd.Timestamp]", zone: str, place: str) -> "pd.Series[pd.Timestamp]":
    try:
        # Clocks put back show an hour twice: its readings belong to one day either way.
        return times.dt.tz_localize(zone, ambiguous=np.ones(len(times), bool), nonexistent="shift_forward")
    except (KeyError, ValueError) as error:
        raise VadoseError(
            f"{place}: time_zone {zone!r} is not known; expected one such as UTC or America/Chicago"
        ) from error


def _to_zone(times: "pd.Series[pd.Timestamp]", zone: str, place: str) -> "pd.Series[pd.Timestamp]":
    try:
        return times.dt.tz_convert(zone)
    except (KeyError, ValueError) as error:
        raise VadoseError(
            f"{place}: days_of {zone!r} is not known; expected one such as UTC or America/Chicago"
        ) from error


def _site(name: str, rows: pd.DataFrame, of: Columns, sites: Mapping[str, Site], place: str) -> Site:
    at = sites.get(name)
    if at is None and of.latitude and of.longitude:
        lat, lon = (_numbers(rows[column], of, place)[0] for column in (of.latitude, of.longitude))
        if np.ptp(lat) > 0 or np.ptp(lon) > 0:
            raise VadoseError(f"{place}: station {name} lies at several places; name the column of the 'station'")
        height = float(_numbers(rows[of.elevation], of, place)[0][0]) if of.elevation else float("nan")
        at = Site(float(lat[0]), float(lon[0]), height)
    if at is None:
        raise VadoseError(
            f"{place}: where station {name!r} is is not said; write it under 'sites' in --mapping, or give a table of "
            "station, latitude and longitude with --metadata"
        )
    check_place(at.latitude, at.longitude, f"{place}: station {name}")
    return at


def _sites(path: Path) -> dict[str, Site]:
    """Stations of a CSV file by name."""
    if not path.is_file():
        raise VadoseError(f"{path}: no such file; expected a table of station, latitude, longitude")
    table, _ = _text_table(path)
    table.columns = [name.lower().removesuffix("_id") for name in table.columns]
    table = table.rename(columns={"lat": "latitude", "lon": "longitude", "elev": "elevation", "site": "station"})
    if lacking := [name for name in ("station", "latitude", "longitude") if name not in table]:
        raise VadoseError(f"{path}: no column {lacking[0]!r}; found {list(table)[:12]}")
    heights = table["elevation"] if "elevation" in table else pd.Series(np.nan, index=table.index)
    titles = table["name"] if "name" in table else table["station"]
    places = [pd.to_numeric(column, errors="coerce") for column in (table["latitude"], table["longitude"], heights)]
    return {
        _name(station): Site(float(lat), float(lon), float(height), str(title))
        for station, lat, lon, height, title in zip(table["station"], *places, titles, strict=True)
    }


def _series(
    rows: pd.DataFrame, time: "pd.Series[pd.Timestamp]", of: Columns, place: str, left_out: dict[str, str]
) -> xr.Dataset:
    """The days of a station: soil (time, depth), weather (time)."""
    depth = _numbers(rows[of.depth], of, place)[0] * of.centimetres if of.depth else None
    best: dict[tuple[str, float], tuple[str, pd.Series[float]]] = {}
    codes = 0
    for name, column in of.columns.items():
        here = (rows[of.variable].map(str) == name).to_numpy() if of.variable else np.ones(len(rows), bool)
        values, coded = _numbers(rows.loc[here, of.value if of.value else name], of, f"{place}, column {name!r}")
        codes += coded
        if column.variable == "soil_moisture":
            _check_moisture(values, column.unit, f"{place}, column {name!r}")
        factor, offset = of.factor(column) or (1.0, 0.0)
        within = column.variable in OF_DEPTH and column.depth is None and depth is not None
        for at in np.unique(depth[here]) if within and depth is not None else [column.depth or 0.0]:
            chosen = depth[here] == at if within and depth is not None else np.ones(len(values), bool)
            days = _by_day(time[here][chosen], values[chosen] * factor + offset, column.variable, column.unit, place)
            if (key := (column.variable, float(at))) in best and days.count() <= best[key][1].count():
                left_out[f"{place} column {name}"] = (
                    f"{best[key][0]} has as many values of {column.variable} at its depth"
                )
            else:
                best[key] = name, days
    index = pd.date_range(min(s.index[0] for _, s in best.values()), max(s.index[-1] for _, s in best.values()))
    depths = sorted({at for name, at in best if name in OF_DEPTH})
    if 0.0 in depths:
        raise VadoseError(f"{place}: soil moisture without a depth; write the 'depth' [cm] of its column in --mapping")
    found: dict[str, Any] = {}
    for variable in dict.fromkeys(name for name, _ in best):
        series = [
            best[variable, at][1] if (variable, at) in best else None
            for at in (depths if variable in OF_DEPTH else [0.0])
        ]
        stacked = [np.full(len(index), np.nan) if s is None else s.reindex(index).to_numpy(float) for s in series]
        found[variable] = (("time", "depth"), np.stack(stacked, -1)) if variable in OF_DEPTH else ("time", stacked[0])
    coords = {"time": index, "depth": ("depth", depths, {"units": "cm"})}
    return describe(xr.Dataset(found, coords, {"missing_codes": codes}))


def _by_day(time: "pd.Series[pd.Timestamp]", values: Array, variable: str, unit: str, place: str) -> "pd.Series[float]":
    """A value for each day that has readings, NaN where these are too few."""
    series = pd.Series(values, pd.DatetimeIndex(time)).sort_index()
    day = pd.DatetimeIndex(series.index).normalize()
    if (twice := series.index.duplicated()).any():
        raise VadoseError(
            f"{place}: {series.index[twice][0]} comes twice for {variable}; keep one row, or name 'station'"
        )
    of_day = series.groupby(day)
    readings = of_day.size()
    usual = int(readings.mode().iloc[-1])
    if usual == 1:
        return series.set_axis(day)
    adds = variable in ("precipitation", "shortwave_radiation") and not _RATE.search(unit)
    counted = of_day.count()
    extreme = {"air_temperature_max": of_day.max, "air_temperature_min": of_day.min}.get(variable, of_day.mean)
    daily = of_day.sum() if adds else extreme()
    return daily.where(counted >= usual if adds else counted >= max(HALF * usual, 1))


def _numbers(column: "pd.Series[Any]", of: Columns, place: str) -> tuple[Array, int]:
    """Numbers of a column, NaN where it is blank or a code of a missing value, and how many were codes."""
    numbers: Array = pd.to_numeric(column, errors="coerce").to_numpy(float)
    text = column.astype(str).str.strip().str.lower()
    if (wrong := np.isnan(numbers) & column.notna().to_numpy() & ~text.isin(BLANK).to_numpy(bool)).any():
        k = int(wrong.argmax())
        raise VadoseError(f"{place}: row {column.index[k] + 2}: found {column.iloc[k]!r}, expected a number or nothing")
    coded = np.isin(numbers, of.missing)
    return np.where(coded | ~np.isfinite(numbers), np.nan, numbers), int(coded.sum())


def _check_moisture(values: Array, unit: str, place: str) -> None:
    """Refuse moisture that its values show to be in another unit than is said."""
    known = values[np.isfinite(values)]
    if unit in ("percent", "%", "pct") and len(known) and 0 < known.max() <= LOWEST_MOST:
        raise VadoseError(f"{place}: at most {known.max():g} {unit}; expected percent of volume. Is its unit m3 m-3?")
    if unit != "mm" and unit not in ("percent", "%", "pct"):
        check_moisture(known, place)
