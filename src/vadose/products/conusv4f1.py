"""The hydroDL CSV database of CONUS: SMAP L3 moisture and NLDAS-2 forcing at every fourth 36 km cell.

Published with Fang et al. (2017), doi:10.1002/2017GL075619. A folder holds ``CONUSv4f1/`` with
``crd.csv`` (a line "latitude,longitude" for each cell), ``const/NAME.csv`` (a line for each cell) and, for
each year, ``YEAR/NAME.csv`` (a line for each cell, a column for each day from 1 April on).
"""

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.grid import Grid, ease_grid
from vadose.products.product import Product
from vadose.variables import VARIABLES, describe

FILL = -9999.0
SIMULATED_MARKER = "SIMULATED.txt"

# Name of the file -> our name and the factor into our units.
MOISTURE = {"SMAP_AM": ("soil_moisture", 1.0)}
FORCING = {
    "APCP_FORA": ("precipitation", 24.0),  # mean rate, kg m-2 an hour -> kg m-2 a day
    "TMP_2_FORA": ("air_temperature", 1.0),
    "SPFH_2_FORA": ("specific_humidity", 1.0),
    "DSWRF_FORA": ("shortwave_radiation", 1.0),
    "DLWRF_FORA": ("longwave_radiation", 1.0),
    "UGRD_10_FORA": ("eastward_wind", 1.0),
    "VGRD_10_FORA": ("northward_wind", 1.0),
}
CONSTANTS = {
    "Clay": ("clay_fraction", 0.01),
    "Sand": ("sand_fraction", 0.01),
    "Silt": ("silt_fraction", 0.01),
    "Bulk": ("bulk_density", 1.0),
    "Capa": ("soil_water_capacity", 1.0),
    "NDVI": ("ndvi", 1.0),
    "flag_albedo": ("albedo", 1.0),
    "flag_roughness": ("roughness_coefficient", 1.0),
    "flag_waterbody": ("water_fraction", 1.0),
    "flag_landcover": ("land_cover", 1.0),
    "flag_vegDense": ("dense_vegetation", 1.0),
    "flag_extraOrd": ("extraordinary_surface", 1.0),
}


def read_conusv4f1(path: Path) -> xr.Dataset:
    """Read the whole database in our names and units, on its part of the 36 km EASE-Grid 2.0.

    Parameters
    ----------
    path
        Folder that holds ``CONUSv4f1/``.

    Returns
    -------
    xarray.Dataset
        (time, y, x) soil moisture and forcing, (y, x) constants and ``mask``, float32, NaN where
        missing. Years need not hold ``SMAP_AM.csv``; the forcing has to be whole.

    Raises
    ------
    VadoseError
        When a file or year is missing, cut short, of another size, or out of its variable's range.

    References
    ----------
    Fang et al. (2017), doi:10.1002/2017GL075619; SMAP L3: doi:10.5067/OMHVSRGFX38O; NLDAS-2:
    Xia et al. (2012), doi:10.1029/2011JD016048.
    """
    root = path / "CONUSv4f1"
    if not root.is_dir():
        raise VadoseError(
            f"{path}: no folder 'CONUSv4f1' in it; give the folder of the database, or for granules a recipe"
        )
    years = sorted(int(p.name) for p in root.iterdir() if p.is_dir() and p.name.isdigit())
    if not years:
        raise VadoseError(f"{root}: no folder of a year (such as '2015') in it; is the copy complete?")
    if missing := sorted(set(range(years[0], years[-1] + 1)) - set(years)):
        raise VadoseError(f"{root}: no folder for {missing} between {years[0]} and {years[-1]}; copy it too")

    latlon = _table(root / "crd.csv", columns=2)
    cells = len(latlon)
    grid, row, column = _lattice(root / "crd.csv", latlon)
    days = [_days(root / str(year), year) for year in years]

    def on_grid(values: NDArray[np.float32]) -> NDArray[np.float32]:
        full = np.full((*values.shape[1:], *grid.shape), np.nan, np.float32)
        full[..., row, column] = values.T
        return full

    dataset = grid.coordinates().assign_coords(time=pd.DatetimeIndex(np.concatenate(days)))
    with_moisture = [y for y in years if (root / str(y) / "SMAP_AM.csv").exists()]
    if not with_moisture:
        raise VadoseError(f"{root}: no year holds SMAP_AM.csv; there is nothing to learn from")
    for file, (name, factor) in (MOISTURE | FORCING).items():
        parts = []
        for year, time in zip(years, days, strict=True):
            if file in MOISTURE and year not in with_moisture:
                parts.append(np.full((cells, len(time)), np.nan, np.float32))
            else:
                source = root / str(year) / f"{file}.csv"
                parts.append(_values(source, name, factor, rows=cells, columns=len(time)))
        dataset[name] = ("time", "y", "x"), on_grid(np.concatenate(parts, axis=1))
    for file, (name, factor) in CONSTANTS.items():
        values = _values(root / "const" / f"{file}.csv", name, factor, rows=cells, columns=1)
        dataset[name] = ("y", "x"), on_grid(values[:, 0])
    mask = np.zeros(grid.shape, bool)
    mask[row, column] = True
    dataset["mask"] = ("y", "x"), mask, {"long_name": "cell belongs to the data set"}
    dataset.attrs |= {
        "dataset": "conusv4f1",
        "layer": "0-10 cm",
        "layer_note": "SMAP L-band retrieval, representative of about 0-5 cm",
        "day_boundary": "NLDAS-2 day of the database; SMAP overpass near 06:00 local solar time",
        "simulated": "true" if (path / SIMULATED_MARKER).exists() else "false",
        "years_with_soil_moisture": ", ".join(map(str, with_moisture)),
    }
    return describe(dataset)


