"""Outlooks of all cells of an area, streamed tile by tile into one store, and its tables by county."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
import zarr
from numpy.typing import NDArray

from vadose.areas import Area, counties, coverage, means
from vadose.artefact import writing
from vadose.artefact.predictions import consolidate, write_predictions
from vadose.errors import VadoseError
from vadose.parallel.running import multiplies_bfloat16
from vadose.parallel.workers import on_workers
from vadose.predict.outlook.cells import Sample, distributions
from vadose.predict.outlook.chains import Plan
from vadose.predict.outlook.kept import Tile, known_of
from vadose.predict.outlook.moisture import LAYERS, Networks
from vadose.predict.outlook.percentiles import CLASSES, MISSING, NONE, QUANTILES, THRESHOLDS
from vadose.predict.outlook.point import compared
from vadose.predict.outlook.where import Region

Array = NDArray[np.floating[Any]]
Box = tuple[float, float, float, float]
Slices = tuple[slice, slice]
STEP = 1 / 24
NORTH, WEST = 49.4, -124.7666666333333
"""Centres of the north-western cell of gridMET [degree]."""
TILE = 24
"""Cells along the edge of a tile and of a chunk: 36 years of weather of a tile take 150 MB."""
FEWEST = 4
"""Tiles of a worker, at least."""
BLOCK = 5
"""Tiles along the edge of a block, for which the weather ahead and the ground are asked at once."""
LEAST = 1e-3
"""Share of a cell below which it counts as outside."""
LEADS = (0, 7, 14, 30)
"""Days ahead that maps hold."""
_DIMS = ("init_time", "lead_time", "layer")
_AXES: dict[str, list[float]] = {"quantile": [*QUANTILES], "drought_threshold": [*THRESHOLDS]}
_MAPS: dict[str, tuple[str, ...]] = {
    "soil_moisture": (),
    "soil_moisture_std": (),
    "soil_moisture_quantile": ("quantile",),
    "soil_moisture_percentile": (),
    "drought_class": (),
    "drought_probability": ("drought_threshold",),
}
"""Variables of a store of maps, and the axes they have beside day, layer and cell."""


@dataclass(frozen=True)
class Cells:
    """The cells of gridMET in an area.

    Attributes
    ----------
    lat, lon
        Centres of rows, from the north, and columns [degree].
    share
        Share of each cell inside (row, column).
    """

    lat: Array
    lon: Array
    share: Array

    @classmethod
    def of(cls, region: Region) -> "Cells":
        """Cells whose centres lie in a box, or that have a share of a county or state."""
        west, south, east, north = region.box
        reach = STEP / 2 if region.area is not None else 0.0
        rows = np.arange(np.ceil((NORTH - north - reach) / STEP), np.floor((NORTH - south + reach) / STEP) + 1)
        columns = np.arange(np.ceil((west - WEST - reach) / STEP), np.floor((east - WEST + reach) / STEP) + 1)
        rows, columns = rows[(rows >= 0) & (rows < 585)], columns[(columns >= 0) & (columns < 1386)]
        if not len(rows) or not len(columns):
            raise VadoseError(f"{region.name}: no centre of a cell of 4 km lies in it; take a larger box, or --at")
        lat, lon = NORTH - STEP * rows, WEST + STEP * columns
        if region.area is None:
            return cls(lat, lon, np.ones((len(lat), len(lon))))
        edges = [np.append(of, of[-1] + STEP) - STEP / 2 for of in (lon, lat[::-1])]
        share = coverage(region.area.rings, *edges)[::-1]
        return cls(lat, lon, np.where(share < LEAST, 0.0, share))

    def tiles(self, edge: int, within: Slices | None = None) -> Iterator[Slices]:
        """Tiles that hold a cell of the area, row by row."""
        rows, columns = within or (slice(0, len(self.lat)), slice(0, len(self.lon)))
        for top in range(rows.start, rows.stop, edge):
            for left in range(columns.start, columns.stop, edge):
                tile = slice(top, min(top + edge, rows.stop)), slice(left, min(left + edge, columns.stop))
                if (self.share[tile] > 0).any():
                    yield tile

    def blocks(self) -> Iterator[tuple[Slices, Slices]]:
        """All tiles, each with the block it lies in."""
        return ((block, tile) for block in self.tiles(TILE * BLOCK) for tile in self.tiles(TILE, block))

    def box(self, tile: Slices) -> Box:
        """Box around the centres of a tile [degree]."""
        lat, lon, margin = self.lat[tile[0]], self.lon[tile[1]], STEP / 4
        return float(lon[0] - margin), float(lat[-1] - margin), float(lon[-1] + margin), float(lat[0] + margin)

    def middle(self) -> Slices:
        """The tile in the middle of those that hold a cell of the area."""
        tiles = list(self.tiles(TILE))
        centre = np.mean([(rows.start, columns.start) for rows, columns in tiles], axis=0)
        return min(tiles, key=lambda tile: float(np.hypot(*(np.array([of.start for of in tile]) - centre))))


class Sources(Protocol):
    """What is known of a box of cells (lat, lon); can be sent to other processes."""

    def past(self, box: Box, first: pd.Timestamp | None, last: pd.Timestamp) -> xr.Dataset:
        """Past weather from a day on, or from the first one."""
        ...

    def settled(self, box: Box) -> tuple[list[tuple[Path, pd.Timestamp]], pd.Timestamp]:
        """Files of weather that changes no more, the last day of each, and the last day that changes no more."""
        ...

    def around(self, box: Box) -> tuple[xr.Dataset, xr.Dataset | None]:
        """Soil and elevation, and weather of an ensemble; None where there is none."""
        ...

    def kept(self, box: Box) -> Path:
        """Folder for what is kept of the box from day to day."""
        ...


@dataclass(frozen=True)
class Maps:
    """What maps are made of; called with a block and a tile in it, it writes the tile's cells to the store."""

    path: Path
    cells: Cells
    sources: Sources
    networks: Networks
    plan: Plan
    issued: pd.Timestamp
    leads: Sequence[int]
    changing: Sequence[float]

    @property
    def days(self) -> pd.DatetimeIndex:
        """Days of the leads."""
        return self.issued + pd.to_timedelta(list(self.leads), unit="D")

    def __call__(self, where: tuple[Slices, Slices]) -> int:
        """Number of cells."""
        block, tile = where
        cells, sources, box = self.cells, self.sources, self.cells.box(tile)
        files, permanent = sources.settled(box)
        newest = self.plan.days[0] - pd.Timedelta(days=1)
        recent = sources.past(box, files[-1][1] + pd.Timedelta(days=1), newest)
        if recent.indexes["time"][-1] != newest:
            raise VadoseError(
                f"outlook: the newest weather is of {recent.indexes['time'][-1]:%Y-%m-%d} here and "
                f"{newest:%Y-%m-%d} elsewhere, as the source changed meanwhile; run it again"
            )
        dry = recent["precipitation"].notnull().any("time").values.ravel()
        at = np.flatnonzero((cells.share[tile].ravel() > 0) & dry)
        if not len(at):
            return 0
        inside = {
            dim: slice(of.start - start.start, of.stop - start.start)
            for dim, of, start in zip(("lat", "lon"), tile, block, strict=True)
        }

        ground, ahead = sources.around(cells.box(block))

        def of_block(found: xr.Dataset) -> xr.Dataset:
            return _places(found.isel(inside), at)

        sample = Sample.of(*np.divmod(at, tile[1].stop - tile[1].start))
        of_tile = Tile(
            sources.kept(box),
            files,
            lambda first, last: _places(sources.past(box, first, last), at),
            _places(recent, at),
            permanent,
            of_block(ground),
            sample.at,
        )
        known = known_of(of_tile, self.networks, self.changing)
        ahead = None if ahead is None else of_block(ahead)
        rounded = multiplies_bfloat16("cpu")
        mixture = distributions(known, of_tile.recent, ahead, self.plan, sample, self.days, rounded=rounded)
        _fill(self.path, compared([mixture], known.normals, self.days), tile, at)
        return len(at)


