from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.image import imread

from vadose.errors import VadoseError
from vadose.evaluation import evaluate
from vadose.experiments import LayerConfig
from vadose.experiments.studies.forecasting import _score_products
from vadose.experiments.studies.pipeline import Layer
from vadose.reports.rabiei_2025 import _table1, paper_tables

LEADS = (1, 30)
LAYERS = ("0-10 cm", "10-40 cm", "40-100 cm")
FIGURES = [f"figure{n}.png" for n in (1, *range(3, 9), "A1", "A2", "A3", "A4")]


@pytest.fixture(scope="module")
def world(small_cube: xr.Dataset) -> xr.Dataset:
    """A cube of three layers without gaps, with land cover and soil."""
    values = small_cube.soil_moisture.values
    flat = pd.DataFrame(values.reshape(len(values), -1)).ffill().bfill().to_numpy().reshape(values.shape)
    cube = small_cube.drop_vars("soil_moisture")
    for name in ("0_10cm", "10_40cm", "40_100cm"):
        cube[f"soil_moisture_{name}"] = ("time", "y", "x"), flat
    cube["land_cover"] = ("y", "x"), np.where(np.arange(72).reshape(8, 9) % 2, 10.0, 4.0)
    cube["koeppen"] = ("y", "x"), np.where(np.arange(72).reshape(8, 9) % 5, "Dfa", "BSk").astype(object)
    for part, share in (("sand", 0.4), ("silt", 0.4), ("clay", 0.2)):
        cube[f"{part}_fraction"] = ("y", "x"), np.full((8, 9), share)
    return cube


def stores_of(cube: xr.Dataset, layer: str) -> list[xr.Dataset]:
    """Persistence and two scenarios of a network, S2 with smaller errors."""
    observed = f"soil_moisture_{layer.replace('-', '_').replace(' ', '')}"
    truth, rng = cube[observed].values, np.random.default_rng(len(layer))
    found = []
    for model, scenario, error in (("persistence", "all", 0.05), ("convlstm", "S1", 0.02), ("convlstm", "S2", 0.01)):
        values = np.stack([truth[20 + lead : 110 + lead] for lead in LEADS], axis=1)
        attrs = {key: cube.attrs[key] for key in ("cell_size", "grid_step", "grid_crs", "dataset", "simulated")}
        attrs |= {
            "model": model,
            "weather": "none",
            "scenario": scenario,
            "causal": "true",
            "layer": layer,
            "observed": observed,
        }
        coords = {
            "init_time": cube.time.values[20:110],
            "lead_time": pd.to_timedelta(LEADS, unit="D"),
            "lat": cube.lat,
            "lon": cube.lon,
            "y": cube.y,
            "x": cube.x,
        }
        moisture = ("init_time", "lead_time", "y", "x"), values + error * rng.normal(size=values.shape)
        found.append(xr.Dataset({"soil_moisture": moisture}, coords=coords, attrs=attrs))
    return found


def stations_of(cube: xr.Dataset) -> xr.Dataset:
    """A station in each cell of the inner rows, two of three of them of one network."""
    rows, columns = (index.ravel() for index in np.mgrid[1:7, 0:9])
    at = {"y": xr.DataArray(rows, dims="station"), "x": xr.DataArray(columns, dims="station")}
    names = ("0_10cm", "10_40cm", "40_100cm")
    layers = [cube[f"soil_moisture_{name}"].isel(at).transpose("station", "time").values for name in names]
    networks = np.where(np.arange(len(rows)) % 3, "SCAN", "USCRN").astype(object)
    return xr.Dataset(
        {"soil_moisture": (("station", "layer", "time"), np.stack(layers, axis=1))},
        coords={
            "station": [f"s{k}" for k in range(len(rows))],
            "layer": list(LAYERS),
            "time": cube.time.values,
            "network": ("station", networks),
            "lat": ("station", cube.lat.isel(at).values),
            "lon": ("station", cube.lon.isel(at).values),
        },
        attrs={"dataset": "made up"},
    )


