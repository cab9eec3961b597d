import numpy as np
import pytest
import skops.io
import torch
from sklearn.ensemble import HistGradientBoostingRegressor

from vadose.models.inputs import Channels, Inputs
from vadose.models.tree_walk import predict
from vadose.models.trees import RECESSIONS, Trees, _antecedent_index, _Sums


def series(n: int = 40, lead: int = 2, weather: bool = True) -> tuple[Channels, Inputs]:
    """One cell: rain on day k is k, moisture 0.2."""
    future = ("precipitation",) if weather else ()
    channels = Channels(("soil_moisture_filled", "precipitation"), (), future, (1, lead), "soil_moisture_filled")
    rain = torch.arange(n, dtype=torch.float32)
    history = torch.stack([torch.full((n,), 0.2), rain], dim=1)[None, :, :, None, None]
    ahead = torch.arange(n, n + lead, dtype=torch.float32).reshape(1, lead, 1, 1, 1) if weather else None
    inputs = Inputs(history, torch.empty(1, 0, 1, 1), ahead, torch.tensor([16600]), torch.tensor([[3, 5]]))
    return channels, inputs


@pytest.mark.parametrize(("loss", "columns", "leaves"), [("squared_error", 5, 100), ("gamma", 1, 31)])
@pytest.mark.parametrize("threads", [1, 2])
def test_predictions_are_those_of_scikit_learn_to_the_last_bit(loss, columns, leaves, threads, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(700, columns)).astype(np.float32)
    x[:, 0] = x[:, 0].round(1)  # many values on the thresholds' own sides
    y = 1 + x[:, 0] ** 2
    x[rng.random(x.shape) < 0.3] = np.nan
    x[:90, -1], y[:90] = np.nan, 9
    settings = {"loss": loss, "max_iter": 20, "min_samples_leaf": 5, "max_leaf_nodes": leaves}
    fitted = HistGradientBoostingRegressor(**settings).fit(x, y)
    assert max(tree.get_n_leaf_nodes() for (tree,) in fitted._predictors) == leaves
    nodes = np.concatenate([tree.nodes for (tree,) in fitted._predictors])
    assert set(nodes["missing_go_to_left"][nodes["is_leaf"] == 0]) == {0, 1}
    x[:4, 0] = np.inf, -np.inf, 3e38, np.nextafter(np.float32(0.1), np.float32(1))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    for rows in (x, x[:1], x[::2], x[:, ::-1][:, ::-1]):
        np.testing.assert_array_equal(predict(fitted, rows), fitted.predict(rows))
    assert predict(fitted, x[:0]).shape == (0,)
    single_leaves = HistGradientBoostingRegressor(max_iter=2).fit(x, np.ones(len(x)))
    assert (predict(single_leaves, x) == 1).all()


def test_predictors_by_hand() -> None:
    channels, inputs = series()
    of_lead = Trees(channels)._predictors(inputs)[1][0]
    # Last moisture and its means; row and column; season; indices on t0 and the valid day; rain means.
    assert of_lead[:6].tolist() == pytest.approx([0.2] * 6)
    assert of_lead[6:8].tolist() == [3, 5]
    angle = 2 * np.pi * 16602 / 365.2425
    assert of_lead[8:10].tolist() == pytest.approx([np.sin(angle), np.cos(angle)], abs=1e-5)
    rain = np.arange(42.0)
    for place, (k, end) in enumerate(
        [(RECESSIONS[0], 40), (RECESSIONS[0], 42), (RECESSIONS[1], 40), (RECESSIONS[1], 42)]
    ):
        expected = sum(k ** (end - 1 - t) * rain[t] for t in range(end))
        assert of_lead[10 + place] == pytest.approx(expected, rel=1e-5)
    # Means over 1, 3, 7, 14, 30 and 90 days (42 known) that end with the valid day, then since t0.
    windows = [rain[-w:].mean() for w in (1, 3, 7, 14, 30, 42)]
    assert of_lead[14:].tolist() == pytest.approx([*windows, rain[-2:].mean()], rel=1e-5)


