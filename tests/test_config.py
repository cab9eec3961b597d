from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

from vadose.cube.filling import check as check_filling
from vadose.door.days import Period
from vadose.errors import VadoseError
from vadose.experiments import LayerConfig, built_in, load_cube, load_experiment
from vadose.experiments.downscaling import load_downscaling, load_study
from vadose.models import MODELS

METHODS = Path(__file__).parents[1].joinpath("docs/methods.md").read_text()
SMALL = """
split:
  training: {first: 2015-04-01, last: 2016-01-31}
  validation: {first: 2016-02-01, last: 2016-03-31}
  test: {first: 2016-04-01, last: 2017-03-31}
runs:
  convlstm: {model: convlstm, hyper: {filters: [4]}, training: {epochs: 2}}
  persistence: {model: persistence}
"""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"test": ("2015-06-01", "2015-12-31"), "training": ("2015-04-01", "2016-01-31")},
            "split: test 2015-06-01 .. 2015-12-31 begins before training 2015-04-01 .. 2016-01-31 has ended",
        ),
        ({"test": ("2016-01-01", "2016-01-31"), "training": ("2015-04-01", "2015-12-31")}, "test 2016-01-01"),
        ({"test": ("2016-03-31", "2017-03-31")}, "test 2016-03-31 .. 2017-03-31 begins before"),
        ({"validation": ("2016-01-31", "2016-03-31")}, "validation 2016-01-31 .. 2016-03-31 begins before training"),
        ({"validation": ("2015-06-01", "2015-07-31")}, "validation 2015-06-01 .. 2015-07-31 begins before training"),
    ],
)
def test_training_validation_and_test_follow_each_other(
    tmp_path: Path, changes: dict[str, tuple[str, str]], message: str
) -> None:
    values = yaml.safe_load(SMALL)
    values["split"] |= {name: dict(zip(("first", "last"), days, strict=True)) for name, days in changes.items()}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(VadoseError, match=message):
        load_experiment(str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize(
    "word", ["soil_moisture", "{observed}", "{observed}_filled", "swi_filled", "soil_moisture_age"]
)
def test_moisture_of_the_days_ahead_is_no_predictor(tmp_path: Path, word: str) -> None:
    values = yaml.safe_load(SMALL) | {"layers": {"0-10 cm": {"observed": "swi"}}}
    values["runs"]["convlstm"]["future"] = ["precipitation", "{observed}_normal", word]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(VadoseError, match=r"mine.yaml: .*convlstm: future \['.*'\] is moisture of the days"):
        load_experiment(str(tmp_path / "mine.yaml"))


def test_weights_chosen_on_test_days_are_refused_unless_declared(tmp_path: Path) -> None:
    values = yaml.safe_load(SMALL) | {"leads": [1]}
    blend = {"members": ["convlstm", "persistence"], "weights": {1: [2, 1]}}
    values["blends"] = {"both": blend | {"weights_from": {"first": "2016-02-01", "last": "2016-06-30"}}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(
        VadoseError, match=r"blends.both: weights chosen on 2016-02-01 .. 2016-06-30 reach into the test"
    ):
        load_experiment(str(tmp_path / "mine.yaml"))
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values | {"allow_overlap": ["blend_weights"]}))
    assert load_experiment(str(tmp_path / "mine.yaml")).blends["both"].chosen(Period("2015-01-01", "2015-02-01")) == {
        "weights_from": "2016-02-01 .. 2016-06-30"
    }
    values["blends"] = {"both": blend}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    assert load_experiment(str(tmp_path / "mine.yaml")).blends["both"].chosen(Period("2015-01-01", "2015-02-01")) == {
        "weights_from": "not stated"
    }


@pytest.mark.parametrize("name", built_in(kind="forecasting"))
def test_every_built_in_experiment_is_valid_and_has_the_baselines(name: str) -> None:
    experiment = load_experiment(name)
    models = {run.model for run in experiment.runs.values()}
    assert models > {"persistence", "damped_persistence", "climatology"}
    # One row of a layer's score table is one model with one weather and scenario.
    for layer, config in (experiment.layers or {"any": LayerConfig(observed="soil_moisture")}).items():
        of_layer = [run for run in experiment.runs.values() if layer in (run.only or (layer,))]
        rows = [(run.model, run.channels(config).weather, run.scenario) for run in of_layer]
        assert len(rows) == len(set(rows))


