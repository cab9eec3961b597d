"""Cells are found by coordinate and stations by name."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from vadose.door.place import Place
from vadose.errors import VadoseError
from vadose.grid import ease_grid

GRID = ease_grid("9km").part(slice(300, 312), slice(800, 815))
WHOLE = Place.of(GRID.coordinates())


@given(st.integers(0, 10), st.integers(1, 12), st.integers(0, 13), st.integers(1, 15), st.booleans(), st.booleans())
def test_a_part_is_found_in_single_precision_and_any_direction(
    top: int, rows: int, left: int, columns: int, single: bool, turned: bool
) -> None:
    part = GRID.coordinates().isel(y=slice(top, top + rows), x=slice(left, left + columns))
    if single:
        part = part.assign_coords(y=part.y.astype(np.float32), x=part.x.astype(np.float32))
    if turned:
        part = part.isel(y=slice(None, None, -1))
    found = WHOLE.find(Place.of(part), "run and cube")
    expected = range(top, min(top + rows, 12))
    assert found[0].tolist() == list(expected)[:: -1 if turned else 1]
    assert found[1].tolist() == list(range(left, min(left + columns, 15)))


def test_it_is_kept_as_plain_values() -> None:
    assert Place.from_dict(WHOLE.to_dict()) == WHOLE
    lists = {key: list(value) if isinstance(value, tuple) else value for key, value in WHOLE.to_dict().items()}
    assert Place.from_dict(lists) == WHOLE


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (replace(WHOLE, x=tuple(x + 0.001 * WHOLE.cell for x in WHOLE.x)), "180 of 180 cells of the second"),
        (replace(WHOLE, y=(WHOLE.y[0] + WHOLE.cell, *WHOLE.y[:-1])), "15 of 180 cells of the second"),
        (
            Place.of(ease_grid("36km").part(slice(75, 78), slice(200, 204)).coordinates()),
            "the first has cells of 9008.06, the second of 36032.2",
        ),
        (replace(WHOLE, crs="EPSG:4326"), "the first is in EPSG:6933, the second in EPSG:4326"),
        (replace(WHOLE, stations=("a",)), "the first is of the cells of a grid, the second of stations"),
    ],
)
def test_another_place_is_refused(other: Place, message: str) -> None:
    with pytest.raises(VadoseError, match=f"^run and cube: .*{message}"):
        WHOLE.find(other, "run and cube")


def stations(*names: str) -> Place:
    coords = {"y": np.arange(len(names)) * 1.0, "x": [0.0], "station": ("y", list(names))}
    return Place.of(xr.Dataset(coords=coords, attrs={"grid_crs": "", "cell_size": 1.0, "grid_step": 1.0}))


def test_stations_are_found_by_name() -> None:
    rows, columns = stations("a", "b", "c").find(stations("c", "a"), "run and cube")
    assert rows.tolist() == [2, 0]
    assert columns.tolist() == [0]
    with pytest.raises(VadoseError, match="1 of 2 stations are not among the first's 3, such as d"):
        stations("a", "b", "c").find(stations("c", "d"), "run and cube")
    with pytest.raises(VadoseError, match="1 stations come more than once, such as a"):
        stations("a", "b").find(stations("a", "a"), "run and cube")


def test_without_a_projection_latitude_and_longitude_decide() -> None:
    def numbered(west: float) -> Place:
        lon, lat = np.meshgrid(west + np.arange(3.0), [41.0, 40.0])
        fields = {"lat": (("y", "x"), lat), "lon": (("y", "x"), lon)}
        return Place.of(xr.Dataset(coords={"y": [0.0, 1.0], "x": [0.0, 1.0, 2.0], **fields}))

    assert numbered(-100).find(numbered(-100), "run and cube")[1].tolist() == [0, 1, 2]
    with pytest.raises(VadoseError, match="6 of 6 cells"):
        numbered(-100).find(numbered(-99), "run and cube")


def test_every_other_cell_is_found_and_yet_lies_further_apart() -> None:
    sparse = Place.of(ease_grid("9km").part(slice(300, 312, 2), slice(800, 815, 2)).coordinates())
    assert WHOLE.find(sparse, "run and cube")[0].tolist() == [0, 2, 4, 6, 8, 10]
    with pytest.raises(VadoseError, match=r"run and cube: the first's cells are 9008.06 apart, the second's 18016.1"):
        WHOLE.check_steps(sparse, "run and cube")
    elsewhere = Place.of(ease_grid("9km").part(slice(100, 101), slice(500, 510)).coordinates())
    WHOLE.check_cells(elsewhere, "run and cube")
    WHOLE.check_steps(elsewhere, "run and cube")
