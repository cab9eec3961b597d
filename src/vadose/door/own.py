"""What the recipe of a cube says about data of your own: names, units, axes, projection and times."""

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pandas as pd
from annotated_types import Ge

from vadose.door.days import YEARS
from vadose.errors import VadoseError

OfDay = Literal["mean", "sum", "max", "min"]
_CODES = {"Y": r"\d{4}", "m": r"\d{2}", "d": r"\d{2}", "j": r"\d{3}", "H": r"\d{2}", "y": r"\d{2}"}
_STRICT: dict[str, str] = {"extra": "forbid"}


@dataclass(frozen=True)
class Quantity:
    """What a variable of the data is.

    Attributes
    ----------
    variable
        Its name in the cube, of `vadose.variables` or one's own.
    unit
        Where the attribute ``units`` is missing or wrong.
    missing
        A code of missing values that the file does not declare.
    scale, offset
        Of packed values that the file does not declare: value = scale * stored + offset, in ``unit``.
    of_day
        What is taken of the hours of a day. Default: the sum of amounts, such as precipitation, the highest and lowest
        value of ``_max`` and ``_min``, else the mean.
    """

    __pydantic_config__ = _STRICT

    variable: str
    unit: str | None = None
    missing: float | None = None
    scale: float = 1.0
    offset: float = 0.0
    of_day: OfDay | None = None


@dataclass(frozen=True)
class Own:
    """Where data of one's own lie, and what they do not say of themselves.

    Attributes
    ----------
    variables
        Name in the data -> what it is. Only these are read.
    path
        File, folder or pattern of files (``'days/*.tif'``), Zarr store or address (``s3://``, ``gs://``, ``https://``);
        of a relative path the folder of the recipe is the start. Default: what ``vadose build`` is given.
    static
        Whether the variables do not change with time.
    delay
        Days after its day on which a value is known: a day of the cube holds the value of so many days before.
    axes
        Ours, ``time``, ``y``, ``x``, or ``lat`` and ``lon`` (y, x) -> name in the data.
    select
        Further dimension -> value on it, such as ``{depth: 0.05}``; of GRIB also keys, such as ``{shortName: 2t}``.
    crs
        Projection of x and y, such as ``EPSG:32614``, where the data do not state it.
    time_format
        Of times that are text, or of the day in names of files, such as ``'%Y%m%d'``; of numbers ``'days since ...'``.
    day_boundary
        Zone of the days, for the attributes.
    """

    __pydantic_config__ = _STRICT

    variables: dict[str, Quantity]
    path: str = ""
    static: bool = False
    delay: Annotated[int, Ge(0)] = 0
    axes: dict[Literal["time", "y", "x", "lat", "lon"], str] = field(default_factory=dict)
    select: dict[str, float | str] = field(default_factory=dict)
    crs: str | None = None
    time_format: str | None = None
    day_boundary: str = "UTC"


def day_in_name(name: str, own: Own, place: str) -> pd.Timestamp:
    """The day that the name of a file tells, as ``time_format`` says or as YYYYMMDD, YYYY-MM-DD or YYYYDDD.

    Raises
    ------
    VadoseError
        When it tells none.
    """
    forms = (own.time_format,) if own.time_format else ("%Y%m%d", "%Y-%m-%d", "%Y_%m_%d", "%Y%j")
    for form in forms:
        pattern = re.sub(r"%(\w)", lambda code: _CODES.get(code[1], r"\w+"), re.sub(r"([.()+])", r"\\\1", form))
        for text in re.findall(rf"(?<!\d){pattern}(?!\d)", name):
            day: pd.Timestamp = pd.to_datetime(text, format=form, errors="coerce")
            if not pd.isna(day) and YEARS[0] <= day.year <= YEARS[1]:
                return day
    raise VadoseError(
        f"{place}: its name tells no day ({' or '.join(forms)}); write 'time_format' under own, such as 'sm_%Y%m%d', "
        "or 'static: true'"
    )
