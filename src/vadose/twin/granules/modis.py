"""Simulated MODIS tiles: MOD09GA, MYD09GA, MOD11A1, MYD11A1 and MCD12Q1 in HDF-EOS2 (HDF4).

Tiles have their full size unless a subset is asked for; fields hold fill where the truth does not reach. A cloud
hides the ground: reflectance is that of a bright cloud, with its bits set in the state, and no land-surface
temperature is there at all.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from vadose.twin.granules.hdf_eos import (
    CELLS_1KM,
    CELLS_500M,
    SATELLITES,
    Field,
    Tile,
    constant,
    cropped,
    described,
    tile_of,
    tiles_of,
    write_tile,
)

BANDS = ("red", "nir", "blue", "green", "nir2", "swir1", "swir2")
# Reflectance of a thick cloud in the order of the bands.
CLOUD = (0.62, 0.64, 0.6, 0.61, 0.55, 0.4, 0.3)
LST_GRID = "MODIS_Grid_Daily_1km_LST"
SNOWY = 10.0  # kg m-2 that cover the ground


def write_mod09ga(truth: xr.Dataset, folder: Path, satellite: str = "terra", subset: bool = False) -> list[Path]:
    """Write a MOD09GA (Terra) or MYD09GA (Aqua) granule for each day and tile the truth touches.

    Parameters
    ----------
    truth
        Part of an EASE-2 grid with daily reflectance of seven bands, ``cloud`` and
        ``snow_water_equivalent``, and ``water_fraction``.
    satellite
        ``'terra'`` or ``'aqua'``.
    subset
        Only the rows and columns the truth reaches, as subset services cut them: a hundredth of the work.
    """
    prefix, _ = SATELLITES[satellite]
    grids = {"MODIS_Grid_1km_2D": CELLS_1KM, "MODIS_Grid_500m_2D": CELLS_500M}
    paths = []
    for coarse in tiles_of(truth):
        fine = tile_of(truth, coarse.h, coarse.v, CELLS_500M)
        if subset:
            coarse, fine = cropped(coarse, fine)
        for day in truth.time.values:
            today = truth.sel(time=day)
            fields = _state(today, coarse) | _reflectance(today, fine, coarse)
            paths.append(write_tile(folder, f"{prefix}09GA", satellite, pd.Timestamp(day), fine, grids, fields))
    return paths


def write_mod11a1(truth: xr.Dataset, folder: Path, satellite: str = "terra") -> list[Path]:
    """Write a MOD11A1 (Terra) or MYD11A1 (Aqua) granule for each day and tile the truth touches.

    The surface is warmer by day and colder by night than its daily mean by half the daily range of the air
    temperature for Aqua, and 0.7 times that for Terra, which passes three hours earlier.

    Parameters
    ----------
    truth
        Part of an EASE-2 grid with daily ``surface_temperature``, ``air_temperature_max``,
        ``air_temperature_min``, ``cloud`` and ``snow_water_equivalent``, and ``land_cover``.
    satellite
        ``'terra'`` or ``'aqua'``.
    """
    prefix, _ = SATELLITES[satellite]
    paths = []
    for tile in tiles_of(truth):
        for day in truth.time.values:
            fields = _temperature(truth.sel(time=day), tile, satellite)
            paths.append(
                write_tile(folder, f"{prefix}11A1", satellite, pd.Timestamp(day), tile, {LST_GRID: CELLS_1KM}, fields)
            )
    return paths


def write_mcd12q1(truth: xr.Dataset, folder: Path) -> list[Path]:
    """Write the MCD12Q1 granule of the truth's first year for each tile the truth touches.

    Classes of the other four classifications follow from that of the IGBP; the LCCS layers are fill.

    Parameters
    ----------
    truth
        Part of an EASE-2 grid with ``land_cover`` (IGBP 1..17).
    """
    day = pd.Timestamp(year=int(truth.time.dt.year[0]), month=1, day=1)
    paths = []
    for coarse in tiles_of(truth):
        tile = tile_of(truth, coarse.h, coarse.v, CELLS_500M)
        grids = {"MCD12Q1": CELLS_500M}
        paths.append(write_tile(folder, "MCD12Q1", "terra", day, tile, grids, _land_cover(truth, tile)))
    return paths


def _packed(values: ArrayLike, scale: float, dtype: str, fill: int) -> NDArray[Any]:
    """Stored numbers of values in units, fill where not a number."""
    numbers = np.asarray(values, float) * scale
    return np.where(np.isfinite(numbers), np.rint(numbers), fill).astype(dtype)


def _snow(today: xr.Dataset) -> NDArray[np.bool_]:
    snowy: NDArray[np.bool_] = today.snow_water_equivalent.values > SNOWY
    return snowy


def _reflectance(today: xr.Dataset, tile: Tile, coarse: Tile) -> dict[str, Field]:
    grid = "MODIS_Grid_500m_2D"
    # Clouds end where the 1 km state says so.
    cloudy = coarse.spread(today.cloud.values > 0.5, False).repeat(2, axis=0).repeat(2, axis=1)
    fields = {
        "num_observations_500m": constant(
            tile, grid, 1, described("int8", -1, (0, 127), "Number of Observations", units="none")
        )
    }
    for number, (band, bright) in enumerate(zip(BANDS, CLOUD, strict=True), 1):
        values = tile.spread(_packed(today[f"reflectance_{band}"].values, 1e4, "int16", -28672), -28672)
        values[cloudy & (values != -28672)] = round(bright * 1e4)
        fields[f"sur_refl_b{number:02d}_1"] = Field(
            values,
            grid,
            {
                "long_name": f"500m Surface Reflectance Band {number} - first layer",
                "units": "reflectance",
                "valid_range": np.array([-100, 16000], "int16"),
                "_FillValue": np.int16(-28672),
                "add_offset": np.float64(0),
                "add_offset_err": np.float64(0),
                "calibrated_nt": np.int32(5),
                "scale_factor": np.float64(10000),
                "scale_factor_err": np.float64(0),
                "Nadir Data Resolution": "500m",
            },
        )
    # Every band of highest quality, atmospheric correction performed.
    fields["QC_500m_1"] = constant(
        tile,
        grid,
        1 << 30,
        described(
            "uint32", 787410671, (0, 4294966019), "500m Reflectance Band Quality - first layer", units="bit field"
        ),
    )
    fields["obscov_500m_1"] = constant(
        tile,
        grid,
        100,
        described("int8", -1, (0, 100), "Observation coverage - first layer", units="percent", scale=0.01),
    )
    fields["iobs_res_1"] = constant(
        tile,
        grid,
        0,
        described("uint8", 255, (0, 254), "observation number in coarser grid - first layer", units="none"),
    )
    return fields


def _state(today: xr.Dataset, tile: Tile) -> dict[str, Field]:
    grid = "MODIS_Grid_1km_2D"
    cloudy, snow = today.cloud.values > 0.5, _snow(today)
    land = np.where(today.water_fraction.values > 0.5, 0b011, 0b001) << 3
    low_aerosol = 0b01 << 6
    state = land | low_aerosol | cloudy * (0b01 | 1 << 10) | snow * (1 << 12 | 1 << 15)
    layer = "first layer"
    fields = {
        "num_observations_1km": constant(
            tile, grid, 1, described("int8", -1, (0, 127), "Number of Observations", units="none")
        ),
        "state_1km_1": Field(
            tile.spread(state.astype("uint16"), 65535),
            grid,
            {
                "long_name": f"1km Reflectance Data State QA - {layer}",
                "units": "bit field",
                "valid_range": np.array([0, 57335], "uint16"),
                "_FillValue": np.uint16(65535),
                "Nadir Data Resolution": "1km",
            },
        ),
    }
    for name, long_name, raw, low in (
        ("SensorZenith_1", "Sensor zenith", 1500, 0),
        ("SensorAzimuth_1", "Sensor azimuth", 9800, -18000),
        ("SolarZenith_1", "Solar zenith", 3500, 0),
        ("SolarAzimuth_1", "Solar azimuth", 14500, -18000),
    ):
        fields[name] = constant(
            tile,
            grid,
            raw,
            described("int16", -32767, (low, 18000), f"{long_name} - {layer}", units="degree", scale=0.01),
        )
    fields["Range_1"] = constant(
        tile,
        grid,
        29000,
        described("uint16", 0, (27000, 65535), f"Range (pixel to sensor) - {layer}", units="meters", scale=25.0),
    )
    fields["gflags_1"] = constant(
        tile, grid, 0, described("uint8", 255, (0, 248), f"Geolocation flags - {layer}", units="bit field")
    )
    fields["orbit_pnt_1"] = constant(
        tile, grid, 0, described("int8", -1, (0, 15), f"Orbit pointer - {layer}", units="none")
    )
    fields["granule_pnt_1"] = constant(
        tile, grid, 0, described("uint8", 255, (0, 254), f"Granule Pointer - {layer}", units="none")
    )
    return fields


def _temperature(today: xr.Dataset, tile: Tile, satellite: str) -> dict[str, Field]:
    amplitude = (today.air_temperature_max - today.air_temperature_min).values / 2
    amplitude = amplitude * {"terra": 0.7, "aqua": 1.0}[satellite]
    mean, cloudy = today.surface_temperature.values, today.cloud.values > 0.5
    # Emissivity of shrubland and bare ground is less sure, and snow worse than that.
    flags = np.where(np.isin(today.land_cover.values, (7, 16)), 0b01000001, 0)
    flags = np.where(_snow(today), 0b10000001, flags)
    flags = np.where(cloudy | ~np.isfinite(mean), 0b10, flags).astype("uint8")
    observed = replace(tile, inside=tile.inside & ~cloudy.ravel()[tile.held_by])
    hours = {"terra": (10.5, 22.5), "aqua": (13.5, 1.5)}[satellite]
    fields: dict[str, Field] = {}
    for half, sign, hour in zip(("Day", "Night"), (1, -1), hours, strict=True):
        kelvin = observed.spread(_packed(mean + sign * amplitude, 50.0, "uint16", 0), 0)
        # Outside the truth nothing was produced for reasons other than cloud.
        fields |= _half_a_day(half, hour, kelvin, tile.spread(flags, 0b11), observed)
    for band, raw in ((31, 245), (32, 247)):
        fields[f"Emis_{band}"] = constant(
            observed,
            LST_GRID,
            raw,
            described("uint8", 0, (1, 255), f"Band {band} emissivity", scale=0.002, offset=0.49),
        )
    for half in ("day", "night"):
        fields[f"Clear_{half}_cov"] = constant(
            observed, LST_GRID, 2000, described("uint16", 0, (1, 65535), f"{half} clear-sky coverage", scale=0.0005)
        )
    return fields


def _half_a_day(
    half: str, hour: float, kelvin: NDArray[np.integer], flags: NDArray[np.integer], observed: Tile
) -> dict[str, Field]:
    """What is told by day or by night."""
    grid, daytime = LST_GRID, f"{half.lower()}time"
    return {
        f"LST_{half}_1km": Field(
            kelvin,
            grid,
            {
                "long_name": f"Daily {daytime} 1km grid Land-surface Temperature",
                "units": "K",
                "Number_Type": "uint16",
                "valid_range": np.array([7500, 65535], "uint16"),
                "_FillValue": np.uint16(0),
                "LST": "LST data * scale_factor",
                "scale_factor": np.float64(0.02),
                "scale_factor_err": np.float64(0),
                "add_offset_err": np.float64(0),
                "calibrated_nt": np.int32(5),
            },
        ),
        f"QC_{half}": Field(
            flags,
            grid,
            {
                "long_name": f"Quality control for {daytime} LST and emissivity",
                "Number_Type": "uint8",
                "valid_range": np.array([0, 255], "uint8"),
                "_FillValue": "NA",
            },
        ),
        f"{half}_view_time": constant(
            observed,
            grid,
            round(hour * 10),
            described(
                "uint8",
                255,
                (0, 240),
                f"Time of {daytime} Land-surface Temperature observation",
                units="hrs",
                scale=0.1,
            ),
        ),
        f"{half}_view_angl": constant(
            observed,
            grid,
            65,
            described(
                "uint8",
                255,
                (0, 130),
                f"View zenith angle of {daytime} Land-surface Temperature",
                units="deg",
                scale=1.0,
                offset=-65.0,
            ),
        ),
    }


# Class of each classification for the IGBP classes 1..17.
LAND_COVER = {
    "LC_Type1": ("Land_Cover_Type_1", (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17), (1, 17)),
    "LC_Type2": ("Land_Cover_Type_2", (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15, 0), (0, 15)),
    "LC_Type3": ("Land_Cover_Type_3", (7, 5, 8, 6, 6, 2, 2, 4, 4, 1, 1, 3, 10, 3, 9, 9, 0), (0, 10)),
    "LC_Type4": ("Land_Cover_Type_4", (1, 2, 3, 4, 4, 2, 2, 6, 6, 6, 6, 5, 8, 5, 7, 7, 0), (0, 8)),
    "LC_Type5": ("Land_Cover_Type_5", (1, 2, 3, 4, 4, 5, 5, 4, 6, 6, 6, 7, 9, 7, 10, 11, 0), (0, 11)),
}


def _land_cover(truth: xr.Dataset, tile: Tile) -> dict[str, Field]:
    grid = "MCD12Q1"
    igbp = truth.land_cover.values
    known = np.isfinite(igbp)
    index = np.where(known, igbp, 1).astype(int) - 1
    fields = {}
    for name, (long_name, classes, valid) in LAND_COVER.items():
        values = np.where(known, np.array(classes)[index], 255).astype("uint8")
        fields[name] = Field(tile.spread(values, 255), grid, described("uint8", 255, valid, long_name))
    for k in (1, 2, 3):
        long_name = f"Land_Cover_Property_{k}"
        highest = (43, 40, 51)[k - 1]
        fields[f"LC_Prop{k}_Assessment"] = constant(
            tile, grid, 255, described("uint8", 255, (0, 100), f"{long_name}_Assessment")
        )
        fields[f"LC_Prop{k}"] = constant(tile, grid, 255, described("uint8", 255, (1, highest), long_name))
    land = np.where(igbp == 17, 1, 2).astype("uint8")
    fields["QC"] = Field(
        tile.spread(np.where(igbp == 17, 3, 1).astype("uint8"), 10),
        grid,
        described("uint8", 255, (0, 10), "Quality_Flags"),
    )
    fields["LW"] = Field(tile.spread(land, 255), grid, described("uint8", 255, (1, 2), "Land_Water_Mask"))
    return fields
