"""A user's own tables of stations, CSV, Parquet, NetCDF or data frames, as series of days."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.door.values import is_rate
from vadose.errors import VadoseError
from vadose.insitu.columns import OF_DEPTH, Column, Columns, Site, explained, read_columns, recognised, roles_of
from vadose.insitu.own_files import Source, files_of, read_table, text_table
from vadose.products.station_text import check_moisture, check_place, impossible_days
from vadose.variables import VARIABLES, describe

Array = NDArray[np.float64]
BLANK = ("", "nan", "na", "n/a", "#n/a", "null", "none", "-", "--", ".", "m", "missing", "nodata")
FORMATS = ("ISO8601", "%Y/%m/%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%d-%b-%Y", "%d-%b-%Y %H:%M:%S", "%d %b %Y")
COUNTED = {"excel": (1.0, "1899-12-30"), "unix": (1 / 86400, "1970-01-01")}
"""Times that are numbers: days of one, and the day they are counted from."""
AMBIGUOUS = ("%m/%d/%Y", "%d/%m/%Y", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%d.%m.%Y", "%d.%m.%Y %H:%M")
"""Forms of days of which one alone has to fit, as a day above 12 makes sure."""
HALF = 0.5
"""Least share of a day's usual readings that make its mean; a sum needs them all."""
NEGATIVE = {"soil_moisture": 0.02, "shortwave_radiation": 30.0}
"""How far readings may lie below the least value of their variable: zero is not exactly 0 to a sensor."""
MOVED = 0.001
"""Degrees that the place of a station may differ by from row to row."""
LOWEST_MOST = 1.0
"""Moisture that does not exceed this [percent], but for a few values that may be codes, is a fraction."""
NEARLY_ALL = 0.9
_OFFSET = re.compile(r":\d\d(?:\.\d+)?\s*(Z|[+-]\d\d(?::?\d\d)?)$")


def explain_table(path: Path) -> str:
    """What the columns of a table hold, as YAML text to be corrected (`vadose.insitu.columns.Columns`).

    Raises
    ------
    VadoseError
        When the table cannot be read, or has no column of the day.
    """
    first = next(files_of(path))
    table, units = read_table(first)
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
    for source in (file for one in sources for file in files_of(one)):
        place = "the table" if isinstance(source, pd.DataFrame) else str(source)
        table, units = read_table(source)
        of, others = (given, {}) if given else recognised(table, units, place)
        if not given:
            left_out |= {f"{place} column {name}": why for name, why in others.items()}
            mapping = f"write it into a mapping: vadose stations --explain {place} > mine.yaml"
            if not of.time:
                raise VadoseError(f"{place}: no column of the day; found {list(table)[:12]}; {mapping}")
            if not of.depth_unit:
                raise VadoseError(f"{place}: the unit of the depths in column {of.depth!r} is not clear; {mapping}")
            if not any(column.variable == "soil_moisture" for column in of.columns.values()):
                why = "; ".join(f"{name}: {why}" for name, why in list(others.items())[:4])
                raise VadoseError(
                    f"{place}: no column is soil moisture for certain ({why}); say what they are: "
                    f"vadose stations --explain {place}, and --mapping"
                )
        else:
            of.check(place)
        if of.by_station is not None:
            table, of = _one_below_the_other(table, of)
        yield from _stations(table, of, place, source, known | dict(of.sites), left_out)


def _one_below_the_other(table: pd.DataFrame, of: Columns) -> tuple[pd.DataFrame, Columns]:
    """A table with a column a station as one with a row a station and time."""
    assert of.by_station is not None
    times = [of.time] if isinstance(of.time, str) else [*of.time]
    long = table.melt([name for name in times if name in table], var_name="station", value_name="value")
    return long, replace(of, station="station", columns={"value": of.by_station}, by_station=None)


