"""The outlook of places: estimates, forecasts, percentiles and drought classes from their weather."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.predict.outlook.chains import Plan, chains
from vadose.predict.outlook.moisture import LAYERS, Mixture
from vadose.predict.outlook.normals import Normals
from vadose.predict.outlook.percentiles import QUANTILES, THRESHOLDS, drought_class, percentiles

Array = NDArray[np.floating[Any]]
Estimate = Callable[[xr.Dataset, xr.Dataset, Array | None], Mixture]
"""Moisture from weather, ground and own observations: `vadose.predict.outlook.moisture.soil_moisture` of networks."""
SHOWN = 180
"""Days before the outlook that are kept."""
TOGETHER = 48
"""Places that are estimated at once, over all years."""
NORMAL = (0.02, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 0.7, 0.75, 0.95)
"""Levels of the climatology that are kept; those of the drought classes are among them."""


@dataclass(frozen=True)
class Places:
    """What is known of places.

    Attributes
    ----------
    past
        Weather (time, place) up to the last day known.
    ground
        Soil and elevation (place).
    ahead
        Weather of an ensemble (member, time, place) from the day after on; None where there is none.
    observed
        Own observations (place, time, layer) [m3 m-3]; None where there are none.
    """

    past: xr.Dataset
    ground: xr.Dataset
    ahead: xr.Dataset | None = None
    observed: Array | None = None

    def pieces(self, number: int) -> Iterator["Places"]:
        """Some of the places at a time."""
        for start in range(0, self.past.sizes["place"], number):
            some = {"place": slice(start, start + number)}
            yield Places(
                self.past.isel(some),
                self.ground.isel(some),
                None if self.ahead is None else self.ahead.isel(some),
                None if self.observed is None else self.observed[some["place"]],
            )


def outlook_of_places(
    estimate: Estimate,
    places: Places,
    plan: Plan,
    days: pd.DatetimeIndex,
    *,
    changing: Sequence[float] = (np.inf, np.inf, np.inf),
    progress: Callable[[float], None] = lambda share: None,
) -> xr.Dataset:
    """Moisture of places on days up to the last one ahead, against their own years 1991-2020.

    The climatology is of the model, driven by the same source of weather at the same place, see
    `vadose.predict.outlook.normals.Normals`.

    Parameters
    ----------
    estimate
        The networks.
    plan
        Which weather each chain has, see `vadose.predict.outlook.chains.plan_chains`.
    days
        Days wanted, up to the last one of the plan.
    changing
        Error of the changes of each layer, without that of the place's level [m3 m-3].

    Returns
    -------
    xarray.Dataset
        Over (place, time, layer): ``soil_moisture`` and ``soil_moisture_std`` [m3 m-3], ``soil_moisture_quantile``
        (quantile), ``soil_moisture_quantile_given_level`` (quantile), without the error of the level,
        ``soil_moisture_percentile`` [percent], ``drought_class``, ``drought_probability`` (drought_threshold), and
        ``normal`` (level), quantiles of the model's 1991-2020.

    Raises
    ------
    VadoseError
        When the weather does not hold 1991-2020.
    """
    parts = []
    for part in places.pieces(TOGETHER):
        parts.append(_outlook(estimate, part, plan, days, changing))
        progress(sum(of.sizes["place"] for of in parts) / places.past.sizes["place"])
    joined = xr.concat(parts, "place") if len(parts) > 1 else parts[0]
    at = {name: ("place", places.past[name].values) for name in ("lat", "lon")}
    return joined.assign_coords(at)


def _outlook(
    estimate: Estimate, places: Places, plan: Plan, days: pd.DatetimeIndex, changing: Sequence[float]
) -> xr.Dataset:
    past = estimate(places.past, places.ground, places.observed)
    future = past.ahead(chains(places.past, places.ahead, plan))
    normals = Normals.of(past if places.observed is None else past.as_known(), changing)
    shown = [_on(mixture, days) for mixture in (past, future)]
    found, given_level = compared(shown, normals, days), [_given_level(of, normals.changing) for of in shown]
    values = np.concatenate([of.quantile(QUANTILES) for of in given_level], axis=2)
    told = found.soil_moisture_quantile.attrs | {
        "long_name": "quantile of soil moisture if the place's level were right"
    }
    found["soil_moisture_quantile_given_level"] = (("quantile", "place", "time", "layer"), values, told)
    return found.transpose("place", "time", "layer", ...)


def compared(shown: Sequence[Mixture], normals: Normals, days: pd.DatetimeIndex) -> xr.Dataset:
    """What `outlook_of_places` gives, without quantiles given the level, of distributions one after another in time.

    The probability of a class is that of the distribution with the share c of its deviation, below the quantile of the
    past days, each with an error of its own.
    """
    given_level = [_given_level(mixture, normals.changing) for mixture in shown]
    found = _described(shown, days)
    quantile, disturbed, count = normals.near(days)
    mean = found.soil_moisture.transpose("place", "layer", "time").values
    among = np.broadcast_to(count, mean.shape)
    share = percentiles(mean, quantile, among, day=np.arange(len(days)), level=normals.levels)
    told = {"long_name": "percentile of soil moisture in the model's 1991-2020", "units": "percent"}
    found["soil_moisture_percentile"] = (("place", "layer", "time"), share, told)
    found["drought_class"] = drought_class(found["soil_moisture_percentile"])
    kept = [int(np.argmin(np.abs(normals.levels - level))) for level in NORMAL]
    said = {"long_name": "quantile of the model's soil moisture 1991-2020", "units": "m3 m-3"}
    found["normal"] = (("place", "layer", "time", "level"), quantile[..., kept], said)
    of_thresholds, start = np.transpose(disturbed, (3, 0, 2, 1)), 0
    worse = []
    for mixture in given_level:
        some = slice(start, start + len(mixture.days))
        worse.append(np.stack([mixture.below(of[:, some]) for of in of_thresholds]))
        start = some.stop
    found["drought_probability"] = (
        ("drought_threshold", "place", "time", "layer"),
        np.concatenate(worse, axis=2).astype(np.float32),
        {"long_name": "probability that the drought class or a worse one holds", "units": "1"},
    )
    found = found.assign_coords(
        level=("level", list(NORMAL), {"units": "1"}),
        drought_threshold=("drought_threshold", np.array(THRESHOLDS), {"units": "percent"}),
    )
    return found.transpose("place", "time", "layer", ...)


def _on(mixture: Mixture, days: pd.DatetimeIndex) -> Mixture:
    """The days of a mixture that are wanted."""
    at = np.flatnonzero(mixture.days.isin(days))
    return replace(
        mixture, means=mixture.means[:, at], deviations=mixture.deviations[:, at], days=mixture.days[at], end=None
    )


def _given_level(mixture: Mixture, changing: Array) -> Mixture:
    """Without the error of the place's level."""
    return replace(mixture, deviations=(mixture.deviations * changing[:, None, :, None]).astype(np.float32))


def _described(shown: Sequence[Mixture], days: pd.DatetimeIndex) -> xr.Dataset:
    """Mean, deviation and quantiles of the days before and ahead."""
    of_days, of_quantile = ("place", "time", "layer"), ("quantile", "place", "time", "layer")

    def joined(values: Sequence[Array], axis: int) -> Array:
        return np.concatenate(values, axis=axis).astype(np.float32)

    moisture = {"units": "m3 m-3", "standard_name": "volume_fraction_of_condensed_water_in_soil"}
    return xr.Dataset(
        {
            "soil_moisture": (of_days, joined([m.mean for m in shown], 1), moisture),
            "soil_moisture_std": (of_days, joined([m.deviation for m in shown], 1)),
            "soil_moisture_quantile": (
                of_quantile,
                joined([m.quantile(QUANTILES) for m in shown], 2),
                moisture | {"long_name": "quantile of soil moisture"},
            ),
        },
        coords={"time": days, "layer": list(LAYERS), "quantile": ("quantile", list(QUANTILES), {"units": "1"})},
    )
