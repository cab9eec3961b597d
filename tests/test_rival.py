"""What a weather model foretells of soil moisture, beside our own forecasts."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.interpolate import RegularGridInterpolator
from typer.testing import CliRunner

from vadose.artefact import provenance
from vadose.cli.terminal import app
from vadose.cube.rival import write_rival
from vadose.errors import VadoseError
from vadose.evaluation import evaluate
from vadose.experiments import Experiment
from vadose.experiments.studies import study
from vadose.products.weather_forecast import daily_weather_forecast
from vadose.twin.granules.weather_forecast import write_weather_forecast
from vadose.twin.truth import at, example

DAYS, LEADS = 5, (1, 3, 7)
PACKED = 6e-6
LAYERS = {"0-10 cm": "soil_moisture_0_10cm", "10-40 cm": "soil_moisture_10_40cm", "40-100 cm": "soil_moisture_40_100cm"}


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    """Five days; moisture told apart by layer and day."""
    truth = example(days=DAYS)
    for k, name in enumerate(LAYERS.values()):
        truth[name][:] = 0.1 + 0.1 * k + 0.02 * np.arange(DAYS)[:, None, None] + 0.05 * truth[name]
    return truth


@pytest.fixture(scope="module")
def runs(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs issued on the first and the third day, and one that starts at 06 UTC."""
    folder = tmp_path_factory.mktemp("gefs")
    for days in (truth, truth.isel(time=slice(2, None))):
        written(days, folder)
    later = truth.isel(time=slice(0, 2)).assign_coords(time=truth.time[:2] + np.timedelta64(6, "h"))
    written(later, folder)
    return folder


def written(truth: xr.Dataset, folder: Path, member: int = 0) -> None:
    """A run, a granule every six hours."""
    write_weather_forecast(truth, folder, member=member, hours=range(0, 24 * truth.sizes["time"] - 23, 6))


@pytest.fixture(scope="module")
def cube(truth: xr.Dataset) -> xr.Dataset:
    """Cells between the grid points of the granules."""
    inner = truth[["elevation"]].isel(y=slice(3, 8), x=slice(4, 9))
    mask = np.ones((5, 5), bool)
    mask[0, 0] = False
    attrs = {"dataset": "made up", "layer": "0-10 cm"}
    return inner.assign(mask=(("y", "x"), mask)).assign_attrs(attrs)


def opened(path: Path) -> xr.Dataset:
    store: xr.Dataset = xr.open_zarr(path, consolidated=False).load()
    return store


@pytest.mark.parametrize("layer", LAYERS)
def test_at_a_grid_point_the_store_is_the_truth_of_the_valid_day(
    layer: str, runs: Path, truth: xr.Dataset, cube: xr.Dataset, tmp_path: Path
) -> None:
    points = cube.isel(y=slice(0, 2), x=slice(0, 1)).drop_vars("mask")
    points = points.assign_coords(lat=(("y", "x"), [[40.0], [40.25]]), lon=(("y", "x"), [[-100.0], [-100.25]]))
    points["mask"] = ("y", "x"), np.ones((2, 1), bool)
    store = opened(write_rival([runs], points, tmp_path / "gefs.zarr", layer=layer, leads=LEADS))
    assert store.soil_moisture.dims == ("init_time", "lead_time", "y", "x")
    np.testing.assert_array_equal(store.init_time.values, truth.time.values[[0, 2]])
    assert store.lead_time.dt.days.values.tolist() == [1, 3, 7]
    for first, run in zip((0, 2), store.soil_moisture.values, strict=True):
        expected = at(truth[LAYERS[layer]], points.lat.values, points.lon.values)
        for lead, values in zip(LEADS, run, strict=True):
            if first + lead < DAYS:
                np.testing.assert_allclose(values, expected[first + lead], atol=PACKED)
            else:
                assert np.isnan(values).all()


