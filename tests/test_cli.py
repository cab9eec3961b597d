"""The command line as people meet it: help that teaches, mistakes that end with code 2."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer
import xarray as xr
from typer.testing import CliRunner

from vadose.artefact import writing
from vadose.cli import app, main
from vadose.cli.terminal import day_of, say_age
from vadose.errors import VadoseError
from vadose.experiments import built_in


def commands(of: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Words of every command of the tree."""
    for name, command in of.commands.items():
        yield from commands(command, (*before, name)) if hasattr(command, "commands") else [(*before, name)]


@pytest.mark.parametrize("words", list(commands(typer.main.get_command(app))), ids=" ".join)
def test_help_says_what_a_command_does_and_shows_an_example(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "Example" in result.output
    assert f"vadose {' '.join(words)}" in result.output


def test_help_names_the_built_in_experiments() -> None:
    output = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "300"}).output
    assert ", ".join(built_in(kind="forecasting")) in output


def test_help_comes_without_loading_torch() -> None:
    code = "import sys, vadose.cli; sys.exit('torch' in sys.modules or 'xarray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "nowhere"], "nowhere: no such file or folder"),
        (
            ["forecast", "run", "cube.zarr", "--init", "latest", "--precision", "int8"],
            "precision is 'int8'; expected one of auto, float32, bfloat16",
        ),
        (
            ["train", "cube.zarr", "--experiment", "connus"],
            "no such file, nor one of the built-in",
        ),
        (["tune", "cube.zarr", "conus", "--run", "lstm", "--trials", "0"], "trials is 0; expected 1 or more"),
        (["train", "cube.zarr", "--run", "lstmm"], "unknown run ['lstmm']; the experiment has"),
        (["forecast", "run", "cube.zarr", "--from", "2016-01-01", "--to", "2016-01-02"], "no cube there"),
        (
            ["forecast", "run", "cube.zarr", "--from", "tomorrow-ish", "--to", "2016-01-02"],
            "expected a day as YYYY",
        ),
        (["evaluate", "a.zarr", "--observed", "cube.zarr", "--from", "2016-01-01"], "go together"),
        (["evaluate", "a.zarr", "--observed", "cube.zarr"], "no Zarr store there"),
        (["report", "nothing"], "nothing: not an evaluation"),
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


def ended(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["vadose", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(str(stop.value.code))


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (VadoseError("a.zarr: no such store"), 2, "error: a.zarr: no such store"),
        (PermissionError(13, "Permission denied", "/root/a"), 2, "error: /root/a: permission denied"),
        (OSError(28, "No space left on device"), 2, "error: the disk: the disk is full; free some space"),
        (MemoryError("Unable to allocate 15.6 GiB"), 2, "error: not enough memory (Unable to allocate 15.6 GiB); use"),
        (BrokenPipeError(32, "Broken pipe"), 2, "error: the output was closed before everything was written"),
        (EOFError("Ran out of input"), 70, "internal error: RuntimeError: EOFError: Ran out of input"),
        (KeyError("channels"), 70, "internal error: KeyError: 'channels' (api.py:"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_goes_wrong_is_one_line_with_a_code(
    error: Exception, code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("vadose.reports.page.build_report", fail)
    assert ended(["report", "e"], monkeypatch) == code
    told = capsys.readouterr().err
    assert told.startswith(message)
    assert told.count("\n") == 1
    monkeypatch.setenv("VADOSE_DEBUG", "1")
    assert ended(["report", "e"], monkeypatch) == code
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "metadata", ["{", '{"zarr_format": 9}', '{"zarr_format": 3, "node_type": "array"}', "\0" * 50], ids=list("abcd")
)
@pytest.mark.parametrize("of", ["zarr.json", "lat/zarr.json"])
def test_a_store_of_broken_metadata_is_one_line(
    metadata: str, of: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    field = xr.Dataset({"lat": (("y", "x"), [[40.0]])})
    field.to_zarr(tmp_path / "a.zarr", consolidated=False)
    (tmp_path / "a.zarr" / of).write_text(metadata)
    assert ended(["doctor", str(tmp_path / "a.zarr")], monkeypatch) == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith(f"error: {tmp_path / 'a.zarr'}: ")
    assert told.count("\n") == 0


def test_an_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vadose.reports.page.build_report", stop)
    assert ended(["report", "e"], monkeypatch) == 130
    assert capsys.readouterr().err.startswith("interrupted; run it again")


@pytest.mark.parametrize("day", ["05.06.2016", "2016-6-5", "20160605", "2016-06-31", "9999-01-01", "0000-01-01", ""])
def test_a_day_is_year_month_and_day(day: str) -> None:
    with pytest.raises(VadoseError, match="YYYY-MM-DD, such as 2016-06-05"):
        day_of(day, "--init")
    assert day_of("2016-02-29", "--init") == "2016-02-29"


def test_a_latest_day_that_is_old_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    say_age("2016-06-05", date(2016, 7, 6))
    assert capsys.readouterr().err == ""
    say_age("2016-06-05", date(2016, 7, 7))
    assert "--init latest is 2016-06-05, 32 days before today" in capsys.readouterr().err


def test_a_chunk_cut_short_or_missing_is_one_line(small_cube: xr.Dataset, tmp_path: Path) -> None:
    cube = tmp_path / "cube.zarr"
    with writing(cube) as scratch:
        small_cube.drop_encoding().chunk(time=32).to_zarr(scratch, zarr_format=3, consolidated=False)
    chunk = cube / "soil_moisture" / "c" / "1" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:50])
    told = CliRunner().invoke(app, ["doctor", str(cube)]).exception
    assert isinstance(told, VadoseError)
    assert f"{cube}/soil_moisture: a chunk cannot be read (" in str(told)
    chunk.unlink()
    told = CliRunner().invoke(app, ["doctor", str(cube)]).exception
    assert "chunks of soil_moisture are missing, the first c/1/0/0" in str(told)


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
    words += ["--min-pairs", "20"]
    small_cube.drop_vars("crs").to_netcdf(tmp_path / "cube.nc")
    result = CliRunner().invoke(app, words)
    assert "own.nc: of which layer soil_moisture is" in str(result.exception)
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
