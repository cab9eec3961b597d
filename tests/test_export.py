"""Stores in the forms of others: each checked by the tool of its kind, and by its values."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pystac
import pystac.validation
import pytest
import rasterio
import xarray as xr
from rio_cogeo import cog_validate

from vadose import export
from vadose.artefact import provenance
from vadose.artefact.predictions import write_predictions
from vadose.door import as_forecasts, open_store
from vadose.errors import VadoseError
from vadose.grid import ease_grid
from vadose.predict.outlook import drought_class
from vadose.publish.export_cog import class_colours

GRID = ease_grid("36km").part(slice(47, 51), slice(151, 156))
TOLD = {"model": "lstm", "weather": "none", "scenario": "all", "layer": "0-10 cm", "dataset": "made up"}


def forecasts() -> xr.Dataset:
    """Three days of issue, two leads, 4 x 5 cells with one never known, of every kind of variable."""
    cells = (
        GRID.coordinates()
        .drop_vars("crs")
        .assign_coords(init_time=pd.date_range("2020-01-30", periods=3), lead_time=pd.to_timedelta([1, 7], unit="D"))
    )
    cells.attrs |= TOLD | {"simulated": "true", "causal": "true"} | provenance(seed=0)
    values = np.random.default_rng(0).uniform(0.1, 0.4, (3, 2, 4, 5)).astype(np.float32)
    values[..., 0, 0] = np.nan
    dims = ("init_time", "lead_time", "y", "x")
    cells["soil_moisture"] = dims, values
    cells["soil_moisture_std"] = cells.soil_moisture.drop_attrs() * 0.1
    of_year = {"long_name": "percentile of soil moisture", "units": "percent"}
    cells["soil_moisture_percentile"] = (cells.soil_moisture * 200).assign_attrs(of_year)
    cells["drought_class"] = drought_class(cells.soil_moisture_percentile)
    levels = xr.DataArray([0.05, 0.5], dims="quantile", coords={"quantile": [0.05, 0.5]})
    cells["soil_moisture_quantile"] = (cells.soil_moisture + levels - levels).transpose(
        *dims[:2], "quantile", *dims[2:]
    )
    moisture = {"standard_name": "volume_fraction_of_condensed_water_in_soil", "units": "m3 m-3"}
    cells["soil_moisture_quantile"].attrs = moisture | {"long_name": "quantile of soil moisture"}
    return cells


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a store of forecasts, ``f.zarr``, which tests write beside."""
    folder = tmp_path_factory.mktemp("export")
    write_predictions(folder / "f.zarr", forecasts(), "daily forecasts of soil moisture")
    return folder


def test_netcdf_is_clean_of_any_remark_and_reads_as_the_store_does(
    folder: Path, checker: Callable[..., tuple[int, str]]
) -> None:
    path = export(folder / "f.zarr", "netcdf", folder / "f.nc")
    failed, said = checker(path)
    assert not failed, said
    ours, theirs = (as_forecasts(open_store(folder / name), name) for name in ("f.zarr", "f.nc"))
    for name in ours.data_vars:
        np.testing.assert_array_equal(theirs[name].transpose(*ours[name].dims), ours[name])
    with rasterio.open(f"netcdf:{path}:soil_moisture") as file:
        assert (file.crs.to_epsg(), file.count) == (6933, 6)
        assert file.transform.almost_equals(rasterio.Affine(*affine()), 1e-3)


def affine() -> tuple[float, ...]:
    left, top, step = GRID.transform
    return step, 0.0, left, 0.0, -step, top


def test_gdal_of_before_3_11_reads_where_a_copy_of_format_2_lies(folder: Path) -> None:
    path = export(folder / "f.zarr", "zarr2", folder / "f2.zarr")
    with rasterio.open(f'ZARR:"{path}":/soil_moisture:0:0') as file:
        assert file.crs.to_epsg() == 6933
        assert file.transform.almost_equals(rasterio.Affine(*affine()), 1e-3)
        np.testing.assert_array_equal(file.read(1), forecasts().soil_moisture[0, 0])
    assert xr.open_zarr(path).drought_class.encoding["_FillValue"] == -128  # warnings are errors here
    assert export(folder / "f.zarr", "zarr2", path) == path  # one is replaced


def test_geotiffs_are_strict_with_overviews_names_and_colours(folder: Path) -> None:
    out = export(folder / "f.zarr", "cog", folder / "cog", days=("latest", "latest"))
    files = sorted(file.name for file in out.glob("*.tif"))
    colours = [f"{name}_2020-02-01_lead{lead}" for name in ("drought_class", "soil_moisture") for lead in ("01", "07")]
    assert files == sorted(
        ["soil_moisture_2020-02-01.tif", *(f"{name}{'_colours' * ('soil' in name)}.tif" for name in colours)]
    )
    for file in out.glob("*.tif"):
        assert cog_validate(file, strict=True, quiet=True) == (True, [], [])
    with rasterio.open(out / "soil_moisture_2020-02-01.tif") as file:
        assert file.descriptions[1] == "soil_moisture, lead 7 d, 2020-02-08"
        assert "soil_moisture_quantile 0.05, lead 1 d, 2020-02-02" in file.descriptions
        assert (file.crs.to_epsg(), file.count, file.units[0]) == (6933, 10, "m3 m-3")
        np.testing.assert_array_equal(file.read(2), forecasts().soil_moisture[2, 1])
    with rasterio.open(out / "drought_class_2020-02-01_lead07.tif") as file:
        assert file.colormap(1)[4] == class_colours()[4] == (115, 0, 0, 255)
        assert file.read(1)[0, 0] == file.nodata == 255
        assert file.tags(1)["flag_values"] == "-1 0 1 2 3 4"


