import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
import xarray as xr
import zarr
from distributed import LocalCluster
from rio_cogeo import cog_validate

from vadose.artefact import provenance
from vadose.door import by_day
from vadose.errors import VadoseError
from vadose.features import derive
from vadose.grid import Grid, ease_grid, raster_coordinates
from vadose.models import MODELS, from_checkpoint, to_checkpoint
from vadose.models.domain import domain_distance, training_domain
from vadose.models.mixture import mixture
from vadose.models.mmnet import Features, Fine, example_fine
from vadose.parallel.running import Running
from vadose.predict import maps as module
from vadose.predict.calibration import QUANTILES, Calibration, interval
from vadose.predict.coarse import as_coarse
from vadose.predict.map_files import create_maps
from vadose.predict.map_networks import Members
from vadose.predict.maps import downscale_maps
from vadose.publish.export_cog import RAMP, colours, steps_of, style, write_cog

SNAPSHOT = ("ndvi", "elevation", "clay_fraction", "soil_moisture_smap_l4", "latitude", "longitude", "season_sine")
SERIES = ("precipitation", "shortwave_radiation", "surface_temperature")
DAYS = pd.date_range("2020-06-29", periods=3)
LENGTH = 4
ROWS, COLUMNS = 61, 83


@pytest.fixture(scope="module")
def grid() -> Grid:
    whole = ease_grid("100m")
    row, column = (int(v) for v in whole.rowcol(39.0, -98.0))
    return whole.part(slice(row, row + ROWS), slice(column, column + COLUMNS))


@pytest.fixture(scope="module")
def fine(grid: Grid) -> xr.Dataset:
    rng = np.random.default_rng(0)
    data = grid.coordinates().assign_coords(time=DAYS)
    data["elevation"] = ("y", "x"), rng.normal(500, 90, grid.shape).astype(np.float32)
    data["clay_fraction"] = ("y", "x"), rng.random(grid.shape).astype(np.float32)
    data["ndvi"] = ("time", "y", "x"), rng.random((3, *grid.shape)).astype(np.float32)
    data.ndvi.values[:, 10:20, :30] = np.nan  # a cloud
    for name in ("ndvi", "elevation", "clay_fraction"):
        data[name].values[..., 50:, 70:] = np.nan  # outside of every product
    data.attrs |= {"simulated": "true", "mode": "causal"} | provenance(seed=0)
    return data


@pytest.fixture(scope="module")
def coarse(grid: Grid) -> list[xr.Dataset]:
    """Weather on degrees, north up; temperature of the surface at 1 km; SMAP at 9 km."""
    rng = np.random.default_rng(1)
    time = pd.date_range(DAYS[0] - pd.Timedelta(days=9), DAYS[-1])
    lat, lon = grid.latlon(ROWS // 2, COLUMNS // 2)
    weather = raster_coordinates("EPSG:4326", (float(lon) - 0.1, float(lat) + 0.1, 1 / 24, 1 / 24), (5, 5))
    shape = (len(time), 5, 5)
    weather = weather.assign_coords(time=time)
    weather["precipitation"] = ("time", "lat", "lon"), rng.gamma(0.3, 12.0, shape)
    weather["shortwave_radiation"] = ("time", "lat", "lon"), rng.normal(250, 60, shape)
    weather.attrs |= {"simulated": "true"} | provenance(seed=1)
    nested = []
    for resolution, name, mean in (("1km", "surface_temperature", 300.0), ("9km", "soil_moisture_smap_l4", 0.2)):
        box = ease_grid(resolution)
        top, left = box.rowcol(*(float(v) for v in grid.latlon(0, 0)))
        bottom, right = box.rowcol(*(float(v) for v in grid.latlon(ROWS - 1, COLUMNS - 1)))
        part = box.part(slice(int(top), int(bottom) + 1), slice(int(left), int(right) + 1))
        data = part.coordinates().assign_coords(time=time)
        data[name] = ("time", "y", "x"), rng.normal(mean, 0.05 * mean, (len(time), *part.shape)).astype(np.float32)
        data[name].values[7, :1] = np.nan
        data.attrs |= provenance(seed=resolution)
        nested.append(data)
    return [weather, *nested]


def made(
    name: str,
    seed: int = 0,
    series: tuple[str, ...] = SERIES,
    days: int = LENGTH,
    snapshot: tuple[str, ...] = SNAPSHOT,
    **hyper: Any,
) -> dict[str, Any]:
    """A network that has seen some data, as its checkpoint."""
    torch.manual_seed(seed)
    features = Features(snapshot, series, days=days)
    model = MODELS[name](features, **hyper)
    columns = [SNAPSHOT.index(feature) for feature in snapshot]
    scale = torch.tensor([1.0, 100.0, 1.0, 0.1, 1.0, 1.0, 1.0])[columns]
    shift = torch.tensor([0.0, 450.0, 0.0, 0.15, 39.0, -98.0, 0.0])[columns]
    example = example_fine(features, batch=256)
    example = Fine(example.snapshot * scale + shift, example.series * 100)
    model.fit_normalisation([(example, 0.2 + 0.1 * torch.rand(256))])
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm1d):
            layer.momentum = 1.0
    model.train()(example)
    return to_checkpoint(name, hyper, model) | {"domain": None, "attributes": {"mode": "causal"}}