def is_conusv4f1(path: Path) -> bool:
    """Whether a folder holds the database."""
    return (path / "CONUSv4f1").is_dir()


def _table(path: Path, columns: int, rows: int | None = None) -> NDArray[np.float64]:
    """Numbers of a CSV file without header, checked for their count."""
    if not path.exists():
        raise VadoseError(f"{path}: no such file; the database has it in every copy. Is the copy complete?")
    try:
        values = np.loadtxt(path, delimiter=",", ndmin=2)
    except ValueError as error:
        raise VadoseError(f"{path}: {error}; the file is cut short or damaged, copy it again") from error
    if values.shape[1] != columns or (rows is not None and len(values) != rows):
        raise VadoseError(
            f"{path}: found {values.shape[0]} rows x {values.shape[1]} columns, expected "
            f"{'any number of' if rows is None else rows} rows (cells in crd.csv) x {columns} columns; "
            "the file is cut short or of another version of the database"
        )
    return values


def _values(path: Path, name: str, factor: float, rows: int, columns: int) -> NDArray[np.float32]:
    """A table in our units, NaN where missing, refused when out of the variable's valid range."""
    table = _table(path, columns, rows)
    if not np.isfinite(table).all():
        raise VadoseError(f"{path}: holds values that are not numbers; missing ones are {FILL:.0f} here")
    values = np.where(table == FILL, np.nan, table * factor)
    low, high = VARIABLES[name].valid_range
    if bad := int(((values < low) | (values > high)).sum()):
        raise VadoseError(
            f"{path}: {bad} values of {name} lie outside {low:g} .. {high:g} {VARIABLES[name].units} (found "
            f"{np.nanmin(values):g} .. {np.nanmax(values):g}); another unit or a damaged file?"
        )
    return values.astype(np.float32)


def _days(folder: Path, year: int) -> pd.DatetimeIndex:
    """Days of a year's columns: 1 April to 31 March without a gap."""
    path = folder / "timeStr.csv"
    if not path.exists():
        raise VadoseError(f"{path}: no such file; it dates the columns of the year's tables")
    try:
        days = pd.DatetimeIndex(pd.to_datetime(path.read_text().split(), format="%Y-%m-%d"))
    except ValueError as error:
        raise VadoseError(f"{path}: {error}; a line holds one day as YYYY-MM-DD") from error
    expected = pd.date_range(f"{year}-04-01", f"{year + 1}-03-31")
    if not days.equals(expected):
        found = f"{len(days)} days" + (f", {days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d}" if len(days) else "")
        raise VadoseError(
            f"{path}: found {found}; expected every day from {expected[0]:%Y-%m-%d} to {expected[-1]:%Y-%m-%d}"
        )
    return days


def _lattice(path: Path, latlon: NDArray[np.float64]) -> tuple[Grid, NDArray[np.int64], NDArray[np.int64]]:
    """The smallest every-n-th-cell part of the 36 km grid that holds all cells, and each one's place on it."""
    grid = ease_grid("36km")
    row, column = grid.rowcol(latlon[:, 0], latlon[:, 1])
    if (row < 0).any():
        raise VadoseError(f"{path}: line {int(np.argmin(row)) + 1} lies outside the globe's EASE-Grid 2.0")
    if len(set(zip(row.tolist(), column.tolist(), strict=True))) < len(row):
        raise VadoseError(f"{path}: two lines lie in one 36 km cell; every line is a cell of its own")
    offsets = np.concatenate([row - row.min(), column - column.min()])
    step = max(int(np.gcd.reduce(offsets)), 1)
    part = grid.part(
        slice(int(row.min()), int(row.max()) + 1, step), slice(int(column.min()), int(column.max()) + 1, step)
    )
    return part, (row - row.min()) // step, (column - column.min()) // step


PRODUCT = Product(
    "hydroDL CSV database: SMAP L3 and NLDAS-2 at every fourth 36 km cell of CONUS",
    "database",
    "10.1002/2017GL075619",
    read_conusv4f1,
    is_conusv4f1,
)