def test_the_paper_s_experiment_has_its_nine_models() -> None:
    experiment = load_experiment("forecast_paper")
    nine = {
        (layer, run.scenario): run
        for run in experiment.runs.values()
        for layer in experiment.layers
        if run.model == "convlstm" and layer in (run.only or (layer,))
    }
    assert len(nine) == 9
    predictors = {
        key: len(run.channels(experiment.layers[key[0]]).history) + len(run.static) for key, run in nine.items()
    }
    # SMAP 7; SOLUS 4 more; precipitation, T-SWIR and land cover, and terrain (aspect as sine and cosine) more.
    assert predictors["0-10 cm", "S1"] == 7
    assert predictors["0-10 cm", "S2"] == predictors["10-40 cm", "S1"] == 11
    assert predictors["0-10 cm", "S3"] == 19
    below = experiment.runs["convlstm-S2"].channels(experiment.layers["40-100 cm"], ["0-10 cm", "10-40 cm"])
    assert below.above == ("0-10 cm", "10-40 cm")
    assert "sand_fraction_60cm" in below.static


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("filters", "filterz", "unknown key 'hyper.filterz' of convlstm; did you mean 'filters'?"),
        ("epochs: 2", "epocs: 2", "unknown key 'runs.convlstm.training.epocs'; did you mean 'epochs'?"),
        (
            "model: persistence",
            "model: persistance",
            "unknown model 'persistance'; did you mean 'persistence'?",
        ),
        (
            "epochs: 2",
            "epochs: 0",
            "runs.convlstm.training.epochs: Input should be greater than or equal to 1",
        ),
        ("epochs: 2", "epochs: many", "runs.convlstm.training.epochs: Input should be a valid integer"),
        ("runs:", "blends: {b: {members: [convlstm, conv]}}\nruns:", "blends.b: unknown run 'conv'"),
        (
            "runs:",
            "blends: {b: {members: [convlstm, persistence], weights: {1: [1, 1]}}}\nruns:",
            "weights for leads [1], expected [1, 3, 7, 14, 30]",
        ),
        (
            "runs:",
            "leads: [1]\nblends: {b: {members: [convlstm, persistence], weights: {1: [1]}}}\nruns:",
            "lead 1 wants 2 weights",
        ),
        ("runs:", "blend: {}\nruns:", "unknown key 'blend'; did you mean 'blends'?"),
        ("last: 2016-01-31", "last: 2014-01-31", "split.training: last day 2014-01-31 is before the first day, 2015"),
        (
            "last: 2016-01-31",
            "last: 2016-02-30",
            "split.training.last: '2016-02-30' is no day; expected one such as 20",
        ),
        ("last: 2016-01-31", "last: 2016", "split.training.last: Input should be a valid string"),
        (", last: 2016-01-31", "", "key 'split.training.last' is missing"),
        ("last: 2016-01-31", "lats: 2016-01-31", "unknown key 'split.training.lats'; did you mean 'last'?"),
        (
            "{model: persistence}",
            "{model: persistence, leads: [3, 1]}",
            "are invalid; expected increasing whole days from 1",
        ),
        (
            "{model: persistence}",
            "{model: persistence, history: [ndvi]}",
            "must contain '{observed}_filled'",
        ),
        ("runs:", "runs: [", "not YAML"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    assert old in SMALL
    path.write_text(SMALL.replace(old, new))
    with pytest.raises(VadoseError) as error:
        load_experiment(str(path))
    assert message in str(error.value)
    assert "mine.yaml" in str(error.value)


def test_a_missing_part_and_a_missing_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"runs": {}}))
    with pytest.raises(VadoseError, match="key 'split' is missing"):
        load_experiment(str(path))
    with pytest.raises(VadoseError, match="no such file, nor one of the built-in"):
        load_experiment("connus")


@pytest.mark.parametrize("name", built_in("cubes"))
def test_every_built_in_cube_is_valid(name: str) -> None:
    recipe = load_cube(name)
    recipe.check()
    check_filling(recipe)
    if recipe.training is None:
        assert not recipe.filling
        return
    assert recipe.days[0] <= pd.Timestamp(recipe.training[0]) < pd.Timestamp(recipe.training[1]) <= recipe.days[-1]


