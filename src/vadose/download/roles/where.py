"""The places a role is asked for: a box of gridMET's cells, or points."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from vadose.download.area import BBox, checked
from vadose.errors import VadoseError
from vadose.variables import describe

Array = NDArray[np.floating[Any]]
Places = BBox | Sequence[tuple[float, float]]
"""West, south, east, north [degree]; or points, each latitude and longitude."""

STEP = 1 / 24
LAT, LON = 49.4 - np.arange(585) * STEP, -124.7666666333333 + np.arange(1386) * STEP
TOGETHER = 12
"""Points in one square of so many cells are asked for as one box."""


@dataclass(frozen=True)
class Cells:
    """A box of gridMET's cells."""

    rows: slice
    columns: slice

    @property
    def name(self) -> str:
        """Folder of the box in the cache."""
        return f"r{self.rows.start}-{self.rows.stop - 1}_c{self.columns.start}-{self.columns.stop - 1}"

    @property
    def number(self) -> int:
        """Number of cells."""
        return len(self.lat) * len(self.lon)

    @property
    def lat(self) -> Array:
        """Latitudes of the rows, from the north [degree]."""
        return LAT[self.rows]

    @property
    def lon(self) -> Array:
        """Longitudes of the columns [degree]."""
        return LON[self.columns]

    def box(self, margin: float = STEP / 4) -> BBox:
        """Box around the centres [degree]."""
        lat, lon = self.lat, self.lon
        return lon[0] - margin, lat[-1] - margin, lon[-1] + margin, lat[0] + margin


@dataclass(frozen=True)
class Where:
    """Latitudes and longitudes: the axes of a box of cells, or those of points."""

    lat: Array
    lon: Array
    cells: Cells | None = None

    @classmethod
    def of(cls, places: Places) -> "Where":
        """The box or the points.

        Raises
        ------
        VadoseError
            For a box or points that make no sense, or a box outside gridMET's.
        """
        if len(places) == 4 and not any(isinstance(side, Sequence | np.ndarray) for side in places):
            cells = cells_of(checked(places))  # type: ignore[arg-type]
            return cls(cells.lat, cells.lon, cells)
        try:
            lat, lon = np.array([(float(lat), float(lon)) for lat, lon in places]).T  # type: ignore[misc]
        except (TypeError, ValueError):
            raise VadoseError(f"places {places!r}: expected points (lat, lon), or west, south, east, north") from None
        if bad := [(y, x) for y, x in zip(lat, lon, strict=True) if not (abs(y) <= 90 and abs(x) <= 180)]:
            raise VadoseError(f"point {bad[0][0]:g}, {bad[0][1]:g}: expected a latitude and a longitude in degrees")
        return cls(lat, lon)

    @property
    def dims(self) -> tuple[str, ...]:
        """Dimensions of values."""
        return ("lat", "lon") if self.cells else ("place",)

    @property
    def shape(self) -> tuple[int, ...]:
        """Their sizes."""
        return (len(self.lat), len(self.lon)) if self.cells else (len(self.lat),)

    @property
    def key(self) -> str:
        """Name of these places in the cache."""
        text = ",".join(f"{v:.5f}" for v in (*self.lat, *self.lon))
        return self.cells.name if self.cells else hashlib.sha256(text.encode()).hexdigest()[:16]

    def flat(self) -> tuple[Array, Array]:
        """Latitude and longitude of each value."""
        if not self.cells:
            return self.lat, self.lon
        lat, lon = np.meshgrid(self.lat, self.lon, indexing="ij")
        return lat.ravel(), lon.ravel()

    def box(self, margin: float) -> BBox:
        """Box around all, with a margin [degree]."""
        return (
            max(float(self.lon.min()) - margin, -180.0),
            max(float(self.lat.min()) - margin, -90.0),
            min(float(self.lon.max()) + margin, 180.0),
            min(float(self.lat.max()) + margin, 90.0),
        )

    def dataset(self, values: Mapping[str, Array], **axes: ArrayLike) -> xr.Dataset:
        """A dataset of values (axes..., flat place)."""
        sizes = [len(np.atleast_1d(axis)) for axis in axes.values()]
        coords: dict[str, Any] = dict(axes) | {
            name: (name if self.cells else "place", axis) for name, axis in (("lat", self.lat), ("lon", self.lon))
        }
        fields = {
            name: ((*axes, *self.dims), np.asarray(v, np.float32).reshape(*sizes, *self.shape))
            for name, v in values.items()
        }
        return describe(xr.Dataset(fields, coords))

    def groups(self) -> Iterable[tuple[Cells, NDArray[np.intp]]]:
        """Boxes of cells, and which values lie in each: one for a box, of points one for those that lie together.

        Raises
        ------
        VadoseError
            When a point lies outside gridMET's grid.
        """
        if self.cells:
            return [(self.cells, np.arange(self.cells.number))]
        row, column = (
            np.rint((axis - of[0]) / (of[1] - of[0])).astype(int) for axis, of in ((self.lat, LAT), (self.lon, LON))
        )
        outside = (row < 0) | (row >= len(LAT)) | (column < 0) | (column >= len(LON))
        if outside.any():
            k = int(outside.argmax())
            raise VadoseError(
                f"gridMET: no cell at {self.lat[k]:g}, {self.lon[k]:g}; it covers the contiguous United States"
            )
        together: dict[tuple[int, int], list[int]] = defaultdict(list)
        for k, cell in enumerate(zip(row // TOGETHER, column // TOGETHER, strict=True)):
            together[cell].append(k)
        found = []
        for members in together.values():
            r, c = row[members], column[members]
            cells = Cells(slice(int(r.min()), int(r.max()) + 1), slice(int(c.min()), int(c.max()) + 1))
            found.append((cells, np.array(members)))
        return found


def cells_of(box: BBox) -> Cells:
    """Cells of gridMET whose centres lie in a box; the one of its middle if none does.

    Examples
    --------
    >>> cells_of((-96.7, 39.0, -96.6, 39.1)).name
    'r248-249_c674-675'

    Raises
    ------
    VadoseError
        When the box lies outside the grid.
    """
    west, south, east, north = box
    rows, columns = np.flatnonzero((south <= LAT) & (north >= LAT)), np.flatnonzero((west <= LON) & (east >= LON))
    if not (len(rows) and len(columns)):
        middle = Where(np.array([(south + north) / 2]), np.array([(west + east) / 2]))
        return next(iter(middle.groups()))[0]
    return Cells(slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
