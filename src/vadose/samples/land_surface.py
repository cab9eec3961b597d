"""What drives a land-surface network: daily weather with its gaps, season and ground."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.compiled import compiled
from vadose.errors import VadoseError
from vadose.features.soil_water import DRIVEN_BY, Land, Water, run_water, soil_of

Array = NDArray[np.float32]

WEATHER = (
    "precipitation",
    "air_temperature_max",
    "air_temperature_min",
    "relative_humidity",
    "shortwave_radiation",
)
PARTS = ("0_10cm", "10_40cm", "40_100cm")
SOIL = tuple(f"{name}_{part}" for name in ("sand_fraction", "clay_fraction", "bulk_density") for part in PARTS)
DAILY = ("log_precipitation", "precipitation_missing", *WEATHER[1:], "weather_missing", "season_sin", "season_cos")
CLIMATE = (
    "rain",
    "wet_days",
    "temperature",
    "temperature_range",
    "day_range",
    "humidity",
    "sun",
    "dryness",
    "summer_rain",
)
FIXED = (*SOIL, "soil_known", "elevation", *CLIMATE)


@dataclass(frozen=True)
class Climate:
    """Seasonal course of the weather of P places, which fills its gaps and describes the places.

    Attributes
    ----------
    course
        Coefficients (P, variable, 3) of 1 and the sine and cosine of the day of the year, in the order of `WEATHER`.
    wet
        Share of days with at least 1 mm (P,).
    """

    course: Array
    wet: Array

    @classmethod
    def of(cls, weather: xr.Dataset) -> "Climate":
        """Least squares over the days known; where fewer than 60 are, the mean over the other places."""
        values, wave = _values(weather), _waves(pd.DatetimeIndex(weather.indexes["time"]))
        course = np.full((*values.shape[:2], 3), np.nan)
        whole = np.isfinite(values).all(axis=(1, 2))
        for some in np.array_split(np.flatnonzero(whole), 1 + whole.sum() // 64):
            together = values[some].reshape(-1, len(wave)).T
            course[some] = np.linalg.lstsq(wave, together, rcond=None)[0].T.reshape(-1, len(WEATHER), 3)
        for place in np.flatnonzero(~whole):
            for k, series in enumerate(values[place]):
                known = np.isfinite(series)
                if known.sum() >= 60:
                    course[place, k] = np.linalg.lstsq(wave[known], series[known], rcond=None)[0]
        unknown = [name for name, of in zip(WEATHER, course[..., 0].T, strict=True) if np.isnan(of).all()]
        if unknown:
            missing = ", ".join(unknown)
            raise VadoseError(f"weather: no place has 60 days of {missing}; give more days, or another source")
        course = np.where(np.isnan(course), np.nanmean(course, axis=0), course)
        rain = values[:, 0]
        wet = (rain >= 1).sum(axis=1) / np.maximum(np.isfinite(rain).sum(axis=1), 1)
        return cls(course.astype(np.float32), wet.astype(np.float32))

    def filled(self, values: NDArray[Any], days: pd.DatetimeIndex) -> NDArray[Any]:
        """Weather (P, variable, T) with the seasonal course where it is unknown."""
        return np.where(
            np.isfinite(values), values, np.maximum(self.course @ _waves(days).T.astype(np.float32), LOWEST)
        )

    def fill(self, weather: xr.Dataset) -> xr.Dataset:
        """A dataset of weather with the seasonal course where it is unknown."""
        days = pd.DatetimeIndex(weather.indexes["time"])
        filled = self.filled(_values(weather), days)
        dims = (*(dim for dim in weather[WEATHER[0]].dims if dim != "time"), "time")
        values = np.moveaxis(filled.astype(np.float32), 1, 0)
        return xr.Dataset({name: (dims, of) for name, of in zip(WEATHER, values, strict=True)}, {"time": days})

    def features(self) -> Array:
        """(P, feature) in the order of `CLIMATE`."""
        rain, high, low, humidity, sun = self.course[..., 0].T
        dryness = np.log(np.maximum(sun, 20.0) / 28.9 / np.maximum(rain, 0.1))  # in mm of water that the sun evaporates
        warm = np.hypot(*self.course[:, 1, 1:].T)
        columns = (rain, self.wet, (high + low) / 2, warm, high - low, humidity, sun, dryness, -self.course[:, 0, 2])
        return np.stack(columns, axis=1).astype(np.float32)


LOWEST = np.array([0.0, 180.0, 180.0, 1.0, 0.0], np.float32)[:, None]


@dataclass(frozen=True)
class Drivers:
    """Features of P places on T days, as `vadose.models.land_surface.LandSurface` takes them.

    Attributes
    ----------
    daily, fixed
        (P, T, feature), `DAILY`; (P, feature), `FIXED`.
    days
        (T,).
    """

    daily: Array
    fixed: Array
    days: pd.DatetimeIndex


def drivers(weather: xr.Dataset, ground: xr.Dataset | Array, climate: Climate | None = None) -> Drivers:
    """Features of the places and days of a dataset of weather.

    Parameters
    ----------
    weather
        `WEATHER` over (place, time), consecutive days, NaN where unknown.
    ground
        `SOIL` and ``elevation`` over (place); what is left out or NaN counts as unknown. Or `Drivers.fixed` itself.
    climate
        Of the places; that of the weather itself when left out.
    """
    days = pd.DatetimeIndex(weather.indexes["time"])
    if len(days) > 1 and (np.diff(days) != np.timedelta64(1, "D")).any():
        raise VadoseError(f"weather: expected consecutive days, found {len(days)} from {days[0]:%F} to {days[-1]:%F}")
    climate = climate or Climate.of(weather)
    values = _values(weather)
    known, filled = np.isfinite(values), climate.filled(values, days)
    rain = values[:, 0]
    daily = [np.log1p(np.where(known[:, 0], rain, 0.0)), ~known[:, 0], *np.moveaxis(filled[:, 1:], 1, 0)]
    daily += [1 - known[:, 1:].mean(axis=1), *(np.broadcast_to(part, rain.shape) for part in _waves(days).T[1:])]
    fixed = fixed_features(ground, climate, len(rain)) if isinstance(ground, xr.Dataset) else ground
    return Drivers(np.stack(daily, axis=-1).astype(np.float32), fixed, days)


def fixed_features(ground: xr.Dataset, climate: Climate, places: int) -> Array:
    """(P, feature) in the order of `FIXED`, NaN where unknown."""
    unknown = np.full(places, np.nan, np.float32)
    columns = [ground[name].values if name in ground else unknown for name in (*SOIL, "elevation")]
    soil, elevation = np.stack(columns[:-1], axis=1), columns[-1]
    known = np.isfinite(soil[:, [0, 3]].sum(axis=1))
    return np.column_stack([soil, known, elevation, climate.features()]).astype(np.float32)


def _values(weather: xr.Dataset) -> NDArray[Any]:
    """(P, variable, T) float32."""
    if missing := [name for name in WEATHER if name not in weather]:
        raise VadoseError(f"weather lacks {', '.join(missing)}; found {sorted(map(str, weather.data_vars))}")
    place = next(dim for dim in weather[WEATHER[0]].dims if dim != "time")
    return np.stack([weather[name].transpose(place, "time").values for name in WEATHER], axis=1).astype(np.float32)


def _waves(days: pd.DatetimeIndex) -> NDArray[Any]:
    """(T, 3): 1, sine and cosine of the day of the year, the latter highest in mid January."""
    angle = 2 * np.pi * (days.day_of_year.values - 15) / 365.25
    return np.column_stack([np.ones(len(days)), np.sin(angle), np.cos(angle)])


@dataclass(frozen=True)
class Series:
    """Series to learn from: places (P) with the weather of some of W sites.

    Attributes
    ----------
    daily
        (W, T, feature), see `Drivers`.
    site
        Of each place, where its weather stands in ``daily`` (P,).
    fixed, observed
        (P, feature) and (P, T, 3), NaN where there is no observation.
    """

    daily: Array
    site: NDArray[np.int64]
    fixed: Array
    observed: Array


def spans(observed: Array) -> NDArray[np.int64]:
    """First and last day with an observation of each place (P, 2) of (P, T, 3)."""
    known = np.asarray(np.isfinite(observed).any(axis=-1))
    return np.column_stack([known.argmax(axis=1), known.shape[1] - 1 - known[:, ::-1].argmax(axis=1)])


def taught(weather: xr.Dataset, climate: Climate, made: Drivers, soils: NDArray[Any], many: int, seed: int) -> Series:
    """Moisture that the water balance simulates at drawn soils and vegetations under the weather of the sites.

    Parameters
    ----------
    made
        The features of the sites.
    soils
        Known soils to draw from, (n, 9) in the order of `SOIL`; each is disturbed.
    """
    generator = np.random.default_rng(seed)
    site = generator.integers(0, len(made.daily), many)
    drawn = soils[generator.integers(0, len(soils), many)]
    drawn = drawn + generator.normal(0, [0.06] * 3 + [0.04] * 3 + [0.08] * 3, (many, 9))
    sand, clay, density = (part.T for part in np.split(drawn, 3, axis=1))
    sand, clay, density = sand.clip(0.03, 0.95), clay.clip(0.02, 0.6), density.clip(0.8, 1.9)
    soil = soil_of(sand, clay)
    porosity = ((1 - density / 2.65) * generator.uniform(0.85, 1.05, many)).clip(0.28, 0.65)
    soil = soil.scaled(porosity / soil.porosity, generator.lognormal(0, 0.7, many))
    land = Land(
        thickness=np.array([[100.0], [300.0], [600.0]]) * generator.uniform(0.8, 1.3, (3, many)),
        roots=generator.dirichlet([3, 3, 2], many).T,
        link=generator.lognormal(0, 0.8, many),
        deep=0.25 * generator.lognormal(0, 1, many),
        winter=generator.uniform(0.1, 0.5, many),
        summer=generator.uniform(0.2, 0.9, many),
        demand=generator.uniform(0.45, 1.0, many),
        caught=generator.uniform(0, 2, many),
    )
    days = made.days
    filled = climate.filled(_values(weather), days)[site]
    driving = dict(zip(DRIVEN_BY, (filled[:, 0], filled[:, 1:3].mean(axis=1), filled[:, 4]), strict=True))
    water = Water(soil.field_capacity * generator.uniform(0.7, 1, many), np.zeros(many))
    moisture = run_water(soil, land, water, driving, (1 - _waves(days)[:, 2]) / 2)[0]
    fixed = made.fixed[site].copy()
    fixed[:, : len(SOIL)], fixed[:, len(SOIL)] = np.concatenate([sand, clay, density]).T, 1.0
    hidden = generator.random(many) < 0.2
    fixed[hidden, : len(SOIL)], fixed[hidden, len(SOIL)] = np.nan, 0.0
    # No day counts whose weather was not measured, as no station observes then.
    moisture[made.daily[site][..., 1] > 0] = np.nan
    return Series(made.daily, site, fixed, moisture)


def disturbed(daily: Array, generator: np.random.Generator) -> Array:
    """Daily features (N, T, `DAILY`) of gauges as if their weather were a grid's, with errors drawn for each sequence.

    Of each day's rain a share falls on the day before or after it, for days end at other hours; the rest is smoothed
    and multiplied by log-normal errors of the sequence and of the day; light rain is missed, and drizzle falls on dry
    days. Temperatures, humidity and sunshine have errors of the sequence and of the day. Unknown weather stays unknown.
    """
    many, days = daily.shape[:2]

    def error(of_place: float, of_day: float) -> Array:
        sizes = (of_place, (many, 1)), (of_day, (many, days))
        return np.asarray(sum(generator.normal(0, *size) for size in sizes), np.float32)

    found = daily.copy()
    rain, unknown = np.expm1(daily[..., 0]), daily[..., 1] > 0
    before, after = (np.roll(rain, by, axis=1) for by in (1, -1))
    share, earlier = generator.uniform(0, 0.45, (many, 1)), generator.random((many, 1)) < 0.5
    rain = (1 - share) * rain + share * np.where(earlier, after, before)
    rain = rain * np.exp(error(0.15, 0.6) - 0.5 * (0.15**2 + 0.6**2))
    wet = rain > 0.1
    missed = wet & (generator.random(rain.shape) < 0.3 * np.exp(-rain / 3))
    false = ~wet & (generator.random(rain.shape) < 0.08)
    rain = np.where(missed, 0.0, np.where(false, generator.exponential(1.5, rain.shape), rain))
    found[..., 0] = np.where(unknown, daily[..., 0], np.log1p(rain))
    warm = error(1.0, 0.8)
    found[..., 2] += warm + error(0.5, 0.6)
    found[..., 3] += warm + error(0.5, 0.6)
    found[..., 4] = np.clip(found[..., 4] + error(4.0, 6.0), 1.0, 100.0)
    found[..., 5] = found[..., 5] * np.exp(error(0.06, 0.15))
    return found


EVIDENCE = (
    *("known", "last", "freshness", "log_age", "week", "month", "all", "log_days", "amplitude", "swing", "since"),
)
TOLD = 10
"""Values of each layer and day that `evidence` gives."""
"""What the own observations of a layer tell, see `evidence`."""


def evidence(mean: Array, observed: Array) -> Array:
    """What is known at the end of each day of the departures of own observations from the estimate: (P, T, 3, 10).

    Whether any is known; the last departure, and its age in days; their means with weights that fall to 1/e in 7 and
    30 days, and of all; how many; the standard deviation of the observations over that of the estimates of the same
    days; the mean of those estimates, and the estimate of the last of them.

    Parameters
    ----------
    mean, observed
        Estimates without observations, and observations, NaN where there is none, (P, T, 3) [m3 m-3].
    """
    found = np.zeros((*mean.shape, TOLD), np.float32)
    _evidence(mean, observed, np.exp(-1 / np.array([7.0, 30.0])), found)
    return found


@compiled
def _evidence(mean: Array, observed: Array, keeps: NDArray[Any], found: Array) -> None:
    for place in range(mean.shape[0]):
        for layer in range(mean.shape[2]):
            n, last, age, latest = 0, 0.0, 0.0, 0.0
            o, s, oo, ss = 0.0, 0.0, 0.0, 0.0
            weighted, weight = np.zeros(2), np.zeros(2)
            for day in range(mean.shape[1]):
                weighted *= keeps
                weight *= keeps
                age += 1
                here, truth = mean[place, day, layer], observed[place, day, layer]
                if np.isfinite(truth):
                    n, last, age, latest = n + 1, truth - here, 0.0, here
                    o, s, oo, ss = o + truth, s + here, oo + truth * truth, ss + here * here
                    weighted += last
                    weight += 1
                if n:
                    of_day = found[place, day, layer]
                    of_day[0], of_day[1], of_day[2] = 1.0, last, age
                    of_day[3], of_day[4], of_day[5] = weighted[0] / weight[0], weighted[1] / weight[1], (o - s) / n
                    of_day[6] = n
                    # Shrunk to what the estimate has while few days are known.
                    spread = max(oo / n - (o / n) ** 2, 0.0) * n + 30 * 2.5e-3
                    of_day[7] = np.sqrt(spread / (max(ss / n - (s / n) ** 2, 0.0) * n + 30 * 2.5e-3))
                    of_day[8], of_day[9] = s / n, latest


def evidence_features(known: Array, lead: NDArray[Any] | int, mean: Array) -> Array:
    """What `vadose.models.land_surface.Blend` is given of evidence (..., 3, 10), `EVIDENCE` (..., 3, 11).

    Parameters
    ----------
    lead
        Days from the end of the day of the evidence to the day that is estimated, to broadcast to (...).
    mean
        The estimate of that day (..., 3).
    """
    there, last, age, week, month, all_, days, amplitude, centre, latest = np.moveaxis(known, -1, 0)
    age = age + np.asarray(lead)[..., None]
    columns = [there, last, np.exp(-age / 10), np.log1p(age), week, month, all_, np.log1p(days)]
    columns += [amplitude - 1, (mean - centre) * (amplitude - 1), mean - latest]
    return np.asarray(np.stack(np.broadcast_arrays(*columns), axis=-1) * there[..., None], np.float32)
