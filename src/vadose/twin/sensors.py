"""What satellites see of the simulated world: L-band radiometer, optical sensors, C-band radar."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

INCIDENCE = np.deg2rad(40.0)
"""Of the SMAP radiometer."""


# Lowest and highest NDVI of the IGBP classes the world holds, and whether they are forest.
_COVERS = {
    1: (0.55, 0.70, 1),
    4: (0.35, 0.82, 1),
    5: (0.35, 0.82, 1),
    7: (0.16, 0.30, 0),
    10: (0.20, 0.55, 0),
    11: (0.30, 0.65, 0),
    12: (0.20, 0.80, 0),
    13: (0.20, 0.40, 0),
    14: (0.20, 0.80, 0),
    16: (0.08, 0.12, 0),
    17: (-0.05, 0.0, 0),
}
_BY_CLASS = np.array([_COVERS.get(number, (0.16, 0.45, 0)) for number in range(18)])


def brightness(
    moisture: Array, temperature: Array, opacity: Array, albedo: Array, roughness: Array, polarisation: str
) -> Array:
    r"""Brightness temperature [K] at 1.41 GHz and 40 degrees by the tau-omega model.

    :math:`T_B = T (1 - r) \gamma + T (1 - \omega)(1 - \gamma)(1 + r \gamma)` with
    :math:`\gamma = e^{-\tau / \cos\theta}` and :math:`r = r_0 e^{-h \cos^2\theta}`, Fresnel reflectivity
    :math:`r_0` of soil whose permittivity is that of Topp et al.; soil and canopy are equally warm.

    Parameters
    ----------
    polarisation
        ``'h'`` or ``'v'``.

    References
    ----------
    Mo et al. (1982), doi:10.1029/JC087iC13p11229; Topp et al. (1980), doi:10.1029/WR016i003p00574.

    Examples
    --------
    >>> dry, wet = brightness(np.array([0.05, 0.4]), 290.0, 0.1, 0.05, 0.13, "v")
    >>> bool(wet < dry)
    True
    """
    permittivity = 3.03 + 9.3 * moisture + 146.0 * moisture**2 - 76.7 * moisture**3
    cosine, sine = np.cos(INCIDENCE), np.sin(INCIDENCE)
    root = np.sqrt(permittivity - sine**2)
    if polarisation == "h":
        fresnel = ((cosine - root) / (cosine + root)) ** 2
    else:
        fresnel = ((permittivity * cosine - root) / (permittivity * cosine + root)) ** 2
    reflectivity = fresnel * np.exp(-roughness * cosine**2)
    through = np.exp(-opacity / cosine)
    emitted = (1 - reflectivity) * through + (1 - albedo) * (1 - through) * (1 + reflectivity * through)
    return np.asarray(temperature * emitted)


def retrieve(seen: Array, temperature: Array, opacity: Array, albedo: Array, roughness: Array) -> Array:
    """Soil moisture whose V-polarised brightness is the one seen, between 0.02 and 0.6, by bisection."""
    low, high = np.full(seen.shape, 0.02), np.full(seen.shape, 0.6)
    for _ in range(12):
        middle = (low + high) / 2
        warmer = brightness(middle, temperature, opacity, albedo, roughness, "v") > seen
        low, high = np.where(warmer, middle, low), np.where(warmer, high, middle)
    return np.asarray((low + high) / 2)


def overpass(number: int, lat: Array, lon: Array, ascending: bool) -> NDArray[np.bool_]:
    """Cells a 1000 km swath covers on a day: orbits repeat after eight days, 24.6 degrees apart.

    ``number`` counts days from any day on. Swaths lean to the west going north when ascending, to the
    east when descending.
    """
    spacing = 24.6
    width = 1000.0 / (111.3 * np.cos(np.deg2rad(lat)))
    lean = (-1 if ascending else 1) * 0.25 * lat
    offset = spacing * ((3 * number + (4 if ascending else 0)) % 8) / 8
    return np.asarray((lon + lean - offset) % spacing < width)


def vegetation(day_of_year: int, cover: Array, lat: Array) -> dict[str, Array]:
    r"""NDVI of the season and, from it, leaf area, water content and L-band opacity.

    Water content [kg m-2] is :math:`1.9134\,NDVI^2 - 0.3215\,NDVI` plus stems of 5 (forest) or
    0.5 kg m-2 (other cover) that follow its square; opacity is 0.11 of it (0.08 under forest).

    References
    ----------
    O'Neill et al. (2021), SMAP L2/L3 algorithm theoretical basis document, JPL D-66480.
    """
    lowest, highest, wooded = np.moveaxis(_BY_CLASS[cover.astype(int)], -1, 0)
    forest = wooded > 0
    season = 0.5 + 0.5 * np.cos(2 * np.pi * (day_of_year - 200 - (lat - 38)) / 365.25)
    ndvi = lowest + (highest - lowest) * season**1.5
    positive = np.clip(ndvi, 0, None)
    water = np.clip(1.9134 * positive**2 - 0.3215 * positive, 0, None) + np.where(forest, 5.0, 0.5) * positive**2
    return {
        "ndvi": ndvi,
        "leaf_area_index": np.clip(-np.log(np.clip(1 - positive / 0.95, 0.02, 1)) / 0.5, 0, 7),
        "vegetation_water_content": water,
        "vegetation_opacity": np.where(forest, 0.08, 0.11) * water,
    }


def green(ndvi: Array) -> Array:
    """Share of the ground that green plants cover, linear in NDVI from 0.05 (none) to 0.9."""
    return np.asarray(np.clip((ndvi - 0.05) / 0.85, 0, 1))


def skin(freshness: Array, weather: dict[str, Array]) -> Array:
    """How fresh the wetness of the uppermost millimetres is, 0 (dried for days) to 1 (rain today).

    Some millimetres of rain wet it; the sun dries it within two or three days.
    """
    dried = freshness * np.exp(-weather["shortwave_radiation"] / 500)
    rain = weather["precipitation"]
    return np.asarray(np.maximum(dried, rain / (rain + 3.0)))


def reflectance(moisture: Array, porosity: Array, ndvi: Array, clay: Array) -> dict[str, Array]:
    r"""Surface reflectance of seven bands, soil and leaves darkening with moisture, mixed by NDVI.

    In the short-wave infrared the transformed reflectance :math:`(1-R)^2/2R` of bare soil grows
    linearly with saturation, from 0.35 (dry) to 4 (wet) at 2.1 micrometres.

    References
    ----------
    Sadeghi et al. (2015), doi:10.1016/j.rse.2015.04.007.
    """
    wet = np.clip(moisture / porosity, 0, 1)
    cover = green(ndvi)
    dry_soil = {"blue": 0.10, "green": 0.15, "red": 0.20, "nir": 0.27, "nir2": 0.33}
    # Leaves short of water are brighter in the short-wave infrared.
    canopy: dict[str, Array | float] = {
        "blue": 0.025,
        "green": 0.06,
        "red": 0.03,
        "nir": 0.46,
        "nir2": 0.42,
        "swir1": 0.22 * (1.2 - 0.4 * wet),
        "swir2": 0.09 * (1.2 - 0.4 * wet),
    }
    soil = {name: value * (1 - 0.45 * wet) * (1 + 0.15 * clay) for name, value in dry_soil.items()}
    for name, driest, wettest in (("swir1", 0.28, 2.6), ("swir2", 0.35, 4.0)):
        transformed = driest + (wettest - driest) * wet
        soil[name] = 1 + transformed - np.sqrt(transformed**2 + 2 * transformed)
    return {f"reflectance_{name}": (1 - cover) * soil[name] + cover * canopy[name] for name in canopy}


def backscatter(moisture: Array, water_content: Array) -> dict[str, Array]:
    r"""C-band backscatter (linear) of VV and VH by the water-cloud model at 39 degrees.

    :math:`\sigma^0 = A V \cos\theta (1 - \gamma^2) + \gamma^2 10^{(C + D m)/10}` with
    :math:`\gamma^2 = e^{-2 B V / \cos\theta}`.

    References
    ----------
    Attema and Ulaby (1978), doi:10.1029/RS013i002p00357.
    """
    cosine = np.cos(np.deg2rad(39.0))
    result = {}
    for name, a, b, c, d in (("vv", 0.012, 0.09, -16.0, 22.0), ("vh", 0.0045, 0.10, -24.0, 18.0)):
        through = np.exp(-2 * b * water_content / cosine)
        ground = 10 ** ((c + d * moisture) / 10)
        result[f"sigma0_{name}"] = a * water_content * cosine * (1 - through) + through * ground
    return result
