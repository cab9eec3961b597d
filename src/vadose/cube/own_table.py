"""A user's own CSV files of station-days, as features of stations."""

import ast
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.artefact import identity, provenance
from vadose.errors import VadoseError
from vadose.features.derived import derive
from vadose.gapfill.overpasses import fill_days
from vadose.variables import describe

_ARITHMETIC = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.Name, ast.Load, ast.Constant)

Array = NDArray[np.floating]


@dataclass(frozen=True)
class OwnTable:
    """What a CSV file holds.

    Attributes
    ----------
    file
        Path below the folder of the data.
    station
        Column of the station's number or name; a station of the store is ``NETWORK:NAME``.
    columns
        Our name -> column, or formula of columns whose names are plain words: ``+ - * / **``, numbers and brackets.
    day
        Column of the day, or of a time (UTC) whose day is taken. None: the values are fixed.
    network
        Network of the stations.
    features
        What is kept: columns, and what can be made of them (`vadose.features.derived`). All columns when empty.
    """

    file: str
    station: str
    columns: dict[str, str]
    day: str | None = None
    network: str = ""
    features: tuple[str, ...] = ()


def read_own_tables(
    folder: Path, tables: Sequence[OwnTable], stations: xr.Dataset, days: pd.DatetimeIndex, *, mode: str = "causal"
) -> xr.Dataset:
    """Read own tables as features of the stations of a store.

    Rows of one station and day are averaged, without those that lack the value. What is made of columns is made of the
    values of one row. Between its days a feature is filled by `vadose.gapfill.overpasses.fill_days`.

    Parameters
    ----------
    folder
        Holds the files.
    stations
        (station), names ``NETWORK:NAME``.
    days
        Each day of a period; rows before it are used for filling.
    mode
        ``'causal'`` (last value and its age) or ``'paper'``.

    Returns
    -------
    xarray.Dataset
        (station, time), and (station) of fixed columns: NaN at stations a file does not have. The attribute ``rows``
        (JSON) counts, for each file and feature, rows with a value, stations, and stations that the store lacks.

    Raises
    ------
    VadoseError
        If a file, column or day cannot be read, a formula is not plain arithmetic, two files give the same feature, a
        fixed value differs between rows, or no station of a file is in the store.
    """
    made = xr.Dataset(coords={"station": stations.station.values.astype(object), "time": days})
    counted: dict[str, dict[str, dict[str, int]]] = {}
    for number, table in enumerate(tables):
        place = folder / table.file
        rows = _rows(place, table)
        known = set(map(str, made.station.values)) & set(rows["station"])
        if not known:
            some = sorted(set(rows["station"]))[:3]
            raise VadoseError(f"{place}: none of its stations, such as {some}, is in the store; check 'network'")
        for name in table.features or table.columns:
            if name in made:
                raise VadoseError(f"{place}: {name} is also given by a file before it; keep one of them")
            values = rows[["station", "day", name]].dropna(subset=[name])
            feature = _fixed(values, name, place, made) if table.day is None else _daily(values, name, made, mode)
            made = made.assign(feature.data_vars)
            counted.setdefault(f"{number + 1} {table.file}", {})[name] = {
                "rows": len(values),
                "stations": values.station.nunique(),
                "stations_not_in_store": values.station[~values.station.isin(known)].nunique(),
            }
    made.attrs = {"mode": mode, "simulated": "false", "rows": json.dumps(counted)} | provenance(
        files=identity(*dict.fromkeys(folder / table.file for table in tables)),
        mode=mode,
        days=[str(days[0]), str(days[-1])],
    )
    return describe(made)


