"""Stations of the simulated world, in the files of USCRN (days and hours), SCAN and ISMN."""

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.grid import grid_of
from vadose.twin.granules.conusv4f1 import MARKER, NOTE
from vadose.twin.truth import at

DEPTHS = (5, 10, 20, 50, 100)
"""Of the sensors [cm]."""
LAYERS = ("0_10cm", "0_10cm", "10_40cm", "40_100cm", "40_100cm")
INCHES = (2, 4, 8, 20, 40)


MEASURED = (
    "air_temperature",
    "air_temperature_max",
    "air_temperature_min",
    "precipitation",
    "shortwave_radiation",
    "soil_temperature",
    "relative_humidity_max",
    "relative_humidity_min",
    *dict.fromkeys(f"soil_moisture_{layer}" for layer in LAYERS),
)
FIXED = ("elevation", "sand_fraction", "clay_fraction", "porosity")


def place_stations(truth: xr.Dataset, count: int, seed: int = 0) -> xr.Dataset:
    """Where some stations stand: ``lat`` and ``lon`` (station), each in a cell of its own, none in water."""
    generator = np.random.default_rng([seed, count])
    grid = grid_of(truth)
    cells = generator.permutation(np.argwhere(truth.water_fraction.values < 0.2))[:count]
    lat, lon = grid.latlon(cells[:, 0], cells[:, 1])
    near = 0.3 * grid.cell / 111e3
    lat, lon = lat + generator.uniform(-near, near, len(lat)), lon + generator.uniform(-near, near, len(lat))
    return xr.Dataset(coords={"lat": ("station", lat), "lon": ("station", lon)})


def at_stations(truth: xr.Dataset, places: xr.Dataset) -> xr.Dataset:
    """The truth in the stations' cells, (time, station) and (station)."""
    points = places.assign_coords(time=truth.time)
    for name in MEASURED:
        points[name] = ("time", "station"), at(truth[name], places.lat.values, places.lon.values)
    for name in FIXED:
        points[name] = "station", at(truth[name], places.lat.values, places.lon.values)
    return points


