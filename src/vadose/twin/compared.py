"""What an outlook is compared with: a swath of Crop-CASMA, and a land analysis of the National Water Model."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache
from io import BytesIO

import h5py
import numpy as np
from pyproj import Transformer
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from vadose.twin.serving import Answer, serve, status

LAG, DAYS = 3, 20
"""Days that the newest swath is old, and that are listed; every second one misses the place."""
WATER = (0.21, 0.24, 0.27, 0.3)
"""Moisture of the layers of the model [m3 m-3]."""
LAMBERT = "+proj=lcc +lat_0=40 +lon_0=-97 +lat_1=30 +lat_2=60 +R=6370000 +units=m"


def swath(asked: Mapping[str, str], subsets: Sequence[str], today: date) -> Answer:
    """Answer of the coverage service: the days there are, or a GeoTIFF of 1 km cut to the box."""
    days = [today - timedelta(days=LAG + k) for k in range(DAYS)]
    names = {f"SMAP-HYB-1KM-DAILY_{day:%Y.%m.%d}_PM": k for k, day in enumerate(days)}
    if asked.get("REQUEST") == "GetCapabilities":
        text = "".join(f"<wcs:CoverageId>{name}</wcs:CoverageId>" for name in names)
        return serve(f"<wcs:Capabilities>{text}</wcs:Capabilities>".encode(), etag=None)
    if asked.get("COVERAGEID") not in names:
        return status(404)
    west, east, south, north = (float(v) for of in sorted(subsets) for v in re.findall(r"-?\d+", of))
    gap = names[asked["COVERAGEID"]] % 2 == 0
    shape = (round((north - south) / 1000), round((east - west) / 1000))
    with MemoryFile() as memory:
        about = {"height": shape[0], "width": shape[1], "count": 1, "dtype": "float32", "nodata": -9999.0}
        corner = Affine(1000.0, 0.0, west, 0.0, -1000.0, north)
        with memory.open(driver="GTiff", crs="EPSG:5070", transform=corner, **about) as file:
            file.write(np.full(shape, -9999.0 if gap else 0.23, np.float32), 1)
            file.update_tags(simulated="true: no value in this file was measured")
        return serve(bytes(memory.read()), etag=None)


@lru_cache(maxsize=1)
def land_analysis(box: tuple[float, float, float, float]) -> bytes:
    """A file of the land analysis around a box [degree]: packed moisture (time, y, layer, x)."""
    turn = Transformer.from_crs("EPSG:4326", LAMBERT, always_xy=True)
    west, south, east, north = turn.transform_bounds(*box)
    content = BytesIO()
    with h5py.File(content, "w") as file:
        file.attrs["simulated"] = "true: no value in this file was measured"
        axes = {
            "time": np.zeros(1),
            "y": np.arange(np.floor(south / 1000), np.ceil(north / 1000)) * 1000 + 500,
            "soil_layers_stag": np.arange(4.0),
            "x": np.arange(np.floor(west / 1000), np.ceil(east / 1000)) * 1000 + 500,
        }
        for name, values in axes.items():
            file[name] = values
            file[name].make_scale(name)
        shape = tuple(len(values) for values in axes.values())
        stored = np.broadcast_to(np.round(np.array(WATER) / 0.01)[None, None, :, None], shape).astype("i4")
        moisture = file.create_dataset("SOIL_M", data=stored, chunks=True, compression="gzip")
        moisture.attrs.update({"scale_factor": 0.01, "add_offset": 0.0, "_FillValue": np.int32(-999900)})
        for k, name in enumerate(axes):
            moisture.dims[k].attach_scale(file[name])
    return content.getvalue()