@pytest.fixture
def saved(tmp_path: Path) -> Any:
    def save(checkpoint: dict[str, Any]) -> Path:
        path = tmp_path / "selected.pt"
        torch.save(checkpoint, path)
        return path

    return save


def plain(checkpoint: dict[str, Any], fine: xr.Dataset, coarse: list[xr.Dataset], day: pd.Timestamp) -> torch.Tensor:
    """Mean and deviation (2, y, x) by the network for each pixel, its features found by xarray's own nearest."""
    model = from_checkpoint(checkpoint)
    lat, lon = fine.lat.rename(None), fine.lon.rename(None)

    def at(name: str, when: Any) -> xr.DataArray:
        source = next(data for data in coarse if name in data)[name].sel(time=when)
        if "lat" in source.dims:
            return source.sel(lat=lat, lon=lon, method="nearest").drop_vars(["lat", "lon"])
        return source.drop_vars(["lat", "lon"]).sel(y=fine.y, x=fine.x, method="nearest")

    angle = 2 * np.pi * (day - pd.Timestamp("1970-01-01")).days / 365.2425
    fields = [
        fine.ndvi.sel(time=day),
        fine.elevation,
        fine.clay_fraction,
        at("soil_moisture_smap_l4", day),
        fine.lat,
        fine.lon,
        xr.full_like(fine.elevation, np.sin(angle)),
    ]
    features = model.features
    columns = [SNAPSHOT.index(name) for name in features.snapshot]
    snapshot = np.stack([field.values.ravel() for field in fields], axis=1)[:, columns]
    before = pd.date_range(end=day - pd.Timedelta(days=1), periods=features.days)
    series = np.stack(
        [at(name, before).transpose("time", "y", "x").values.reshape(features.days, -1) for name in features.series],
        axis=-1,
    ).swapaxes(0, 1)
    with torch.no_grad():
        both = model.distribution(Fine(torch.tensor(snapshot).float(), torch.tensor(series).float()))
    return torch.stack(both).reshape(2, *fine.elevation.shape)


def opened(path: Path) -> xr.Dataset:
    return by_day(xr.open_zarr(path, consolidated=False, decode_coords="all"))


@pytest.mark.parametrize("name", ["mmnet", "long_mmnet", "mlp", "transformer_full"])
def test_a_map_is_the_network_for_each_pixel(name, fine, coarse, saved, tmp_path) -> None:
    checkpoint = made(name, gaussian=name == "mmnet")
    days = DAYS if name == "mmnet" else DAYS[1:2]
    found = opened(downscale_maps(saved(checkpoint), fine, coarse, days, tmp_path / "m.zarr", tile=40))
    outside = np.zeros(fine.elevation.shape, bool)
    outside[50:, 70:] = True
    for day in days:
        mean, std = (v.numpy() for v in plain(checkpoint, fine, coarse, day))
        values = found.soil_moisture.sel(time=day).values
        assert np.array_equal(np.isnan(values), outside)
        np.testing.assert_allclose(values[~outside], mean[~outside], atol=1e-5)
        if name == "mmnet":
            np.testing.assert_allclose(found.soil_moisture_std.sel(time=day).values[~outside], std[~outside], atol=1e-5)
    assert ("soil_moisture_std" in found) == (name == "mmnet")
    assert float(found.soil_moisture.std()) > 1e-3


def test_the_lstm_of_each_pixel_is_run_where_no_history_is_shared(fine, coarse, saved, tmp_path) -> None:
    checkpoint = made("long_mmnet", repeated=("clay_fraction",), hidden=8, width=8)
    found = opened(downscale_maps(saved(checkpoint), fine, coarse, DAYS[:1], tmp_path / "m.zarr"))
    expected = plain(checkpoint, fine, coarse, DAYS[0])[0].numpy()
    np.testing.assert_allclose(found.soil_moisture[0].values[:50], expected[:50], atol=1e-5)


