import dask.array as da
import numpy as np
import pandas as pd
import pytest
import soiltexture
import xarray as xr
import xrspatial
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod

from vadose import features
from vadose.cube.finish import _sum_back
from vadose.errors import VadoseError
from vadose.features import classes
from vadose.features.derived import derive
from vadose.grid import ease_grid, raster_coordinates

reflectances = st.lists(st.floats(1e-3, 1.0), min_size=2, max_size=9)
power = st.floats(1e-3, 1.0)


def line(*values: float) -> xr.DataArray:
    return xr.DataArray(np.array(values, float), dims="x")


# Optical indices


def test_optical_indices_of_a_green_canopy_by_hand() -> None:
    blue, green, red, nir, nir2, swir1, swir2 = (line(v) for v in (0.03, 0.08, 0.05, 0.45, 0.4, 0.2, 0.1))
    assert float(features.ndvi(red, nir)[0]) == pytest.approx(0.8)
    assert float(features.evi(blue, red, nir)[0]) == pytest.approx(2.5 * 0.4 / (0.45 + 0.3 - 0.225 + 1))
    assert float(features.ndwi(green, nir)[0]) == pytest.approx(-0.37 / 0.53)
    assert float(features.ndwi_gao(nir, nir2)[0]) == pytest.approx(0.05 / 0.85)
    assert float(features.lswi(nir, swir1)[0]) == pytest.approx(0.25 / 0.65)
    assert float(features.transformed_swir(swir2)[0]) == pytest.approx(0.81 / 0.2)


@given(reflectances, st.sampled_from([features.ndvi, features.ndwi, features.ndwi_gao, features.lswi]))
def test_normalised_differences_lie_within_one_and_change_sign_with_their_bands(values, index) -> None:
    first, second = line(*values), line(*values[::-1])
    there, back = index(first, second), index(second, first)
    assert (np.abs(there) <= 1).all()
    np.testing.assert_allclose(there, -back)


@given(st.lists(st.floats(1e-3, 1.0), min_size=2, max_size=9, unique=True))
def test_transformed_swir_falls_as_reflectance_rises(values) -> None:
    assert (np.diff(features.transformed_swir(line(*sorted(values)))) <= 0).all()


def test_reflectance_that_is_not_positive_gives_nothing() -> None:
    dark = line(0.0, -0.01, np.nan, 0.2)
    assert features.transformed_swir(dark).isnull().values.tolist() == [True, True, True, False]
    assert features.transformed_swir(line(1.0, 1.2)).values.tolist()[0] == 0
    assert np.isnan(features.transformed_swir(line(1.0, 1.2)).values[1])
    assert features.ndvi(dark, line(0.3, 0.3, 0.3, 0.3)).isnull().values.tolist() == [True, True, True, False]
    assert features.evi(line(0.9), line(0.05), line(0.05)).isnull().all()


@pytest.mark.parametrize("wrong", [30.0, 3000.0, -9999.0, np.inf])
def test_percent_packed_integers_and_fills_are_no_reflectance(wrong) -> None:
    with pytest.raises(VadoseError, match=r"nir: 1 of 2 values lie outside -0.2 .. 1.7 .*percent"):
        features.ndvi(line(0.1, 0.1), line(0.3, wrong))


def test_bands_of_two_grids_are_refused() -> None:
    here = xr.DataArray([0.1, 0.2], dims="x", coords={"x": [0.0, 10.0]})
    there = here.assign_coords(x=[10.0, 20.0])
    with pytest.raises(VadoseError, match="red, nir: their cells or times differ"):
        features.ndvi(here, there)


def test_results_keep_coordinates_and_float32_and_describe_themselves() -> None:
    red = xr.DataArray(np.array([0.1], np.float32), dims="x", coords={"x": [5.0]}, attrs={"long_name": "red"})
    index = features.ndvi(red, red * 3)
    assert (index.name, index.dtype, index.x.item()) == ("ndvi", np.float32, 5.0)
    assert index.attrs == {"long_name": "normalised difference vegetation index", "units": "1"}


# Lazy data


