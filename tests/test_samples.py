import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from vadose.door.days import Period
from vadose.errors import VadoseError
from vadose.experiments.forecasting import LayerConfig, load_experiment
from vadose.features.normals import with_normals
from vadose.models.inputs import Channels
from vadose.parallel import memory
from vadose.samples import gather
from vadose.samples import record as module
from vadose.samples.windows import Samples

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


def test_an_indicator_of_each_land_cover_is_made_of_its_codes(small_cube: xr.Dataset) -> None:
    codes = np.random.default_rng(0).choice([5.0, 10.0, np.nan], (small_cube.sizes["y"], small_cube.sizes["x"]))
    cube = small_cube.assign(land_cover=(("y", "x"), codes))
    run = load_experiment("forecast_demo").runs["convlstm-S3"]
    covers = run.channels(LayerConfig(observed="soil_moisture")).static[4:21]
    assert covers[0] == "land_cover_igbp_1"
    channels = replace(CHANNELS, static=covers)
    static = Samples(cube, channels, look_back=4, window=None).inputs(np.array([[50, 0, 0]])).static[0]
    for number in range(1, 18):
        np.testing.assert_array_equal(static[number - 1], np.where(np.isfinite(codes), codes == number, np.nan))
    with pytest.raises(VadoseError, match="no variable"):
        Samples(small_cube, channels, look_back=4)


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


def test_a_sequence_holds_the_days_it_says_and_their_targets(small_cube: xr.Dataset) -> None:
    samples = Samples(small_cube, CHANNELS, look_back=10, sequence=20)
    inputs = samples.sequence(np.array([[2, 4]]), first=40, last=45)
    rain = small_cube.precipitation.isel(y=2, x=4)
    assert torch.equal(inputs.history[0, :, 1, 0, 0], torch.from_numpy(rain.isel(time=slice(31, 46)).values))
    assert inputs.future is not None
    assert torch.equal(inputs.future[0, :, 0, 0, 0], torch.from_numpy(rain.isel(time=slice(46, 51)).values))
    moisture = small_cube.soil_moisture.values
    for inputs, targets in samples.sequences(PERIOD, size=7):
        assert inputs.history.shape[1:3] == (30, 2)
        assert targets.shape[1:] == (20, 2, 1, 1)
        for b in range(len(targets)):
            row, column = inputs.cell[b].tolist()
            last = int(inputs.day[b]) - samples.days[0]
            for k, lead in enumerate(CHANNELS.leads):
                day = last - 19 + np.arange(20) + lead
                stamps = small_cube.time.values[np.clip(day, 0, None)].astype("datetime64[D]").astype(str)
                inside = (stamps >= PERIOD.first) & (stamps <= PERIOD.last)
                expected = np.where(inside, moisture[np.clip(day, 0, None), row, column], np.nan)
                np.testing.assert_array_equal(targets[b, :, k, 0, 0], expected)


def test_sequences_go_once_through_a_period_or_at_random(small_cube: xr.Dataset) -> None:
    samples = Samples(small_cube, CHANNELS, look_back=10, sequence=20)
    cells = int(np.isfinite(small_cube.soil_moisture.sel(time=slice(PERIOD.first, PERIOD.last))).any("time").sum())
    once = [len(t) for _, t in samples.sequences(PERIOD, size=50)]
    assert sum(once) == cells * 3  # days of issue in pieces of 20
    drawn = list(samples.sequences(PERIOD, size=50, limit=60, generator=np.random.default_rng(0)))
    assert sum(len(t) for _, t in drawn) == 60
    assert len({int(day) for i, _ in drawn for day in i.day}) > 10


def test_networks_learn_from_the_cells_to_learn_from_alone(small_cube: xr.Dataset) -> None:
    learnt = np.zeros(small_cube.mask.shape, bool)
    learnt[2, 4] = learnt[5, 1] = True
    cube = small_cube.assign(learnt=(("y", "x"), learnt))
    samples = Samples(cube, CHANNELS, look_back=4, sequence=20)
    cells = {tuple(c) for i, _ in samples.batches(PERIOD, size=64, learnt=True) for c in i.cell.tolist()}
    assert cells == {(2, 4), (5, 1)}
    series = {tuple(c) for i, _ in samples.sequences(PERIOD, size=64, learnt=True) for c in i.cell.tolist()}
    assert series == {(2, 4), (5, 1)}
    windows = Samples(cube, CHANNELS, look_back=4, window=3, stride=1)
    index = windows.index(PERIOD, learnt=True)
    observed = windows.targets(index, PERIOD, learnt=True)
    known = torch.isfinite(observed).any(dim=1)
    where = {(int(r) + a, int(c) + b) for k, (_, r, c) in enumerate(index) for a, b in known[k].nonzero().tolist()}
    assert where == {(2, 4), (5, 1)}
    assert len(samples.index(PERIOD)) > len(samples.index(PERIOD, learnt=True))


