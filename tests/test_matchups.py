"""Stations on a small hand-made cube of known places, and the real ones on the real cube."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.cube import build_cube, open_cube
from vadose.errors import VadoseError
from vadose.grid import ease_grid, grid_of
from vadose.insitu.matchups import count_stations, match_stations, plot_stations, stations_on_cube, with_stations
from vadose.insitu.store import LAYER_DEPTHS, build_stations

LOAM, SAND, CLAY = (0.4, 0.4, 0.2), (0.92, 0.05, 0.03), (0.2, 0.2, 0.6)


@pytest.fixture
def cube() -> xr.Dataset:
    """Three rows and four columns of 9 km, ten days; the last column lies outside the mask."""
    dataset = ease_grid("9km").part(slice(288, 291), slice(855, 859)).coordinates()
    dataset = dataset.assign_coords(time=pd.date_range("2020-05-01", periods=10))
    for part, value in zip(("sand", "silt", "clay"), LOAM, strict=True):
        dataset[f"{part}_fraction"] = ("y", "x"), np.full((3, 4), value, np.float32)
    dataset["land_cover"] = ("y", "x"), np.array([[10, 12, 4, 4], [8, 13, np.nan, 4], [14, 7, 11, 4]], np.float32)
    dataset["land_cover_nlcd"] = ("y", "x"), np.full((3, 4), 82, np.float32)
    dataset["elevation"] = ("y", "x"), np.full((3, 4), 500, np.float32)
    dataset["mask"] = ("y", "x"), np.array([[True, True, True, False]] * 3)
    dataset.attrs["simulated"] = "true"
    return dataset


def store(places: Sequence[tuple[float, float]], networks: Sequence[str] | None = None) -> xr.Dataset:
    """Stations at places (lat, lon), 20 days from five before the cube's, without soils."""
    n, time = len(places), pd.date_range("2020-04-26", periods=20)
    moisture = np.full((n, 3, 20), 0.2, np.float32)
    return xr.Dataset(
        {"soil_moisture": (("station", "layer", "time"), moisture)},
        coords={
            "station": [f"N:{k}" for k in range(n)],
            "layer": list(LAYER_DEPTHS),
            "time": time,
            "depth": [5, 10, 20, 50, 100],
            "network": ("station", list(networks or ["N"] * n)),
            "station_name": ("station", ["name"] * n),
            "lat": ("station", [float(lat) for lat, _ in places]),
            "lon": ("station", [float(lon) for _, lon in places]),
            "elevation": ("station", np.full(n, 512.0)),
        },
        attrs={"layer_depths": json.dumps(LAYER_DEPTHS), "simulated": "false"},
    )


def place(cube: xr.Dataset, row: float, column: float) -> tuple[float, float]:
    lat, lon = grid_of(cube).latlon(row, column)
    return float(lat), float(lon)


def known(values: pd.Series) -> list[str | None]:
    return [None if pd.isna(value) else value for value in values]


def with_soils(dataset: xr.Dataset, suffix: str, texture: tuple[float, float, float]) -> xr.Dataset:
    return dataset.assign(
        {
            f"{part}_fraction{suffix}": (("y", "x"), np.full((3, 4), value, np.float32))
            for part, value in zip(("sand", "silt", "clay"), texture, strict=True)
        }
    )


