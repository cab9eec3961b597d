"""What maps of outlooks cost, and what running past years at one of 16 cells changes; the weather is simulated.

    python -m benchmarks.outlook_map [--edge 96] [--check]

Weather of 36 years of one tile is simulated and kept as the cache keeps it, normals and states of the tile are made,
and copied to all tiles of a square of cells, for which an outlook is then made with 1 and 2 processes. Printed are
processor time, wall time and peak memory, and what they come to for the country. ``--check`` compares the tile's
outlook with that of a run in which each cell has all chains of weather.
"""

import argparse
import resource
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vadose.download.roles.access import Access, keep, kept
from vadose.predict.outlook import area, cells
from vadose.predict.outlook.chains import plan_chains
from vadose.predict.outlook.moisture import networks
from vadose.predict.outlook.told import changing_of
from vadose.samples.land_surface import SOIL, WEATHER

TODAY = pd.Timestamp("2026-11-30")
COUNTRY = 470_000
"""Cells of the country on land."""
EDGE = area.TILE


def fields(random: np.random.Generator, number: int, slope: float) -> np.ndarray:
    """Random fields of a tile (number, row, column) whose amplitudes fall with a power of the wave number."""
    size = 4 * EDGE
    wave = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij"))
    noise = np.fft.rfft2(random.normal(size=(number, size, size)).astype(np.float32))
    made = np.fft.irfft2(noise * np.maximum(wave, 1 / size) ** -slope)[:, :EDGE, :EDGE]
    return (made / (np.maximum(wave, 1 / size) ** -slope).std() / size * 1.5).astype(np.float32)


