from pathlib import Path

import numpy as np
import pytest
import torch

from vadose.errors import VadoseError
from vadose.gapfill import ClimatologyAR1, Interpolation, Series, fill, series_of, withhold
from vadose.gapfill.cru import ContinuousRecurrentUnit

SMALL = {"latent": 4, "bases": 3, "width": 16, "steps": 2, "batch": 16}


def watered(cells: int, seed: int, times: int = 70) -> Series:
    """Moisture that rises with rain and drains, observed with error on four days of ten."""
    generator = np.random.default_rng(seed)
    rain = generator.gamma(0.2, 10.0, (times, cells, 1))
    drain = generator.uniform(0.05, 0.2, (cells, 1))
    values = np.full((times, cells, 1), 0.2)
    for t in range(1, times):
        values[t] = 0.1 + (values[t - 1] - 0.1) * (1 - drain) + 0.005 * rain[t]
    values += generator.normal(0, 0.005, values.shape)
    seen = generator.random(values.shape) < 0.4
    return series_of(np.where(seen, values, np.nan), covariates=rain, static=drain)


@pytest.fixture(scope="module")
def learnt() -> ContinuousRecurrentUnit:
    unit = ContinuousRecurrentUnit(latent=4, bases=3, width=16, steps=80, batch=32, learning_rate=1e-2)
    return unit.fit(watered(60, seed=0, times=50))


@pytest.fixture(scope="module")
def tiny() -> ContinuousRecurrentUnit:
    return ContinuousRecurrentUnit(**SMALL).fit(watered(20, seed=0))


def test_with_rain_it_beats_the_rivals_at_new_cells(learnt: ContinuousRecurrentUnit) -> None:
    series = watered(40, seed=1)
    hidden = withhold(series, 0.3, 5, np.random.default_rng(0))
    visible = series.without(hidden)

    def error(filler: object, mode: str) -> float:
        mean, _ = filler.predict(visible, mode)  # type: ignore[attr-defined]
        return float(np.sqrt(np.mean((mean - series.values)[hidden] ** 2)))

    climatology = ClimatologyAR1().fit(visible)
    assert error(learnt, "causal") < 0.8 * error(climatology, "causal")
    assert error(learnt, "smoothed") < 0.8 * error(climatology, "smoothed")
    assert error(learnt, "smoothed") < 0.8 * error(Interpolation("linear").fit(visible), "smoothed")


def test_intervals_hold_what_they_say(learnt: ContinuousRecurrentUnit) -> None:
    series = watered(60, seed=2)
    hidden = withhold(series, 0.3, 5, np.random.default_rng(0))
    for mode in learnt.modes:
        mean, std = learnt.predict(series.without(hidden), mode)
        apart = (np.abs(mean - series.values) / std)[hidden]
        assert (apart < 1.645).mean() == pytest.approx(0.9, abs=0.07)
        assert (apart < 0.674).mean() == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("changed", ["values", "covariates"])
def test_causal_is_untouched_by_the_future(tiny: ContinuousRecurrentUnit, changed: str) -> None:
    series = watered(5, seed=3)
    parts = {"values": series.values.copy(), "covariates": series.covariates.copy()}
    parts[changed][40:] = 0.9
    other = Series(parts["values"], series.days, parts["covariates"], series.static)
    for mode in tiny.modes:
        before, after = (tiny.predict(s, mode) for s in (series, other))
        same = [np.array_equal(b[:40], a[:40]) for b, a in zip(before, after, strict=True)]
        assert same == [mode == "causal"] * 2


def test_an_observed_value_is_predicted_without_itself(tiny: ContinuousRecurrentUnit) -> None:
    series = watered(3, seed=4)
    t = int(np.flatnonzero(np.isfinite(series.values[:, 0, 0]))[10])
    other = Series(series.values.copy(), series.days, series.covariates, series.static)
    other.values[t, 0] += 0.3
    for mode in tiny.modes:
        before, after = tiny.predict(series, mode)[0], tiny.predict(other, mode)[0]
        assert before[t, 0] == pytest.approx(after[t, 0], abs=1e-6)
        assert not np.allclose(before[t + 1 :, 0], after[t + 1 :, 0], atol=1e-6)


def test_a_value_the_state_has_seen_is_no_target(tiny: ContinuousRecurrentUnit) -> None:
    values = np.full((12, 4, 2), np.nan, np.float32)
    values[::2, :, 0] = 0.3
    values[6, :, 1] = 0.1
    hidden = np.zeros(values.shape, bool)
    hidden[6, :, 0] = True  # the other variable of this time stays visible, and is in the state
    other = values.copy()
    other[6, :, 1] = 0.9
    network = ContinuousRecurrentUnit(**SMALL)._network({"variables": 2, "covariates": 0, "static": 0})
    for decoder in (network.causal, network.smoothed):
        # What is predicted depends on nothing: the loss tells which values were counted.
        torch.nn.init.zeros_(decoder[-1].weight)
    once, again = (network.loss(series_of(v), hidden).item() for v in (values, other))
    assert once == again
    seen_nowhere = network.loss(series_of(other), np.isfinite(other)).item()
    assert seen_nowhere != once


def test_a_missing_variable_is_read_from_the_other_of_the_same_time() -> None:
    """White noise and its opposite: nothing but the other variable of the day says anything."""
    noise = np.random.default_rng(0).normal(size=(30, 40, 1))
    values = np.concatenate([noise, -noise], axis=-1)
    unit = ContinuousRecurrentUnit(latent=2, bases=2, width=16, steps=120, batch=40, learning_rate=2e-2)
    unit.fit(series_of(values))
    missing = values.copy()
    missing[12:18, :, 1] = np.nan
    for mode in unit.modes:
        mean, _ = unit.predict(series_of(missing), mode)
        assert np.corrcoef(mean[12:18, :, 1].ravel(), values[12:18, :, 1].ravel())[0, 1] > 0.8
        # What is complete is predicted without itself, so that nothing is known of it.
        assert abs(np.corrcoef(mean[18:, :, 1].ravel(), values[18:, :, 1].ravel())[0, 1]) < 0.3


