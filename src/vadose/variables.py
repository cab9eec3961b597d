"""The vocabulary: every name used in stores, with its CF standard name, units and valid range."""

from dataclasses import dataclass

import xarray as xr


@dataclass(frozen=True)
class Variable:
    """A quantity as this package names and measures it."""

    name: str
    long_name: str
    units: str
    valid_range: tuple[float, float]
    standard_name: str = ""


_ALL = (
    Variable(
        "soil_moisture",
        "volumetric soil moisture",
        "m3 m-3",
        (0.0, 1.0),
        "volume_fraction_of_condensed_water_in_soil",
    ),
    Variable(
        "soil_moisture_filled",
        "soil moisture, gaps filled",
        "m3 m-3",
        (0.0, 1.0),
        "volume_fraction_of_condensed_water_in_soil",
    ),
    Variable("soil_moisture_age", "days since soil moisture was observed", "day", (0.0, 1e5)),
    Variable("precipitation", "precipitation of the day", "kg m-2", (0.0, 2000.0), "precipitation_amount"),
    Variable("air_temperature", "air temperature at 2 m", "K", (180.0, 340.0), "air_temperature"),
    Variable("air_temperature_max", "highest air temperature of the day", "K", (180.0, 340.0), "air_temperature"),
    Variable("air_temperature_min", "lowest air temperature of the day", "K", (180.0, 340.0), "air_temperature"),
    Variable("specific_humidity", "specific humidity at 2 m", "kg kg-1", (0.0, 0.1), "specific_humidity"),
    Variable("relative_humidity", "relative humidity", "percent", (0.0, 105.0), "relative_humidity"),
    Variable(
        "shortwave_radiation",
        "downward shortwave radiation",
        "W m-2",
        (0.0, 1500.0),
        "surface_downwelling_shortwave_flux_in_air",
    ),
    Variable(
        "longwave_radiation",
        "downward longwave radiation",
        "W m-2",
        (0.0, 1000.0),
        "surface_downwelling_longwave_flux_in_air",
    ),
    Variable("eastward_wind", "eastward wind at 10 m", "m s-1", (-100.0, 100.0), "eastward_wind"),
    Variable("northward_wind", "northward wind at 10 m", "m s-1", (-100.0, 100.0), "northward_wind"),
    Variable("surface_temperature", "temperature of the surface", "K", (180.0, 360.0), "surface_temperature"),
    Variable("soil_temperature", "soil temperature", "K", (180.0, 340.0), "soil_temperature"),
    Variable("elevation", "height of the surface", "m", (-500.0, 9000.0), "surface_altitude"),
    Variable("clay_fraction", "clay, fraction of fine-earth mass", "1", (0.0, 1.0), "mass_fraction_of_clay_in_soil"),
    Variable("sand_fraction", "sand, fraction of fine-earth mass", "1", (0.0, 1.0), "mass_fraction_of_sand_in_soil"),
    Variable("silt_fraction", "silt, fraction of fine-earth mass", "1", (0.0, 1.0), "mass_fraction_of_silt_in_soil"),
    Variable("bulk_density", "bulk density of the soil", "g cm-3", (0.0, 2.65)),
    Variable("soil_water_capacity", "available water capacity", "percent", (0.0, 100.0)),
    Variable("ndvi", "mean NDVI", "1", (-1.0, 1.0), "normalized_difference_vegetation_index"),
    Variable("albedo", "single-scattering albedo", "1", (0.0, 1.0)),
    Variable("roughness_coefficient", "surface roughness", "1", (0.0, 3.0)),
    Variable("water_fraction", "open-water fraction", "1", (0.0, 1.0)),
    Variable("land_cover", "dominant IGBP land cover", "1", (0.0, 17.0)),
    Variable("dense_vegetation", "SMAP dense-vegetation flag, share of days", "1", (0.0, 1e5)),
    Variable("extraordinary_surface", "SMAP surface-flag count", "1", (0.0, 1e5)),
)

VARIABLES: dict[str, Variable] = {v.name: v for v in _ALL}


def describe(dataset: xr.Dataset) -> xr.Dataset:
    """Write units, names and valid range of every known variable into its attributes.

    Examples
    --------
    >>> describe(xr.Dataset({"ndvi": ("x", [0.5])})).ndvi.attrs["units"]
    '1'
    """
    for name in map(str, dataset.data_vars):
        if name in VARIABLES:
            v = VARIABLES[name]
            dataset[name].attrs |= {
                "long_name": v.long_name,
                "units": v.units,
                "valid_range": list(v.valid_range),
            }
            if v.standard_name:
                dataset[name].attrs["standard_name"] = v.standard_name
    return dataset
