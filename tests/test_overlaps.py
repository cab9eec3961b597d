"""Cells that several granules hold, against the mean of the pixels with each counted once."""

from typing import Any

import numpy as np
import pytest
import xarray as xr

from vadose.cube.overlaps import Combined, Overlap, without_shared
from vadose.grid import ease_grid, raster_coordinates
from vadose.resample import Sums, area_sums, class_sums, fractions, resample
from vadose.resample.raster import raster_of

GRID = ease_grid("1km").bounding_box(-99.3, 39.9, -98.8, 40.2)
UTM = "EPSG:32614"
LEFT, TOP = 472_000, 4_452_000
"""North-west of the grid, on zone 14's lattice of 100 m."""


def field(crs: Any = UTM, left: float = LEFT, top: float = TOP, shape: tuple[int, int] = (400, 480)) -> xr.DataArray:
    dataset = raster_coordinates(crs, (left, top, 100.0, 100.0), shape)
    values = np.random.default_rng(0).random(shape) + np.linspace(0, 5, shape[1])
    return dataset.assign(v=(("y", "x"), values)).v


def combined(tiles: list[xr.DataArray], overlap: Overlap = "mean", method: str = "mean", what: Any = "areas") -> Any:
    made = Combined(GRID, overlap, "points" if method == "nearest" else what)
    for tile in tiles:
        if method == "nearest":
            values = resample(tile, GRID, method)
            sums: Any = Sums(np.nan_to_num(values), np.isfinite(values).astype(float))
        else:
            sums = class_sums(tile, GRID) if method == "majority" else area_sums(tile, GRID)
        made.add(sums, raster_of(tile))
    return made.cells()


def test_tiles_that_overlap_are_their_mosaic() -> None:
    whole = field()
    # As tiles of one overpass: 9.8 km are in both.
    tiles = [whole[:, :250], whole[:, 152:]]
    np.testing.assert_allclose(combined(tiles).mean(), area_sums(whole, GRID).mean(), rtol=2e-3)
    np.testing.assert_array_equal(combined(tiles).mean(), combined(tiles[::-1]).mean())


def test_tiles_of_which_none_has_a_value_here_have_none_together() -> None:
    empty = field() * np.nan
    for method in ("nearest", "mean"):
        assert np.isnan(combined([empty[:, :250], empty[:, 152:]], method=method).mean()).all()


def test_cells_of_one_granule_do_not_change_by_others() -> None:
    whole = field()
    apart = [whole[:, :200], whole[:, 200:]]
    np.testing.assert_array_equal(combined(apart).mean(), sum_of(apart).mean())


def sum_of(tiles: list[xr.DataArray]) -> Sums:
    first, *others = (area_sums(tile, GRID) for tile in tiles)
    for other in others:
        first = first + other
    return first


def test_what_two_see_of_a_cell_is_their_mean_or_that_of_the_nearest() -> None:
    west, east = field()[:, :300], field()[:, 160:] + 10
    alone = [area_sums(tile, GRID).mean() for tile in (west, east)]
    both = np.isfinite(alone[0]) & np.isfinite(alone[1])
    mean = combined([west, east]).mean()
    inner = both & ~np.isnan(np.roll(alone[0], -1, 1)) & ~np.isnan(np.roll(alone[1], 1, 1))
    assert inner.sum() > 100
    np.testing.assert_allclose(mean[inner], (alone[0] + alone[1])[inner] / 2, rtol=1e-3)
    nearest = combined([west, east], "nearest").mean()
    is_one = np.stack([nearest == one for one in alone])[:, inner]
    assert is_one.any(axis=0).all()
    assert is_one[0].any()
    assert is_one[1].any()
    np.testing.assert_array_equal(nearest, combined([east, west], "nearest").mean())


def test_too_few_pixels_are_not_more_by_being_seen_twice() -> None:
    clouded = field()
    clouded = clouded.where((np.arange(clouded.size).reshape(clouded.shape) % 10) < 3)
    assert not np.isfinite(combined([clouded, clouded.copy()]).mean()).any()
    # Where one of two has enough, that is the value.
    clear = field() + 1
    np.testing.assert_allclose(combined([clouded, clear]).mean(), area_sums(clear, GRID).mean())


def test_a_tile_without_values_at_its_edge_leaves_the_other() -> None:
    whole = field()
    swath = whole.where(whole.x < LEFT + 20_000)
    other = whole[:, 150:]
    np.testing.assert_allclose(combined([swath, other]).mean(), area_sums(whole, GRID).mean(), rtol=0.02)


def test_zones_of_different_projections_are_combined() -> None:
    west = field()[:, :300]
    east = field("EPSG:32615", left=-35_000, top=4_470_000, shape=(700, 460)) * 0 + 3.0
    made = combined([west * 0 + 1.0, east]).mean()
    assert np.isfinite(made).all()
    counts = [int((np.abs(made - value) < 0.1).sum()) for value in (1, 2, 3)]
    assert min(counts) > 100
    assert sum(counts) > 0.98 * made.size


def test_classes_are_shared_out_once() -> None:
    whole = (field() * 2).round()
    tiles = [whole[:, :250], whole[:, 152:]]
    classes, shares = fractions(combined(tiles, method="majority"))
    expected = fractions(class_sums(whole, GRID))
    np.testing.assert_array_equal(classes, expected[0])
    np.testing.assert_allclose(shares, expected[1], atol=0.02)


def test_points_of_two_orbits_are_their_mean() -> None:
    first, second = field()[:, :300] * 0 + 0.2, field()[:, 200:] * 0 + 0.4
    made = combined([first, second], method="nearest").mean()
    assert {0.2, 0.3, 0.4} == set(np.round(made[np.isfinite(made)].astype(float), 3).tolist())
    nearest = combined([first, second], "nearest", "nearest").mean()
    assert {0.2, 0.4} == set(np.round(nearest[np.isfinite(nearest)].astype(float), 3).tolist())


@pytest.mark.parametrize("rim", [0, 6])
def test_pixels_that_tiles_of_a_map_share_count_once(rim: int) -> None:
    whole = field()
    seen: list[Any] = []
    tiles = [without_shared(tile, seen) for tile in (whole[:, : 200 + rim], whole[:, 200 - rim :])]
    np.testing.assert_allclose(combined(tiles, what="map").mean(), area_sums(whole, GRID).mean(), rtol=2e-3)
    # A tile that is missing a shared pixel leaves it to the next.
    seen.clear()
    holes = whole[:, : 200 + rim].where(whole.x < LEFT + 20_000)
    tiles = [without_shared(tile, seen) for tile in (holes, whole[:, 200 - rim :])]
    np.testing.assert_allclose(combined(tiles, what="map").mean(), area_sums(whole, GRID).mean(), rtol=2e-3)
    other = field(left=LEFT + 50.0)
    assert without_shared(other, seen).notnull().all()