def weather_of(days: pd.DatetimeIndex, seed: int, smooth: float = 0.0) -> xr.Dataset:
    random = np.random.default_rng(seed)
    season = np.sin(2 * np.pi * (days.day_of_year.values - 105) / 365.25)[:, None, None]
    system = np.convolve(random.normal(size=len(days) + 2), np.ones(3) / 3**0.5, "valid")[:, None, None]

    def structure(slope: float) -> np.ndarray:
        made = np.concatenate(
            [fields(random, len(part), slope + smooth) for part in np.array_split(days, 1 + len(days) // 365)]
        )
        return made / made.std()

    wet = 0.65 * system + 0.76 * structure(1.8) > 0.75
    warm = 293 + 13 * season + 4 * system + 0.7 * structure(2.0) - 3 * wet
    values = (
        np.where(wet, np.exp(1.6 + 0.9 * structure(1.2)), 0),
        warm,
        warm - 13 + 5 * wet,
        60 + 15 * wet + 0 * warm,
        (200 + 105 * season) * (1 - 0.45 * wet),
    )
    named = {name: (("time", "lat", "lon"), of.astype(np.float32)) for name, of in zip(WEATHER, values, strict=True)}
    return xr.Dataset(named, {"time": days, "lat": 40 - np.arange(EDGE) / 24, "lon": np.arange(EDGE) / 24 - 98})


def ground_of() -> xr.Dataset:
    random = np.random.default_rng(9)
    levels = {"sand": (0.42, 0.15, 0.05, 0.92), "clay": (0.22, 0.08, 0.03, 0.55), "bulk": (1.4, 0.1, 0.8, 1.8)}
    made = {}
    for name in SOIL:
        middle, spread, low, high = levels[name[:4]]
        rough = 0.8 * fields(random, 1, 1.6)[0] + 0.5 * fields(random, 1, 0.3)[0]
        made[name] = (("lat", "lon"), np.clip(middle + spread * rough, low, high).astype(np.float32))
    made["elevation"] = (("lat", "lon"), 400 + 60 * fields(random, 1, 1.8)[0])
    return xr.Dataset(made)


@dataclass(frozen=True)
class Simulated:
    """Every tile has the weather of the one that was simulated."""

    folder: Path

    def past(self, box: area.Box, first: pd.Timestamp | None, last: pd.Timestamp) -> xr.Dataset:
        begin = pd.Timestamp("1990-01-01") if first is None else first
        wanted = [path for path, end in self.files() if end >= begin]
        parts = [kept(path) for path in (*wanted, self.folder / "recent.nc")]
        return xr.concat([part for part in parts if part is not None], "time").sel(time=slice(begin, last))

    def files(self) -> list[tuple[Path, pd.Timestamp]]:
        found = sorted(self.folder.glob("*-*.nc"))
        return [(path, pd.Timestamp(int(path.stem[-4:]), 12, 31)) for path in found]

    def settled(self, box: area.Box) -> tuple[list[tuple[Path, pd.Timestamp]], pd.Timestamp]:
        return self.files(), TODAY - pd.Timedelta(days=70)

    def around(self, box: area.Box) -> tuple[xr.Dataset, xr.Dataset]:
        ahead = kept(self.folder / "ahead.nc")
        assert ahead is not None
        times = round((box[3] - box[1]) * 24 + 0.5), round((box[2] - box[0]) * 24 + 0.5)
        rows, columns = (np.arange(n) % EDGE for n in times)
        return ground_of().isel(lat=rows, lon=columns), ahead.isel(lat=rows, lon=columns)

    def kept(self, box: area.Box) -> Path:
        return self.folder / "outlook" / f"{box[0]:.3f}_{box[3]:.3f}"


def simulate(folder: Path) -> None:
    access = Access(folder, now=TODAY.to_pydatetime())
    years = [(1990, 1990), (1991, 2000), (2001, 2010), (2011, 2020), *((year, year) for year in range(2021, 2026))]
    for k, (first, last) in enumerate(years):
        keep(weather_of(pd.date_range(f"{first}-01-01", f"{last}-12-31"), k), folder / f"{first}-{last}.nc", access)
    keep(weather_of(pd.date_range("2026-01-01", "2026-11-28"), 99), folder / "recent.nc", access)
    days = pd.date_range("2026-11-29", periods=16)
    ahead = xr.concat([weather_of(days, 200 + k, smooth=1.0) for k in range(4)], "member")
    keep(ahead, folder / "ahead.nc", access)


def maps_of(folder: Path, edge: int) -> area.Maps:
    sources = Simulated(folder)
    past = sources.past((0, 0, 0, 0), None, pd.Timestamp("2026-11-28"))
    ahead = kept(folder / "ahead.nc")
    plan = plan_chains(past, ahead, TODAY + pd.Timedelta(days=30))
    weights = networks()
    lat, lon = 40 - np.arange(edge) / 24, np.arange(edge) / 24 - 98
    where = area.Cells(lat, lon, np.ones((edge, edge)))
    return area.Maps(folder / "outlook.zarr", where, sources, weights, plan, TODAY, area.LEADS, changing_of(weights))


def spent() -> float:
    return sum(
        of.ru_utime + of.ru_stime for of in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def peak(who: int) -> float:
    return resource.getrusage(who).ru_maxrss / 1e3


def check(one: area.Maps) -> None:
    """Differences to a run of all chains in each cell."""
    exact = replace(one, path=one.path.with_name("exact.zarr"), sources=replace(one.sources, folder=one.sources.folder))
    spacing, cells.SPACING = cells.SPACING, 1
    shutil.rmtree(one.sources.folder / "outlook")
    area.map_area(exact.path, exact, {}, title="exact")
    cells.SPACING = spacing
    near, far = (xr.open_zarr(path).isel(init_time=0).load() for path in (one.path, exact.path))
    for name, unit in (("soil_moisture", 1), ("soil_moisture_percentile", 1), ("drought_probability", 1)):
        apart = near[name] - far[name]
        apart = apart.sel(drought_threshold=20) if "drought_threshold" in apart.dims else apart
        rms = unit * np.sqrt((apart**2).mean(("y", "x")))
        print(f"{name}: rms difference by lead and layer {rms.values.round(4).tolist()}")
    same = (near.drought_class == far.drought_class).mean(("y", "x", "layer"))
    print(f"same drought class: {same.values.round(3).tolist()} of cells")
    wide = [
        of.soil_moisture_quantile.sel(quantile=0.95) - of.soil_moisture_quantile.sel(quantile=0.05)
        for of in (near, far)
    ]
    print(f"width of the 90 % range over that: {(wide[0].mean() / wide[1].mean()).item():.3f}")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", type=int, default=4 * EDGE)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        simulate(folder)
        one = maps_of(folder, EDGE)
        begin = spent()
        area.map_area(one.path, one, {}, title="one tile")
        cost = (spent() - begin) / EDGE**2
        size = sum(path.stat().st_size for path in (folder / "outlook").rglob("*")) / EDGE**2
        print(
            f"normals and states, once: {cost:.3f} s of processor and {size / 1e3:.1f} kB a cell; the country "
            f"{COUNTRY * cost / 3600:.1f} h and {COUNTRY * size / 1e9:.1f} GB; peak {peak(resource.RUSAGE_SELF):.0f} MB"
        )
        whole = maps_of(folder, options.edge)
        source = next((folder / "outlook").iterdir())
        for _, tile in whole.cells.blocks():
            if not (place := whole.sources.kept(whole.cells.box(tile))).exists():
                shutil.copytree(source, place)
        for workers in (1, 2):
            shutil.rmtree(whole.path)
            begin, clock = spent(), time.perf_counter()
            area.map_area(whole.path, whole, {}, title="all tiles", workers=workers)
            cost, wall = spent() - begin, time.perf_counter() - clock
            share = COUNTRY / options.edge**2 / 60
            print(
                f"{options.edge}^2 cells, {workers} processes: {cost:.1f} s of processor, {wall:.1f} s; the country "
                f"{share * cost:.1f} min of processor, {share * wall:.1f} min; peak "
                f"{peak(resource.RUSAGE_SELF):.0f} MB here, {peak(resource.RUSAGE_CHILDREN):.0f} MB in a worker"
            )
        if options.check:
            check(one)


if __name__ == "__main__":
    main()
