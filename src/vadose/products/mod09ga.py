"""MOD09GA and MYD09GA: daily surface reflectance of Terra and Aqua at 500 m, seven bands.

Published by LP DAAC, doi:10.5067/MODIS/MOD09GA.061 and doi:10.5067/MODIS/MYD09GA.061, as
``MOD09GA.AYYYYDDD.hHHvVV.061.YYYYDDDHHMMSS.hdf``. Pitfalls: the attribute ``scale_factor`` is 10000 and divides,
against all convention and against the angles of the same file; the state of the pixel (cloud, shadow, snow) is at
1 km, the reflectance at 500 m; ``_1`` is the first, best observation of the day; band 6 of Aqua (1.6 um) has dead
detectors, its stripes are fill. Nearly every day has clouds: fill means "not observed", the state bits "not usable".
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.products import modis
from vadose.products.containers import BBox, choose
from vadose.products.product import Product, Twin
from vadose.variables import describe

PRODUCTS = ("MOD09GA", "MYD09GA")
FILE_NAME = modis.file_name(*PRODUCTS)
# Our name -> number of the band.
BANDS = {
    "reflectance_red": 1,
    "reflectance_nir": 2,
    "reflectance_blue": 3,
    "reflectance_green": 4,
    "reflectance_nir2": 5,
    "reflectance_swir1": 6,
    "reflectance_swir2": 7,
}
FILL = -28672
VALID = (-100, 16000)
STATE = "state_1km_1"
NO_STATE = 65535
QUALITY = {
    "recommended": "state: clear, no shadow, cirrus none or small, no internal cloud, no snow",
    "clear_or_assumed": "state: clear or assumed clear, no shadow, cirrus none or small, no internal cloud, no snow",
    "all": "all: only fill and values outside the valid range -0.01 .. 1.6 masked",
}


def read_mod09ga(
    path: Path,
    *,
    bbox: BBox | None = None,
    quality: str = "recommended",
    bands: Sequence[str] = ("reflectance_swir2",),
) -> xr.Dataset:
    """Read surface reflectance of a day and tile, of Terra (MOD09GA) or Aqua (MYD09GA).

    Parameters
    ----------
    path
        A granule.
    bbox
        West, south, east, north [degree]; the smallest rectangle of the sinusoidal grid that holds all cells
        whose centres lie within. None: the whole tile.
    quality
        ``'recommended'``: cloud state clear, no cloud shadow, cirrus none or small, no cloud by the internal
        algorithm, no snow by MOD35 or the internal algorithm. ``'clear_or_assumed'``: also where the cloud
        state was not set and is assumed clear. ``'all'``: only fill and values outside the published valid
        range are masked.
    bands
        Any of `BANDS`.

    Returns
    -------
    xarray.Dataset
        (time, y, x) reflectance [1], float32, NaN where missing or not of the quality; ``time`` is the one day.

    Raises
    ------
    VadoseError
        When the file is damaged, of another product, misplaced or misdated, when a scale factor is not 10000
        (or 0.0001), when the whole tile holds no value, or the box lies outside.

    References
    ----------
    Vermote and Wolfe (2021), doi:10.5067/MODIS/MOD09GA.061; Vermote et al. (2002),
    doi:10.1016/S0034-4257(02)00089-5.
    """
    choose(quality, QUALITY, "quality", path)
    for band in bands:
        choose(band, BANDS, "band", path)
    if not bands:
        raise VadoseError(f"{path}: no band given; choose from {list(BANDS)}")
    with modis.open_tile(path, *PRODUCTS) as tile:
        window = modis.window_of(tile, _field(bands[0]), bbox)
        raw = {band: _reflectance(tile, band, window) for band in bands}
        keep = np.ones(window.coordinates.y.shape + window.coordinates.x.shape, bool)
        if quality != "all":
            keep = usable(_state(tile, window), assumed=quality == "clear_or_assumed")
        if window.whole and all(np.isnan(values).all() for values in raw.values()):
            raise VadoseError(f"{path}: every value of {', '.join(bands)} is fill; the tile was not observed that day")
        dataset = window.coordinates.assign_coords(time=[tile.day.to_datetime64().astype("datetime64[ns]")])
        for band, values in raw.items():
            dataset[band] = ("time", "y", "x"), np.where(keep, values, np.float32(np.nan))[None]
        dataset.attrs = tile.attributes(quality=QUALITY[quality], day_boundary=modis.DAY_BOUNDARY, tile=window.tile)
    return describe(dataset)


def is_mod09ga(path: Path) -> bool:
    """Whether a file holds daily MODIS reflectance of all seven bands and the state of its pixels."""
    return modis.is_tile(path, {STATE, *map(_field, BANDS)})


def usable(state: NDArray[np.uint16], *, assumed: bool = False) -> NDArray[np.bool_]:
    """Whether the 16 bits of ``state_1km_1`` let a pixel pass.

    Parameters
    ----------
    state
        The bits as stored, of any shape.
    assumed
        Let pass also what has no cloud state and is assumed clear.

    Examples
    --------
    Clear land; cloudy; cloud state not set; shadow; high cirrus; snow; fill.

    >>> state = np.array([8, 9, 11, 12, 0x308, 0x1008, 65535], np.uint16)
    >>> usable(state).tolist()
    [True, False, False, False, False, False, False]
    >>> int(usable(state, assumed=True).sum())
    2
    """
    cloud, cirrus = state & 3, state >> 8 & 3
    shadow, internal_cloud, snow, internal_snow = (state >> bit & 1 for bit in (2, 10, 12, 15))
    clear = (cloud == 0) | (assumed & (cloud == 3))
    passed: NDArray[np.bool_] = (
        clear & (cirrus <= 1) & ((shadow | internal_cloud | snow | internal_snow) == 0) & (state != NO_STATE)
    )
    return passed


def _field(band: str) -> str:
    return f"sur_refl_b{BANDS[band]:02d}_1"


def _reflectance(tile: modis.Tile, band: str, window: modis.Window) -> NDArray[np.float32]:
    name = _field(band)
    values, attributes = tile.read(name, window.rows, window.columns)
    factor = modis.factor_of(tile.path, name, attributes, (10000.0, 0.0001))
    if attributes.get("_FillValue", FILL) != FILL:
        raise VadoseError(f"{tile.path}: {name} has fill {attributes['_FillValue']}, published is {FILL}")
    valid = (values >= VALID[0]) & (values <= VALID[1])
    # 10000 as 0.0001 mean the same: the published factor divides.
    return np.where(valid, values * np.float32(min(factor, 1 / factor)), np.float32(np.nan))


def _state(tile: modis.Tile, window: modis.Window) -> NDArray[np.uint16]:
    """State of the 500 m cells of a window: each is that of the 1 km cell it lies in."""
    whole = modis.window_of(tile, STATE, None)
    rows, columns = (slice(part.start // 2, (part.stop + 1) // 2) for part in (window.rows, window.columns))
    left, top, dx, dy = window.transform
    nested = np.allclose(whole.transform, (left, top, 2 * dx, 2 * dy), rtol=0, atol=0.1)
    if not nested or whole.rows.stop < rows.stop or whole.columns.stop < columns.stop:
        raise VadoseError(f"{tile.path}: the grid of {STATE} does not hold 2 x 2 cells of reflectance each; cropped?")
    state, _ = tile.read(STATE, rows, columns)
    fine = state.repeat(2, axis=0).repeat(2, axis=1)
    above, before = window.rows.start % 2, window.columns.start % 2
    return fine[above:, before:][: window.coordinates.sizes["y"], : window.coordinates.sizes["x"]]


PRODUCT = Product(
    "MODIS surface reflectance of Terra and Aqua, daily, 500 m",
    "grid",
    "10.5067/MODIS/MOD09GA.061",
    read_mod09ga,
    is_mod09ga,
    FILE_NAME,
    "1 to 3 days",
    version=modis.VERSION,
    satellite=modis.SATELLITE,
    sources=PRODUCTS,
    twin=Twin("modis.write_mod09ga", "last day"),
)
