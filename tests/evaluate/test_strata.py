import json

import numpy as np
import pytest
import xarray as xr

from vadose.errors import VadoseError
from vadose.evaluation import strata_of
from vadose.evaluation.strata import classes, crossed


def fields() -> dict[str, tuple[tuple[str, str], np.ndarray]]:
    """Land cover and soil of 8 x 9 cells: sand in the west, clay in the east at 5 cm, loam at 30 cm."""
    cover = np.full((8, 9), 12.0)
    cover[2:] = 8
    cover[7, 8] = np.nan
    sand, clay = np.full((8, 9), 0.9), np.full((8, 9), 0.05)
    sand[:, 5:], clay[:, 5:] = 0.2, 0.6
    named = {
        "land_cover": cover,
        "sand_fraction_5cm": sand,
        "silt_fraction_5cm": 1 - sand - clay,
        "clay_fraction_5cm": clay,
        "sand_fraction_30cm": 0 * sand + 0.4,
        "silt_fraction_30cm": 0 * sand + 0.4,
        "clay_fraction_30cm": 0 * sand + 0.2,
    }
    return {name: (("y", "x"), values) for name, values in named.items()}


@pytest.fixture
def cube(small_cube: xr.Dataset) -> xr.Dataset:
    return small_cube.drop_vars(["sand_fraction", "silt_fraction", "clay_fraction"]).assign(fields())


def test_cells_have_the_classes_of_their_fields(cube: xr.Dataset) -> None:
    found = strata_of(cube, layer="0-10 cm")
    assert set(found) == {"land_cover", "texture", "texture_class"}
    assert found["land_cover"].shape == (8, 9)
    without_silt = strata_of(cube.drop_vars("silt_fraction_5cm"), layer="0-10 cm")
    np.testing.assert_array_equal(without_silt["texture_class"], found["texture_class"])
    assert found["land_cover"][1, 0] == "cropland"
    assert found["land_cover"][2, 0] == "savanna"
    assert found["land_cover"][7, 8] == ""
    assert found["texture_class"][0, 0] == "sand"
    assert found["texture"][0, 0] == "coarse"
    assert found["texture_class"][0, 8] == "clay"
    assert found["texture"][0, 8] == "fine"
    assert set(strata_of(cube, layer="10-40 cm")["texture_class"].ravel()) == {"loam"}


def test_fractions_that_do_not_add_up_are_of_no_texture(cube: xr.Dataset) -> None:
    cube["sand_fraction_5cm"] = cube.sand_fraction_5cm.where(cube.sand_fraction_5cm.x > cube.x[0], 0.0)
    cube["silt_fraction_5cm"] = cube.silt_fraction_5cm.where(cube.x > cube.x[0], 0.1)
    found = strata_of(cube)["texture"]
    assert set(found[:, 0]) == {""}
    assert set(found[:, 1]) == {"coarse"}


def test_stations_have_the_classes_of_their_cell(cube: xr.Dataset) -> None:
    cube["learnt"] = ("y", "x"), np.arange(72).reshape(8, 9) % 2 == 1
    cube = cube.assign_coords(koeppen=(("y", "x"), np.full((8, 9), "BSk", object)))
    stations = xr.Dataset(
        coords={
            "station": ["a", "b", "c"],
            "layer": ["0-10 cm"],
            "network": ("station", ["SCAN", "USCRN", "SCAN"]),
            "lat": ("station", [cube.lat.values[0, 1], cube.lat.values[4, 6], 0.0]),
            "lon": ("station", [cube.lon.values[0, 1], cube.lon.values[4, 6], 0.0]),
        }
    )
    found = {kind: labels.tolist() for kind, labels in strata_of(stations, cube).items()}
    assert found == {
        "network": ["SCAN", "USCRN", "SCAN"],
        "land_cover": ["cropland", "savanna", ""],
        "texture_class": ["sand", "clay", ""],
        "texture": ["coarse", "fine", ""],
        "koeppen": ["BSk", "BSk", ""],
        "split": ["trained", "new", ""],
    }
    assert set(strata_of(stations)) == {"network"}


def test_without_a_map_texture_is_that_of_the_soil_sampled() -> None:
    fractions = np.array([[0.9, 0.4], [0.1, 0.4]])  # (station, depth)
    stations = xr.Dataset(
        {
            "sand_fraction": (("station", "depth"), fractions),
            "silt_fraction": (("station", "depth"), 1 - fractions),
            "clay_fraction": (("station", "depth"), 0 * fractions),
        },
        coords={"station": ["a", "b"], "layer": ["0-10 cm", "10-40 cm"], "depth": [5, 20]},
        attrs={"layer_depths": json.dumps({"0-10 cm": 5, "10-40 cm": 20})},
    )
    assert strata_of(stations, layer="0-10 cm")["texture_class"].tolist() == ["sand", "silt"]
    assert strata_of(stations, layer="10-40 cm")["texture_class"].tolist() == ["silt loam", "silt loam"]


def test_a_mean_of_land_covers_is_refused(cube: xr.Dataset) -> None:
    with pytest.raises(VadoseError, match="classes averaged over cells"):
        strata_of(cube.assign(land_cover=cube.land_cover + 0.3))


def test_classes_and_crossed_labels_leave_out_the_unknown() -> None:
    labels = {"network": np.array(["A", "B", "A"], object), "land_cover": np.array(["x", "x", ""], object)}
    found = {(kind, name): at.tolist() for kind, name, at in classes(labels)}
    assert found == {("network", "A"): [0, 2], ("network", "B"): [1], ("land_cover", "x"): [0, 1]}
    assert crossed(labels, "network", "land_cover").tolist() == ["A / x", "B / x", ""]
