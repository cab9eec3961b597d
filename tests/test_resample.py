"""Resampling against analytic fields, finer pixels, rasterio's, odc-geo's and hand-made pixels."""

from collections.abc import Callable
from unittest.mock import Mock

import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr, xr_reproject
from pyproj import Transformer
from rasterio.warp import Resampling, reproject

from vadose.errors import VadoseError
from vadose.grid import Grid, ease_grid, raster_coordinates
from vadose.resample import METHODS, Sums, area_sums, class_sums, fractions, majority, resample, sinusoidal, weights

GRID = ease_grid("9km").bounding_box(-100.5, 39.2, -99.4, 40.4)
SINUSOIDAL = "+proj=sinu +lon_0=0 +R=6371007.181 +units=m"
ALBERS, UTM = "EPSG:5070", "EPSG:32614"
ELSEWHERE = "+proj=sinu +lon_0=-100 +R=6371007.181 +units=m"
"""Of another central meridian than MODIS: its pixels are placed one by one."""
PROJECTIONS = (SINUSOIDAL, ALBERS, UTM, ELSEWHERE)
Box = tuple[float, float, float, float]


def geographic(values: np.ndarray, west: float = -101.5, north: float = 41.5, step: float = 0.125) -> xr.DataArray:
    coordinates = raster_coordinates("EPSG:4326", (west, north, step, step), values.shape[-2:])
    dims = ("time", "lat", "lon")[-values.ndim :]
    return coordinates.assign(v=(dims, values.astype(np.float32))).v


def projected(
    crs: str, step: float, function: Callable | None = None, box: Box = (-101, 38.8, -99, 40.8)
) -> xr.DataArray:
    """A raster in a projection that covers a box, its values a function of lat, lon."""
    to = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    left, bottom, right, top = to.transform_bounds(*box)
    shape = (int((top - bottom) / step), int((right - left) / step))
    coordinates = raster_coordinates(crs, (left, top, step, step), shape)
    x, y = np.meshgrid(coordinates.x, coordinates.y)
    lon, lat = to.transform(x, y, direction="INVERSE")
    values = function(lat, lon) if function else np.full(shape, 0.25)
    return coordinates.assign(v=(("y", "x"), values)).v