def _rows(path: Path, table: OwnTable) -> pd.DataFrame:
    """Station, day and features of each row."""
    if not path.is_file():
        raise VadoseError(f"{path}: no such file; the experiment's own tables are looked for below --data")
    try:
        raw = pd.read_csv(path)
    except (ValueError, UnicodeDecodeError) as error:
        raise VadoseError(f"{path}: cannot be read as CSV ({' '.join(str(error).split())})") from error
    for column in (table.station, *([table.day] if table.day else [])):
        if column not in raw:
            raise VadoseError(f"{path}: no column {column!r}; found {list(raw)[:12]}")
    values = {name: _values(raw, formula, path) for name, formula in table.columns.items()}
    fields = xr.Dataset({name: ("row", column) for name, column in values.items()})
    try:
        fields = derive(fields, table.features, ("pixel",))
    except VadoseError as error:
        raise VadoseError(f"{path}: {error}") from error
    if missing := [name for name in table.features if name not in fields]:
        raise VadoseError(f"{path}: {missing} are neither columns nor made of {list(table.columns)}")
    found = pd.DataFrame({name: fields[name].values for name in table.features or table.columns})
    found["station"] = [f"{table.network}:{name}" if table.network else name for name in _names(raw[table.station])]
    found["day"] = pd.NaT if table.day is None else _days(raw[table.day], f"{path}, column {table.day!r}")
    return found


def _names(column: pd.Series) -> list[str]:
    """Names of stations; numbers without a fraction, which a missing value makes floats."""
    if pd.api.types.is_numeric_dtype(column):
        return [f"{value:g}" if value % 1 else f"{value:.0f}" for value in column]
    return [str(value).strip() for value in column]


def _days(column: pd.Series, where: str) -> pd.Series:
    try:
        days: pd.Series = pd.to_datetime(column.astype("string"), format="ISO8601").dt.tz_localize(None).dt.normalize()
    except (ValueError, TypeError) as error:
        raise VadoseError(f"{where}: expected days such as 2019-07-31 ({' '.join(str(error).split())})") from error
    return days


def _values(raw: pd.DataFrame, formula: str, path: Path) -> Array:
    """A column, or what a formula makes of columns."""
    names = {formula} if formula in raw else _names_in(formula)
    if not names or not names <= set(raw):
        raise VadoseError(
            f"{path}: {formula!r} is neither a column nor + - * / ** of columns; its columns are {list(raw)[:12]}"
        )
    columns = pd.DataFrame({name: pd.to_numeric(raw[name], "coerce") for name in names})
    if bad := [name for name in columns if (columns[name].isna() & raw[name].notna()).any()]:
        raise VadoseError(f"{path}: column {bad[0]!r} holds values that are no number")
    values = np.asarray(columns[formula] if formula in raw else columns.eval(formula, engine="python"), float)
    return np.where(np.isfinite(values), values, np.nan)


def _names_in(formula: str) -> set[str]:
    """Names in a formula of plain arithmetic; none where it is another expression."""
    try:
        nodes = list(ast.walk(ast.parse(formula, mode="eval")))
    except SyntaxError:
        return set()
    numbers = all(isinstance(node.value, int | float) for node in nodes if isinstance(node, ast.Constant))
    plain = numbers and all(isinstance(node, _ARITHMETIC) for node in nodes)
    return {node.id for node in nodes if isinstance(node, ast.Name)} if plain else set()


def _fixed(values: pd.DataFrame, name: str, path: Path, made: xr.Dataset) -> xr.Dataset:
    of_station = values.groupby("station")[name]
    if differ := sorted(of_station.nunique()[lambda n: n > 1].index):
        raise VadoseError(f"{path}: {name} differs between rows of {differ[0]}; name its 'day', or another column")
    found = of_station.first().reindex(made.station.values).to_numpy(np.float32)
    return xr.Dataset({name: ("station", found)})


def _daily(values: pd.DataFrame, name: str, made: xr.Dataset, mode: str) -> xr.Dataset:
    days = made.indexes["time"]
    observed = values.groupby(["day", "station"])[name].mean().unstack()
    whole = pd.date_range(min([days[0], *observed.index[:1]]), days[-1])
    observed = observed.reindex(index=whole, columns=made.station.values)
    coords = {"station": made.station.values, "time": whole}
    daily = xr.DataArray(observed.to_numpy(np.float32).T, coords, ("station", "time"), name=name)
    return fill_days(daily, mode).sel(time=days)