@pytest.fixture(scope="module")
def at_stations(world: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("stations")
    found = {}
    for number, layer in enumerate(LAYERS):
        product = xr.DataArray(world.soil_moisture_0_10cm + 0.02)
        found[layer] = evaluate(
            stores_of(world, layer),
            stations_of(world),
            out=folder / str(number),
            min_pairs=20,
            cube=world,
            products={"nldas_noah": product} if number == 0 else None,
        )
    return found


@pytest.fixture(scope="module")
def made(at_stations: dict[str, Path], world: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    forecasts = {layer: stores_of(world, layer)[2] for layer in LAYERS}
    out = tmp_path_factory.mktemp("paper") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vadose.reports.contents.DPI", 50)  # figures of a third of the edge show as well what is drawn
        return paper_tables(at_stations, out, forecasts=forecasts, cube=world)


def test_every_table_and_figure_is_there(made: Path) -> None:
    index = pd.read_csv(made / "index.csv", keep_default_na=False)
    assert set(index.absent_because) == {""}
    tables = [*(f"table{n}.csv" for n in (1, 4, 5, "A1")), "published.csv"]
    assert sorted(index.file) == sorted([*tables, *FIGURES, "figure9.png"])
    assert {path.name for path in made.iterdir()} == {*index.file, "index.csv", "provenance.json"}
    for name in (*FIGURES, "figure9.png"):
        pixels = imread(made / name)
        assert pixels.shape[1] > 4 * 50  # four inches
        assert pixels[..., :3].std() > 0.02  # something is drawn
    shows = index.set_index("file").shows
    assert "SCAN" in shows["figure3.png"]
    assert "USCRN" in shows["figureA1.png"]
    assert "convlstm|none|S2 (best median R" in shows["figure7.png"]


def test_table_1_scores_the_product_by_network_and_land_cover(made: Path) -> None:
    table = pd.read_csv(made / "table1.csv").set_index(["network", "land_cover", "model", "scenario", "metric"])
    for network in ("SCAN", "USCRN", "all"):
        for cover in ("grassland", "forest", "all"):
            row = table.loc[(network, cover, "nldas_noah", "all", "bias")]
            assert row["median"] == pytest.approx(0.02, abs=1e-5)
    assert table.loc[("SCAN", "all", "nldas_noah", "all", "bias"), "n_sites"] == 36
    assert table.loc[("SCAN", "all", "convlstm", "S2", "rmse"), "median"] == pytest.approx(0.01, rel=0.1)


def test_table_1_is_of_all_days_where_a_study_has_products(
    world: xr.Dataset, at_stations: dict[str, Path], tmp_path: Path
) -> None:
    products = {"nldas_noah": "soil_moisture_0_10cm", "smap_dca": "soil_moisture_10_40cm"}
    config = LayerConfig(observed="soil_moisture_0_10cm", products=products)
    layers = [Layer(LAYERS[0], config, "0-10cm"), Layer(LAYERS[1], LayerConfig(observed="soil_moisture_10_40cm"), "")]
    pipeline: Any = SimpleNamespace(cube=world, stations=stations_of(world), layers=layers)
    folders = _score_products(pipeline, tmp_path)
    assert list(folders) == [LAYERS[0]]
    table = _table1(folders)
    assert set(table.model) == set(products)
    whole = table[(table.network == "SCAN") & (table.land_cover == "all") & (table.metric == "bias")]
    assert whole["median"].abs().max() < 1e-6
    assert whole.n_pairs.tolist() == [36 * world.sizes["time"]] * 2


def test_the_paper_s_figures_stand_beside_ours(made: Path) -> None:
    table = pd.read_csv(made / "published.csv").set_index(
        ["layer", "network", "model", "scenario", "metric", "lead_days"]
    )
    ours = pd.read_csv(made / "table5.csv").set_index(list(table.index.names))
    row = table.loc[("10-40 cm", "USCRN", "convlstm", "S2", "pearson_r", 1)]
    assert (row.published, row.published_q25, row.published_q75) == (0.60, 0.31, 0.79)
    assert row.ours == ours.loc[row.name, "median"]
    assert row.differs.startswith("paper: 59 USCRN stations, 2022; here 54 sites of made up, 2015")
    assert table.loc[("0-10 cm", "both", "convlstm", "S2", "pearson_r", 30), "published"] == 0.27
    product = table.loc[("0-10 cm", "SCAN", "nldas_noah", "all", "bias", 0)]
    assert (product.published, product.ours) == (0.016, pytest.approx(0.02, abs=1e-5))
    assert len(table) == 3 * 2 * 3 * 3 + 3 * 2 + 2 * 4 * 4


def test_tables_of_counts_are_counted_by_hand(made: Path) -> None:
    texture = pd.read_csv(made / "table4.csv").set_index("texture_class")
    assert texture.loc["loam", "texture"] == "medium"
    assert texture.loc["loam", "SCAN 10-40 cm"] == 36
    assert texture.loc["loam", "USCRN 40-100 cm"] == 18
    assert texture.drop(index="loam").drop(columns="texture").to_numpy().sum() == 0
    cover = pd.read_csv(made / "tableA1.csv").set_index("land_cover")
    assert cover.loc[["grassland", "forest"], "SCAN 0-10 cm medium"].sum() == 36
    assert cover.loc["cropland"].sum() == 0
    odd = sum(1 for k in range(54) if k % 3 and (9 + k) % 2)
    assert cover.loc["grassland", "SCAN 0-10 cm medium"] == odd


def test_table_5_holds_quartiles_over_the_sites_of_a_network(made: Path, at_stations: dict[str, Path]) -> None:
    table = pd.read_csv(made / "table5.csv")
    assert set(table.lead_days) == {1}
    row = table.set_index(["layer", "network", "model", "scenario", "metric"]).loc[
        ("10-40 cm", "USCRN", "convlstm", "S2", "ubrmse")
    ]
    scores = xr.open_zarr(at_stations["10-40 cm"] / "scores.zarr", consolidated=False).load()
    of_network = scores.stratum.sel(kind="network").values == "USCRN"
    values = scores.value.sel(run="convlstm|none|S2", lead_days=1, metric="ubrmse").values[of_network]
    assert (row.q25, row["median"], row.q75) == pytest.approx(tuple(np.percentile(values, [25, 50, 75])), rel=1e-5)
    assert np.isnan(row["lower"])  # too short a record


def test_what_cannot_be_drawn_is_named_with_the_reason(world: xr.Dataset, tmp_path: Path, blank_figures: Any) -> None:
    bare = world.drop_vars(["land_cover", "sand_fraction"])
    folder = evaluate(stores_of(bare, LAYERS[1]), bare, out=tmp_path / "cells", min_pairs=20)
    with blank_figures():
        out = paper_tables({LAYERS[1]: folder}, tmp_path / "out", run="convlstm|none|S1")
    index = pd.read_csv(out / "index.csv", keep_default_na=False).set_index("file")
    assert {name for name in index.index if (out / name).exists()} == {"table5.csv", "figure3.png", "figure4.png"}
    why = index.absent_because
    assert why["table1.csv"] == "no evaluation has products"
    assert why["figure7.png"] == "no site has a class of land_cover"
    assert why["figure9.png"] == "no forecast stores and cube"
    assert "second network" in why["figureA1.png"]
    assert index.shows["figure4.png"].endswith("; convlstm|none|S1")


def test_wrong_wishes_are_refused(at_stations: dict[str, Path], world: xr.Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(VadoseError, match=r"has no run 'lstm\|none\|S2'; it has"):
        paper_tables(at_stations, out, run="lstm|none|S2")
    with pytest.raises(VadoseError, match="not an evaluation"):
        paper_tables({"0-10 cm": tmp_path}, out)
    with pytest.raises(VadoseError, match="expected one evaluation per layer"):
        paper_tables({}, out)
    forecasts = {LAYERS[0]: stores_of(world, LAYERS[0])[2]}
    with pytest.raises(VadoseError, match="maps of 2015-04-02: expected a day from 2015-05-21 to"):
        paper_tables(at_stations, out, forecasts=forecasts, cube=world, day="2015-04-02")
    assert not out.exists()