def test_indices_of_lazy_bands_stay_lazy_and_check_when_computed() -> None:
    red = xr.DataArray(da.from_array(np.array([0.1, 0.2, 40.0]), chunks=2), dims="x")
    nir = line(0.3, 0.4, 0.5).chunk(x=2)
    index = features.ndvi(red, nir)
    assert index.chunks == ((2, 1),)
    assert index[:2].values.tolist() == pytest.approx([0.5, 1 / 3])
    with pytest.raises(VadoseError, match="red: 1 of 1 values"):
        index.compute()


@pytest.mark.parametrize("attribute", ["relief", "aspect", "flow_accumulation"])
def test_terrain_of_lazy_elevation_is_the_same(attribute) -> None:
    z = surface(lambda x, y: 500 + np.sin(x / 70) * 40 + np.cos(y / 50) * 30, rows=14, columns=11)
    lazy = getattr(features, attribute)(z.chunk(y=5, x=4))
    assert lazy.chunks
    xr.testing.assert_allclose(lazy.compute(), getattr(features, attribute)(z))


def test_classes_of_lazy_fractions_are_the_same() -> None:
    sand, silt, clay = line(0.9, 0.2, 0.1), line(0.05, 0.6, 0.1), line(0.05, 0.2, 0.8)
    lazy = features.usda_texture_class(*(part.chunk(x=2) for part in (sand, silt, clay)))
    assert lazy.chunks
    assert features.texture_group(lazy).compute().values.tolist() == [1, 2, 3]


# Radar indices


@given(power, power)
def test_cross_ratio_of_linear_power_is_the_difference_of_decibels(vv, vh) -> None:
    ratio = features.to_decibel(features.cross_ratio(line(vv), line(vh)))
    difference = features.to_decibel(line(vh)) - features.to_decibel(line(vv))
    np.testing.assert_allclose(ratio, difference, atol=1e-9)


@given(power)
def test_decibels_go_back_to_power(value) -> None:
    np.testing.assert_allclose(features.from_decibel(features.to_decibel(line(value))), [value], rtol=1e-12)


@given(power, power)
def test_polarization_lies_within_one(vv, vh) -> None:
    assert abs(float(features.polarization(line(vv), line(vh))[0])) <= 1


def test_both_forms_of_the_radar_indices_by_hand() -> None:
    vv, vh = line(0.1), line(0.02)
    assert float(features.dpsvim(vv, vh)[0]) == pytest.approx((0.01 + 0.002) / np.sqrt(2))
    assert float(features.polarization(vv, vh)[0]) == pytest.approx(0.08 / 0.12)
    db = {"vv": line(-10, -4, -21, -12), "vh": line(-17, -15, -15, -9)}
    found = {f: getattr(features, f)(**db, form="mmnet_code") for f in ("cross_ratio", "dpsvim", "polarization")}
    assert float(found["cross_ratio"][0]) == pytest.approx(10 / 17)
    assert float(found["dpsvim"][0]) == pytest.approx((100 + 289) / 32)
    assert float(found["polarization"][0]) == pytest.approx(-27 / 7)
    for index in found.values():
        assert index.isnull().values.tolist() == [False, True, True, True]
        assert "mmnet_code" in index.attrs["long_name"]
    equal = features.polarization(line(-12), line(-12), form="mmnet_code")
    assert equal.isnull().all()


def test_no_signal_gives_no_ratio() -> None:
    assert features.cross_ratio(line(0.0, 0.1, 0.1), line(0.1, 0.0, np.nan)).isnull().all()


@pytest.mark.parametrize("index", [features.cross_ratio, features.dpsvim, features.polarization])
def test_decibels_are_no_power_and_power_no_decibels(index) -> None:
    with pytest.raises(VadoseError, match=r"backscatter vv: .*from_decibel"):
        index(line(-10.0), line(0.02))
    with pytest.raises(VadoseError, match=r"backscatter vh: all values are positive .*to_decibel"):
        index(line(-10.0), line(0.02), form="mmnet_code")
    with pytest.raises(VadoseError, match=r"form: found 'paper'; choose from \['literature', 'mmnet_code'\]"):
        index(line(0.1), line(0.02), form="paper")


def test_fill_values_are_no_decibels() -> None:
    with pytest.raises(VadoseError, match="mask the fill value"):
        features.from_decibel(line(-9999.0))
    with pytest.raises(VadoseError, match="already"):
        features.to_decibel(line(-12.0))


