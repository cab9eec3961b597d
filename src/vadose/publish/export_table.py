"""Stores as tidy tables, CSV or Parquet: a row for each cell, station or area, day and lead."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from vadose.door.days import lead_days
from vadose.errors import VadoseError
from vadose.publish.selection import AXES, single_days

ROWS = 1 << 20
"""Rows of a table that are made at once."""
_SAID = {
    "init_time": ("last day known to the forecast", "date"),
    "lead_days": ("days from the last day known to the valid day", "day"),
    "time": ("day that the values are of", "date"),
    "lat": ("latitude of the cell or station", "degrees_north"),
    "lon": ("longitude of the cell or station", "degrees_east"),
    "area": ("FIPS code, or number of the polygon", ""),
}


def write_csv(data: xr.Dataset, path: Path, progress: Callable[[float], None]) -> list[str]:
    """Write a table as CSV; give its columns."""
    columns: list[str] = []
    for frame, share in _frames(data):
        frame.to_csv(path, mode="a" if columns else "w", header=not columns, index=False)
        columns = list(map(str, frame))
        progress(share)
    return columns


def columns_of(data: xr.Dataset, columns: list[str], name: str) -> str:
    """What the columns of a CSV file of a name are, as CSV on the Web (W3C) says it in a file beside."""
    told = [{"name": of, "titles": of, "dc:description": what, "unit": unit} for of, what, unit in _told(data, columns)]
    said = {"@context": "http://www.w3.org/ns/csvw", "url": name}
    return json.dumps(said | {"tableSchema": {"columns": told}}, indent=1)


def write_parquet(data: xr.Dataset, path: Path, progress: Callable[[float], None]) -> None:
    """Write a table as Parquet, its columns with their units.

    Raises
    ------
    VadoseError
        When pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise VadoseError(
            "Parquet is written by pyarrow, not installed; pip install pyarrow, or export to csv"
        ) from error
    writer: Any = None
    try:
        for frame, share in _frames(data):
            table = pa.Table.from_pandas(frame, preserve_index=False)
            if writer is None:
                told = {
                    name: {"description": of, "units": unit} for name, of, unit in _told(data, list(map(str, frame)))
                }
                fields = [field.with_metadata(told.get(field.name, {})) for field in table.schema]
                writer = pq.ParquetWriter(path, pa.schema(fields))
            writer.write_table(table.cast(writer.schema))
            progress(share)
    finally:
        if writer is not None:
            writer.close()


def _frames(data: xr.Dataset) -> Iterator[tuple[pd.DataFrame, float]]:
    """Parts of the table, and how far it is; rows without any value are left out. One part at least."""
    axis = next((axis for axis in ("init_time", "time") if axis in data.dims), "")
    along = next((name for name in ("y", "station", "area") if name in data.dims), "")
    days, empty = data.sizes.get(axis, 1), True
    for number, of_day in enumerate(single_days(data, axis), 1):
        rows = int(np.prod([n for name, n in of_day.sizes.items() if name in AXES])) or 1
        lines = of_day.sizes.get(along, 1)
        step = max(1, lines * ROWS // rows)
        for start in range(0, lines, step):
            frame = _frame(of_day.isel({along: slice(start, start + step)}) if along else of_day)
            if len(frame) or (number == days and start + step >= lines and empty):
                empty = False
                yield frame, number / days


def _frame(of_day: xr.Dataset) -> pd.DataFrame:
    """Rows of a day."""
    columns, leads = {}, lead_days(of_day) if "lead_time" in of_day.dims else None
    for name, values in of_day.data_vars.items():
        further = [axis for axis in map(str, values.dims) if axis not in AXES]
        for place in np.ndindex(*(values.sizes[axis] for axis in further)):
            beside = [of_day[axis].values[at] for axis, at in zip(further, place, strict=True)]
            words = [f"{of:g}" if isinstance(of, float | np.number) else str(of) for of in beside]
            one = values.isel(dict(zip(further, place, strict=True)), drop=True)
            columns["_".join([str(name), *words])] = one.drop_vars([c for c in one.coords if c not in one.dims])
    along = [axis for axis in AXES if any(axis in of.dims for of in columns.values())]
    fixed = [str(c) for c, of in of_day.coords.items() if c not in along and of.dims and set(of.dims) <= set(along)]
    table = xr.Dataset(columns).assign({name: of_day[name].drop_vars(of_day[name].coords) for name in fixed})
    frame = table.to_dataframe(dim_order=along).reset_index()
    if leads is not None:
        frame["lead_days"] = frame.pop("lead_time").dt.days
    for axis in ("init_time", "time"):
        if axis in of_day.coords and not of_day[axis].dims:
            frame[axis] = pd.Timestamp(of_day[axis].values.item())
    if "init_time" in frame and "lead_days" in frame:
        frame["time"] = frame.init_time + pd.to_timedelta(frame.lead_days, unit="D")
    for name in {"init_time", "time"} & set(frame):
        frame[name] = frame[name].dt.strftime("%Y-%m-%d")
    first = [name for name in dict.fromkeys((*_SAID, *AXES)) if name in frame]
    keys = [*first, *(name for name in fixed if name not in first)]
    known = frame[list(columns)].notna().any(axis=1)
    return frame.loc[known, [*keys, *columns]].reset_index(drop=True)


def _told(data: xr.Dataset, columns: list[str]) -> Iterator[tuple[str, str, str]]:
    """Name, meaning and unit of each column."""
    for column in columns:
        name = max(
            (str(of) for of in data.variables if column == of or column.startswith(f"{of}_")), key=len, default=""
        )
        said = data[name].attrs if name else {}
        meaning, unit = _SAID.get(column, (str(said.get("long_name", column)), str(said.get("units", ""))))
        level = column.removeprefix(name).strip("_") if name else ""
        yield column, f"{meaning} {level}".strip(), unit