def test_known_places(cube: xr.Dataset) -> None:
    """A centre, a place off it, one on the cube's edge and one far away."""
    lat, lon = place(cube, 1, 0)
    table = stations_on_cube(store([(lat, lon), (lat + 0.01, lon), place(cube, -0.49, 1), (30.0, -80.0)]), cube)
    assert table.row.tolist() == [1, 1, 0, pd.NA]
    assert table.column.tolist() == [0, 0, 1, pd.NA]
    assert table.cell_lat[0] == pytest.approx(float(cube.lat[1, 0]), abs=1e-9)
    assert table.cell_lon[2] == pytest.approx(float(cube.lon[0, 1]), abs=1e-9)
    # A hundredth of a degree of the meridian at 40 degrees north is 1.1103 km.
    assert table.distance_km[:2].tolist() == pytest.approx([0, 1.1103], abs=1e-4)
    assert np.isnan(table.distance_km[3])
    assert table.in_mask.tolist() == [True, True, True, False]
    assert table.stations_in_cell.tolist() == [2, 2, 1, pd.NA]
    assert known(table.shares_cell_with) == ["N:1", "N:0", None, None]
    assert table.igbp_class.tolist() == [8, 8, 12, pd.NA]
    assert table.igbp_group.tolist()[:3] == ["savanna", "savanna", "cropland"]
    assert table.nlcd_class[0] == 82
    assert table.nlcd_group[0] == "planted or cultivated"
    assert table.elevation_difference[0] == 12
    assert table.texture_group_0_10cm.isna().tolist() == [False, False, False, True]
    assert table.simulated.all()


def test_a_border_belongs_to_one_cell(cube: xr.Dataset) -> None:
    lat, lon = place(cube, 1, 0.5)
    table = stations_on_cube(store([(lat, lon - 1e-6), (lat, lon), (lat, lon + 1e-6)]), cube)
    assert table.column.tolist()[::2] == [0, 1]
    assert table.column[1] in (0, 1)
    assert table.distance_km.tolist() == pytest.approx([table.distance_km[1]] * 3, abs=1e-3)
    lat, lon = place(cube, 0.5, 1)
    assert stations_on_cube(store([(lat + 1e-6, lon), (lat - 1e-6, lon)]), cube).row.tolist() == [0, 1]


def test_between_the_cells_of_a_lattice_is_outside() -> None:
    lattice = ease_grid("36km").part(slice(47, 79, 4), slice(151, 187, 4)).coordinates()
    lattice = lattice.assign_coords(time=pd.date_range("2020-05-01", periods=2))
    places = [place(lattice, 3, 3), place(lattice, 3, 3.12), place(lattice, 3, 3.13)]
    table = stations_on_cube(store(places), lattice)
    assert table.row.tolist() == [3, 3, pd.NA]
    # Without a mask every cell counts.
    assert table.in_mask.tolist() == [True, True, False]


def test_a_cell_outside_the_mask_keeps_its_strata(cube: xr.Dataset) -> None:
    table = stations_on_cube(store([place(cube, 0, 3), place(cube, 0, 2)]), cube)
    assert table.in_mask.tolist() == [False, True]
    assert table.igbp_group.tolist() == ["forest", "forest"]
    land_cover, texture = count_stations(table)
    assert land_cover.loc["forest"].sum() == 3  # one station, three layers
    assert texture.to_numpy().sum() == 3


def test_no_group_is_not_unknown(cube: xr.Dataset) -> None:
    """Urban land has a class but no group; a cell without land cover has neither."""
    table = stations_on_cube(store([place(cube, 1, 1), place(cube, 1, 2)]), cube)
    assert table.igbp_class.tolist() == [13, pd.NA]
    assert table.igbp_group.isna().all()


def test_a_cube_without_land_cover_and_elevation(cube: xr.Dataset) -> None:
    table = stations_on_cube(store([place(cube, 0, 0)]), cube.drop_vars(["land_cover", "land_cover_nlcd", "elevation"]))
    assert (
        table[["igbp_class", "igbp_group", "nlcd_class", "nlcd_group", "elevation_difference"]].isna().to_numpy().all()
    )
    assert table.elevation[0] == 512
    assert count_stations(table)[0].loc["none"].sum() == 3


