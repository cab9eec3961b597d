"""Grids of one's own as a product of a cube: the files there are, the days in each, and how they are read."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import xarray as xr

from vadose.artefact.chunks import files_below
from vadose.cube.granule import Granule, Listing
from vadose.door.grids import BBox, as_grid, timed
from vadose.door.own import Own, day_in_name
from vadose.door.stores import REMOTE, address_of, local_copy, open_any
from vadose.errors import VadoseError, nearest
from vadose.products.product import Product
from vadose.products.rasters import read_raster

RASTERS = (".tif", ".tiff", ".img", ".vrt")
ENDS = (".nc", ".nc4", ".cdf", ".zarr", ".grib", ".grib1", ".grib2", ".grb", ".grb1", ".grb2", ".json", *RASTERS)
"""Endings of files of a folder that are read."""
BESIDE = 0.1
"""Degrees of a raster read beyond a box, so that its pixels at the rim are there."""


def own_product(own: Own) -> Product:
    """What the stages ask of a product, of data of one's own."""
    read = partial(read_own, own=own)
    return Product(
        "data of your own", "grid", "", read, _holds, latency=f"{own.delay} days", fixed=own.static, day_means=True
    )


def _holds(path: Path) -> bool:
    return path.suffix.lower() in ENDS


def read_own(path: Path, *, own: Own, bbox: BBox | None = None, time: tuple[str, str] | None = None) -> xr.Dataset:
    """Read a file, store or address of one's own in our names, units and days; see `vadose.door.grids.as_grid`."""
    return as_grid(opened(path, own, bbox), own, address_of(path), bbox, time)


def opened(path: Path, own: Own, bbox: BBox | None = None) -> xr.Dataset:
    """Open a file, store or address, lazily but for rasters, with the day of its name where it says none."""
    address = address_of(path)
    if path.suffix.lower() in RASTERS:
        data = _bands(local_copy(address), own, bbox)
    else:
        dimensions = {"depth", "level", "layer", "member", "band"}
        data = open_any(address, {key: of for key, of in own.select.items() if key not in dimensions})
    dated = any(str(name).lower() in ("time", "valid_time", "date") for name in (*data.dims, *data.coords))
    if not own.static and not dated and (path.suffix.lower() in RASTERS or own.time_format):
        return data.expand_dims(time=[day_in_name(path.name, own, address)])
    return data


def _bands(path: Path, own: Own, bbox: BBox | None) -> xr.Dataset:
    """Bands of a raster, ``band_1`` and so on."""
    box = bbox and (bbox[0] - BESIDE, bbox[1] - BESIDE, bbox[2] + BESIDE, bbox[3] + BESIDE)
    found = xr.Dataset()
    for name in own.variables:
        number = name.removeprefix("band_")
        if not number.isdigit():
            raise VadoseError(
                f"{path}: a raster has no {name!r}; its bands are called 'band_1', 'band_2' ... under own"
            )
        values, coordinates, nodata = read_raster(path, box, int(number))
        field = np.where(values == nodata, np.nan, values) if nodata is not None else values
        found = found.assign_coords(coordinates.coords).assign({name: (tuple(coordinates.sizes), field)})
    return found


def own_listing(own: Own, folder: Path, name: str) -> Listing:
    """The files that hold data of one's own, below the folder that ``vadose build`` was given or at their path.

    Raises
    ------
    VadoseError
        When there is none, one cannot be read or tells no day, or a variable is in none of them.
    """
    place = own.path or str(folder / name if (folder / name).exists() else folder)
    found, held = [], set[str]()
    for path in files_of(place, name):
        if path.suffix.lower() in RASTERS:
            day = None if own.static else day_in_name(path.name, own, str(path)) + pd.Timedelta(days=own.delay)
            first, last = day, day
            held |= set(own.variables)
        else:
            data = opened(path, own)
            held |= set(map(str, data.variables))
            if not set(own.variables) & set(map(str, data.variables)):
                continue
            times = None if own.static else timed(data, own, address_of(path)).time.values.astype("datetime64[D]")
            first, last = (None, None) if times is None else (pd.Timestamp(times.min()), pd.Timestamp(times.max()))
        members = tuple(files_below(path).values()) if path.is_dir() else (path,)
        found.append(Granule(path, f"{name}/{path.name}", members, first, last))
    if lacking := [of for of in own.variables if of not in held]:
        raise VadoseError(f"{place}: no variable {lacking[0]!r}{nearest(lacking[0], sorted(held))}")
    return Listing(found, {}, {}, Counter())


def files_of(place: str, name: str) -> Iterator[Path]:
    """The files of a place: a file, store or address itself, those of a folder or pattern; refused where none is."""
    path = Path(place)
    if REMOTE.match(place) or path.is_file() or any((path / of).exists() for of in ("zarr.json", ".zgroup")):
        yield path
        return
    below, pattern = (path, "*") if path.exists() else (path.parent, path.name)
    found = [one for one in sorted(below.glob(pattern)) if _holds(one)]
    if not found:
        raise VadoseError(
            f"{place}: no file of {', '.join(ENDS)} there, nor a folder '{name}' in it; name the files, 'path: "
            "mine/*.nc' under own in the recipe"
        )
    yield from found


@contextmanager
def as_files(source: Path | xr.Dataset, beside: Path) -> Iterator[Path]:
    """The place of data; a data set in memory is written to a store beside ``beside`` for as long as it is read.

    Raises
    ------
    VadoseError
        When it cannot be written.
    """
    if isinstance(source, Path):
        yield source
        return
    beside.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=beside.parent, prefix=".own-") as scratch:
        store = Path(scratch) / "dataset.zarr"
        try:
            source.drop_encoding().chunk({name: 32 if name == "time" else -1 for name in source.dims}).to_zarr(
                store, consolidated=False
            )
        except (TypeError, ValueError) as error:
            raise VadoseError(f"the data set: cannot be kept as Zarr ({' '.join(str(error).split())[:200]})") from error
        yield store