def test_normals_are_known_of_every_day(small_cube: xr.Dataset) -> None:
    channels = Channels(
        ("soil_moisture_filled", "soil_moisture_normal"), (), ("soil_moisture_normal",), (1, 5), "soil_moisture_filled"
    )
    cube = with_normals(small_cube, ("soil_moisture",), "2015-04-01", "2015-06-30")
    samples = Samples(cube, channels, look_back=4)
    last = samples.inputs(np.array([[samples.n_days - 1, 2, 4]]))
    assert last.future is not None
    assert torch.isfinite(last.future).all()
    first = samples.inputs(np.array([[0, 2, 4]]))
    assert torch.isfinite(first.history[:, :, 1]).all()
    # A year apart they are the same within the quarter of a day that a year is longer than 365.
    a, b, c = cube.soil_moisture_harmonic.values[:, 2, 4]
    angle = 2 * np.pi * (samples.days[-1] + 3) / 365.2425
    assert last.future[0, 2, 0, 0, 0].item() == pytest.approx(a + b * np.sin(angle) + c * np.cos(angle), abs=1e-5)


def test_forecasts_of_the_layers_above_are_taken_by_their_day_of_issue(small_cube: xr.Dataset) -> None:
    channels = Channels(("soil_moisture_filled",), leads=(1, 5), target="soil_moisture_filled", above=("0-10 cm",))
    days = small_cube.time.values[20:60]
    values = np.random.default_rng(0).random((40, 3, *small_cube.mask.shape)).astype(np.float32)
    store = xr.Dataset(
        {"soil_moisture": (("init_time", "lead_time", "y", "x"), values)},
        {"init_time": days, "lead_time": np.array([1, 3, 5], "timedelta64[D]"), "y": small_cube.y, "x": small_cube.x},
    )
    samples = Samples(small_cube, channels, look_back=4, window=3, above={"0-10 cm": store})
    inputs = samples.inputs(np.array([[25, 2, 4], [10, 2, 4]]))
    assert inputs.above is not None
    np.testing.assert_array_equal(inputs.above[0, :, 0], values[5, [0, 2], 2:5, 4:7])
    assert torch.isnan(inputs.above[1]).all()
    sequence = Samples(small_cube, channels, look_back=4, above={"0-10 cm": store}).sequence(np.array([[2, 4]]), 25, 27)
    assert sequence.above is not None
    np.testing.assert_array_equal(sequence.above[0, :, :, 0, 0, 0], values[5:8][:, [0, 2], 2, 4])
    # As predictors of the sequence: what was issued on each day of the look-back, and nothing issued after t0.
    within = replace(channels, cascade="sequence")
    for later in (0.0, 0.1):
        values[6:] += np.float32(later)
        samples = Samples(small_cube, within, look_back=4, window=3, above={"0-10 cm": store})
        found = samples.inputs(np.array([[25, 2, 4], [21, 2, 4], [1, 2, 4]])).above
        assert found is not None
        np.testing.assert_array_equal(found[0, :, :, 0], values[2:6, [0, 2], 2:5, 4:7])
        np.testing.assert_array_equal(torch.isnan(found[1:, :, 0, 0, 0, 0]), [[1, 1, 0, 0], [1, 1, 1, 1]])
    with pytest.raises(VadoseError, match="lacks leads"):
        Samples(small_cube, channels, look_back=4, above={"0-10 cm": store.isel(lead_time=[0])})
    with pytest.raises(VadoseError, match=r"the forecast of 0-10 cm: .* values of soil_moisture lie outside"):
        Samples(
            small_cube, channels, look_back=4, above={"0-10 cm": store.assign(soil_moisture=100 * store.soil_moisture)}
        )
    values[5, 0, 0, 0] = -9999.0
    samples = Samples(small_cube, channels, look_back=4, above={"0-10 cm": store})
    assert samples.values_outside() == {"the forecast of 0-10 cm": 1}
    with pytest.raises(VadoseError, match="the forecast of 0-10 cm and the cube: 8 of 72 cells of the second"):
        Samples(small_cube, channels, look_back=4, above={"0-10 cm": store.isel(x=slice(1, None))})
    # A larger store, its rows, days and leads in another order.
    crop = small_cube.isel(y=slice(2, None), x=slice(3, 8))
    turned = store.isel(y=slice(None, None, -1), init_time=slice(None, None, -1), lead_time=[2, 0, 1])
    part = Samples(crop, channels, look_back=4, window=3, above={"0-10 cm": turned}).inputs(np.array([[25, 0, 1]]))
    assert part.above is not None
    np.testing.assert_array_equal(part.above[0], inputs.above[0])
    with pytest.raises(VadoseError, match="wanted are"):
        Samples(small_cube, channels, look_back=4)


