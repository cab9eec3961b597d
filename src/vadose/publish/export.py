"""Stores in the forms of others: `export`."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

from vadose.areas import counties, means, own_areas, states
from vadose.artefact import note_inputs, provenance, writing
from vadose.errors import VadoseError
from vadose.parallel.progress import Progress, silent
from vadose.publish.export_cog import write_cogs
from vadose.publish.export_netcdf import write_netcdf, write_zarr2
from vadose.publish.export_stac import write_stac
from vadose.publish.export_table import columns_of, write_csv, write_parquet
from vadose.publish.selection import Part, check_map

ENDINGS = {
    "netcdf": ".nc",
    "cog": "_cog",
    "zarr2": "_v2.zarr",
    "csv": ".csv",
    "parquet": ".parquet",
    "stac": "_stac",
}
"""Forms of an export, and what the name of a store ends with then."""
CLASS = "drought_class"
OF_AREAS = ("csv", "parquet", "netcdf")


@dataclass(frozen=True)
class Exported:
    """A store opened, and what is wanted of it: its path, the part, and areas to average over."""

    data: xr.Dataset
    store: Path
    part: Part = field(default_factory=Part)
    by: str | None = None


def export(of: Exported, to: str, out: Path | None = None, progress: Progress = silent) -> Path:
    """Write a store, or a part of it, in a form that other programs read. Each form is written whole or not at all.

    Parameters
    ----------
    of
        The store and what is wanted of it.
    to
        One of `ENDINGS`.
    out
        File or folder; default: the name of the store with an ending of the form, in the working directory.

    Raises
    ------
    VadoseError
        For an unknown form, a part that is not in the store, stations as maps, areas as a form of maps, and where a
        library is not installed.
    """
    if to not in ENDINGS:
        raise VadoseError(f"--to {to!r}: expected one of {', '.join(ENDINGS)}")
    if of.by is not None and to not in OF_AREAS:
        raise VadoseError(f"--by {of.by}: means of areas are no map; export them to {', '.join(OF_AREAS)}, not {to}")
    place = str(of.store)
    data = of.part.of(of.data, place)
    stem = of.store.name.removesuffix(".zarr").removesuffix(".nc")
    if of.by is not None:
        check_map(data, place, "means of areas")
        data = by_area(data, of.by)
        stem += f"_by_{Path(of.by).stem}"
    out = out or Path(f"{stem}{ENDINGS[to]}")
    if out.resolve() == of.store.resolve():
        raise VadoseError(f"{out}: this is the store itself; choose another --out")
    made = provenance(store=place, to=to, by=of.by)
    history = f"{of.data.attrs.get('history', '')}\n{made['created']} vadose export --to {to}".strip()
    data = data.assign_attrs(history=history)
    tell = partial(progress, f"writing {out.name}")
    if to == "cog":
        check_map(data, place, "GeoTIFFs")
        write_cogs(data, out, progress=lambda what, share: tell(share))
        return out
    with writing(out) as scratch:
        if to == "netcdf":
            write_netcdf(data, scratch)
        elif to == "zarr2":
            write_zarr2(data.assign_attrs(made), scratch, place)
        elif to == "parquet":
            write_parquet(data, scratch, tell)
        elif to == "stac":
            write_stac(data, of.store, scratch, out)
            note_inputs(scratch, store=place, to=to)
        else:
            columns = write_csv(data, scratch, tell)
    if to == "csv":
        with writing(out.with_name(f"{out.name}-metadata.json")) as scratch:
            scratch.write_text(columns_of(data, columns, out.name))
    tell(1.0)
    return out


def by_area(data: xr.Dataset, by: str) -> xr.Dataset:
    """Means over counties, states, or the polygons of a GeoJSON file; of classes of drought the share of the area.

    Raises
    ------
    VadoseError
        As of `vadose.areas.own_areas` and `vadose.areas.means`.
    """
    areas = counties() if by == "county" else states() if by == "state" else own_areas(Path(by))
    if CLASS in data:
        classes = data[CLASS].where(data[CLASS] >= -1)  # -128 is unknown
        for k in range(5):
            share = (classes >= k).where(classes.notnull())
            data[f"drought_d{k}_share"] = share.assign_attrs(long_name=f"share of the area in D{k} or worse", units="1")
        data = data.drop_vars(CLASS)
    found = means(data, areas)
    return found.isel(area=np.flatnonzero(found.area_covered > 0)).assign_attrs(data.attrs)
