"""MOD09CMG and MYD09CMG: daily surface reflectance of Terra and Aqua on the climate modelling grid of 0.05 degrees.

Published by LP DAAC, doi:10.5067/MODIS/MOD09CMG.061 and doi:10.5067/MODIS/MYD09CMG.061, one global HDF4 file a day,
``MOD09CMG.AYYYYDDD.061.YYYYDDDHHMMSS.hdf``, of half a gigabyte; or the part that OPeNDAP cut, in netCDF-4, with the
centres of its cells as ``lat`` and ``lon``. Pitfalls: names of fields hold blanks, which services write as underscores;
the scale factor 10000 divides, services may turn it to 0.0001; a state of 0 is fill, not clear ocean.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.products.containers import BBox, choose, container_of, open_hdf4, open_hdf5, simulated_mark
from vadose.products.dates import moment
from vadose.products.lattice import on_lattice
from vadose.products.mod09ga import BANDS, FILL, QUALITY, VALID, usable
from vadose.products.modis import DAY_BOUNDARY, SATELLITE, VERSION, factor_of, value_of
from vadose.products.product import Product, Twin
from vadose.products.stored import check_size
from vadose.variables import describe

PRODUCTS = ("MOD09CMG", "MYD09CMG")
FILE_NAME = re.compile(
    rf"(?P<product>{'|'.join(PRODUCTS)})\.A(?P<day>\d{{7}})\.(?P<version>\d{{3}})\.\d{{13}}\.hdf(?:\.nc4)?"
)
FIELDS = {name: f"Coarse Resolution Surface Reflectance Band {number}" for name, number in BANDS.items()}
STATE = "Coarse Resolution State QA"
NO_STATE = 0
STEP = 0.05
AXES = 90 - STEP * (np.arange(3600) + 0.5), -180 + STEP * (np.arange(7200) + 0.5)
"""Latitudes and longitudes of the whole grid."""
_EXTENT = (-179.975, -89.975, 179.975, 89.975)


class Field(NamedTuple):
    """A field of a granule, in either container."""

    shape: tuple[int, ...]
    attributes: Mapping[str, Any]
    read: Callable[[slice, slice], NDArray[Any]]


def plain(name: str) -> str:
    """A field's name with underscores.

    Examples
    --------
    >>> plain("Coarse Resolution State QA")
    'Coarse_Resolution_State_QA'
    """
    return re.sub(r"\W+", "_", name)


def read_mod09cmg(
    path: Path,
    *,
    bbox: BBox | None = None,
    quality: str = "recommended",
    bands: Sequence[str] = ("reflectance_swir2",),
) -> xr.Dataset:
    """Read surface reflectance of a day, of Terra (MOD09CMG) or Aqua (MYD09CMG).

    Parameters
    ----------
    path
        A granule, or a part of one.
    bbox
        West, south, east, north [degree]; only cells whose centres lie within are read.
    quality
        ``'recommended'``, ``'clear_or_assumed'`` or ``'all'``, by the bits of the state as in
        `vadose.products.mod09ga.read_mod09ga`; cells without a state are missing but for ``'all'``.
    bands
        Any of `FIELDS`.

    Returns
    -------
    xarray.Dataset
        (time, lat, lon) reflectance [1], float32, north up, NaN where missing or not of the quality.

    Raises
    ------
    VadoseError
        When a field is missing, its scale or fill is another than published, or its cells cannot be placed;
        `vadose.errors.OutsideError` when the box lies outside.

    References
    ----------
    Vermote and Wolfe (2021), doi:10.5067/MODIS/MOD09CMG.061.
    """
    choose(quality, QUALITY, "quality", path)
    for band in bands:
        choose(band, FIELDS, "band", path)
    if not bands:
        raise VadoseError(f"{path}: no band given; choose from {list(FIELDS)}")
    if not (named := FILE_NAME.fullmatch(path.name)):
        raise VadoseError(f"{path}: its name does not say product and day; name it MOD09CMG.AYYYYDDD.061.*.hdf again")
    with _opened(path) as (fields, attributes, lat, lon):
        day = _day(path, named["day"], attributes)
        rows, columns, south_first, dataset = on_lattice(
            path, lat.astype(float), lon.astype(float), bbox, STEP, _EXTENT
        )
        shape = (len(lat), len(lon))
        found = {band: _reflectance(path, fields, FIELDS[band], shape, rows, columns) for band in bands}
        keep = np.True_
        if quality != "all":
            state = _field(path, fields, STATE, shape).read(rows, columns)
            keep = usable(state, assumed=quality == "clear_or_assumed") & (state != NO_STATE)
        dataset = dataset.assign_coords(time=[day])
        for band, values in found.items():
            values = np.where(keep, values, np.float32(np.nan))
            dataset[band] = ("time", "lat", "lon"), (values[::-1] if south_first else values)[None]
        dataset.attrs = {
            "product": named["product"],
            "version": named["version"],
            "granule": path.name,
            "quality": QUALITY[quality],
            "day_boundary": DAY_BOUNDARY,
            "simulated": simulated_mark(attributes),
        }
    return describe(dataset)


def is_mod09cmg(path: Path) -> bool:
    """Whether a file holds a band and the state under this product's names."""
    if container_of(path) not in ("hdf4", "hdf5"):
        return False
    try:
        with _opened(path) as (fields, _, lat, lon):
            return bool({*map(plain, FIELDS.values())} & {*fields}) and lat.ndim == lon.ndim == 1
    except VadoseError:
        return False