def measured(points: xr.Dataset, seed: int = 0) -> xr.Dataset:
    """What stations measure where the truth is ``points``: moisture (time, station, depth) added.

    A point is not its cell: a sensor differs from it by 0.03 m3 m-3 that stay, its swings about the mean are a
    fifth larger or smaller, 0.015 change in weeks, and 0.004 are noise. 3 % of the values are missing, the first
    station spikes once, the last is stuck for two months (or half the record).
    """
    generator = np.random.default_rng([seed, 1, points.sizes["station"]])
    days, count = points.sizes["time"], points.sizes["station"]
    moisture = np.stack([points[f"soil_moisture_{layer}"].values for layer in LAYERS], axis=-1).astype(float)
    slow = pd.DataFrame(generator.normal(size=(days, count))).ewm(span=20).mean().to_numpy()
    mean = moisture.mean(axis=0)
    moisture = mean + (moisture - mean) * (1 + 0.2 * generator.normal(size=(1, count, 5)))
    moisture = moisture + 0.03 * generator.normal(size=(1, count, 5)) + 0.07 * slow[..., None]
    moisture = np.clip(moisture + 0.004 * generator.normal(size=moisture.shape), 0.01, 0.6)
    moisture[days // 3, 0, 0] += 0.3
    moisture[days // 2 : days // 2 + min(60, days // 2), -1, 0] = moisture[days // 2, -1, 0]
    moisture[generator.random(moisture.shape) < 0.03] = np.nan
    return points.assign(soil_moisture=(("time", "station", "depth"), moisture)).assign_coords(depth=list(DEPTHS))


def write_uscrn(series: xr.Dataset, folder: Path) -> list[Path]:
    """Write USCRN daily01 files: a folder a year, 28 columns, -99 and -9999 where missing."""
    _mark(folder)
    written = []
    time = series.indexes["time"]
    for number in range(series.sizes["station"]):
        s = series.isel(station=number)
        lat, lon = float(s.lat), float(s.lon)
        celsius = {name: s[name].values - 273.15 for name in s.data_vars if "temperature" in str(name)}
        mean, high, low = (celsius[f"air_temperature{end}"] for end in ("", "_max", "_min"))
        soil = celsius["soil_temperature"]
        rain, solar = s.precipitation.values, s.shortwave_radiation.values * 0.0864
        wet, dry = s.relative_humidity_max.values, s.relative_humidity_min.values
        moisture = np.nan_to_num(s.soil_moisture.values, nan=-99.0)
        lines: dict[int, list[str]] = {}
        for day, date in enumerate(time):
            sensors = "".join(f" {v:7.3f}" for v in moisture[day])
            lines.setdefault(date.year, []).append(
                f"{99000 + number:5d} {date:%Y%m%d}  2.622 {lon:7.2f} {lat:7.2f} {high[day]:7.1f} {low[day]:7.1f} "
                f"{(high[day] + low[day]) / 2:7.1f} {mean[day]:7.1f} {rain[day]:7.1f} {solar[day]:8.2f} C "
                f"{high[day] + 3:7.1f} {low[day] - 1:7.1f} {mean[day] + 1:7.1f} {wet[day]:7.1f} {dry[day]:7.1f} "
                f"{(wet[day] + dry[day]) / 2:7.1f}{sensors}" + 5 * f" {soil[day]:7.1f}"
            )
        for year, of_year in lines.items():
            path = folder / str(year) / f"CRND0103-{year}-XX_Simulated_{number:02d}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(of_year) + "\n")
            written.append(path)
    return written


def write_uscrn_hourly(series: xr.Dataset, folder: Path) -> list[Path]:
    """Write USCRN hourly02 files: a folder a year, 38 columns; UTC days of hours give the series back.

    Temperature, humidity and radiation follow the sun, rain falls in six hours of the afternoon, soil stays as
    it is for the day. The hour that ends with the year is in its file.
    """
    hours = np.arange(24)
    days = series.indexes["time"]
    ends = days.repeat(24) + np.tile(pd.to_timedelta(hours + 1, "h"), len(days))
    written = []
    for number in range(series.sizes["station"]):
        s = series.isel(station=number)
        lat, lon = float(s.lat), float(s.lon)
        zone = round(lon / 15)
        angle = 2 * np.pi * (hours + 0.5 + zone) / 24
        warmth, shine = -np.cos(angle - np.pi / 6), np.maximum(-np.cos(angle), 0)
        wet, dry = s.relative_humidity_max.values, s.relative_humidity_min.values
        mean = s.air_temperature.values - 273.15
        air = _by_hour(mean, (s.air_temperature_max - s.air_temperature_min).values / 2, warmth)
        humidity = _by_hour((wet + dry) / 2, (dry - wet) / 2, warmth)
        solar = np.outer(s.shortwave_radiation.values, shine / shine.mean()).ravel()
        # Rounded as it adds up, so that the hours' sum is the day's.
        fallen = np.cumsum((hours + zone - 13) % 24 < 6) / 6
        rain = np.diff(np.outer(s.precipitation.values, fallen).round(1), axis=1, prepend=0).ravel()
        soil = np.repeat(s.soil_temperature.values - 273.15, 24)
        moisture = np.repeat(np.nan_to_num(s.soil_moisture.values, nan=-99.0), 24, axis=0)
        lines: dict[int, list[str]] = {}
        for k, end in enumerate(ends):
            local = end + pd.Timedelta(hours=zone)
            t, sun, surface = f"{air[k]:7.1f}", f"{solar[k]:6.0f} 0", f"{air[k] + 1:7.1f} 0"
            sensors = "".join(f" {v:7.3f}" for v in moisture[k])
            lines.setdefault((end - pd.Timedelta(hours=1)).year, []).append(
                f"{99000 + number:5d} {end:%Y%m%d %H%M} {local:%Y%m%d %H%M}  2.622 {lon:7.2f} {lat:7.2f} "
                f"{t} {t} {t} {t} {rain[k]:7.1f} {sun} {sun} {sun} C {surface} {surface} {surface} "
                f"{humidity[k]:5.0f} 0{sensors}" + 5 * f" {soil[k]:7.1f}"
            )
        for year, of_year in lines.items():
            path = folder / str(year) / f"CRNH0203-{year}-XX_Simulated_{number:02d}.txt"
            _mark(path.parent)
            path.write_text("\n".join(of_year) + "\n")
            written.append(path)
    return written


def write_scan(series: xr.Dataset, folder: Path) -> list[Path]:
    """Write SCAN daily CSV exports in metric units, and beside the folder ``station_meta/scan_stations.csv``.

    The exports do not say where their stations are: that table does.
    """
    _mark(folder)
    names = ["Precipitation Increment (mm)", "Air Temperature Average (degC)"]
    names += [f"Soil Moisture Percent -{d}in (pct) Mean of Hourly Values" for d in INCHES]
    names += [f"Soil Temperature Observed -{d}in (degC) Mean of Hourly Values" for d in INCHES]
    names += ["Relative Humidity (pct) Mean of Hourly Values", "Solar Radiation/langley Total (langley)"]
    written, places = [], ["Name;Start;Lat;Long;Elv;county"]
    for number in range(series.sizes["station"]):
        s, site = series.isel(station=number), 9000 + number
        soil = s.soil_temperature.values[:, None] - 273.15
        columns = np.column_stack(
            [
                s.precipitation,
                s.air_temperature - 273.15,
                100 * s.soil_moisture,
                np.repeat(soil, 5, axis=1),
                (s.relative_humidity_max + s.relative_humidity_min) / 2,
                s.shortwave_radiation * 86400 / 41840,
            ]
        )
        table = pd.DataFrame(columns, columns=names).round(2)
        table.insert(0, "Date", pd.DatetimeIndex(series.time).strftime("%Y-%m-%d"))
        table.insert(1, "Station Id", site)
        table.insert(2, "Station Name", f"Simulated {number:02d}")
        path = folder / f"{site}.csv"
        table.to_csv(path)
        written.append(path)
        feet = float(s.elevation) / 0.3048
        places.append(
            f"Simulated {number:02d} ({site});2010-January;{float(s.lat):.4f};{float(s.lon):.4f};{feet:.0f};Nowhere"
        )
    listed = folder.parent / "station_meta"
    _mark(listed)
    (listed / "scan_stations.csv").write_text("\n".join(places) + "\n")
    return written


def write_ismn(series: xr.Dataset, folder: Path) -> list[Path]:
    """Write an ISMN archive of one network in the form "header + values", four readings a day, flagged."""
    _mark(folder)
    network, sensor = "SIMULATED", "Model"
    first, last = (f"{series.indexes['time'][i]:%Y%m%d}" for i in (0, -1))
    written = []
    for number in range(series.sizes["station"]):
        s, station = series.isel(station=number), f"Simulated_{number:02d}"
        home = folder / network / station
        home.mkdir(parents=True, exist_ok=True)
        static = ["quantity_name;unit;depth_from[m];depth_to[m];value;description;quantity_source_name"]
        for top, bottom in (("0.00", "0.30"), ("0.30", "1.00")):
            for name, value in (
                ("saturation;m^3*m^-3", float(s.porosity)),
                ("clay fraction;% weight", 100 * float(s.clay_fraction)),
                ("sand fraction;% weight", 100 * float(s.sand_fraction)),
            ):
                static.append(f"{name};{top};{bottom};{value:.2f};;simulated")
        static.append("land cover classification;unitless;-99.90;-99.90;130;;simulated")
        static.append("climate classification;unitless;-99.90;-99.90;Dfa;;simulated")
        (home / f"{network}_{network}_{station}_static_variables.csv").write_text("\n".join(static) + "\n")
        for index, depth in enumerate(DEPTHS):
            values = s.soil_moisture.values[:, index]
            lines = [
                f"{network} {network} {station} {float(s.lat):.5f} {float(s.lon):.5f} {float(s.elevation):.1f} "
                f"{depth / 100:.2f} {depth / 100:.2f} {sensor}"
            ]
            for date, value in zip(series.indexes["time"], values, strict=True):
                flag = "M" if np.isnan(value) else "C02" if value > 0.6 else "G"
                shown = -9999.0 if np.isnan(value) else value
                lines += [f"{date:%Y/%m/%d} {hour:02d}:00 {shown:10.4f} {flag} M" for hour in (0, 6, 12, 18)]
            metres = f"{depth / 100:.6f}"
            path = home / f"{network}_{network}_{station}_sm_{metres}_{metres}_{sensor}_{first}_{last}.stm"
            path.write_text("\n".join(lines) + "\n")
            written.append(path)
    return written


def _by_hour(
    mean: NDArray[np.float64], amplitude: NDArray[np.float64], wave: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Hours of all days: the days' means and a wave about them whose mean is zero."""
    return (mean[:, None] + amplitude[:, None] * wave).ravel()


def _mark(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).write_text(NOTE)
