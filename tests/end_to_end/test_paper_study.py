"""The second paper's study on a simulated county: tables of a made-up table of stations, and maps from granules."""

from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.artefact import provenance
from vadose.experiments.downscaling import Downscaling, OffSite, Place, load_downscaling
from vadose.experiments.studies import study_downscaling
from vadose.grid import ease_grid
from vadose.predict import explain
from vadose.training.station_days import Fitting
from vadose.twin.granules.gridmet import write_gridmet
from vadose.twin.granules.landsat import write_landsat
from vadose.twin.granules.smap_l4 import write_smap_l4
from vadose.twin.granules.terrain import write_3dep
from vadose.twin.truth import simulate

N, DAYS = 12, 400
BOX = (-99.979, 39.992, -99.971, 39.999)
FINE = """
kind: cube
resolution: 100m
bbox: [-99.98, 39.99, -99.97, 40.0]
first: 2019-06-20
last: 2019-07-05
products:
  landsat: {variables: [ndvi], resampling: nearest, gaps: last_value}
  3dep: {variables: [elevation], resampling: nearest}
"""
COARSE = """
kind: cube
resolution: 1km
bbox: [-100.1, 39.9, -99.9, 40.1]
first: 2019-06-10
last: 2019-07-05
products:
  smap_l4: {variables: {soil_moisture: soil_moisture_smap_l4}, resampling: nearest}
  gridmet: {variables: [precipitation], resampling: nearest}
"""


@pytest.fixture(scope="module")
def granules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("granules")
    whole = ease_grid("100m")
    row, column = (int(v) for v in whole.rowcol(39.9955, -99.975))
    county = whole.part(slice(row - 8, row + 8), slice(column - 8, column + 8))
    truth = next(simulate(county, "2019-06-02", "2019-06-22", chunk=40, spin_up=0))
    truth["cloud"] = truth.cloud * 0
    write_landsat(truth, folder / "landsat")
    write_3dep(truth, folder / "3dep")
    cells = next(simulate(ease_grid("9km").bounding_box(-100.4, 39.7, -99.6, 40.3), "2019-06-16", "2019-06-22"))
    write_gridmet(cells, folder / "gridmet")
    write_smap_l4(cells, folder / "smap_l4")
    return folder


def table_of_stations(path: Path) -> Path:
    rng = np.random.default_rng(0)
    rain = rng.gamma(0.3, 10, (N, DAYS)).astype(np.float32)
    moisture = 0.1 + 0.01 * np.stack([np.convolve(of, 0.8 ** np.arange(10))[:DAYS] for of in rain])
    smap = moisture + rng.normal(0, 0.02, (N, DAYS))
    hydroblocks = np.where(np.arange(DAYS) % 3 == 0, smap, np.nan)  # on the days of overpasses alone
    of_days = {"soil_moisture": moisture, "precipitation": rain, "ndvi": rng.uniform(0, 1, (N, DAYS))}
    of_days |= {"soil_moisture_smap_l4": smap, "soil_moisture_smap_hydroblocks": hydroblocks}
    table = xr.Dataset(
        {name: (("station", "time"), values.astype(np.float32)) for name, values in of_days.items()}
        | {"elevation": ("station", rng.uniform(0, 2000, N).astype(np.float32))},
        coords={
            "station": np.array([f"N:{k}" for k in range(N)], object),
            "time": pd.date_range("2018-06-01", periods=DAYS),
            "network": ("station", np.array(["N"] * N, object)),
            "lat": ("station", np.linspace(30, 47, N)),
            "lon": ("station", np.linspace(-115, -80, N)),
        },
        attrs={"mode": "causal", "simulated": "true", "dataset": "made up"} | provenance(seed=0),
    )
    table.to_zarr(path, zarr_format=3, consolidated=False)
    return path


def experiment_of(folder: Path) -> Downscaling:
    """The paper's study with few features, epochs and folds, without one of the stations."""
    (folder / "fine.yaml").write_text(FINE)
    (folder / "coarse.yaml").write_text(COARSE)
    paper = load_downscaling("downscale-paper").with_profile("as_printed")
    few = {"snapshot": ("soil_moisture_smap_l4", "ndvi", "elevation", "latitude"), "series": ("precipitation",)}
    few |= {"fitting": Fitting(epochs=1, rows_per_epoch=1000), "days": 3}
    names = ("mmnet", "mlp", "mlp_full")
    place = Place(
        run="mmnet",
        bbox=BOX,
        days=(date(2019, 6, 20), date(2019, 6, 22)),
        fine=str(folder / "fine.yaml"),
        coarse=str(folder / "coarse.yaml"),
    )
    of_scenarios = paper.scenarios.model_copy(update={"blocked": None})
    on_site = of_scenarios.on_site
    assert on_site is not None
    few_of_them = {"on_site": on_site.model_copy(update={"training_years": 1}), "off_site": OffSite(folds=2)}
    of_scenarios = of_scenarios.model_copy(update=few_of_them)
    return paper.model_copy(
        update={
            "runs": {name: paper.runs[name].model_copy(update=few) for name in names},
            "explained": ("mmnet", "mlp"),
            "place": place,
            "scenarios": of_scenarios,
            "station_list": tuple(f"N:{k}" for k in range(N - 1)),
        }
    )


def test_every_table_and_figure_of_the_paper_comes_from_granules(
    granules: Path, tmp_path: Path, blank_figures: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = partial(explain.importances, n_background=50, n_samples=50, draws=4)
    monkeypatch.setattr("vadose.experiments.studies.downscaling.importances", few)
    monkeypatch.setattr("vadose.experiments.studies.place_maps.cores", lambda: 1)
    table = table_of_stations(tmp_path / "table.zarr")
    out = tmp_path / "out"
    with blank_figures():
        study_downscaling(experiment_of(tmp_path), table, out, title="Paper", granules=granules)
    index = pd.read_csv(out / "paper" / "index.csv", keep_default_na=False).set_index("file")
    absent = index.absent_because[index.absent_because != ""].to_dict()
    assert set(absent) <= {"blocked.csv", "figureS3.png"}, absent
    assert {"figure8.png", "figure8_mlp.png"} <= set(index.index)
    table6 = pd.read_csv(out / "paper" / "table6.csv").set_index(["days_of", "scenario", "model"]).n_pairs
    lost = table6["soil_moisture_smap_hydroblocks", "off-site", "mmnet"]
    # HydroBlocks has a third of the days; the models' own tables keep all of them, of the stations of the list.
    table4 = pd.read_csv(out / "paper" / "table4.csv")
    whole = table4[(table4.model == "mmnet") & (table4.aggregation == "station_record")].n_pairs.item()
    assert whole == (N - 1) * DAYS
    assert lost == (N - 1) * len(range(0, DAYS, 3))
    maps = xr.open_zarr(out / "place" / "maps.zarr", consolidated=False)
    assert np.isfinite(maps.soil_moisture).all()
