"""The lines of Python in the README run, on the simulated world."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import vadose as vd
from vadose.cli import app
from vadose.insitu.store import build_stations

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
(LINES,) = re.findall(r"```python\n(.+?)```", README, flags=re.DOTALL)
RECIPE = """
resolution: 9km
bbox: [-100.3, 39.6, -99.4, 40.4]
first: 2019-04-01
last: 2019-06-30
products:
  smap_l3: {variables: [soil_moisture], resampling: nearest}
  gridmet: {variables: [precipitation], resampling: mean}
  srtm: {variables: [elevation], resampling: mean}
"""
EXPERIMENT = """
split:
  training: {first: 2019-04-01, last: 2019-05-05}
  validation: {first: 2019-05-06, last: 2019-05-20}
  test: {first: 2019-05-21, last: 2019-06-30}
runs:
  persistence: {model: persistence}
  lstm:
    model: lstm
    hyper: {hidden: 4}
    history: [soil_moisture_filled, soil_moisture_age, precipitation]
    static: [elevation]
    look_back: 5
    training: {epochs: 1, batch_size: 64, samples_per_epoch: 64, patience: null}
"""
SMALLER = {
    '"demo", out': '"recipe.yaml", out',
    '"demo", at': '"recipe.yaml", at',
    'cube, "demo"': 'cube, "experiment.yaml"',
    "2016-07-01": "2019-06-10",
    "20160701": "20190610",
    '("2016-04-01", "2016-08-30")': '("2019-05-21", "2019-06-29")',
    '"stations.zarr")\nprint': '"stations.zarr", min_pairs=5)\nprint',
}


@pytest.fixture
def at_hand(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("world").symlink_to(world)
    Path("recipe.yaml").write_text(RECIPE)
    Path("experiment.yaml").write_text(EXPERIMENT)
    build_stations(tmp_path / "stations.zarr", uscrn=world / "stations" / "uscrn")
    return tmp_path


def test_the_lines_of_the_readme_run(at_hand: Path, monkeypatch: pytest.MonkeyPatch, blank_figures: Any) -> None:
    lines = LINES
    for long, short in SMALLER.items():
        assert long in lines
        lines = lines.replace(long, short)
    fetched = []
    monkeypatch.setattr("vadose.api.fetch", lambda *given, **named: fetched.append((given, named)))
    names: dict[str, object] = {}
    with plt.ioff(), blank_figures():
        exec(lines, names)
    plt.close("all")
    assert fetched[0][0] == ("SPL3SMP_E",)
    assert isinstance(names["day"], xr.Dataset)
    cube, sites, scores = names["cube"], names["sites"], names["scores"]
    assert isinstance(cube, xr.Dataset)
    assert isinstance(sites, xr.Dataset)
    assert isinstance(scores, vd.Scores)
    assert {"station", "time"} <= set(sites.dims)
    assert (at_hand / "report.html").read_text().count("persistence") > 1
    assert set(scores.table.model) == {"lstm", "persistence"}
    assert scores.table.lead_days.nunique() == 5
    assert (scores.left_out.columns == "reason").any()
    # Where xarray looks.
    there = xr.open_zarr("cube.zarr")
    np.testing.assert_array_equal(there.soil_moisture, cube.soil_moisture)
    (lstm,) = Path("forecasts").glob("lstm_2019-05-21_2019-06-29_????????.zarr")
    np.testing.assert_array_equal(vd.open(lstm).soil_moisture, names["forecasts"][0].soil_moisture)  # type: ignore[index]
    # One in memory with other values is another cube, whatever its attributes say.
    first = names["forecasts"][1].soil_moisture.values  # type: ignore[index]
    moister = cube.assign(soil_moisture_filled=cube.soil_moisture_filled + 0.01)
    again = vd.forecast("runs/persistence", moister, init=("2019-05-21", "2019-06-29"), out="moister.zarr")
    np.testing.assert_allclose(again.soil_moisture.values, first + 0.01, atol=1e-6)


MINE = """
import torch
from vadose.models.contract import Forecaster


