"""What a cube is made of."""

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from dataclasses import field as default
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

import pandas as pd
from annotated_types import MinLen

from vadose.cube.own_grid import own_product
from vadose.door.own import Own
from vadose.errors import VadoseError, nearest
from vadose.features.derived import derived
from vadose.gapfill import Mode
from vadose.grid import Grid, ease_grid
from vadose.products import PRODUCTS
from vadose.products.containers import BBox
from vadose.products.product import Product
from vadose.resample import METHODS

CLASSES = "land_cover"
Overlap = Literal["mean", "nearest", "latest"]
DIRECTIONS = ("wind_from_direction", "aspect")


NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
RESERVED = ("time", "time_bnds", "y", "x", "lat", "lon", "crs", "mask")
RUN_UP = 64
"""Days before the first one whose observations fill the first days, and with lines between them also after the last."""
AHEAD = pd.Timedelta(days=400)
"""A last day farther ahead than this is a mistake in its year."""
_GIVEN = ("path", "paths", "files", "bbox", "time")
"""What a reader is given by the builder."""


@dataclass(frozen=True)
class Source:
    """What a cube takes from a product: names of its reader -> names in the cube, and how it is resampled.

    Where granules of a day overlap a cell is their ``mean``, or that of the granule whose centre is ``nearest``, or of
    the ``latest``; classes and directions, which have no mean, are of the nearest (`vadose.cube.overlaps`). Variables
    of Sentinel-1 with ``_ascending`` or ``_descending`` behind their name are of scenes of that pass alone.

    Days without an observation stay ``missing``. With ``gaps: last_value`` the cube also holds the last value of each
    day, ``NAME_filled``, and its age in days, ``NAME_age``; observations count from `RUN_UP` days before the first day
    on. With ``gaps: linear``, as in Xu et al. (2025), ``NAME_filled`` lies on a straight line in time between the
    observations before and after: a hindcast, for it takes the next one, up to `RUN_UP` days after the last day.

    With ``own`` the source is data of one's own (`vadose.door.grids.Own`), under a name of one's own; ``variables`` are
    then those of the cube alone.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    product: str
    variables: Mapping[str, str]
    resampling: str
    options: Mapping[str, Any] = default(default_factory=dict)
    overlap: Overlap = "mean"
    gaps: Literal["missing", "last_value", "linear"] = "missing"
    own: Own | None = None

    @property
    def known(self) -> Product:
        """What is known of its product, or of data of one's own."""
        return own_product(self.own) if self.own is not None else PRODUCTS[self.product]