CUBE = """
resolution: 9km
bbox: [-100.1, 39.8, -99.6, 40.2]
first: 2015-06-01
last: 2015-06-10
products:
  smap_l3: {variables: [soil_moisture], resampling: nearest, options: {quality: all}}
  srtm: {variables: [elevation], resampling: mean}
"""


def differences(one: Any, other: Any, place: str = "") -> dict[str, tuple[Any, Any]]:
    """What differs between two tables of tables, by its place."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return {} if one == other else {place: (one, other)}
    found: dict[str, tuple[Any, Any]] = {}
    for key in [*one, *(key for key in other if key not in one)]:
        found |= differences(one.get(key), other.get(key), f"{place}.{key}".removeprefix("."))
    return found


def test_the_docs_list_every_difference_of_the_paper_s_profiles() -> None:
    usual, printed = (load_experiment("forecast_paper").with_profile(name) for name in ("default", "as_printed"))
    assert usual == load_experiment("forecast_paper").with_profile()
    rows = differences(*(one.model_dump(exclude={"runs", "profiles"}) for one in (usual, printed)))
    for name in usual.runs:
        of_run = differences(*(one.runs[name].model_dump() for one in (usual, printed)))
        assert bool(of_run) == (name in usual.networks())
        rows |= of_run
    named = {row.split("|")[1].strip(): row for row in METHODS.splitlines() if row.startswith("| `")}
    for key, (mine, theirs) in rows.items():
        # Sequences are written as the file has them.
        shown = [list(value) if isinstance(value, tuple) else value for value in (mine, theirs)]
        assert named[f"`{key}`"].startswith(f"| `{key}` | `{shown[0]}` | `{shown[1]}` | "), key
    recipes = [load_cube(one.recipe or "") for one in (usual, printed)]
    assert {filling.mode for filling in recipes[1].filling if filling.method == "cru"} == {"smoothed"}
    assert "| recipe: gap filling | `causal` | `smoothed` |" in METHODS
    assert "| recipe: reflectance | `mod09cmg` | `mod09ga` |" in METHODS


def test_a_file_like_another_says_what_differs(tmp_path: Path) -> None:
    usual, printed = ({s.product: s for s in load_cube(name).sources} for name in ("conus", "conus_as_printed"))
    assert usual.keys() - printed.keys() == {"mod09cmg"}
    assert printed.keys() - usual.keys() == {"mod09ga"}
    assert all(usual[name] == printed[name] for name in usual.keys() & printed.keys())
    file = tmp_path / "mine.yaml"
    file.write_text("kind: cube\nlike: conus\nlast: 2018-01-31\nproducts: {mod09cmg: {resampling: nearest}}")
    mine = load_cube(str(file))
    assert (mine.first, mine.last) == ("2018-01-01", "2018-01-31")
    assert {s.product: s.resampling for s in mine.sources}["mod09cmg"] == "nearest"
    file.write_text(f"kind: cube\nlike: {file}")
    with pytest.raises(VadoseError, match=r"is like .*mine\.yaml, which is like it"):
        load_cube(str(file))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("quality: all", "qualty: all", "options of smap_l3: 'qualty' is unknown; did you mean 'quality'"),
        ("quality: all", "quality: [all]", r"options of smap_l3: 'quality' is \['all'\]; expected str"),
        ("quality: all", "bbox: [0, 0, 1, 1]", "'bbox' is unknown"),
        ("[elevation]", "{elevation: ../../escaped}", r"'../../escaped' cannot be the name of a variable"),
        ("[elevation]", "{elevation: time}", "'time' cannot be the name"),
        ("srtm:", "../../escaped:", r"'../../escaped' is not a gridded product"),
        ("srtm:", "smap_l3:", "key 'smap_l3' stands twice"),
        ("2015-06-10", "9999-06-10", "days ahead; check the year"),
        ("2015-06-10", "tomorrow", "last"),
        ("options: {quality: all}", "option: {}", "unknown key 'products.smap_l3.option'; did you mean 'options'"),
        ("options: {quality: all}", "product: srtm", "unknown key 'smap_l3.product': the product is the key above"),
        ("smap_l3: {variables: [soil_moisture],", "smap_l3: {", "key 'products.smap_l3.variables' is missing"),
        (
            "last: 2015-06-10",
            "last: 2015-06-10\ntraining: {first: 2015-06-09, last: 2015-06-08}",
            "before the first day",
        ),
        ("options: {quality: all}", "overlap: newest", "overlap: Input should be 'mean', 'nearest' or 'latest'"),
        (
            "resolution: 9km",
            "resolution: 9km\nfilling: [{variables: [soil_moisture], method: linear, options: {a: 1}}]",
            "filling of 'soil_moisture': 'a' is unknown; choose from none",
        ),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_where_it_is_read(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "cube.yaml"
    file.write_text(CUBE)
    load_cube(str(file))
    file.write_text(CUBE.replace(old, new))
    with pytest.raises(VadoseError, match=message) as refused:
        check_filling(load_cube(str(file)))
    assert "\n" not in str(refused.value)


def test_the_last_day_of_a_cube_may_be_today(tmp_path: Path) -> None:
    file = tmp_path / "cube.yaml"
    file.write_text(CUBE.replace("last: 2015-06-10", "last: today"))
    today = pd.Timestamp.now("UTC")
    assert load_cube(str(file)).last in (f"{today:%Y-%m-%d}", f"{pd.Timestamp.now('UTC'):%Y-%m-%d}")


def test_keys_of_anchors_may_be_given_anew(tmp_path: Path) -> None:
    file = tmp_path / "cube.yaml"
    shared = (
        ".base: &base {resampling: nearest, variables: [elevation]}\n.more: &more {<<: *base, resampling: bilinear}\n"
    )
    file.write_text(
        shared + CUBE.replace("{variables: [elevation], resampling: mean}", "{<<: *more, resampling: mean}")
    )
    assert load_cube(str(file)).sources[1].resampling == "mean"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(VadoseError, match="cannot be read as text"):
        load_cube(str(file))


def test_an_experiment_is_of_the_kind_it_says_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(files("vadose.experiments.configs").joinpath("downscale-transfer.yaml").read_text())
    assert load_study(str(path)).kind == "downscaling"
    with pytest.raises(VadoseError, match=r"mine.yaml: its kind is 'downscaling', expected forecasting"):
        load_experiment(str(path))
    path = tmp_path / "downscale.yaml"
    path.write_text(SMALL)
    assert load_study(str(path)).kind == "forecasting"
    path.write_text("first: 2015-01-01\n")
    with pytest.raises(
        VadoseError, match="read as forecasting, for it names no 'kind'; there are forecasting and down"
    ):
        load_study(str(path))
    path.write_text(SMALL + "kind: fourcasting\n")
    with pytest.raises(VadoseError, match="its kind is 'fourcasting', expected forecasting or downscaling"):
        load_study(str(path))


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ("{hidden: many}", "'hyper.hidden' of lstm is 'many': Input should be a valid integer"),
        ("{dropout: [0.1]}", r"'hyper.dropout' of lstm is \[0.1\]: Input should be a valid number"),
        ("{hiden: 8}", "unknown key 'hyper.hiden' of lstm; did you mean 'hidden'"),
    ],
)
def test_arguments_of_models_are_checked_by_type(hyper: str, message: str, tmp_path: Path) -> None:
    values = yaml.safe_load(SMALL)
    values["runs"] = {"one": {"model": "lstm", "hyper": yaml.safe_load(hyper)}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values | {"blends": {}}))
    with pytest.raises(VadoseError, match=message):
        load_experiment(str(tmp_path / "mine.yaml"))


def test_a_class_that_is_no_model_is_refused_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "mine", torch.nn.Linear)
    load_experiment("conus")  # others are not concerned
    path = tmp_path / "mine.yaml"
    path.write_text(SMALL.replace("model: persistence", "model: mine"))
    with pytest.raises(VadoseError, match=r"mine.yaml: .*model 'mine': Linear lacks names, learns, takes.*Forecaster"):
        load_experiment(str(path))


def test_a_key_of_earlier_versions_is_taken_and_does_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SMALL)
    without = load_experiment(str(path))
    path.write_text(SMALL + "replicates: 50\n")
    assert load_experiment(str(path)).model_dump() == without.model_dump()
    name = files("vadose.experiments.configs").joinpath("downscale-county.yaml")
    path.write_text(name.read_text() + "replicates: 300\n")
    assert load_downscaling(str(path)).model_dump() == load_downscaling("downscale-county").model_dump()
    path.write_text(SMALL + "replicates: many\n")
    with pytest.raises(VadoseError, match="replicates: Input should be a valid number"):
        load_experiment(str(path))