# Terrain


def surface(height, rows=9, columns=8, dy=30.0, dx=20.0) -> xr.DataArray:
    """Heights z(x, y) [m] on a north-up grid."""
    y, x = dy * np.arange(rows)[::-1], dx * np.arange(columns)
    coords = {"y": ("y", y, {"units": "m"}), "x": ("x", x, {"units": "m"})}
    return xr.DataArray(height(x, y[:, None]) + 0 * x * y[:, None], dims=("y", "x"), coords=coords)


NEAR = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]


def inner(values: xr.DataArray) -> np.ndarray:
    border = values.values.copy()
    border[1:-1, 1:-1] = np.nan
    assert np.isnan(border).all(), "the border has no neighbours"
    return values.values[1:-1, 1:-1]


@pytest.mark.parametrize("degrees", [0, 30, 90, 135, 180, 225, 270, 315])
def test_slope_and_aspect_of_a_plane(degrees) -> None:
    toward_east, toward_north = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    z = surface(lambda x, y: 1000 - 0.2 * (toward_east * x + toward_north * y))
    np.testing.assert_allclose(inner(features.slope(z)), np.degrees(np.arctan(0.2)))
    found = inner(features.aspect(z))
    np.testing.assert_allclose((found - degrees + 180) % 360, 180, atol=1e-6)
    assert ((found >= 0) & (found < 360)).all()
    parts = features.aspect_components(z)
    np.testing.assert_allclose(inner(parts.aspect_cosine), toward_north, atol=1e-9)
    np.testing.assert_allclose(inner(parts.aspect_sine), toward_east, atol=1e-9)
    south_up = features.aspect(z.isel(y=slice(None, None, -1)))
    np.testing.assert_allclose((inner(south_up) - degrees + 180) % 360, 180, atol=1e-6)


def test_flat_ground_has_no_aspect_and_no_direction() -> None:
    flat = surface(lambda x, y: 5 + 0 * x)
    assert (inner(features.slope(flat)) == 0).all()
    assert np.isnan(features.aspect(flat)).all()
    parts = features.aspect_components(flat)
    assert (inner(parts.aspect_cosine) == 0).all()
    assert (inner(parts.aspect_sine) == 0).all()


def test_curvature_of_a_hill_a_bowl_and_a_plane() -> None:
    hill = surface(lambda x, y: 800 - 0.001 * x**2 - 0.002 * y**2)
    np.testing.assert_allclose(inner(features.curvature(hill)), 0.006, rtol=1e-6)
    np.testing.assert_allclose(inner(features.curvature(1000 - hill)), -0.006, rtol=1e-6)
    np.testing.assert_allclose(inner(features.curvature(surface(lambda x, y: 0.1 * x + y))), 0, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(3, 3), (9, 7), (2, 6, 5)])
def test_relief_in_one_pass_is_that_of_whole_arrays(shape, dtype) -> None:
    z = np.random.default_rng(2).normal(300, 5, shape).astype(dtype)
    if z.size > 9:
        z[..., 2, 3] = np.nan
        z[..., -2:, :3] = 300  # flat
    dims = ("number", "y", "x")[-z.ndim :]
    coords = {"y": 60.0 - np.arange(shape[-2]), "x": 25.0 * np.arange(shape[-1])}
    found = features.relief(xr.DataArray(z, dims=dims, coords=coords, attrs={"units": "m"}))
    with np.errstate(invalid="ignore"):
        of = {(i, j): z[..., 1 + i : shape[-2] - 1 + i, 1 + j : shape[-1] - 1 + j].astype(float) for i, j in NEAR}
        east = sum((2 - i * i) * (of[i, 1] - of[i, -1]) for i in (-1, 0, 1)) / (8 * 25) + 0 * of[0, 0]
        north = sum((2 - j * j) * (of[1, j] - of[-1, j]) for j in (-1, 0, 1)) / (8 * -1) + 0 * of[0, 0]
    rise = np.hypot(east, north)
    expected = {
        "slope": np.degrees(np.arctan(rise)),
        "aspect_cosine": -north / np.where(rise == 0, 1, rise),
        "aspect_sine": -east / np.where(rise == 0, 1, rise),
        "curvature": -((of[0, -1] - 2 * of[0, 0] + of[0, 1]) / 25**2 + of[-1, 0] - 2 * of[0, 0] + of[1, 0]),
    }
    assert list(found) == list(expected)
    for name, inside in expected.items():
        framed = np.pad(inside, [(0, 0)] * (z.ndim - 2) + [(1, 1)] * 2, constant_values=np.nan)
        assert found[name].dtype == dtype
        np.testing.assert_allclose(found[name], framed, rtol=1e-6, atol=1e-7, err_msg=name)


