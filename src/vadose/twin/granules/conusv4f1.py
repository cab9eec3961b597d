"""The hydroDL CSV database as the simulated world writes it."""

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

MARKER = "SIMULATED.txt"
NOTE = "These files were simulated; no value in them was ever measured.\n"
FILES = {
    "APCP_FORA": ("precipitation", 1 / 24),
    "TMP_2_FORA": ("air_temperature", 1.0),
    "SPFH_2_FORA": ("specific_humidity", 1.0),
    "DSWRF_FORA": ("shortwave_radiation", 1.0),
    "DLWRF_FORA": ("longwave_radiation", 1.0),
    "UGRD_10_FORA": ("eastward_wind", 1.0),
    "VGRD_10_FORA": ("northward_wind", 1.0),
    "SMAP_AM": ("satellite_soil_moisture", 1.0),
}


def write_conusv4f1(truth: xr.Dataset, folder: Path) -> Path:
    """Write the database: a line a cell, a column a day, a folder a year from April; -9999 where missing.

    Parameters
    ----------
    truth
        Whole database years on every n-th cell of the 36 km grid. Cells of open water are left out,
        as in the real database, and only morning overpasses are seen.
    """
    root = folder / "CONUSv4f1"
    (root / "const").mkdir(parents=True)
    (folder / MARKER).write_text(NOTE)
    land = truth.water_fraction.values < WATER
    morning = truth.satellite_soil_moisture.where(truth.overpass_am > 0)
    truth = truth.assign(satellite_soil_moisture=morning)
    np.savetxt(
        root / "crd.csv", np.column_stack([truth.lat.values[land], truth.lon.values[land]]), fmt="%.4f", delimiter=","
    )
    constants = {
        "Sand": 100 * truth.sand_fraction,
        "Clay": 100 * truth.clay_fraction,
        "Silt": 100 * truth.silt_fraction,
        "Bulk": truth.bulk_density,
        "Capa": 15 + 0 * truth.porosity,
        "NDVI": truth.ndvi.mean("time"),
        "flag_albedo": truth.albedo,
        "flag_roughness": truth.roughness_coefficient,
        "flag_waterbody": truth.water_fraction,
        "flag_landcover": truth.land_cover,
        "flag_vegDense": 0 * truth.porosity,
        "flag_extraOrd": 0 * truth.porosity,
    }
    for name, values in constants.items():
        np.savetxt(root / "const" / f"{name}.csv", values.values[land], fmt="%.8g")
    time = pd.DatetimeIndex(truth.time)
    for year in sorted({day.year - (day.month < 4) for day in time}):
        days = (time >= pd.Timestamp(year, 4, 1)) & (time <= pd.Timestamp(year + 1, 3, 31))
        at = root / str(year)
        at.mkdir()
        (at / "timeStr.csv").write_text("\n".join(time[days].strftime("%Y-%m-%d")) + "\n")
        # Days as MATLAB counts them: 719529 is 1970-01-01.
        matlab = (time[days] - pd.Timestamp("1970-01-01")).days + 719529
        (at / "time.csv").write_text("\n".join(map(str, matlab)) + "\n")
        for file, (name, factor) in FILES.items():
            table = np.nan_to_num(factor * truth[name].values[days][:, land].T, nan=-9999)
            np.savetxt(at / f"{file}.csv", table, fmt="%.8g", delimiter=",")
    return folder


WATER = 0.2
"""Cells with more open water than this share are left out."""
