"""Soil, terrain and land cover at any place, read by small windows of remote rasters, and kept for good.

A point takes the mean of the pixels within about 150 m; a cell of a box the mean (of land cover the most frequent
class) of all its pixels, of coarser overviews where the raster has them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, urlencode

import numpy as np
import rasterio
import xarray as xr
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT

from vadose.download.check import check_container
from vadose.download.client import Client, MissingError, service
from vadose.download.listers import list_3dep, list_glo30, list_polaris, list_solus
from vadose.download.plan import RemoteFile, Request, bare
from vadose.download.roles.access import Access, Tried, alone, keep, kept
from vadose.download.roles.where import STEP, Array, Places, Where
from vadose.download.transfer import download
from vadose.download.window import GDAL
from vadose.errors import VadoseError
from vadose.products.nlcd import CLASSES
from vadose.variables import describe, variable

LAYERS = {"0_10cm": (0.0, 10.0), "10_40cm": (10.0, 40.0), "40_100cm": (40.0, 100.0)}
POINT = 0.003
"""Width of what is averaged around a point [degree]."""
ALBERS, PIXEL, ORIGIN = "EPSG:5070", 30.0, (-2493045.0, 3310005.0)
"""Grid of land cover: projection, pixel [m], its north-west corner."""
MOST_PIXELS = 4_000_000

Lister = Callable[[Client, Request], list[RemoteFile]]
Ways = dict[str, Callable[[], dict[str, Array]]]
"""Sources of a role, and how their values (of each place, flat) are had."""


def ground(where: Places, *, access: Access | None = None) -> xr.Dataset:
    """Soil, height and land cover.

    Parameters
    ----------
    where, access
        As in `past_weather`.

    Returns
    -------
    xarray.Dataset
        (lat, lon) or (place): ``sand_fraction_LAYER``, ``clay_fraction_LAYER`` [1], ``bulk_density_LAYER`` [g cm-3] of
        the layers 0_10cm, 10_40cm and 40_100cm; ``elevation`` [m]; ``land_cover_nlcd``, NLCD's code, NaN where no
        source serves it. Attributes ``soil_source``, ``terrain_source``, ``cover_source``, ``tried``.

    Raises
    ------
    VadoseError
        When no source serves soil or terrain; the error names the cause of each.

    References
    ----------
    Nauman et al. (2024), doi:10.1002/saj2.20769 (SOLUS100); Chaney et al. (2019), doi:10.1029/2018WR022797 (POLARIS).
    """
    access = access or Access()
    places = Where.of(where)
    tried = Tried("ground", access)
    sources: dict[str, Ways] = {
        "soil": {"SOLUS100": partial(_solus, places, access), "POLARIS": partial(_polaris, places, access)},
        "terrain": {
            "3DEP": partial(_tiles, partial(list_3dep, step="1"), "elevation", places, access),
            "Copernicus GLO-30": partial(_tiles, list_glo30, "elevation", places, access),
        },
        "cover": {
            f"NLCD {year}": partial(_nlcd, year, places, access)
            for year in range(access.today.year - 1, access.today.year - 4, -1)
        },
    }
    parts = []
    with alone(access.folder / "ground" / places.key) as folder:
        for k, (role, ways) in enumerate(sources.items()):
            access.progress(f"ground: {role}", k / len(sources))
            parts.append(_role(role, ways, folder, places, access, tried))
    whole = xr.merge(parts, compat="no_conflicts", combine_attrs="no_conflicts", join="exact")
    whole.attrs |= tried.attributes()
    return describe(whole)


def _role(
    role: str,
    ways: dict[str, Callable[[], dict[str, Array]]],
    folder: Path,
    places: Where,
    access: Access,
    tried: Tried,
) -> xr.Dataset:
    path = folder / f"{role}.nc"
    if (copy := kept(path)) is not None:
        return copy.drop_attrs(deep=False).assign_attrs({f"{role}_source": copy.attrs["source"]})
    if access.offline:
        ways = {"offline": partial(_refuse, f"{role} of these places is not in {access.folder}")}
    try:
        name, values = tried.first(ways)
    except VadoseError:
        if role != "cover":
            raise
        missing = {"land_cover_nlcd": np.full(len(places.flat()[0]), np.nan)}
        return places.dataset(missing).assign_attrs(cover_source="none")
    dataset = places.dataset(values).assign_attrs(source=name)
    keep(dataset, path, access)
    return dataset.drop_attrs(deep=False).assign_attrs({f"{role}_source": name})


def _refuse(why: str) -> dict[str, Array]:
    raise VadoseError(why)


def _solus(places: Where, access: Access) -> dict[str, Array]:
    """Depth points: a layer is the mean of the line through them."""
    depths = ("0", "5", "15", "30", "60", "100")
    names = {"sandtotal": "sand_fraction", "claytotal": "clay_fraction", "dbovendry": "bulk_density"}
    layers = [f"{name}_{depth}" for name in names for depth in depths]
    values = _layers(list_solus, layers, places, access, 255.0)
    found = {}
    for name, ours in names.items():
        profile = 0.01 * np.stack([values[f"{name}_{depth}"] for depth in depths])  # percent, and hundredths of g cm-3
        for layer, (top, bottom) in LAYERS.items():
            found[f"{ours}_{layer}"] = layer_mean(np.array(depths, float), profile, top, bottom)
    return _sensible_soil(found)


def _polaris(places: Where, access: Access) -> dict[str, Array]:
    """Layers of POLARIS by the share of each in ours."""
    names = {"sand": ("sand_fraction", 0.01), "clay": ("clay_fraction", 0.01), "bd": ("bulk_density", 1.0)}
    bounds = {"0_5": (0, 5), "5_15": (5, 15), "15_30": (15, 30), "30_60": (30, 60), "60_100": (60, 100)}
    values = _layers(list_polaris, [f"{n}_{d}" for n in names for d in bounds], places, access, -9999.0)
    found = {}
    for name, (ours, factor) in names.items():
        profile = factor * np.stack([values[f"{name}_{depth}"] for depth in bounds])
        for layer, (top, bottom) in LAYERS.items():
            share = np.array([max(min(b, bottom) - max(t, top), 0.0) for t, b in bounds.values()])
            found[f"{ours}_{layer}"] = np.tensordot(share / share.sum(), profile, 1)
    return _sensible_soil(found)


def layer_mean(depths: Array, profile: Array, top: float, bottom: float) -> Array:
    """Mean over a layer of values (depth, ...) given at depths, linear between them.

    Examples
    --------
    >>> layer_mean(np.array([0.0, 5.0, 15.0]), np.array([[0.0], [5.0], [15.0]]), 0.0, 10.0)
    array([5.])
    """
    at = np.unique(np.concatenate([[top, bottom], depths[(depths > top) & (depths < bottom)]]))
    upper = np.clip(np.searchsorted(depths, at), 1, len(depths) - 1)
    share = ((at - depths[upper - 1]) / (depths[upper] - depths[upper - 1])).reshape(-1, *[1] * (profile.ndim - 1))
    values = profile[upper - 1] * (1 - share) + profile[upper] * share
    mean: Array = np.trapezoid(values, at, axis=0) / (bottom - top)
    return mean


def _sensible_soil(found: dict[str, Array]) -> dict[str, Array]:
    for layer in LAYERS:
        total = float(np.nanmax(found[f"sand_fraction_{layer}"] + found[f"clay_fraction_{layer}"], initial=0.0))
        if total > 1.05:
            raise VadoseError(f"sand and clay of {layer} sum up to {total:.2f}; expected at most 1")
    return _present(found)


def _present(found: dict[str, Array]) -> dict[str, Array]:
    """Raise where nothing was found, or what was found is out of range."""
    for name, values in found.items():
        if np.isnan(values).all():
            raise VadoseError(f"{name} is missing at all of these places")
        known = variable(name)
        low, high = known.valid_range if known else (-np.inf, np.inf)
        if (wrong := (values < low - 1e-3) | (values > high + 1e-3)).any():
            raise VadoseError(f"{name} is {values[wrong][0]:g}; expected {low:g} .. {high:g}")
    return found


def _layers(
    lister: Lister,
    layers: Sequence[str],
    places: Where,
    access: Access,
    nodata: float,
) -> dict[str, Array]:
    # One after the other: GDAL's remote files do not survive the end of a thread that read them.
    parts = [_tiles(lister, layer, places, access, (layer,), nodata) for layer in layers]
    return {name: values for part in parts for name, values in part.items()}


def _tiles(
    lister: Lister,
    name: str,
    places: Where,
    access: Access,
    variables: tuple[str, ...] = (),
    nodata: float | None = None,
) -> dict[str, Array]:
    """Values of a raster in tiles; a tile that the server need not have (open sea) is left out."""
    lat, lon = places.flat()
    boxes = (
        [places.box(STEP)]
        if places.cells
        else [(x - POINT, y - POINT, x + POINT, y + POINT) for y, x in zip(lat, lon, strict=True)]
    )
    files = lister(access.ask, Request(tuple(boxes), access.today, access.today, variables))
    values = np.full(len(lat), np.nan)
    for file in files:
        try:
            part = averaged(access.ask, file, places, nodata)
        except MissingError:
            if not file.optional:
                raise
            continue
        values = np.where(np.isnan(values), part, values)
    return _present({name: values}) if not variables else {name: values}


def averaged(
    client: Client, file: RemoteFile, places: Where, nodata: float | None = None, path: Path | None = None
) -> Array:
    """Means of a raster's pixels at places, NaN outside; of a remote one only the blocks needed are read.

    Raises
    ------
    MissingError
        When the server does not have it.
    VadoseError
        When it cannot be read.
    """
    source = str(path or f"/vsicurl?url={quote(file.url, safe='')}")
    if path is None:

        def known() -> None:
            # Asked first by ourselves, a missing file or a refusal is told clearly.
            with client.open(file.url, file.name, headers={"Range": "bytes=0-15"}) as response:
                head = response.content
                if response.status_code != 206 or head[:2] not in (b"II", b"MM"):
                    raise VadoseError(
                        f"{file.name}: {file.host} does not serve parts of a GeoTIFF (it begins with {head[:16]!r})"
                    )

        client.persist(file.name, known)
    only = {} if path else {"CPL_VSIL_CURL_ALLOWED_FILENAME": source}  # whatever the file names besides, itself alone
    how = Resampling.mode if file.name.startswith("nlcd") else Resampling.average
    connect, read = (str(max(int(seconds), 1)) for seconds in client.timeout)
    try:
        with (
            rasterio.Env(**GDAL, **only, GDAL_HTTP_CONNECTTIMEOUT=connect, GDAL_HTTP_TIMEOUT=read),
            _opened(source, places) as raster,
        ):
            missing = raster.nodata if raster.nodata is not None else nodata
            return _warped(raster, places, missing, how)
    except RasterioError:
        raise VadoseError(f"{file.name}: reading {bare(file.url)} failed") from None


def _opened(source: str, places: Where) -> rasterio.DatasetReader:
    """The raster, of a large box by the overview that has a few pixels a cell."""
    raster = rasterio.open(source, driver="GTiff")
    if not places.cells or not (factors := raster.overviews(1)):
        return raster
    pixel = raster.transform.a / (111_000 if raster.crs.is_projected else 1)
    fit = [level for level, factor in enumerate(factors) if factor * pixel * 4 <= STEP]
    if not fit or places.cells.number < 100:
        return raster
    raster.close()
    return rasterio.open(source, driver="GTiff", overview_level=fit[-1])


def _warped(raster: rasterio.DatasetReader, places: Where, nodata: float | None, how: Resampling) -> Array:
    # Classes as whole numbers: GDAL counts those of real numbers a thousand times slower.
    kind = "int16" if how is Resampling.mode else "float32"
    options = {"crs": "EPSG:4326", "resampling": how, "src_nodata": nodata, "nodata": -9999.0, "dtype": kind}
    lat, lon = places.lat, places.lon
    if places.cells:
        corner = Affine(STEP, 0.0, lon[0] - STEP / 2, 0.0, -STEP, lat[0] + STEP / 2)
        windows = [(corner, len(lon), len(lat))]
    else:
        corners = zip(lon - POINT / 2, lat + POINT / 2, strict=True)
        windows = [(Affine(POINT, 0.0, west, 0.0, -POINT, north), 1, 1) for west, north in corners]
    found = []
    for transform, width, height in windows:
        with WarpedVRT(raster, transform=transform, width=width, height=height, **options) as view:
            found.append(view.read(1).astype(float).ravel())
    values = np.concatenate(found)
    return np.where(values == -9999.0, np.nan, values)


def _nlcd(year: int, places: Where, access: Access) -> dict[str, Array]:
    """Land cover of a year by the coverage service: a window around each point, or of the box, on its own pixels."""
    lat, lon = places.flat()
    corners = [places] if places.cells else [Where(lat[k : k + 1], lon[k : k + 1]) for k in range(len(lat))]
    values = np.concatenate([_cover(year, part, access) for part in corners])
    if not np.isin(values[~np.isnan(values)], list(CLASSES)).all():
        raise VadoseError("holds codes that are none of NLCD land cover")
    return _present({"land_cover_nlcd": values})


def _cover(year: int, places: Where, access: Access) -> Array:
    west, south, east, north = places.box(STEP if places.cells else 2 * POINT)
    turn = Transformer.from_crs("EPSG:4326", ALBERS, always_xy=True)
    x0, y0, x1, y1 = turn.transform_bounds(west, south, east, north)
    # Of a large box every n-th pixel: the class of a cell is the most frequent of those.
    step = PIXEL * max(int(np.ceil(np.sqrt((x1 - x0) * (y1 - y0) / MOST_PIXELS) / PIXEL)), 1)
    left, top = (
        ORIGIN[0] + step * np.floor((x0 - ORIGIN[0]) / step),
        ORIGIN[1] - step * np.floor((ORIGIN[1] - y1) / step),
    )
    right, bottom = left + step * np.ceil((x1 - left) / step), top - step * np.ceil((top - y0) / step)
    layer = "mrlc_Land-Cover-Native_conus_year_data:Land-Cover-Native_conus_year_data"
    asked = {
        "service": "WCS",
        "version": "1.0.0",
        "request": "GetCoverage",
        "coverage": layer,
        "CRS": ALBERS,
        "BBOX": f"{left:.0f},{bottom:.0f},{right:.0f},{top:.0f}",
        "time": f"{year}-01-01T00:00:00.000Z",
        "resx": f"{step:.0f}",
        "resy": f"{step:.0f}",
        "format": "image/geotiff",
    }
    file = RemoteFile(f"nlcd_{year}.tif", f"{service('nlcd_window')}?{urlencode(asked)}")
    with TemporaryDirectory() as folder:
        path = Path(folder, file.name)
        download(access.ask, file, path)
        check_container(file, path)
        values = averaged(access.ask, replace(file, url=str(path)), places, 250.0, path)
    return np.where(np.isin(values, (0.0, 127.0, 250.0)), np.nan, values)