@pytest.mark.parametrize("where", ["degrees", "EASE-Grid"])
def test_buckets_are_filled_by_the_rain_of_a_coarse_field(where, fine, coarse, saved, tmp_path) -> None:
    rain = coarse[0] if where == "degrees" else coarse[2].drop_vars(["lat", "lon"])
    rng = np.random.default_rng(2)
    shape = tuple(rain.sizes[d] for d in ("time", *[d for d in rain.dims if d != "time"]))
    dims = ("time", *[d for d in rain.dims if d != "time"])
    rain = rain.assign(
        precipitation=(dims, rng.gamma(0.5, 12.0, shape)),
        air_temperature_max=(dims, rng.normal(298, 3, shape)),
        air_temperature_min=(dims, rng.normal(288, 3, shape)),
    )
    spoilt = rain.copy(deep=True)
    spoilt.precipitation.values[0, 0, 0] = -9999.0
    rain = spoilt.where(spoilt.precipitation != -9999.0).assign_attrs(rain.attrs)
    given = [spoilt, *(data for data in coarse[1:] if data is not coarse[2] or where == "degrees")]
    checkpoint = made("mmnet", series=("surface_temperature", "bucket_25mm"))
    found = opened(downscale_maps(saved(checkpoint), fine, given, DAYS[:1], tmp_path / "m.zarr"))
    lat = rain["lat"] if where == "degrees" else coarse[2].lat
    told = [
        derive(rain.assign_coords(lat=lat), ["bucket_25mm"], ("days",)).drop_vars("lat").assign_coords(rain.coords),
        *given[1:],
    ]
    told = [told[0].assign_coords(lat=lat, lon=coarse[2].lon), *told[1:]] if where != "degrees" else told
    expected = plain(checkpoint, fine, told, DAYS[0])[0].numpy()
    np.testing.assert_allclose(found.soil_moisture[0].values[:50], expected[:50], atol=1e-5)
    without = [data.drop_vars("precipitation", errors="ignore") for data in given]
    with pytest.raises(VadoseError, match="bucket_25mm"):
        downscale_maps(saved(checkpoint), fine, without, DAYS[:1], tmp_path / "n.zarr")


def test_single_values_outside_are_missing_and_counted_and_more_are_refused(fine, coarse, saved, tmp_path) -> None:
    path = saved(made("mmnet"))
    (weather, warm, smap), given = [data.copy(deep=True) for data in coarse], fine.copy(deep=True)
    weather.precipitation.values[8, 2, 2] = -9999.0
    smap.soil_moisture_smap_l4.values[9, -1, -1] = np.inf
    given.elevation.values[30, 40:42] = -9999.0
    given.ndvi.values[1, 3, 4] = 1e20
    missing = [data.where(np.isfinite(data) & (data != -9999.0)) for data in (weather, smap)]
    clean = given.where(np.isfinite(given) & (given != -9999.0) & (given < 1e20)).assign_attrs(fine.attrs)
    clean = clean.assign_coords(fine.coords)
    two = opened(downscale_maps(path, given, [weather, warm, smap], DAYS, tmp_path / "a.zarr", tile=41))
    whole = opened(downscale_maps(path, given, [weather, warm, smap], DAYS, tmp_path / "b.zarr"))
    same = opened(downscale_maps(path, clean, [missing[0], warm, missing[1]], DAYS, tmp_path / "c.zarr"))
    expected = {"elevation": 2, "ndvi": 1, "precipitation": 1, "soil_moisture_smap_l4": 1}
    assert json.loads(two.values_outside) == json.loads(whole.values_outside) == expected
    assert "outside" not in whole.attrs
    assert "values_outside" not in same.attrs
    np.testing.assert_array_equal(whole.soil_moisture, same.soil_moisture)
    with pytest.raises(VadoseError, match=r"coarse field 'soil_moisture_smap_l4'.* lie outside"):
        downscale_maps(path, fine, [weather, warm, smap * 100], DAYS, tmp_path / "d.zarr")
    with pytest.raises(VadoseError, match="of elevation lie outside"):
        downscale_maps(path, fine.assign(elevation=fine.elevation - 2e4), coarse, DAYS, tmp_path / "d.zarr")
    assert not (tmp_path / "d.zarr").exists()


def test_a_coarse_field_in_percent_is_converted_where_it_says_so(coarse) -> None:
    smap = coarse[2].soil_moisture_smap_l4
    percent = coarse[2].assign(soil_moisture_smap_l4=(smap * 100).assign_attrs(units="vol %"))
    found = as_coarse(percent, "mine.zarr", None, "soil_moisture_smap_l4").soil_moisture_smap_l4
    np.testing.assert_allclose(found, smap, rtol=1e-6)
    assert found.attrs["units"] == "m3 m-3"


def test_an_outlook_sees_no_satellite_after_the_day_of_issue(fine, coarse, saved, tmp_path) -> None:
    path = saved(made("mmnet"))
    issued = [coarse[0].assign_attrs(init_time=f"{DAYS[0]:%Y-%m-%d}"), *coarse[1:]]
    later = fine.copy(deep=True)
    later.ndvi.values[1:] = 0.9
    kept = fine.copy(deep=True)
    kept.ndvi.values[1:] = kept.ndvi.values[0]
    maps = {
        name: opened(downscale_maps(path, data, fields, DAYS, tmp_path / f"{name}.zarr")).soil_moisture.values
        for name, data, fields in (
            ("outlook", fine, issued),
            ("spoilt", later, issued),
            ("kept", kept, coarse),
            ("seen", fine, coarse),
        )
    }
    np.testing.assert_array_equal(maps["outlook"], maps["spoilt"])
    np.testing.assert_allclose(maps["outlook"], maps["kept"], atol=1e-6)
    assert np.nanmax(np.abs(maps["outlook"][1:] - maps["seen"][1:])) > 1e-3


def test_tiles_do_not_change_the_answer(fine, coarse, saved, tmp_path) -> None:
    path = saved(made("mmnet"))
    whole, small = (
        opened(downscale_maps(path, fine, coarse, DAYS[:2], tmp_path / f"{tile}.zarr", tile=tile))
        for tile in (1024, 23)
    )
    np.testing.assert_allclose(whole.soil_moisture, small.soil_moisture, atol=1e-6)
    np.testing.assert_allclose(whole.missing_share, small.missing_share, atol=1e-6)


