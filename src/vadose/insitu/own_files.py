"""Own tables as they come: CSV and other text, Parquet, NetCDF and data frames, with plain column names."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from vadose.errors import VadoseError
from vadose.products.station_text import fields_of, read_text

Source = Path | pd.DataFrame
_A_VALUE = re.compile(r"^\s*[-+]?[\d.]+(?:e[-+]?\d+)?\s*$|\d{4}|\d[/.-]\d", re.IGNORECASE)
_TABLES = ("*.csv", "*.txt", "*.tsv", "*.parquet", "*.nc")
_NOT_TABLES = {
    ".stm": "an ISMN file; give the folder or zip of the archive with --ismn",
    ".xls": "an Excel workbook; save the sheet as CSV",
    ".xlsx": "an Excel workbook; save the sheet as CSV",
}
_MOST_ABOVE = 40
"""Lines above the column names, such as a logger writes, that are looked through for these."""


def files_of(source: Source) -> Iterator[Source]:
    """The tables of a file, a folder, or a data frame.

    Raises
    ------
    VadoseError
        When there is none.
    """
    if isinstance(source, pd.DataFrame) or source.is_file():
        yield source
    elif source.is_dir():
        found = sorted(path for pattern in _TABLES for path in source.glob(pattern))
        if not found:
            others = next(
                (f"; {path.name} is {_NOT_TABLES[path.suffix]}" for path in sorted(source.rglob("*.stm"))), ""
            )
            raise VadoseError(f"{source}: none of {', '.join(_TABLES)} in it{others}")
        yield from found
    else:
        raise VadoseError(f"{source}: no such file or folder")


def read_table(source: Source) -> tuple[pd.DataFrame, dict[str, str]]:
    """A table with plain column names, and the units that it says elsewhere than in these.

    Raises
    ------
    VadoseError
        When it cannot be read, has no row, or a column comes twice.
    """
    units: dict[str, str] = {}
    if isinstance(source, pd.DataFrame):
        named = source.reset_index() if source.index.name or isinstance(source.index, pd.DatetimeIndex) else source
        table = named.rename(columns={"index": "time"})
    elif source.suffix.lower() in _NOT_TABLES:
        raise VadoseError(f"{source}: is {_NOT_TABLES[source.suffix.lower()]}")
    elif source.suffix == ".parquet":
        table = _opened(pd.read_parquet, source)
    elif source.suffix in (".nc", ".nc4"):
        dataset = _opened(xr.load_dataset, source)
        units = {
            str(name): str(array.attrs["units"]) for name, array in dataset.variables.items() if "units" in array.attrs
        }
        whole = {k: v for k, v in dataset.attrs.items() if k in ("lat", "lon", "latitude", "longitude", "elevation")}
        table = dataset.to_dataframe().reset_index()
        table = table.assign(**{k: float(v) for k, v in whole.items() if k not in table})
    else:
        table, units = text_table(source)
    table.columns = [str(name).strip() for name in table.columns]
    if (twice := table.columns[table.columns.duplicated()].tolist()) or not len(table):
        found = f"column {twice[0]!r} comes twice" if twice else "no row"
        raise VadoseError(f"{source if isinstance(source, Path) else 'the table'}: {found}; expected a table of values")
    return table, units


def _opened(read: Any, path: Path) -> Any:
    try:
        return read(path)
    except ImportError as error:
        raise VadoseError(f"{path}: Parquet is read by pyarrow, which is not installed; write CSV instead") from error
    except (OSError, ValueError) as error:
        raise VadoseError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]})") from error


def text_table(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """A table of text, its units where they stand in a row of their own below the header.

    Lines of a logger above the column names are passed over, and so are rows without any value below these.

    Raises
    ------
    VadoseError
        When there is no header with values below, or a row has more or fewer values than the header has names.
    """
    text = "\n".join(line for line in read_text(path).split("\n") if line.strip() and not line.startswith("#"))
    try:
        rows = [row for _, row in fields_of(text)]
    except csv.Error as error:
        raise VadoseError(f"{path}: {error}; expected a table with a line of column names") from error
    if rows and max(map(len, rows)) == 1:
        rows = [row[0].split() for row in rows]
    number, rows = _from_header(rows)
    if len(rows) < 2:
        raise VadoseError(f"{path}: found {len(rows)} lines; expected a line of column names, and values below")
    header, below = [label.strip() for label in rows[0]], 1
    units: dict[str, str] = {}
    while below < len(rows) and not any(_A_VALUE.search(value) for value in rows[below]):
        units |= {n: u.strip() for n, u in zip(header, rows[below], strict=False) if u.strip() and n not in units}
        below += 1
    for k, row in enumerate(rows[below:], number + below + 1):
        if len(row) < len(header) or any(value.strip() for value in row[len(header) :]):
            raise VadoseError(f"{path}: row {k}: found {len(row)} values; the header has {len(header)} columns")
    table = pd.DataFrame([row[: len(header)] for row in rows[below:]], columns=header, dtype=object)
    table = table.loc[:, [bool(name) or bool(values.str.strip().any()) for name, values in table.items()]]
    return table.rename(columns={"": "unnamed"}), units


def _from_header(rows: list[list[str]]) -> tuple[int, list[list[str]]]:
    """Number of lines above the column names, and the rows from these on."""
    usual, above = len(rows[-1]) if rows else 0, int(bool(rows) and rows[0][0] == "TOA5")
    for k, row in enumerate(rows[above:_MOST_ABOVE], above):
        if len(row) >= usual > 1 and not any(_A_VALUE.search(value) for value in row):
            return k, rows[k:]
    return above, rows[above:]
