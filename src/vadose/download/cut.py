"""Parts of granules that a server cuts by OPeNDAP, of products whose axes are not among their fields."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from vadose.download.area import BBox
from vadose.errors import VadoseError
from vadose.grid import ease_grid
from vadose.products import mod09cmg, smap_l3


@dataclass(frozen=True)
class Place:
    """Rows and columns of a product's grid that hold a box, and their centres by the name of their axis."""

    rows: slice
    columns: slice
    axes: dict[str, NDArray[np.floating]]
    units: str


@dataclass(frozen=True)
class Cut:
    """A part of a granule: ``url`` of the service, ``fields`` and their place.

    ``fields`` that begin with '/' are asked for under that path; others are looked up by their last name in the
    service's own description of the granule, once for all granules that share ``paths``: a service may put them into
    groups and write blanks as underscores.
    """

    url: str
    fields: tuple[str, ...]
    place: Place
    paths: dict[str, str] = field(default_factory=dict, compare=False)

    def say_where(self, path: Path, name: str) -> None:
        """Write the axes, and which granule it is of, into the answer."""
        with h5py.File(path, "r+") as file:
            file.attrs["granule"] = name
            for axis, centres in self.place.axes.items():
                if axis not in file:
                    file.create_dataset(axis, data=centres).attrs["units"] = self.place.units


def _on_ease(bbox: BBox) -> Place:
    whole = ease_grid("9km")
    part = whole.bounding_box(*bbox)
    (left, top, step), (x0, y0, _) = whole.transform, part.transform
    row, column = round((top - y0) / step), round((x0 - left) / step)
    rows, columns = slice(row, row + part.shape[0]), slice(column, column + part.shape[1])
    return Place(rows, columns, {"y": part.y, "x": part.x}, "m")


def _on_cmg(bbox: BBox) -> Place:
    west, south, east, north = bbox
    lat, lon = mod09cmg.AXES
    rows, columns = np.flatnonzero((lat >= south) & (lat <= north)), np.flatnonzero((lon >= west) & (lon <= east))
    if not (len(rows) and len(columns)):
        raise VadoseError(f"box {bbox}: holds no centre of a cell of 0.05 degrees")
    down, across = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    return Place(down, across, {"lat": lat[down], "lon": lon[across]}, "degree")


def _of_both_passes(names: tuple[str, ...]) -> tuple[str, ...]:
    """Fields of morning and evening, each retrieval with its flag."""
    flags = [n.replace("soil_moisture", "retrieval_qual_flag") for n in names if n.startswith("soil_moisture")]
    return tuple(
        f"/{smap_l3.GROUP}{group}/{name}{suffix}"
        for group, suffix in smap_l3.OVERPASSES.items()
        for name in dict.fromkeys((*names, *flags))
    )


def _with_state(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(mod09cmg.plain(name) for name in (*names, mod09cmg.STATE))


_SMAP = tuple(fields[0] for fields in smap_l3.ALGORITHMS.values()) + tuple(smap_l3.COVARIATES.values())[:7]
_CMG = (_on_cmg, _with_state, (mod09cmg.FIELDS["reflectance_swir2"],))
CUTS: dict[str, tuple[Callable[[BBox], Place], Callable[[tuple[str, ...]], tuple[str, ...]], tuple[str, ...]]] = {
    "SPL3SMP_E": (_on_ease, _of_both_passes, _SMAP),
    "MOD09CMG": _CMG,
    "MYD09CMG": _CMG,
}
"""Collection -> place of a box, fields of variables in the product's own names, and the usual variables."""
