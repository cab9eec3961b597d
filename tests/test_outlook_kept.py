"""What maps keep from day to day is what a run in one go gives, and is made again when what it follows from changes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from vadose.models.land_surface import Blend, LandSurface
from vadose.predict.outlook import chains
from vadose.predict.outlook.cells import Sample, distributions
from vadose.predict.outlook.kept import Tile, known_of
from vadose.predict.outlook.moisture import Networks, soil_moisture
from vadose.predict.outlook.point import Places as At
from vadose.predict.outlook.point import compared, outlook_of_places
from vadose.samples.land_surface import DAILY, EVIDENCE, FIXED, WEATHER, Climate, drivers

NEWEST = pd.Timestamp("2026-11-28")
CHANGING = (0.03, 0.03, 0.03)
SIDE = 3


@pytest.fixture(scope="module")
def weather() -> xr.Dataset:
    days, random = pd.date_range("2022-06-01", NEWEST), np.random.default_rng(0)
    shape = (len(days), SIDE**2)
    season = np.sin(2 * np.pi * (days.day_of_year.to_numpy() - 105) / 365.25)[:, None]
    wet = random.random(shape) < 0.27
    values = (
        wet * random.exponential(9.0, shape),
        293 + 13 * season + random.normal(size=shape),
        281 + 13 * season + 0 * wet,
        60.0 + 20 * wet,
        200 + 100 * season + 0 * wet,
    )
    fields = {name: (("time", "place"), of.astype(np.float32)) for name, of in zip(WEATHER, values, strict=True)}
    at = {"lat": ("place", np.full(SIDE**2, 39.1)), "lon": ("place", np.arange(SIDE**2) / 24 - 96.6)}
    return xr.Dataset(fields, {"time": days, **at})


@pytest.fixture(scope="module")
def networks(weather: xr.Dataset) -> Networks:
    torch.manual_seed(0)
    network = LandSurface(len(DAILY), len(FIXED), hidden=8).eval()
    made = drivers(weather.isel(time=slice(0, 366)).transpose("place", "time"), xr.Dataset())
    batch = torch.from_numpy(made.daily), torch.nan_to_num(torch.from_numpy(made.fixed))
    network.fit_normalisation([(batch, 0.25 + 0.1 * torch.rand(SIDE**2, 366, 3))])
    return Networks((network,), Blend(len(EVIDENCE)).eval())


@pytest.fixture
def tile(weather: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tile:
    monkeypatch.setattr(chains, "REFERENCE", (2023, 2024))
    files = [(tmp_path / f"{year}.nc", pd.Timestamp(year, 12, 31)) for year in (2022, 2023, 2024, 2025)]
    for path, _ in files:
        path.write_text(path.name)
    ground = xr.Dataset({"elevation": ("place", np.linspace(300, 600, SIDE**2, dtype=np.float32))})
    return Tile(
        tmp_path / "kept",
        files,
        lambda first, last: weather.sel(time=slice(first, last)),
        weather.sel(time=slice("2026-01-01", None)),
        pd.Timestamp("2026-09-19"),
        ground,
        np.arange(SIDE**2),
    )


def refuse(first: pd.Timestamp | None, last: pd.Timestamp) -> xr.Dataset:
    raise AssertionError(f"asked for the weather of {first} .. {last}")


def test_running_on_from_what_is_kept_is_a_run_in_one_go(tile: Tile, networks: Networks, weather: xr.Dataset) -> None:
    climate = Climate.of(weather.sel(time=slice("2023", "2024")))
    made = known_of(tile, networks, CHANGING)
    assert {path.stem for path in tile.folder.iterdir()} == {"normals", "state_2025-12-31", "state_2026-09-08"}
    whole = soil_moisture(networks, weather.sel(time=slice(None, made.end.day)), tile.ground, climate=climate)
    assert whole.end is not None
    again = known_of(replace(tile, weather=refuse), networks, CHANGING)
    for end in (made.end, again.end):
        for one, other in zip(end.states, whole.end.states, strict=True):
            torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    later = replace(tile, permanent=pd.Timestamp("2026-10-09"), weather=refuse)
    on = known_of(later, networks, CHANGING)
    assert f"{on.end.day:%F}" == "2026-09-24"
    assert {path.stem for path in tile.folder.iterdir()} == {"normals", "state_2025-12-31", "state_2026-09-24"}
    # An outlook from it is that of all weather at once, where all days ahead are the ensemble's.
    days = pd.date_range(NEWEST + pd.Timedelta(days=1), periods=9)
    then = weather.sel(time=slice("2023-11-29", "2023-12-07")).assign_coords(time=days)
    ahead = xr.concat([then, then * 0.9], "member").assign_coords(lat=weather.lat, lon=weather.lon)
    plan = chains.plan_chains(weather, ahead, days[-1])
    mixture = distributions(again, tile.recent, ahead, plan, Sample.of(*np.divmod(np.arange(9), 3)), days[::4])

    def estimate(past: xr.Dataset, ground: xr.Dataset, observed: object) -> object:
        return soil_moisture(networks, past, ground, climate=climate)

    at_once = outlook_of_places(estimate, At(weather, tile.ground, ahead), plan, days, changing=CHANGING)
    found = compared([mixture], again.normals, days[::4])
    for name in ("soil_moisture", "soil_moisture_std", "soil_moisture_quantile", "drought_probability"):
        np.testing.assert_allclose(found[name], at_once[name].isel(time=slice(None, None, 4)), atol=2e-5)
    np.testing.assert_allclose(
        found.soil_moisture_percentile, at_once.soil_moisture_percentile.isel(time=slice(None, None, 4)), atol=0.1
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda tile: tile.files[1][0].write_text("revised"),
        lambda tile: replace(tile, ground=tile.ground + 1),
        lambda tile: replace(tile, recent=tile.recent.isel(place=slice(0, 9)).assign_coords(lat=tile.recent.lat + 1)),
        lambda tile: (tile.folder / "normals.safetensors").write_bytes(b"half"),
        lambda tile: (tile.folder / "normals.safetensors").unlink(),
    ],
    ids=["weather", "ground", "cells", "cut short", "removed"],
)
def test_what_follows_from_something_else_is_made_again(
    change: Callable[[Tile], object], tile: Tile, networks: Networks
) -> None:
    known_of(tile, networks, CHANGING)
    changed = change(tile)
    with pytest.raises(AssertionError, match="asked for the weather of None"):
        known_of(replace(changed if isinstance(changed, Tile) else tile, weather=refuse), networks, CHANGING)


def test_a_state_goes_with_its_networks_and_with_days_that_were_revised(tile: Tile, networks: Networks) -> None:
    known_of(tile, networks, CHANGING)
    with pytest.raises(AssertionError, match="asked for the weather of None"):
        known_of(replace(tile, weather=refuse), replace(networks, card={"scores": 1}), CHANGING)
    revised = tile.recent.copy(deep=True)
    revised["precipitation"][100] += 1
    begin = known_of(tile, networks, CHANGING).end.states[0][0]
    state = known_of(replace(tile, recent=revised, weather=refuse), networks, CHANGING).end.states[0][0]
    assert not torch.equal(begin, state)  # run on from the end of the year before, which still holds
