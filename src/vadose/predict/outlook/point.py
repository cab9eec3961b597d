"""The outlook of places: estimates, forecasts, percentiles and drought classes from their weather."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtri

from vadose.predict.outlook.chains import REFERENCE, Plan, chains
from vadose.predict.outlook.climatology import LEVELS, WINDOW, day_of_year, local_climatology
from vadose.predict.outlook.moisture import LAYERS, Mixture
from vadose.predict.outlook.percentiles import QUANTILES, THRESHOLDS, drought_class, percentile

Array = NDArray[np.floating[Any]]
Estimate = Callable[[xr.Dataset, xr.Dataset, Array | None], Mixture]
"""Moisture from weather, ground and own observations: `vadose.predict.outlook.moisture.soil_moisture` of networks."""
SHOWN = 180
"""Days before the outlook that are kept."""
TOGETHER = 48
"""Places that are estimated at once, over all years."""
NORMAL = (0.02, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 0.7, 0.75, 0.95)
"""Levels of the climatology that are kept; those of the drought classes are among them."""
_GOLDEN = 0.6180339887498949


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
    r"""Moisture of places on days up to the last one ahead, against their own years 1991-2020.

    The climatology is of the model, driven by the same source of weather at the same place: of its mean on all days of
    1991-2020 within 15 days of the day of the year. An error of a place's level is in both, so it cancels in
    percentiles and classes; of the deviation :math:`\sigma` only a share :math:`c` counts there, ``changing``
    over the place's usual deviation. The
    probability of a class is that of the distribution with :math:`c\,\sigma` below the quantile of the past days, each
    with an error of its own :math:`c\,\sigma`.

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
        parts.append(_outlook(estimate, part, plan, days, np.asarray(changing, np.float32)))
        progress(sum(of.sizes["place"] for of in parts) / places.past.sizes["place"])
    joined = xr.concat(parts, "place") if len(parts) > 1 else parts[0]
    at = {name: ("place", places.past[name].values) for name in ("lat", "lon")}
    return joined.assign_coords(at)


def _outlook(estimate: Estimate, places: Places, plan: Plan, days: pd.DatetimeIndex, changing: Array) -> xr.Dataset:
    past = estimate(places.past, places.ground, places.observed)
    future = past.ahead(chains(places.past, places.ahead, plan))
    shown = [_on(mixture, days) for mixture in (past, future)]
    alike = past if places.observed is None else past.as_known()
    usual = np.sqrt(np.mean(alike.deviation**2, axis=1))
    changing = np.minimum(changing / usual, 1.0).astype(np.float32)
    normal, disturbed = _climatologies(alike, days, changing)
    found = _described(shown, changing, days)
    # The forms of `percentile`: a row a place, a column a layer.
    as_forecast = xr.Dataset(
        {"soil_moisture": found.soil_moisture.transpose("time", "place", "layer").expand_dims("init_time")}
    ).rename(time="lead_time", place="y", layer="x")
    as_forecast = as_forecast.assign_coords(init_time=days[:1], lead_time=days - days[0]).drop_vars("x")
    share = percentile(as_forecast, normal).isel(init_time=0).compute()
    dims = {"y": "place", "x": "layer", "lead_time": "time"}
    share = share.rename(dims).transpose("place", "time", "layer").reset_coords(drop=True).drop_vars("time")
    at = np.searchsorted(normal.dayofyear.values, day_of_year(days.values))
    found["soil_moisture_percentile"] = share
    found["drought_class"] = drought_class(share)
    kept = normal["quantile"].sel(level=list(NORMAL), method="nearest").isel(dayofyear=at)
    found["normal"] = (("time", "level", "place", "layer"), kept.values.astype(np.float32))
    found["drought_probability"] = _probability(shown, disturbed, at, changing)
    found["normal"].attrs = {"long_name": "quantile of the model's soil moisture 1991-2020", "units": "m3 m-3"}
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


def _described(shown: Sequence[Mixture], changing: Array, days: pd.DatetimeIndex) -> xr.Dataset:
    """Mean, deviation and quantiles of the days before and ahead."""
    of_days, of_quantile = ("place", "time", "layer"), ("quantile", "place", "time", "layer")
    given_level = [_given_level(mixture, changing) for mixture in shown]

    def joined(values: Sequence[Array], axis: int) -> Array:
        return np.concatenate(values, axis=axis).astype(np.float32)

    moisture = {"units": "m3 m-3", "standard_name": "volume_fraction_of_condensed_water_in_soil"}
    named = "quantile of soil moisture"
    return xr.Dataset(
        {
            "soil_moisture": (of_days, joined([m.mean for m in shown], 1), moisture),
            "soil_moisture_std": (of_days, joined([m.deviation for m in shown], 1)),
            "soil_moisture_quantile": (
                of_quantile,
                joined([m.quantile(QUANTILES) for m in shown], 2),
                moisture | {"long_name": named},
            ),
            "soil_moisture_quantile_given_level": (
                of_quantile,
                joined([m.quantile(QUANTILES) for m in given_level], 2),
                moisture | {"long_name": f"{named} if the place's level were right"},
            ),
        },
        coords={"time": days, "layer": list(LAYERS), "quantile": ("quantile", list(QUANTILES), {"units": "1"})},
    )


def _climatologies(past: Mixture, days: pd.DatetimeIndex, changing: Array) -> tuple[xr.Dataset, xr.Dataset]:
    """Quantiles near each day of the year of the model's mean, and of the mean with an error of its own."""
    first, last = f"{REFERENCE[0]}-01-01", f"{REFERENCE[1]}-12-31"
    inside = (past.days.year >= REFERENCE[0]) & (past.days.year <= REFERENCE[1])
    mean = np.moveaxis(past.mean[:, inside], 1, 0)
    deviation = np.moveaxis(past.deviation[:, inside] * changing[:, None], 1, 0)
    # Evenly spread errors, the same at all places, so that maps are smooth; within any window they are normal.
    error = ndtri((0.5 + _GOLDEN * np.arange(len(mean))) % 1.0).astype(np.float32)[:, None, None]
    wanted, levels = np.unique(day_of_year(days.values)), tuple(sorted({*LEVELS, *NORMAL}))

    # Both in one go: days near a day of the year are looked up once.
    values = np.concatenate([mean, np.maximum(mean + deviation * error, 0.0)], axis=2).astype(np.float32)
    series = xr.DataArray(values, {"time": past.days[inside]}, ("time", "y", "x"))
    made = local_climatology(series, first=first, last=last, window=WINDOW, levels=levels, days=wanted)
    made = made.compute(scheduler="synchronous")
    return made.isel(x=slice(0, len(LAYERS))), made.isel(x=slice(len(LAYERS), None))


def _probability(
    shown: Sequence[Mixture], disturbed: xr.Dataset, at: NDArray[np.int64], changing: Array
) -> xr.DataArray:
    """Probability of each drought class or a worse one."""
    thresholds = disturbed["quantile"].sel(level=np.array(THRESHOLDS) / 100, method="nearest").isel(dayofyear=at)
    values = thresholds.transpose("level", "y", "dayofyear", "x").values
    found, start = [], 0
    for mixture in shown:
        some = slice(start, start + len(mixture.days))
        given_level = _given_level(mixture, changing)
        found.append(np.stack([given_level.below(of[:, some]) for of in values]))
        start = some.stop
    return xr.DataArray(
        np.concatenate(found, axis=2).astype(np.float32),
        dims=("drought_threshold", "place", "time", "layer"),
        attrs={"long_name": "probability that the drought class or a worse one holds", "units": "1"},
    )
