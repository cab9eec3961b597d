"""A simulated county at 100 m: its true moisture, what maps are made from, and stations in and around it."""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from vadose.artefact import is_current, note_inputs, provenance, writing
from vadose.errors import VadoseError
from vadose.grid import ease_grid
from vadose.parallel.progress import Progress
from vadose.twin.granules.landsat import write_landsat
from vadose.twin.granules.sentinel1 import write_sentinel1
from vadose.twin.granules.soils import write_polaris
from vadose.twin.granules.stations import measured
from vadose.twin.granules.terrain import write_3dep, write_nlcd
from vadose.twin.land import land
from vadose.twin.pixels import COARSE, EDGES, LANDSAT_9, LAYERS, PIECE, PLACE, Pixels, ground, observe, wrs_path
from vadose.variables import describe

CELL_36KM = 360
"""Pixels of 100 m along the edge of a cell of 36 km."""
REACH = 8
"""Cells of 36 km from the county's middle to the last stations around it."""
OFFSET = 137
"""Row and column of the stations around the county within their cells of 36 km."""
BEFORE = 64
"""Days before the first mapped one whose overpasses are published too."""
_ROW = 1.437
"""Degrees of latitude between rows of WRS-2 near row 32, which lies at 40 N."""

Places = NDArray[np.int64]
Pieces = Iterable[dict[str, xr.Dataset]]
_JOINED: Any = {"data_vars": "minimal", "coords": "minimal", "compat": "override"}


class SimulatedCounty(NamedTuple):
    """What `build_county` wrote, opened lazily.

    Attributes
    ----------
    table
        (station, time): what stations measure, and features.
    fine
        Features (y, x) and (time, y, x) of the county's pixels.
    coarse
        Daily fields of the cells of 9 km, 4 km and 1 km that hold the county: SMAP L4, weather, temperature of
        the surface.
    truth
        ``soil_moisture`` (time, y, x) of every pixel, 0-10 cm, NaN on water.
    """

    table: xr.Dataset
    fine: xr.Dataset
    coarse: list[xr.Dataset]
    truth: xr.Dataset


