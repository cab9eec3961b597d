import numpy as np
import pytest

from vadose.errors import VadoseError
from vadose.evaluation.metrics import METRICS
from vadose.evaluation.rows import Group, score_sites
from vadose.evaluation.strata import labels_for

RNG = np.random.default_rng(0)
OBSERVED = RNG.normal(0.25, 0.05, (200, 4))
OBSERVED[10:, 3] = np.nan  # too few pairs there
PREDICTED = OBSERVED + np.array([0.01, 0.03])[:, None, None] * RNG.normal(size=(2, 200, 4))
RUNS = [{"model": name, "weather": "none"} for name in ("lstm", "trees")]


def test_a_row_says_who_where_how_many_and_how_well() -> None:
    at = np.array([1, 2, 3, 4])  # the first of five sites has no sample
    scored, pairs = score_sites(PREDICTED, OBSERVED, [None, None], min_pairs=60)
    observed = np.array([7, 250, 250, 250, 30])
    group = Group(scored, {"lead_days": 3}, RUNS, np.array([0, *pairs]), at, observed)
    (row,) = (row for row in group.scores() if row["model"] == "lstm" and row["metric"] == "rmse")
    rmse = np.sqrt(np.mean((PREDICTED[0] - OBSERVED)[:, :3] ** 2, axis=0))
    assert (row["lead_days"], row["kind"], row["class"]) == (3, "all", "all")
    assert (row["n_sites"], row["n_pairs"], row["n_observed"]) == (3, 600, 787)
    assert row["median"] == pytest.approx(np.median(rmse))
    assert row["lower"] < row["median"] < row["upper"]
    # A kind may be called 'all' as well; a class whose sites have no sample has no row.
    labels = {"all": np.array(["dry", "wet", "wet", "dry", ""], object), "soil": np.array(["clay", *"    "], object)}
    rows = [row for row in group.strata(labels) if row["model"] == "trees" and row["metric"] == "bias"]
    sizes = {(row["kind"], row["class"]): (row["n_sites"], row["n_observed"]) for row in rows}
    assert sizes == {("all", "dry"): (1, 257), ("all", "wet"): (2, 500), ("soil", " "): (3, 780)}
    (row, _) = (row for row in group.differences() if row["metric"] == "rmse")
    assert (row["model"], row["baseline"], row["baseline_weather"]) == ("lstm", "trees", "none")
    assert row["median"] < 0
    assert row["share_better"] == 1


def test_where_no_site_counts_rows_have_no_numbers() -> None:
    group = Group(None, {"fold": "2020"}, RUNS, np.zeros(4, int))
    assert [row["metric"] for row in group.scores()] == [*METRICS, *METRICS]
    assert all("median" not in row and row["n_sites"] == 0 for row in group.scores())
    assert not [*group.differences(), *group.strata({"network": np.array(["a"] * 4, object)})]


def test_labels_are_as_many_as_the_sites() -> None:
    assert labels_for("soil", [1, 2], 2, "two sites").tolist() == ["1", "2"]
    with pytest.raises(VadoseError, match="strata 'soil' has 3 labels; the predictions have 2 stations"):
        labels_for("soil", ["a", "b", "c"], 2, "predictions have 2 stations")