def test_each_distinct_history_is_encoded_once(fine, coarse, saved, tmp_path, monkeypatch) -> None:
    from vadose.models.folded import Folded

    encoded, encode = [], Folded.encode
    monkeypatch.setattr(Folded, "encode", lambda self, series: encoded.append(len(series)) or encode(self, series))
    downscale_maps(saved(made("mmnet")), fine, coarse, DAYS[:1], tmp_path / "m.zarr")
    series = [
        np.unique(data[n].sel(y=fine.y, x=fine.x, method="nearest").isel(time=0).values)
        for n, data in (("surface_temperature", coarse[1]),)
    ]
    assert len(series[0]) <= sum(encoded) < ROWS * COLUMNS / 20


def test_bf16_is_near(fine, coarse, saved, tmp_path) -> None:
    path = saved(made("mmnet"))
    stores = tuple(
        opened(downscale_maps(path, fine, coarse, DAYS[:1], tmp_path / f"{p}.zarr", running=Running(precision=p)))
        for p in ("float32", "bfloat16", "auto")
    )
    assert [store.attrs["precision"] for store in stores] == ["float32", "bfloat16", "float32"]
    exact, rounded, auto = (store.soil_moisture for store in stores)
    xr.testing.assert_equal(exact, auto)
    apart = float(np.sqrt(((exact - rounded) ** 2).mean()))
    assert 0 < apart < 0.05 * float(exact.std())


@pytest.mark.parametrize("name", ["mmnet", "mlp"])
def test_compiled_code_sees_pieces_of_one_size_and_maps_the_same(
    name, fine, coarse, saved, tmp_path, monkeypatch
) -> None:
    shapes = set()

    def watched(method: Any) -> Any:
        def run(*given: torch.Tensor) -> Any:
            shapes.add((method.__name__, *(tuple(part.shape) for part in given)))
            return method(*given)

        return run

    monkeypatch.setattr(torch, "compile", watched)
    for limit in ("PIXELS_AT_ONCE", "HISTORIES_AT_ONCE", "DAYS_AT_ONCE"):
        monkeypatch.setattr(f"vadose.predict.map_networks.{limit}", 100)
    path = saved(made(name))
    plain_map, compiled = (
        opened(downscale_maps(path, fine, coarse, DAYS[:1], tmp_path / f"{c}.zarr", running=Running(compile=c)))
        for c in (False, True)
    )
    xr.testing.assert_allclose(plain_map.soil_moisture, compiled.soil_moisture, atol=1e-6)
    assert len(shapes) == (2 if name == "mmnet" else 1)


