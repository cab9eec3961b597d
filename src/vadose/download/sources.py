"""Where products are fetched from: who lists the files, where and since when there are any, and how large they are."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from math import inf

from vadose.download import listers
from vadose.download.area import BBox, modis_tiles, square_degrees, tiles_of_degrees, touching
from vadose.download.client import Client
from vadose.download.earthdata import list_bands, list_collection
from vadose.download.plan import RemoteFile, Request
from vadose.download.scan import list_scan
from vadose.download.stac import list_scenes
from vadose.errors import VadoseError
from vadose.products import PRODUCTS

EARTH: BBox = (-180.0, -90.0, 180.0, 90.0)
LAND: BBox = (-180.0, -60.0, 180.0, 90.0)
CONUS: BBox = (-125.0, 24.0, -66.0, 50.0)
AS_OF = "2024"
"""Year that sizes not stated by a catalogue or server are of."""


@dataclass(frozen=True)
class Source:
    """Where a product is fetched from.

    Attributes
    ----------
    list
        Lists its files.
    changes
        Whether days have to be given.
    service
        Where its files are, in `vadose.download.client.SERVICES`; or, with ``asks``, the catalogue that lists them.
    asks
        Whether listing asks the service.
    login
        ``'earthdata'`` or ``'planetary-computer'`` where one is needed.
    begins
        First day.
    covers
        Box outside which there is nothing.
    each
        Bytes of a published file as a rule; of GRIB files, those of a message.
    density
        Bytes per square degree, and per variable, of a part cut to a box.
    scene
        Square degrees of a file at most.
    number
        About how many files a request finds, where only the catalogue knows.
    """

    list: Callable[[Client, Request], list[RemoteFile]]
    changes: bool
    service: str
    asks: bool = False
    login: str = ""
    begins: date = date.min
    covers: BBox = EARTH
    each: int = 0
    density: float = 0.0
    scene: float = inf
    number: Callable[[Request], float] | None = None

    def check(self, name: str, request: Request) -> None:
        """Raise if the product has nothing there or then.

        Raises
        ------
        VadoseError
            When all days lie before its first, or no box touches what it covers.
        """
        if self.changes and request.last < self.begins:
            raise VadoseError(
                f"{name}: begins on {self.begins}; the days {request.first} .. {request.last} are all before"
            )
        if request.boxes and not touching(request.boxes, self.covers):
            west, south, east, north = self.covers
            raise VadoseError(
                f"{name}: covers {west:g} .. {east:g} E, {south:g} .. {north:g} N; box {request.bbox} lies outside"
            )

    def size(self, file: RemoteFile, request: Request) -> int:
        """Bytes to be moved for a file, as a rule."""
        if file.member or not file.part.get("bbox"):
            return self.each * max(len(file.messages), 1)
        area = square_degrees(request.boxes, file.extent or self.covers)
        size = int(self.density * area * max(len(file.part.get("variables", ())), 1))
        return min(size, self.each) if self.each else size

    def expected(self, request: Request) -> tuple[int, int]:
        """About how many files a request finds, and bytes to be moved, told without asking the service."""
        number = max(round(self.number(request)), 1) if self.number else 1
        if self.each and not request.subset:
            return number, number * self.each
        area = min(square_degrees(request.boxes, self.covers), self.scene)
        return number, int(number * self.density * area * (len(request.variables) if request.subset else 1))


SCENE = 3.0
"""Square degrees of a Landsat scene; a slice of Sentinel-1 is about twice as large."""
TILE_HLS = 1.3
"""Square degrees of a tile of HLS."""


def _a_day(number: float) -> Callable[[Request], float]:
    return lambda request: number * request.days


def _tiles_a_day(number: float) -> Callable[[Request], float]:
    return lambda request: number * request.days * len(modis_tiles(request.boxes or (CONUS,)))


def _scenes(a_day: float, bands: int) -> Callable[[Request], float]:
    """Of overpasses a day at a place, each a file a band; a large area takes several scenes."""

    def number(request: Request) -> float:
        cells = len(tiles_of_degrees(request.boxes)) if len(request.boxes) > 1 else 0
        area = max(square_degrees(request.boxes, EARTH) / SCENE, cells / SCENE, 1.0)
        return a_day * request.days * area * (len(request.variables) or bands)

    return number


def _collection(
    name: str,
    begins: str,
    each: float,
    number: Callable[[Request], float],
    covers: BBox = EARTH,
    density: float = 0.0,
) -> Source:
    return Source(
        partial(list_collection, collection=name),
        True,
        "cmr",
        asks=True,
        login="earthdata",
        begins=date.fromisoformat(begins),
        covers=covers,
        each=int(each),
        density=density,
        number=number,
    )


_SMAP, _NLDAS, _IMERG, _TERRA, _AQUA = "2015-03-31", "1979-01-02", "2000-06-01", "2000-02-24", "2002-07-04"
SOURCES: dict[str, Source] = {
    # A year of a variable: 16 bits in each of 576 cells a square degree and day.
    "gridmet": Source(
        listers.list_gridmet,
        True,
        "gridmet_subset",
        begins=date(1979, 1, 1),
        covers=CONUS,
        each=55_000_000,
        density=4.2e5,
    ),
    "uscrn": Source(
        listers.list_uscrn,
        True,
        "uscrn",
        asks=True,
        begins=date(2000, 1, 1),
        each=78_000,
        number=lambda request: 0.06 * square_degrees(request.boxes, CONUS) * len(request.years),
    ),
    "scan": Source(
        list_scan,
        True,
        "awdb",
        asks=True,
        begins=date(1991, 1, 1),
        each=600_000,
        number=lambda request: 0.1 * square_degrees(request.boxes, CONUS),
    ),
    "solus": Source(listers.list_solus, False, "solus", covers=CONUS, each=500_000_000, density=0.7e6),
    "soilgrids": Source(listers.list_soilgrids, False, "soilgrids", covers=LAND),
    "glo30": Source(listers.list_glo30, False, "glo30", each=40_000_000, density=40e6),
    "polaris": Source(listers.list_polaris, False, "polaris", covers=CONUS, each=30_000_000),
    "srtm": Source(listers.list_srtm, False, "srtm", covers=(-180.0, -60.0, 180.0, 60.0), each=30_000_000),
    "3dep_1": Source(partial(listers.list_3dep, step="1"), False, "3dep", each=45_000_000, density=45e6),
    "3dep_13": Source(partial(listers.list_3dep, step="13"), False, "3dep", each=430_000_000, density=430e6),
    "nlcd": Source(
        listers.list_nlcd,
        True,
        "nlcd",
        asks=True,
        begins=date(1985, 1, 1),
        covers=CONUS,
        each=1_430_000_000,
        number=lambda request: len(request.years),
    ),
    # Of 30 m, 16 bits, packed; of 10 m, 32 bits.
    "landsat": Source(
        partial(list_scenes, product="landsat"),
        True,
        "stac",
        asks=True,
        login="planetary-computer",
        begins=date(2013, 3, 18),
        density=16e6,
        scene=SCENE,
        number=_scenes(2 / 16, 10),
    ),
    "sentinel1": Source(
        partial(list_scenes, product="sentinel1"),
        True,
        "stac",
        asks=True,
        login="planetary-computer",
        begins=date(2014, 10, 3),
        density=300e6,
        scene=2 * SCENE,
        number=_scenes(1 / 12, 2),
    ),
    # The tile of a place is seen by two Landsats every 8 days, by two Sentinel-2 every 5; tiles overlap.
    **{
        name: Source(
            partial(list_bands, collection=name),
            True,
            "cmr",
            asks=True,
            login="earthdata",
            begins=date.fromisoformat(begins),
            density=16e6,
            scene=TILE_HLS,
            number=_scenes(a_day, 7),
        )
        for name, begins, a_day in (("HLSL30", "2013-04-11", 2 / 16), ("HLSS30", "2015-11-28", 2 / 10))
    },
    "gefs": Source(partial(listers.list_forecasts, model="gefs"), True, "gefs", begins=date(2020, 9, 23), each=600_000),
    "gfs": Source(partial(listers.list_forecasts, model="gfs"), True, "gfs", begins=date(2021, 1, 1), each=800_000),
    "smap_hydroblocks": Source(listers.list_hydroblocks, False, "zenodo", asks=True, covers=CONUS, each=20_000_000_000),
    # Parts: SMAP has 121 cells of 9 km a square degree, of morning and evening, half of them missing; a layer of NLDAS
    # is 1/52 of a granule; a band of the climate modelling grid comes with its state, 16 bits in each of 400 cells.
    "SPL3SMP_E": _collection("SPL3SMP_E", _SMAP, 0.7e9, _a_day(1), density=600),
    "SPL3SMP": _collection("SPL3SMP", _SMAP, 45e6, _a_day(1)),
    "SPL2SMP_E": _collection("SPL2SMP_E", _SMAP, 30e6, _a_day(29)),
    "SPL4SMGP": _collection("SPL4SMGP", _SMAP, 142e6, _a_day(8)),
    "NLDAS_NOAH0125_H": _collection("NLDAS_NOAH0125_H", _NLDAS, 7.3e6, _a_day(24), CONUS, 90),
    "NLDAS_FORA0125_H": _collection("NLDAS_FORA0125_H", _NLDAS, 1.7e6, _a_day(24), CONUS, 256),
    "GLDAS_NOAH025_3H": _collection("GLDAS_NOAH025_3H", "2000-01-01", 25e6, _a_day(8), LAND, 60),
    "GPM_3IMERGHH": _collection("GPM_3IMERGHH", _IMERG, 8e6, _a_day(48), density=400),
    "GPM_3IMERGDF": _collection("GPM_3IMERGDF", _IMERG, 30e6, _a_day(1), density=400),
    "MOD09CMG": _collection("MOD09CMG", _TERRA, 0.53e9, _a_day(1), density=1100),
    "MYD09CMG": _collection("MYD09CMG", _AQUA, 0.53e9, _a_day(1), density=1100),
    "MOD09GA": _collection("MOD09GA", _TERRA, 85e6, _tiles_a_day(1)),
    "MYD09GA": _collection("MYD09GA", _AQUA, 85e6, _tiles_a_day(1)),
    "MOD11A1": _collection("MOD11A1", _TERRA, 3.85e6, _tiles_a_day(1)),
    "MYD11A1": _collection("MYD11A1", _AQUA, 3.85e6, _tiles_a_day(1)),
    "MCD15A3H": _collection("MCD15A3H", _AQUA, 4e6, _tiles_a_day(1 / 4)),
    "MOD15A2H": _collection("MOD15A2H", _TERRA, 4e6, _tiles_a_day(1 / 8)),
    "MYD15A2H": _collection("MYD15A2H", _AQUA, 4e6, _tiles_a_day(1 / 8)),
    "MCD12Q1": _collection(
        "MCD12Q1", "2001-01-01", 7e6, lambda request: len(request.years) * len(modis_tiles(request.boxes or (CONUS,)))
    ),
}
"""Where products are fetched from, by the name that the data centre gives them."""
READERS = {source: name for name, product in PRODUCTS.items() for source in product.sources}
"""Source -> its product in `vadose.products.PRODUCTS`, whose reader reads it; folders are named after it."""
