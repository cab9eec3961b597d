import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vadose.errors import VadoseError
from vadose.grid import Grid, ease_grid, grid_of

# Published by NSIDC: rows x columns, cell [m], first cell centre (lon, lat).
PUBLISHED = {
    "36km": ((406, 964), 36032.220840584, (-179.813278, 83.631975)),
    "9km": ((1624, 3856), 9008.055210146, (-179.953320, 84.656419)),
    "3km": ((4872, 11568), 3002.6850700487, (-179.984440, 84.911902)),
    "1km": ((14616, 34704), 1000.89502334956, (-179.994813, 84.999955)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_ease_grid_has_the_published_corner_size_and_first_centre(name: str) -> None:
    shape, cell, (lon, lat) = PUBLISHED[name]
    grid = ease_grid(name)
    assert grid.shape == shape
    assert grid.cell == pytest.approx(cell, abs=1e-6)
    assert grid.transform[:2] == (-17367530.4451615, 7314540.8306386)
    found_lat, found_lon = grid.latlon(0, 0)
    assert (float(found_lon), float(found_lat)) == pytest.approx((lon, lat), abs=1e-6)


def test_a_9_km_cell_holds_90_by_90_cells_of_100_m() -> None:
    fine, coarse = ease_grid("100m"), ease_grid("9km")
    assert fine.shape == (coarse.shape[0] * 90, coarse.shape[1] * 90)
    assert fine.x[:90].mean() == pytest.approx(coarse.x[0], abs=1e-3)
    assert fine.y[-90:].mean() == pytest.approx(coarse.y[-1], abs=1e-3)


@given(st.sampled_from(["36km", "9km", "1km", "100m"]), st.floats(0, 1), st.floats(0, 1))
def test_row_and_column_of_a_centre_are_its_own(name: str, down: float, across: float) -> None:
    grid = ease_grid(name)
    row, column = int(down * (grid.shape[0] - 1)), int(across * (grid.shape[1] - 1))
    assert [int(v) for v in grid.rowcol(*grid.latlon(row, column))] == [row, column]


def test_points_off_the_grid_have_no_cell() -> None:
    grid = ease_grid("9km").bounding_box(-125, 25, -66.5, 49.5)
    row, column = grid.rowcol([40.0, 10.0, 88.0, np.nan], [-100.0, -100.0, -100.0, -100.0])
    assert (row[0] >= 0, row[1:].tolist(), column[1:].tolist()) == (True, [-1, -1, -1], [-1, -1, -1])


def test_a_lattice_of_every_fourth_cell_leaves_the_others_out() -> None:
    whole = ease_grid("36km")
    lattice = whole.part(slice(47, 119, 4), slice(151, 303, 4))
    assert lattice.shape == (18, 38)
    assert lattice.latlon(1, 2)[0] == pytest.approx(whole.latlon(51, 159)[0])
    assert [int(v) for v in lattice.rowcol(*whole.latlon(51, 159))] == [1, 2]
    assert [int(v) for v in lattice.rowcol(*whole.latlon(52, 159))] == [-1, -1]


def test_a_dataset_knows_its_grid() -> None:
    lattice = ease_grid("36km").part(slice(47, 119, 4), slice(151, 303, 4))
    found = grid_of(lattice.coordinates())
    assert (found.crs, found.shape, found.cell) == (lattice.crs, lattice.shape, lattice.cell)
    assert found.transform == pytest.approx(lattice.transform)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: ease_grid("25km"), "unknown; choose from"),
        (lambda: ease_grid("36km").bounding_box(10, 50, 5, 60), "no cell centre lies"),
        (lambda: ease_grid("36km").part(slice(0, 8, 4), slice(0, 8, 2)), "equal and positive"),
        (lambda: ease_grid("36km").part(slice(5, 5), slice(0, 8)), "hold no cell"),
    ],
)
def test_wrong_grids_are_refused(act: "type[Grid]", message: str) -> None:
    with pytest.raises(VadoseError, match=message):
        act()
