"""What validators of soil moisture expect, against pytesmo: anomalies, scaling, collocation and its table."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr

import vadose as vd
from vadose.door.days import Period
from vadose.errors import VadoseError
from vadose.evaluation.anomalies import climatology, climatology_anomalies, moving_mean, window_anomalies
from vadose.evaluation.collocation import Extended, moments, triple_figures
from vadose.evaluation.scaling import SCALINGS, scaled
from vadose.evaluation.treatment import Treatment
from vadose.evaluation.validation import Validation

DAYS = pd.date_range("2015-02-10", "2019-06-30")
RNG = np.random.default_rng(0)
EXACT = {"rtol": 1e-8, "atol": 1e-10, "equal_nan": True}


def theirs(name: str) -> Any:
    return pytest.importorskip(f"pytesmo.{name}")


@pytest.fixture(scope="module")
def series() -> np.ndarray:
    """Three sites of more than four years, with gaps at random and of months."""
    season = 0.25 + 0.1 * np.sin(2 * np.pi * DAYS.day_of_year.to_numpy() / 365.25)
    values = season[:, None] + 0.03 * RNG.standard_normal((len(DAYS), 3))
    values[RNG.random(values.shape) < 0.4] = np.nan
    values[300:420, 1] = np.nan
    return values


def test_anomalies_are_those_of_pytesmo(series: np.ndarray) -> None:
    anomaly = theirs("time_series.anomaly")
    filtering = theirs("time_series.filtering")
    ours, of_year = window_anomalies(series), climatology(series, DAYS)
    part = Period("2016-01-01", "2018-12-31")
    shifted = climatology_anomalies(series, DAYS, part)
    for k in range(3):
        one = pd.Series(series[:, k], DAYS)
        np.testing.assert_allclose(ours[:, k], one - filtering.moving_average(one, 35, min_obs=5), **EXACT)
        known = np.isfinite(ours[:, k])
        np.testing.assert_allclose(ours[known, k], anomaly.calc_anomaly(one)[known], **EXACT)
        np.testing.assert_allclose(of_year[:, k], anomaly.calc_climatology(one), **EXACT)
        expected = anomaly.calc_climatology(one, timespan=[pd.Timestamp(part.first), pd.Timestamp(part.last)])
        expected = anomaly.calc_anomaly(one, climatology=expected, respect_leap_years=False)
        np.testing.assert_allclose(shifted[:, k], expected, **EXACT)


def test_a_day_with_few_values_or_years_around_it_has_no_anomaly() -> None:
    values = np.full((731, 1), np.nan)
    values[[0, 5, 6, 7, 8, 200]] = 0.3
    assert np.isfinite(window_anomalies(values)).sum() == 5
    two = pd.date_range("2017-01-01", periods=731)
    assert np.isnan(climatology(values, two)).all()  # of one year alone
    values[365 + 10] = 0.3
    assert 0 < np.isfinite(climatology(values, two)).sum() < 60
    stuck = np.full((731, 1), 0.2)
    assert not window_anomalies(stuck).any()
    assert not climatology_anomalies(stuck, two).any()
    np.testing.assert_allclose(moving_mean(values[:9], 35)[0], 0.3)  # a window longer than the record


@pytest.mark.parametrize("how", ["mean-std", "linear", "cdf"])
@pytest.mark.parametrize("of", ["few", "plain", "many", "ties", "ties at the ends", "steps of both"])
def test_scaled_series_are_those_of_pytesmo(how: str, of: str) -> None:
    n = {"few": 30, "many": 3000}.get(of, 700)
    o = np.sin(np.arange(n) / 9) / 9 + 0.25 + 0.02 * RNG.standard_normal(n)
    x = 0.7 * o**2 + 0.1 + 0.01 * RNG.standard_normal(n)
    if of == "ties":
        x = np.round(x, 2)
    elif of == "ties at the ends":
        x, o = x.clip(*np.quantile(x, [0.2, 0.7])), o.clip(*np.quantile(o, [0.1, 0.9]))
    elif of == "steps of both":
        x, o = np.round(x, 1), np.round(o, 1)
    function = getattr(theirs("scaling"), {"mean-std": "mean_std", "linear": "linreg", "cdf": "cdf_match"}[how])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = function(x, o)
    every = np.ones(n, bool)
    found = scaled(x, o, every, how)
    np.testing.assert_allclose(found, expected, **EXACT)
    known = RNG.random(n) < 0.9  # parameters come from the pairs alone
    known[:10] = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_allclose(scaled(x, o, known, how)[known], function(x[known], o[known]), **EXACT)


@pytest.mark.parametrize("how", SCALINGS)
def test_what_does_not_vary_or_falls_is_not_scaled(how: str) -> None:
    x, every = RNG.random(30), np.ones(30, bool)
    stuck = np.full(30, 0.2)
    assert scaled(stuck, x, every, how) is None
    assert scaled(x, stuck, every, how) is None
    assert scaled(x, x, np.arange(30) < 1, how) is None
    assert (scaled(x, -x, every, how) is None) == (how != "mean-std")


SITES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    """A store of four stations, one of a stuck sensor, and the files of three products beside it."""
    days, rng = DAYS[:900], np.random.default_rng(1)
    truth = 0.25 + 0.1 * np.sin(2 * np.pi * np.arange(900) / 365.25) + 0.03 * np.sin(np.arange(900) / 11)
    observed = truth[:, None] + 0.02 * rng.standard_normal((900, 4))
    observed[rng.random(observed.shape) < 0.2] = np.nan
    observed[:, 3] = 0.2
    lat, lon = np.array([40.0, 39.0, 40.0, 39.0]), np.array([-100.0, -100.0, -99.0, -99.0])
    folder = tmp_path_factory.mktemp("qa4sm")
    store = xr.Dataset(
        {"soil_moisture": (("layer", "station", "time"), observed.T[None])},
        {
            "layer": np.array(["0-10 cm"], object),
            "station": np.array(SITES, object),
            "time": days,
            "lat": ("station", lat),
            "lon": ("station", lon),
        },
    )
    store.to_zarr(folder / "stations.zarr", zarr_format=3, consolidated=False)
    files = {}
    for name, slope, noise in (("era5", 0.7, 0.02), ("smap", 1.2, 0.04), ("gldas", 0.9, 0.03)):
        values = 0.05 + slope * truth[:, None, None] + noise * rng.standard_normal((900, 2, 2))
        files[name] = folder / f"{name}.nc"
        xr.Dataset(
            {"swvl1": (("time", "lat", "lon"), values, {"units": "m3 m-3"})},
            {"time": days, "lat": [40.0, 39.0], "lon": [-100.0, -99.0]},
        ).to_netcdf(files[name])
    return folder / "stations.zarr", files


def pairs_of(folder: Path, site: str = "a") -> pd.DataFrame:
    """The series that were scored."""
    pairs = xr.open_zarr(folder / "pairs.zarr", consolidated=False).isel(lead_days=0).sel(site=site)
    models = {str(name): pairs.predicted.isel(run=k).values for k, name in enumerate(pairs.model.values)}
    return pd.DataFrame({"observed": pairs.observed.values, **models}, pairs.time.values).dropna()


def raw_of(world: tuple[Path, dict[str, Path]]) -> pd.DataFrame:
    """The same of the first station as they lie in the files."""
    station = xr.open_zarr(world[0], consolidated=False).soil_moisture[0, 0].values
    products = {name: xr.open_dataset(path).swvl1[:, 0, 0].values for name, path in world[1].items()}
    return pd.DataFrame({"observed": station, **products}, DAYS[:900])


@pytest.mark.parametrize(("anomalies", "scale"), [("window", "none"), ("climatology", "mean-std"), ("none", "cdf")])
def test_treated_series_of_files_are_those_of_pytesmo(
    world: tuple[Path, dict[str, Path]], tmp_path: Path, anomalies: str, scale: str
) -> None:
    series = raw_of(world)
    of_time = theirs("time_series.anomaly")
    if anomalies == "window":
        series = series.apply(of_time.calc_anomaly)
    elif anomalies == "climatology":
        series = series.apply(
            lambda one: of_time.calc_anomaly(one, climatology=of_time.calc_climatology(one), respect_leap_years=False)
        )
    series = series.dropna()
    if scale != "none":
        function = getattr(theirs("scaling"), {"mean-std": "mean_std", "cdf": "cdf_match"}[scale])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in world[1]:
                series[name] = function(series[name].to_numpy(), series.observed.to_numpy())
    scores = vd.evaluate([*world[1].values()], world[0], out=tmp_path / "e", anomalies=anomalies, scale=scale)
    xr.testing.assert_allclose(
        pairs_of(tmp_path / "e").to_xarray(), series.rename_axis("index").to_xarray(), rtol=1e-8, atol=1e-10
    )
    label = {
        "none": "",
        "window": "anomalies from the mean of 35 days",
        "climatology": "anomalies from the own climatology",
    }
    words = "; ".join(
        filter(None, [label[anomalies], "" if scale == "none" else f"scaled to the observations ({scale})"])
    )
    for table in ("scores", "comparisons"):
        assert set(scores.read(table).remarks.astype(object).fillna("")) == {words}
    reasons = dict(scores.left_out.groupby("reason").left_out.max())
    assert reasons.get("series that cannot be scaled to the observations") == (1 if scale != "none" else None)


def test_the_table_of_all_pairs_and_triples_is_that_of_pytesmo(
    world: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    metrics = theirs("metrics")
    out = tmp_path / "e"
    vd.evaluate([*world[1].values()], world[0], out=out, qa4sm=True, correlated=[("era5", "gldas")], scale="linear")
    table = pd.read_csv(out / "qa4sm.csv", keep_default_na=False, na_values=[""])
    series = pairs_of(out)
    pairs = table[table.of.isna() & (table.site == "a")].set_index("between")
    assert len(pairs) == 6
    for between, row in pairs.iterrows():
        x, y = (series[name].to_numpy() for name in str(between).split("_and_"))
        assert (row.n_obs, row.status) == (len(series), 0)
        expected = dict(zip(("mse", "mse_corr", "mse_bias", "mse_var"), metrics.mse_decomposition(x, y), strict=True))
        expected |= {"BIAS": metrics.bias(x, y), "RMSD": metrics.rmsd(x, y), "urmsd": metrics.ubrmsd(x, y)}
        expected |= {"RSS": metrics.RSS(x, y), "R": metrics.pearson_r(x, y), "rho": metrics.spearman_r(x, y)}
        expected |= {"tau": metrics.kendall_tau(x, y)}
        for name, value in expected.items():
            np.testing.assert_allclose(row[name], value, rtol=1e-8, atol=1e-10, err_msg=f"{between} {name}")
        for name in ("R", "BIAS", "RMSD", "urmsd"):
            assert row[f"{name}_ci_lower"] < row[name] < row[f"{name}_ci_upper"]
    triple = table[(table.between == "observed_and_era5_and_smap") & (table.site == "a")].set_index("of")
    theirs_of = metrics.tcol_metrics(*(series[name].to_numpy() for name in ("observed", "era5", "smap")))
    for name, values in zip(("snr", "err_std", "beta"), theirs_of, strict=True):
        np.testing.assert_allclose(triple.loc[["observed", "era5", "smap"], name], values, rtol=1e-8)
        assert (triple[f"{name}_ci_lower"].iloc[1:] < triple[name].iloc[1:]).all()
    extended = pd.read_csv(out / "ecol.csv")
    ends = extended[extended["name"] == "err_corr_era5_gldas"].iloc[:3]
    assert ((ends.lower > -1) & (ends.lower < ends.value) & (ends.value < ends.upper) & (ends.upper < 1)).all()
    extended = extended[extended.site == "a"].set_index("name").value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = theirs("metrics.tcol").ecol(series.copy(), correlated=[["era5", "gldas"]], abs_est=False)
    assert set(extended.index) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(extended[name], value, rtol=1e-7, atol=1e-10, err_msg=name)
    stuck = table[(table.site == "d") & table.between.str.contains("observed")]
    assert set(stuck.status) == {5}
    assert stuck[["R", "snr", "rho"]].isna().all(axis=None)


def test_blocks_seasons_and_what_was_asked(world: tuple[Path, dict[str, Path]], tmp_path: Path) -> None:
    asked = {"replicates": 200, "block_length": 20, "seed": 2}
    vd.evaluate([*world[1].values()][:2], world[0], out=tmp_path / "e", seasons=True, **asked)
    table = pd.read_csv(tmp_path / "e" / "qa4sm.csv")
    row = table[(table.site == "a") & (table.between == "era5_and_observed")].iloc[0]
    series = pairs_of(tmp_path / "e").reindex(DAYS[:900])
    drawn = Validation(**asked).draws(900)
    again = [
        series.take(np.repeat(np.arange(900), of.astype(int)))[["era5", "observed"]].dropna().corr().iloc[0, 1]
        for of in drawn[:200]
    ]
    np.testing.assert_allclose(row[["R_ci_lower", "R_ci_upper"]].astype(float), np.quantile(again, [0.025, 0.975]))
    assert set(table[(table.site == "d") & table.between.str.contains("observed")].status) == {2}  # a stuck sensor
    header = xr.open_zarr(tmp_path / "e" / "scores.zarr", consolidated=False).attrs
    assert {**asked, "min_pairs": 60, "seasons": "true"}.items() <= header.items()
    assert not (tmp_path / "e" / "ecol.csv").exists()
    strata = pd.read_csv(tmp_path / "e" / "strata.csv", keep_default_na=False, na_values=[""])
    assert set(strata[strata.kind == "season"]["class"]) == {"DJF", "MAM", "JJA", "SON"}
    summer = strata[(strata["class"] == "JJA") & (strata.metric == "rmse") & (strata.model == "era5")].iloc[0]
    of_sites = [pairs_of(tmp_path / "e", site) for site in SITES]
    errors = [of[of.index.month.isin([6, 7, 8])].eval("(era5 - observed) ** 2").mean() ** 0.5 for of in of_sites]
    assert summer["median"] == pytest.approx(np.median(errors), rel=1e-5)


def test_extremes_are_scored_on_the_same_days(world: tuple[Path, dict[str, Path]], tmp_path: Path) -> None:
    scores = vd.evaluate([*world[1].values()][:2], world[0], out=tmp_path / "e", extremes=True)
    table = pd.read_csv(scores.folder / "extremes.csv")
    assert len(table) == 2 * 4
    assert table.coverage_90.isna().all()  # of single values
    for (what, tenth), below in ((("observed", "driest"), True), (("forecast", "wettest"), False)):
        row = table[(table.model == "era5") & (table.conditioned_on == what) & (table.tenth == tenth)].iloc[0]
        biases, number = [], 0
        for site in SITES:
            of = pairs_of(scores.folder, site).dropna()
            values = of["observed" if what == "observed" else "era5"].sort_values()
            n = len(of) // 10
            days = (
                of[values.reindex(of.index) <= values.iloc[n - 1]]
                if below
                else of[values.reindex(of.index) >= values.iloc[-n]]
            )
            biases.append((days.era5 - days.observed).mean())
            number += len(days)
        assert row.bias == pytest.approx(np.median(biases), rel=1e-4)
        assert row.n_pairs == number
    assert (table[(table.conditioned_on == "observed") & (table.tenth == "driest")].bias > 0).all()  # damped


def test_blocks_are_days_in_a_row_drawn_by_the_seed() -> None:
    first = Validation(replicates=100, block_length=7, seed=1).draws(30)
    assert first is not None
    assert (first.sum(axis=1) == 30).all()
    np.testing.assert_array_equal(first, Validation(replicates=100, block_length=7, seed=1).draws(30))
    assert (first != Validation(replicates=100, block_length=7, seed=2).draws(30)).any()
    assert Validation().draws(30) is None


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Treatment(scale="beta"), "scale 'beta': expected none, mean-std, linear, cdf"),
        (lambda: Treatment("monthly"), "anomalies 'monthly': expected none, window, climatology"),
        (lambda: Treatment("none", Period("2015-01-01", "2016-12-31")), "climatologies is given, but anomalies are"),
        (
            lambda: Treatment("climatology", Period("2017-01-01", "2016-12-31")),
            "expected the first day before the last",
        ),
        (lambda: Validation(replicates=10), "replicates 10: expected 100 or more, or 0"),
        (lambda: Validation(replicates=100, block_length=900).draws(899), "900 days: the record scored has 899"),
        (lambda: Extended([*"abcd"], [("a", "mine")]), r"correlated: \['mine'\] unknown; choose from \['a', 'b'"),
        (lambda: Extended([*"abc"], [("a", "b")]), "expected four data sets or more"),
        (lambda: Extended([*"abcd"], [*zip("aab", "bcc", strict=True)]), "leave no triple of independent errors"),
    ],
)
def test_what_cannot_be_made_is_refused(made: Callable[[], object], message: str) -> None:
    with pytest.raises(VadoseError, match=message) as error:
        made()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"days": ("2016-01-01", "2016-01-10"), "anomalies": "window"}, "no site has 60 pairs .* a series of 35 days"),
        (
            {"anomalies": "climatology", "climatology": ("2015-03-01", "2015-12-31")},
            "no site has 60 pairs .*; an anomaly needs values of 2 years in the 35 days around it",
        ),
    ],
)
def test_records_too_short_for_anomalies_say_what_these_need(
    world: tuple[Path, dict[str, Path]], tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(VadoseError, match=message):
        vd.evaluate([world[1]["era5"]], world[0], out=tmp_path / "e", **options)
    assert not (tmp_path / "e").exists()


def test_errors_of_triples_that_cannot_be_are_missing() -> None:
    common = RNG.standard_normal(500)
    x, y, z = common, common + 0.1 * RNG.standard_normal(500), common + RNG.standard_normal(500)
    x = 0.5 * (y + z)  # its error is that of the others: its variance comes out negative
    m = moments(np.stack([x, y, z])[:, :, None]).sum(axis=0)
    figures = triple_figures(m, 3, (0, 1, 2))
    snr, err_std, beta = theirs("metrics").tcol_metrics(x, y, z)
    assert np.isnan([err_std[0], figures["err_std"][0, 0], figures["snr"][0, 0]]).all()
    np.testing.assert_allclose(figures["beta"][0], beta, rtol=1e-8)
    np.testing.assert_allclose(figures["snr"][0, 1:], snr[1:], rtol=1e-8)
    falling = moments(np.stack([x, -y, z])[:, :, None]).sum(axis=0)
    assert all(np.isnan(values).all() for values in triple_figures(falling, 3, (0, 1, 2)).values())


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_climates_come_from_a_map_and_classes_from_a_table(world: tuple[Path, dict[str, Path]], tmp_path: Path) -> None:
    classes = np.array([[7, 26], [0, 14]], np.uint8)
    where = rasterio.transform.from_origin(-100.5, 40.5, 1, 1)
    shape: Any = {"height": 2, "width": 2, "count": 1, "dtype": "uint8"}
    with rasterio.open(tmp_path / "kg.tif", "w", driver="GTiff", crs="EPSG:4326", transform=where, **shape) as file:
        file.write(classes, 1)
    (tmp_path / "use.csv").write_text("station,use\na,farm\nc,wood\n")
    vd.evaluate(
        [world[1]["era5"]],
        world[0],
        out=tmp_path / "e",
        strata={"koeppen": tmp_path / "kg.tif", "use": tmp_path / "use.csv"},
    )
    strata = pd.read_csv(tmp_path / "e" / "strata.csv")
    assert set(strata[strata.kind == "koeppen"]["class"]) == {"BSk", "Dfb", "Cfa"}
    assert set(strata[strata.kind == "use"]["class"]) == {"farm", "wood"}
    with rasterio.open(tmp_path / "kg.tif", "r+") as file:
        file.write(classes + 24, 1)
    with pytest.raises(VadoseError, match="class 31 found; expected 1 to 30"):
        vd.evaluate([world[1]["era5"]], world[0], out=tmp_path / "f", strata={"koeppen": tmp_path / "kg.tif"})
    (tmp_path / "bad.csv").write_text("name,use\na,farm\n")
    for source, message in (("bad.csv", "has no column station; found name, use"), ("no.tif", "no.tif")):
        with pytest.raises(VadoseError, match=message):
            vd.evaluate([world[1]["era5"]], world[0], out=tmp_path / "f", strata={"use": tmp_path / source})
