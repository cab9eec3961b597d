"""One table of what is made of variables: for cubes when granules are read, at stations, in tables and on maps."""

import re
from collections.abc import Callable, Container, Hashable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import xarray as xr

from vadose.features.bucket import FILLED_BY, bucket_saturation
from vadose.features.classes import NLCD_GROUPS, nlcd_group
from vadose.features.optical import evi, lswi, ndvi, ndwi, transformed_swir
from vadose.features.radar import cross_ratio, despeckle, dpsvim, polarization
from vadose.features.rain import antecedent_sum
from vadose.features.terrain import aspect, flow_accumulation, relief

Needs = Literal["pixel", "neighbourhood", "area", "days"]


@dataclass(frozen=True)
class Derived:
    """How a feature is made.

    Attributes
    ----------
    inputs
        Variables, or other derived features, that the formula takes in this order; of a tuple the first that is there.
    formula
        Of them, as arrays; it may give several features of the table at once, as a data set. Numbers in the name come
        before the inputs.
    needs
        What a value depends on: its ``'pixel'``; a ``'neighbourhood'`` of pixels of the product, so that it is made
        where granules are read; the whole ``'area'`` of a cube; earlier ``'days'``, of a daily series.
    optional
        Further inputs, behind the others; None where they are missing.
    at_stations
        Whether stations are given it of each product that holds its inputs.
    """

    inputs: tuple[str | tuple[str, ...], ...]
    formula: Callable[..., xr.DataArray | xr.Dataset]
    needs: Needs = "pixel"
    optional: tuple[str, ...] = ()
    at_stations: bool = False


def _in_group(codes: xr.DataArray, number: int) -> xr.DataArray:
    """1 where NLCD codes are of a group of MMNet's legend, else 0; water is of none."""
    return (nlcd_group(codes, legend="mmnet") == number).astype(np.float32).where(codes.notnull())


def _is_class(number: int, codes: xr.DataArray) -> xr.DataArray:
    """1 where a code is this one, else 0."""
    return (codes == number).astype(np.float32).where(codes.notnull())


def _sum_of_days(days: int, amounts: xr.DataArray) -> xr.DataArray:
    return antecedent_sum(amounts, days)


def _bucket(capacity: int, *weather: xr.DataArray | None) -> xr.DataArray:
    held = zip((*FILLED_BY, "lat"), weather, strict=True)
    given = {name: field for name, field in held if field is not None}
    latitude = given.pop("lat", None)
    return bucket_saturation(xr.Dataset(given), (capacity,), latitude)[0]


DERIVED: dict[str, Derived] = {
    "transformed_swir": Derived(("reflectance_swir2",), transformed_swir),
    "ndvi": Derived(("reflectance_red", "reflectance_nir"), ndvi, at_stations=True),
    "evi": Derived(("reflectance_blue", "reflectance_red", "reflectance_nir"), evi, at_stations=True),
    "ndwi": Derived(("reflectance_green", "reflectance_nir"), ndwi, at_stations=True),
    "lswi": Derived(("reflectance_nir", "reflectance_swir1"), lswi, at_stations=True),
    "vv": Derived((("sigma0_vv", "gamma0_vv"),), despeckle, "neighbourhood"),
    "vh": Derived((("sigma0_vh", "gamma0_vh"),), despeckle, "neighbourhood"),
    "cross_ratio": Derived(("vv", "vh"), cross_ratio, at_stations=True),
    "dpsvim": Derived(("vv", "vh"), dpsvim, at_stations=True),
    "polarization": Derived(("vv", "vh"), polarization, at_stations=True),
    **{
        f"land_cover_{name}": Derived(("land_cover_nlcd",), partial(_in_group, number=number), at_stations=True)
        for number, name in enumerate(NLCD_GROUPS["mmnet"], 1)
    },
    r"land_cover_igbp_(\d+)": Derived(("land_cover",), _is_class),
    "slope": Derived(("elevation",), relief, "neighbourhood", at_stations=True),
    "aspect": Derived(("elevation",), aspect, "neighbourhood", at_stations=True),
    "aspect_cosine": Derived(("elevation",), relief, "neighbourhood", at_stations=True),
    "aspect_sine": Derived(("elevation",), relief, "neighbourhood", at_stations=True),
    "curvature": Derived(("elevation",), relief, "neighbourhood"),
    "flow_accumulation": Derived(("elevation",), flow_accumulation, "area"),
    r"precipitation_(\d+)d": Derived(("precipitation",), _sum_of_days, "days"),
    r"bucket_(\d+)mm": Derived(("precipitation",), _bucket, "days", optional=(*FILLED_BY[1:], "lat")),
}
"""Name, or pattern of names whose numbers the formula takes, and how it is made. What is learnt from training days, as
`vadose.features.normals`, is none: it is no function of the variables alone."""
ONE_HOT = {"land_cover_igbp": tuple(f"land_cover_igbp_{number}" for number in range(1, 18))}
"""Names of indicators of all classes of a variable, by the word that stands for them in experiment files."""
READ: tuple[Needs, ...] = ("pixel", "neighbourhood")
"""What can be made where granules are read."""
KEPT: tuple[Needs, ...] = ("pixel", "days")
"""What can be made of cells or stations that are kept."""