def test_layers_take_their_own_depths(cube: xr.Dataset) -> None:
    """Points of depth and layers of depth; soils without a depth are those of the top."""
    one = store([place(cube, 0, 0)])
    names = ["texture_cube_0_10cm", "texture_cube_10_40cm", "texture_cube_40_100cm"]
    assert known(stations_on_cube(one, cube)[names].iloc[0]) == ["loam", None, None]
    too_deep = with_soils(with_soils(cube, "_30cm", SAND), "_150cm", CLAY)
    assert known(stations_on_cube(one, too_deep)[names].iloc[0]) == ["loam", "sand", None]
    for suffixes in (("_5cm", "_30cm", "_60cm"), ("_0_5cm", "_15_30cm", "_60_100cm")):
        layered = cube
        for suffix, texture in zip(suffixes, (SAND, LOAM, CLAY), strict=True):
            layered = with_soils(layered, suffix, texture)
        # Further from the layers' middles.
        for suffix in ("_0cm", "_15cm", "_150cm") if suffixes[0] == "_5cm" else ("_5_15cm", "_100_200cm"):
            layered = with_soils(layered, suffix, (0.1, 0.85, 0.05))
        table = stations_on_cube(one, layered)
        assert table[names].values.tolist() == [["sand", "loam", "clay"]], suffixes
        groups = [table[f"texture_group_{layer}"][0] for layer in ("0_10cm", "10_40cm", "40_100cm")]
        assert groups == ["coarse", "medium", "fine"]


def test_silt_may_be_left_to_sand_and_clay_but_not_clay(cube: xr.Dataset) -> None:
    one = store([place(cube, 0, 0)])
    assert stations_on_cube(one, cube.drop_vars("silt_fraction")).texture_0_10cm[0] == "loam"
    table = stations_on_cube(one, cube.drop_vars("clay_fraction"))
    assert table.filter(like="texture").isna().to_numpy().all()
    assert count_stations(table)[1].iloc[-1].sum() == 3


def test_a_stations_own_soil_comes_first(cube: xr.Dataset) -> None:
    stations = store([place(cube, 0, 0), place(cube, 0, 1), (30.0, -80.0)])
    for part, value in zip(("sand", "silt", "clay"), CLAY, strict=True):
        soil = np.full((3, 5), np.nan, np.float32)
        soil[0, [0, 2]] = value  # at 5 and at 20 cm
        soil[2] = value
        stations[f"{part}_fraction"] = ("station", "depth"), soil
    table = stations_on_cube(stations, cube)
    assert known(table.texture_from_0_10cm) == ["station", "cube", "station"]
    assert known(table.texture_0_10cm) == ["clay", "loam", "clay"]
    assert known(table.texture_cube_0_10cm) == ["loam", "loam", None]
    assert known(table.texture_from_10_40cm) == ["station", None, "station"]
    assert known(table.texture_from_40_100cm) == [None, None, "station"]


def test_days_are_those_of_the_cube(cube: xr.Dataset) -> None:
    stations = store([place(cube, 0, 0), place(cube, 0, 1)])
    stations.soil_moisture[0, 1, 5:9] = np.nan
    stations.soil_moisture[1, 2] = np.nan
    stations.soil_moisture[0, 0, :5] = np.nan
    table = stations_on_cube(stations, cube.assign_coords(time=cube.time + np.timedelta64(6, "h")))
    assert table.days_0_10cm.tolist() == [10, 10]
    assert table.days_10_40cm.tolist() == [6, 10]
    assert table.days_40_100cm.tolist() == [10, 0]


