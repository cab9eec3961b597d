"""How well the packaged land-surface networks follow sensors, driven by the weather measured beside them.

    vadose stations --table my.csv --mapping my.yaml --out mine.zarr
    python benchmarks/own_sensor.py mine.zarr --from 2023-01-01

For each station and layer a Markdown table over the same days: without the sensor, with it up to 1, 7 and 30 days
before the day that is estimated, with what it measured before --from alone, and the sensor's last value. The weather of
all days is known; what it lacks counts as unknown, as does the soil. Days before --from are spin-up.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vadose.door import open_store
from vadose.evaluation.own_sensor import METRICS, followed
from vadose.predict.outlook.moisture import networks, soil_moisture
from vadose.samples.land_surface import WEATHER


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stations", type=Path)
    parser.add_argument("--from", dest="first", type=pd.Timestamp, required=True)
    parser.add_argument("--weights", type=Path, help="weights other than those of the package")
    options = parser.parse_args()
    store, weights = open_store(options.stations).load(), networks(options.weights)
    for station in store.station.values:
        of = store.sel(station=[station]).rename(station="place")
        unknown = xr.full_like(of.precipitation, np.nan)
        weather = xr.Dataset({name: of.get(name, unknown) for name in WEATHER})
        lacking = [name for name in WEATHER if name not in of]
        observed = of.soil_moisture.transpose("place", "time", "layer").values.astype(np.float32)
        past = soil_moisture(weights, weather, xr.Dataset({"elevation": of.elevation}))
        first = int(of.indexes["time"].searchsorted(options.first))
        table = followed(past, observed, first=first)
        print(f"{station}; weather unknown: {', '.join(lacking) or 'none'}\n")
        header = ["layer", "days ahead", "estimate", "days", *METRICS]
        lines = [header, ["---"] * len(header)]
        for key, rows in table.groupby(["layer", "lead_days", "model", "n_pairs"], sort=False):
            each = rows.set_index("metric").loc[list(METRICS), ["median", "lower", "upper"]].values
            lines.append([*map(str, key), *(f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, low, high in each)])
        print("\n".join(f"| {' | '.join(line)} |" for line in lines), "\n")


if __name__ == "__main__":
    main()