def noise(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    return np.random.default_rng(5).random(lat.shape)


def split(source: xr.DataArray, times: int) -> xr.DataArray:
    """Every pixel in times x times equal ones."""
    dx, dy = float(source.x[1] - source.x[0]), float(source.y[0] - source.y[1])
    corner = float(source.x[0]) - dx / 2, float(source.y[0]) + dy / 2
    values = np.kron(source.values, np.ones((times, times)))
    coordinates = raster_coordinates(source.crs.attrs["crs_wkt"], (*corner, dx / times, dy / times), values.shape)
    return coordinates.assign(v=(("y", "x"), values)).v


def by_centres(source: xr.DataArray, grid: Grid) -> np.ndarray:
    """Mean of the pixels whose centres lie in a cell."""
    to = Transformer.from_crs(source.crs.attrs["crs_wkt"], "EPSG:4326", always_xy=True)
    lon, lat = to.transform(*np.meshgrid(source.x, source.y))
    row, column = grid.rowcol(lat, lon)
    inside = row >= 0
    index = row[inside] * grid.shape[1] + column[inside]
    size = grid.shape[0] * grid.shape[1]
    count = np.bincount(index, minlength=size)
    return (np.bincount(index, weights=source.values[inside], minlength=size) / count).reshape(grid.shape)


def ease_source(level: str, value: float) -> xr.DataArray:
    part = ease_grid(level).bounding_box(-101.5, 38.5, -98.5, 41.5)
    left, top, step = part.transform
    coordinates = raster_coordinates(part.crs, (left, top, step, step), part.shape)
    return coordinates.assign(v=(("y", "x"), np.full(part.shape, value))).v


CONSTANT = {
    "geographic": lambda: geographic(np.full((3, 24, 24), 0.25)),
    "finer cells": lambda: ease_source("3km", 0.25),
    "coarser cells": lambda: ease_source("36km", 0.25),
    **{crs: lambda crs=crs: projected(crs, 1000.0) for crs in PROJECTIONS},
}


OFFERED = [(s, m) for s in CONSTANT for m in METHODS if s not in PROJECTIONS or m not in ("bicubic", "bilinear")]


@pytest.mark.parametrize(("source", "method"), OFFERED)
def test_a_constant_field_stays_constant(source: str, method: str) -> None:
    field = CONSTANT[source]()
    result = resample(field, GRID, method)
    assert result.shape == (*field.shape[:-2], *GRID.shape)
    np.testing.assert_allclose(result, 0.25, rtol=1e-6)


# Area mean


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


@pytest.mark.parametrize(("west", "step"), [(-101.5, 0.125), (-101.5, 0.1)])
def test_sums_of_coarser_products_are_conserved_by_the_mean_alone(west: float, step: float) -> None:
    """Amounts on pixels of NLDAS and IMERG: what falls on the cells is what falls on the pixels below them."""
    amount = np.random.default_rng(1).gamma(0.3, 12.0, (30, 30))
    source = geographic(amount, west=west, step=step)
    # Area of the part of each pixel within the grid, on the ellipsoid: authalic zones.
    flattening = 1 / 298.257223563
    e = np.sqrt(flattening * (2 - flattening))

    def zone(lat: np.ndarray) -> np.ndarray:
        s = np.sin(np.radians(lat))
        return 6378137.0**2 * (1 - e**2) * (s / (1 - e**2 * s**2) + np.arctanh(e * s) / e) / 2

    to = Transformer.from_crs("EPSG:6933", "EPSG:4326", always_xy=True)
    left, top, cell = GRID.transform
    (west_end, east_end), (north_end, south_end) = to.transform(
        [left, left + cell * GRID.shape[1]], [top, top - cell * GRID.shape[0]]
    )
    lat = np.clip(41.5 - step * np.arange(31), south_end, north_end)
    lon = np.radians(np.clip(west + step * np.arange(31), west_end, east_end))
    below = (np.outer(zone(lat[:-1]) - zone(lat[1:]), np.diff(lon)) * source.values).sum()
    on_cells = {method: resample(source, GRID, method).sum(dtype=float) * GRID.cell**2 for method in METHODS}
    assert on_cells["mean"] == pytest.approx(below, rel=1e-6)
    assert abs(on_cells["bicubic"] / below - 1) > 1e-4


@pytest.mark.parametrize("crs", PROJECTIONS)
def test_the_mean_of_a_plane_is_its_value_at_the_centre(crs: str) -> None:
    lat, lon = GRID.latlon(*np.indices(GRID.shape))
    result = resample(projected(crs, 500.0, lambda lat, lon: 0.1 * lat + 0.02 * lon), GRID, "mean")
    # From the sinusoidal grid only the curvature of latitude within a cell is left, else the pixels' borders.
    np.testing.assert_allclose(result, 0.1 * lat + 0.02 * lon, atol=3e-6 if crs == SINUSOIDAL else 2e-4)


@pytest.mark.parametrize(("step", "level"), [(926.6, "9km"), (5000.0, "9km"), (926.6, "1km"), (5000.0, "1km")])
def test_overlap_with_sinusoidal_pixels_is_exact(step: float, level: str) -> None:
    """Against polygons of the pixels; at 120 degrees west they are slanted by more than their width."""
    half = 0.1 if level == "9km" else 0.015
    grid = ease_grid(level).bounding_box(-120.2 - half, 47.1 - half, -120.2 + half, 47.1 + half)
    box = (-120.3 - half, 47.0 - half, -120.1 + half, 47.2 + half)
    source = projected(SINUSOIDAL, step, noise, box=box)
    to = Transformer.from_crs(SINUSOIDAL, "EPSG:6933", always_xy=True)
    # Ten points on each upright side, which bend by a little.
    side = np.linspace(0.5, -0.5, 10) * step
    x, y = np.meshgrid(source.x, source.y)
    corner_x = x[..., None] + step / 2 * np.repeat([-1, 1], 10)
    corner_y = y[..., None] + np.concatenate([side, side[::-1]])
    pixels = shapely.polygons(np.stack(to.transform(corner_x, corner_y), axis=-1))
    left, right = grid.x - grid.cell / 2, grid.x + grid.cell / 2
    low, high = grid.y[:, None] - grid.cell / 2, grid.y[:, None] + grid.cell / 2
    cells = shapely.box(*np.broadcast_arrays(left, low, right, high))
    shared = shapely.area(shapely.intersection(cells[..., None, None], pixels)) / grid.cell**2
    result = area_sums(source, grid)
    np.testing.assert_allclose(result.weight, 1, atol=1e-9)
    # What is left is that bounds are taken as straight within a row of pixels.
    np.testing.assert_allclose(result.values, (shared * source.values).sum(axis=(2, 3)), atol=3e-5)


def test_pixels_upright_on_the_central_meridian() -> None:
    grid = ease_grid("9km").bounding_box(-0.4, 10.0, 0.4, 10.5)
    source = projected(SINUSOIDAL, 926.6, lambda lat, lon: lon, box=(-1, 9.5, 1, 11))
    _, lon = grid.latlon(*np.indices(grid.shape))
    np.testing.assert_allclose(resample(source, grid, "mean"), lon, atol=1e-5)


def test_a_raster_to_the_pole_and_beyond_covers_its_cells() -> None:
    tile = np.pi * 6371007.181 / 18
    coordinates = raster_coordinates(SINUSOIDAL, (0.0, -8 * tile, tile / 240, tile / 240), (250, 240))
    source = coordinates.assign(v=(("y", "x"), np.ones((250, 240)))).v
    weight = area_sums(source, ease_grid("36km").bounding_box(0, -85, 30, -81)).weight
    np.testing.assert_allclose(weight[:, 2:-2], 1, atol=1e-9)


@pytest.mark.parametrize(("level", "half", "rms", "most"), [("9km", 0.12, 0.002, 0.008), ("100m", 0.01, 0.15, 0.7)])
@pytest.mark.parametrize("crs", [ALBERS, UTM])
def test_pixels_counted_by_their_centres_err_by_little(
    crs: str, level: str, half: float, rms: float, most: float
) -> None:
    """Pixels of 100 m, as the documentation of `area_sums` says, in standard deviations of the pixels."""
    grid = ease_grid(level).bounding_box(-100 - half, 40 - half, -100 + half, 40 + half)
    source = projected(crs, 100.0, noise, box=(-100.02 - half, 39.98 - half, -99.98 + half, 40.02 + half))
    truth = by_centres(split(source, 8 if level == "100m" else 4), grid)
    error = (resample(source, grid, "mean") - truth) / source.values.std()
    assert np.sqrt((error**2).mean()) < rms
    assert np.abs(error).max() < most


@pytest.mark.parametrize("crs", [ALBERS, UTM])
def test_pixels_coarser_than_cells_leave_no_hole(crs: str) -> None:
    grid = ease_grid("100m").bounding_box(-100.02, 39.98, -99.98, 40.02)
    source = projected(crs, 250.0, lambda lat, lon: lat + lon, box=(-100.1, 39.9, -99.9, 40.1))
    lat, lon = grid.latlon(*np.indices(grid.shape))
    np.testing.assert_allclose(resample(source, grid, "mean"), lat + lon, atol=0.003)


@pytest.mark.parametrize("source", CONSTANT)
def test_cells_apart_from_each_other_are_those_of_the_whole_grid(source: str) -> None:
    field = CONSTANT[source]()
    field = field.copy(data=np.random.default_rng(2).random(field.shape))
    apart = GRID.part(slice(0, None, 4), slice(1, None, 4))
    np.testing.assert_allclose(area_sums(field, apart).values, area_sums(field, GRID).values[..., ::4, 1::4], atol=1e-6)


# Gaps and tiles


@pytest.mark.parametrize("crs", [SINUSOIDAL, ALBERS])
@given(share=st.floats(0.0, 1.0), seed=st.integers(0, 2**31))
@settings(max_examples=10)
def test_missing_pixels_weigh_nothing(crs: str, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    field = projected(crs, 3000.0, noise)
    there = rng.random(field.shape) >= share
    found = area_sums(field.where(there), GRID)
    np.testing.assert_allclose(found.values, area_sums(field.where(there, 0), GRID).values, atol=1e-9)
    weight = area_sums(field.copy(data=there.astype(float)), GRID).values
    np.testing.assert_allclose(found.weight, weight, atol=1e-9)
    mean = found.mean()
    np.testing.assert_array_equal(np.isnan(mean), weight < 0.5)
    values = mean[np.isfinite(mean)]
    assert ((values >= 0) & (values <= 1)).all()


def test_missing_pixels() -> None:
    values = np.full((24, 24), 0.3)
    values[8:14, 8:14] = np.nan
    for method in ("mean", "bilinear", "bicubic"):
        result = resample(geographic(values), GRID, method)
        assert np.isnan(result).any()
        np.testing.assert_allclose(result[np.isfinite(result)], 0.3, rtol=1e-6)


def test_outside_the_raster_there_is_nothing() -> None:
    far = ease_grid("9km").bounding_box(0, 0, 1, 1)
    assert np.isnan(resample(geographic(np.ones((8, 8)), west=10.0), GRID, "bicubic")).all()
    for crs in (SINUSOIDAL, UTM):
        for method in ("mean", "nearest"):
            assert np.isnan(resample(projected(crs, 5000.0), far, method)).all()


@pytest.mark.parametrize("source", CONSTANT)
def test_tiles_add_up_to_the_whole(source: str) -> None:
    field = CONSTANT[source]()
    values = np.random.default_rng(0).random(field.shape)
    values[values > 0.8] = np.nan
    field = field.copy(data=values)
    whole = area_sums(field, GRID)
    rows, columns = field.shape[-2] // 2 - 1, field.shape[-1] // 2 + 1
    tiles = [field[..., r, c] for r in (slice(rows), slice(rows, None)) for c in (slice(columns), slice(columns, None))]
    joined = sum((area_sums(tile, GRID) for tile in tiles[1:]), area_sums(tiles[0], GRID))
    np.testing.assert_allclose(joined.values, whole.values, atol=1e-7)
    np.testing.assert_allclose(joined.weight, whole.weight, atol=1e-7)


def test_layers_are_brought_over_one_by_one() -> None:
    field = projected(SINUSOIDAL, 3000.0, noise)
    both = xr.concat([field, field**2], "time").transpose("y", "x", "time")
    result = resample(both, GRID, "mean")
    np.testing.assert_array_equal(result, [resample(field, GRID, "mean"), resample(field**2, GRID, "mean")])


# Classes


def test_majority_takes_the_larger_class_and_missing_pixels_take_no_part() -> None:
    cell = Grid("EPSG:6933", (0.0, 9000.0, 9000.0), (1, 2), 9000.0)
    coordinates = raster_coordinates("EPSG:6933", (0.0, 9000.0, 3000.0, 3000.0), (3, 6))
    values = np.array([[1, 1, 4, 7, np.nan, np.nan], [1, 4, 4, 7, np.nan, np.nan], [1, 4, 4, np.nan, np.nan, np.nan]])
    source = coordinates.assign(v=(("y", "x"), values)).v
    np.testing.assert_array_equal(resample(source, cell, "majority"), [[4, np.nan]])
    classes, shares = fractions(class_sums(source, cell))
    np.testing.assert_array_equal(classes, [1, 4, 7])
    np.testing.assert_allclose(shares[:, 0, 0], [4 / 9, 5 / 9, 0], atol=1e-6)
    assert np.isnan(shares[:, 0, 1]).all()
    # Two of nine pixels are known, all of class 7.
    np.testing.assert_allclose(fractions(class_sums(source, cell), min_share=0.2)[1][:, 0, 1], [0, 0, 1], atol=1e-6)


def test_of_equal_shares_the_smaller_class_counts() -> None:
    half = Sums(np.array([[0.5]]), np.array([[1.0]]))
    assert majority({7.0: half, 2.0: half})[0, 0] == 2
    # Also when running sums have left a trace of rounding.
    assert majority({2.0: half, 7.0: Sums(np.array([[0.5 + 1e-12]]), half.weight)})[0, 0] == 2


@pytest.mark.parametrize("crs", [SINUSOIDAL, ALBERS])
@given(seed=st.integers(0, 2**31))
@settings(max_examples=10)
def test_shares_of_classes_add_up_to_one_and_the_largest_is_the_majority(crs: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    field = projected(crs, 3000.0)
    values = rng.choice([1.0, 4.0, 10.0, np.nan], field.shape, p=[0.3, 0.2, 0.1, 0.4])
    sums = class_sums(field.copy(data=values), GRID)
    classes, shares = fractions(sums)
    covered = np.isfinite(shares[0])
    assert shares.dtype == np.float32
    assert shares.shape == (3, *GRID.shape)
    np.testing.assert_allclose(shares.sum(axis=0)[covered], 1, atol=1e-6)
    assert (shares[:, covered] >= 0).all()
    expected = np.where(covered, classes[shares.argmax(axis=0)], np.nan)
    np.testing.assert_array_equal(majority(sums), expected)
    np.testing.assert_array_equal(covered, sums[1.0].weight >= 0.5)


def test_classes_of_tiles_add_up_to_the_whole() -> None:
    classes = geographic(np.random.default_rng(0).random((40, 40)), step=0.0625).round(0)
    left, right = class_sums(classes[:, :21], GRID), class_sums(classes[:, 21:], GRID)
    joined = {c: left[c] + right[c] for c in left}
    np.testing.assert_array_equal(majority(joined), resample(classes, GRID, "majority"))


# Interpolation


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


def test_nearest_from_another_projection_takes_the_pixel_below() -> None:
    source = projected(SINUSOIDAL, 500.0, lambda lat, lon: lat)
    lat, _ = GRID.latlon(*np.indices(GRID.shape))
    np.testing.assert_allclose(resample(source, GRID, "nearest"), lat, atol=0.004)


# Other software


@pytest.mark.parametrize(
    ("method", "theirs"),
    [("bilinear", Resampling.bilinear), ("bicubic", Resampling.cubic), ("nearest", Resampling.nearest)],
)
def test_the_same_as_rasterio(method: str, theirs: Resampling) -> None:
    values = np.random.default_rng(3).random((24, 24)).astype(np.float32)
    expected = np.empty(GRID.shape, np.float32)
    reproject(
        values,
        expected,
        src_transform=rasterio.Affine(0.125, 0, -101.5, 0, -0.125, 41.5),
        src_crs="EPSG:4326",
        dst_transform=rasterio.Affine(GRID.cell, 0, GRID.transform[0], 0, -GRID.cell, GRID.transform[1]),
        dst_crs=GRID.crs,
        resampling=theirs,
        tolerance=0.0,
    )
    result = resample(geographic(values), GRID, method)
    np.testing.assert_allclose(result, expected, atol=5e-3)


def by_odc(source: xr.DataArray, grid: Grid, method: str) -> np.ndarray:
    row, column = source.dims[-2:]
    dx, dy = float(source[column][1] - source[column][0]), float(source[row][0] - source[row][1])
    corner = rasterio.Affine(dx, 0, float(source[column][0]) - dx / 2, 0, -dy, float(source[row][0]) + dy / 2)
    box = GeoBox(source.shape, corner, source.crs.attrs["crs_wkt"])
    left, top, step = grid.transform
    target = GeoBox(grid.shape, rasterio.Affine(step, 0, left, 0, -step, top), grid.crs)
    wrapped = wrap_xr(source.values.astype(np.float32), box, nodata=np.nan)
    return xr_reproject(wrapped, target, resampling=method, tolerance=0.0).values


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
@pytest.mark.parametrize(
    ("method", "theirs", "tolerance"),
    # Between two pixels odc-geo goes by latitude, here by y of the cells.
    [("bilinear", "bilinear", 5e-3), ("bicubic", "cubic", 5e-3), ("nearest", "nearest", 0.0)],
)
def test_interpolates_as_odc_geo(method: str, theirs: str, tolerance: float) -> None:
    source = geographic(np.random.default_rng(3).random((24, 24)))
    np.testing.assert_allclose(resample(source, GRID, method), by_odc(source, GRID, theirs), atol=tolerance)


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
@pytest.mark.parametrize(("crs", "tolerance"), [("EPSG:4326", 1e-4), (ALBERS, 0.02), (UTM, 0.02)])
def test_averages_as_odc_geo(crs: str, tolerance: float) -> None:
    # In a turned projection odc-geo averages the upright box around the cell, here pixels count whole.
    values = np.random.default_rng(5).random((300, 300))
    source = geographic(values, step=0.01) if crs == "EPSG:4326" else projected(crs, 500.0, noise)
    np.testing.assert_allclose(resample(source, GRID, "mean"), by_odc(source, GRID, "average"), atol=tolerance)


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_from_sinusoidal_pixels_nearer_to_the_truth_than_odc_geo() -> None:
    # A cell is slanted among the pixels; odc-geo averages the upright box around it.
    grid = GRID.part(slice(4, 8), slice(4, 8))
    source = projected(SINUSOIDAL, 926.6, noise, box=(-100.5, 39.3, -99.5, 40.3))
    truth = by_centres(split(source, 8), grid)
    ours = np.abs(resample(source, grid, "mean") - truth).max()
    theirs = np.abs(by_odc(source, grid, "average") - truth).max()
    assert theirs < 0.1
    assert ours < 0.1 * theirs


# Weights are kept


@pytest.mark.parametrize(("source", "method"), OFFERED)
def test_weights_are_computed_once_for_a_raster_and_a_grid(
    source: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kept in (weights.matrices, weights._cells_of_pixels, weights._pixels_of_cells, sinusoidal.strips_of):
        kept.cache_clear()
    work = Mock()
    for module, name in (
        (weights, "overlaps"),
        (weights, "_interpolation"),
        (weights, "transformer"),
        (sinusoidal, "overlaps"),
    ):
        monkeypatch.setattr(module, name, Mock(wraps=getattr(module, name)))
        work.attach_mock(getattr(module, name), f"{module.__name__.split('.')[-1]}_{name}")
    field = CONSTANT[source]()
    resample(field, GRID, method)
    computed = len(work.mock_calls)
    assert computed > 0
    # Another variable of the same product.
    another = resample(field.copy(data=field.values + 1).rename("another"), GRID, method)
    np.testing.assert_allclose(another, 1.25, rtol=1e-6)
    assert len(work.mock_calls) == computed
    resample(field, GRID.part(slice(0, 3), slice(0, 3)), method)
    resample(field[..., 1:, :], GRID, method)
    assert len(work.mock_calls) == 3 * computed


# Bad input


def test_bad_requests() -> None:
    source = geographic(np.ones((8, 8)))
    with pytest.raises(VadoseError, match="'cubic' unknown; choose from"):
        resample(source, GRID, "cubic")
    with pytest.raises(VadoseError, match="no coordinate 'crs'"):
        resample(source.drop_vars("crs"), GRID, "mean")
    for crs in (SINUSOIDAL, ALBERS):
        for method in ("bilinear", "bicubic"):
            with pytest.raises(VadoseError, match="not supported"):
                resample(projected(crs, 5000.0), GRID, method)
    with pytest.raises(VadoseError, match="too few"):
        resample(source[:1], GRID, "mean")
    with pytest.raises(VadoseError, match="no class"):
        resample(source * np.nan, GRID, "majority")
    for upside_down in (source[::-1], source[:, ::-1]):
        with pytest.raises(VadoseError, match="sort rows from north to south"):
            resample(upside_down, GRID, "mean")
    with pytest.raises(VadoseError, match="cylindrical equal-area grids only"):
        resample(source, Grid(ALBERS, (0.0, 9000.0, 9000.0), (1, 1), 9000.0), "mean")