def test_without_weather_predictors_end_with_t0() -> None:
    channels, inputs = series(weather=False)
    first, second = (p[0] for p in Trees(channels)._predictors(inputs))
    assert len(first) == len(second)
    changed = np.flatnonzero(first != second)
    assert set(changed) <= {8, 9}  # the season of the valid day alone


def test_means_leave_unknown_days_out() -> None:
    daily = np.array([[[1.0], [np.nan], [4.0]]], np.float32)
    assert [m.item() for m in _Sums(daily).means(3, (1, 2, 3))] == pytest.approx([4.0, 4.0, 2.5])
    assert np.isnan(_Sums(np.full((1, 3, 1), np.nan, np.float32)).means(3, (2,))[0]).all()


def test_the_antecedent_index_takes_unknown_days_as_dry() -> None:
    found = _antecedent_index(np.array([[1.0, np.nan, 2.0]], np.float32), 0.5)
    assert found.tolist() == [[1.0, 0.5, 2.25]]


def test_a_checkpoint_with_foreign_types_is_refused() -> None:
    model = Trees(series()[0])
    foreign = torch.frombuffer(bytearray(skops.io.dumps(np.random.default_rng)), dtype=torch.uint8)
    with pytest.raises(Exception, match=r"[Uu]ntrusted|trusted"):
        model.set_extra_state(foreign)


def test_the_same_trees_are_the_same_bytes() -> None:
    channels = Channels(("soil_moisture_filled",), leads=(1, 2), target="soil_moisture_filled")
    history = torch.rand(300, 1, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    inputs = Inputs(history, torch.empty(300, 0, 1, 1), None, torch.arange(300), torch.zeros(300, 2, dtype=torch.int64))
    models = [Trees(channels, iterations=3, gaussian=True) for _ in range(2)]
    for model in models:
        model.fit([(inputs, history[:, :, 0].repeat(1, 2, 1, 1))])
    state, same = (model.get_extra_state() for model in models)
    assert torch.equal(state, same)
    before = models[0](inputs)
    models[0].set_extra_state(state)
    assert torch.equal(models[0](inputs), before)


def test_trees_learn_a_rule() -> None:
    channels = Channels(("soil_moisture_filled",), leads=(1,), target="soil_moisture_filled")
    generator = torch.Generator().manual_seed(0)
    history = torch.rand(2000, 1, 1, 1, 1, generator=generator)
    cell = torch.zeros(2000, 2, dtype=torch.int64)
    inputs = Inputs(history, torch.empty(2000, 0, 1, 1), None, torch.arange(2000), cell)
    target = torch.where(history[:, :, 0] > 0.5, 0.4, 0.1)
    model = Trees(channels, iterations=50)
    model.fit([(inputs, target)])
    assert (model(inputs) - target).abs().mean() < 0.02


def test_the_deviation_of_trees_follows_the_errors_on_days_held_out() -> None:
    channels = Channels(("soil_moisture_filled",), leads=(1,), target="soil_moisture_filled")
    generator = torch.Generator().manual_seed(0)
    history = torch.rand(6000, 1, 1, 1, 1, generator=generator)
    cell = torch.zeros(6000, 2, dtype=torch.int64)
    inputs = Inputs(history, torch.empty(6000, 0, 1, 1), None, torch.arange(6000) // 10, cell)
    spread = torch.where(history[:, :, 0] > 0.5, 0.05, 0.01)
    target = 0.25 + spread * torch.randn(spread.shape, generator=generator)
    model = Trees(channels, iterations=200, samples_per_leaf=200, gaussian=True)
    model.fit([(inputs, target)])
    mean, std = model.distribution(inputs)
    assert torch.equal(mean, model(inputs))
    for part in (0.01, 0.05):
        assert std[spread == part].median().item() == pytest.approx(part, rel=0.25)
    again = Trees(channels, iterations=200, samples_per_leaf=200, gaussian=True)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.distribution(inputs)[1], std)


def test_a_deviation_wants_days_to_hold_out() -> None:
    channels, inputs = series(weather=False)
    with pytest.raises(ValueError, match="at least two days"):
        Trees(channels, gaussian=True).fit([(inputs, torch.full((1, 2, 1, 1), 0.2))])
    assert Trees(channels).has_deviation is False