def test_maps_without_a_compiler_say_so(fine, coarse, saved, tmp_path, monkeypatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", fail)
    told: list[str] = []
    how = {"running": Running(compile=True), "progress": lambda what, _: told.append(what)}
    downscale_maps(saved(made("mmnet")), fine, coarse, DAYS[:1], tmp_path / "m.zarr", **how)
    assert told[-1] == "mapping m goes on uncompiled, torch.compile failed with RuntimeError"


def test_an_ensemble_of_two_memories_is_their_mixture(fine, coarse, saved, tmp_path) -> None:
    members = [made("mmnet", 1, gaussian=True), made("long_mmnet", 2, SERIES[:2], 6, SNAPSHOT[::-1], gaussian=True)]
    checkpoint = {"name": "ensemble", "members": members, "attributes": {}}
    found = opened(downscale_maps(saved(checkpoint), fine, coarse, DAYS[:1], tmp_path / "m.zarr"))
    means, stds = np.stack([plain(m, fine, coarse, DAYS[0]).numpy() for m in members], axis=1)[:, :, :50]
    np.testing.assert_allclose(found.soil_moisture[0, :50], means.mean(0), atol=1e-5)
    expected = np.sqrt((stds**2 + means**2).mean(0) - means.mean(0) ** 2)
    np.testing.assert_allclose(found.soil_moisture_std[0, :50], expected, atol=1e-4)


def test_the_store_says_what_it_is(fine, coarse, saved, tmp_path, grid) -> None:
    rows = torch.randn(500, len(SNAPSHOT)) * 10
    checkpoint = made("mmnet") | {"domain": training_domain(rows)}
    found = opened(downscale_maps(saved(checkpoint), fine, coarse, DAYS, tmp_path / "m.zarr", tile=64))
    assert found.attrs["simulated"] == "true"
    assert found.attrs["mode"] == "causal"
    assert "days_done" not in found.attrs
    assert found.soil_moisture.attrs["units"] == "m3 m-3"
    assert list(pd.DatetimeIndex(found.time.values)) == list(DAYS)
    np.testing.assert_allclose(found.lat.values, grid.coordinates().lat.values[:, 0])
    inputs = json.loads(found.attrs["inputs"])
    assert inputs["days"] == ["2020-06-29", "2020-06-30", "2020-07-01"]
    cloud = float(np.isnan(fine.ndvi.values[0, :50]).sum() + np.isnan(fine.ndvi.values[0, 50:, :70]).sum())
    pixels = float(found.soil_moisture[0].notnull().sum())
    assert float(found.missing_share.sel(feature="ndvi")[0]) == pytest.approx(cloud / pixels, rel=1e-5)
    assert float(found.missing_share.sel(feature="precipitation, series").max()) == 0
    point = {"time": 1, "y": 40, "x": 7}
    row = [fine.ndvi[point], fine.elevation[40, 7], fine.clay_fraction[40, 7], np.nan, *grid.latlon(40, 7), 0]
    row[3] = coarse[2].soil_moisture_smap_l4.sel(time=DAYS[1]).sel(y=fine.y[40], x=fine.x[7], method="nearest")
    row[6] = np.sin(2 * np.pi * (DAYS[1] - pd.Timestamp("1970-01-01")).days / 365.2425)
    expected = domain_distance(torch.tensor([[float(v) for v in row]]), checkpoint["domain"])
    assert float(found.outside_training[point]) == pytest.approx(float(expected), rel=1e-4)


def test_a_mask_and_missing_weather_leave_pixels_out(fine, coarse, saved, tmp_path) -> None:
    mask = np.zeros((ROWS, COLUMNS), bool)
    mask[:40] = True
    masked = fine.assign(mask=(("y", "x"), mask))
    dry = [data.copy(deep=True) for data in coarse]
    for name in SERIES:
        source = next(data for data in dry if name in data)
        source[name] = source[name].where(source.x < source.x[4]) if "x" in source.dims else source[name] * np.nan
    found = opened(downscale_maps(saved(made("mmnet")), masked, dry, DAYS[:1], tmp_path / "m.zarr"))
    last = np.abs(dry[1].x.values[None] - fine.x.values[:, None]).argmin(axis=1) < 4
    assert np.array_equal(found.soil_moisture[0].notnull().values, mask & last)
    share = found.missing_share.sel(feature=["precipitation, series", "surface_temperature, series"])[0]
    # One of four days is missing in the first row of 1 km, the upper 10 of the 40 rows mapped.
    assert share.values.tolist() == [1.0, 0.25 * 0.25]


def test_interrupted_it_goes_on_from_the_day(fine, coarse, saved, tmp_path, monkeypatch) -> None:
    path, out = saved(made("mmnet")), tmp_path / "m.zarr"
    expected = opened(downscale_maps(path, fine, coarse, DAYS, tmp_path / "other.zarr")).soil_moisture.values
    computed, estimate = [], module.MapRun.estimate

    def stops(self, tile):
        computed.append(1)
        if len(computed) == 3:
            raise KeyboardInterrupt
        return estimate(self, tile)

    monkeypatch.setattr(module.MapRun, "estimate", stops)
    with pytest.raises(KeyboardInterrupt):
        downscale_maps(path, fine, coarse, DAYS, out)
    assert not out.exists()
    downscale_maps(path, fine, coarse, DAYS, out)
    assert len(computed) == 4  # the third day alone
    np.testing.assert_array_equal(opened(out).soil_moisture, expected)
    downscale_maps(path, fine, coarse, DAYS, out)
    assert len(computed) == 4  # current: nothing to do
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.zarr", "other.zarr", "selected.pt"]


def test_workers_make_the_same_maps_and_go_on(fine, coarse, saved, tmp_path) -> None:
    path, out = saved(made("mmnet") | {"domain": training_domain(torch.randn(500, len(SNAPSHOT)) * 10)}), tmp_path / "m"
    one = opened(downscale_maps(path, fine, coarse, DAYS, tmp_path / "one", tile=32)).load()
    stores = [fine, *coarse]
    for number, data in enumerate(stores):
        data.to_zarr(tmp_path / f"{number}.zarr", zarr_format=3, consolidated=False)
    lazy, *fields = (opened(tmp_path / f"{number}.zarr") for number in range(len(stores)))

    def stop(what: str, share: float) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    # Workers within this process: what is sent them is pickled all the same.
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None, silence_logs=50
    ) as cluster:
        how: dict[str, Any] = {"tile": 32, "scheduler": cluster.scheduler_address}
        with pytest.raises(KeyboardInterrupt):
            downscale_maps(path, lazy, fields, DAYS, out, progress=stop, **how)
        done = int(zarr.open_group(tmp_path / ".m.days", mode="r").attrs["days_done"])  # of six parts, four are mapped
        assert done < 3
        told: list[float] = []
        downscale_maps(path, lazy, fields, DAYS, out, progress=lambda what, share: told.append(share), **how)
    # Two rows of three tiles a day, of the days that were not done.
    assert told[-1] == 1.0
    assert len(told) - 1 == 6 * (3 - done)  # the last one says that there are no quantiles
    other = opened(out).load()
    assert "days_done" not in other.attrs
    assert set(other.data_vars) == {"soil_moisture", "outside_training", "missing_share"}
    for name in other.data_vars:
        np.testing.assert_allclose(other[name], one[name], atol=1e-6)
    assert float(other.soil_moisture.notnull().mean()) > 0.9