def _stations(
    table: pd.DataFrame, of: Columns, place: str, source: Source, sites: Mapping[str, Site], left_out: dict[str, str]
) -> Iterator[xr.Dataset]:
    """Each station of a table."""
    said = [of.time] if isinstance(of.time, str) else [*of.time]
    said += [name for name in (of.station, of.depth, of.variable, of.value, of.latitude, of.longitude) if name]
    if lacking := [name for name in (*said, *(() if of.variable else of.columns)) if name not in table]:
        raise VadoseError(f"{place}: no column {lacking[0]!r}; found {list(table)[:12]}")
    time, boundary = _times(table, of, place)
    of_row = table[of.station].map(_name) if of.station else pd.Series(_names(table, of, source)[0], index=table.index)
    for key, here in of_row.groupby(of_row, sort=False).indices.items():
        name = str(key)
        rows = table.iloc[here]
        at = _site(name, rows, of, sites, place)
        dataset = _series(rows, time.iloc[here], of, f"{place}, station {name}" if of.station else place, left_out)
        yield dataset.assign_attrs(
            network=of.network,
            station=name,
            station_name=at.name or name,
            lat=at.latitude,
            lon=at.longitude,
            elevation=at.elevation,
            day_boundary=boundary,
        )


def _names(table: pd.DataFrame, of: Columns, source: Source) -> list[str]:
    if of.station:
        return list(dict.fromkeys(table[of.station].map(_name)))
    return ["station" if isinstance(source, pd.DataFrame) else source.stem]


def _name(value: object) -> str:
    """A station's name; a number without a fraction, which a missing value makes a float, is a whole one."""
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value).strip()


def _times(table: pd.DataFrame, of: Columns, place: str) -> tuple["pd.Series[pd.Timestamp]", str]:
    """The time of each row in the zone whose days are wanted, and what its days are."""
    if isinstance(of.time, str):
        times = _parsed(table[of.time], of, place)
    elif len(of.time) == 2:
        first, second = (table[name].map(_name) for name in of.time)
        of_year = bool(first.str.fullmatch(r"\d{4}").all())
        joined = first + (second.str.zfill(3) if of_year else " " + second)
        times = _parsed(joined, replace(of, time_format="%Y%j") if of_year else of, place)
    else:
        parts = {part: pd.to_numeric(table[name], errors="coerce") for part, name in zip(_PARTS, of.time, strict=False)}
        times = pd.to_datetime(pd.DataFrame(parts), errors="coerce")
    zoned = times.dt.tz is not None
    if of.time_zone and not zoned:
        told = [table[name] for name in (of.station, of.depth, of.variable) if name]
        again = pd.concat([times, *told], axis=1).duplicated().to_numpy()
        times, zoned = _in_zone(times, of.time_zone, place, again), True
    zone = of.days_of or of.time_zone or (str(times.dt.tz) if zoned else "the table")
    if zoned:
        times = _to_zone(times, of.days_of, place) if of.days_of else times
    elif of.days_of:
        raise VadoseError(f"{place}: days of {of.days_of} are wanted of times of an unknown zone; say the 'time_zone'")
    if (wrong := impossible_days(times.dt.tz_localize(None)).to_numpy()).any():
        k = int(wrong.argmax())
        raise VadoseError(
            f"{place}: row {k + 2}: found {_written(table, of, k)!r}; expected a day from 1900 to next year"
        )
    return times, f"{'midnight to midnight,' if (times != times.dt.normalize()).any() else 'days of'} {zone}"


_PARTS = ("year", "month", "day", "hour", "minute")


def _written(table: pd.DataFrame, of: Columns, k: int) -> str:
    return " ".join(str(table[name].iloc[k]) for name in ([of.time] if isinstance(of.time, str) else of.time))


