"""gridMET as the University of Idaho publishes it: a netCDF-4 file for each variable and year."""

from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.twin.granules.rasters import extent
from vadose.twin.truth import at

Array = NDArray[np.floating]

MARK = "true: no value in this file was measured"
LON = -124.7666666333333 + np.arange(1386) / 24
LAT = 49.4 - np.arange(585) / 24
FILL, FLOAT_FILL = 32767, np.float32(-32767)
_CHUNKS = {"day": 61, "lat": 65, "lon": 66}
# Short name -> internal name, units, description, scale and offset of the packed values, truth it is made from.
VARIABLES = {
    "pr": ("precipitation_amount", "mm", "Daily Accumulated Precipitation", 0.1, 0.0, "precipitation"),
    "srad": (
        "surface_downwelling_shortwave_flux_in_air",
        "W m-2",
        "Daily Mean downward shortwave radiation at surface",
        0.1,
        0.0,
        "shortwave_radiation",
    ),
    "sph": ("specific_humidity", "kg/kg", "Daily Mean Specific Humidity", 1e-5, 0.0, "specific_humidity"),
    "vpd": ("mean_vapor_pressure_deficit", "kPa", "Mean Vapor Pressure Deficit", 0.01, 0.0, "vapor_pressure_deficit"),
    "pet": (
        "potential_evapotranspiration",
        "mm",
        "Daily reference evapotranspiration (short grass)",
        0.1,
        0.0,
        "reference_evapotranspiration",
    ),
    "etr": (
        "potential_evapotranspiration",
        "mm",
        "Daily reference evapotranspiration (alfalfa)",
        0.1,
        0.0,
        "reference_evapotranspiration_alfalfa",
    ),
    "vs": ("wind_speed", "m/s", "Daily Mean Wind Speed", 0.1, 0.0, ""),
    "th": ("wind_from_direction", "Degrees Clockwise from North", "Daily Mean Wind Direction", 1.0, 0.0, ""),
    "tmmx": ("air_temperature", "K", "Daily Maximum Temperature", 0.1, 220.0, "air_temperature_max"),
    "tmmn": ("air_temperature", "K", "Daily Minimum Temperature", 0.1, 210.0, "air_temperature_min"),
    "rmax": ("relative_humidity", "%", "Daily Maximum Relative Humidity", 0.1, 0.0, "relative_humidity_max"),
    "rmin": ("relative_humidity", "%", "Daily Minimum Relative Humidity", 0.1, 0.0, "relative_humidity_min"),
}
_DAY = {
    "description": "days since 1900-01-01",
    "units": "days since 1900-01-01 00:00:00",
    "long_name": "time",
    "standard_name": "time",
    "calendar": "gregorian",
}
# The first number is the centre of the first cell, as in the real files.
_CRS = {
    "grid_mapping_name": "latitude_longitude",
    "longitude_of_prime_meridian": 0.0,
    "semi_major_axis": 6378137.0,
    "long_name": "WGS 84",
    "inverse_flattening": 298.257223563,
    "GeoTransform": f"{LON[0]} {1 / 24:.15f} 0  {LAT[0]:.15f} {-1 / 24:.15f} 0",
}
_FILE = {
    "geospatial_bounds_crs": "EPSG:4326",
    "Conventions": "CF-1.6",
    "coordinate_system": "EPSG:4326",
    "author": "vadose, simulated in the form of gridMET",
    "note1": "The projection information for this file is: GCS WGS 1984.",
    "note2": "Citation: Abatzoglou, J.T., 2013, DOI: 10.1002/joc.3413",
    "note5": "Days correspond approximately to calendar days ending at midnight, Mountain Standard Time "
    "(7 UTC the next calendar day)",
    "simulated": MARK,
}


