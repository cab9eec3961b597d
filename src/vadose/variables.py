"""The vocabulary: every name used in stores, with its CF standard name, units and valid range."""

import re
from dataclasses import dataclass, replace
from typing import Any

import xarray as xr


@dataclass(frozen=True)
class Variable:
    """A quantity as this package names and measures it."""

    name: str
    long_name: str
    units: str
    valid_range: tuple[float, float]
    standard_name: str = ""

    def attributes(self) -> dict[str, Any]:
        """CF attributes."""
        told = {"long_name": self.long_name, "units": self.units, "valid_range": list(self.valid_range)}
        if self.standard_name:
            told["standard_name"] = self.standard_name
        if self.units == "K":
            told["units_metadata"] = "temperature: on_scale"
        return told


_ALL = (
    Variable(
        "soil_moisture",
        "volumetric soil moisture",
        "m3 m-3",
        (0.0, 1.0),
        "volume_fraction_of_condensed_water_in_soil",
    ),
    Variable("soil_water_index", "soil-water index of the surface", "1", (0.0, 1.0)),
    *(
        Variable(
            f"precipitation_{days}d",
            f"precipitation of {days} days up to the day",
            "kg m-2",
            (0.0, 1e4),
            "precipitation_amount",
        )
        for days in (7, 14, 30, 90)
    ),
    Variable("precipitation", "precipitation of the day", "kg m-2", (0.0, 2000.0), "precipitation_amount"),
    Variable("precipitation_error", "random error of precipitation", "kg m-2", (0.0, 2000.0)),
    Variable("precipitation_count", "half hours of the day with a valid precipitation", "1", (0.0, 48.0)),
    Variable("precipitation_quality_index", "quality index of precipitation", "1", (0.0, 1.0)),
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
    *(
        Variable(
            f"surface_temperature_{half}",
            f"temperature of the surface, by {half}",
            "K",
            (150.0, 400.0),
            "surface_temperature",
        )
        for half in ("day", "night")
    ),
    *(
        Variable(f"view_time_{half}", f"local solar time of observation, by {half}", "hour", (0.0, 24.0))
        for half in ("day", "night")
    ),
    Variable("soil_temperature", "soil temperature", "K", (180.0, 340.0), "soil_temperature"),
    Variable("elevation", "height of the surface", "m", (-500.0, 9000.0), "surface_altitude"),
    Variable("clay_fraction", "clay, fraction of fine-earth mass", "1", (0.0, 1.0), "mass_fraction_of_clay_in_soil"),
    Variable("sand_fraction", "sand, fraction of fine-earth mass", "1", (0.0, 1.0), "mass_fraction_of_sand_in_soil"),
    Variable("silt_fraction", "silt, fraction of fine-earth mass", "1", (0.0, 1.0), "mass_fraction_of_silt_in_soil"),
    Variable("bulk_density", "bulk density of the soil", "g cm-3", (0.0, 2.65)),
    Variable("soil_water_capacity", "available water capacity", "percent", (0.0, 100.0)),
    Variable("ndvi", "mean NDVI", "1", (-1.0, 1.0), "normalized_difference_vegetation_index"),
    Variable("albedo", "single-scattering albedo", "1", (0.0, 1.0)),
    Variable("roughness_coefficient", "surface roughness", "1", (0.0, 5.0)),
    Variable("water_fraction", "open-water fraction", "1", (0.0, 1.0)),
    Variable("land_cover", "dominant IGBP land cover", "1", (0.0, 17.0)),
    *(
        Variable(f"land_cover_{scheme}", f"land cover, {text}", "1", (0.0, highest))
        for scheme, text, highest in (
            ("umd", "University of Maryland classification", 15.0),
            ("lai", "classification of the leaf area product", 10.0),
            ("bgc", "Biome-BGC classification", 8.0),
            ("pft", "plant functional types", 11.0),
        )
    ),
    Variable("tb_h", "brightness temperature at 1.41 GHz, horizontal", "K", (0.0, 340.0), "brightness_temperature"),
    Variable("tb_v", "brightness temperature at 1.41 GHz, vertical", "K", (0.0, 340.0), "brightness_temperature"),
    Variable("vegetation_opacity", "vegetation optical depth at 1.41 GHz", "1", (0.0, 10.0)),
    Variable("vegetation_water_content", "vegetation water content", "kg m-2", (0.0, 30.0)),
    Variable("leaf_area_index", "leaf area index", "1", (0.0, 12.0), "leaf_area_index"),
    Variable(
        "fpar",
        "fraction of photosynthetically active radiation absorbed by plants",
        "1",
        (0.0, 1.0),
        "fraction_of_surface_downwelling_photosynthetic_radiative_flux_absorbed_by_vegetation",
    ),
    Variable("porosity", "porosity of the soil", "m3 m-3", (0.0, 1.0), "soil_porosity"),
    Variable("organic_carbon", "soil organic carbon, mass", "percent", (0.0, 60.0)),
    Variable("surface_pressure", "pressure at the surface", "Pa", (4e4, 1.1e5), "surface_air_pressure"),
    Variable("wind_speed", "wind speed at 10 m", "m s-1", (0.0, 100.0), "wind_speed"),
    Variable("wind_from_direction", "direction the wind comes from", "degree", (0.0, 360.0), "wind_from_direction"),
    Variable(
        "relative_humidity_max", "highest relative humidity of the day", "percent", (0.0, 105.0), "relative_humidity"
    ),
    Variable(
        "relative_humidity_min", "lowest relative humidity of the day", "percent", (0.0, 105.0), "relative_humidity"
    ),
    Variable(
        "vapor_pressure_deficit", "vapour pressure deficit", "kPa", (0.0, 15.0), "water_vapor_saturation_deficit_in_air"
    ),
    Variable(
        "reference_evapotranspiration",
        "reference evapotranspiration of grass",
        "kg m-2",
        (0.0, 50.0),
        "water_potential_evapotranspiration_amount",
    ),
    Variable(
        "reference_evapotranspiration_alfalfa",
        "reference evapotranspiration of alfalfa",
        "kg m-2",
        (0.0, 60.0),
        "water_potential_evapotranspiration_amount",
    ),
    Variable("evapotranspiration", "evapotranspiration", "kg m-2", (-10.0, 50.0), "water_evapotranspiration_amount"),
    Variable("runoff", "surface runoff", "kg m-2", (0.0, 2000.0), "surface_runoff_amount"),
    Variable(
        "snow_water_equivalent", "snow water equivalent", "kg m-2", (0.0, 1e4), "lwe_thickness_of_surface_snow_amount"
    ),
    Variable("slope", "slope of the ground", "degree", (0.0, 90.0), "ground_slope_angle"),
    Variable(
        "aspect",
        "direction the ground falls to, clockwise from north",
        "degree",
        (0.0, 360.0),
        "ground_slope_direction",
    ),
    Variable("aspect_cosine", "cosine of the aspect, 1 where the ground falls to north", "1", (-1.0, 1.0)),
    Variable("aspect_sine", "sine of the aspect, 1 where the ground falls to east", "1", (-1.0, 1.0)),
    Variable("curvature", "curvature of the ground, positive on ridges", "m-1", (-10.0, 10.0)),
    Variable("flow_accumulation", "cells that drain through the cell, itself counted", "1", (1.0, 1e12)),
    Variable("transformed_swir", "transformed short-wave infrared reflectance", "1", (0.0, 1e5)),
    Variable("evi", "enhanced vegetation index", "1", (-1e3, 1e3)),
    Variable("ndwi", "normalised difference water index (McFeeters)", "1", (-1.0, 1.0)),
    Variable("ndwi_gao", "normalised difference water index (Gao)", "1", (-1.0, 1.0)),
    Variable("lswi", "land surface water index", "1", (-1.0, 1.0)),
    Variable("land_cover_nlcd", "NLCD land cover", "1", (0.0, 95.0)),
    *(
        Variable(
            f"reflectance_{band}", f"surface reflectance, {text}", "1", (-0.2, 1.7), "surface_bidirectional_reflectance"
        )
        for band, text in (
            ("blue", "blue"),
            ("green", "green"),
            ("red", "red"),
            ("nir", "near infrared"),
            ("nir2", "near infrared, 1.24 um"),
            ("swir1", "short-wave infrared, 1.6 um"),
            ("swir2", "short-wave infrared, 2.1 um"),
        )
    ),
    *(
        Variable(
            f"sigma0_{p}",
            f"radar backscatter {p.upper()}, linear",
            "1",
            (0.0, 1e4),
            "surface_backwards_scattering_coefficient_of_radar_wave",
        )
        for p in ("vv", "vh")
    ),
    *(
        Variable(f"gamma0_{p}", f"radar backscatter {p.upper()}, terrain-corrected gamma0, linear", "1", (0.0, 1e4))
        for p in ("vv", "vh")
    ),
    Variable("incidence_angle", "incidence angle of the radar", "degree", (0.0, 90.0), "angle_of_incidence"),
    Variable("orbit_ascending", "1 where seen from an ascending orbit, 0 from a descending one", "1", (0.0, 1.0)),
    *(
        Variable(
            f"soil_moisture_{layer}",
            f"volumetric soil moisture, {layer.replace('_', '-', 1).replace('cm', ' cm')}",
            "m3 m-3",
            (0.0, 1.0),
            "volume_fraction_of_condensed_water_in_soil",
        )
        for layer in ("0_10cm", "10_40cm", "40_100cm", "100_200cm")
    ),
    *(
        Variable(
            f"soil_temperature_{layer}",
            f"soil temperature, {layer.replace('_', '-', 1).replace('cm', ' cm')}",
            "K",
            (180.0, 340.0),
            "soil_temperature",
        )
        for layer in ("0_10cm", "10_40cm", "40_100cm", "100_200cm")
    ),
    Variable(
        "soil_moisture_scah",
        "volumetric soil moisture, SCA-H",
        "m3 m-3",
        (0.0, 1.0),
        "volume_fraction_of_condensed_water_in_soil",
    ),
    Variable(
        "soil_moisture_scav",
        "volumetric soil moisture, SCA-V",
        "m3 m-3",
        (0.0, 1.0),
        "volume_fraction_of_condensed_water_in_soil",
    ),
    *(
        Variable(
            f"{grade}_sand_fraction", f"{grade.replace('_', ' ')} sand, fraction of fine-earth mass", "1", (0.0, 1.0)
        )
        for grade in ("very_coarse", "coarse", "medium", "fine", "very_fine")
    ),
    Variable("rock_fragment_fraction", "rock fragments, fraction of volume", "1", (0.0, 1.0)),
    Variable("organic_matter", "soil organic matter, mass", "percent", (0.0, 100.0)),
    Variable("ph", "pH of the soil in water", "1", (1.5, 12.0)),
    Variable("cation_exchange_capacity", "cation exchange capacity at pH 7", "cmol kg-1", (0.0, 300.0)),
    Variable("effective_cation_exchange_capacity", "effective cation exchange capacity", "cmol kg-1", (0.0, 300.0)),
    Variable("calcium_carbonate", "calcium carbonate, mass", "percent", (0.0, 100.0)),
    Variable("gypsum", "gypsum, mass", "percent", (0.0, 100.0)),
    Variable("electrical_conductivity", "electrical conductivity of the soil", "dS m-1", (0.0, 1000.0)),
    Variable("sodium_adsorption_ratio", "sodium adsorption ratio", "1", (0.0, 10000.0)),
    Variable("lithic_contact_depth", "depth to any lithic contact", "cm", (0.0, 1000.0)),
    Variable("restriction_depth", "depth to any root restriction", "cm", (0.0, 1000.0)),
    Variable("residual_water_content", "residual water content of the soil", "m3 m-3", (0.0, 1.0)),
    Variable(
        "saturated_hydraulic_conductivity",
        "hydraulic conductivity of the saturated soil",
        "m s-1",
        (0.0, 1.0),
        "soil_hydraulic_conductivity_at_saturation",
    ),
    Variable("bubbling_pressure", "bubbling pressure (Brooks-Corey)", "kPa", (0.0, 1e4)),
    Variable("pore_size_index", "pore-size distribution index (Brooks-Corey)", "1", (0.0, 10.0)),
    Variable("van_genuchten_alpha", "alpha (van Genuchten)", "kPa-1", (0.0, 1e4)),
    Variable("van_genuchten_n", "n (van Genuchten)", "1", (0.0, 20.0)),
    Variable(
        "soil_moisture_rootzone",
        "volumetric soil moisture, 0-100 cm",
        "m3 m-3",
        (0.0, 1.0),
        "volume_fraction_of_condensed_water_in_soil",
    ),
    Variable(
        "soil_moisture_profile",
        "volumetric soil moisture down to bedrock",
        "m3 m-3",
        (0.0, 1.0),
        "volume_fraction_of_condensed_water_in_soil",
    ),
    *(
        Variable(
            f"soil_moisture_{product}",
            f"volumetric soil moisture, 0-5 cm, {name}",
            "m3 m-3",
            (0.0, 1.0),
            "volume_fraction_of_condensed_water_in_soil",
        )
        for product, name in (
            ("smap", "SMAP"),
            ("smap_l4", "SMAP Level 4"),
            ("smap_hydroblocks", "SMAP-HydroBlocks"),
        )
    ),
    Variable("field_capacity", "water content at field capacity", "m3 m-3", (0.0, 1.0)),
    Variable("topographic_position", "height above the mean of the surroundings", "m", (-3000.0, 3000.0)),
    Variable("cross_ratio", "cross ratio of backscatter, VH / VV", "1", (0.0, 1e2)),
    Variable("dpsvim", "modified dual-polarisation SAR vegetation index", "1", (0.0, 1e4)),
    Variable("polarization", "normalised difference of the polarisations VV and VH", "1", (-1.0, 1.0)),
    *(
        Variable(f"land_cover_{group}", f"1 where land cover is {group}", "1", (0.0, 1.0))
        for group in ("barren", "crop", "developed", "forest", "grassland", "pasture", "shrub", "wetland")
    ),
    Variable(
        "soil_moisture_std",
        "standard deviation of soil moisture",
        "m3 m-3",
        (0.0, 1.0),
        "volume_fraction_of_condensed_water_in_soil standard_error",
    ),
    Variable("dense_vegetation", "SMAP dense-vegetation flag, share of days", "1", (0.0, 1e5)),
    Variable("extraordinary_surface", "SMAP surface-flag count", "1", (0.0, 1e5)),
)

