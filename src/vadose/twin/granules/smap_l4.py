"""SMAP Level 4 granules of the simulated world: SPL4SMGP, eight a day."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.grid import Grid, ease_grid, grid_of

Array = NDArray[np.floating]

SIMULATED = "true: no value in this file was measured"
EPOCH = pd.Timestamp("2000-01-01 12:00")
FILL = -9999.0
RELEASES = {"7": ("007", "Vv7032"), "8": ("008", "Vv8010")}
HOURS = 1.5 + 3 * np.arange(8)
# Smaller pieces than the published ones (the whole globe): what is not written then costs nothing.
CHUNKS = (58, 241)
WETNESS = "1", 0.0, 1.0
MOISTURE = "m3 m-3", 0.0, 0.9
KELVIN = "K", 180.0, 350.0
RATE = "kg m-2 s-1", 0.0, 0.05
POWER = "W m-2", -3000.0, 3000.0
# Name -> units and valid range.
FIELDS: dict[str, tuple[str, float, float]] = {
    **{f"sm_{zone}": MOISTURE for zone in ("surface", "rootzone", "profile")},
    **{f"sm_{zone}_wetness": WETNESS for zone in ("surface", "rootzone", "profile")},
    **{f"sm_{zone}_pctl": ("%", 0.0, 100.0) for zone in ("rootzone", "profile")},
    "surface_temp": KELVIN,
    **{f"soil_temp_layer{n}": KELVIN for n in range(1, 7)},
    "snow_mass": ("kg m-2", 0.0, 10000.0),
    "snow_depth": ("m", 0.0, 50.0),
    **{
        f"{name}_flux": RATE
        for name in (
            "snow_melt",
            "snowfall_surface",
            "precipitation_total_surface",
            "overland_runoff",
            "baseflow",
            "soil_water_infiltration",
            "land_evapotranspiration",
            "free_surface_water_on_peat",
        )
    },
    **{f"land_fraction_{name}": WETNESS for name in ("saturated", "unsaturated", "wilting", "snow_covered")},
    **{f"heat_flux_{name}": POWER for name in ("sensible", "latent", "ground")},
    "net_downward_shortwave_flux": POWER,
    "net_downward_longwave_flux": POWER,
    "radiation_shortwave_downward_flux": ("W m-2", 0.0, 1500.0),
    "radiation_longwave_absorbed_flux": ("W m-2", 0.0, 800.0),
    "surface_pressure": ("Pa", 40000.0, 110000.0),
    "height_lowatmmodlay": ("m", 0.0, 100.0),
    "temp_lowatmmodlay": KELVIN,
    "specific_humidity_lowatmmodlay": ("kg kg-1", 0.0, 0.4),
    "windspeed_lowatmmodlay": ("m s-1", 0.0, 60.0),
    "vegetation_greenness_fraction": WETNESS,
    "leaf_area_index": ("m2 m-2", 0.0, 10.0),
    "mwrtm_vegopacity": ("1", 0.0, 10.0),
}


def write_smap_l4(truth: xr.Dataset, folder: Path, version: str = "7") -> list[Path]:
    """Write the eight granules of each day: global arrays of which only the part of the truth is stored.

    The mean over a day's stamps is the truth of the day: temperatures swing about it, sunlight comes by day,
    rain falls in two stamps of the eight. Fields the truth knows nothing of stay fill, as all do over water.

    Parameters
    ----------
    truth
        Daily truth on a part of the 9 km grid.
    version
        ``'7'`` or ``'8'``; they differ in the name of the water table.
    """
    release = RELEASES[version][1]
    grid, whole = grid_of(truth), ease_grid("9km")
    left, top, step = whole.transform
    if abs(grid.transform[2] - step) > 1e-6:
        raise VadoseError(f"SMAP L4: written from a truth of {step:.0f} m, found {grid.transform[2]:.0f} m")
    row, column = round((top - grid.transform[1]) / step), round((grid.transform[0] - left) / step)
    window = slice(row, row + grid.shape[0]), slice(column, column + grid.shape[1])
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    # Making the arrays costs more than filling them: they are made once and copied for each stamp.
    with TemporaryDirectory() as scratch:
        empty = Path(scratch) / "empty.h5"
        _write_empty(empty, whole, version)
        for day in pd.DatetimeIndex(truth.time.values):
            today = truth.sel(time=day)
            for number, hour in enumerate(HOURS):
                stamp = day + pd.Timedelta(hours=hour)
                path = folder / f"SMAP_L4_SM_gph_{stamp:%Y%m%dT%H%M%S}_{release}_001.h5"
                shutil.copyfile(empty, path)
                with h5py.File(path, "r+") as file:
                    file["time"][0] = (stamp - EPOCH).total_seconds()
                    identity = file["Metadata/DatasetIdentification"].attrs
                    identity["fileName"] = path.name
                    extent = file["Metadata/Extent"].attrs
                    for end, sign in (("Beginning", -1), ("Ending", 1)):
                        moment = stamp + sign * pd.Timedelta(minutes=90)
                        extent[f"range{end}DateTime"] = f"{moment:%Y-%m-%dT%H:%M:%S}.000Z"
                    dry = today.water_fraction.values < 0.5
                    for name, values in _fields(today, number).items():
                        stored = np.where(dry & np.isfinite(values), values, FILL)
                        file["Geophysical_Data"][name][window] = stored.astype(np.float32)
                written.append(path)
    return written


def _fields(day: xr.Dataset, number: int) -> dict[str, Array]:
    """What the truth knows, at one of the eight stamps of a day."""
    hour = HOURS[number]
    # Solar time: over eight even steps of a day the cosine sums to nothing.
    swing = np.cos(2 * np.pi * (hour + day.lon.values / 15 - 14) / 24)
    sun = np.clip(np.cos(2 * np.pi * (HOURS[:, None, None] + day.lon.values / 15 - 12) / 24), 0, None)
    raining = (np.add.outer(*(np.arange(n) for n in swing.shape)) + number) % 4 == 0
    value = {str(name): day[name].values.astype(float) for name in day.data_vars}
    top, middle, bottom = (value[f"soil_moisture_{layer}"] for layer in ("0_10cm", "10_40cm", "40_100cm"))
    moisture = {
        "surface": top,
        "rootzone": 0.1 * top + 0.3 * middle + 0.6 * bottom,
        "profile": (0.1 * top + 0.3 * middle + 1.1 * bottom) / 1.5,
    }
    rain = np.where(raining, value["precipitation"] * 4, 0) / 86400
    fields = {f"sm_{zone}": values for zone, values in moisture.items()}
    fields |= {f"sm_{zone}_wetness": values / value["porosity"] for zone, values in moisture.items()}
    fields |= {f"soil_temp_layer{n}": value["soil_temperature"] + 3 * np.exp(1 - n) * swing for n in range(1, 7)}
    return fields | {
        "surface_temp": value["surface_temperature"] + 6 * swing,
        "snow_mass": value["snow_water_equivalent"],
        "snow_depth": value["snow_water_equivalent"] / 250,
        "land_fraction_snow_covered": np.clip(value["snow_water_equivalent"] / 13, 0, 1),
        "precipitation_total_surface_flux": rain,
        "snowfall_surface_flux": np.where(value["air_temperature"] < 273.15, rain, 0),
        "overland_runoff_flux": value["runoff"] / 86400,
        "land_evapotranspiration_flux": value["evapotranspiration"] / 86400,
        "heat_flux_latent": value["evapotranspiration"] / 86400 * 2.45e6,
        "radiation_shortwave_downward_flux": value["shortwave_radiation"] * sun[number] / sun.mean(axis=0),
        "surface_pressure": value["surface_pressure"],
        "height_lowatmmodlay": np.full(swing.shape, 60.0),
        "temp_lowatmmodlay": value["air_temperature"] + 3 * swing,
        "specific_humidity_lowatmmodlay": value["specific_humidity"],
        "windspeed_lowatmmodlay": np.hypot(value["eastward_wind"], value["northward_wind"]),
        "leaf_area_index": value["leaf_area_index"],
        "mwrtm_vegopacity": value["vegetation_opacity"],
    }


def _write_empty(path: Path, whole: Grid, version: str) -> None:
    """A granule whose fields hold nothing yet; its coordinates are there for the whole globe."""
    ecs, release = RELEASES[version]
    with h5py.File(path, "w") as file:
        file.attrs["simulated"] = SIMULATED
        file.attrs["Conventions"] = "CF"
        file.attrs["Title"] = "SMAP L4_SM Geophysical (GPH) Data Granule"
        identity = file.create_group("Metadata/DatasetIdentification").attrs
        identity["shortName"], identity["SMAPShortName"] = "SPL4SMGP", "L4_SM_gph"
        identity["ECSVersionID"], identity["VersionID"] = ecs, release
        extent = file.create_group("Metadata/Extent").attrs
        for name, value in (("west", -180.0), ("east", 180.0), ("south", -85.04456), ("north", 85.04456)):
            extent[f"{name}BoundL{'ong' if value in (-180, 180) else 'at'}itude"] = np.float32(value)
        projection = file.create_dataset("EASE2_global_projection", (1,), "S1").attrs
        projection["grid_mapping_name"] = "lambert_cylindrical_equal_area"
        projection["longitude_of_central_meridian"], projection["standard_parallel"] = 0.0, 30.0
        time = file.create_dataset("time", (1,), np.float64)
        time.attrs["units"], time.attrs["long_name"] = "seconds since 2000-01-01 11:58:55.816", "Time"
        # Centres as published: rounded, up to 1 m off the grid.
        for name, edge, count in (("x", 17363027.2925, whole.shape[1]), ("y", -7310037.1714, whole.shape[0])):
            centres = file.create_dataset(name, data=np.linspace(-edge, edge, count))
            centres.attrs["units"], centres.attrs["standard_name"] = "m", f"projection_{name}_coordinate"
        rows, columns = np.arange(whole.shape[0], dtype=np.uint32), np.arange(whole.shape[1], dtype=np.uint32)
        lat, lon = whole.latlon(rows, 0)[0], whole.latlon(0, columns)[1]
        for name, values, fill in (
            ("cell_lat", lat[:, None].astype(np.float32), np.float32(FILL)),
            ("cell_lon", lon[None].astype(np.float32), np.float32(FILL)),
            ("cell_row", rows[:, None], np.uint32(4294967294)),
            ("cell_column", columns[None], np.uint32(4294967294)),
        ):
            cell = _array(file, name, np.broadcast_to(values, whole.shape), fill)
            cell.attrs["units"] = "degrees" if name in ("cell_lat", "cell_lon") else "dimensionless"
        group = file.create_group("Geophysical_Data")
        peat = "depth_to_water_table_from_surface" + ("_in_peat" if version == "7" else "")
        for name, (units, low, high) in (FIELDS | {peat: ("m", -10.0, 10.0)}).items():
            field = _array(group, name, whole.shape, np.float32(FILL))
            field.attrs["units"] = np.bytes_(units)
            field.attrs["valid_min"], field.attrs["valid_max"] = np.float32(low), np.float32(high)
            field.attrs["coordinates"] = np.bytes_("/cell_lat /cell_lon")
            field.attrs["grid_mapping"] = np.bytes_("/EASE2_global_projection")


def _array(group: h5py.Group, name: str, data: NDArray[np.number] | tuple[int, ...], fill: np.generic) -> h5py.Dataset:
    """A compressed array of the values given, or of a shape, whose pieces stay unwritten until they are set."""
    given = {"shape": data} if isinstance(data, tuple) else {"data": data}
    array = group.create_dataset(
        name, **given, dtype=fill.dtype, chunks=CHUNKS, fillvalue=fill, compression="gzip", compression_opts=2
    )
    for attribute in ("_FillValue", "missing_value", "fmissing_value"):
        array.attrs[attribute] = fill
    return array
