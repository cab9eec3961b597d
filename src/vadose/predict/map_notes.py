"""What maps say of themselves and of what they are made of."""

import json
from typing import Any

import xarray as xr

from vadose.errors import VadoseError
from vadose.predict.calibration import Calibration


def attributes_of(kept: dict[str, Any], fine: xr.Dataset, coarse: list[xr.Dataset]) -> dict[str, Any]:
    """What the maps say of themselves, by what they are made of."""
    learnt = kept.get("attributes", {})
    mode = fine.attrs.get("mode")
    if mode and learnt.get("mode") and mode != learnt["mode"]:
        raise VadoseError(
            f"maps: gaps of the fine features are filled in the mode {mode!r}, the network learnt in "
            f"{learnt['mode']!r}; make the features again in that mode"
        )
    told = [data.attrs["simulated"] for data in (fine, *coarse) if "simulated" in data.attrs]
    told += [learnt["simulated"]] if "simulated" in learnt else []
    simulated = "unknown" if not told else "true" if "true" in told else "false"
    # Tables of station-days are of this layer, and runs of earlier versions do not say it.
    plain = {"model": str(kept.get("name", "unnamed")), "weather": "none", "scenario": "all", "layer": "0-10 cm"}
    found: dict[str, Any] = plain | learnt
    found |= {"simulated": simulated} | ({"mode": mode} if mode else {})
    found["causal"] = "true" if found.get("mode") == "causal" else "false"
    if "stations" in kept:
        found["learnt_stations"] = json.dumps(kept["stations"])
    if issued := [data.attrs["init_time"] for data in coarse if "init_time" in data.attrs]:
        # Whatever else is given of the days ahead was not known on the day of issue, unless it is a forecast too.
        others = [data.attrs.get("weather") for data in coarse if "init_time" not in data.attrs]
        said = others[0] if len(set(others)) == 1 and others[0] else "perfect"
        found |= {"init_time": issued[0], "weather": said}
    return found


def calibration_of(
    kept: dict[str, Any], deviation: bool, passes: int | None, coarse: list[xr.Dataset]
) -> tuple[Calibration | None, str]:
    """Calibration of the quantiles of a run's maps, and it in words; or None, and why they have none."""
    if not deviation:
        return None, "none: the run gives no standard deviation"
    if any("init_time" in data.attrs for data in coarse):
        return None, "none: the run is calibrated with inputs of the day itself, and these maps are of forecast ones"
    if "calibration" not in kept:
        return None, "none: the run is not calibrated; 'vadose study' calibrates runs by the stations it holds out"
    if passes is not None and passes != (calibrated := kept.get("dropout_passes") or 0):
        return None, f"none: the run is calibrated with {calibrated} passes with dropout"
    found = Calibration.from_dict(kept["calibration"])
    return found, str(found)


def inputs_of(data: xr.Dataset) -> dict[str, Any]:
    """Which part of a store is given."""
    ends = {name: [str(axis.values[0]), str(axis.values[-1])] for name, axis in data.indexes.items() if len(axis)}
    return {"sizes": dict(data.sizes), "ends": ends, "variables": sorted(map(str, data.data_vars))}