def test_terrain_agrees_with_xarray_spatial() -> None:
    rng = np.random.default_rng(1)
    z = surface(lambda x, y: 300 + rng.normal(0, 5, (12, 10)), rows=12, columns=10, dy=25, dx=25)
    there = z.astype(np.float32).assign_attrs(res=(25, 25))
    for ours, theirs in (
        (features.slope(z), xrspatial.slope(there)),
        (features.aspect(z), xrspatial.aspect(there)),
        (features.curvature(z) * 100, xrspatial.curvature(there)),
    ):
        np.testing.assert_allclose(inner(ours), theirs.values[1:-1, 1:-1], rtol=2e-4, atol=2e-4)


def test_slope_on_a_geographic_grid_is_that_on_the_ground() -> None:
    coords = raster_coordinates("EPSG:4326", (10.0, 60.005, 0.001, 0.001), (9, 9)).coords
    metres_a_cell = Geod(ellps="WGS84").inv(10, 60, 10.001, 60)[2]
    assert metres_a_cell == pytest.approx(55.8, abs=0.1)
    z = xr.DataArray(100 + np.arange(9.0) * metres_a_cell + np.zeros((9, 1)), dims=("lat", "lon"), coords=coords)
    np.testing.assert_allclose(inner(features.slope(z)), 45, atol=0.01)
    np.testing.assert_allclose(inner(features.aspect(z)), 270, atol=1e-6)
    northward = Geod(ellps="WGS84").inv(10, 60, 10, 60.001)[2]
    z = z.copy(data=np.arange(9.0)[:, None] * northward + np.zeros(9))
    np.testing.assert_allclose(inner(features.slope(z)), 45, atol=0.01)
    np.testing.assert_allclose(inner(features.aspect(z)), 0, atol=1e-6)
    renamed = z.rename(lat="y", lon="x")
    np.testing.assert_allclose(inner(features.slope(renamed)), inner(features.slope(z)))


def test_slope_on_the_ease_grid_is_that_on_the_ground() -> None:
    coords = ease_grid("1km").bounding_box(-100, 48, -99.8, 48.2).coordinates().coords
    lat, lon = coords["lat"].values, coords["lon"].values
    metres_a_cell = Geod(ellps="WGS84").inv(lon[5, 5], lat[5, 5], lon[5, 6], lat[5, 6])[2]
    assert metres_a_cell < 0.8 * 1000.9
    z = xr.DataArray(
        np.arange(lat.shape[1]) * metres_a_cell * 0.1 + np.zeros(lat.shape), dims=("y", "x"), coords=coords
    )
    assert float(features.slope(z)[5, 5]) == pytest.approx(np.degrees(np.arctan(0.1)), rel=1e-4)


def test_a_missing_cell_has_no_slope_and_its_neighbours_neither() -> None:
    z = surface(lambda x, y: 0.1 * x)
    z[4, 4] = np.nan
    missing = features.slope(z).isnull().values[1:-1, 1:-1]
    assert missing.sum() == 9
    assert missing[2:5, 2:5].all()


def test_elevation_in_integers_is_taken() -> None:
    z = surface(lambda x, y: x / 2)
    xr.testing.assert_allclose(features.slope(z.astype(np.int16)), features.slope(z))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z: z.assign_attrs(units="ft"), "found units 'ft'; convert it to metres"),
        (lambda z: z.where(z.x > 30, -32768), "values lie outside -500 .. 9000"),
        (lambda z: z.drop_vars("x"), "no coordinate along x"),
        (lambda z: z[:, :2], "2 cells along x; at least 3"),
        (lambda z: z[:, [0, 1, 2, 5]], "x steps by 20 .. 60; evenly spaced"),
        (lambda z: z.assign_coords(x=("x", z.x.values, {"units": "km"})), "are in 'km'"),
        (lambda z: z.assign_coords(x=z.x.values / 3e4, y=z.y.values / 3e4), "looks like degrees"),
    ],
)
@pytest.mark.parametrize("attribute", [features.slope, features.curvature, features.flow_accumulation])
def test_elevation_without_a_usable_grid_is_refused(attribute, change, message) -> None:
    with pytest.raises(VadoseError, match=message):
        attribute(change(surface(lambda x, y: 0.1 * x)))


