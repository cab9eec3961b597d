"""What SMAP's predictors, the last value of the layer and rain tell of its moisture a few days ahead, by regression.

Run: python benchmarks/what_smap_knows.py CUBE [LEAD ...]
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vadose.cube import open_cube

LAYER = "soil_moisture_0_10cm"
SMAP = ("tb_h", "tb_v", "surface_temperature", "vegetation_opacity", "vegetation_water_content")
SOIL = ("sand_fraction_5cm", "clay_fraction_5cm", "bulk_density_5cm")
TRAINING, TEST = slice("2018-02-10", "2019-06-29"), slice("2020-01-01", "2020-12-30")
SETS = (("SMAP",), ("SMAP", "rain"), ("last value",), ("last value", "SMAP"), ("last value", "SMAP", "rain"))


def main(path: Path, leads: list[int]) -> None:
    """Print the median R and RMSE over cells of each set of predictors and lead time."""
    cube = open_cube(path).load()
    days = cube.indexes["time"]

    def daily(name: str) -> NDArray[np.floating]:
        return cube[name].transpose("time", "y", "x").values.reshape(len(days), -1).astype(float)

    observed = daily(LAYER)
    angle = np.broadcast_to(2 * np.pi * np.arange(len(days))[:, None] / 365.25, observed.shape)
    always = [np.ones_like(angle), np.sin(angle), np.cos(angle)]
    always += [np.broadcast_to(cube[name].values.ravel(), observed.shape) for name in SOIL]
    known = {
        "SMAP": [daily(f"{name}_filled") for name in SMAP],
        "last value": [daily(f"{LAYER}_filled")],
        "rain": [daily(name) for name in ("precipitation", "precipitation_7d", "precipitation_30d")],
    }
    training, test = (days.slice_indexer(part.start, part.stop) for part in (TRAINING, TEST))
    for lead in leads:
        later = np.full_like(observed, np.nan)
        later[:-lead] = observed[lead:]
        for names in SETS:
            predictors = np.stack(always + [values for name in names for values in known[name]], axis=-1)
            rows, wanted = predictors[training].reshape(-1, predictors.shape[-1]), later[training].ravel()
            complete = np.isfinite(rows).all(axis=1) & np.isfinite(wanted)
            scale = np.maximum(np.abs(rows[complete]).max(axis=0), 1e-9)
            weights = np.linalg.lstsq(rows[complete] / scale, wanted[complete], rcond=None)[0]
            predicted, truth = (predictors[test] / scale) @ weights, later[test]
            scores = []
            for p, o in zip(predicted.T, truth.T, strict=True):
                both = np.isfinite(p) & np.isfinite(o)
                scores.append((np.corrcoef(p[both], o[both])[0, 1], np.sqrt(np.mean((p - o)[both] ** 2))))
            r, rmse = np.median(scores, axis=0)
            print(f"{lead} d, {' + '.join(names)}: R {r:.3f}, RMSE {rmse:.4f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(lead) for lead in sys.argv[2:]] or [1, 7])
