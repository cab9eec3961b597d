"""Indices of surface reflectance.

All take reflectances as fractions [1] on one grid and give an index [1], NaN where a reflectance is not positive. They
raise a `VadoseError` when a reflectance is outside -0.2 .. 1.7 (in percent, packed, or with a fill value in it), or the
bands lie on different grids.
"""

import xarray as xr

from vadose.features.checks import named, on_one_grid, within

# Products hold slightly negative reflectance over shadow and water, Landsat down to -0.2; it is masked, while
# fill values, percent and packed integers lie further off.
_REFLECTANCE = (-0.2, 1.7)


def transformed_swir(swir: xr.DataArray) -> xr.DataArray:
    r"""Transformed short-wave infrared reflectance, :math:`T = (1 - R)^2 / (2 R)`.

    The ratio of absorption to scattering in the two-flux theory of Kubelka and Munk; near 2.1 um it rises
    linearly with the water content of bare soil.

    Parameters
    ----------
    swir
        Reflectance R [1] near 2.1 um: MODIS and Landsat 8 band 7.

    Returns
    -------
    xarray.DataArray
        T [1], NaN outside 0 < R <= 1, where the theory does not hold.

    References
    ----------
    Sadeghi, Jones and Philpot (2015), doi:10.1016/j.rse.2015.04.007.

    Examples
    --------
    >>> transformed_swir(xr.DataArray([0.5, 0.1, 0.0])).values.round(2).tolist()
    [0.25, 4.05, nan]
    """
    (swir,) = _reflectance(swir=swir)
    swir = swir.where(swir <= 1)
    return named((1 - swir) ** 2 / (2 * swir), "transformed_swir", "transformed short-wave infrared reflectance")


def ndvi(red: xr.DataArray, nir: xr.DataArray) -> xr.DataArray:
    r"""Normalised difference vegetation index, :math:`(N - R) / (N + R)`.

    References
    ----------
    Tucker (1979), doi:10.1016/0034-4257(79)90013-0.

    Examples
    --------
    >>> ndvi(xr.DataArray([0.1]), xr.DataArray([0.3])).values.round(2).tolist()
    [0.5]
    """
    red, nir = _reflectance(red=red, nir=nir)
    return named((nir - red) / (nir + red), "ndvi", "normalised difference vegetation index")


def evi(blue: xr.DataArray, red: xr.DataArray, nir: xr.DataArray) -> xr.DataArray:
    r"""Enhanced vegetation index, :math:`2.5 (N - R) / (N + 6 R - 7.5 B + 1)`.

    Returns
    -------
    xarray.DataArray
        Index [1]; NaN where a reflectance or the denominator (bright haze, cloud) is not positive.

    References
    ----------
    Huete et al. (2002), doi:10.1016/S0034-4257(02)00096-2.

    Examples
    --------
    >>> evi(xr.DataArray([0.04]), xr.DataArray([0.1]), xr.DataArray([0.3])).values.round(3).tolist()
    [0.312]
    """
    blue, red, nir = _reflectance(blue=blue, red=red, nir=nir)
    below = nir + 6 * red - 7.5 * blue + 1
    return named(2.5 * (nir - red) / below.where(below > 0), "evi", "enhanced vegetation index")


def ndwi(green: xr.DataArray, nir: xr.DataArray) -> xr.DataArray:
    r"""Normalised difference water index of McFeeters, :math:`(G - N) / (G + N)`, of open water.

    Another index bears the same name, see `ndwi_gao`.

    Returns
    -------
    xarray.DataArray
        Index [1], -1 .. 1, positive on open water; NaN where a reflectance is not positive.

    References
    ----------
    McFeeters (1996), doi:10.1080/01431169608948714.

    Examples
    --------
    >>> ndwi(xr.DataArray([0.06]), xr.DataArray([0.02])).values.round(2).tolist()
    [0.5]
    """
    green, nir = _reflectance(green=green, nir=nir)
    return named((green - nir) / (green + nir), "ndwi", "normalised difference water index (McFeeters)")


def ndwi_gao(nir: xr.DataArray, nir2: xr.DataArray) -> xr.DataArray:
    r"""Normalised difference water index of Gao, :math:`(N - N_2) / (N + N_2)`, of water in leaves.

    Parameters
    ----------
    nir, nir2
        Reflectance [1] near 0.86 um and 1.24 um: MODIS bands 2 and 5.

    References
    ----------
    Gao (1996), doi:10.1016/S0034-4257(96)00067-3.

    Examples
    --------
    >>> ndwi_gao(xr.DataArray([0.3]), xr.DataArray([0.2])).values.round(2).tolist()
    [0.2]
    """
    nir, nir2 = _reflectance(nir=nir, nir2=nir2)
    return named((nir - nir2) / (nir + nir2), "ndwi_gao", "normalised difference water index (Gao)")


def lswi(nir: xr.DataArray, swir1: xr.DataArray) -> xr.DataArray:
    r"""Land surface water index, :math:`(N - S_1) / (N + S_1)`.

    Parameters
    ----------
    nir, swir1
        Reflectance [1]; swir1 near 1.6 um: MODIS and Landsat 8 band 6.

    References
    ----------
    Xiao et al. (2004), doi:10.1016/j.rse.2003.11.008.

    Examples
    --------
    >>> lswi(xr.DataArray([0.3]), xr.DataArray([0.2])).values.round(2).tolist()
    [0.2]
    """
    nir, swir1 = _reflectance(nir=nir, swir1=swir1)
    return named((nir - swir1) / (nir + swir1), "lswi", "land surface water index")


def _reflectance(**bands: xr.DataArray) -> list[xr.DataArray]:
    hint = "reflectance is a fraction: divide percent by 100, unpack integers, mask the fill value"
    checked = [within(band, name, *_REFLECTANCE, hint) for name, band in bands.items()]
    return [band.where(band > 0) for band in on_one_grid(checked, bands)]