VARIABLES: dict[str, Variable] = {v.name: v for v in _ALL}


# A soil property at a depth or of a layer, and which end of its distribution: clay_fraction_5cm,
# clay_fraction_0_5cm_p95.
_PART = re.compile(r"(?P<of>[a-z_0-9]+?)(?:_(?P<depth>\d+(?:_\d+)?)cm)?(?:_(?P<end>low|high|mode|p5|p50|p95))?")
_ENDS = {
    "low": "lower end of the 95 % interval",
    "high": "upper end of the 95 % interval",
    "mode": "mode",
    "p5": "5th percentile",
    "p50": "median",
    "p95": "95th percentile",
}


def variable(name: str) -> Variable | None:
    """What is known of a name, also of one with a depth or layer [cm], an end of the distribution, or filled gaps.

    Parameters
    ----------
    name
        Such as ``'ndvi'``, ``'clay_fraction_5cm'`` (at 5 cm), ``'clay_fraction_0_5cm'`` (of the layer from 0
        to 5 cm), ``'clay_fraction_5cm_low'``, ``'ndvi_filled'``, ``'ndvi_filled_std'``.

    Returns
    -------
    Variable or None
        None where the name is not of the vocabulary.

    Examples
    --------
    >>> variable("clay_fraction_0_5cm_p95").long_name
    'clay, fraction of fine-earth mass, 0-5 cm, 95th percentile'
    >>> variable("clay_faction_5cm") is None
    True
    """
    if name.endswith("_filled") and (of := variable(name.removesuffix("_filled"))):
        return replace(of, name=name, long_name=f"{of.long_name}, gaps filled")
    if name.endswith("_filled_std") and (of := variable(name.removesuffix("_filled_std"))):
        spread = (0.0, of.valid_range[1] - of.valid_range[0])
        long_name = f"{of.long_name}, standard deviation of the filled values"
        return replace(of, name=name, long_name=long_name, valid_range=spread, standard_name="")
    if name.endswith("_observed") and (of := variable(name.removesuffix("_observed"))):
        return Variable(name, f"1 where {of.long_name} was observed on the day, else 0", "1", (0.0, 1.0))
    if name.endswith("_age") and (of := variable(name.removesuffix("_age"))):
        return Variable(name, f"days since {of.long_name} was observed", "day", (0.0, 1e5))
    part = _PART.fullmatch(name)
    if name in VARIABLES or not part or part["of"] not in VARIABLES:
        return VARIABLES.get(name)
    whole = VARIABLES[part["of"]]
    long_name = whole.long_name
    if depth := part["depth"]:
        long_name += f", {depth.replace('_', '-')} cm" if "_" in depth else f", at {depth} cm"
    if end := part["end"]:
        long_name += f", {_ENDS[end]}"
    return replace(whole, name=name, long_name=long_name)


def describe(dataset: xr.Dataset) -> xr.Dataset:
    """Write units, names and valid range of every known variable into its attributes.

    Examples
    --------
    >>> describe(xr.Dataset({"ndvi": ("x", [0.5])})).ndvi.attrs["units"]
    '1'
    """
    for name in map(str, dataset.data_vars):
        if v := variable(name):
            dataset[name].attrs |= v.attributes()
    return dataset