def map_area(
    path: Path,
    maps: Maps,
    attributes: dict[str, str],
    *,
    title: str,
    workers: int = 1,
    progress: Callable[[float], None] = lambda share: None,
) -> Path:
    """Write the outlook of an area: the variables of `outlook_of_places` over (init_time, lead_time, layer, y, x)."""
    with writing(path) as scratch:
        write_predictions(scratch, _empty(maps, attributes), title, chunks={"y": TILE, "x": TILE}, empty=True)
        units = list(maps.cells.blocks())
        with on_workers(min(workers, -(-len(units) // FEWEST))) as run:
            for done, _ in enumerate(run(replace(maps, path=scratch), units), 1):
                progress(done / len(units))
        consolidate(scratch)
    return path


def _places(of: xr.Dataset, at: NDArray[np.int64]) -> xr.Dataset:
    """Some cells of a tile as places."""
    return of.stack(place=("lat", "lon"), create_index=False).isel(place=at)


def _empty(maps: Maps, attributes: dict[str, str]) -> xr.Dataset:
    """A store of maps without values."""
    cells = maps.cells
    shape = {"init_time": 1, "lead_time": len(maps.leads), "layer": len(LAYERS)}
    sizes = shape | {name: len(values) for name, values in _AXES.items()} | {"y": len(cells.lat), "x": len(cells.lon)}
    variables = {}
    for name, axes in _MAPS.items():
        dims = (*_DIMS, *axes, "y", "x")
        kind, fill = (np.int8, MISSING) if name == "drought_class" else (np.float32, np.nan)
        chunks = [min(sizes[d], TILE) if d in ("y", "x") else sizes[d] for d in dims]
        variables[name] = (dims, da.full([sizes[d] for d in dims], fill, kind, chunks=chunks), _said(name))
    store = xr.Dataset(
        variables,
        coords={
            "init_time": [maps.issued],
            "lead_time": pd.to_timedelta(list(maps.leads), unit="D"),
            "layer": np.array(LAYERS, object),
            "y": cells.lat,
            "x": cells.lon,
            "lat": ("y", cells.lat),
            "lon": ("x", cells.lon),
            **{
                name: (name, values, {"units": "1" if name == "quantile" else "percent"})
                for name, values in _AXES.items()
            },
        },
        attrs={"cell_size": STEP, "grid_step": STEP, "grid_crs": "EPSG:4326"} | attributes,
    )
    store["drought_class"].encoding["_FillValue"] = np.int8(MISSING)
    return store


def _said(name: str) -> dict[str, Any]:
    told: dict[str, dict[str, Any]] = {
        "soil_moisture_std": {"long_name": "standard deviation of soil moisture", "units": "m3 m-3"},
        "soil_moisture_quantile": {"long_name": "quantile of soil moisture", "units": "m3 m-3"},
        "soil_moisture_percentile": {
            "long_name": "percentile of soil moisture in the model's 1991-2020",
            "units": "percent",
        },
        "drought_class": {
            "long_name": "drought class of soil moisture, US Drought Monitor",
            "flag_values": np.arange(NONE, len(CLASSES), dtype=np.int8),
            "flag_meanings": " ".join(["none", *(f"D{k}_{name.replace(' ', '_')}" for k, name in enumerate(CLASSES))]),
        },
        "drought_probability": {"long_name": "probability that the drought class or a worse one holds", "units": "1"},
    }
    return told.get(name, {})


def _fill(path: Path, found: xr.Dataset, tile: Slices, at: NDArray[np.int64]) -> None:
    """Write the places of a tile to the store."""
    store = zarr.open_group(path, mode="r+", use_consolidated=False)
    rows, columns = (of.stop - of.start for of in tile)
    for name, axes in _MAPS.items():
        values = found[name].transpose("time", "layer", *axes, "place").values
        array = store[name]
        assert isinstance(array, zarr.Array)
        whole = np.full(
            (*values.shape[:-1], rows * columns), MISSING if name == "drought_class" else np.nan, values.dtype
        )
        whole[..., at] = values
        array[(0, ..., *tile)] = whole.reshape(*values.shape[:-1], rows, columns)


def county_table(store: xr.Dataset, areas: Sequence[Area] | None = None) -> pd.DataFrame:
    """Means of counties, or of own areas, and the share of each in drought: a row for each area, layer and lead.

    ``covered`` is the share of the area that lies on the grid, of which all figures are; ``mean`` and ``percentile``
    are means of the cells' values, ``share_d0`` ... of the surface in that class or a worse one.

    Parameters
    ----------
    areas
        Default: all counties that touch the grid.
    """
    of_store = store.isel(init_time=0)
    known = of_store.drought_class.where(of_store.drought_class != MISSING)
    worse = xr.concat([(known >= k).where(known.notnull()) for k in range(len(CLASSES))], "of")
    values = of_store[["soil_moisture", "soil_moisture_percentile"]].assign(share=worse.astype(np.float32))
    chosen = [area for area in counties() if area.in_conus and _touches(area, store)] if areas is None else list(areas)
    of_areas = means(values.assign_attrs(store.attrs), chosen, least=0.01).load()
    issued, rows = pd.Timestamp(store.init_time.values[0]), []
    for k, area in enumerate(chosen):
        one = of_areas.isel(area=k)
        if not np.isfinite(one.soil_moisture).any():
            continue
        for layer in store.layer.values:
            for lead in pd.TimedeltaIndex(store.lead_time.values):
                cell = one.sel(layer=layer, lead_time=lead)
                shares = {f"share_d{n}": float(cell.share[n]) for n in range(len(CLASSES))}
                rows.append(
                    {
                        "code": area.code,
                        "area": area.name,
                        "layer": str(layer),
                        "lead_days": lead.days,
                        "date": f"{issued + lead:%Y-%m-%d}",
                        "covered": float(one.area_covered),
                        "mean": float(cell.soil_moisture),
                        "percentile": float(cell.soil_moisture_percentile),
                    }
                    | shares
                )
    return pd.DataFrame(rows)


def _touches(area: Area, store: xr.Dataset) -> bool:
    west, south, east, north = area.box
    lat, lon = store.y.values, store.x.values
    return bool(west <= lon[-1] and east >= lon[0] and south <= lat[0] and north >= lat[-1])
