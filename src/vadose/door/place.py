"""Where things lie: cells of a map by their coordinates, stations by their names; never by position."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from vadose.door.days import in_order, lead_days
from vadose.errors import VadoseError

TOLERANCE = 1e-6
"""Distance at which two coordinates are the same [cell], beside what single precision rounds them by."""
Positions = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """The cells of a map, or stations, in the order of a dataset.

    Attributes
    ----------
    crs
        Projection; ``''`` where none is known.
    cell
        Edge of a cell in the units of ``y`` and ``x``; 0 where not known. Cells may lie further apart.
    y, x
        Coordinates of rows and columns.
    stations
        Names of the stations, one a row, where cells are stations.
    lat, lon
        Of the cells row by row [degree], where there is no projection and they are known.

    Examples
    --------
    >>> from vadose.grid import ease_grid
    >>> whole = Place.of(ease_grid("36km").part(slice(50, 60), slice(150, 170)).coordinates())
    >>> crop = Place.of(ease_grid("36km").part(slice(52, 54), slice(160, 163)).coordinates())
    >>> rows, columns = whole.find(crop, "the crop")
    >>> rows.tolist(), columns.tolist()
    ([2, 3], [10, 11, 12])
    """

    crs: str
    cell: float
    y: tuple[float, ...]
    x: tuple[float, ...]
    stations: tuple[str, ...] = ()
    lat: tuple[float, ...] = ()
    lon: tuple[float, ...] = ()

    @classmethod
    def of(cls, dataset: xr.Dataset) -> "Place":
        """The place of a dataset over (y, x)."""
        y, x = (dataset[axis].values.astype(float) for axis in ("y", "x"))
        stations: tuple[str, ...] = ()
        if "station" in dataset.coords:
            stations = tuple(map(str, dataset.station.values.ravel()))
        crs = str(dataset.attrs.get("grid_crs", ""))
        cell = float(dataset.attrs.get("cell_size", 0.0))
        lat: tuple[float, ...] = ()
        lon: tuple[float, ...] = ()
        if not crs and not stations and {"lat", "lon"} <= set(dataset.coords):
            both = xr.broadcast(dataset.lat, dataset.lon, dataset.y, dataset.x)[:2]
            lat, lon = (tuple(part.transpose("y", "x").values.ravel().astype(float).tolist()) for part in both)
        return cls(crs, cell, tuple(y.tolist()), tuple(x.tolist()), stations, lat, lon)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.y), len(self.x)

    @property
    def steps(self) -> tuple[float, float]:
        """Least distance of neighbouring rows and columns; the edge of a cell where there is but one."""
        of_axes = (np.abs(np.diff(axis)).min() if len(axis) > 1 else self.cell for axis in (self.y, self.x))
        down, across = (float(step) for step in of_axes)
        return down, across

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "Place":
        """The inverse of `to_dict`."""
        known: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        return cls(**known)

    def find(self, other: "Place", what: str) -> tuple[Positions, Positions]:
        """Rows and columns here of the other's rows and columns.

        Coordinates are the same where they differ by no more than `TOLERANCE` of a cell and what single precision
        rounds them by; stations are the same where their names are.

        Parameters
        ----------
        other
            A part of this place.
        what
            Which two are compared, for errors: ``'the run and the cube'``.

        Raises
        ------
        VadoseError
            When the other is of another projection or cell size, or has cells or stations that are not here.
        """
        self.check_cells(other, what)
        if self.stations:
            rows = _unique(self.stations, what).get_indexer(_unique(other.stations, what))
            if (rows < 0).any():
                unknown = [name for name, row in zip(other.stations, rows, strict=True) if row < 0]
                raise VadoseError(
                    f"{what}: {len(unknown)} of {len(rows)} stations are not among the first's {len(self.stations)}, "
                    f"such as {unknown[0]}"
                )
            return rows.astype(np.int64), np.zeros(len(other.x), np.int64)
        down, across = self.steps
        rows, columns = nearest(self.y, other.y, down), nearest(self.x, other.x, across)
        inside = (rows >= 0)[:, None] & (columns >= 0)
        if inside.all() and self.lat and other.lat:
            inside &= self._same_latlon(other, rows, columns)
        if not inside.all():
            raise VadoseError(
                f"{what}: {int((~inside).sum())} of {inside.size} cells of the second, {other}, are not cells of the "
                f"first, {self}"
            )
        return rows, columns

    def check_cells(self, other: "Place", what: str) -> None:
        """Refuse stations for cells, another projection, and cells of another size."""
        if bool(self.stations) != bool(other.stations):
            kinds = ["stations" if place.stations else "the cells of a grid" for place in (self, other)]
            raise VadoseError(f"{what}: the first is of {kinds[0]}, the second of {kinds[1]}; give two of a kind")
        if self.crs and other.crs and not _same_crs(self.crs, other.crs):
            raise VadoseError(f"{what}: the first is in {self.crs}, the second in {other.crs}; give equal projections")
        if self.cell and other.cell and self._differ(self.cell, other.cell, other):
            raise VadoseError(
                f"{what}: the first has cells of {self.cell:g}, the second of {other.cell:g}; give equal grids"
            )

    def check_steps(self, other: "Place", what: str) -> None:
        """Refuse cells that lie further apart, or closer."""
        alone = [1 in (len(one), len(two)) for one, two in ((self.y, other.y), (self.x, other.x))]
        for one, two, unknown in zip(self.steps, other.steps, alone, strict=True):
            if not unknown and not self.stations and self._differ(one, two, other):
                raise VadoseError(
                    f"{what}: the first's cells are {one:g} apart, the second's {two:g}; give equal grids"
                )

    def _differ(self, one: float, two: float, other: "Place") -> bool:
        """Whether two lengths differ by more than differences of coordinates in single precision do."""
        rounding = sum(float(_rounding(np.array([*place.y, *place.x])).max()) for place in (self, other))
        return abs(one - two) > 1e-4 * one + 2 * rounding

    def _same_latlon(self, other: "Place", rows: Positions, columns: Positions) -> NDArray[np.bool_]:
        same = np.ones(other.shape, bool)
        for own, theirs in ((self.lat, other.lat), (self.lon, other.lon)):
            ours, wanted = np.array(own).reshape(self.shape)[np.ix_(rows, columns)], np.array(theirs)
            same &= np.abs(ours - wanted.reshape(other.shape)) <= 2 * np.spacing(np.float32(180))
        return same

    def __str__(self) -> str:
        """Its extent, for errors."""
        ends = ", ".join(f"{name} {values[0]:g} .. {values[-1]:g}" for name, values in (("y", self.y), ("x", self.x)))
        return f"{len(self.y)} x {len(self.x)} cells with {ends}"


def at(dataset: xr.Dataset, place: Place, what: str) -> xr.Dataset:
    """A dataset at the cells or stations of a place, in their order, errors as those of `Place.find`."""
    own = Place.of(dataset)
    if own == place:
        return dataset
    rows, columns = own.find(place, what)
    return dataset.isel(y=rows, x=columns)


def forecasts_at(store: xr.Dataset, place: Place, leads: Sequence[int], what: str) -> xr.Dataset:
    """A store of forecasts at the cells of a place and some leads [day], its days of issue in order.

    Raises
    ------
    VadoseError
        When it lacks a cell or a lead, or its days of issue or leads are no whole days.
    """
    store = in_order(at(store, place, f"{what} and the cube"), "init_time", what)
    held = lead_days(store, what).tolist()
    if missing := sorted(set(leads) - set(held)):
        raise VadoseError(f"{what} lacks leads {missing} days; it has {held}")
    return store.isel(lead_time=[held.index(lead) for lead in leads])


def _unique(names: tuple[str, ...], what: str) -> "pd.Index[str]":
    index = pd.Index(names)
    if len(twice := index[index.duplicated()].unique()):
        raise VadoseError(f"{what}: {len(twice)} stations come more than once, such as {twice[0]}; give each its name")
    return index


def _same_crs(one: str, other: str) -> bool:
    if one == other:
        return True
    try:
        return bool(CRS.from_user_input(one) == CRS.from_user_input(other))
    except CRSError:
        return False


def _rounding(values: Floats) -> NDArray[np.floating]:
    """Distance of neighbouring numbers of single precision."""
    return np.spacing(np.abs(values).astype(np.float32))


def nearest(own: tuple[float, ...], wanted: tuple[float, ...], step: float) -> Positions:
    """Positions of the wanted coordinates among one's own, -1 where there is none."""
    known, asked = np.array(own), np.array(wanted)
    order = np.argsort(known)
    at = np.clip(np.searchsorted(known[order], asked), 1, max(len(known) - 1, 1))
    left, right = order[at - 1], order[np.minimum(at, len(known) - 1)]
    found = np.where(np.abs(known[left] - asked) <= np.abs(known[right] - asked), left, right)
    near = np.abs(known[found] - asked) <= TOLERANCE * step + _rounding(asked)
    return np.where(near, found, -1).astype(np.int64)