def build_county(
    out: Path,
    *,
    first: str = "2022-01-01",
    last: str = "2024-12-31",
    mapped: tuple[str, str] | None = None,
    centre: tuple[float, float] = (38.0, -97.0),
    cells: tuple[int, int] = (96, 96),
    stations: int = 60,
    inside: int = 10,
    seed: int = 0,
    spin_up: int = 300,
    progress: Progress = lambda what, share: None,
) -> Path:
    """Simulate a county at 100 m, with stations in and around it, and write what downscaling needs and its answer.

    Written under ``out``: ``table.zarr``, station-days to learn from, of the ``network`` INSIDE the county or AROUND
    it, up to 400 km away; ``granules``, the county's pixels as data centres publish them, from `BEFORE` days before the
    first mapped one on; ``county.zarr`` with the groups ``fine``, ``coarse/smap_l4``, ``coarse/weather`` and
    ``coarse/surface_temperature`` to map from, and ``truth`` to score maps by. See `open_county`.

    The world is that of `vadose.twin.truth.simulate`. What is known of it, at stations and on pixels alike, has gaps
    that are filled from the past alone (with ``NAME_age``), and errors:

    - indices of Landsat 8, and 9 from November 2021 on, on the days of the WRS-2 path where neither cloud nor
      snow hides the ground, with errors of sun, view and haze;
    - those of Sentinel-1 every 12 days, whose backscatter has 6 % of noise, as after a filter against speckle;
    - the temperature of the surface of 1 km under clear sky, when Terra passes by day;
    - weather of 4 km, right but for its resolution;
    - ``soil_moisture_smap_l4`` of 9 km, from a land-surface model with wrong soil and rain
      (`vadose.twin.land_model`); no brightness is assimilated;
    - a soil map with errors, right terrain and right land cover (`vadose.twin.pixels.ground`).

    Stations measure with the errors of `vadose.twin.granules.stations.measured`, without its faults. Nothing flows
    from pixel to pixel in this world: its pattern is one of soil, cover and height, not of valleys.

    Parameters
    ----------
    out
        Folder to write; left alone when it was made from the same already.
    first, last
        Days of the table and of the coarse fields, inclusive.
    mapped
        First and last day of the fine features and of the truth; the last 365 days when left out.
    centre
        Latitude and longitude [degree]. The county is centred on the nearest corner of four 36 km cells, so that it
        lies in several cells of every coarse product.
    cells
        Rows and columns of 100 m pixels.
    stations, inside
        Number of all stations, and of those in the county; none in water.
    spin_up
        Days simulated before the first overpasses, to forget the start.

    Raises
    ------
    VadoseError
        When days do not fit, the county is too small, or there is no room for the stations.

    Notes
    -----
    Stations around the county stand on a lattice, one pixel of 100 m in a cell of 36 km: a grid of single pixels
    costs no more than one of whole cells, and the truth there is that of 100 m.
    """
    days = pd.date_range(first, last)
    maps = pd.date_range(*mapped) if mapped else days[-365:]
    if not len(days) or not len(maps) or not maps.isin(days).all() or min(cells) < 2:
        raise VadoseError(
            f"simulated county: days {first} .. {last}, mapped {mapped}, {cells[0]} x {cells[1]} pixels; give a last "
            "day not before the first, mapped days among them, and at least 2 x 2 pixels"
        )
    inputs: Mapping[str, object] = {
        "first": first,
        "last": last,
        "mapped": [f"{day:%Y-%m-%d}" for day in (maps[0], maps[-1])],
        "centre": centre,
        "cells": cells,
        "stations": stations,
        "inside": inside,
        "seed": seed,
        "spin_up": spin_up,
    }
    if is_current(out, **inputs):
        return out
    corner = [round(int(v) / CELL_36KM) * CELL_36KM for v in ease_grid("100m").rowcol(*centre)]
    county = Pixels(*(range(c - n // 2, c - n // 2 + n) for c, n in zip(corner, cells, strict=True)))
    reach = REACH * CELL_36KM
    lattice = Pixels(*(range(c - reach + OFFSET, c + reach, CELL_36KM) for c in corner))
    generator = np.random.default_rng([seed, zlib.crc32(b"county")])
    inner = _drawn(county, inside, seed, generator)
    outer = _drawn(lattice, stations - inside, seed, generator, without=county)

    def observed(pixels: Pixels, half: int) -> Pieces:
        def tell(share: float) -> None:
            progress("simulating a county", (half + share) / 2)

        return observe(pixels, days, seed=seed, spin_up=spin_up, progress=tell)

    with writing(out) as scratch:
        scratch.mkdir()
        of_county = ground(county, seed)
        pieces = _kept(observed(county, 0), of_county, scratch / "county.zarr", maps, inputs)
        within = _at_stations(pieces, county, inner, of_county.isel(_points(*inner.T)), "INSIDE")
        places = [Pixels(*(range(of[k], of[k] + 1) for of, k in zip(lattice, at, strict=True))) for at in outer]
        alone = xr.concat([ground(place, seed).isel(_points([0], [0])) for place in places], "station", **_JOINED)
        beyond = _at_stations(observed(lattice, 1), lattice, outer, alone, "AROUND")
        _write_table(scratch / "table.zarr", xr.concat([within, beyond], "station", **_JOINED), seed, inputs)
        note_inputs(scratch, **inputs)
    return out


def open_county(path: Path) -> SimulatedCounty:
    """Open what `build_county` wrote.

    Raises
    ------
    VadoseError
        When there is none.
    """
    if not (path / "county.zarr").is_dir():
        raise VadoseError(f"{path}: no simulated county there; make one with vadose.twin.county.build_county")
    groups = [
        xr.open_zarr(path / "county.zarr", group=name, consolidated=False)
        for name in ("fine", "truth", *(f"coarse/{kind}" for kind in COARSE))
    ]
    return SimulatedCounty(xr.open_zarr(path / "table.zarr", consolidated=False), groups[0], groups[2:], groups[1])


def _drawn(
    pixels: Pixels, count: int, seed: int, generator: np.random.Generator, without: Pixels | None = None
) -> Places:
    """Positions (station, 2) of pixels on dry ground, drawn without those of another area."""
    dry = land(pixels.grid(), seed).water_fraction.values < 0.5
    if without:
        dry &= ~np.logical_and.outer(*(np.isin(own, other) for own, other in zip(pixels, without, strict=True)))
    places: Places = generator.permutation(np.argwhere(dry))
    if not 1 <= count <= len(places):
        raise VadoseError(
            f"simulated county: {count} stations asked for {'around' if without else 'in'} the county; there is room "
            f"for 1 to {len(places)}"
        )
    return places[:count]


def _kept(
    pieces: Pieces, of_county: xr.Dataset, path: Path, maps: pd.DatetimeIndex, inputs: Mapping[str, object]
) -> Iterator[dict[str, xr.Dataset]]:
    """Write what maps are made from and scored by, piece by piece, and hand the pieces on."""
    told = {"mode": "causal", "dataset": "simulated county"} | provenance(**inputs)
    coarse: dict[str, list[xr.Dataset]] = {kind: [] for kind in COARSE}
    begun = False
    for piece in pieces:
        write_granules(piece.pop("raw"), of_county, path.parent / "granules", maps)
        for kind, parts in coarse.items():
            parts.append(piece[kind])
        fine = piece["fine"].isel(time=pd.DatetimeIndex(piece["fine"].time.values).isin(maps))
        if fine.sizes["time"]:
            truth = fine[[LAYERS[0]]].rename({LAYERS[0]: "soil_moisture"}).where(of_county["mask"])
            fine = fine.drop_vars(list(LAYERS))
            _append(fine if begun else fine.assign(of_county.data_vars), path, "fine", begun, told)
            _append(truth, path, "truth", begun, told)
            begun = True
        yield piece
    for kind, parts in coarse.items():
        _append(xr.concat(parts, "time", **_JOINED), path, f"coarse/{kind}", False, told)


def write_granules(truth: xr.Dataset, of_county: xr.Dataset, folder: Path, maps: pd.DatetimeIndex) -> None:
    """Scenes of Landsat 8 and 9 and of Sentinel-1, terrain, land cover and the soil map, of days of a county."""
    days = pd.DatetimeIndex(truth.time.values)
    truth = truth.isel(time=(days >= maps[0] - pd.Timedelta(days=BEFORE)) & (days <= maps[-1]))
    if not truth.sizes["time"]:
        return
    lat, lon = float(truth.lat.mean()), float(truth.lon.mean())
    path, row = wrs_path(lon), round(32 + (40 - lat) / _ROW)
    write_landsat(truth, folder / "landsat", path_row=f"{path:03d}{row:03d}")
    newer = truth.isel(time=pd.DatetimeIndex(truth.time.values) >= LANDSAT_9)
    write_landsat(newer, folder / "landsat", satellite="LC09", path_row=f"{path:03d}{row:03d}")
    write_sentinel1(truth, folder / "sentinel1")
    if (folder / "3dep").exists():
        return
    write_3dep(truth, folder / "3dep")
    write_nlcd(truth, folder / "nlcd")
    soils = truth.assign({name: of_county[name] for name in ("clay_fraction", "sand_fraction", "bulk_density")})
    write_polaris(soils, folder / "polaris", properties=("clay", "sand", "bd"), depths=("0_5",))


def _append(data: xr.Dataset, path: Path, group: str, begun: bool, told: dict[str, str]) -> None:
    data = describe(data.drop_encoding()).assign_attrs(told)
    if begun:
        data.drop_vars(PLACE).to_zarr(path, group=group, append_dim="time", zarr_format=3, consolidated=False)
        return
    daily = {name: [PIECE, *data[name].shape[1:]] for name in data.data_vars if "time" in data[name].dims}
    encoding = {name: {"chunks": chunks} for name, chunks in daily.items()}
    data.to_zarr(path, group=group, mode="a", zarr_format=3, consolidated=False, encoding=encoding)


def _at_stations(pieces: Pieces, pixels: Pixels, places: Places, fixed: xr.Dataset, network: str) -> xr.Dataset:
    """Features and true moisture (station, time) of pixels at some positions, and what is fixed there."""
    lat, lon = pixels.grid().latlon(*places.T)
    where = {kind: _points(*pixels.grid(edge).rowcol(lat, lon)) for kind, edge in EDGES.items()}
    parts = []
    for piece in pieces:
        fields = [piece[kind].isel(points).drop_vars(PLACE) for kind, points in where.items()]
        parts.append(xr.Dataset({name: of[name] for of in fields for name in of.data_vars}))
    names = np.array([f"{network.lower()}_{number:02d}" for number in range(len(places))], object)
    table = xr.concat(parts, "time", **_JOINED).assign(fixed.drop_vars([*PLACE, "mask"]).data_vars)
    table = table.assign_coords(station=names, lat=("station", lat), lon=("station", lon))
    return table.assign_coords(network=("station", np.full(len(names), network, object)))


def _points(row: ArrayLike, column: ArrayLike) -> dict[str, xr.DataArray]:
    return {"y": xr.DataArray(row, dims="station"), "x": xr.DataArray(column, dims="station")}


def _write_table(path: Path, table: xr.Dataset, seed: int, inputs: Mapping[str, object]) -> None:
    """The table, with what a sensor at 5 cm measures in place of the truth."""
    # Faults, which screening finds in real records, befall the first and the last station: copies here.
    copies = table[list(LAYERS)].isel(station=[0, *range(table.sizes["station"]), -1]).transpose("time", "station")
    moisture = measured(copies, seed).soil_moisture.isel(depth=0, station=slice(1, -1)).drop_vars("depth")
    table = table.drop_vars(list(LAYERS)).assign(soil_moisture=moisture).astype(np.float32)
    table = describe(table.transpose("station", "time").drop_encoding())
    table.attrs = {
        "simulated": "true",
        "mode": "causal",
        "dataset": "simulated county",
        "day_boundary": "UTC",
        **provenance(**inputs),
    }
    table.to_zarr(path, zarr_format=3, consolidated=False)