def test_counts_by_network(cube: xr.Dataset, tmp_path: Path) -> None:
    """Grassland, cropland twice (14 is cropland), savanna, and one outside; the file gives the same counts."""
    places = [place(cube, 0, 0), place(cube, 0, 1), place(cube, 2, 0), place(cube, 1, 0), (30.0, -80.0)]
    stations = store(places, ["SCAN", "SCAN", "USCRN", "SCAN", "SCAN"])
    stations.soil_moisture[3, 0, 12:] = np.nan  # 7 days left
    out = tmp_path / "new" / "stations.csv"
    table = match_stations(stations, cube, out)
    land_cover, texture = count_stations(table)
    top = land_cover["0_10cm"]["medium"]
    assert top.loc[["grassland", "cropland", "savanna", "forest"]].values.tolist() == [[1, 0], [1, 1], [1, 0], [0, 0]]
    assert land_cover["10_40cm"]["none"].sum().tolist() == [3, 1]
    assert texture["SCAN"]["0_10cm"]["medium", "loam"] == 3
    assert texture["USCRN"]["40_100cm"]["none", "none"] == 1
    assert count_stations(table, min_days=8)[1]["SCAN"]["0_10cm"]["medium", "loam"] == 2
    again = pd.read_csv(out)
    assert list(again) == list(table)
    for first, second in zip(count_stations(again), (land_cover, texture), strict=True):
        pd.testing.assert_frame_equal(first, second)


def test_the_map_shows_mask_and_groups(cube: xr.Dataset, tmp_path: Path) -> None:
    table = stations_on_cube(store([place(cube, 0, 0), place(cube, 1, 3), (30.0, -80.0)]), cube)
    figure = plot_stations(table, cube)
    axis = figure.axes[0]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["medium (1)", "outside the mask (2)"]
    assert "SIMULATED" in axis.get_title()
    shown = np.ma.masked_invalid(axis.collections[0].get_array()).reshape(5, 7)
    assert shown[::2, ::2].count(axis=0).tolist() == [3, 3, 3, 0]
    figure.savefig(tmp_path / "map.png")
    assert plot_stations(table, cube.drop_vars("mask"), "10-40 cm").legends[0].get_texts()[0].get_text() == (
        "texture unknown (1)"
    )
    with pytest.raises(VadoseError, match="layer '5 cm': the table has"):
        plot_stations(table, cube, "5 cm")


def test_what_is_no_store_is_refused(cube: xr.Dataset) -> None:
    one = store([place(cube, 0, 0)])
    with pytest.raises(VadoseError, match=r"station store: no .*'layer'.* vadose stations"):
        stations_on_cube(cube, cube)
    with pytest.raises(VadoseError, match="cube: no grid or no days"):
        stations_on_cube(one, one)
    del one.attrs["layer_depths"]
    with pytest.raises(VadoseError, match="'layer_depths'"):
        stations_on_cube(one, cube)
    one = store([place(cube, 0, 0)])
    with pytest.raises(VadoseError, match=r"land_cover.* change with time"):
        stations_on_cube(one, cube.assign(land_cover=cube.land_cover.expand_dims(time=cube.time)))
    with pytest.raises(VadoseError, match="divide percent by 100"):
        stations_on_cube(one, cube.assign(clay_fraction=100 * cube.clay_fraction))
    with pytest.raises(VadoseError, match="Another legend"):
        stations_on_cube(one, cube.assign(land_cover=cube.land_cover + 0.5))


def test_the_real_stations_on_the_real_cube(real_data: Path, tmp_path: Path) -> None:
    """Ten stations of one year: those that the cells' own borders hold, and no other, are matched."""
    uscrn = tmp_path / "uscrn"
    uscrn.mkdir()
    for path in sorted((real_data / "uscrn_daily01/2016").glob("*.txt"))[::6]:
        (uscrn / path.name).symlink_to(path)
    made = build_stations(tmp_path / "s.zarr", uscrn=uscrn, metadata=real_data / "station_meta")
    stations = xr.open_zarr(made, consolidated=False)
    cube = open_cube(build_cube(real_data / "conusv4f1", tmp_path / "cube.zarr"))
    table = stations_on_cube(stations, cube)
    assert len(table) == stations.sizes["station"]
    matched = table.dropna(subset="row")
    assert 0 < len(matched) < len(table)
    half = cube.attrs["cell_size"] / 2000
    # The projection keeps areas: at 25 to 50 degrees a cell is 0.83 to 1.2 times its edge on the ground.
    assert matched.distance_km.max() < 1.2 * np.hypot(half, half)
    assert matched.in_mask.any()
    assert matched.igbp_group.notna().any()
    assert set(table.texture_from_0_10cm.dropna()) >= {"station"}
    assert not table.simulated.any()
    assert (table.days_0_10cm <= 366).all()
    assert table.days_0_10cm.max() > 200
    land_cover, texture = count_stations(table)
    assert land_cover["0_10cm"].to_numpy().sum() == (matched.in_mask & (matched.days_0_10cm > 0)).sum()
    assert texture.to_numpy().sum() >= land_cover["0_10cm"].to_numpy().sum()
    plot_stations(table, cube).savefig(tmp_path / "map.png")


