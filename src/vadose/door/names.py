"""Names that data of others give to the quantities of the vocabulary."""

import re

import numpy as np
import xarray as xr

from vadose.variables import VARIABLES, variable

QUANTITIES = {
    "soil_moisture": r"vwc?|swc|smc?|sms|theta|moisture|soil_?(moisture|water)(_content)?|"
    r"volumetric_?(soil_?)?(water|moisture)(_content)?",
    "soil_temperature": r"soil_?temp(erature)?|tsoil|t_soil|st|sts|stemp",
    "precipitation": r"prcp|precip|precipitation|rain|rainfall|ppt|pcp",
    "air_temperature_max": r"tmax|t_max|(air_?)?temp(erature)?_?max(imum)?|ta_max",
    "air_temperature_min": r"tmin|t_min|(air_?)?temp(erature)?_?min(imum)?|ta_min",
    "air_temperature": r"tavg|tmean|tair|ta|t2m|air_?temp(erature)?(_mean)?",
    "relative_humidity_max": r"rmax|rh_?max(imum)?|relative_humidity_max(imum)?",
    "relative_humidity_min": r"rmin|rh_?min(imum)?|relative_humidity_min(imum)?",
    "relative_humidity": r"rh|rh_?avg|relative_humidity",
    "shortwave_radiation": r"srad|solar(_radiation)?|shortwave(_radiation)?|sw_in|rs|rg",
}
"""What stations observe -> names of columns."""
_GRIDDED = {
    "soil_moisture": r"ssm|sm_surface|swvl1|mrsos|soil_moisture_\w+",
    "soil_temperature": r"stl1|tsl|soilt\w*",
    "precipitation": r"tp|pr|apcp|rainf|precipitationcal|total_precipitation|pre",
    "air_temperature_max": r"tasmax|tmmx|mx2t|tx",
    "air_temperature_min": r"tasmin|tmmn|mn2t|tn",
    "air_temperature": r"tas|tmp|2t|temperature_2m|tg|tmp_?2m\w*",
    "relative_humidity": r"hurs|rh2m|r2",
    "specific_humidity": r"huss|spfh|sph|qair|q(2m?)?|sh2",
    "shortwave_radiation": r"rsds|dswrf|ssrd|swdown",
    "longwave_radiation": r"rlds|dlwrf|strd|lwdown",
    "eastward_wind": r"u10|ugrd|uas|wind_e|10u",
    "northward_wind": r"v10|vgrd|vas|wind_n|10v",
    "wind_speed": r"sfcwind|ws|wspd|wind|vs|si10",
    "surface_pressure": r"ps|sp|psurf|pres(sure)?",
    "vapor_pressure_deficit": r"vpd",
    "reference_evapotranspiration": r"et0|eto|pet",
    "evapotranspiration": r"evap|et|evspsbl|aet",
    "runoff": r"mrro|ro|runoff",
    "snow_water_equivalent": r"swe|snw|sd",
    "elevation": r"orog|dem|height|z|topo|alt(itude)?|hgt",
    "clay_fraction": r"clay",
    "sand_fraction": r"sand",
    "silt_fraction": r"silt",
    "bulk_density": r"bd|bdod|bulk_?dens(ity)?",
    "leaf_area_index": r"lai",
    "soil_water_index": r"swi",
    "vegetation_opacity": r"vod|tau",
    "porosity": r"poros(ity)?|theta_?s",
}


def named(values: xr.DataArray) -> str:
    """Our name of a gridded variable, by its own name, else by its standard name where that is of one alone; or ''.

    Examples
    --------
    >>> named(xr.DataArray([0.0], name="tasmax")), named(xr.DataArray([0.0], name="foo"))
    ('air_temperature_max', '')
    >>> named(xr.DataArray([0.0], name="foo", attrs={"standard_name": "surface_altitude"}))
    'elevation'
    """
    name = str(values.name).lower()
    if variable(name):
        return name
    for ours, pattern in (*_GRIDDED.items(), *QUANTITIES.items()):
        if re.fullmatch(pattern, name):
            return ours
    standard = values.attrs.get("standard_name")
    of = [known.name for known in VARIABLES.values() if standard and known.standard_name == standard]
    return of[0] if len(of) == 1 or (of and of[0] == "soil_moisture") else ""


def is_numeric(values: xr.DataArray) -> bool:
    """Whether a variable holds numbers of cells."""
    return values.ndim >= 2 and np.dtype(values.dtype).kind in "fiu"