def _parsed(column: "pd.Series[Any]", of: Columns, place: str) -> "pd.Series[pd.Timestamp]":
    if pd.api.types.is_datetime64_any_dtype(column):
        return column
    if of.time_format in COUNTED:
        of_day, origin = COUNTED[of.time_format]
        return pd.to_datetime(pd.to_numeric(column, errors="coerce") * of_day, unit="D", origin=origin, errors="coerce")
    text = column.map(_name)
    if (late := text.str.contains(r"[ T]24:00(?::00)?$")).any():
        read = _parsed(text.where(~late, text.str.replace("24:00", "00:00")), of, place)
        return read + pd.to_timedelta(late.astype(int), unit="D")
    if of.time_format:
        return pd.to_datetime(text, format=of.time_format, errors="coerce")
    offsets = text.str.extract(_OFFSET, expand=False).dropna().unique()
    if len(offsets) > 1:
        if not of.days_of:
            raise VadoseError(
                f"{place}: times have the offsets {', '.join(offsets[:3])}; write whose days are wanted, such as "
                f"'days_of: UTC', into a mapping: vadose stations --explain {place} > mine.yaml"
            )
        return pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True)
    if text.str.fullmatch(r"\d{8}").all():
        return pd.to_datetime(text, format="%Y%m%d", errors="coerce")
    fitting, several = _fitting(text, FORMATS)[:1], _fitting(text, AMBIGUOUS)
    if not fitting and len(several) != 1:
        read = pd.to_datetime(text, format="ISO8601", errors="coerce")
        k = int(read.isna().to_numpy().argmax())
        raise VadoseError(
            f"{place}: column {of.time!r}, row {k + 2}: found {text.iloc[k]!r}"
            + (", which is two days" if several else "")
            + "; expected days such as 2020-06-25, or the 'time_format' in --mapping, such as '%m/%d/%Y', excel or unix"
        )
    return (fitting or several)[0]


def _fitting(text: "pd.Series[str]", forms: Iterable[str]) -> list["pd.Series[pd.Timestamp]"]:
    """Times by each form that all of them have; the first ones tell most forms off."""
    fit = [form for form in forms if pd.to_datetime(text[:99], format=form, errors="coerce").notna().all()]
    return [times for form in fit if (times := pd.to_datetime(text, format=form, errors="coerce")).notna().all()]


def _in_zone(
    times: "pd.Series[pd.Timestamp]", zone: str, place: str, again: NDArray[np.bool_]
) -> "pd.Series[pd.Timestamp]":
    try:
        # Clocks put back show an hour twice; that which comes again is of standard time.
        return times.dt.tz_localize(zone, ambiguous=~again, nonexistent="shift_forward")
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
        # -99 and the like are degrees here.
        beyond = replace(of, missing=tuple(code for code in of.missing if isinstance(code, str) or abs(code) > 180))
        lat, lon = (_numbers(rows[column], beyond, place)[0] for column in (of.latitude, of.longitude))
        if np.ptp(lat) > MOVED or np.ptp(lon) > MOVED:
            raise VadoseError(f"{place}: station {name} lies at several places; name the column of the 'station'")
        height = float(_numbers(rows[of.elevation], of, place)[0][0]) if of.elevation else float("nan")
        at = Site(float(lat[0]), float(lon[0]), height)
    if at is None:
        raise VadoseError(
            f"{place}: where station {name!r} lies is not said; write it under 'sites' in --mapping, or give a table "
            "of station, latitude and longitude with --metadata"
        )
    check_place(at.latitude, at.longitude, f"{place}: station {name}")
    return at