def test_the_store_says_what_it_is(runs: Path, cube: xr.Dataset, tmp_path: Path) -> None:
    store = opened(
        write_rival([runs], cube, tmp_path / "gefs.zarr", layer="10-40 cm", observed="soil_moisture_10_40cm")
    )
    said = {
        "model": "GEFS",
        "weather": "forecast",
        "scenario": "all",
        "layer": "10-40 cm",
        "causal": "true",
        "observed": "soil_moisture_10_40cm",
        "dataset": "made up",
        "simulated": "true",
        "weather_run": "GEFS c00, runs of 00 UTC",
        "rival_note": "of the soil of GEFS, 10-40 cm, another than the observed; not corrected",
    }
    assert said.items() <= store.attrs.items()
    assert store.soil_moisture.attrs["units"] == "m3 m-3"
    np.testing.assert_array_equal(store.lat.values, cube.lat.values[:, 0])


def test_between_grid_points_it_is_bilinear_of_those_on_land(
    runs: Path, truth: xr.Dataset, cube: xr.Dataset, tmp_path: Path
) -> None:
    store = opened(write_rival([runs], cube, tmp_path / "gefs.zarr", leads=LEADS))
    days = daily_weather_forecast(sorted(runs.glob("gefs.20190430/00/**/*.f*")))
    field = days.soil_moisture_0_10cm[0]
    interpolated = RegularGridInterpolator((-field.lat.values, field.lon.values), field[2].values)
    expected = interpolated((-cube.lat.values, cube.lon.values))
    mask = cube.mask.values
    np.testing.assert_allclose(store.soil_moisture.values[0, 1][mask], expected[mask], atol=1e-6)
    assert np.isnan(store.soil_moisture.values[:, :, ~mask]).all()

    # The southern half is water.
    wet = truth.isel(time=slice(0, 2)).copy()
    wet["soil_moisture_0_10cm"] = wet.soil_moisture_0_10cm.where(wet.lat > 40.1)
    folder = tmp_path / "coast"
    written(wet, folder)
    coast = opened(write_rival([folder], cube, tmp_path / "coast.zarr", leads=(1,))).soil_moisture.values[0, 0]
    inland, sea = cube.lat.values >= 40.25, cube.lat.values <= 40.0
    assert (mask & inland).any()
    assert (mask & sea).any()
    np.testing.assert_allclose(coast[mask & inland], store.soil_moisture.values[0, 0][mask & inland], atol=1e-6)
    assert np.isnan(coast[mask & sea]).all()
    # On the shore it is what the points on land are, not half of it.
    shore = mask & ~inland & ~sea
    assert shore.any()
    on_land = RegularGridInterpolator(field.lon.values[None], field.sel(lat=40.25)[0].values)
    np.testing.assert_allclose(coast[shore], on_land(cube.lon.values[shore]), atol=1e-6)


def test_a_member_or_the_mean_of_all(truth: xr.Dataset, cube: xr.Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "gefs"
    for member in (0, 1):
        written(truth.isel(time=slice(0, 2)), folder, member)
    drier = truth.isel(time=slice(0, 2)).copy()
    drier["soil_moisture_0_10cm"] = drier.soil_moisture_0_10cm - 0.04
    written(drier, folder, 2)
    found = {}
    for member in ("c00", "p02", "mean"):
        store = opened(write_rival([folder], cube, tmp_path / f"{member}.zarr", leads=(1,), member=member))
        assert store.attrs["weather_run"] == f"GEFS {member}, runs of 00 UTC"
        found[member] = store.soil_moisture.values[..., cube.mask.values]
    np.testing.assert_allclose(found["p02"], found["c00"] - 0.04, atol=2 * PACKED)
    np.testing.assert_allclose(found["mean"], found["c00"] - 0.04 / 3, atol=2 * PACKED)
    with pytest.raises(VadoseError, match=r"member is None; choose one of \['c00', 'p01', 'p02', 'mean'\]"):
        write_rival([folder], cube, tmp_path / "x.zarr", leads=(1,))


def test_it_is_not_made_again_of_the_same_granules(runs: Path, cube: xr.Dataset, tmp_path: Path) -> None:
    path = write_rival([runs], cube, tmp_path / "gefs.zarr", leads=(1,))
    before = (path / "zarr.json").stat().st_mtime_ns
    write_rival([runs], cube, path, leads=(1,))
    assert (path / "zarr.json").stat().st_mtime_ns == before
    write_rival([runs], cube, path, leads=(3,))
    assert (path / "zarr.json").stat().st_mtime_ns > before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer": "0-5 cm"}, r"the weather model has no layer '0-5 cm'; say which of \['0-10 cm', .* stand for it"),
        ({"layer": "100-200 cm"}, "no message holds soil_moisture_100_200cm"),
        ({"first": "2019-04-29", "last": "2019-05-02"}, r"no run of 2019-05-01, 2019-05-03 00 UTC; fetch them"),
    ],
)
def test_what_is_missing_is_named(
    change: dict[str, str], message: str, runs: Path, cube: xr.Dataset, tmp_path: Path
) -> None:
    with pytest.raises(VadoseError, match=message):
        write_rival([runs], cube, tmp_path / "gefs.zarr", **change)  # type: ignore[arg-type]
    assert not (tmp_path / "gefs.zarr").exists()