def test_the_aspect_of_the_published_code_halves_the_angle() -> None:
    found = features.aspect_cosine_mmnet(line(0, 90, 180, 270))
    np.testing.assert_allclose(found, [1, np.sqrt(0.5), 0, -np.sqrt(0.5)], atol=1e-12)
    with pytest.raises(VadoseError, match="mask flat ground"):
        features.aspect_cosine_mmnet(line(-1))


# Flow accumulation


def test_a_plane_gathers_along_its_fall() -> None:
    z = surface(lambda x, y: 100 - x, rows=5, columns=7)
    np.testing.assert_array_equal(features.flow_accumulation(z), np.broadcast_to(np.arange(1.0, 8), (5, 7)))


def test_a_valley_gathers_its_sides_and_then_runs_down() -> None:
    z = surface(lambda x, y: np.abs(x - 60) * 2 + 0.01 * y, rows=6, columns=7, dy=20)
    found = features.flow_accumulation(z).values
    np.testing.assert_array_equal(found[:, 3], 7.0 * np.arange(1, 7))
    np.testing.assert_array_equal(found[0, :3], [1, 2, 3])


def test_a_cone_sheds_all_its_cells_over_the_border() -> None:
    z = surface(lambda x, y: 500 - np.hypot(x - 100, y - 100), rows=11, columns=11, dy=20)
    found = features.flow_accumulation(z).values
    assert found[5, 5] == 1
    border = np.ones(found.shape, bool)
    border[1:-1, 1:-1] = False
    falls_along_the_border = np.zeros_like(border)
    falls_along_the_border[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    assert found[falls_along_the_border].sum() == found.size


@given(st.integers(0, 10_000))
def test_a_basin_with_one_outlet_drains_through_it_whatever_its_pits(seed) -> None:
    rng = np.random.default_rng(seed)
    z = surface(lambda x, y: np.round(rng.uniform(0, 5, (9, 8))) * rng.choice([1.0, 0.3]))
    z[[0, -1]] = 50 + rng.random((2, 8))
    z[:, [0, -1]] = 50 + rng.random((9, 2))
    z[4, 0] = 2.0
    found = features.flow_accumulation(z)
    assert found[4, 0] == z.size
    assert (found >= 1).all()


def test_steepness_counts_the_distance_to_diagonal_neighbours() -> None:
    z = surface(lambda x, y: 9 + 0 * x, rows=3, columns=3, dy=10.0, dx=10.0)
    z[1, 1], z[1, 2], z[2, 2] = 5, 3.9, 3.5
    assert float(features.flow_accumulation(z)[1, 2]) == 7, "1.1 m in 10 m is steeper than 1.5 m in 14.1 m"
    z[2, 2] = 3.4
    found = features.flow_accumulation(z)
    assert float(found[1, 2]) == 2, "1.6 m in 14.1 m is steeper than 1.1 m in 10 m"
    assert float(found[2, 2]) == 9


def test_water_leaves_beside_missing_cells() -> None:
    z = surface(lambda x, y: 100 - x, rows=3, columns=7)
    z[:, 4] = np.nan
    found = features.flow_accumulation(z)
    assert found[1].values.tolist()[:4] == [1, 2, 3, 4]
    assert found[:, 4].isnull().all()
    assert found[1].values.tolist()[5:] == [1, 2]


def test_a_stack_of_maps_is_taken_map_by_map() -> None:
    one = surface(lambda x, y: 100 - x, rows=4, columns=5)
    both = features.flow_accumulation(xr.concat([one, 200 - one], dim="version"))
    assert both.dims == ("version", "y", "x")
    np.testing.assert_array_equal(both[1], features.flow_accumulation(one).values[:, ::-1])


# Soil texture


def points(step=1.0):
    silt, clay = np.meshgrid(np.arange(0, 101, step), np.arange(0, 101, step))
    inside = silt + clay <= 100
    return 100 - silt[inside] - clay[inside], silt[inside], clay[inside]


def test_every_whole_percent_lies_in_exactly_one_class() -> None:
    sand, silt, clay = points()
    assert len(sand) == 5151
    assert (np.sum(classes._texture_rules(silt, clay), axis=0) == 1).all()
    expected = np.argmax(classes._texture_rules(silt, clay), axis=0) + 1.0
    for total in (1.0, 0.9, 0.7):
        for stored in (np.float64, np.float32):
            parts = [(part / 100 * total).astype(stored) for part in (sand, silt, clay)]
            for computed in (stored, np.float64):
                number = features.usda_texture_class(*(xr.DataArray(p.astype(computed), dims="x") for p in parts))
                np.testing.assert_array_equal(number.values, expected)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0.6, 1.4))
