"""Resampling against analytic fields, rasterio's and hand-made pixels."""

import numpy as np
import pytest
import rasterio
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from rasterio.warp import Resampling, reproject

from vadose.errors import VadoseError
from vadose.grid import Grid, ease_grid, raster_coordinates
from vadose.resample import METHODS, area_sums, class_sums, majority, resample

GRID = ease_grid("9km").bounding_box(-100.5, 39.2, -99.4, 40.4)
SINUSOIDAL = "+proj=sinu +lon_0=0 +R=6371007.181 +units=m"


def geographic(values: np.ndarray, west: float = -101.5, north: float = 41.5, step: float = 0.125) -> xr.DataArray:
    coordinates = raster_coordinates("EPSG:4326", (west, north, step, step), values.shape[-2:])
    dims = ("time", "lat", "lon")[-values.ndim :]
    return coordinates.assign(v=(dims, values.astype(np.float32))).v


def projected(crs: str, step: float, function: object = None) -> xr.DataArray:
    """A raster in a projection that covers the grid, its values a function of lat, lon."""
    from pyproj import Transformer

    to = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    left, bottom, right, top = to.transform_bounds(-101, 38.8, -99, 40.8)
    shape = (int((top - bottom) / step), int((right - left) / step))
    coordinates = raster_coordinates(crs, (left, top, step, step), shape)
    x, y = np.meshgrid(coordinates.x, coordinates.y)
    lon, lat = to.transform(x, y, direction="INVERSE")
    values = function(lat, lon) if callable(function) else np.full(shape, 0.25)
    return coordinates.assign(v=(("y", "x"), values)).v


@pytest.mark.parametrize("method", [m for m in METHODS if m != "majority"])
def test_a_constant_field_stays_constant(method: str) -> None:
    result = resample(geographic(np.full((3, 20, 20), 0.3)), GRID, method)
    assert result.shape == (3, *GRID.shape)
    np.testing.assert_allclose(result, 0.3, rtol=1e-6)


@given(st.integers(0, 2**31))
def test_means_are_conserved(seed: int) -> None:
    # Pixels that nest in cells: each cell's mean is that of its pixels, so the whole mean is the same.
    left, top, step = GRID.transform
    shape = (GRID.shape[0] * 10, GRID.shape[1] * 10)
    values = np.random.default_rng(seed).random(shape)
    coordinates = raster_coordinates(GRID.crs, (left, top, step / 10, step / 10), shape)
    result = resample(coordinates.assign(v=(("y", "x"), values)).v, GRID, "mean")
    expected = values.reshape(GRID.shape[0], 10, GRID.shape[1], 10).mean(axis=(1, 3))
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_partial_overlaps_count_by_area() -> None:
    # Two columns of pixels, 1 and 3, whose border cuts a cell at a quarter of its width.
    cell = Grid("EPSG:6933", (0.0, 9000.0, 9000.0), (1, 1), 9000.0)
    coordinates = raster_coordinates("EPSG:6933", (-6750.0, 9000.0, 9000.0, 9000.0), (2, 2))
    source = coordinates.assign(v=(("y", "x"), np.array([[1.0, 3.0], [9.0, 9.0]]))).v
    assert resample(source, cell, "mean")[0, 0] == pytest.approx(0.25 * 1 + 0.75 * 3)


def test_interpolation_follows_a_plane_and_a_parabola() -> None:
    lat, lon = np.meshgrid(41.4375 - 0.125 * np.arange(24), -101.4375 + 0.125 * np.arange(24), indexing="ij")
    rows, columns = np.indices(GRID.shape)
    at_lat, at_lon = GRID.latlon(rows, columns)
    plane = resample(geographic(2 * lat - lon), GRID, "bilinear")
    # EASE-2 rows are not evenly spaced in latitude: linear to a part in a thousand of a pixel.
    np.testing.assert_allclose(plane, 2 * at_lat - at_lon, atol=2e-3)
    parabola = resample(geographic((lon + 100) ** 2), GRID, "bicubic")
    np.testing.assert_allclose(parabola, (at_lon + 100) ** 2, atol=2e-3)
    assert np.abs(resample(geographic((lon + 100) ** 2), GRID, "bilinear") - (at_lon + 100) ** 2).max() > 2e-3