def test_another_layer_may_stand_for_it_and_is_named(runs: Path, cube: xr.Dataset, tmp_path: Path) -> None:
    same = opened(write_rival([runs], cube, tmp_path / "a.zarr", leads=(1,)))
    store = opened(write_rival([runs], cube, tmp_path / "b.zarr", layer="0-5 cm", depth="0-10 cm", leads=(1,)))
    np.testing.assert_array_equal(store.soil_moisture, same.soil_moisture)
    assert store.attrs["layer"] == "0-5 cm"
    assert "GEFS, 0-10 cm" in store.attrs["rival_note"]


def test_runs_of_other_hours_and_places_are_refused(runs: Path, cube: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match=r"runs start on 2019-04-30 06 UTC; .* fetch runs of 00 UTC"):
        write_rival(sorted(runs.glob("**/*.t06z.*.f*")), cube, tmp_path / "gefs.zarr")
    write_weather_forecast(example(days=3).isel(time=slice(1, 3)), tmp_path / "gfs", "gfs", hours=range(0, 25, 6))
    with pytest.raises(VadoseError, match=r"gefs.zarr: the granules are of GE?FS and GE?FS; give those of one"):
        write_rival([runs, tmp_path / "gfs"], cube, tmp_path / "gefs.zarr", leads=(1,))
    east = cube.assign_coords(lon=cube.lon + 1.0)
    with pytest.raises(VadoseError, match=r"of 24 cells of the cube lie outside the granules, which cover -100.* east"):
        write_rival([runs], east, tmp_path / "gefs.zarr", leads=(1,))


