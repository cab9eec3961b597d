"""Maps by two processes of their own, as `vadose downscale --workers 2` makes them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from typer.testing import CliRunner

from vadose.artefact import provenance
from vadose.cli.terminal import app
from vadose.door import by_day
from vadose.grid import ease_grid, raster_coordinates
from vadose.models import to_checkpoint
from vadose.models.domain import training_domain
from vadose.models.mmnet import Features, MMNet, example_fine

FEATURES = Features(("ndvi", "elevation", "season_sine"), ("precipitation", "shortwave_radiation"), days=4)
DAYS = pd.date_range("2020-06-29", periods=2)
ROWS, COLUMNS, TILE = 70, 150, 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network, the features of a map of two rows of three tiles, and the weather over it."""
    folder, rng = tmp_path_factory.mktemp("made"), np.random.default_rng(0)
    whole = ease_grid("100m")
    row, column = (int(v) for v in whole.rowcol(39.0, -98.0))
    grid = whole.part(slice(row, row + ROWS), slice(column, column + COLUMNS))
    fine = grid.coordinates().drop_vars(["lat", "lon"]).assign_coords(time=DAYS)
    fine["elevation"] = ("y", "x"), rng.normal(0.5, 0.3, grid.shape).astype(np.float32)
    fine["ndvi"] = ("time", "y", "x"), rng.random((len(DAYS), *grid.shape)).astype(np.float32)
    fine.ndvi.values[:, 10:20, :30] = np.nan
    fine = fine.assign_attrs(simulated="true", **provenance(seed=0))
    fine.to_zarr(folder / "fine.zarr", zarr_format=3, consolidated=False)
    lat, lon = grid.latlon(ROWS // 2, COLUMNS // 2)
    before = pd.date_range(DAYS[0] - pd.Timedelta(days=4), DAYS[-1])
    weather = raster_coordinates("EPSG:4326", (float(lon) - 0.2, float(lat) + 0.2, 1 / 24, 1 / 24), (9, 9))
    weather = weather.assign_coords(time=before)
    for name in FEATURES.series:
        weather[name] = ("time", "lat", "lon"), rng.random((len(before), 9, 9)).astype(np.float32)
    weather = weather.assign_attrs(simulated="true", **provenance(seed=1))
    weather.to_zarr(folder / "weather.zarr", zarr_format=3, consolidated=False)
    torch.manual_seed(0)
    model = MMNet(FEATURES, gaussian=True)
    example = example_fine(FEATURES, batch=256)
    model.fit_normalisation([(example, 0.2 + 0.1 * torch.rand(256))])
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm1d):
            layer.momentum = 1.0  # no layer falls silent
    model.train()(example)
    domain = training_domain(example.snapshot)
    torch.save(to_checkpoint("mmnet", {"gaussian": True}, model) | {"domain": domain}, folder / "model.pt")
    return folder


def maps(folder: Path, name: str, *more: str) -> xr.Dataset:
    words = [
        "downscale",
        str(folder / "model.pt"),
        "--fine",
        str(folder / "fine.zarr"),
        "--coarse",
        str(folder / "weather.zarr"),
        "--from",
        f"{DAYS[0]:%Y-%m-%d}",
        "--to",
        f"{DAYS[1]:%Y-%m-%d}",
        "--tile",
        str(TILE),
        "--out",
        str(folder / name),
        *more,
    ]
    told = CliRunner().invoke(app, words, catch_exceptions=False)
    assert told.exit_code == 0
    made: xr.Dataset = by_day(xr.open_zarr(folder / name, consolidated=False)).load()
    return made


def test_two_processes_write_the_bytes_of_one(folder: Path) -> None:
    one, two = maps(folder, "one.zarr"), maps(folder, "two.zarr", "--workers", "2")
    assert set(two.data_vars) == {"soil_moisture", "soil_moisture_std", "outside_training", "missing_share"}
    assert two.soil_moisture.shape == (2, ROWS, COLUMNS)
    assert two.soil_moisture.notnull().all()
    assert float(two.soil_moisture.std()) > 1e-3
    for name in two.data_vars:
        files = [
            sorted(path for path in (folder / store / str(name)).rglob("*") if path.is_file())
            for store in ("one.zarr", "two.zarr")
        ]
        assert len(files[0]) == len(files[1]) > 1
        for a, b in zip(*files, strict=True):
            assert a.read_bytes() == b.read_bytes(), f"{a} and {b}"
    xr.testing.assert_identical(one.drop_attrs(deep=False), two.drop_attrs(deep=False))
