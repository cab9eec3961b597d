"""Boxes that files are asked for: what lies in them, what they share, how large they are."""

from collections.abc import Iterable, Sequence
from math import ceil

import numpy as np

from vadose.errors import VadoseError

BBox = tuple[float, float, float, float]
"""West, south, east, north [degree]."""

SPHERE, TILE = 6371007.181, 1111950.5197  # radius of the MODIS sphere and edge of a tile of its sinusoidal grid [m]


def checked(box: Sequence[float]) -> BBox:
    """The box, its sides in order and on the Earth.

    Raises
    ------
    VadoseError
        When they are not.
    """
    try:
        west, south, east, north = (float(side) for side in box)
    except (TypeError, ValueError) as error:
        raise VadoseError(f"box {box!r}: expected four numbers: west, south, east, north in degrees") from error
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise VadoseError(
            f"box {tuple(box)}: expected west, south, east, north in degrees, with west < east and south < north"
        )
    return west, south, east, north


def hull(boxes: Sequence[BBox]) -> BBox | None:
    """The box around all boxes, None where there is none.

    Examples
    --------
    >>> hull([(-100, 30, -99, 31), (-98, 29, -97, 30)])
    (-100, 29, -97, 31)
    """
    if not boxes:
        return None
    west, south, east, north = zip(*boxes, strict=True)
    return min(west), min(south), max(east), max(north)


def touching(boxes: Iterable[BBox], area: BBox) -> tuple[BBox, ...]:
    """Those of the boxes that touch an area."""
    west, south, east, north = area
    return tuple(b for b in boxes if b[0] <= east and west <= b[2] and b[1] <= north and south <= b[3])


def square_degrees(boxes: Sequence[BBox], area: BBox) -> float:
    """What boxes share with an area, all of it where there are no boxes; no more than the area itself.

    Examples
    --------
    >>> square_degrees([(-100, 30, -99, 31)], (-99.5, 30, -90, 40))
    0.5
    """
    whole = _shared(area, area)
    return min(sum(_shared(box, area) for box in boxes), whole) if boxes else whole


def _shared(one: BBox, other: BBox) -> float:
    wide, high = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0.0) * max(high, 0.0)


def holds(whole: BBox, part: BBox) -> bool:
    """Whether a box lies within another."""
    return whole[0] <= part[0] and whole[1] <= part[1] and part[2] <= whole[2] and part[3] <= whole[3]


def inside(boxes: Sequence[BBox], lat: float, lon: float) -> bool:
    """Whether a point lies within a box; every point does where there is none."""
    return not boxes or any(west <= lon <= east and south <= lat <= north for west, south, east, north in boxes)


def needs_boxes(boxes: tuple[BBox, ...], product: str) -> tuple[BBox, ...]:
    """The boxes, for products too large to fetch complete."""
    if not boxes:
        raise VadoseError(
            f"{product}: give a box (--bbox WEST SOUTH EAST NORTH), the complete product is too large to fetch"
        )
    return boxes


def tiles_of_degrees(boxes: Iterable[BBox], step: int = 1) -> list[tuple[int, int]]:
    """South-west corners (lat, lon) of the tiles of whole degrees that hold a part of a box.

    Examples
    --------
    >>> tiles_of_degrees([(-99.5, 30.0, -98.5, 31.0)])
    [(30, -100), (30, -99)]
    """
    found = {
        (lat, lon)
        for west, south, east, north in boxes
        for lat in range(int(south // step) * step, ceil(north), step)
        for lon in range(int(west // step) * step, ceil(east), step)
    }
    return sorted(found)


def modis_tiles(boxes: Iterable[BBox]) -> set[str]:
    """Tiles of the sinusoidal grid of MODIS that hold a part of a box.

    Examples
    --------
    >>> sorted(modis_tiles([(-102.5, 32.0, -100.6, 33.7)]))
    ['h09v05']
    """
    found = set()
    for west, south, east, north in boxes:
        lon, lat = np.meshgrid(
            np.linspace(west, east, 2 + 4 * ceil(east - west)), np.linspace(south, north, 2 + 4 * ceil(north - south))
        )
        x, y = SPHERE * np.radians(lon) * np.cos(np.radians(lat)), SPHERE * np.radians(lat)
        column, row = np.clip(x // TILE + 18, 0, 35).astype(int), np.clip(9 - y / TILE, 0, 17).astype(int)
        found |= {f"h{h:02d}v{v:02d}" for h, v in zip(column.ravel(), row.ravel(), strict=True)}
    return found
