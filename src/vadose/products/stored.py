"""Fields of HDF5 and netCDF as they are stored: the attributes that change values, compared with what is published."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from vadose.errors import VadoseError
from vadose.parallel.memory import fits

_CALENDARS = ("", "standard", "gregorian", "proleptic_gregorian")


def scale_of(
    path: Path, name: str, dtype: np.dtype[np.generic], attributes: Mapping[str, ArrayLike]
) -> tuple[float, float]:
    """Scale factor and offset of packed whole numbers; 1 and 0 of floats.

    Raises
    ------
    VadoseError
        When floats declare a scale: a copy made by a tool, scaled already or not, which nothing in it tells.

    Examples
    --------
    >>> scale_of(Path("a.nc"), "pr", np.dtype("uint16"), {"scale_factor": 0.1})
    (0.1, 0.0)
    """
    scale, offset = (
        float(np.ravel(attributes.get(key, neutral))[0]) for key, neutral in (("scale_factor", 1), ("add_offset", 0))
    )
    if not np.isfinite(scale) or scale == 0 or not np.isfinite(offset):
        raise VadoseError(f"{path}: {name} has scale_factor {scale:g} and add_offset {offset:g}; expected numbers")
    if dtype.kind == "f" and (scale, offset) != (1.0, 0.0):
        raise VadoseError(
            f"{path}: {name} is {dtype} with scale_factor {scale:g} and add_offset {offset:g}; expected whole numbers "
            "with a scale or floats without one. It may be scaled already: use the published file"
        )
    return scale, offset


def check_stored(path: Path, name: str, attributes: Mapping[str, ArrayLike], fill: float) -> None:
    """Raise if a field published without scale and with a known fill declares others: it was packed anew.

    Examples
    --------
    >>> check_stored(Path("a.h5"), "tb_h", {"_FillValue": np.array([-9999.0], "f4")}, -9999.0)
    """
    expected = {"scale_factor": 1.0, "add_offset": 0.0, "_FillValue": fill}
    for key, value in expected.items():
        if key in attributes and float(np.ravel(attributes[key])[0]) != value:
            raise VadoseError(
                f"{path}: {name} declares {key} {np.ravel(attributes[key])[0]}; expected {value:g}. Packed anew: "
                "take it as published"
            )


def check_calendar(path: Path, name: str, attributes: Mapping[str, object]) -> None:
    """Raise if days are counted in a calendar that leaves days out or adds some."""
    if (calendar := str(attributes.get("calendar", "")).lower()) not in _CALENDARS:
        raise VadoseError(
            f"{path}: {name} is in the calendar {calendar!r}, whose days are not those of the year; expected 'standard'"
        )


def check_size(
    path: Path,
    name: str,
    shape: tuple[int, ...],
    advice: str = "give a (smaller) area with --bbox west,south,east,north or bbox=",
) -> None:
    """Raise before memory is asked for if so many values do not fit in it."""
    if not fits(need := 12 * math.prod(shape)):
        raise VadoseError(
            f"{path}: {' x '.join(map(str, shape))} values of {name} take {need / 1e9:.3g} GB of memory, more than is "
            f"free; {advice}"
        )


def read_whole(path: Path, data: h5py.Dataset) -> NDArray[Any]:
    """All values of an axis, or of another array that no box makes smaller; its size is asked before memory."""
    check_size(path, str(data.name).rsplit("/", 1)[-1], data.shape, "is the file as published?")
    return np.asarray(data[()])
