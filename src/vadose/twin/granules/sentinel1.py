"""Simulated Sentinel-1 backscatter as ASF HyP3 delivers it: a folder of GeoTIFFs for each overpass."""

import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vadose.errors import VadoseError
from vadose.twin.granules.landsat import utm_lattice
from vadose.twin.granules.rasters import Layer, write_rasters

REPEAT = 12
_FIRST = pd.Timestamp("2014-10-03")  # Sentinel-1A began its operation
_LETTERS = {"db": "d", "power": "p"}
# Of the other orbit the days after the first one, and the incidence angle [degree] of each: within the IW swath.
_ORBITS = {"ascending": (0, 38.0), "descending": (5, 33.0)}


def write_sentinel1(truth: xr.Dataset, folder: Path, *, scale: str = "power", orbit: str = "ascending") -> list[Path]:
    """Write sigma0 VV, VH and the incidence angle for each overpass of Sentinel-1A over the truth's area.

    Overpasses are every 12 days from 2014-10-03 on, in the evening; descending ones 5 days later, in the morning.
    Files lie on 30 m pixels of the truth's UTM zone, 0 outside the truth, coarser cells are repeated; the angle is in
    radians.

    Parameters
    ----------
    scale
        ``'power'`` or ``'db'``, as the product's name then tells.
    orbit
        ``'ascending'`` or ``'descending'``; no name tells it.
    """
    if scale not in _LETTERS:
        raise VadoseError(f"Sentinel-1: scale {scale!r} unknown; choose from {list(_LETTERS)}")
    lattice = utm_lattice(truth, origin=0.0)
    later, incidence = _ORBITS[orbit]
    clock = pd.Timedelta(hours=((18 if orbit == "ascending" else 6) - float(truth.lon.mean()) / 15) % 24).floor("s")
    written = []
    for index, day in enumerate(pd.DatetimeIndex(truth.time.values)):
        if ((day.normalize() - _FIRST).days - later) % REPEAT:
            continue
        start = day.normalize() + clock
        identity = f"{zlib.crc32(f'{start} {scale}'.encode()) % 0x10000:04X}"
        scene = f"S1A_IW_{start:%Y%m%dT%H%M%S}_DVP_RTC30_G_s{_LETTERS[scale]}uned_{identity}"
        today = truth.isel(time=index)
        layers = {}
        for band, name in (("VV", "sigma0_vv"), ("VH", "sigma0_vh")):
            power = today[name].values.astype(np.float32)
            values = 10 * np.log10(power) if scale == "db" else power
            layers[folder / scene / f"{scene}_{band}.tif"] = Layer(np.nan_to_num(values, nan=0.0), 0.0, 0.0)
        angle = np.full_like(power, np.radians(incidence))
        layers[folder / scene / f"{scene}_inc_map.tif"] = Layer(angle, 0.0, 0.0)
        write_rasters(truth, lattice, layers)
        written.append(folder / scene)
    return written