def test_any_soil_has_a_class_whatever_its_sum(sand, silt, clay, total) -> None:
    parts = np.array([sand, silt, clay]) + 1e-3
    parts = parts / parts.sum()
    number = features.usda_texture_class(*(line(min(p * total, 1)) for p in parts))
    assert 1 <= float(number[0]) <= 12


def test_classes_agree_with_the_soiltexture_package() -> None:
    parts = np.random.default_rng(3).dirichlet([1, 1, 1], 4000)
    ours = features.usda_texture_class(*(xr.DataArray(p, dims="x") for p in parts.T)).values
    theirs = soiltexture.getTextures(parts[:, 0] * 100, parts[:, 2] * 100)
    names = [features.USDA_TEXTURE[int(n) - 1] for n in ours]
    assert names == theirs
    assert len(set(names)) == 12


def test_texture_is_of_the_shares_and_missing_where_one_is() -> None:
    whole = features.usda_texture_class(line(0.4), line(0.4), line(0.2))
    scaled = features.usda_texture_class(line(0.36), line(0.36), line(0.18))
    assert float(whole[0]) == float(scaled[0]) == 1 + features.USDA_TEXTURE.index("loam")
    lacking = features.usda_texture_class(line(0.4, np.nan, 0.0), line(0.4, 0.4, 0.0), line(np.nan, 0.2, 0.0))
    assert lacking.isnull().all()
    assert whole.attrs["flag_meanings"].split()[:2] == ["sand", "loamy_sand"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [((40, 40, 20), "sand fraction: .*divide percent by 100"), ((0.2, 0.1, 0.1), "sum of sand, silt and clay: ")],
)
def test_percent_and_parts_of_different_soils_are_refused(parts, message) -> None:
    with pytest.raises(VadoseError, match=message):
        features.usda_texture_class(*(line(part) for part in parts))


