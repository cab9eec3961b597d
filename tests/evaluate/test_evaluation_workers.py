import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed import Client, LocalCluster
from typer.testing import CliRunner

from vadose.cli.terminal import app
from vadose.errors import VadoseError
from vadose.evaluation import METRICS, evaluate
from vadose.evaluation.metrics import N, P, Q

LEADS = (1, 2, 3, 7)
RUNS = {"persistence": 0.06, "climatology": 0.05, "lstm": 0.01}
TABLES = ("scores", "strata", "comparisons", "products")


def store_of(cube: xr.Dataset, model: str, error: float) -> xr.Dataset:
    """The filled moisture of a made-up cube at each lead, with errors; one model has a deviation."""
    rng = np.random.default_rng(len(model))
    truth = cube.soil_moisture.interpolate_na("time", fill_value="extrapolate").values
    values = np.stack([truth[20 + lead : 120 + lead] for lead in LEADS], axis=1)
    values = (values + error * rng.normal(size=values.shape)).astype(np.float32)
    dims = ("init_time", "lead_time", "y", "x")
    attrs = {key: cube.attrs[key] for key in ("cell_size", "grid_step", "grid_crs", "dataset", "layer", "simulated")}
    store = xr.Dataset(
        {"soil_moisture": (dims, values)},
        coords={
            "init_time": cube.time.values[20:120],
            "lead_time": pd.to_timedelta(LEADS, unit="D"),
            "lat": cube.lat,
            "lon": cube.lon,
            "y": cube.y,
            "x": cube.x,
        },
        attrs=attrs | {"model": model, "weather": "none", "scenario": "all", "causal": "true"},
    )
    return store.assign(soil_moisture_std=(dims, np.full_like(values, error))) if model == "lstm" else store


@pytest.fixture(scope="module")
def stores(small_cube: xr.Dataset) -> list[xr.Dataset]:
    return [store_of(small_cube, model, error) for model, error in RUNS.items()]


@pytest.fixture(scope="module")
def observed(small_cube: xr.Dataset) -> xr.Dataset:
    cover = np.full((8, 9), 10.0)
    cover[:, 5:] = 4
    return small_cube.assign(land_cover=(("y", "x"), cover))


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster:
        yield cluster


def made(stores: list[xr.Dataset], observed: xr.Dataset, out: Path, **how: Any) -> Path:
    filled = observed.soil_moisture.interpolate_na("time", fill_value="extrapolate")
    return evaluate(stores, observed, out=out, min_pairs=20, products={"analysis": filled + 0.02}, **how)


@pytest.fixture(scope="module", autouse=True)
def own_metric() -> Iterator[None]:
    """A metric of one's own, which processes started before know nothing of."""
    METRICS["largest"] = lambda m: np.abs(m[..., P] - m[..., Q]) / m[..., N]
    yield
    del METRICS["largest"]


@pytest.fixture(scope="module")
def one(stores: list[xr.Dataset], observed: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(stores, observed, tmp_path_factory.mktemp("alone") / "e")


def test_two_workers_write_the_tables_of_one_and_one_may_die(
    one: Path, stores: list[xr.Dataset], observed: xr.Dataset, tmp_path: Path, cluster: LocalCluster
) -> None:
    seen: list[float] = []
    killed: list[int] = []

    def kill(what: str, share: float) -> None:
        seen.append(share)
        if share > 0 and not killed:
            with Client(cluster, set_as_default=False) as client:
                killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    for nanny in cluster.workers.values():
        nanny.auto_restart = False  # to wait for a new worker would take longer than to do without
    two = made(stores, observed, tmp_path / "e", scheduler=cluster.scheduler_address, progress=kill)
    assert killed
    assert seen == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]  # four leads, and the products
    for name in TABLES:
        table = (one / f"{name}.csv").read_bytes()
        assert len(table.splitlines()) > len(RUNS)
        assert table == (two / f"{name}.csv").read_bytes()
        assert b"largest" in table
    for name in ("scores.zarr", "pairs.zarr"):
        single, several = (xr.open_zarr(folder / name, consolidated=False).load() for folder in (one, two))
        assert single.lead_days.values.tolist() == list(LEADS)
        xr.testing.assert_equal(single, several)  # every bit of it


def test_pairs_are_stored_so_that_a_lead_is_read_alone(one: Path) -> None:
    pairs = xr.open_zarr(one / "pairs.zarr", consolidated=False)
    for name in ("predicted", "spread"):
        assert pairs[name].dims == ("run", "lead_days", "time", "site")
        assert pairs[name].encoding["chunks"] == (1, 1, pairs.sizes["time"], pairs.sizes["site"])


def test_nothing_is_left_behind_where_no_scheduler_answers(
    stores: list[xr.Dataset], observed: xr.Dataset, tmp_path: Path
) -> None:
    with pytest.raises(VadoseError, match="nowhere: no Dask scheduler answers there"):
        made(stores, observed, tmp_path / "e", scheduler="nowhere")
    assert not list(tmp_path.iterdir())


def test_the_command_takes_a_scheduler(
    stores: list[xr.Dataset], observed: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def evaluate(stores: list[xr.Dataset], truth: xr.Dataset, **how: Any) -> None:
        asked.update(how)
        how["out"].mkdir()
        (how["out"] / "scores.csv").touch()

    monkeypatch.setattr("vadose.evaluation.evaluate", evaluate)
    stores[0].to_zarr(tmp_path / "f.zarr", zarr_format=3, consolidated=False)
    observed.to_zarr(tmp_path / "cube.zarr", group="ease2_36km", zarr_format=3, consolidated=False)
    words = [
        "evaluate",
        str(tmp_path / "f.zarr"),
        "--observed",
        str(tmp_path / "cube.zarr"),
        "--workers",
        "3",
        "--scheduler",
        "tcp://host:8786",
        "--out",
        str(tmp_path / "e"),
    ]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert (asked["workers"], asked["scheduler"]) == (3, "tcp://host:8786")
