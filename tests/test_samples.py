import numpy as np
import pytest
import torch
import xarray as xr

from vadose.errors import VadoseError
from vadose.models.inputs import Channels
from vadose.samples import Period, Samples

CHANNELS = Channels(
    ("soil_moisture_filled", "precipitation"), ("ndvi",), ("precipitation",), (1, 5), "soil_moisture_filled"
)
PERIOD = Period("2015-05-01", "2015-06-30")


@pytest.fixture
def samples(small_cube: xr.Dataset) -> Samples:
    return Samples(small_cube, CHANNELS, look_back=4, window=3, stride=2)


def test_a_window_holds_the_days_and_cells_it_says(samples: Samples, small_cube: xr.Dataset) -> None:
    inputs = samples.inputs(np.array([[50, 2, 4]]))
    cells = {"y": slice(2, 5), "x": slice(4, 7)}
    rain = small_cube.precipitation.isel(**cells)
    assert torch.equal(inputs.history[0, :, 1], torch.from_numpy(rain.isel(time=slice(47, 51)).values))
    assert inputs.future is not None
    assert torch.equal(inputs.future[0, :, 0], torch.from_numpy(rain.isel(time=slice(51, 56)).values))
    assert torch.equal(inputs.static[0, 0], torch.from_numpy(small_cube.ndvi.isel(**cells).values))
    assert str(np.datetime64(int(inputs.day[0]), "D")) == str(small_cube.time.values[50])[:10]
    assert inputs.cell.tolist() == [[2, 4]]


def test_targets_are_observations_on_the_valid_days(samples: Samples, small_cube: xr.Dataset) -> None:
    found = samples.targets(np.array([[50, 2, 4]]), PERIOD)[0].numpy()
    observed = small_cube.soil_moisture.isel(y=slice(2, 5), x=slice(4, 7)).values
    np.testing.assert_array_equal(found, observed[[51, 55]])


def test_targets_off_the_period_do_not_count(samples: Samples) -> None:
    # Day 25 is 26 April: one day on lies before the period, five days on it has begun.
    targets = samples.targets(np.array([[25, 2, 4]]), PERIOD)[0]
    assert targets[0].isnan().all()
    assert not targets[1].isnan().all()


def test_an_index_holds_every_sample_with_a_target_and_no_other(samples: Samples) -> None:
    index = samples.index(PERIOD)
    assert torch.isfinite(samples.targets(index, PERIOD)).flatten(1).any(1).all()
    every = np.concatenate([samples.all_windows(t) for t in range(samples.n_days)])
    rest = sorted(set(map(tuple, every.tolist())) - set(map(tuple, index.tolist())))
    assert rest
    assert torch.isnan(samples.targets(np.array(rest), PERIOD)).all()


def test_windows_reach_every_cell_and_no_more(samples: Samples) -> None:
    corners = samples.all_windows(0)[:, 1:]
    seen = np.zeros(samples.shape, bool)
    for row, column in corners:
        seen[row : row + 3, column : column + 3] = True
    assert seen.all()
    assert corners.max(0).tolist() == [5, 6]


def test_days_before_and_after_the_record_are_unknown(samples: Samples) -> None:
    first = samples.inputs(np.array([[0, 3, 3]]))
    assert first.history[0, :3].isnan().all()
    last = samples.inputs(np.array([[samples.n_days - 1, 3, 3]]))
    assert last.future is not None
    assert last.future.isnan().all()


def test_random_batches_are_drawn_without_repetition_and_repeat_by_seed(samples: Samples) -> None:
    def drawn(seed: int) -> list[list[int]]:
        batches = samples.batches(PERIOD, size=16, limit=40, generator=np.random.default_rng(seed))
        return [[*cell, day] for i, _ in batches for cell, day in zip(i.cell.tolist(), i.day.tolist(), strict=True)]

    one = drawn(1)
    assert len({tuple(s) for s in one}) == 40
    assert one == drawn(1) != drawn(2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": Channels(("snow",))}, r"the cube: no variable \['snow'\]; found"),
        ({"window": 99}, "does not fit the grid of 8 x 9"),
    ],
)
def test_wrong_arguments_are_refused(small_cube: xr.Dataset, change: dict[str, object], message: str) -> None:
    arguments = {"channels": CHANNELS, "look_back": 3, "window": 3} | change
    with pytest.raises(VadoseError, match=message):
        Samples(small_cube, **arguments)  # type: ignore[arg-type]


def test_periods_off_the_record_are_refused(samples: Samples) -> None:
    with pytest.raises(VadoseError, match=r"cube, which holds 2015-04-01 .. 2015-08-28"):
        samples.index(Period("2020-01-01", "2020-12-31"))


def test_what_was_filled_from_days_ahead_is_no_predictor(small_cube: xr.Dataset) -> None:
    smoothed = small_cube.copy()
    smoothed["soil_moisture_filled"] = smoothed.soil_moisture_filled.assign_attrs(causal="false")
    with pytest.raises(VadoseError, match=r"\['soil_moisture_filled'\]: filled from the days before and after"):
        Samples(smoothed, CHANNELS, look_back=4)