def test_what_has_no_provenance_is_mapped_anew(fine, coarse, saved, tmp_path) -> None:
    path, out = saved(made("mmnet")), tmp_path / "m.zarr"
    unknown = fine.copy()
    del unknown.attrs["inputs"]
    before = opened(downscale_maps(path, unknown, coarse, DAYS[:1], out)).soil_moisture.values
    changed = unknown.assign(elevation=unknown.elevation + 100)
    after = opened(downscale_maps(path, changed, coarse, DAYS[:1], out)).soil_moisture.values
    assert np.nanmax(np.abs(after - before)) > 1e-4


def test_geotiffs_hold_the_maps_where_they_lie(fine, coarse, saved, tmp_path, grid) -> None:
    checkpoint = made("mmnet", gaussian=True) | {"calibration": CALIBRATION.to_dict()}
    store = downscale_maps(saved(checkpoint), fine, coarse, DAYS[:2], tmp_path / "m.zarr", tile=32)
    files = write_cog(store, tmp_path / "cog")
    days = ("2020-06-29", "2020-06-29_colours", "2020-06-30", "2020-06-30_colours")
    assert [file.name for file in files] == [f"soil_moisture_{day}.tif" for day in days]
    assert sorted((tmp_path / "cog").iterdir()) == sorted([*files, *(file.with_suffix(".qml") for file in files)])
    found = opened(store)
    with rasterio.open(files[2]) as file:
        assert file.crs.to_epsg() == 6933
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.tags()["simulated"] == "true"
        quantiles = tuple(f"soil_moisture_quantile {of:g}" for of in QUANTILES)
        assert file.descriptions == ("soil_moisture", "soil_moisture_std", *quantiles)
        assert file.units == ("m3 m-3",) * 7
        assert file.tags()["calibration"] == found.attrs["calibration"]
        assert file.tags(7)["long_name"] == "quantile of soil moisture 0.95"
        np.testing.assert_array_equal(file.read(7), found.soil_moisture_quantile[1, 4])
        assert np.isnan(file.nodata)
        np.testing.assert_array_equal(file.read(1), found.soil_moisture[1])
        np.testing.assert_array_equal(file.read(2), found.soil_moisture_std[1])
        left, top, step = grid.transform
        assert file.transform.almost_equals(rasterio.Affine(step, 0, left, 0, -step, top), precision=1e-3)
        assert file.xy(5, 9) == pytest.approx((grid.x[9], grid.y[5]), abs=1e-3)

    with rasterio.open(files[3]) as file:
        assert (file.crs.to_epsg(), file.nodata, file.colormap(1)) == (6933, 255, colours())
        shown = file.read(1, masked=True) * file.scales[0]
    np.testing.assert_array_equal(shown.mask, np.isnan(found.soil_moisture[1]))
    np.testing.assert_allclose(shown.filled(0), found.soil_moisture[1].clip(0, 0.635).fillna(0), atol=0.0013)
    for file in files:
        valid, errors, warnings = cog_validate(file, strict=True, quiet=True)
        assert (valid, errors, warnings) == (True, [], [])


def test_wetter_is_darker_also_in_grey() -> None:
    table = colours()
    grey = [np.dot(table[step][:3], (0.299, 0.587, 0.114)) for step in range(201)]
    assert (np.diff(grey) < 0.5).all()
    assert grey[0] - grey[200] > 150


def test_a_style_has_the_colours_of_the_table_with_units() -> None:
    renderer = ElementTree.fromstring(style()).find("pipe/rasterrenderer")
    assert renderer is not None
    assert (renderer.get("type"), renderer.get("band")) == ("singlebandpseudocolor", "1")
    items = renderer.findall("rastershader/colorrampshader/item")
    for item in items:
        moisture, colour = float(item.get("value", "")), item.get("color", "")
        assert item.get("label") == f"{moisture:g} m3 m-3"
        step = int(steps_of(np.array([moisture]))[0])
        assert colours()[step][:3] == tuple(bytes.fromhex(colour.removeprefix("#")))
    assert [float(item.get("value", "")) for item in items] == [of for of, _ in RAMP]


def test_geotiffs_are_whole_or_not_there(tmp_path, monkeypatch) -> None:
    part = ease_grid("100m").part(slice(3000, 3004), slice(9000, 9004))
    create_maps(tmp_path / "m.zarr", part, DAYS[:1], ("soil_moisture",), edge=4, beside=xr.Dataset())
    files = write_cog(tmp_path / "m.zarr", tmp_path / "cog")
    there = {file: file.read_bytes() for file in (tmp_path / "cog").iterdir()}
    assert set(files) < set(there)

    def stops(*given: Any, **how: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rasterio.shutil, "copy", stops)
    with pytest.raises(KeyboardInterrupt):
        write_cog(tmp_path / "m.zarr", tmp_path / "cog")
    assert {file: file.read_bytes() for file in (tmp_path / "cog").iterdir()} == there


