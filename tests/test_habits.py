"""What every command takes: versions, what is printed and logged, JSON, days by word, schemas, words that are meant."""

import json
import math
import sys
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from vadose.cli import app, main
from vadose.cli.config import KINDS
from vadose.cli.terminal import day_of, options, progress_bars, say, warn
from vadose.errors import VadoseError
from vadose.experiments import built_in
from vadose.experiments.cube import CubeConfig
from vadose.experiments.downscaling import load_study
from vadose.experiments.section import _Loader, load
from vadose.products.inspection import Content, Inspection


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_versions_are_those_a_report_needs() -> None:
    first, second, libraries = printed("--version").splitlines()
    assert first.startswith("vadose 0.1.0")
    assert second.startswith(f"Python {sys.version.split()[0]}")
    assert "xarray 2" in libraries
    assert "torch 2" in libraries


def work() -> None:
    with progress_bars() as tell:
        tell("reading: a.nc", 0.5)
        tell("reading", 1.0)
    warn("it is late")
    say("scores.csv")


@pytest.mark.parametrize(
    ("switch", "shown"),
    [
        ({}, ["reading: 0 s", "warning: it is late"]),
        ({"verbose": True}, ["INFO vadose", "INFO reading: begun", "INFO reading: 0 s", "WARNING it is late"]),
        ({"quiet": True}, []),
    ],
    ids=["as usual", "verbose", "quiet"],
)
def test_what_is_printed_and_what_is_kept(
    switch: dict[str, bool], shown: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options(**switch, log=tmp_path / "log.txt")
    work()
    out, err = capsys.readouterr()
    options()
    assert out == "scores.csv\n"
    lines = [line for line in err.splitlines() if line]
    assert len(lines) == len(shown)
    assert all(words in line for line, words in zip(lines, shown, strict=True))
    assert "\x1b" not in err  # no bar where nobody looks
    kept = (tmp_path / "log.txt").read_text()
    assert [line.split(" ", 2)[2] for line in kept.splitlines()][1:] == [
        "INFO reading: begun",
        "INFO reading: 0 s",
        "WARNING it is late",
        "DEBUG scores.csv",
    ]


def test_an_error_is_logged_once_and_printed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["vadose", "--log", str(tmp_path / "log.txt"), "config", "schema", "recipes"])
    with pytest.raises(SystemExit):
        main()
    options()
    message = "kind of file 'recipes' unknown; did you mean 'recipe'?"
    assert capsys.readouterr().err == f"error: {message}\n"
    started, failed = (tmp_path / "log.txt").read_text().splitlines()
    assert started.endswith("config schema recipes")
    assert failed.endswith(f"ERROR {message}")


FILES = {"experiment": ("", "forecasting"), "downscaling": ("", "downscaling"), "recipe": ("cubes", "cube")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_holds_for_the_files_of_the_package(kind: str) -> None:
    schema = json.loads(printed("config", "schema", kind))
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    folder, of = FILES.get(kind, ("", "none"))
    for name in built_in(folder, "" if folder else of):
        text = files("vadose.experiments.configs").joinpath(folder, f"{name}.yaml").read_text()
        assert [error.message for error in validator.iter_errors(yaml.load(text, _Loader))] == [], name
    (error,) = validator.iter_errors({"like": "conus", "no_such_key": 1})
    assert "no_such_key" in error.message


@pytest.mark.parametrize("name", ["conus", "forecast_best", "downscale-transfer"])
def test_what_is_shown_of_an_experiment_is_the_experiment(name: str, tmp_path: Path) -> None:
    (tmp_path / "shown.yaml").write_text(printed("config", "show", name))
    values = load_study(name).with_profile().model_dump(exclude={"profiles"})
    assert load_study(str(tmp_path / "shown.yaml")).model_dump(exclude={"profiles"}) == values


def test_what_is_shown_of_a_recipe_is_the_recipe(tmp_path: Path) -> None:
    for name in built_in("cubes"):
        (tmp_path / "shown.yaml").write_text(printed("config", "show", name, "--recipe"))
        assert load(str(tmp_path / "shown.yaml"), [CubeConfig]) == load(name, [CubeConfig], "cubes")


def test_scripts_read_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Inspection("imerg", {"days": "1"}, (Content("precipitation", "mm", "y, x", 1.0, 0.5, math.nan, 2.0),))
    monkeypatch.setattr("vadose.products.inspection.inspect", lambda *_, **__: found)
    (inspected,) = json.loads(printed("inspect", "a.nc", "--json"))
    assert (inspected["path"], inspected["product"], inspected["variables"][0]["low"]) == ("a.nc", "imerg", None)

    table = pd.DataFrame({"model": ["lstm"], "median": [0.5], "n": [3]})
    monkeypatch.setattr("vadose.api.evaluate", lambda *_, **__: SimpleNamespace(table=table))
    scores = json.loads(printed("evaluate", "a.zarr", "--observed", "b.zarr", "--json"))
    assert scores == [{"model": "lstm", "median": 0.5, "n": 3}]

    @dataclass
    class Finding:
        level: str = "error"

    diagnosis = SimpleNamespace(findings=(Finding(),), ranges=table.set_index("model"), facts={"days": "2"}, errors=0)
    monkeypatch.setattr("vadose.cube.open_cube", lambda _: None)
    monkeypatch.setattr("vadose.cube.doctor.examine", lambda *_, **__: diagnosis)
    told = json.loads(printed("doctor", "cube.zarr", "--json"))
    assert told == {"facts": {"days": "2"}, "findings": [{"level": "error"}], "ranges": scores}


def test_days_by_word() -> None:
    today, yesterday = (date.fromisoformat(day_of(word, "--to")) for word in ("today", "yesterday"))
    assert today - yesterday == timedelta(days=1)
    with pytest.raises(VadoseError, match="--to 'tomorrow': expected a day"):
        day_of("tomorrow", "--to")


def test_without_colours_where_none_are_wanted() -> None:
    plain = CliRunner().invoke(app, ["config", "--help"], env={"NO_COLOR": "1", "FORCE_COLOR": "1"}).output
    assert not [colour for colour in range(30, 38) if f"\x1b[{colour}" in plain or f";{colour}m" in plain]


def test_yaml_that_is_shown_is_plain() -> None:
    assert yaml.safe_load(printed("config", "show", "conus"))["kind"] == "forecasting"
