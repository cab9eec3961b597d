"""The simulated world as files: the hydroDL database, USCRN stations, and the truth behind both."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vadose.artefact import provenance, writing
from vadose.errors import VadoseError
from vadose.grid import Grid, ease_grid
from vadose.twin.soil import Water, simulate_water, soil_of
from vadose.twin.weather import simulate_weather
from vadose.variables import describe

Array = NDArray[np.floating]

ROWS, COLUMNS = slice(71, 71 + 4 * 8, 4), slice(211, 211 + 4 * 10, 4)
"""Every fourth 36 km cell, as in the real database, from the Rocky Mountains to the Mississippi."""
WATER = ((0, 9), (7, 0), (7, 1))
"""Cells of the block that are open water: missing, as cells are in the real database."""
FIRST_YEAR = 2015
MARKER = "SIMULATED.txt"
NOTE = "These files were simulated; no value in them was ever measured.\n"
FILES = {
    "APCP_FORA": ("precipitation", 1 / 24), "TMP_2_FORA": ("air_temperature", 1.0),
    "SPFH_2_FORA": ("specific_humidity", 1.0), "DSWRF_FORA": ("shortwave_radiation", 1.0),
    "DLWRF_FORA": ("longwave_radiation", 1.0), "UGRD_10_FORA": ("eastward_wind", 1.0),
    "VGRD_10_FORA": ("northward_wind", 1.0),
}  # fmt: skip


def build_world(out: Path, *, seed: int = 0, years: int = 3, stations: int = 12) -> Path:
    """Simulate some years from April 2015 on and write them as files.

    Written under ``out``: ``conusv4f1/`` in the layout of the hydroDL database, ``uscrn/`` with
    daily station files, both with a marker ``SIMULATED.txt``, and ``truth.zarr``, the moisture of
    three layers without noise. The satellite sees the top layer with a bias of each cell and noise
    of 0.02 m3 m-3, every second or third day, not in frost. Stations lie inside cells and measure
    their layer with an offset and noise of the sensor; values are missing, one spikes, one is stuck.

    Parameters
    ----------
    seed
        The same seed gives the same values.
    years
        Database years, from April to March.
    stations
        At most one in each cell.

    Raises
    ------
    VadoseError
        For no year, or a number of stations that does not fit the cells.
    """
    grid = ease_grid("36km").part(ROWS, COLUMNS)
    cells = np.array([(r, c) for r in range(grid.shape[0]) for c in range(grid.shape[1]) if (r, c) not in WATER])
    if years < 1:
        raise VadoseError(f"simulated world: {years} years asked for; at least one is needed")
    if not 1 <= stations <= len(cells):
        raise VadoseError(f"simulated world: {stations} stations asked for; there is room for 1 to {len(cells)}")
    generator = np.random.default_rng(seed)
    rows, columns = np.indices(grid.shape)
    lat, lon = grid.latlon(rows, columns)
    time = pd.date_range(f"{FIRST_YEAR}-04-01", f"{FIRST_YEAR + years}-03-31")
    whole = pd.date_range(f"{FIRST_YEAR - 1}-04-01", time[-1])  # one year to forget the start
    weather = simulate_weather(whole.day_of_year.to_numpy(float), lat, lon, generator)
    sand = np.clip(0.45 + 0.2 * np.sin(rows) * np.cos(columns / 2) + 0.05 * generator.normal(size=grid.shape), 0.1, 0.8)
    clay = np.clip(0.6 - 0.8 * sand + 0.04 * generator.normal(size=grid.shape), 0.05, 0.5)
    soil = soil_of(sand, clay)
    water = simulate_water(soil, weather, np.repeat(soil.field_capacity[None], 3, axis=0))
    kept = slice(len(whole) - len(time), None)
    weather = {name: values[kept] for name, values in weather.items()}
    water = Water(water.moisture[kept], water.evapotranspiration[kept], water.runoff[kept], water.drainage[kept])
    satellite = _satellite(water.moisture[:, 0], weather["air_temperature"], generator)
    with writing(out) as scratch:
        scratch.mkdir()
        database = scratch / "conusv4f1" / "CONUSv4f1"
        _write_database(database, time, cells, lat, lon, satellite, weather, sand, clay, generator)
        _write_stations(scratch / "uscrn", time, cells, grid, water.moisture, weather, stations, generator)
        for folder in ("conusv4f1", "uscrn"):
            (scratch / folder / MARKER).write_text(NOTE)
        truth = grid.coordinates().assign_coords(
            time=time, layer=np.array(["0-10 cm", "10-40 cm", "40-100 cm"], dtype=object)
        )
        truth["soil_moisture"] = ("layer", "time", "y", "x"), water.moisture.swapaxes(0, 1).astype(np.float32)
        truth.attrs |= {"simulated": "true", **provenance(seed=seed, years=years, stations=stations)}
        describe(truth).to_zarr(scratch / "truth.zarr", zarr_format=3, consolidated=False)
    return out


def _satellite(truth: Array, temperature: Array, generator: np.random.Generator) -> Array:
    """The top layer as retrieved: biased and noisy, NaN between overpasses and in frost."""
    days, rows, columns = truth.shape
    bias = 0.02 * generator.normal(size=(rows, columns))
    seen = truth + bias + 0.02 * generator.normal(size=truth.shape)
    # Eight days repeat; a swath covers a band of columns, shifted a third of its width from day to day.
    phase = (3 * np.arange(days)[:, None] + np.arange(columns)[None]) % 8
    overpass = np.isin(phase, (0, 1, 2, 5))[:, None, :] & (generator.random(truth.shape) < 0.93)
    frozen = temperature < 273.15
    return np.where(overpass & ~frozen, np.clip(seen, 0.02, 0.55), np.nan)


def _write_database(
    root: Path,
    time: pd.DatetimeIndex,
    cells: NDArray[np.int64],
    lat: Array,
    lon: Array,
    satellite: Array,
    weather: dict[str, Array],
    sand: Array,
    clay: Array,
    generator: np.random.Generator,
) -> None:
    """A line a cell, a column a day, a folder a year; -9999 where missing."""
    at = (cells[:, 0], cells[:, 1])
    (root / "const").mkdir(parents=True)
    np.savetxt(root / "crd.csv", np.column_stack([lat[at], lon[at]]), fmt="%.4f", delimiter=",")
    ndvi = np.clip(0.2 + 0.02 * np.indices(sand.shape)[1] + 0.05 * generator.normal(size=sand.shape), 0.05, 0.8)
    constants = {
        "Sand": 100 * sand, "Clay": 100 * clay, "Silt": 100 * (1 - sand - clay), "Bulk": 2.65 * (0.511 + 0.126 * sand),
        "Capa": 100 * 0.15 + 0 * sand, "NDVI": ndvi, "flag_albedo": 0.05 + 0 * sand, "flag_roughness": 0.13 + 0 * sand,
        "flag_waterbody": 0 * sand, "flag_landcover": 10 + 0 * sand, "flag_vegDense": 0 * sand,
        "flag_extraOrd": 0 * sand,
    }  # fmt: skip
    for name, values in constants.items():
        np.savetxt(root / "const" / f"{name}.csv", values[at], fmt="%.8g")
    for year in sorted({day.year - (day.month < 4) for day in time}):
        days = (time >= pd.Timestamp(year, 4, 1)) & (time <= pd.Timestamp(year + 1, 3, 31))
        folder = root / str(year)
        folder.mkdir()
        (folder / "timeStr.csv").write_text("\n".join(time[days].strftime("%Y-%m-%d")) + "\n")
        # Days as MATLAB counts them: 719529 is 1970-01-01.
        matlab = (time[days] - pd.Timestamp("1970-01-01")).days + 719529
        (folder / "time.csv").write_text("\n".join(map(str, matlab)) + "\n")
        tables = {file: factor * weather[name] for file, (name, factor) in FILES.items()} | {"SMAP_AM": satellite}
        for file, values in tables.items():
            table = np.nan_to_num(values[days][:, at[0], at[1]].T, nan=-9999)
            np.savetxt(folder / f"{file}.csv", table, fmt="%.8g", delimiter=",")


def _write_stations(
    root: Path,
    time: pd.DatetimeIndex,
    cells: NDArray[np.int64],
    grid: Grid,
    moisture: Array,
    weather: dict[str, Array],
    stations: int,
    generator: np.random.Generator,
) -> None:
    """Daily station files; the first station spikes once, the last is stuck for two months."""
    for number, (row, column) in enumerate(generator.permutation(cells)[:stations]):
        lat, lon = (float(v) for v in grid.latlon(row, column))
        lat, lon = lat + generator.uniform(-0.1, 0.1), lon + generator.uniform(-0.1, 0.1)
        layers = moisture[:, :, row, column]
        at_depths = np.stack([layers[:, 0], layers[:, 0], layers[:, 1], layers[:, 2], layers[:, 2]], axis=1)
        seen = at_depths + 0.03 * generator.normal(size=5) + 0.004 * generator.normal(size=at_depths.shape)
        seen = np.clip(seen, 0.01, 0.6)
        if number == 0:
            seen[100, 0] += 0.3
        if number == stations - 1:
            seen[200:260, 0] = seen[200, 0]
        seen[generator.random(seen.shape) < 0.03] = -99.0
        temperature = weather["air_temperature"][:, row, column] - 273.15
        soil = pd.Series(temperature).ewm(span=10).mean().to_numpy()
        rain = weather["precipitation"][:, row, column]
        solar = weather["shortwave_radiation"][:, row, column] * 0.0864
        lines: dict[int, list[str]] = {}
        for day, date in enumerate(time):
            t, s = temperature[day], soil[day]
            sensors = "".join(f" {v:7.3f}" for v in seen[day])
            humidity = 90.0 if rain[day] > 0 else 60.0
            lines.setdefault(date.year, []).append(
                f"{99000 + number:5d} {date:%Y%m%d}  2.622 {lon:7.2f} {lat:7.2f} {t + 6:7.1f} {t - 6:7.1f} {t:7.1f} "
                f"{t:7.1f} {rain[day]:7.1f} {solar[day]:8.2f} C {t + 9:7.1f} {t - 7:7.1f} {t + 1:7.1f} "
                f"{humidity + 10:7.1f} {humidity - 10:7.1f} {humidity:7.1f}{sensors}" + 5 * f" {s:7.1f}"
            )
        for year, of_year in lines.items():
            folder = root / str(year)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"CRND0103-{year}-XX_Simulated_{number:02d}.txt").write_text("\n".join(of_year) + "\n")