@pytest.mark.parametrize("by_cell", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("count", "channels", "size"), [(7, 3, (2, 3)), (1, 1, (1, 1)), (5, 2, (5, 6)), (0, 1, (2, 2))]
)
def test_windows_are_those_that_slices_give(count, channels, size, threads, by_cell, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    values = rng.random((4, 5, 6, channels), np.float32)
    values[rng.random(values.shape) < 0.2] = np.nan
    if by_cell:
        values = np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 0, 2)), 2, 0)
    days = rng.integers(0, 4, (count, 2))
    row, column = rng.integers(0, 6 - size[0], count), rng.integers(0, 7 - size[1], count)
    row[:1], column[:1] = 5 - size[0], 6 - size[1]
    monkeypatch.setattr(gather, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    found = gather.windows_of(values, days, row, column, size)
    assert found.shape == (count, 2, channels, *size)
    for n, d in np.ndindex(count, 2):
        window = values[days[n, d], row[n] : row[n] + size[0], column[n] : column[n] + size[1]]
        np.testing.assert_array_equal(found[n, d], np.moveaxis(window, -1, 0))


ABOVE = Channels(
    ("soil_moisture_filled", "soil_moisture_normal", "precipitation"),
    ("ndvi",),
    ("soil_moisture_normal", "precipitation"),
    (1, 5),
    "soil_moisture_filled",
    above=("0-10 cm", "10-40 cm"),
)


def of_every_kind(cube: xr.Dataset, window: int | None, *, on_disk: bool) -> Iterator[torch.Tensor | None]:
    """All that samples give."""
    days = cube.time.values[20:130:2]
    stores = {
        name: xr.Dataset(
            {
                "soil_moisture": (
                    ("init_time", "lead_time", "y", "x"),
                    np.random.default_rng(k).random((len(days), 3, 8, 9), np.float32),
                )
            },
            {"init_time": days, "lead_time": np.array([1, 3, 5], "timedelta64[D]"), "y": cube.y, "x": cube.x},
        )
        for k, name in enumerate(ABOVE.above)
    }
    samples = Samples(
        with_normals(cube, ("soil_moisture",), "2015-04-01", "2015-06-30"),
        ABOVE,
        look_back=10,
        window=window,
        sequence=20,
        correlated="precipitation",
        taught="soil_moisture_filled",
        above=stores,
        on_disk=on_disk,
    )
    assert samples._room.on_disk == on_disk
    generator = np.random.default_rng(3)
    for inputs, targets in samples.batches(PERIOD, size=50, limit=120, generator=generator, correlated=True):
        yield from (*inputs, targets)
    yield from samples.inputs(samples.all_windows(0))
    yield from samples.inputs(samples.all_windows(samples.n_days - 1))
    if window == 1:
        for inputs, targets in samples.sequences(PERIOD, size=50, limit=70, generator=generator):
            yield from (*inputs, targets)
        yield from samples.sequence(np.array([[2, 4], [7, 8]]), 30, 44)


@pytest.mark.parametrize("window", [1, 3, None])
def test_samples_from_disk_are_those_from_memory(
    small_cube: xr.Dataset, window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = list(of_every_kind(small_cube, window, on_disk=False))
    # Read in blocks of some days, of a cube that is not in memory.
    monkeypatch.setattr(module, "_READ_AT_ONCE", 4 * 3 * 72 * 17)
    from_disk = list(of_every_kind(small_cube.chunk(time=40), window, on_disk=True))
    assert len(kept) == len(from_disk) > 20
    for one, other in zip(kept, from_disk, strict=True):
        assert one is not None
        assert other is not None
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one.numpy(), other.numpy())
        assert one.stride() == other.stride()


def test_samples_that_memory_has_no_room_for_go_to_disk(
    small_cube: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not Samples(small_cube, CHANNELS, look_back=4)._room.on_disk
    monkeypatch.setattr(memory, "_ALWAYS", 0)
    assert not Samples(small_cube, CHANNELS, look_back=4)._room.on_disk
    held = 4 * 72 * (153 * 2 + 155 * 2)
    for free, on_disk in ((2 * held, False), (2 * held - 1, True)):
        monkeypatch.setattr(memory, "_free", lambda free=free: free)
        assert Samples(small_cube, CHANNELS, look_back=4)._room.on_disk == on_disk


def test_free_memory_is_what_the_machine_and_the_limit_of_a_job_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import system

    all_free = memory._free()
    assert 0 < all_free < system.MEMORY_LIMIT
    monkeypatch.setattr(system, "MEMORY_LIMIT", 1 << 40)
    assert memory._free() > 0
    monkeypatch.setattr(system, "MEMORY_LIMIT", 1 << 20)
    assert memory._free() < 0
    assert not memory.fits(1 << 30)


def test_nothing_is_left_in_the_temporary_folder(
    small_cube: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    samples = Samples(small_cube, CHANNELS, look_back=4, on_disk=True)
    assert len(samples.index(PERIOD))
    assert not list(tmp_path.iterdir())
    # Nor by a process that is killed.
    script = (
        "import os, signal\nfrom vadose.parallel.memory import Arrays\n"
        "map = Arrays(1 << 20, on_disk=True).empty((1 << 18,))\n"
        "map[:] = 1\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", script], env=os.environ | {"TMPDIR": str(tmp_path)}, check=False)
    assert killed.returncode == -9
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_before_anything_is_read(
    small_cube: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    message = rf"{tmp_path}: the samples need 0.000177 GB on disk.* .No space left on device.; set TMPDIR to a folder"
    usage = namedtuple("usage", ["total", "used", "free"])
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda folder: usage(1 << 40, 1 << 40, 1000))
        with pytest.raises(VadoseError, match=message) as told:
            Samples(small_cube, CHANNELS, look_back=4, on_disk=True)
        assert "and 1e-06 GB are free there" in str(told.value)

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    # Another process took the room in between.
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(VadoseError, match=message):
        Samples(small_cube, CHANNELS, look_back=4, on_disk=True)
    assert not list(tmp_path.iterdir())


def test_single_values_off_the_valid_range_are_missing_and_more_are_refused(small_cube: xr.Dataset) -> None:
    channels = Channels(("precipitation",), ("clay_fraction",), ("precipitation",), (1,), "soil_moisture_filled")
    rain = small_cube.precipitation.values.copy()
    rain[5, 3, 3] = -9999.0
    found = Samples(small_cube.assign(precipitation=(("time", "y", "x"), rain)), channels, look_back=2)
    assert found.outside == {("precipitation", found.days[5]): 1}
    assert np.isnan(found.inputs(np.array([[5, 3, 3]])).history.numpy()[0, -1, 0]).all()
    percent = small_cube.assign(soil_moisture=small_cube.soil_moisture * 100)
    with pytest.raises(VadoseError, match="values of soil_moisture lie outside"):
        Samples(percent, channels, look_back=2)


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        (Channels(("precipitation",), future=("soil_moisture",)), "'soil_moisture'. among the future: moisture of the"),
        (Channels(("precipitation",), future=("soil_moisture_filled",)), "among the future"),
        (Channels(("precipitation",), ("soil_moisture",)), r"soil_moisture: .* \(time, y, x\); expected \(y, x\)"),
        (Channels(("clay_fraction",)), r"clay_fraction: .* \(y, x\); expected \(time, y, x\)"),
    ],
)
def test_predictors_that_cannot_be_are_refused(small_cube: xr.Dataset, channels: Channels, message: str) -> None:
    with pytest.raises(VadoseError, match=message):
        Samples(small_cube, channels, look_back=2)


def test_the_target_among_the_history_ends_with_the_day_of_issue(small_cube: xr.Dataset) -> None:
    channels = Channels(("soil_moisture", "soil_moisture_filled"), target="soil_moisture_filled", leads=(1,))
    later = small_cube.assign(soil_moisture=small_cube.soil_moisture.where(small_cube.time <= small_cube.time[50], 0.9))
    one, other = (Samples(cube, channels, look_back=4).inputs(np.array([[50, 2, 3]])) for cube in (small_cube, later))
    assert torch.equal(one.history.nan_to_num(), other.history.nan_to_num())