class Wetter(Forecaster):
    learns = "at_once"

    def __init__(self, channels, by=0.01):
        super().__init__(channels)
        self.by = by

    def fit(self, batches):
        for _ in batches:
            break

    def forward(self, inputs):
        last = inputs.history[:, -1, self.channels.position(self.channels.target)]
        return last[:, None].expand(-1, len(self.channels.leads), -1, -1) + self.by
"""


def test_a_model_of_ones_own_is_trained_and_forecasts(
    at_hand: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the command line, where workers and later commands know it by its name alone."""
    monkeypatch.setitem(vd.MODELS, "my_models:Wetter", None)  # forgotten after the test
    del vd.MODELS["my_models:Wetter"]
    Path("my_models.py").write_text(MINE)
    Path("recipe.yaml").write_text(RECIPE.split("  gridmet")[0].replace("06-30", "06-10"))
    Path("mine.yaml").write_text(
        EXPERIMENT.split("runs:")[0] + "runs:\n  wetter: {model: 'my_models:Wetter', hyper: {by: 0.02}}\n"
    )

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments))
        return str(result.exception) if result.exception else result.output

    own = ("--model", "my_models:Wetter")
    run("build", "world/granules", "--recipe", "recipe.yaml")
    assert "unknown model 'my_models:Wetter'" in run("train", "cube.zarr", "-e", "mine.yaml")
    assert "runs/wetter" in run("train", "cube.zarr", "-e", "mine.yaml", *own)
    days = ("--from", "2019-06-01", "--to", "2019-06-05")
    assert "f.zarr" in run("forecast", "runs/wetter", "cube.zarr", *days, "--out", "f.zarr", *own)
    made, cube = vd.open("f.zarr"), vd.open("cube.zarr")
    last = cube.soil_moisture_filled.sel(time=made.init_time.values).values
    np.testing.assert_allclose(made.soil_moisture.sel(lead_time="7D").values, last + 0.02, atol=1e-6)
    for wrong, message in (
        ("my_models", "expected MODULE:CLASS"),
        ("mine_not:X", "cannot be imported"),
        ("my_models:Dryer", "has no class 'Dryer'"),
        ("pathlib:Path", "expected a subclass of vadose.models.contract.Forecaster"),
    ):
        assert message in run("train", "cube.zarr", "-e", "mine.yaml", "--model", wrong)
    del vd.MODELS["my_models:Wetter"]  # as in a process that has not heard of it
    with pytest.raises(vd.VadoseError, match="is one of your own; name it with --model my_models:Wetter"):
        vd.forecast("runs/wetter", "cube.zarr", init="2019-06-01")


def test_mistakes_are_told_in_a_line(at_hand: Path) -> None:
    with pytest.raises(vd.VadoseError, match="no Zarr store there"):
        vd.open("nothing.zarr")
    with pytest.raises(vd.VadoseError, match="values at stations need a recipe"):
        vd.build("world/granules", at="stations.zarr")
    with pytest.raises(vd.VadoseError, match="expected a folder named after the run 'lstm'"):
        vd.train("cube.zarr", "experiment.yaml", run="lstm", out="runs/mine")
    with pytest.raises(vd.VadoseError, match="one day as init"):
        vd.forecast("runs/lstm", xr.Dataset(), init=("2019-06-01", "2019-06-02"), weather=["gefs"])
    with pytest.raises(vd.VadoseError, match="not an evaluation"):
        vd.Scores(at_hand)
    with pytest.raises(AttributeError, match="no attribute 'forcast'"):
        vd.forcast  # noqa: B018


def test_the_package_is_imported_without_its_stages() -> None:
    code = "import sys, vadose; dir(vadose); print({'torch', 'xarray', 'typer'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
    assert all(getattr(vd, name) is not None for name in vd.__all__)
