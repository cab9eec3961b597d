"""Where things lie: cells of a map by their coordinates, stations by their names; never by position."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

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
    cell, step
        Edge of a cell and distance of neighbouring cells, in the units of ``y`` and ``x``; 0 where not known.
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
    step: float
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
        cell, step = (float(dataset.attrs.get(key, 0.0)) for key in ("cell_size", "grid_step"))
        spacing = np.abs(np.concatenate([np.diff(y), np.diff(x)]))
        if len(spacing) and not stations:
            step = float(spacing.min())
        lat: tuple[float, ...] = ()
        lon: tuple[float, ...] = ()
        if not crs and not stations and {"lat", "lon"} <= set(dataset.coords):
            both = xr.broadcast(dataset.lat, dataset.lon, dataset.y, dataset.x)[:2]
            lat, lon = (tuple(part.transpose("y", "x").values.ravel().astype(float).tolist()) for part in both)
        return cls(crs, cell or step, step, tuple(y.tolist()), tuple(x.tolist()), stations, lat, lon)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.y), len(self.x)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Place":
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
        if bool(self.stations) != bool(other.stations):
            kinds = ["stations" if place.stations else "the cells of a grid" for place in (self, other)]
            raise VadoseError(f"{what}: the first is of {kinds[0]}, the second of {kinds[1]}; give two of a kind")
        if self.stations:
            rows = _unique(self.stations, what).get_indexer(_unique(other.stations, what))
            if (rows < 0).any():
                unknown = [name for name, row in zip(other.stations, rows, strict=True) if row < 0]
                raise VadoseError(
                    f"{what}: {len(unknown)} of {len(rows)} stations are not among the first's {len(self.stations)}, "
                    f"such as {unknown[0]}"
                )
            return rows.astype(np.int64), np.zeros(len(other.x), np.int64)
        self.check_cells(other, what)
        rows, columns = (nearest(*axis, self.step) for axis in ((self.y, other.y), (self.x, other.x)))
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
        """Refuse another projection or cell size."""
        if self.crs and other.crs and not _same_crs(self.crs, other.crs):
            raise VadoseError(f"{what}: the first is in {self.crs}, the second in {other.crs}; they have to agree")
        for name, one, two in (("cells", self.cell, other.cell), ("steps", self.step, other.step)):
            # Steps of single precision coordinates are differences of rounded numbers.
            rounding = sum(float(np.spacing(np.float32(np.abs([*p.y, *p.x]).max()))) for p in (self, other))
            if one and two and abs(one - two) > 1e-4 * one + 2 * rounding:
                raise VadoseError(f"{what}: the first has {name} of {one:g}, the second of {two:g}; they have to agree")

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


def nearest(own: tuple[float, ...], wanted: tuple[float, ...], step: float) -> Positions:
    """Positions of the wanted coordinates among one's own, -1 where there is none."""
    known, asked = np.array(own), np.array(wanted)
    order = np.argsort(known)
    at = np.clip(np.searchsorted(known[order], asked), 1, max(len(known) - 1, 1))
    left, right = order[at - 1], order[np.minimum(at, len(known) - 1)]
    found = np.where(np.abs(known[left] - asked) <= np.abs(known[right] - asked), left, right)
    near = np.abs(known[found] - asked) <= TOLERANCE * step + np.spacing(np.abs(asked).astype(np.float32))
    return np.where(near, found, -1).astype(np.int64)