def test_a_table_has_a_row_for_each_day_lead_and_cell(folder: Path) -> None:
    table = pd.read_csv(path := export(folder / "f.zarr", "csv", folder / "f.csv", leads=[7]))
    assert len(table) == 3 * 19  # one cell has no value
    first = table.iloc[0]
    assert (first.init_time, first.lead_days, first.time) == ("2020-01-30", 7, "2020-02-06")
    data = forecasts()
    assert first.soil_moisture == pytest.approx(float(data.soil_moisture[0, 1, 0, 1]))
    assert (first.lat, first.lon) == pytest.approx((float(data.lat[0, 1]), float(data.lon[0, 1])))
    assert first["soil_moisture_quantile_0.05"] == pytest.approx(first.soil_moisture, rel=1e-5)
    told = json.loads(path.with_name("f.csv-metadata.json").read_text())
    units = {column["name"]: column["unit"] for column in told["tableSchema"]["columns"]}
    assert list(units) == list(table)
    assert (units["soil_moisture_quantile_0.05"], units["lead_days"]) == ("m3 m-3", "day")


def test_means_of_areas_weigh_cells_and_give_shares_of_classes(folder: Path) -> None:
    grid, data = GRID, forecasts()
    west, east = (float(grid.latlon(0, column)[1]) for column in (1, 2))
    edges = [float(grid.latlon(row, 0)[0]) for row in (0, 3)]
    ring = [[west, edges[1]], [east, edges[1]], [east, edges[0]], [west, edges[0]], [west, edges[1]]]
    areas = folder / "basin.geojson"
    areas.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    table = pd.read_csv(export(folder / "f.zarr", "csv", folder / "b.csv", by=str(areas)))
    assert len(table) == 6
    weights = np.outer([0.5, 1, 1, 0.5], [0, 0.5, 0.5, 0, 0])
    mean = np.nansum(data.soil_moisture[0, 0].values * weights) / weights.sum()
    assert table.soil_moisture[0] == pytest.approx(mean, rel=1e-4)
    drier = float(((data.soil_moisture_percentile[0, 0] <= 30).values * weights).sum() / weights.sum())
    assert table.drought_d0_share[0] == pytest.approx(drier, abs=1e-4)
    assert "drought_class" not in table


def test_a_catalogue_entry_is_valid_stac_with_its_extensions(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = export(folder / "f.zarr", "stac", folder / "stac")
    collection = pystac.Collection.from_file(str(out / "collection.json"))
    (item,) = collection.get_items()
    for of in (collection, item):
        said = of.to_dict()
        core = {**said, "stac_extensions": []}
        pystac.validation.validate_dict(core)
        extensions_are_valid(said)
    href = Path(out, item.id, item.assets["store"].href)
    assert (href / "zarr.json").exists()
    assert item.properties["proj:code"] == "EPSG:6933"
    assert item.properties["proj:transform"] == pytest.approx(affine())
    assert item.properties["cube:dimensions"]["lead_time"]["values"] == [1, 7]
    assert item.properties["start_datetime"].startswith("2020-01-31")
    assert item.bbox == pytest.approx([-123.61, 48.37, -121.74, 50.08], abs=0.01)


def extensions_are_valid(said: dict) -> None:
    """The fields of projection, datacube and raster, by what their schemas ask."""
    import jsonschema

    schemas = json.loads((Path(__file__).parent / "stac_extensions.json").read_text())
    assert said["stac_extensions"]
    for uri in said["stac_extensions"]:
        jsonschema.validate(said, schemas[uri])


@pytest.mark.parametrize(
    ("to", "how", "expected"),
    [
        ("shapefile", {}, "--to 'shapefile': expected one of netcdf, cog, zarr2, csv, parquet, stac"),
        ("csv", {"variables": ["ndvi"]}, "no variable ndvi to export; it has soil_moisture"),
        ("csv", {"days": ("2021-01-01", "2021-01-02")}, "it holds 2020-01-30 .. 2020-02-01 (3 days)"),
        ("csv", {"leads": [3]}, "no leads [3] days; it has [1, 7]"),
        ("csv", {"layer": "10-40 cm"}, "no layer '10-40 cm'; it has 0-10 cm"),
        ("cog", {"by": "county"}, "means of areas are no map; export them to csv, parquet, netcdf, not cog"),
        ("csv", {"by": "none.geojson"}, "none.geojson: no such file"),
    ],
)
def test_what_cannot_be_written_is_refused_in_a_line(folder: Path, to: str, how: dict, expected: str) -> None:
    with pytest.raises(VadoseError, match=r".") as error:
        export(folder / "f.zarr", to, folder / "no" / "x", **how)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(folder.glob("no/*"))


def test_parquet_without_its_library_is_refused_in_a_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(VadoseError, match="Parquet is written by pyarrow, not installed; pip install pyarrow"):
        export(folder / "f.zarr", "parquet", folder / "f.parquet")
    assert not (folder / "f.parquet").exists()


def test_stations_become_a_table_and_no_map(folder: Path) -> None:
    days = pd.date_range("2020-01-01", periods=4)
    stations = xr.Dataset(
        {"soil_moisture": (("station", "layer", "time"), np.full((2, 1, 4), 0.2))},
        {"station": ["a", "b"], "layer": ["0-10 cm"], "time": days}
        | {"lat": ("station", [40.0, 41.0]), "lon": ("station", [-100.0, -99.0])},
    )
    stations.to_netcdf(folder / "s.nc")
    table = pd.read_csv(export(folder / "s.nc", "csv", folder / "s.csv"))
    assert (len(table), table.station[7], table.lat[7], table.time[7]) == (8, "b", 41.0, "2020-01-04")
    with pytest.raises(VadoseError, match="holds stations, which are no map"):
        export(folder / "s.nc", "cog", folder / "s")