def test_large_geotiffs_have_overviews(tmp_path) -> None:
    part = ease_grid("100m").part(slice(3000, 3700), slice(9000, 10100))
    group = create_maps(tmp_path / "m.zarr", part, DAYS[:1], ("soil_moisture",), edge=512, beside=xr.Dataset())
    values = np.random.default_rng(0).random((700, 1100), np.float32)
    values[:, :4] = np.nan
    group["soil_moisture"][0, 0] = values
    path, shown = write_cog(tmp_path / "m.zarr", tmp_path / "cog")
    for file in (path, shown):
        assert cog_validate(file, strict=True, quiet=True) == (True, [], [])
    with rasterio.open(shown) as file:
        assert file.overviews(1)[0] == 2
    with rasterio.open(path) as file:
        assert file.overviews(1)[0] == 2
        np.testing.assert_array_equal(file.read(1), values)
    with rasterio.open(path, overview_level=0) as file:
        half = file.read(1)
    assert half[10, 10] == pytest.approx(values[20:22, 20:22].mean(), abs=1e-5)
    assert np.isnan(half[:, 0]).all()


CALIBRATION = Calibration((0.5, 0.9), (0.5, 2.0), 20, "off-site")


def test_quantiles_are_those_of_the_intervals_at_stations(fine, coarse, saved, tmp_path) -> None:
    checkpoint = made("mmnet", gaussian=True) | {"calibration": CALIBRATION.to_dict()}
    found = opened(downscale_maps(saved(checkpoint), fine, coarse, DAYS[:2], tmp_path / "m.zarr", tile=40))
    assert found.soil_moisture_quantile.dims == ("time", "quantile", "y", "x")
    assert found["quantile"].values.tolist() == list(QUANTILES)
    assert found.attrs["calibration"].startswith("50% within 0.5 standard deviations and 90% within 2 ")
    mean, std = found.soil_moisture.values, found.soil_moisture_std.values
    for level, (low, high) in ((0.5, (0.25, 0.75)), (0.9, (0.05, 0.95))):
        ends = interval(mean, std, CALIBRATION, level)
        for quantile, end in zip((low, high), ends, strict=True):
            np.testing.assert_allclose(found.soil_moisture_quantile.sel(quantile=quantile), end, atol=1e-6)
    np.testing.assert_allclose(found.soil_moisture_quantile.sel(quantile=0.5), np.maximum(mean, 0), atol=1e-6)


@pytest.mark.parametrize(
    ("hyper", "more", "reason"),
    [
        ({}, {"calibration": CALIBRATION.to_dict()}, "none: the run gives no standard deviation"),
        ({"gaussian": True}, {}, "none: the run is not calibrated"),
        ({"gaussian": True}, {"calibration": CALIBRATION.to_dict()}, "these maps are of forecast ones"),
    ],
)
def test_maps_without_quantiles_say_why(hyper, more, reason, fine, coarse, saved, tmp_path) -> None:
    given, told = list(coarse), []
    if "forecast" in reason:
        given[0] = coarse[0].assign_attrs(init_time=f"{DAYS[0]:%Y-%m-%d}")
    path, out = saved(made("mmnet", **hyper) | more), tmp_path / "m.zarr"
    found = opened(downscale_maps(path, fine, given, DAYS[:1], out, progress=lambda what, share: told.append(what)))
    assert "soil_moisture_quantile" not in found
    assert reason in found.attrs["calibration"]
    assert any(reason in line for line in told)


@pytest.mark.parametrize("name", ["mmnet", "long_mmnet", "mlp"])
def test_passes_with_dropout_are_networks_on_all_pixels_alike(name, fine, coarse, saved, tmp_path) -> None:
    checkpoint = made(name, dropout=0.3, gaussian=name != "mlp") | {"dropout_passes": 3}
    path = saved(checkpoint)

    def mapped(out: str, **how: Any) -> xr.Dataset:
        return opened(downscale_maps(path, fine, coarse, DAYS[:1], tmp_path / out, **how)).isel(time=0)

    noted, tiles, none = mapped("a.zarr"), mapped("b.zarr", tile=25), mapped("c.zarr", passes=0)
    for layer in ("soil_moisture", "soil_moisture_std"):
        np.testing.assert_allclose(noted[layer], tiles[layer], atol=1e-6)
    assert [network.number for network in Members(checkpoint).networks] == [0, 1, 2]
    expected = plain(checkpoint, fine, coarse, DAYS[0])[0].numpy()
    np.testing.assert_allclose(none.soil_moisture.values[:50], expected[:50], atol=1e-5)
    apart = np.abs(noted.soil_moisture - none.soil_moisture)
    assert 1e-4 < float(apart.mean()) < 0.1
    assert float(noted.soil_moisture_std.min()) > 0
    assert ("soil_moisture_std" in none) == (name != "mlp")


def test_the_quantiles_are_of_the_passes_that_were_calibrated(fine, coarse, saved, tmp_path) -> None:
    kept = made("mmnet", dropout=0.3, gaussian=True)
    path = saved(kept | {"dropout_passes": 2, "calibration": CALIBRATION.to_dict()})
    for passes, has in ((None, True), (2, True), (0, False)):
        found = opened(downscale_maps(path, fine, coarse, DAYS[:1], tmp_path / f"{passes}.zarr", passes=passes))
        assert ("soil_moisture_quantile" in found) == has
    assert found.attrs["calibration"] == "none: the run is calibrated with 2 passes with dropout"
    out = tmp_path / "none"
    out.mkdir()
    attention, none = (
        saved(made("transformer_full", dropout=0.1)),
        "of mmnet: it has no dropout; map without: --passes 0",
    )
    refused("of transformer_full: the dropout of its attention", attention, fine, coarse, out, passes=2)
    refused(none, saved(made("mmnet")), fine, coarse, out, passes=2)


