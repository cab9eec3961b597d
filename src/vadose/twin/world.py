"""The simulated world as folders of files, ready for the stages that read published ones."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import xarray as xr

from vadose.artefact import note_inputs, provenance, writing
from vadose.errors import VadoseError
from vadose.grid import Grid, ease_grid
from vadose.parallel.progress import Progress
from vadose.products import PRODUCTS
from vadose.twin.granules.conusv4f1 import write_conusv4f1
from vadose.twin.granules.gridmet import write_gridmet
from vadose.twin.granules.imerg import write_imerg
from vadose.twin.granules.modis import write_mod09ga
from vadose.twin.granules.modis_cmg import write_mod09cmg
from vadose.twin.granules.nldas import write_nldas_noah
from vadose.twin.granules.smap_l3 import write_smap_l3
from vadose.twin.granules.stations import (
    at_stations,
    measured,
    place_stations,
    write_ismn,
    write_scan,
    write_uscrn,
    write_uscrn_hourly,
)
from vadose.twin.truth import simulate

ROWS, COLUMNS = slice(71, 71 + 4 * 8, 4), slice(211, 211 + 4 * 10, 4)
"""Every fourth 36 km cell, as in the real database, from the Rocky Mountains to the Mississippi."""
FIRST_YEAR = 2015
LAYERS = ("soil_moisture_0_10cm", "soil_moisture_10_40cm", "soil_moisture_40_100cm")
COUNTY_CELLS = 90
"""Rows and columns of the 100 m county: 9 km, one cell of the coarse grid."""

DAILY = ("smap_l3", "imerg", "gridmet")
"""Products of each day that every world has."""
MORE = ("nldas_noah", "mod09ga", "mod09cmg")
"""Products of each day that a world has when asked for."""
NLDAS_HOURS = (0, 6, 12, 18)
"""Hours of a day that are written: the simulated states do not change within it."""
MARGIN_CELLS = 3
"""Written around the box of the products coarser than the grid, so that cells at its edge have neighbours."""

Box = tuple[float, float, float, float]
Outages = Mapping[str, Sequence[tuple[str, str]]]


def build_granule_world(
    out: Path,
    first: str,
    last: str,
    *,
    bbox: Box,
    seed: int = 0,
    stations: int = 12,
    everything: bool = False,
    more: Sequence[str] = (),
    outages: Outages | None = None,
    workers: int = 1,
    spin_up: int = 365,
    progress: Progress = lambda what, share: None,
) -> Path:
    """Simulate a world on the 9 km grid and write it as the data centres would publish it.

    Written under ``out``: ``granules/PRODUCT/`` for SMAP L3, gridMET and daily IMERG on all days and soils,
    terrain and land cover once; ``stations/uscrn``; ``truth.zarr``, the moisture of three layers. With
    ``everything`` also ``stations/scan``, ``stations/ismn`` and ``stations/uscrn_hourly``, the other 9 km
    products on the last day, and the 100 m products of a county of 9 km in the middle, on the last 16 days.

    Days are simulated and written in pieces: memory does not grow with the record.

    Parameters
    ----------
    first, last
        Days, inclusive.
    bbox
        West, south, east, north [degree].
    stations
        At most one in each cell.
    more
        Further products of all days, each cut to the box: ``'nldas_noah'``, four hours a day of a land-surface
        model with errors of its own (`vadose.twin.land_model`), ``'mod09ga'`` and ``'mod09cmg'`` of Terra. With any,
        rain of IMERG has errors too, what is coarser than the grid reaches beyond the box, and stations are of two
        networks in turn: ``stations/uscrn`` and ``stations/scan`` (places in ``stations/station_meta``).
    outages
        Days, first and last inclusive, on which a product of all days is left out, such as
        ``{'smap_l3': [('2019-06-20', '2019-07-22')]}``.
    workers
        Processes that write while the next days are simulated.
    spin_up
        Days simulated before the first one to forget the start.

    Raises
    ------
    VadoseError
        For a box without cells or room for its stations, a last day before the first, or an unknown product.
    """
    grid = ease_grid("9km").bounding_box(*bbox)
    days = pd.date_range(first, last)
    if not len(days):
        raise VadoseError(f"simulated world: last day {last} is before the first day, {first}")
    _room(stations, grid.shape)
    absent = _absent_days(more, outages or {})
    # Products coarser than the grid are written a little beyond it.
    margin = MARGIN_CELLS if more else 0
    wide = _around(grid, margin)
    done, points, places = 0, [], None
    chunk = max(1, min(32, 2_000_000 // (grid.shape[0] * grid.shape[1])))
    with writing(out) as scratch, _writers(workers) as submit:
        granules = scratch / "granules"
        for around in simulate(wide, first, last, seed=seed, chunk=chunk, spin_up=spin_up, land_model=bool(more)):
            piece = around.isel({axis: slice(margin, n - margin) for axis, n in around.sizes.items() if axis != "time"})
            if places is None:
                places = place_stations(piece, stations, seed)
                start = piece.isel(time=slice(1))
                for product, write in _writers_of("once"):
                    submit(write, start, granules / product)
            _write_days(submit, around, piece, granules, more, absent)
            points.append(at_stations(piece, places))
            _append_truth(piece, scratch / "truth.zarr", bool(done), seed=seed, bbox=bbox, first=first, last=last)
            done += piece.sizes["time"]
            progress("simulating a world", done / len(days))
        series = measured(xr.concat(points, "time", data_vars="minimal"), seed)
        _write_stations(series, scratch / "stations", in_turn=bool(more), everything=everything)
        if everything:
            _write_other_products(grid, days, granules, seed, without=more)
            _write_county(bbox, days[-16:], granules, seed)
        note_inputs(
            scratch,
            seed=seed,
            bbox=bbox,
            first=first,
            last=last,
            stations=stations,
            more=list(more),
            outages={product: [list(gap) for gap in gaps] for product, gaps in (outages or {}).items()},
        )
    return out


def _write_stations(series: xr.Dataset, folder: Path, *, in_turn: bool, everything: bool) -> None:
    """Station files: of two networks in turn, or all of USCRN; with ``everything`` of the others too."""
    if in_turn:
        write_uscrn(series.isel(station=slice(0, None, 2)), folder / "uscrn")
        write_scan(series.isel(station=slice(1, None, 2)), folder / "scan")
    else:
        write_uscrn(series, folder / "uscrn")
        if everything:
            write_scan(series, folder / "scan")
    if everything:
        write_ismn(series, folder / "ismn")
        write_uscrn_hourly(series, folder / "uscrn_hourly")


def _write_days(
    submit: Callable[..., object],
    around: xr.Dataset,
    piece: xr.Dataset,
    granules: Path,
    more: Sequence[str],
    absent: dict[str, pd.DatetimeIndex],
) -> None:
    """The products of all days, but those absent; of coarse ones what lies around the piece too."""
    there = {product: ~around.indexes["time"].isin(days) for product, days in absent.items()}
    rainy = around.assign(precipitation=around.satellite_precipitation) if more else around
    submit(write_smap_l3, piece.isel(time=there["smap_l3"]), granules / "smap_l3")
    submit(write_imerg, rainy.isel(time=there["imerg"]), granules / "imerg", frequency="daily")
    # Yearly files hold every day, and fill on those without data.
    weather = around if there["gridmet"].all() else around.where(xr.DataArray(there["gridmet"], dims="time"))
    write_gridmet(weather, granules / "gridmet")
    if "nldas_noah" in more:
        model = around.isel(time=there["nldas_noah"])
        submit(write_nldas_noah, model, granules / "nldas_noah", hours=NLDAS_HOURS, subset=True)
    if "mod09ga" in more:
        submit(write_mod09ga, piece.isel(time=there["mod09ga"]), granules / "mod09ga", subset=True)
    if "mod09cmg" in more:
        submit(write_mod09cmg, around.isel(time=there["mod09cmg"]), granules / "mod09cmg")


def _around(grid: Grid, cells: int) -> Grid:
    """The grid and some cells of its EASE-Grid beyond each edge."""
    left, top, step = grid.transform
    rows, columns = grid.shape
    return Grid(
        grid.crs, (left - cells * step, top + cells * step, step), (rows + 2 * cells, columns + 2 * cells), grid.cell
    )


def _absent_days(more: Sequence[str], outages: Outages) -> dict[str, pd.DatetimeIndex]:
    """Days without granules, by product."""
    if unknown := [product for product in more if product not in MORE]:
        raise VadoseError(f"simulated world: unknown product {unknown[0]!r} in 'more'; choose from {list(MORE)}")
    products = (*DAILY, *more)
    if unknown := [product for product in outages if product not in products]:
        raise VadoseError(f"simulated world: outage of {unknown[0]!r}; those that can fail are {list(products)}")
    absent = {product: pd.DatetimeIndex([]) for product in products}
    for product, gaps in outages.items():
        for begin, end in gaps:
            absent[product] = absent[product].union(pd.date_range(begin, end))
    return absent


@contextmanager
def _writers(workers: int) -> Iterator[Callable[..., object]]:
    """Call writers at once, or with several workers in processes of their own, a few waiting at a time."""
    if workers < 2:
        yield lambda write, *arguments, **options: write(*arguments, **options)
        return
    waiting: list[Future[object]] = []
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:

        def submit(write: Callable[..., object], *arguments: object, **options: object) -> None:
            # Pieces that wait are held in memory: no more than two a worker.
            while len(waiting) >= 2 * workers:
                waiting.pop(0).result()
            waiting.append(pool.submit(write, *arguments, **options))

        yield submit
        for future in waiting:
            future.result()


def _write_other_products(
    grid: Grid, days: pd.DatetimeIndex, granules: Path, seed: int, without: Sequence[str]
) -> None:
    """One day of the 9 km products that the demonstration's cube does not take, and a forecast of two days."""
    end = days[-1] + pd.Timedelta(days=1)
    truth = next(simulate(grid, f"{days[-1]:%Y-%m-%d}", f"{end:%Y-%m-%d}", seed=seed))
    day = truth.isel(time=slice(1))
    for product, write in _writers_of("last day"):
        if product not in without:
            write(day, granules / product)
    for product, write in _writers_of("forecast"):
        write(truth, granules / product)


