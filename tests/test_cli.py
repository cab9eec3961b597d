"""The command line as people meet it: help that teaches, mistakes that end with code 2."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

from vadose.cli import app, main
from vadose.config import built_in
from vadose.errors import VadoseError

COMMANDS = [
    "fetch", "inspect", "twin", "build", "match", "stations", "train", "forecast", "forecast-rival", "evaluate",
    "report", "study", "demo",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_does_and_shows_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "Example" in result.output
    assert f"vadose {command}" in result.output


def test_help_names_the_built_in_experiments() -> None:
    output = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "300"}).output
    assert ", ".join(built_in()) in output


def test_help_comes_without_loading_torch() -> None:
    code = "import sys, vadose.cli; sys.exit('torch' in sys.modules or 'xarray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "nowhere"], "nowhere: no such file or folder"),
        (
            ["train", "cube.zarr", "--experiment", "connus"],
            "no such experiment file, nor one of the built-in",
        ),
        (["train", "cube.zarr", "--run", "lstmm"], "unknown run ['lstmm']; the experiment has"),
        (["forecast", "run", "cube.zarr", "--from", "2016-01-01", "--to", "2016-01-02"], "no cube there"),
        (
            ["forecast", "run", "cube.zarr", "--from", "tomorrow-ish", "--to", "2016-01-02"],
            "not a day; write YYYY",
        ),
        (["evaluate", "a.zarr", "--observed", "cube.zarr", "--from", "2016-01-01"], "go together"),
        (["evaluate", "a.zarr", "--observed", "cube.zarr"], "no cube there"),
        (["report", "nothing"], "nothing: no evaluation there"),
        (["study", "conus", "--data", "nowhere"], "nowhere: no such file or folder"),
        (["stations"], "no station files given"),
    ],
)
def test_a_mistake_is_one_message_and_code_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["vadose", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.strip().startswith("error: ")
    assert message in error
    assert "Traceback" not in error
    assert not list(tmp_path.rglob("*"))


def test_errors_are_of_the_one_kind_people_meet() -> None:
    result = CliRunner().invoke(app, ["build", "nowhere"])
    assert isinstance(result.exception, VadoseError)


def test_forecasts_of_others_may_be_netcdf(tmp_path: Path, small_cube: xr.Dataset) -> None:
    days = small_cube.time.values[:100]
    values = small_cube.soil_moisture.fillna(0.2).values[1:101, None]
    own = xr.Dataset(
        {"soil_moisture": (("init_time", "lead_time", "y", "x"), values)},
        coords={
            "init_time": days,
            "lead_time": ("lead_time", [1], {"units": "days"}),
            "y": small_cube.y,
            "x": small_cube.x,
        },
    )
    own.to_netcdf(tmp_path / "own.nc")
    words = ["evaluate", str(tmp_path / "own.nc"), "--observed", str(tmp_path / "cube.nc"), "-o", str(tmp_path / "e")]
    words += ["--min-pairs", "20", "--replicates", "20"]
    small_cube.drop_vars("crs").to_netcdf(tmp_path / "cube.nc")
    result = CliRunner().invoke(app, words)
    assert "own.nc: the attributes model (its name), weather" in str(result.exception)
    own.attrs = {"model": "own", "weather": "none", "scenario": "all", "causal": "true"}
    own.attrs |= {name: small_cube.attrs[name] for name in ("layer", "dataset", "simulated")}
    own.to_netcdf(tmp_path / "named.nc")
    words[1] = str(tmp_path / "named.nc")
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0
    table = pd.read_csv(tmp_path / "e" / "scores.csv").set_index("metric")
    assert table.loc["rmse", "median"] == 0.0
    words[1] = str(tmp_path / "other.nc")
    (tmp_path / "other.nc").write_text("no NetCDF")
    assert "cannot be read as NetCDF" in str(CliRunner().invoke(app, words).exception)