def derived(name: str, needs: Container[Needs] = (*READ, *KEPT, "area")) -> Derived | None:
    """How a feature is made, if it is of the table and needs no more than that.

    Examples
    --------
    >>> derived("ndvi").inputs, derived("precipitation_7d").needs, derived("elevation")
    (('reflectance_red', 'reflectance_nir'), 'days', None)
    """
    if row := DERIVED.get(name):
        return row if row.needs in needs else None
    for pattern, row in DERIVED.items():
        if "(" in pattern and row.needs in needs and (found := re.fullmatch(pattern, name)):
            return replace(row, formula=partial(row.formula, *map(int, found.groups())))
    return None


def made_of(name: str, needs: Container[Needs]) -> list[str]:
    """Variables that a feature is made of in the end, itself if it is no derived one of these needs.

    Examples
    --------
    >>> made_of("cross_ratio", ("pixel",)), made_of("elevation", READ)
    (['vv', 'vh'], ['elevation'])
    """
    row = derived(name, needs)
    if row is None:
        return [name]
    inputs = (one for each in row.inputs for one in _choices(each))
    return list(dict.fromkeys(leaf for one in (*inputs, *row.optional) for leaf in made_of(one, needs)))


def can_be_made(name: str, held: Container[Hashable], needs: Container[Needs]) -> bool:
    """Whether a feature is among the variables held, or can be made of them."""
    row = derived(name, needs)
    return name in held or (
        row is not None and all(any(can_be_made(n, held, needs) for n in _choices(each)) for each in row.inputs)
    )


def lacking(name: str, held: Container[Hashable], needs: Container[Needs]) -> list[str]:
    """What is missing to make a feature of the variables held; nothing if it can be made.

    Examples
    --------
    >>> lacking("evi", ["reflectance_red", "reflectance_nir"], READ), lacking("vv", [], READ)
    (['reflectance_blue'], ['sigma0_vv or gamma0_vv'])
    """
    row = derived(name, needs)
    if can_be_made(name, held, needs):
        return []
    if row is None:
        return [name]
    absent: list[str] = []
    for each in row.inputs:
        if isinstance(each, str):
            absent += lacking(each, held, needs)
        elif not any(can_be_made(one, held, needs) for one in each):
            absent.append(" or ".join(each))
    return list(dict.fromkeys(absent))


def derive(data: xr.Dataset, wanted: Iterable[str], needs: Container[Needs]) -> xr.Dataset:
    """A data set with the features of the table that are wanted, that it lacks, and that can be made of what it holds.

    Parameters
    ----------
    data
        Any dimensions; neighbourhoods and areas need a grid (..., y, x) or (..., lat, lon), days a ``time``.
    wanted
        Names; those that are not of the table or lack an input are left to the caller.
    needs
        What kinds of features may be made: `READ`, `KEPT`, or one of them.

    Raises
    ------
    VadoseError
        When a formula is given values it cannot take.

    Examples
    --------
    >>> bands = {"reflectance_red": ("x", [0.1]), "reflectance_nir": ("x", [0.3])}
    >>> derive(xr.Dataset(bands), ["ndvi", "slope"], KEPT).ndvi.values.round(2).tolist()
    [0.5]
    """
    for name in wanted:
        if name in data or not can_be_made(name, data, needs):
            continue
        row = derived(name, needs)
        assert row is not None
        inputs = [next(n for n in _choices(each) if can_be_made(n, data, needs)) for each in row.inputs]
        held = derive(data, inputs, needs)
        made = row.formula(*(held[n] for n in inputs), *(held.get(n) for n in row.optional))
        several = made.data_vars if isinstance(made, xr.Dataset) else {name: made}
        data = data.assign({one: field for one, field in several.items() if one not in data})
    return data


def _choices(each: str | tuple[str, ...]) -> tuple[str, ...]:
    return (each,) if isinstance(each, str) else each