def _write_county(bbox: Box, days: pd.DatetimeIndex, granules: Path, seed: int) -> None:
    """The products of 10 to 100 m, of a county in the middle of the box."""
    west, south, east, north = bbox
    whole = ease_grid("100m")
    row, column = (int(v) for v in whole.rowcol((south + north) / 2, (west + east) / 2))
    half = COUNTY_CELLS // 2
    county = whole.part(slice(row - half, row + half), slice(column - half, column + half))
    first, last = (f"{day:%Y-%m-%d}" for day in (days[0], days[-1]))
    truth = next(simulate(county, first, last, seed=seed, chunk=len(days), spin_up=90))
    for product, write in _writers_of("county"):
        write(truth, granules / product)


def _writers_of(when: str) -> Iterator[tuple[str, Callable[..., object]]]:
    """Products that are published then, and what writes them."""
    for name, product in PRODUCTS.items():
        if product.twin and product.twin.when == when:
            module, _, writer = product.twin.writer.partition(".")
            yield name, getattr(import_module(f"vadose.twin.granules.{module}"), writer)


def build_database_world(out: Path, *, seed: int = 0, years: int = 3, stations: int = 12) -> Path:
    """Simulate some years from April 2015 on and write them as the hydroDL database and USCRN files.

    Written under ``out``: ``conusv4f1/`` in the layout of the database, ``uscrn/`` with daily station
    files, both with a marker ``SIMULATED.txt``, and ``truth.zarr``, the moisture of three layers.

    Parameters
    ----------
    seed
        The same seed gives the same values.
    years
        Database years, from April to March.
    stations
        At most one in each cell.

    Raises
    ------
    VadoseError
        For no year, or a number of stations that does not fit the cells.
    """
    grid = ease_grid("36km").part(ROWS, COLUMNS)
    if years < 1:
        raise VadoseError(f"simulated world: {years} years asked for; expected at least one")
    _room(stations, grid.shape)
    first, last = f"{FIRST_YEAR}-04-01", f"{FIRST_YEAR + years}-03-31"
    truth = next(simulate(grid, first, last, seed=seed, chunk=400 * years))
    with writing(out) as scratch:
        scratch.mkdir()
        write_conusv4f1(truth, scratch / "conusv4f1")
        points = at_stations(truth, place_stations(truth, stations, seed))
        write_uscrn(measured(points, seed), scratch / "uscrn")
        _append_truth(truth, scratch / "truth.zarr", False, seed=seed, years=years, stations=stations)
        note_inputs(scratch, seed=seed, years=years, stations=stations)
    return out


def _room(stations: int, shape: tuple[int, int]) -> None:
    room = max(shape[0] * shape[1] // 2, 1)
    if not 1 <= stations <= room:
        raise VadoseError(f"simulated world: {stations} stations asked for; expected 1 to {room}")


def _append_truth(truth: xr.Dataset, path: Path, more: bool, **inputs: object) -> None:
    if more:
        truth[list(LAYERS)].drop_vars(["lat", "lon", "crs", "x", "y"]).to_zarr(
            path, append_dim="time", zarr_format=3, consolidated=False
        )
        return
    kept = truth[list(LAYERS)].assign_attrs(truth.attrs | provenance(**inputs))
    kept.chunk({"time": 32, "y": -1, "x": -1}).to_zarr(path, zarr_format=3, consolidated=False)