@pytest.fixture(scope="module")
def world(small_cube: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up cube on disk."""
    out = tmp_path_factory.mktemp("world") / "cube.zarr"
    cube = small_cube.assign_attrs(provenance(of="test"))
    xr.Dataset(attrs=cube.attrs).to_zarr(out, zarr_format=3, consolidated=False)
    cube.to_zarr(out, group="ease2_36km", mode="a", zarr_format=3, consolidated=False)
    return out


def foretold(cube: xr.Dataset, days: slice, leads: tuple[int, ...] = LEADS, reach: int = 3) -> xr.Dataset:
    """A rival that foretells a constant up to ``reach`` days."""
    issued = cube.time.values[days]
    values = np.full((len(issued), len(leads), *cube.mask.shape), 0.2, np.float32)
    values[:, [k for k, lead in enumerate(leads) if lead > reach]] = np.nan
    keys = ("cell_size", "grid_step", "grid_crs", "dataset", "layer", "simulated")
    return xr.Dataset(
        {"soil_moisture": (("init_time", "lead_time", "y", "x"), values)},
        coords={
            "init_time": issued,
            "lead_time": pd.to_timedelta(leads, unit="D"),
            "lat": cube.lat,
            "lon": cube.lon,
            "y": cube.y,
            "x": cube.x,
        },
        attrs={k: cube.attrs[k] for k in keys}
        | {"model": "GEFS", "weather": "forecast", "scenario": "all", "causal": "true", **provenance(of="test")},
    )


def experiment(rivals: dict[str, str]) -> Experiment:
    runs = {name: {"model": name, "window": "map", "leads": LEADS} for name in ("persistence", "climatology")}
    split = {
        "training": {"first": "2015-04-01", "last": "2015-05-31"},
        "validation": {"first": "2015-06-10", "last": "2015-08-20"},
        "test": {"first": "2015-10-01", "last": "2015-12-31"},
    }
    known: dict[str, Any] = {"split": split, "runs": runs, "leads": LEADS, "rivals": rivals}
    return Experiment.model_validate(known)


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take longer than all else."""
    monkeypatch.setattr("vadose.experiments.studies.forecasting.build_report", lambda folders, out, title: out)


def table_of(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "scores.csv")


def test_a_rival_stands_in_every_table_at_the_leads_it_reaches(
    world: Path, small_cube: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blank_figures: Any
) -> None:
    told: list[str] = []

    def note(what: str, share: float) -> None:
        told.append(what)

    place = str(tmp_path / "gefs-{layer}.zarr")
    with monkeypatch.context() as patched:
        patched.setattr("vadose.experiments.studies.forecasting.build_report", lambda folders, out, title: out)
        study(experiment({"GEFS": place}), world, tmp_path / "s", title="t", progress=note)
    alone = table_of(tmp_path / "s")
    assert set(alone.model) == {"persistence", "climatology"}
    assert f"rival GEFS: no store {place.format(layer='0-10cm')}, left out of 0-10 cm" in told

    # Two days of issue of the period lack a run.
    store = foretold(small_cube, slice(65, 140))
    store.isel(init_time=[k for k in range(75) if k not in (20, 21)]).to_zarr(
        place.format(layer="0-10cm"), zarr_format=3, consolidated=False
    )
    with blank_figures():
        study(experiment({"GEFS": place}), world, tmp_path / "s", title="t", progress=note)
    assert [what for what in told if what.startswith("rival GEFS: 73 of 78 days of issue 2015-06-03 .. 2015-08-19")]
    table = table_of(tmp_path / "s")
    assert set(table[table.lead_days == 1].model) == {"persistence", "climatology", "GEFS"}
    assert set(table[table.lead_days == 7].model) == {"persistence", "climatology"}
    assert set(table[table.model == "GEFS"].weather) == {"forecast"}
    keys = ["model", "lead_days", "metric"]
    joined = table.merge(alone, on=keys, suffixes=("", "_alone"))
    # Where it does not reach all is as it was; elsewhere all runs are scored on the same, fewer samples.
    far = joined[joined.lead_days == 7]
    np.testing.assert_array_equal(far[["median", "n_pairs"]], far[["median_alone", "n_pairs_alone"]])
    assert (joined[joined.lead_days < 7].n_pairs < joined[joined.lead_days < 7].n_pairs_alone).all()
    assert table.groupby("lead_days").n_pairs.nunique().eq(1).all()
    compared = pd.read_csv(tmp_path / "s" / "evaluation" / "validation" / "comparisons.csv")
    assert set(compared[compared.baseline == "GEFS"].lead_days) == {1, 3}
    assert "GEFS" in (tmp_path / "s" / "report.html").read_text()


@pytest.mark.usefixtures("no_report")
def test_of_a_constant_the_score_is_known(world: Path, small_cube: xr.Dataset, tmp_path: Path) -> None:
    foretold(small_cube, slice(0, 140)).to_zarr(tmp_path / "gefs.zarr", zarr_format=3, consolidated=False)
    study(experiment({"GEFS": str(tmp_path / "gefs.zarr")}), world, tmp_path / "s", title="t")
    scores = xr.open_zarr(tmp_path / "s" / "evaluation" / "validation" / "scores.zarr", consolidated=False)
    bias = scores.value.sel(run="GEFS|forecast|all", metric="bias")
    pairs = xr.open_zarr(tmp_path / "s" / "evaluation" / "validation" / "pairs.zarr", consolidated=False)
    known = np.isfinite(pairs.predicted.sel(lead_days=1)).all("run")
    expected = 0.2 - pairs.observed.where(known).mean("time")
    np.testing.assert_allclose(bias.sel(lead_days=1), expected, atol=1e-6)
    assert np.isnan(bias.sel(lead_days=7)).all()


def test_with_too_few_runs_it_takes_no_samples(small_cube: xr.Dataset, tmp_path: Path) -> None:
    ours = foretold(small_cube, slice(20, 120), reach=7).assign_attrs(model="ours", weather="none")
    ours["soil_moisture_std"] = xr.full_like(ours.soil_moisture, 0.02)
    few = foretold(small_cube, slice(20, 120)).where(lambda s: s.init_time < s.init_time[15])
    evaluate([ours, few], small_cube, out=tmp_path / "e", min_pairs=20)
    table = table_of(tmp_path / "e")
    assert set(table.model) == {"ours"}
    evaluate([ours], small_cube, out=tmp_path / "alone", min_pairs=20)
    pd.testing.assert_frame_equal(table, table_of(tmp_path / "alone"))
    # A distribution that ends before a single value does.
    short = ours.where(ours.lead_time < np.timedelta64(7, "D"))
    plain = foretold(small_cube, slice(20, 120), reach=7)
    evaluate([short, plain], small_cube, out=tmp_path / "short", min_pairs=20)
    table = table_of(tmp_path / "short")
    assert set(table[table.lead_days == 7].model) == {"GEFS"}
    assert set(table[table.lead_days == 3].model) == {"ours", "GEFS"}
    with pytest.raises(VadoseError, match=r"no site has 90 pairs between .* the most found is [1-9]"):
        evaluate([ours, plain], small_cube, out=tmp_path / "none", min_pairs=90)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: s.isel(x=slice(1, None)), r"rival GEFS \(.*gefs.zarr\).*: 8 of 72 cells"),
        (lambda s: s.assign_attrs(layer="10-40 cm"), "is of the layer '10-40 cm', not '0-10 cm'"),
        (lambda s: s.isel(lead_time=[0]), r"lacks leads \[3, 7\] days"),
    ],
)
def test_a_rival_that_does_not_fit_is_refused(
    damage: Any, message: str, world: Path, small_cube: xr.Dataset, tmp_path: Path
) -> None:
    damage(foretold(small_cube, slice(0, 140))).to_zarr(tmp_path / "gefs.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(VadoseError, match=message):
        study(experiment({"GEFS": str(tmp_path / "gefs.zarr")}), world, tmp_path / "s", title="t")


@pytest.mark.usefixtures("no_report")
def test_a_rival_of_other_days_is_left_out(world: Path, small_cube: xr.Dataset, tmp_path: Path) -> None:
    foretold(small_cube, slice(0, 10)).to_zarr(tmp_path / "gefs.zarr", zarr_format=3, consolidated=False)
    told: list[str] = []
    study(
        experiment({"GEFS": str(tmp_path / "gefs.zarr")}),
        world,
        tmp_path / "s",
        title="t",
        progress=lambda what, share: told.append(what),
    )
    assert [what for what in told if what.startswith("rival GEFS: 0 of 78 days")]
    assert "GEFS" not in set(table_of(tmp_path / "s").model)


@pytest.mark.usefixtures("no_report")
def test_a_record_larger_than_memory_is_studied_the_same(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study(experiment({}), world, tmp_path / "s", title="t")
    kept = table_of(tmp_path / "s")
    shutil.rmtree(tmp_path / "s")
    monkeypatch.setattr("vadose.parallel.memory._ALWAYS", 0)
    monkeypatch.setattr("vadose.parallel.memory._free", lambda: 0)
    study(experiment({}), world, tmp_path / "s", title="t")
    pd.testing.assert_frame_equal(table_of(tmp_path / "s"), kept)


def test_braces_in_the_place_of_a_rival_stand_for_the_layer() -> None:
    with pytest.raises(ValueError, match=r"rivals.GEFS: 'gefs-\{depth\}.zarr': braces can only hold layer"):
        experiment({"GEFS": "gefs-{depth}.zarr"})


def test_the_command_writes_the_store(runs: Path, cube: xr.Dataset, tmp_path: Path) -> None:
    cube.to_zarr(tmp_path / "cube.zarr", group="ease2_9km", zarr_format=3, consolidated=False)
    words = ["forecast-rival", str(tmp_path / "cube.zarr"), str(runs), "--layer", "10-40 cm", "--from", "2019-04-29"]
    told = CliRunner().invoke(app, [*words, "--to", "2019-04-29", "--out", str(tmp_path / "gefs.zarr")])
    assert told.exit_code == 0, told.output
    store = opened(tmp_path / "gefs.zarr")
    assert (store.sizes["init_time"], store.attrs["layer"]) == (1, "10-40 cm")
    assert float(store.soil_moisture.isel(lead_time=0).notnull().sum()) == 24
