"""A store as an entry of a SpatioTemporal Asset Catalog: a collection with one item."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from pyproj import CRS

from vadose.door.days import lead_days
from vadose.errors import VadoseError
from vadose.grid import grid_of, transformer_to
from vadose.publish.selection import check_map

ZARR = "application/vnd+zarr"
_DAY = "%Y-%m-%dT00:00:00Z"


def write_stac(data: xr.Dataset, store: Path, folder: Path, lasting: Path) -> None:
    """Write ``collection.json`` and an item of a Zarr store of maps, by STAC 1.1.

    The extensions projection, datacube and raster say where the grid lies, what the axes and variables are, and of
    which type, unit and cell size the values are. The asset is the store, by its path from the folder.

    Parameters
    ----------
    lasting
        Where the folder will lie, for the path to the store.

    Raises
    ------
    VadoseError
        When pystac is not installed, or the store holds no map.
    """
    try:
        import pystac
        from pystac.extensions.datacube import DatacubeExtension
        from pystac.extensions.projection import ProjectionExtension
        from pystac.extensions.raster import RasterExtension
    except ImportError as error:
        raise VadoseError("STAC is written by pystac, not installed; pip install 'vadose[stac]'") from error
    check_map(data, str(store), "a STAC item")
    west, south, east, north = _box(data)
    corners = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    begin, end = _span(data)
    title = str(data.attrs.get("title", store.name))
    said = {name: str(data.attrs[name]) for name in ("model", "layer", "weather", "simulated") if name in data.attrs}
    item = pystac.Item(
        id=store.stem,
        geometry={"type": "Polygon", "coordinates": [corners]},
        bbox=[west, south, east, north],
        datetime=None,
        properties={"title": title} | {f"vadose:{name}": of for name, of in said.items()},
        start_datetime=begin,
        end_datetime=end,
    )
    grid = grid_of(data)
    left, top, step = grid.transform
    transform = [step, 0.0, left, 0.0, -step, top]
    where = ProjectionExtension.ext(item, add_if_missing=True)
    where.apply(code=grid.crs, shape=list(grid.shape), transform=transform)
    cube = DatacubeExtension.ext(item, add_if_missing=True)
    dimensions, variables = _dimensions(data, grid.crs), _variables(data)
    cube.properties["cube:dimensions"], cube.properties["cube:variables"] = dimensions, variables
    href = Path(os.path.relpath(store.resolve(), lasting.resolve() / item.id)).as_posix()
    asset = pystac.Asset(href=href, title=title, media_type=f"{ZARR}; version=3", roles=["data"])
    item.add_asset("store", asset)
    RasterExtension.add_to(item)
    asset.extra_fields["raster:bands"] = _bands(data, grid.cell if data.x.attrs.get("units") == "m" else None)
    extent = pystac.Extent(
        pystac.SpatialExtent([[west, south, east, north]]),
        pystac.TemporalExtent([[begin, end]]),
    )
    collection = pystac.Collection(f"{store.stem}-collection", title, extent, title=title)
    of_all = DatacubeExtension.ext(collection, add_if_missing=True)
    of_all.properties["cube:dimensions"], of_all.properties["cube:variables"] = dimensions, variables
    collection.add_item(item)
    collection.set_self_href(str(folder / "collection.json"))
    item.set_self_href(str(folder / item.id / f"{item.id}.json"))
    collection.save(catalog_type=pystac.CatalogType.SELF_CONTAINED)


def _box(data: xr.Dataset) -> list[float]:
    """West, south, east and north of the cells' outer edges [degree]."""
    grid = grid_of(data)
    left, top, step = grid.transform
    (rows, columns), bounds = grid.shape, transformer_to(grid.crs).transform_bounds
    edges = bounds(left, top - rows * step, left + columns * step, top, direction="INVERSE", densify_pts=21)
    return [round(float(edge), 6) for edge in edges]


def _span(data: xr.Dataset) -> tuple[Any, Any]:
    """First and last valid day; of fixed maps, when they were made."""
    if "init_time" in data.dims:
        days = data.init_time.values[:, None] + data.lead_time.values
    else:
        made = pd.Timestamp(str(data.attrs.get("created", "1970-01-01"))).tz_localize(None).to_datetime64()
        days = data.time.values if "time" in data.dims else np.array([made])
    first, last = (pd.Timestamp(of).tz_localize("UTC").to_pydatetime() for of in (days.min(), days.max()))
    return first, last


def _dimensions(data: xr.Dataset, crs: str) -> dict[str, Any]:
    """Axes by the datacube extension."""
    found: dict[str, Any] = {}
    code = CRS.from_user_input(crs).to_epsg() or crs
    for name in map(str, data.dims):
        if name not in data.coords:
            continue
        values, said = data[name].values, data[name].attrs
        told = {"description": str(said["long_name"])} if "long_name" in said else {}
        if name in ("y", "x"):
            ends = [float(values.min()), float(values.max())]
            found[name] = told | {"type": "spatial", "axis": name, "extent": ends, "reference_system": code}
        elif values.dtype.kind == "M":
            days = pd.DatetimeIndex(values).strftime(_DAY).tolist()
            found[name] = told | {"type": "temporal", "extent": [days[0], days[-1]], "values": days}
        elif name == "lead_time":
            found[name] = told | {"type": "lead", "values": lead_days(data).tolist(), "unit": "day"}
        else:
            plain = values.tolist() if values.dtype.kind in "if" else [str(of) for of in values]
            unit = {"unit": str(said["units"])} if "units" in said else {}
            found[name] = told | {"type": name, "values": plain} | unit
    return found


def _variables(data: xr.Dataset) -> dict[str, Any]:
    """Variables by the datacube extension."""
    found = {}
    for name, of in data.data_vars.items():
        said = {
            key: str(of.attrs[at]) for key, at in (("description", "long_name"), ("unit", "units")) if at in of.attrs
        }
        found[str(name)] = {"dimensions": [str(axis) for axis in of.dims], "type": "data"} | said
    return found


def _bands(data: xr.Dataset, metres: float | None) -> list[dict[str, Any]]:
    """Variables by the raster extension."""
    found = []
    for name, of in data.data_vars.items():
        stored = np.dtype(of.encoding.get("dtype", of.dtype))
        missing = of.encoding.get("_FillValue")
        nodata = "nan" if stored.kind == "f" else None if missing is None else int(missing)
        told = {"name": str(name), "data_type": str(stored), "nodata": nodata, "unit": of.attrs.get("units")}
        told |= {"sampling": "area", "spatial_resolution": metres}
        found.append({key: value for key, value in told.items() if value is not None})
    return found