@pytest.mark.parametrize("gaussian", [True, False])
def test_an_ensemble_of_runs_is_their_mixture(gaussian, fine, coarse, saved, tmp_path) -> None:
    runs = [made("mmnet", gaussian=True), made("long_mmnet", seed=1, gaussian=gaussian, hidden=8, width=8)]
    ensemble = {"name": "blend", "weights": None, "draws": False, "members": runs, "inputs": runs[0]["inputs"]}
    found = opened(downscale_maps(saved(ensemble), fine, coarse, DAYS[:1], tmp_path / "m.zarr")).isel(time=0)
    each = [tuple(of.numpy() for of in plain(run, fine, coarse, DAYS[0])) for run in runs]
    mean, std = mixture(each)
    np.testing.assert_allclose(found.soil_moisture[:50], mean[:50], atol=1e-5)
    assert ("soil_moisture_std" in found) == gaussian
    if gaussian:
        np.testing.assert_allclose(found.soil_moisture_std[:50], std[:50], atol=1e-5)


def refused(
    message: str, checkpoint: Path, fine: xr.Dataset, coarse: Any, out: Path, days: Any = DAYS, **more: Any
) -> None:
    with pytest.raises(VadoseError, match=message):
        downscale_maps(checkpoint, fine, coarse, days, out / "m.zarr", **more)
    assert not any(p.name.endswith((".zarr", ".days", ".partial")) for p in out.iterdir())


def test_what_is_wrong_is_named(fine, coarse, saved, tmp_path, grid) -> None:
    path = saved(made("mmnet"))
    weather, warm, smap = coarse
    refused("snapshot feature 'clay_fraction'", path, fine.drop_vars("clay_fraction"), coarse, tmp_path)
    refused("snapshot feature 'soil_moisture_smap_l4'", path, fine, coarse[:2], tmp_path)
    refused("series feature 'precipitation'", path, fine, [warm, smap], tmp_path)
    refused("as a series, found without time", path, fine, [weather.isel(time=0, drop=True), warm, smap], tmp_path)
    late = weather.isel(time=slice(7, None))
    refused(r"'precipitation' \(series\): 2 of the days .* first 2020-06-25", path, fine, [late, warm, smap], tmp_path)
    refused("fine features ndvi: 1 of the days", path, fine.isel(time=slice(0, 2)), coarse, tmp_path)
    twice = xr.concat([weather.isel(time=[0]), weather], "time")
    refused("1 days are repeated", path, fine, [twice, warm, smap], tmp_path)
    refused("covers .* the map needs", path, fine, [weather.isel(lon=slice(0, 2)), warm, smap], tmp_path)
    refused("coarse field 2, y: covers", path, fine, [weather, warm.isel(y=slice(0, 3)), smap], tmp_path)
    shifted = warm.assign_coords(y=warm.y + 30.0)
    refused("coarse field 2: cells of 1000.9 m.* do not nest", path, fine, [weather, shifted, smap], tmp_path)
    off = fine.assign_coords(x=fine.x + 50.0)
    refused("no part of the nested EASE-Grid", path, off, coarse, tmp_path)
    refused("has no even steps of 100.0895", path, fine.isel(x=slice(None, None, 2)), coarse, tmp_path)
    unknown = warm.copy()
    del unknown.attrs["grid_crs"]
    utm = unknown.assign_coords(crs=raster_coordinates("EPSG:32614", (0, 0, 1, 1), (2, 2)).crs)
    refused("y and x are not those of EASE-Grid 2.0", path, fine, [weather, utm, smap], tmp_path)
    refused("attributes .* of the grid are missing", path, fine.drop_attrs(), coarse, tmp_path)
    refused("mode 'paper', the network learnt in 'causal'", path, fine.assign_attrs(mode="paper"), coarse, tmp_path)
    refused("0 days given", path, fine, coarse, tmp_path, days=[])
    refused("no such checkpoint", tmp_path / "none.pt", fine, coarse, tmp_path)
    with pytest.raises(VadoseError, match="no store of maps there"):
        write_cog(tmp_path / "none.zarr", tmp_path / "cog")


def test_a_nested_grid_without_attributes_is_found_by_its_projection(fine, coarse, saved, tmp_path, grid) -> None:
    path = saved(made("mmnet"))
    bare = [data.drop_attrs(deep=False) if "x" in data.dims and data.sizes["x"] > 1 else data for data in coarse]
    both = [
        opened(downscale_maps(path, fine, fields, DAYS[:1], tmp_path / f"{n}.zarr")).soil_moisture
        for n, fields in enumerate((coarse, bare))
    ]
    np.testing.assert_array_equal(*both)