def test_stations_enter_the_target_rescaled_to_their_cell(cube: xr.Dataset) -> None:
    rng = np.random.default_rng(0)
    y = rng.uniform(0.1, 0.3, (10, 3, 4)).astype(np.float32)
    cube = cube.isel(time=slice(0, 10)).assign(observed=(("time", "y", "x"), y))
    stations = store([place(cube, 0, 0), place(cube, 1, 1)])
    # Station 0: the cell's series in other units, with one day far off; station 1 never changes.
    series = 0.5 * y[:, 0, 0] + 0.1
    stations.soil_moisture[0, 0, 5:15] = series
    found = with_stations(cube, stations, "observed", "0-10 cm", 0.25, "2020-05-01", "2020-05-10")
    np.testing.assert_allclose(found.observed_with_stations, y, atol=1e-6)
    stations.soil_moisture[0, 0, 14] = np.nan
    stations.soil_moisture[0, 0, 5] += 0.1
    with pytest.raises(VadoseError, match="no station of 0-10 cm has ten days in common"):
        with_stations(cube, stations, "observed", "0-10 cm", 0.25, "2020-05-01", "2020-05-10")
    stations.soil_moisture[0, 0, 14] = series[9]
    found = with_stations(cube, stations, "observed", "0-10 cm", 0.25, "2020-05-01", "2020-05-10")
    s = np.asarray(stations.soil_moisture[0, 0, 5:15])
    scaled = y[:, 0, 0].mean() + y[:, 0, 0].std() / s.std() * (s - s.mean())
    expected = y.copy()
    expected[:, 0, 0] = 0.75 * y[:, 0, 0] + 0.25 * scaled
    np.testing.assert_allclose(found.observed_with_stations, expected, atol=1e-6)


def test_days_not_learnt_from_do_not_scale_the_stations(cube: xr.Dataset) -> None:
    y = np.tile(np.linspace(0.1, 0.3, 20, dtype=np.float32)[:, None, None], (1, 3, 4))
    days = pd.date_range("2020-04-26", periods=20)
    cube = cube.drop_vars("time").assign_coords(time=days).assign(observed=(("time", "y", "x"), y))
    stations = store([place(cube, 0, 0)])
    stations.soil_moisture[0, 0] = y[:, 0, 0]
    wild = stations.copy(deep=True)
    wild.soil_moisture[0, 0, 15:] = 0.9
    first, last = str(days[0].date()), str(days[14].date())
    same, other = (
        with_stations(cube, s, "observed", "0-10 cm", 0.5, first, last).observed_with_stations[:15]
        for s in (stations, wild)
    )
    np.testing.assert_array_equal(same, other)


def test_stations_are_found_on_rows_from_south_to_north(cube: xr.Dataset) -> None:
    stations = store([place(cube, row, column) for row in range(3) for column in range(4)])
    turned = cube.isel(y=[2, 0, 1], x=[3, 1, 0, 2]).transpose("x", "y", "time")
    pd.testing.assert_frame_equal(stations_on_cube(stations, cube), stations_on_cube(stations, turned))
