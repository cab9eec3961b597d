import os
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from distributed import Client, LocalCluster
from zarr.storage import LocalStore

import vadose as vd
from vadose.door.days import Period
from vadose.errors import VadoseError
from vadose.features.normals import with_normals
from vadose.models.inputs import Channels
from vadose.models.tiles import predict_tiles
from vadose.predict.forecast import forecast, latest_day
from vadose.predict.members import load_run
from vadose.samples.windows import Samples
from vadose.training.blends import blend
from vadose.training.forecasters import Optimisation, Plan, train

TRAINING, VALIDATION = Period("2015-04-10", "2015-07-20"), Period("2015-07-21", "2015-08-28")
FILLED = "soil_moisture_filled"


@pytest.fixture(scope="module")
def runs(small_cube: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    persistence = Samples(small_cube, Channels((FILLED,), leads=(1, 3), target=FILLED), look_back=1)
    weather = Channels((FILLED,), (), ("precipitation",), (1, 3), FILLED)
    maps = Samples(small_cube, weather, look_back=2, window=4, stride=2)
    how = Optimisation(epochs=1, batch_size=32, samples_per_epoch=64)
    plan = Plan("persistence", {}, TRAINING, VALIDATION, how)
    network = replace(plan, model="convlstm", hyper={"filters": (3,)})
    return {
        "persistence": train(persistence, folder / "p", plan, refit=False),
        "convlstm": train(maps, folder / "c", network, refit=False),
    }


def test_a_store_says_what_it_is(runs: dict[str, Path], small_cube: xr.Dataset, tmp_path: Path) -> None:
    out = forecast(
        runs["persistence"] / "final.pt",
        small_cube,
        tmp_path / "p.zarr",
        first="2015-07-01",
        last="2015-07-09",
        leads=(1, 3),
    )
    store = xr.open_zarr(out, consolidated=False)
    assert dict(store.soil_moisture.sizes) == {"init_time": 9, "lead_time": 2, "y": 8, "x": 9}
    assert store.lead_time.dt.days.values.tolist() == [1, 3]
    expected = {
        "model": "persistence",
        "weather": "none",
        "layer": "0-10 cm",
        "simulated": "true",
        "causal": "true",
        "observed": "soil_moisture",
    }
    assert "soil_moisture_std" not in store  # persistence has no deviation
    assert {key: store.attrs[key] for key in expected} == expected
    known = small_cube.soil_moisture_filled.sel(time=slice("2015-07-01", "2015-07-09")).values
    np.testing.assert_array_equal(store.soil_moisture.values[:, 0], known)


def test_every_lead_is_forecast_where_none_is_named(small_cube: xr.Dataset, tmp_path: Path) -> None:
    samples = Samples(small_cube, Channels((FILLED,), leads=(1, 5), target=FILLED), look_back=1)
    run = train(samples, tmp_path / "p", Plan("persistence", {}, TRAINING, VALIDATION, Optimisation()), refit=False)
    out = forecast(run / "final.pt", small_cube, tmp_path / "p.zarr", first="2015-07-01", last="2015-07-02")
    assert xr.open_zarr(out, consolidated=False).lead_time.dt.days.values.tolist() == [1, 5]


def test_forecasts_of_other_inputs_lie_beside_each_other(
    runs: dict[str, Path], small_cube: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vadose.predict.outlook.with_outlook", lambda store, **_: store)

    def stores(cube: xr.Dataset = small_cube, **more: Any) -> set[str]:
        vd.forecast(runs["persistence"], cube, init="2015-07-01", **more)
        return {path.name for path in Path("forecasts").iterdir()}

    (name,) = plain = stores()
    assert re.fullmatch(r"p_2015-07-01_[0-9a-f]{8}\.zarr", name)
    assert stores() == plain
    ranked = stores(climatology=("2015-04-01", "2015-06-30"))
    assert len(ranked) == 2
    assert len(stores(climatology=("2015-04-01", "2015-05-31"))) == 3
    assert len(stores(small_cube.assign(soil_moisture_filled=small_cube.soil_moisture_filled + 0.01))) == 4


@pytest.mark.parametrize("kind", ["persistence", "convlstm"])
def test_of_a_long_record_the_days_are_read_that_the_forecast_looks_at(
    runs: dict[str, Path], small_cube: xr.Dataset, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_day_a_chunk = {str(name): {"chunks": (1, 8, 9)} for name, v in small_cube.items() if "time" in v.dims}
    small_cube.to_zarr(tmp_path / "cube.zarr", consolidated=False, encoding=a_day_a_chunk)
    cube = xr.open_zarr(tmp_path / "cube.zarr", consolidated=False, chunks={"time": 50})
    read: set[str] = set()
    get = LocalStore.get

    async def noted(store: LocalStore, key: str, *args: Any, **kwargs: Any) -> Any:
        read.add(f"{store.root.name}/{key}")
        return await get(store, key, *args, **kwargs)

    monkeypatch.setattr(LocalStore, "get", noted)
    made_of = {"cube": "its identity"}
    out = forecast(
        runs[kind] / "final.pt", cube, tmp_path / "f.zarr", first="2015-07-05", last="2015-07-06", made_of=made_of
    )
    found = (re.fullmatch(r"cube.zarr/(\w+)/c/(\d+)/0/0", key) for key in read)
    days = {(one[1], int(one[2])) for one in found if one}
    first, last = (small_cube.indexes["time"].get_loc(day) for day in ("2015-07-05", "2015-07-06"))
    look_back = {"persistence": 1, "convlstm": 2}[kind]
    assert {day for name, day in days if name == FILLED} >= set(range(first + 1 - look_back, last + 1))
    assert {day for _, day in days} <= set(range(first + 1 - look_back, last + 1 + 3))
    whole = forecast(runs[kind] / "final.pt", small_cube, tmp_path / "w.zarr", first="2015-06-01", last="2015-07-06")
    both = [xr.open_zarr(path, consolidated=False).sel(init_time=["2015-07-05", "2015-07-06"]) for path in (out, whole)]
    xr.testing.assert_allclose(*(store.soil_moisture for store in both))


def test_what_was_filled_from_later_days_makes_a_hindcast(
    runs: dict[str, Path], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    smoothed = small_cube.assign({FILLED: small_cube[FILLED].assign_attrs(causal="false")})
    days = {"first": "2015-07-01", "last": "2015-07-02"}
    run, out = runs["persistence"] / "final.pt", tmp_path / "p.zarr"
    with pytest.raises(VadoseError, match="which a forecast cannot see"):
        forecast(run, smoothed, out, **days)
    forecast(run, smoothed.assign_attrs(hindcast="true"), out, **days)
    assert xr.open_zarr(out, consolidated=False).attrs["causal"] == "false"


def test_a_network_of_wide_windows_is_one_of_maps(runs: dict[str, Path], tmp_path: Path) -> None:
    run, wide = runs["convlstm"] / "final.pt", tmp_path / "wide.pt"
    kept = torch.load(run, weights_only=True)
    assert load_run(run)["window"] == 4
    for given, window in ((kept, 8), (kept, 9)):  # it sees two cells
        torch.save(given | {"window": window}, wide)
        assert load_run(wide)["window"] == (8 if window == 8 else None)
    seeds = {"name": "blend", "members": [kept | {"window": 9}] * 2, "weights": None}
    torch.save(kept | {"window": 9} | seeds, wide)
    assert load_run(wide)["window"] is load_run(wide)["members"][1]["window"] is None


def test_overlapping_windows_make_one_map(runs: dict[str, Path], small_cube: xr.Dataset, tmp_path: Path) -> None:
    out = forecast(
        runs["convlstm"] / "final.pt",
        small_cube,
        tmp_path / "c.zarr",
        first="2015-07-01",
        last="2015-07-02",
        leads=(1,),
    )
    values = xr.open_zarr(out, consolidated=False).soil_moisture.values[:, 0]
    mask = small_cube.mask.values
    assert np.isfinite(values[:, mask]).all()
    assert np.isnan(values[:, ~mask]).all()


@pytest.mark.parametrize(
    ("run", "change", "message"),
    [
        ("persistence", {"leads": (1, 2)}, r"does not forecast leads \[2\]"),
        ("persistence", {"last": "2016-07-01"}, "the cube allows 2015-04-01 .. 2015-08-28"),
        (
            "convlstm",
            {"last": "2015-08-28"},
            r"allows 2015-04-01 .. 2015-08-27 \(it must hold the weather",
        ),
    ],
)
def test_what_cannot_be_forecast_is_refused(
    runs: dict[str, Path],
    small_cube: xr.Dataset,
    tmp_path: Path,
    run: str,
    change: dict[str, object],
    message: str,
) -> None:
    arguments = {"first": "2015-07-01", "last": "2015-07-02", "leads": (1,)} | change
    with pytest.raises(VadoseError, match=message):
        forecast(runs[run] / "final.pt", small_cube, tmp_path / "f.zarr", **arguments)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def of_cells(small_cube: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models that keep something of each cell, and blends of them with one that does not."""
    folder = tmp_path_factory.mktemp("cells")
    channels = Channels((FILLED, "precipitation"), leads=(1, 3), target=FILLED)
    samples = Samples(small_cube, channels, look_back=5)
    how = Optimisation(epochs=1, batch_size=32, samples_per_epoch=64)
    hyper: dict[str, dict[str, Any]] = {
        "climatology": {},
        "damped_persistence": {},
        "trees": {"iterations": 3},
        "lstm": {"hidden": 4},
    }
    runs = {
        name: train(
            samples,
            folder / name,
            Plan(model=name, hyper=own, training=TRAINING, validation=VALIDATION, optimisation=how),
            refit=False,
        )
        for name, own in hyper.items()
    }
    return runs | {"blend": blend(list(runs.values()), folder / "b", weights=None, leads=(1, 3), attributes={})}


JULY: dict[str, Any] = {"first": "2015-07-21", "last": "2015-07-22"}


def test_the_forecast_of_a_crop_is_the_crop_of_the_forecast(
    of_cells: dict[str, Path], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    crop = {"y": slice(3, 7), "x": slice(2, 9)}
    run = of_cells["blend"] / "final.pt"
    whole = xr.open_zarr(forecast(run, small_cube, tmp_path / "whole.zarr", **JULY), consolidated=False)
    part = xr.open_zarr(forecast(run, small_cube.isel(crop), tmp_path / "part.zarr", **JULY), consolidated=False)
    np.testing.assert_allclose(part.soil_moisture, whole.soil_moisture.isel(crop), atol=1e-6)
    assert part.soil_moisture.std() > 0
    assert whole.attrs["learnt_from"] == (
        '{"training": ["2015-04-10", "2015-07-20"], "validation": ["2015-07-21", "2015-08-28"]}'
    )
    assert (whole.attrs["learnt_first"], whole.attrs["learnt_last"]) == ("2015-04-10", "2015-08-28")


@pytest.mark.parametrize("name", ["climatology", "blend"])
def test_cells_not_learnt_on_are_refused(
    name: str, of_cells: dict[str, Path], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    wide = small_cube.pad(x=(0, 1), mode="edge").assign_coords(
        x=[*small_cube.x.values, small_cube.x.values[-1] + 144128.883]
    )
    moved = small_cube.assign_coords(y=small_cube.y - 1000)
    for cube, cells in ((wide, "8 of 80"), (moved, "72 of 72")):
        with pytest.raises(VadoseError, match=rf"final.pt and the cube: {cells} cells of the second, .* learnt on, or"):
            forecast(of_cells[name] / "final.pt", cube, tmp_path / "f.zarr", **JULY)
    assert not list(tmp_path.iterdir())


def test_a_model_that_keeps_nothing_of_cells_forecasts_others_of_their_size(
    of_cells: dict[str, Path], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    run = of_cells["lstm"] / "final.pt"
    moved = small_cube.assign_coords(y=small_cube.y - 1000)
    forecast(run, moved, tmp_path / "moved.zarr", **JULY)
    fine = moved.assign_coords(x=moved.x / 4, y=moved.y / 4).assign_attrs(cell_size=moved.attrs["cell_size"] / 4)
    with pytest.raises(VadoseError, match=r"the first has cells of 36032.2, the second of 9008.06"):
        forecast(run, fine, tmp_path / "fine.zarr", **JULY)


def test_a_run_that_does_not_name_its_cells_forecasts_their_number_and_says_so(
    of_cells: dict[str, Path], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    old = torch.load(of_cells["climatology"] / "final.pt", weights_only=True)
    for key in ("place", "stations", "keeps_cells", "learnt"):
        del old[key]
    torch.save(old, tmp_path / "old.pt")
    store = xr.open_zarr(forecast(tmp_path / "old.pt", small_cube, tmp_path / "f.zarr", **JULY), consolidated=False)
    assert "does not name the cells" in store.attrs["place_note"]
    assert "learnt_from" not in store.attrs
    with pytest.raises(VadoseError, match="the run learnt on 8 x 9 cells that it does not name, the cube has 8 x 8"):
        forecast(tmp_path / "old.pt", small_cube.isel(x=slice(8)), tmp_path / "g.zarr", **JULY)


def test_stations_are_found_by_name(small_cube: xr.Dataset, tmp_path: Path) -> None:
    names = np.array([f"station {k}" for k in range(8)], object)
    cube = small_cube.isel(x=slice(3, 4)).assign_coords(y=np.arange(8.0), x=[0.0], station=("y", names))
    cube = cube.drop_vars(["lat", "lon"]).assign_coords(lat=("y", np.arange(8.0)), lon=("y", np.arange(8.0)))
    cube = cube.assign_attrs(grid_crs="", cell_size=1.0, grid_step=1.0)
    run = train(
        Samples(cube, Channels((FILLED,), leads=(1, 3), target=FILLED), look_back=1),
        tmp_path / "run",
        Plan(
            model="damped_persistence", hyper={}, training=TRAINING, validation=VALIDATION, optimisation=Optimisation()
        ),
    )
    kept = torch.load(run / "final.pt", weights_only=True)
    assert kept["stations"] == names.tolist()
    whole = xr.open_zarr(forecast(run / "final.pt", cube, tmp_path / "whole.zarr", **JULY), consolidated=False)
    some = cube.isel(y=[6, 1, 4]).assign_coords(y=[0.0, 1.0, 2.0])
    part = xr.open_zarr(forecast(run / "final.pt", some, tmp_path / "part.zarr", **JULY), consolidated=False)
    np.testing.assert_array_equal(part.soil_moisture, whole.soil_moisture.isel(y=[6, 1, 4]))
    other = some.assign_coords(station=("y", np.array(["station 6", "elsewhere", "station 4"], object)))
    with pytest.raises(VadoseError, match="1 of 3 stations are not among the first's 8, such as elsewhere"):
        forecast(run / "final.pt", other, tmp_path / "other.zarr", **JULY)


def test_members_forecasts_are_joined_by_cell_lead_and_day(
    of_cells: dict[str, Path], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    two = (
        blend([of_cells["climatology"], of_cells["lstm"]], tmp_path / "two", weights=None, leads=(1, 3), attributes={})
        / "final.pt"
    )
    given = []
    for name in ("climatology", "lstm"):
        out = forecast(of_cells[name] / "final.pt", small_cube, tmp_path / f"{name}.zarr", **JULY)
        store = xr.open_zarr(out, consolidated=False).load()
        given.append(store.isel(y=slice(None, None, -1), init_time=[1, 0], lead_time=[1, 0]))
    stores = [
        xr.open_zarr(
            forecast(two, small_cube, tmp_path / f"two-{bool(m)}.zarr", of_members=m, **JULY), consolidated=False
        )
        for m in (None, given)
    ]
    np.testing.assert_allclose(stores[0].soil_moisture, stores[1].soil_moisture, atol=1e-6)
    with pytest.raises(VadoseError, match="the forecast of lstm lacks 1 of 2 days of issue, such as 2015-07-21"):
        forecast(two, small_cube, tmp_path / "f.zarr", of_members=[given[0], given[1].isel(init_time=[0])], **JULY)


def test_normals_want_the_days_that_were_learnt_from(joined: Path, small_cube: xr.Dataset, tmp_path: Path) -> None:
    late = small_cube.sel(time=slice("2015-05-01", None))
    with pytest.raises(VadoseError, match=r"takes normals of 2015-04-10 .. 2015-07-20.* cube holds 2015-05-01 .. "):
        forecast(joined / "final.pt", late, tmp_path / "f.zarr", **JULY)


def test_a_missing_checkpoint_is_named(small_cube: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match=r"nothing.pt: no such checkpoint"):
        forecast(tmp_path / "nothing.pt", small_cube, tmp_path / "f.zarr", first="2015-07-01", last="2015-07-02")


def test_beyond_the_known_weather_there_is_no_forecast(
    runs: dict[str, Path], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    out = forecast(
        runs["convlstm"] / "final.pt",
        small_cube,
        tmp_path / "f.zarr",
        first="2015-08-25",
        last="2015-08-27",
        leads=(1, 3),
    )
    known = xr.open_zarr(out, consolidated=False).soil_moisture.notnull().any(("y", "x")).values
    assert known.tolist() == [[True, True], [True, False], [True, False]]


def test_a_product_that_is_absent_degrades_the_forecast_and_is_noted(small_cube: xr.Dataset, tmp_path: Path) -> None:
    channels = Channels((FILLED, "precipitation", "air_temperature"), leads=(1, 3), target=FILLED)
    samples = Samples(small_cube, channels, look_back=10)
    how = Optimisation(epochs=1, batch_size=16, samples_per_epoch=64)
    run = train(
        samples,
        tmp_path / "s",
        Plan(
            model="surrogate",
            hyper={"hidden": 6, "width": 6, "gaussian": True},
            training=TRAINING,
            validation=VALIDATION,
            optimisation=how,
        ),
        refit=False,
    )
    absent = small_cube.copy(deep=True)
    absent["air_temperature"][{"time": slice(95, 102)}] = np.nan
    days = {"first": str(small_cube.time.values[94])[:10], "last": str(small_cube.time.values[98])[:10]}
    whole = xr.open_zarr(forecast(run / "final.pt", small_cube, tmp_path / "w.zarr", **days), consolidated=False)
    found = xr.open_zarr(forecast(run / "final.pt", absent, tmp_path / "a.zarr", **days), consolidated=False)
    mask = small_cube.mask.values
    assert np.isfinite(found.soil_moisture.values[..., mask]).all()
    assert (found.soil_moisture_std.values[..., mask] > 0).all()
    assert not np.array_equal(found.soil_moisture.values[1:, ..., mask], whole.soil_moisture.values[1:, ..., mask])
    np.testing.assert_array_equal(found.soil_moisture.values[0], whole.soil_moisture.values[0])
    assert found.inputs_missing.sel(channel="air_temperature").values.tolist() == [0, 1, 1, 1, 1]
    assert not found.inputs_missing.sel(channel="precipitation").values.any()
    assert not whole.inputs_missing.values.any()


def test_the_latest_day_is_the_cube_s_last_but_for_weather(runs: dict[str, Path], small_cube: xr.Dataset) -> None:
    assert latest_day(runs["persistence"] / "final.pt", small_cube) == "2015-08-28"
    assert latest_day(runs["convlstm"] / "final.pt", small_cube) == "2015-08-27"


def test_a_day_of_a_sequence_is_forecast_as_it_would_be_alone(small_cube: xr.Dataset, tmp_path: Path) -> None:
    channels = Channels((FILLED, "precipitation"), leads=(1, 3), target=FILLED)
    run = train(
        Samples(small_cube, channels, look_back=60),
        tmp_path / "s",
        Plan(
            model="surrogate",
            hyper={"hidden": 6, "width": 6},
            training=TRAINING,
            validation=VALIDATION,
            optimisation=Optimisation(epochs=1, batch_size=16, samples_per_epoch=64),
        ),
        refit=False,
    )
    stores = []
    for first, last in (("2015-07-01", "2015-07-10"), ("2015-07-10", "2015-07-10")):
        out = forecast(run / "final.pt", small_cube, tmp_path / f"{first}.zarr", first=first, last=last)
        stores.append(xr.open_zarr(out, consolidated=False).soil_moisture.values[-1])
    # What happened before the look-back is forgotten but for a little.
    np.testing.assert_allclose(stores[0], stores[1], atol=1e-4)
    assert not np.array_equal(stores[0], small_cube.soil_moisture_filled.sel(time="2015-07-10").values)


def test_passes_with_dropout_on_spread_and_join(small_cube: xr.Dataset, tmp_path: Path) -> None:
    channels = Channels((FILLED, "precipitation"), leads=(1, 3), target=FILLED)
    samples = Samples(small_cube, channels, look_back=10)
    how = Optimisation(epochs=1, batch_size=16, samples_per_epoch=64)
    run = train(
        samples,
        tmp_path / "s",
        Plan(
            model="surrogate",
            hyper={"hidden": 6, "width": 6, "dropout": 0.5},
            training=TRAINING,
            validation=VALIDATION,
            optimisation=how,
        ),
        refit=False,
    )
    days = {"first": "2015-07-01", "last": "2015-07-02"}

    def of(name: str, passes: int | None) -> xr.Dataset:
        out = forecast(run / "final.pt", small_cube, tmp_path / name, passes=passes, **days)  # type: ignore[arg-type]
        return xr.open_zarr(out, consolidated=False).load()

    once, twenty, again = of("1.zarr", None), of("20.zarr", 20), of("again.zarr", 20)
    assert "soil_moisture_std" not in once
    mask = small_cube.mask.values
    assert (twenty.soil_moisture_std.values[..., mask] > 0).all()
    np.testing.assert_array_equal(twenty.soil_moisture_std, again.soil_moisture_std)
    assert 0 < float(abs(twenty.soil_moisture - once.soil_moisture).max()) < 0.1


def test_passes_want_dropout(runs: dict[str, Path], small_cube: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match="persistence has no dropout"):
        forecast(
            runs["persistence"] / "final.pt",
            small_cube,
            tmp_path / "f.zarr",
            first="2015-07-01",
            last="2015-07-01",
            leads=(1,),
            passes=3,
        )
    assert not list(tmp_path.iterdir())


def test_a_large_map_in_tiles_is_the_map(
    small_cube: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = Channels((FILLED, "precipitation"), leads=(1, 3), target=FILLED)
    samples = Samples(small_cube, channels, look_back=1, window=None)
    how = Optimisation(epochs=1, batch_size=4, samples_per_epoch=8)
    run = train(
        samples,
        tmp_path / "c",
        Plan(
            model="convlstm",
            hyper={"filters": (3,), "gaussian": True},
            training=TRAINING,
            validation=VALIDATION,
            optimisation=how,
        ),
        refit=False,
    )
    days = {"first": "2015-07-01", "last": "2015-07-02"}
    whole = forecast(run / "final.pt", small_cube, tmp_path / "whole.zarr", **days)  # type: ignore[arg-type]
    calls = []
    monkeypatch.setattr("vadose.predict.apply.PIECE", 30)
    tiles = "vadose.predict.apply.predict_tiles"
    monkeypatch.setattr(tiles, lambda *a, **k: calls.append(k) or predict_tiles(*a, **k))
    tiled = forecast(run / "final.pt", small_cube, tmp_path / "tiled.zarr", **days)  # type: ignore[arg-type]
    assert calls == [{"tile": (4, 3), "halo": 1}] * 2
    one, other = (xr.open_zarr(path, consolidated=False).load() for path in (whole, tiled))
    for name in ("soil_moisture", "soil_moisture_std"):
        np.testing.assert_allclose(one[name], other[name], atol=1e-6)
        assert np.isfinite(one[name].values[..., small_cube.mask.values]).all()


@pytest.mark.parametrize("run", ["persistence", "convlstm", "climatology"])
def test_a_long_forecast_is_written_part_by_part(
    runs: dict[str, Path],
    of_cells: dict[str, Path],
    small_cube: xr.Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: str,
) -> None:
    rain = small_cube.precipitation.values.copy()
    rain[100, 2, 3] = -9999.0
    cube = small_cube.assign(precipitation=small_cube.precipitation.copy(data=rain))
    days: dict[str, Any] = {"first": "2015-07-01", "last": "2015-07-21"}
    seen: list[float] = []
    checkpoint = (runs | of_cells)[run] / "final.pt"
    whole = xr.open_zarr(forecast(checkpoint, cube, tmp_path / "whole.zarr", **days))
    monkeypatch.setattr("vadose.predict.members.BLOCK_DAYS", 8)
    monkeypatch.setattr("vadose.predict.members.AT_ONCE", 0)
    out = forecast(checkpoint, cube, tmp_path / "parts.zarr", **days, progress=lambda what, share: seen.append(share))
    parts = xr.open_zarr(out)
    assert parts.soil_moisture.chunks[0] == (8, 8, 5)
    assert ("soil_moisture_std" in parts) == (run == "climatology")
    made = {"created", "history"}
    for one in (whole, parts):
        one.attrs = {name: said for name, said in one.attrs.items() if name not in made}
        one.soil_moisture.encoding.clear()
    xr.testing.assert_identical(parts.load(), whole.load())
    assert seen == sorted(seen)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def joined(runs: dict[str, Path], small_cube: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of windows and one of sequences that takes a normal and has dropout."""
    folder = tmp_path_factory.mktemp("joined")
    channels = Channels(
        (FILLED, "precipitation", "soil_moisture_normal"), (), ("precipitation", "soil_moisture_normal"), (1, 3), FILLED
    )
    run = train(
        Samples(with_normals(small_cube, ("soil_moisture",), TRAINING.first, TRAINING.last), channels, look_back=10),
        folder / "s",
        Plan(
            model="surrogate",
            hyper={"hidden": 6, "width": 6, "dropout": 0.5},
            training=TRAINING,
            validation=VALIDATION,
            optimisation=Optimisation(epochs=1, batch_size=16, samples_per_epoch=64),
        ),
        refit=False,
    )
    return blend([runs["convlstm"], run], folder / "b", weights=None, leads=(1, 3), attributes={})


def test_workers_make_the_same_forecast_and_one_may_die(
    runs: dict[str, Path],
    joined: Path,
    small_cube: xr.Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cluster: LocalCluster,
) -> None:
    monkeypatch.setattr("vadose.predict.members.BLOCK_DAYS", 16)
    rain, issue = small_cube.precipitation.values.copy(), small_cube.indexes["time"].get_loc("2015-05-20")
    rain[[issue - 40, issue + 14, issue + 15, issue + 60], 2, 3] = -9999.0  # the first before all that is looked at
    small_cube = small_cube.assign(precipitation=small_cube.precipitation.copy(data=rain))
    small_cube.to_zarr(tmp_path / "cube.zarr", zarr_format=3, consolidated=False)
    lazy = xr.open_zarr(tmp_path / "cube.zarr", consolidated=False)
    days: dict[str, Any] = {"first": "2015-05-20", "last": "2015-08-26"}
    on_cluster: dict[str, Any] = {"scheduler": cluster.scheduler_address}
    seen: list[float] = []
    killed: list[int] = []

    def kill(what: str, share: float) -> None:
        seen.append(share)
        if share > 0.2 and not killed:
            with Client(cluster, set_as_default=False) as client:
                killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    def same(run: Path, passes: int | None = None, **how: Any) -> None:
        made = []
        for cube, more in ((small_cube, {}), (lazy, how)):
            out = forecast(run, cube, tmp_path / f"{len(made)}-{passes}.zarr", passes=passes, **days, **more)
            made.append(xr.open_zarr(out, consolidated=False).load())
        one, other = made
        assert one.sizes["init_time"] == 99
        assert one.attrs["values_outside"] == other.attrs["values_outside"] == '{"precipitation": 3}'
        assert set(one.data_vars) == set(other.data_vars)
        for name in one.data_vars:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-5, atol=1e-6)

    same(joined.parent / "s" / "final.pt", passes=3, progress=lambda what, share: seen.append(share), **on_cluster)
    assert len(seen) == 3 + 2
    seen.clear()
    for nanny in cluster.workers.values():
        nanny.auto_restart = False  # to wait for a new worker would take longer than to do without
    same(joined / "final.pt", progress=kill, **on_cluster)
    assert killed
    # Seven blocks of days of one member, parts of two or three cells of 70 of the other, the end, what is outside.
    assert len(seen) == 7 + 24 + 2
    assert seen == sorted(seen)


def test_no_scheduler_is_told(runs: dict[str, Path], small_cube: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match="no Dask scheduler answers there"):
        forecast(
            runs["persistence"] / "final.pt",
            small_cube,
            tmp_path / "f.zarr",
            first="2015-07-01",
            last="2015-07-01",
            leads=(1,),
            scheduler="nowhere",
        )
    assert not list(tmp_path.iterdir())


def test_a_forecast_of_other_values_under_the_same_attributes_is_made_anew(
    runs: dict[str, Path], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    def made(cube: xr.Dataset, **more: Any) -> int:
        days: dict[str, Any] = {"first": "2015-06-01", "last": "2015-06-02"}
        forecast(runs["persistence"] / "final.pt", cube, tmp_path / "f.zarr", **days, **more)
        return (tmp_path / "f.zarr" / "zarr.json").stat().st_ino

    first = made(small_cube)
    assert made(small_cube.copy(deep=True)) == first
    edited = small_cube.copy(deep=True)
    edited["soil_moisture_filled"] += np.float32(0.1)
    second = made(edited)
    assert second != first
    assert made(edited, made_of={"cube": "of a path"}) != second


def test_a_forecast_that_cannot_be_finished_leaves_nothing(
    runs: dict[str, Path], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    def finish(store: xr.Dataset) -> xr.Dataset:
        if store.attrs["model"] == "persistence":
            raise VadoseError("too few years")
        return store.assign_attrs(finished="yes")

    days: dict[str, Any] = {"first": "2015-06-01", "last": "2015-06-02", "finish": finish}
    with pytest.raises(VadoseError, match="too few years"):
        forecast(runs["persistence"] / "final.pt", small_cube, tmp_path / "f.zarr", **days)
    assert not list(tmp_path.iterdir())
    forecast(runs["convlstm"] / "final.pt", small_cube, tmp_path / "f.zarr", **days)
    assert xr.open_zarr(tmp_path / "f.zarr", consolidated=False).attrs["finished"] == "yes"