Opened = tuple[dict[str, Field], Mapping[str, Any], NDArray[np.floating], NDArray[np.floating]]


@contextmanager
def _opened(path: Path) -> Iterator[Opened]:
    """Fields by their plain names, attributes of the file, latitudes and longitudes."""
    if container_of(path) == "hdf4":
        with open_hdf4(path) as file:
            yield {plain(name): _of_hdf4(file, name) for name in file.datasets()}, file.attributes(), *AXES
        return
    with open_hdf5(path) as file:
        fields: dict[str, Field] = {}

        def note(name: str, data: object) -> None:
            if isinstance(data, h5py.Dataset):
                fields[plain(name.rpartition("/")[2])] = _of_hdf5(data)

        file.visititems(note)
        if lacking := [axis for axis in ("lat", "lon") if axis not in file]:
            raise VadoseError(f"{path}: a part without {' and '.join(lacking)}; its cells cannot be placed")
        lat, lon = (np.asarray(file[axis][()], float) for axis in ("lat", "lon"))
        yield fields, file.attrs, lat, lon


def _of_hdf4(file: Any, name: str) -> Field:
    field = file.select(name)

    def read(rows: slice, columns: slice) -> NDArray[Any]:
        count = (rows.stop - rows.start, columns.stop - columns.start)
        return np.asarray(field.get(start=(rows.start, columns.start), count=count)).reshape(count)

    return Field(tuple(np.atleast_1d(field.info()[2]).tolist()), field.attributes(), read)


def _of_hdf5(data: h5py.Dataset) -> Field:
    attributes = {key: np.ravel(value)[0] for key, value in data.attrs.items() if np.size(value) == 1}
    return Field(data.shape, attributes, lambda rows, columns: np.asarray(data[rows, columns]))


def _field(path: Path, fields: Mapping[str, Field], name: str, shape: tuple[int, int]) -> Field:
    if (found := fields.get(plain(name))) is None:
        raise VadoseError(f"{path}: no field {name!r} (found: {', '.join([*fields][:6])} ...); is it a whole file?")
    if tuple(found.shape) != shape:
        raise VadoseError(f"{path}: {name} is {tuple(found.shape)}, expected {shape}; cropped without its place?")
    return found


def _reflectance(
    path: Path, fields: Mapping[str, Field], name: str, shape: tuple[int, int], rows: slice, columns: slice
) -> NDArray[np.float32]:
    field = _field(path, fields, name, shape)
    factor = factor_of(path, name, field.attributes, (10000.0, 0.0001))
    if field.attributes.get("_FillValue", FILL) != FILL:
        raise VadoseError(f"{path}: {name} has fill {field.attributes['_FillValue']}, published is {FILL}")
    check_size(path, name, (rows.stop - rows.start, columns.stop - columns.start))
    values = field.read(rows, columns)
    valid = (values >= VALID[0]) & (values <= VALID[1])
    return np.where(valid, values * np.float32(min(factor, 1 / factor)), np.float32(np.nan))


def _day(path: Path, text: str, attributes: Mapping[str, Any]) -> np.datetime64:
    """The day in the name, held against that of the metadata, or of the granule that a part was cut of."""
    day: pd.Timestamp = moment(text, "%Y%j", path, "the day in its name")
    of = FILE_NAME.match(str(attributes.get("granule", "")))
    said = of["day"] if of else value_of(str(attributes.get("CoreMetadata.0", "")), "RANGEBEGINNINGDATE")
    if said not in ("", text, f"{day:%Y-%m-%d}"):
        raise VadoseError(f"{path}: the name says {day:%Y-%m-%d}, the file {said}; it was renamed, fetch it again")
    return np.datetime64(day, "ns")


PRODUCT = Product(
    "MODIS surface reflectance of Terra and Aqua, daily, 0.05 degrees",
    "grid",
    "10.5067/MODIS/MOD09CMG.061",
    read_mod09cmg,
    is_mod09cmg,
    FILE_NAME,
    "1 to 3 days",
    version=VERSION,
    satellite=SATELLITE,
    sources=PRODUCTS,
    together=2,
    published=FIELDS,
    twin=Twin("modis_cmg.write_mod09cmg", "last day"),
)