def _sites(path: Path) -> dict[str, Site]:
    """Stations of a CSV file by name."""
    if not path.is_file():
        raise VadoseError(f"{path}: no such file; expected a table of station, latitude, longitude")
    table, _ = text_table(path)
    table = table.rename(columns={name: role for role, name in roles_of([str(name) for name in table]).items() if name})
    table = table.rename(columns=str.lower)
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
    depth = np.abs(_numbers(rows[of.depth], of, place)[0]) * of.centimetres if of.depth else None
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
            readings = pd.Series(values[chosen] * factor + offset, pd.DatetimeIndex(time[here][chosen])).sort_index()
            days, none = _by_day(readings, column, place)
            codes += none
            if (key := (column.variable, float(at))) in best and days.count() <= best[key][1].count():
                left_out[f"{place} column {name}"] = (
                    f"{best[key][0]} has as many values of {column.variable} at its depth"
                )
            else:
                best[key] = name, days
    ends = [of_end for end in ("max", "min") if (of_end := best.pop((f"relative_humidity_{end}", 0.0), None))]
    humid = "relative_humidity", 0.0
    if len(ends) == 2 and humid not in best:  # the mean of a day is made of them, as gridMET's is
        best[humid] = " and ".join(name for name, _ in ends), (ends[0][1] + ends[1][1]) / 2
    else:
        why = (
            "the mean of the day is there"
            if humid in best
            else "without the other end of the day no mean is made of it"
        )
        left_out |= {f"{place} column {name}": why for name, _ in ends}
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


def _by_day(series: "pd.Series[float]", column: Column, place: str) -> tuple["pd.Series[float]", int]:
    """A value for each day that has readings, NaN where these are too few, and how many readings could be none."""
    variable, day = column.variable, pd.DatetimeIndex(series.index).normalize().tz_localize(None)
    if (twice := series.index.duplicated()).any():
        raise VadoseError(
            f"{place}: {series.index[twice][0]} comes twice for {variable}; keep one row, or name the 'station', or "
            "the 'time_zone' where clocks were put back"
        )
    of_day = series.groupby(day)
    readings = of_day.size()
    usual = int(readings.mode().iloc[-1])
    if usual == 1:
        return series.set_axis(day), 0
    # A mean would hide a code that is not known as one; a day's own value is screened later.
    low, high = VARIABLES[variable].valid_range
    none = series.notna() & ~series.between(low - NEGATIVE.get(variable, 0.0), high)
    of_day = series.mask(none).groupby(day)
    adds = variable in ("precipitation", "shortwave_radiation") and not is_rate(column.unit)
    counted = of_day.count()
    extreme = of_day.max if variable.endswith("_max") else of_day.min if variable.endswith("_min") else of_day.mean
    daily = of_day.sum() if adds else extreme()
    return daily.where(counted >= usual if adds else counted >= max(HALF * usual, 1)), int(none.sum())


def _numbers(column: "pd.Series[Any]", of: Columns, place: str) -> tuple[Array, int]:
    """Numbers of a column, NaN where it is blank or a code of a missing value, and how many were codes."""
    numbers: Array = pd.to_numeric(column, errors="coerce").to_numpy(float)
    words = column[np.isnan(numbers)].dropna()
    known = [*BLANK, *(str(code).lower() for code in of.missing)]
    if (wrong := words[~words.astype(str).str.strip().str.lower().isin(known)]).size:
        raise VadoseError(
            f"{place}: row {wrong.index[0] + 2}: found {wrong.iloc[0]!r}, expected a number or nothing, or one of "
            "'missing' in --mapping"
        )
    coded = np.isin(numbers, [code for code in of.missing if isinstance(code, float)])
    return np.where(coded | ~np.isfinite(numbers), np.nan, numbers), int(coded.sum())


def _check_moisture(values: Array, unit: str, place: str) -> None:
    """Refuse moisture that its values show to be in another unit than is said."""
    known = values[np.isfinite(values)]
    most = float(np.quantile(known, NEARLY_ALL)) if len(known) else np.nan
    if unit in ("percent", "%", "pct") and 0 < most <= LOWEST_MOST:
        raise VadoseError(f"{place}: at most {most:g} {unit}; expected percent of volume. Is its unit m3 m-3?")
    if unit != "mm" and unit not in ("percent", "%", "pct"):
        check_moisture(known, place)