def test_odd_series_stay_finite_and_sensible(learnt: ContinuousRecurrentUnit) -> None:
    """Nothing observed, one value, a constant, duplicate times, a gap of 300 days."""
    days = np.sort(np.concatenate([np.arange(395.0), np.arange(5.0)]))
    series = watered(4, seed=5, times=400)
    values = series.values.copy()
    values[:, 0] = np.nan
    values[:, 1] = np.nan
    values[50, 1] = 0.3
    values[:, 2] = np.where(np.arange(400)[:, None] % 3 == 0, 0.2, np.nan)
    values[50:350, 3] = np.nan
    odd = Series(values, days[:, None], series.covariates, series.static)
    for mode in learnt.modes:
        mean, std = learnt.predict(odd, mode)
        assert np.isfinite(mean).all()
        assert ((mean > -0.1) & (mean < 0.8)).all()
        assert ((std > 0) & (std < 0.5)).all()
        assert std[100:300, 3].mean() > std[:50, 3].mean()


def test_each_cell_may_have_its_own_times(tiny: ContinuousRecurrentUnit) -> None:
    series = watered(4, seed=6)
    own = np.cumsum(np.random.default_rng(0).exponential(1.0, series.values.shape[:2]), axis=0)
    together, _ = tiny.predict(Series(series.values, own, series.covariates, series.static), "smoothed")
    for cell in range(4):
        which = np.array([cell])
        alone = Series(series.values[:, which], own[:, which], series.covariates[:, which], series.static[which])
        np.testing.assert_allclose(tiny.predict(alone, "smoothed")[0][:, 0], together[:, cell], atol=1e-5)


def test_without_covariates_and_with_cells_beyond_the_coast() -> None:
    series = watered(12, seed=7)
    bare = series_of(series.values)
    mean, std = fill(series.values, ContinuousRecurrentUnit(**SMALL).fit(bare), "smoothed")
    assert np.isfinite(mean).all()
    assert (std[np.isfinite(series.values)] == 0).all()
    rain = series.covariates.copy()
    rain[:, 3] = np.nan
    unit = ContinuousRecurrentUnit(**SMALL).fit(series_of(series.values, covariates=rain))
    filled, _ = fill(np.where(np.arange(12)[:, None] == 3, np.nan, series.values), unit, "causal", covariates=rain)
    assert np.isnan(filled[:, 3]).all()
    assert np.isfinite(np.delete(filled, 3, axis=1)).all()


def test_saved_and_loaded_it_is_the_same(tiny: ContinuousRecurrentUnit, tmp_path: Path) -> None:
    series = watered(5, seed=8)
    again = ContinuousRecurrentUnit.load(tiny.save(tmp_path / "cru.pt"))
    for mode in tiny.modes:
        for one, other in zip(tiny.predict(series, mode), again.predict(series, mode), strict=True):
            np.testing.assert_array_equal(one, other)
    assert again.settings == tiny.settings


def test_the_seed_decides_and_the_caller_s_random_numbers_are_left_alone(tiny: ContinuousRecurrentUnit) -> None:
    series = watered(20, seed=0)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    again = ContinuousRecurrentUnit(**SMALL).fit(series)
    assert torch.equal(state, torch.get_rng_state())
    np.testing.assert_array_equal(again.predict(series, "causal")[0], tiny.predict(series, "causal")[0])
    other = ContinuousRecurrentUnit(**SMALL | {"seed": 1}).fit(series)
    assert not np.array_equal(other.predict(series, "causal")[0], tiny.predict(series, "causal")[0])


def test_units_of_the_values_do_not_matter() -> None:
    series = watered(12, seed=9)
    percent = Series(100 * series.values, series.days, series.covariates, series.static)
    one, other = (ContinuousRecurrentUnit(**SMALL).fit(s).predict(s, "smoothed") for s in (series, percent))
    np.testing.assert_allclose(other[0], 100 * one[0], rtol=1e-3)
    np.testing.assert_allclose(other[1], 100 * one[1], rtol=1e-3)


def test_wrong_use_is_refused(tiny: ContinuousRecurrentUnit, tmp_path: Path) -> None:
    series = watered(5, seed=0)
    with pytest.raises(VadoseError, match="not fitted"):
        ContinuousRecurrentUnit().predict(series, "causal")
    with pytest.raises(VadoseError, match="nothing to save"):
        ContinuousRecurrentUnit().save(tmp_path / "cru.pt")
    with pytest.raises(VadoseError, match="was fitted to"):
        tiny.predict(series_of(series.values), "causal")
    with pytest.raises(VadoseError, match="never observed"):
        ContinuousRecurrentUnit(**SMALL).fit(series.without(np.ones(series.values.shape, bool)))
    with pytest.raises(VadoseError, match=r"the loss is .* lower the learning rate"):
        ContinuousRecurrentUnit(**SMALL | {"steps": 50, "learning_rate": 1e12}).fit(series)
    with pytest.raises(VadoseError, match="no such checkpoint"):
        ContinuousRecurrentUnit.load(tmp_path / "no.pt")
    (tmp_path / "text.pt").write_text("no weights")
    torch.save({"filler": "another"}, tmp_path / "other.pt")
    for name in ("text.pt", "other.pt"):
        with pytest.raises(VadoseError, match=f"{name}: .*(a text file|it lacks settings)"):
            ContinuousRecurrentUnit.load(tmp_path / name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.pt", "text.pt"]
