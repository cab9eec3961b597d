"""One file a product: where it is published, how its files are named, how they are read."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vadose.errors import VadoseError
from vadose.products.containers import container_of
from vadose.products.conusv4f1 import is_conusv4f1, read_conusv4f1
from vadose.products.dem import SRTM_FILE_NAME, USGS_3DEP_FILE_NAME, is_3dep, is_srtm, read_3dep, read_srtm
from vadose.products.gridmet import FILE_NAME as GRIDMET_NAME
from vadose.products.gridmet import is_gridmet, read_gridmet
from vadose.products.hls import FILE_NAME as HLS_NAME
from vadose.products.hls import is_hls, read_hls
from vadose.products.imerg import FILE_NAME as IMERG_NAME
from vadose.products.imerg import is_imerg, read_imerg
from vadose.products.ismn import is_ismn, read_ismn
from vadose.products.landsat import FILE_NAME as LANDSAT_NAME
from vadose.products.landsat import is_landsat, read_landsat
from vadose.products.mcd12q1 import FILE_NAME as MCD12Q1_NAME
from vadose.products.mcd12q1 import is_mcd12q1, read_mcd12q1
from vadose.products.mod09ga import FILE_NAME as MOD09GA_NAME
from vadose.products.mod09ga import is_mod09ga, read_mod09ga
from vadose.products.mod11a1 import FILE_NAME as MOD11A1_NAME
from vadose.products.mod11a1 import is_mod11a1, read_mod11a1
from vadose.products.nlcd import FILE_NAME as NLCD_NAME
from vadose.products.nlcd import is_nlcd, read_nlcd
from vadose.products.nldas import (
    FILE_NAME_FORCING,
    FILE_NAME_NOAH,
    is_nldas_forcing,
    is_nldas_noah,
    read_nldas_forcing,
    read_nldas_noah,
)
from vadose.products.polaris import FILE_NAME as POLARIS_NAME
from vadose.products.polaris import is_polaris, read_polaris
from vadose.products.scan import is_scan, read_scan
from vadose.products.sentinel1 import FILE_NAME as SENTINEL1_NAME
from vadose.products.sentinel1 import is_sentinel1, read_sentinel1
from vadose.products.smap_hydroblocks import FILE_NAME as SMAP_HYDROBLOCKS_NAME
from vadose.products.smap_hydroblocks import is_smap_hydroblocks, read_smap_hydroblocks
from vadose.products.smap_india import is_smap_india, read_smap_india
from vadose.products.smap_l2 import FILE_NAME as SMAP_L2_NAME
from vadose.products.smap_l2 import is_smap_l2, read_smap_l2
from vadose.products.smap_l3 import FILE_NAME as SMAP_L3_NAME
from vadose.products.smap_l3 import is_smap_l3, read_smap_l3
from vadose.products.smap_l4 import FILE_NAME as SMAP_L4_NAME
from vadose.products.smap_l4 import is_smap_l4, read_smap_l4
from vadose.products.solus import FILE_NAME as SOLUS_NAME
from vadose.products.solus import is_solus, read_solus
from vadose.products.strangers import described, relative
from vadose.products.uscrn import NAME as USCRN_NAME
from vadose.products.uscrn import is_uscrn, read_uscrn
from vadose.products.uscrn_hourly import FILE_NAME as USCRN_HOURLY_NAME
from vadose.products.uscrn_hourly import is_uscrn_hourly, read_uscrn_hourly
from vadose.products.weather_forecast import FILE_NAME as FORECAST_NAME
from vadose.products.weather_forecast import is_weather_forecast, read_weather_forecast

_NO_NAME = re.compile(r"(?!)")


@dataclass(frozen=True)
class Product:
    """What is known of a product.

    Attributes
    ----------
    title
        For people.
    kind
        ``'grid'`` (a granule is a part of the product), ``'database'`` (a folder is all of it) or
        ``'station'``.
    doi
        Where it is published.
    read
        Its reader: a path and options to a dataset (stations: one or a list) in our names and units.
    holds
        Whether a file or folder holds this product, judged by its content.
    file_name
        File names as published; matches nothing where the name says nothing.
    latency
        How long after its day a granule can usually be had; '' where days do not matter.
    """

    title: str
    kind: str
    doi: str
    read: Callable[..., Any]
    holds: Callable[[Path], bool]
    file_name: re.Pattern[str] = _NO_NAME
    latency: str = ""


PRODUCTS: dict[str, Product] = {
    "conusv4f1": Product(
        "hydroDL CSV database: SMAP L3 and NLDAS-2 at every fourth 36 km cell of CONUS",
        "database",
        "10.1002/2017GL075619",
        read_conusv4f1,
        is_conusv4f1,
    ),
    "smap_india": Product(
        "Soil-water index of India from SMAP, daily windows of three days, 0.125 degrees",
        "database",
        "10.1109/JPROC.2010.2043918",  # of the mission: the archives name no source of their own
        read_smap_india,
        is_smap_india,
    ),
    "nldas_noah": Product(
        "NLDAS-2 Noah land-surface model, hourly, 0.125 degrees",
        "grid",
        "10.5067/T4OW83T8EXDO",
        read_nldas_noah,
        is_nldas_noah,
        FILE_NAME_NOAH,
        "about 4 days",
    ),
    "nldas_forcing": Product(
        "NLDAS-2 forcing A, hourly, 0.125 degrees",
        "grid",
        "10.5067/THUF4J1RLSYG",
        read_nldas_forcing,
        is_nldas_forcing,
        FILE_NAME_FORCING,
        "about 4 days",
    ),
    "imerg": Product(
        "GPM IMERG precipitation, half-hourly and daily, 0.1 degrees",
        "grid",
        "10.5067/GPM/IMERG/3B-HH/07",
        read_imerg,
        is_imerg,
        IMERG_NAME,
        "4 hours (Early), 14 hours (Late), 3.5 months (Final)",
    ),
    "gridmet": Product(
        "gridMET surface meteorology, daily, 1/24 degree",
        "grid",
        "10.1002/joc.3413",
        read_gridmet,
        is_gridmet,
        GRIDMET_NAME,
        "1 to 2 days, provisional for some months",
    ),
    "weather_forecast": Product(
        "Numerical weather forecasts GEFS and GFS",
        "grid",
        "10.1175/WAF-D-21-0112.1",
        read_weather_forecast,
        is_weather_forecast,
        FORECAST_NAME,
        "about 6 hours",
    ),
    "smap_l2": Product(
        "SMAP Level 2 radiometer soil moisture, half-orbits (SPL2SMP, SPL2SMP_E)",
        "grid",
        "10.5067/LPJ8F0TAK6E0",
        read_smap_l2,
        is_smap_l2,
        SMAP_L2_NAME,
        "about 1 day",
    ),
    "smap_l3": Product(
        "SMAP Level 3 radiometer soil moisture, 9 km and 36 km (SPL3SMP_E, SPL3SMP)",
        "grid",
        "10.5067/M20OXIZHY3RJ",
        read_smap_l3,
        is_smap_l3,
        SMAP_L3_NAME,
        "about 2 days",
    ),
    "smap_l4": Product(
        "SMAP Level 4 soil moisture, 3-hourly, 9 km (SPL4SMGP, SPL4SMAU)",
        "grid",
        "10.5067/T5RUATAQREF8",
        read_smap_l4,
        is_smap_l4,
        SMAP_L4_NAME,
        "2 to 3 days",
    ),
    "uscrn": Product("U.S. Climate Reference Network", "station", "10.7289/V5H13007", read_uscrn, is_uscrn, USCRN_NAME),
    "uscrn_hourly": Product(
        "U.S. Climate Reference Network, hours and five minutes",
        "station",
        "10.7289/V5H13007",
        read_uscrn_hourly,
        is_uscrn_hourly,
        USCRN_HOURLY_NAME,
    ),
    "scan": Product("Soil Climate Analysis Network, daily", "station", "10.1175/2007JTECHA930.1", read_scan, is_scan),
    "ismn": Product("International Soil Moisture Network", "station", "10.5194/hess-25-5749-2021", read_ismn, is_ismn),
    "mod09ga": Product(
        "MODIS surface reflectance of Terra and Aqua, daily, 500 m",
        "grid",
        "10.5067/MODIS/MOD09GA.061",
        read_mod09ga,
        is_mod09ga,
        MOD09GA_NAME,
        "1 to 3 days",
    ),
    "mod11a1": Product(
        "MODIS land-surface temperature of Terra and Aqua, daily, 1 km",
        "grid",
        "10.5067/MODIS/MOD11A1.061",
        read_mod11a1,
        is_mod11a1,
        MOD11A1_NAME,
        "1 to 3 days",
    ),
    "mcd12q1": Product(
        "MODIS land cover, yearly, 500 m",
        "grid",
        "10.5067/MODIS/MCD12Q1.061",
        read_mcd12q1,
        is_mcd12q1,
        MCD12Q1_NAME,
        "a year or more",
    ),
    "landsat": Product(
        "Landsat Collection 2 Level 2 reflectance and surface temperature, 30 m",
        "grid",
        "10.5066/P9OGBGM6",
        read_landsat,
        is_landsat,
        LANDSAT_NAME,
        "up to 26 days",
    ),
    "hls": Product(
        "Harmonized Landsat Sentinel-2 reflectance v2.0, 30 m",
        "grid",
        "10.5067/HLS/HLSL30.002",
        read_hls,
        is_hls,
        HLS_NAME,
        "2 to 4 days",
    ),
    "sentinel1": Product(
        "Sentinel-1 backscatter, geocoded",
        "grid",
        "10.1016/j.rse.2011.05.028",
        read_sentinel1,
        is_sentinel1,
        SENTINEL1_NAME,
        "1 to 3 days",
    ),
    "smap_hydroblocks": Product(
        "SMAP-HydroBlocks surface soil moisture, 30 m",
        "grid",
        "10.5281/zenodo.5206725",
        read_smap_hydroblocks,
        is_smap_hydroblocks,
        SMAP_HYDROBLOCKS_NAME,
    ),
    "srtm": Product(
        "SRTM v4.1 elevation of CGIAR", "grid", "10.1080/13658810601169899", read_srtm, is_srtm, SRTM_FILE_NAME
    ),
    "3dep": Product("USGS 3DEP elevation", "grid", "10.5066/F7DF6PQS", read_3dep, is_3dep, USGS_3DEP_FILE_NAME),
    "solus100": Product(
        "SOLUS100 soil properties", "grid", "10.15482/USDA.ADC/25033856", read_solus, is_solus, SOLUS_NAME
    ),
    "polaris": Product(
        "POLARIS soil properties", "grid", "10.1029/2018WR022797", read_polaris, is_polaris, POLARIS_NAME
    ),
    "nlcd": Product("NLCD land cover", "grid", "10.5066/P94UXNTS", read_nlcd, is_nlcd, NLCD_NAME),
}


def identify(path: Path) -> str:
    """Name in `PRODUCTS` of what a file or folder holds, by its name as published, else by its content.

    Raises
    ------
    VadoseError
        When the file is missing, empty, a web page, damaged, or of no known product.
    """
    container = container_of(path)
    named = [name for name, product in PRODUCTS.items() if product.file_name.match(path.name)]
    for name in [*named, *(name for name in PRODUCTS if name not in named)]:
        if PRODUCTS[name].holds(path):
            return name
    if akin := relative(path.name):
        raise VadoseError(f"{path}: {akin}")
    said = described(path, container)
    if named:
        # The reader knows better what is wrong: another unit, another layer, scaled already.
        PRODUCTS[named[0]].read(path)
        raise VadoseError(
            f"{path}: named like {PRODUCTS[named[0]].title}, but its content is not that (a {container}"
            f"{said and '; '}{said}); is it another file renamed, or an incomplete download? Fetch it again"
        )
    raise VadoseError(
        f"{path}: a {container} of no known product{said and ' ('}{said}{said and ')'}; the products are "
        f"{', '.join(PRODUCTS)} (say which with --product if you know)"
    )