def test_texture_groups_are_those_of_the_paper_and_hold_every_class_once() -> None:
    grouped = [name for names in features.TEXTURE_GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(features.USDA_TEXTURE)
    found = features.texture_group(line(*range(1, 13))).values
    assert found.tolist() == [1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3]
    with pytest.raises(VadoseError, match="texture_group: found"):
        features.texture_group(line(1.5))


# Land cover


def test_every_igbp_class_has_its_group_or_none() -> None:
    group = features.igbp_group(xr.DataArray(np.arange(18, dtype=np.uint8), dims="x"))
    names = [None, *features.IGBP_GROUPS]
    found = [names[int(n)] if np.isfinite(n) else None for n in group.values]
    assert found[1:6] == ["forest"] * 5
    assert found[6:13] == [
        "shrubland",
        "shrubland",
        "savanna",
        "savanna",
        "grassland",
        "permanent wetland",
        "cropland",
    ]
    assert (found[14], found[0], found[13], found[15:]) == ("cropland", None, None, [None] * 3)
    assert group.attrs["flag_meanings"].split() == [n.replace(" ", "_") for n in features.IGBP_GROUPS]
    assert group.dtype == np.float32


def test_every_nlcd_class_has_its_group_in_both_legends() -> None:
    codes = [11, 12, 21, 22, 23, 24, 31, 41, 42, 43, 51, 52, 71, 72, 73, 74, 81, 82, 90, 95]
    level1 = features.nlcd_group(line(*codes)).values
    assert level1.tolist() == [code // 10 if code < 50 else {5: 5, 7: 6, 8: 7, 9: 8}[code // 10] for code in codes]
    mmnet = features.nlcd_group(line(*codes), legend="mmnet")
    names = [list(features.NLCD_GROUPS["mmnet"])[int(n) - 1] for n in mmnet.values[2:]]
    assert names == [
        *["developed"] * 4,
        "barren",
        *["forest"] * 3,
        *["shrub"] * 2,
        *["grassland"] * 4,
        "pasture",
        "crop",
        *["wetland"] * 2,
    ]
    assert np.isnan(mmnet.values[:2]).all()
    assert features.nlcd_group(line(0, 127, 250, np.nan)).isnull().all()


@pytest.mark.parametrize("wrong", [13.0, 41.5, -1.0, 96.0])
def test_what_is_no_land_cover_class_is_refused(wrong) -> None:
    with pytest.raises(VadoseError, match=f"nlcd_group: found \\[{wrong}\\].*majority"):
        features.nlcd_group(line(41, wrong))


def test_an_unknown_legend_is_refused() -> None:
    with pytest.raises(VadoseError, match=r"legend: found 'level2'; choose from \['level1', 'mmnet'\]"):
        features.nlcd_group(line(41), legend="level2")
    with pytest.raises(VadoseError, match="igbp_group: found"):
        features.igbp_group(line(18))


# Past days


def rain_of(values, start="2019-01-01") -> xr.DataArray:
    time = pd.date_range(start, periods=len(values))
    return xr.DataArray(np.asarray(values, float), dims="time", coords={"time": time}, name="precipitation")


@pytest.mark.parametrize("days", [1, 3, 7, 14, 30])
def test_antecedent_sums_end_with_the_day_and_need_every_day(days) -> None:
    values = np.random.default_rng(5).gamma(0.3, 10, 60)
    values[40] = np.nan
    found = features.antecedent_sum(rain_of(values), days).values
    expected = [values[t + 1 - days : t + 1].sum() if t + 1 >= days else np.nan for t in range(60)]
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.isel(time=[0, 1, 3, 4]), "2019-01-04T00:00 follows 2019-01-02T00:00; every day"),
        (lambda r: r.isel(time=[0, 1, 1, 2]), "2019-01-02T00:00 follows 2019-01-02"),
        (lambda r: r.isel(time=slice(None, None, -1)), "every day is needed once and in order"),
        (lambda r: r.drop_vars("time"), "no dates"),
        (lambda r: r.assign_coords(time=np.arange(6)), "no dates"),
        (lambda r: r - 9999, "precipitation: 6 of 6 values lie outside 0"),
    ],
)
def test_a_series_that_is_not_daily_or_not_an_amount_is_refused(change, message) -> None:
    with pytest.raises(VadoseError, match=message):
        features.antecedent_sum(change(rain_of(range(6))), 3)


def test_a_window_of_no_days_is_refused() -> None:
    with pytest.raises(VadoseError, match="window of 0 days"):
        features.antecedent_sum(rain_of([1, 2]), 0)


def test_lazy_rain_is_summed_lazily_across_chunks() -> None:
    values = np.arange(20.0)
    lazy = features.antecedent_sum(rain_of(values).chunk(time=6), 7)
    assert lazy.chunks
    np.testing.assert_allclose(lazy.values, features.antecedent_sum(rain_of(values), 7))


@pytest.mark.parametrize("days", [1, 7, 30])
def test_sums_that_a_growing_cube_makes_in_pieces_are_those_of_the_table_of_features(days: int) -> None:
    rng = np.random.default_rng(days)
    amounts = rng.gamma(0.3, 10.0, (90, 2, 3))
    amounts[rng.random(amounts.shape) < 0.01] = np.nan
    rain = xr.DataArray(amounts, dims=("time", "y", "x"), coords={"time": pd.date_range("2020-01-01", periods=90)})
    name = f"precipitation_{days}d"
    made = derive(xr.Dataset({"precipitation": rain}), [name], ("days",))[name]
    np.testing.assert_allclose(_sum_back(amounts, days), made, rtol=1e-5, atol=1e-4)