@dataclass(frozen=True)
class Filling:
    """How gaps are filled: by which filler of `vadose.gapfill`, in which mode, and from what.

    The ``variables`` are filled together: one that was observed tells of the others. ``covariates`` are variables
    of every day and ``static`` fixed ones that the filler is told; ``options`` are the filler's own. With ``auto``
    each variable is filled by the filler that restores withheld training observations best (`vadose.gapfill.choose`):
    ``cru``, whose the options are, ``climatology_ar1``, and ``last_value`` or, smoothed, ``linear``.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    variables: Annotated[tuple[str, ...], MinLen(1)]
    method: Literal["auto", "cru", "climatology_ar1", "linear", "last_value", "dct_pls"] = "cru"
    mode: Mode = "causal"
    covariates: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    options: Mapping[str, Any] = default(default_factory=dict)

    @property
    def name(self) -> str:
        """The first of the variables."""
        return self.variables[0]


@dataclass(frozen=True)
class Recipe:
    """What a cube is made of: its grid, its days, the products it takes, the days its statistics are of.

    With ``exact`` values are stored as float32; else mantissas are rounded (`vadose.cube.store.MANTISSA_BITS`).
    """

    resolution: str
    bbox: BBox
    first: str
    last: str
    sources: tuple[Source, ...]
    training: tuple[str, str] | None = None
    exact: bool = False
    filling: tuple[Filling, ...] = ()

    @property
    def grid(self) -> Grid:
        """The part of the EASE-Grid 2.0 the cube lies on."""
        return ease_grid(self.resolution).bounding_box(*self.bbox)

    @property
    def days(self) -> pd.DatetimeIndex:
        """Days of the cube."""
        return pd.date_range(self.first, self.last)

    @property
    def carried(self) -> list[str]:
        """Variables whose last value and its age are kept of every day: soil moisture, and those of `Source.gaps`."""
        of = [name for s in self.sources if s.gaps == "last_value" for name in s.variables.values()]
        moisture = [name for s in self.sources for name in s.variables.values() if name == "soil_moisture"]
        return list(dict.fromkeys([*moisture, *of]))

    @property
    def interpolated(self) -> list[str]:
        """Variables whose gaps are filled by lines between the observations before and after."""
        return [name for s in self.sources if s.gaps == "linear" for name in s.variables.values()]

    def margins(self, source: Source) -> dict[str, pd.DatetimeIndex]:
        """Days ``before`` the first and ``after`` the last one whose observations fill gaps of a source."""
        return margins(source, self.days)

    def of(self, bbox: BBox | None, days: tuple[str | None, str | None]) -> "Recipe":
        """The same of another box [degree], or of other days; what is None stays.

        Raises
        ------
        VadoseError
            When the last day is before the first.
        """
        first, last = days[0] or self.first, days[1] or self.last
        if pd.Timestamp(last) < pd.Timestamp(first):
            raise VadoseError(f"recipe: last day {last} is before the first day, {first}")
        return replace(self, bbox=bbox or self.bbox, first=first, last=last)

    def identity(self) -> dict[str, Any]:
        """What may not change while a cube grows: all but its last day."""
        whole: dict[str, Any] = json.loads(json.dumps(asdict(self), default=list))
        whole["sources"] = [{k: v for k, v in of.items() if k != "own" or v} for of in whole["sources"]]
        return {key: value for key, value in whole.items() if key != "last"}

    def check(self) -> None:
        """Refuse products, options, methods, names and days that cannot be."""
        names: dict[str, str] = {}
        if (ahead := self.days[-1] - pd.Timestamp.now().normalize()) > AHEAD:
            raise VadoseError(f"recipe: last day {self.last} lies {ahead.days} days ahead; check the year")
        for source in self.sources:
            if source.own is not None and (source.product in PRODUCTS or source.options):
                wrong = "'options' are of products" if source.options else "is the name of a product"
                raise VadoseError(
                    f"recipe: data of your own, {source.product!r}: {wrong}; call it otherwise, without these"
                )
            if source.own is None and (source.product not in PRODUCTS or PRODUCTS[source.product].kind != "grid"):
                known = [name for name, product in PRODUCTS.items() if product.kind == "grid"]
                raise VadoseError(
                    f"recipe: {source.product!r} is not a gridded product; choose from {known}, "
                    "or say with 'own' how data of your own are read (vadose build --explain FILE)"
                )
            if source.resampling not in METHODS:
                raise VadoseError(f"recipe: resampling {source.resampling!r} unknown; choose from {list(METHODS)}")
            if source.gaps != "missing" and source.known.fixed:
                raise VadoseError(f"recipe: {source.product} is of no day and has no gaps in time; leave 'gaps' out")
            if source.own is None:
                check_options(f"recipe: options of {source.product}", source.options, readers(source.product))
            for theirs, name in source.variables.items():
                if not NAME.fullmatch(name) or name in RESERVED:
                    raise VadoseError(
                        f"recipe: {name!r} cannot be the name of a variable; take letters, digits and underscores, and "
                        f"none of {', '.join(RESERVED)}"
                    )
                if is_class(theirs) and source.resampling not in ("majority", "nearest"):
                    raise VadoseError(
                        f"recipe: {theirs!r} of {source.product} are classes, which {source.resampling!r} mixes to "
                        "other ones; take majority or nearest"
                    )
                if theirs in DIRECTIONS and source.resampling != "nearest":
                    raise VadoseError(
                        f"recipe: {theirs!r} of {source.product} is a direction and has no {source.resampling}; take "
                        "nearest, or its cosine and sine or components"
                    )
                if name in names:
                    raise VadoseError(
                        f"recipe: {name!r} comes from {names[name]} and from {source.product}; rename one of them"
                    )
                names[name] = source.product


def margins(source: Source, days: pd.DatetimeIndex) -> dict[str, pd.DatetimeIndex]:
    """Days ``before`` the first and ``after`` the last one whose observations fill gaps of a source."""
    day, far = pd.Timedelta(days=1), pd.Timedelta(days=RUN_UP)
    before = {"before": pd.date_range(days[0] - far, days[0] - day)}
    after = {"after": pd.date_range(days[-1] + day, days[-1] + far)}
    return {"missing": {}, "last_value": before, "linear": before | after}[source.gaps]


def is_class(name: str) -> bool:
    """Whether a product's variable is classes, which have no mean; whether a cell is of one class has."""
    return name.startswith(CLASSES) and derived(name) is None


def readers(product: str) -> list[Callable[..., Any]]:
    """What reads a product's granules for a cube: of some, days come as several granules or as one."""
    known = PRODUCTS[product]
    return [known.read] if known.daily is None else [known.daily, *([known.read] if known.whole_day.pattern else [])]


def check_options(what: str, options: Mapping[str, Any], takers: Iterable[Callable[..., Any]]) -> None:
    """Refuse options that none of the functions takes, or values of another type than they take."""
    known = {
        name: parameter.annotation
        for taker in takers
        for name, parameter in inspect.signature(taker, eval_str=True).parameters.items()
        if name not in _GIVEN
    }
    for name, value in options.items():
        if name not in known:
            raise VadoseError(f"{what}: {name!r} is unknown{nearest(str(name), sorted(known))}")
        if not _is_a(value, known[name]):
            kind = getattr(known[name], "__name__", None) if get_origin(known[name]) is None else None
            raise VadoseError(f"{what}: {name!r} is {value!r}; expected {kind or known[name]}")


def _is_a(value: Any, kind: Any) -> bool:
    """Whether a value of a recipe is of a type, as far as can be told."""
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return any(_is_a(value, one) for one in get_args(kind))
    if origin is Literal:
        return value in get_args(kind)
    if origin is not None:
        # Of sequences YAML knows the list alone.
        return isinstance(value, list | tuple) if origin is not dict else isinstance(value, dict)
    if kind in (int, float):
        return isinstance(value, int | kind) and not isinstance(value, bool)
    return not isinstance(kind, type) or kind is inspect.Parameter.empty or isinstance(value, kind)
