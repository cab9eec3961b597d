"""Named areas: counties and states by any spelling of their names, own polygons, exact shares of cells and means."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource

from vadose.areas import Area, counties, county_at, coverage, find, means, outlines, own_areas, states
from vadose.areas.borders import oriented
from vadose.errors import VadoseError
from vadose.grid import ease_grid

SQUARE = [[-97.0, 39.0], [-96.0, 39.0], [-96.0, 40.0], [-97.0, 40.0], [-97.0, 39.0]]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Riley", "20161"),
        ("riley county, kansas", "20161"),
        ("20161", "20161"),
        ("1001", "01001"),
        ("obrien ia", "19141"),
        ("Saint Louis city, Missouri", "29510"),
        ("St. Louis County, MO", "29189"),
        ("Dona Ana, NM", "35013"),
        ("La Salle, IL", "17099"),
        ("Orleans Parish, LA", "22071"),
        ("Richmond county, VA", "51159"),
        ("Virginia Beach, VA", "51810"),
        ("Carson City, NV", "32510"),
        ("Fairfield, CT", "09001"),
    ],
)
def test_a_county_is_found_by_what_people_write(text: str, code: str) -> None:
    assert find(text).code == code


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ("Rily, KS", "county", "did you mean 'Riley, KS'"),
        ("Riley, Kansaz", "county", "state 'Kansaz' unknown; did you mean 'Kansas' or 'Arkansas'"),
        ("Lincoln", "county", "24 have this name: Lincoln, AR"),
        ("Richmond, VA", "county", r"Richmond, VA \(51159\), Richmond city, VA \(51760\)"),
        ("99999", "county", "unknown; expected a name such as 'Riley, KS', or the FIPS code"),
        ("", "county", "unknown; expected"),
        ("Cansas", "state", "did you mean 'Kansas'"),
    ],
)
def test_a_name_that_is_none_or_of_several_says_what_to_write(text: str, kind: str, told: str) -> None:
    with pytest.raises(VadoseError, match=told):
        find(text, kind)


def test_counties_fill_their_states_and_hold_their_places() -> None:
    assert (len(counties()), sum(c.in_conus for c in counties()), sum(s.in_conus for s in states())) == (3231, 3108, 49)
    assert county_at(39.10, -96.60) is find("Riley, KS")
    assert county_at(36.0, -75.45) is None
    assert county_at(36.0, -75.45, within_km=30) is find("Dare, NC")
    assert 0 < len(outlines("state", (-97, 38, -93, 40))) < len(outlines("state"))
    kansas = find("KS", "state")
    edges = np.linspace(-103, -94, 31), np.linspace(36, 41, 21)
    parts = sum(coverage(county.rings, *edges) for county in counties("KS"))
    np.testing.assert_allclose(parts, coverage(kansas.rings, *edges), atol=1e-6)


def test_shares_of_cells_are_those_of_exactextract() -> None:
    hole = [[-96.7, 39.3], [-96.4, 39.35], [-96.5, 39.7], [-96.7, 39.3]]
    polygons = [
        find("Plaquemines, LA").rings,
        (oriented(np.array(SQUARE), hole=False), oriented(np.array(hole), hole=True)),
    ]
    for rings in polygons:
        west, south = np.concatenate(rings).min(axis=0) - 0.1
        x, y = west + np.arange(40) / 24, south + np.arange(40) / 24
        ours = coverage(rings, x, y)
        # Outer rings run anticlockwise here, and clockwise holes follow theirs.
        turns = [float(np.sum((r[1:, 0] + r[:-1, 0]) * np.diff(r[:, 1]))) for r in rings]
        parts: list[list[list[list[float]]]] = []
        for ring, turn in zip(rings, turns, strict=True):
            parts = [*parts, [ring.tolist()]] if turn > 0 else [*parts[:-1], [*parts[-1], ring.tolist()]]
        source = NumPyRasterSource(np.ones((39, 39)), xmin=x[0], xmax=x[-1], ymin=y[0], ymax=y[-1])
        feature = {"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": parts}}
        found = exact_extract(source, [feature], ["coverage", "cell_id"])[0]["properties"]
        theirs = np.zeros(39 * 39)
        theirs[np.array(found["cell_id"], int)] = found["coverage"]
        np.testing.assert_allclose(ours[::-1].ravel(), theirs, atol=1e-6)


def test_a_mean_of_an_area_is_the_same_on_any_grid_and_missing_cells_do_not_count() -> None:
    lat, lon = 41 - np.arange(96) / 24, -98 + np.arange(96) / 24
    on_degrees = xr.Dataset({"lat_": (("lat", "lon"), np.repeat(lat[:, None], 96, 1))}, {"lat": lat, "lon": lon})
    grid = ease_grid("3km").bounding_box(-98, 37, -94, 41)
    on_ease = grid.coordinates()
    on_ease["lat_"] = on_ease.lat.reset_coords(drop=True)
    of_state = [*counties("KS"), find("Falls Church city, VA")]
    one, other = means(on_degrees, of_state), means(on_ease, of_state)
    known = (one.area_covered > 0.99).values
    assert 20 < known.sum() < 105
    np.testing.assert_allclose(one.lat_[known], other.lat_[known], atol=2e-3)
    middle = np.mean(find("Riley, KS").box[1::2])
    assert float(one.lat_.sel(area="20161")) == pytest.approx(middle, abs=0.1)
    assert str(one.area_name.sel(area="20161").values) == "Riley, KS"
    assert np.isnan(one.lat_.sel(area="51610"))
    rows = on_degrees.rename(lat="y", lon="x").assign_attrs(grid_crs="EPSG:4326")
    np.testing.assert_array_equal(means(rows, of_state).lat_, one.lat_)
    half = on_degrees.where(on_degrees.lat > middle)
    assert float(means(half, [find("Riley, KS")], least=0.1).lat_[0]) > middle
    assert np.isnan(means(half.where(half.lon < -96.7), [find("Riley, KS")]).lat_[0])
    lazily = means(on_degrees.expand_dims(time=2).chunk(time=1, lat=10), of_state[:2])
    assert lazily.lat_.dims == ("time", "area")
    assert lazily.lat_.chunks is not None
    with pytest.raises(VadoseError, match="none of the 1 areas touches the grid"):
        means(on_degrees, [find("Dare, NC")])


def test_own_polygons_have_their_names_and_a_city_without_outline_a_cell(tmp_path: Path) -> None:
    path = tmp_path / "mine.geojson"
    geometry = {"type": "Polygon", "coordinates": [[point[::1] for point in SQUARE[::-1]]]}
    features = [
        {"type": "Feature", "properties": {"name": "north field"}, "geometry": geometry},
        {"geometry": geometry},
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    field, other = own_areas(path)
    assert (field.name, other.name, field.box) == ("north field", "polygon 2", (-97.0, 39.0, -96.0, 40.0))
    assert field.holds(39.5, -96.5)
    lat, lon = np.arange(36.0, 41, 0.25), np.arange(-98.0, -76, 0.25)
    ones = xr.Dataset({"v": (("lat", "lon"), np.ones((len(lat), len(lon))))}, {"lat": lat, "lon": lon})
    city = find("Falls Church city, VA")
    assert means(ones, [field, city]).v.values.tolist() == [1.0, 1.0]
    assert repr(city) == "Area(code='51610', name='Falls Church city, VA', state='VA')"


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("nothing", "not a GeoJSON file"),
        ({"type": "FeatureCollection", "features": []}, "an empty FeatureCollection; expected"),
        ({"type": "Point", "coordinates": [1, 2]}, "type 'Point'; expected"),
        ({"type": "Feature", "geometry": {"type": "LineString"}}, "feature 1 is a LineString; expected polygons"),
        ({"type": "Polygon", "coordinates": [[[500000, 4e6], [5e5, 4.1e6], [6e5, 4e6], [5e5, 4e6]]]}, "degrees"),
        ({"type": "Polygon", "coordinates": [[[1, 2], [3, 4]]]}, "a ring of 2 points"),
        ({"type": "Polygon", "coordinates": [[["a", 2], [3, 4]]]}, "no numbers"),
        (
            {
                "type": "Polygon",
                "coordinates": [SQUARE],
                "crs": {"properties": {"name": "urn:ogc:def:crs:EPSG::26914"}},
            },
            "coordinates are in urn:ogc:def:crs:EPSG::26914; export",
        ),
    ],
)
def test_polygons_that_cannot_be_read_say_why(told: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.geojson"
    path.write_text(told if isinstance(told, str) else json.dumps(told))
    with pytest.raises(VadoseError, match=message):
        own_areas(path)
    with pytest.raises(VadoseError, match="no such file"):
        own_areas(tmp_path / "other.geojson")


def test_an_area_is_itself() -> None:
    assert find("Riley, KS") is find("20161")
    assert isinstance(find("KS", "state"), Area)