def write_gridmet(
    truth: xr.Dataset,
    folder: Path,
    packed: bool = True,
    order: tuple[str, ...] = ("day", "lat", "lon"),
    variables: tuple[str, ...] = tuple(VARIABLES),
) -> list[Path]:
    """Write yearly files of the truth, or put the next days into those of earlier calls.

    A file holds the days so far, as that of the current year does, on all of CONUS, of which only the truth's
    part is stored. gridMET's day ends at midnight Mountain Standard Time; here it takes the value of the UTC
    day of the same date. Scales other than that of ``tmmx`` are likely ones: they were not seen in real files.

    Parameters
    ----------
    packed
        Unsigned 16-bit integers as since 2019, or plain floats as before.
    order
        Order of the dimensions ``day``, ``lat``, ``lon`` in the files.
    variables
        gridMET's short names.

    Raises
    ------
    VadoseError
        When a file holds any of the days already, or lacks those between.
    """
    folder.mkdir(parents=True, exist_ok=True)
    west, south, east, north = extent(truth)
    rows, columns = _inside(-LAT, -north, -south), _inside(LON, west, east)
    lat, lon = np.meshgrid(LAT[rows], LON[columns], indexing="ij")
    time = pd.DatetimeIndex(truth.time.values)
    paths = []
    for short in variables:
        values = _values(truth, short, lat, lon)
        for year in sorted(set(time.year)):
            path, of_year = folder / f"{short}_{year}.nc", time.year == year
            with netCDF4.Dataset(path, "a" if path.exists() else "w", format="NETCDF4") as file:
                file.set_auto_maskandscale(False)
                if "day" not in file.variables:
                    _lay_out(file, short, packed, order)
                at_day = _append_days(path, file["day"], time[of_year])
                variable = file[VARIABLES[short][0]]
                place = {"day": at_day, "lat": rows, "lon": columns}
                stored = _stored(variable, values[of_year]).transpose([("day", "lat", "lon").index(d) for d in order])
                variable[tuple(place[d] for d in variable.dimensions)] = stored
            paths.append(path)
    return paths


def _inside(rising: Array, low: float, high: float) -> slice:
    first, last = np.searchsorted(rising, [low, high])
    if first >= last:
        raise VadoseError("gridMET: the simulated world lies outside CONUS; take a region within it")
    return slice(int(first), int(last))


def _values(truth: xr.Dataset, short: str, lat: Array, lon: Array) -> Array:
    if short not in ("vs", "th"):
        return at(truth[VARIABLES[short][-1]], lat, lon)
    east, north = at(truth.eastward_wind, lat, lon), at(truth.northward_wind, lat, lon)
    return np.hypot(east, north) if short == "vs" else np.degrees(np.arctan2(-east, -north)) % 360


def _stored(variable: Any, values: Array) -> NDArray[Any]:
    if variable.dtype == np.float32:
        return np.where(np.isnan(values), FLOAT_FILL, values).astype(np.float32)
    whole = np.round((values.astype(float) - variable.add_offset) / variable.scale_factor)
    return np.where(np.isnan(values), FILL, np.clip(np.nan_to_num(whole), 0, 65535)).astype(np.uint16)


def _append_days(path: Path, axis: Any, days: pd.DatetimeIndex) -> slice:
    """Put days at the end of the axis; its slice."""
    numbers, held = (days - pd.Timestamp("1900-01-01")).days.to_numpy(float), len(axis)
    begin = axis[-1] + 1 if held else numbers[0]
    if not np.array_equal(numbers, begin + np.arange(len(numbers))):
        raise VadoseError(
            f"{path}: holds {held} days; the days {days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d} do not follow"
        )
    place = slice(held, held + len(numbers))
    axis[place] = numbers
    return place


def _lay_out(file: netCDF4.Dataset, short: str, packed: bool, order: tuple[str, ...]) -> None:
    """Dimensions, axes, the empty variable and attributes of a new file."""
    internal, units, description, scale, offset, _ = VARIABLES[short]
    for name, size in (("lon", len(LON)), ("lat", len(LAT)), ("day", None), ("crs", 1)):
        file.createDimension(name, size)
    for name, centres, standard in (("lon", LON, "longitude"), ("lat", LAT, "latitude")):
        axis = file.createVariable(name, "f8", (name,), zlib=True)
        axis.setncatts(
            {
                "units": "degrees_east" if name == "lon" else "degrees_north",
                "description": standard,
                "long_name": standard,
                "standard_name": standard,
                "axis": "X" if name == "lon" else "Y",
            }
        )
        axis[:] = centres
    day = file.createVariable("day", "f8", ("day",), chunksizes=(366,))
    day.setncatts(_DAY)
    crs = file.createVariable("crs", "u2", ("crs",))
    crs.setncatts(_CRS)
    crs[:] = 3
    variable = file.createVariable(
        internal,
        "u2" if packed else "f4",
        order,
        fill_value=FILL if packed else FLOAT_FILL,
        zlib=True,
        complevel=1,
        chunksizes=[_CHUNKS[d] for d in order],
    )
    variable.set_auto_maskandscale(False)
    variable.setncatts(
        {
            "units": units,
            "description": description,
            "long_name": short,
            "standard_name": short,
            "missing_value": np.uint16(FILL) if packed else FLOAT_FILL,
            "dimensions": "lon lat time",
            "grid_mapping": "crs",
            "coordinate_system": "WGS84,EPSG:4326",
        }
    )
    if packed:
        variable.setncatts({"scale_factor": scale, "add_offset": offset, "_Unsigned": "true"})
    file.setncatts(_FILE)
