"""What is known of a product, in one place."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

from vadose.products.containers import BBox
from vadose.products.dates import Days, days_in_name

_NOTHING = re.compile(r"(?!)")


@dataclass(frozen=True)
class AtStations:
    """What stations are given of a product.

    Attributes
    ----------
    features
        Feature -> variable of the product's reader.
    inputs
        Variables of which features are derived (`vadose.features.derived`).
    reach
        Metres read around each station; 0: one window around all of them.
    overpasses
        Whether days without an observation are filled.
    one_kind
        Whether granules whose attributes name different products, such as of sigma0 and gamma0, have no common series.
    """

    features: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    reach: float = 0.0
    overpasses: bool = False
    one_kind: bool = False


@dataclass(frozen=True)
class Twin:
    """How the simulated world publishes a product.

    Attributes
    ----------
    writer
        Module and function of `vadose.twin.granules` that write the truth to a folder: ``'terrain.write_srtm'``.
    when
        ``'once'``; on the ``'last day'``, or as a ``'forecast'`` on it; of the days of a ``'county'`` of 100 m.
    """

    writer: str
    when: Literal["once", "last day", "forecast", "county"]


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a product.

    Attributes
    ----------
    product
        Name in `vadose.products.PRODUCTS`.
    variables
        Of its reader.
    boxes
        West, south, east, north [degree].
    first, last
        Days, inclusive. Of a product with one map a year (`Product.year`) the newest map up to the first day is wanted.
    sources
        Where from, instead of the usual `Product.sources`.
    whole
        Whether granules are fetched as they are published, where the server could cut them.
    """

    product: str
    variables: tuple[str, ...]
    boxes: tuple[BBox, ...]
    first: date
    last: date
    sources: tuple[str, ...] = ()
    whole: bool = False


@dataclass(frozen=True)
class Product:
    """What is known of a product: all that the stages ask, so that a new one is told of nowhere else.

    Attributes
    ----------
    title
        For people.
    kind
        ``'grid'`` (a granule is a part of the product), ``'database'`` (a folder is all of it) or
        ``'station'``.
    doi
        Where it is published.
    read
        Its reader: a path and options to a dataset (stations: one or a list) in our names and units.
    holds
        Whether a file or folder holds this product, judged by its content.
    file_name
        File names as published; matches nothing where the name says nothing.
    latency
        How long after its day a granule can usually be had; '' where days do not matter.
    fixed
        Whether it does not change with the days, whatever date its names hold.
    days
        First and last day of a granule by its name; ValueError where the date in it cannot be.
    daily
        Where a day has several granules: what makes the dataset of a day of them, as `read` of several paths.
    whole_day
        Names of granules that hold a whole day all the same: `read` reads them, and the others of the day yield.
    day_means
        Whether its reader gives means or sums of days; so does ``daily``.
    version
        What of a name tells its version: of names that differ in nothing else the newest counts. Groups are compared
        in order of their names; one named 'z' that is missing counts most.
    scene
        Names of files of which many make a granule; the first group is what they share.
    year
        Its first group is the year, where a cube holds one map of one year.
    satellite
        Part of a name that tells satellites apart which see a place both on a day: their mean is taken.
    sources
        Where it is fetched from, in the words of `vadose.download.SOURCES`; the first is the usual one.
    together
        How many of the sources are fetched for a recipe: both satellites.
    published
        Variable -> the source's name of it, where variables are fetched one by one.
    stations
        What stations are given of it, if anything.
    twin
        What publishes it in the simulated world, if anything does.
    """

    title: str
    kind: str
    doi: str
    read: Callable[..., Any]
    holds: Callable[[Path], bool]
    file_name: re.Pattern[str] = _NOTHING
    latency: str = ""
    fixed: bool = False
    days: Callable[[str], Days] = days_in_name
    daily: Callable[..., Any] | None = None
    whole_day: re.Pattern[str] = _NOTHING
    day_means: bool = False
    version: re.Pattern[str] | None = None
    scene: tuple[re.Pattern[str], ...] = ()
    year: re.Pattern[str] | None = None
    satellite: re.Pattern[str] = _NOTHING
    sources: tuple[str, ...] = ()
    together: int = 1
    published: Mapping[str, str] = field(default_factory=dict)
    stations: AtStations | None = None
    twin: Twin | None = None

    def days_of(self, name: str) -> Days:
        """First and last day of a granule by its published name, none of fixed products.

        Raises
        ------
        ValueError
            When the date in the name cannot be.
        """
        return (None, None) if self.fixed else self.days(name)

    def satellite_of(self, name: str) -> str:
        """Satellite of a granule by its published name; '' of products whose satellites need not be told apart."""
        found = self.satellite.match(name)
        return found[0] if found else ""

    def many_a_day(self, name: str) -> bool:
        """Whether a granule of this name is one of several that make a day."""
        return self.daily is not None and not self.whole_day.match(name)