@pytest.mark.parametrize(
    ("method", "theirs"),
    [("bilinear", Resampling.bilinear), ("bicubic", Resampling.cubic), ("nearest", Resampling.nearest)],
)
def test_the_same_as_rasterio(method: str, theirs: Resampling) -> None:
    values = np.random.default_rng(3).random((24, 24)).astype(np.float32)
    expected = np.empty(GRID.shape, np.float32)
    reproject(
        values, expected, src_transform=rasterio.Affine(0.125, 0, -101.5, 0, -0.125, 41.5), src_crs="EPSG:4326",
        dst_transform=rasterio.Affine(GRID.cell, 0, GRID.transform[0], 0, -GRID.cell, GRID.transform[1]),
        dst_crs=GRID.crs, resampling=theirs, tolerance=0.0,
    )  # fmt: skip
    result = resample(geographic(values), GRID, method)
    np.testing.assert_allclose(result, expected, atol=5e-3)


@pytest.mark.parametrize("crs", [SINUSOIDAL, "EPSG:5070", "EPSG:32614"])
def test_means_from_other_projections(crs: str) -> None:
    rows, columns = np.indices(GRID.shape)
    lat, lon = GRID.latlon(rows, columns)
    result = resample(projected(crs, 500.0, lambda lat, lon: 0.1 * lat + 0.02 * lon), GRID, "mean")
    np.testing.assert_allclose(result, 0.1 * lat + 0.02 * lon, atol=1e-3)


def test_nearest_from_another_projection_takes_the_pixel_below() -> None:
    source = projected(SINUSOIDAL, 500.0, lambda lat, lon: lat)
    lat, _ = GRID.latlon(*np.indices(GRID.shape))
    np.testing.assert_allclose(resample(source, GRID, "nearest"), lat, atol=0.004)


def test_tiles_add_up_to_the_whole() -> None:
    source = geographic(np.random.default_rng(0).random((40, 40)), step=0.0625)
    whole = area_sums(source, GRID).mean()
    parts = area_sums(source[:, :21], GRID) + area_sums(source[:, 21:], GRID)
    np.testing.assert_allclose(parts.mean(), whole, rtol=1e-6)
    classes = source.round(0)
    left, right = class_sums(classes[:, :21], GRID), class_sums(classes[:, 21:], GRID)
    joined = {c: left[c] + right[c] for c in left}
    np.testing.assert_array_equal(majority(joined), resample(classes, GRID, "majority"))


def test_majority_takes_the_larger_class_and_missing_pixels_take_no_part() -> None:
    cell = Grid("EPSG:6933", (0.0, 9000.0, 9000.0), (1, 2), 9000.0)
    coordinates = raster_coordinates("EPSG:6933", (0.0, 9000.0, 3000.0, 3000.0), (3, 6))
    values = np.array([[1, 1, 4, 7, np.nan, np.nan], [1, 4, 4, 7, np.nan, np.nan], [1, 4, 4, np.nan, np.nan, np.nan]])
    source = coordinates.assign(v=(("y", "x"), values)).v
    np.testing.assert_array_equal(resample(source, cell, "majority"), [[4, np.nan]])


def test_missing_pixels() -> None:
    values = np.full((24, 24), 0.3)
    values[8:14, 8:14] = np.nan
    for method in ("mean", "bilinear", "bicubic"):
        result = resample(geographic(values), GRID, method)
        assert np.isnan(result).any()
        np.testing.assert_allclose(result[np.isfinite(result)], 0.3, rtol=1e-6)


def test_outside_the_raster_there_is_nothing() -> None:
    assert np.isnan(resample(geographic(np.ones((8, 8)), west=10.0), GRID, "bicubic")).all()
    assert np.isnan(resample(projected("EPSG:32614", 5000.0), ease_grid("9km").bounding_box(0, 0, 1, 1), "mean")).all()


def test_bad_requests() -> None:
    source = geographic(np.ones((8, 8)))
    with pytest.raises(VadoseError, match="'cubic' unknown; choose from"):
        resample(source, GRID, "cubic")
    with pytest.raises(VadoseError, match="no coordinate 'crs'"):
        resample(source.drop_vars("crs"), GRID, "mean")
    with pytest.raises(VadoseError, match="not offered"):
        resample(projected(SINUSOIDAL, 5000.0), GRID, "bilinear")
    with pytest.raises(VadoseError, match="too few"):
        resample(source[:1], GRID, "mean")
    with pytest.raises(VadoseError, match="no class"):
        resample(source * np.nan, GRID, "majority")
