"""Weather of the days ahead of an outlook: an ensemble while it lasts, then past years that resemble its end."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError

REFERENCE = (1991, 2020)
"""Years of the climatology, and those whose weather goes on where no forecast reaches."""
MANY = 32
"""Chains of weather an outlook has at least, where an ensemble is followed by past years."""
RECENT = 15
"""Days at the ensemble's end that past years are compared with."""
RAIN, HEAT = "precipitation", ("air_temperature_max", "air_temperature_min")


@dataclass(frozen=True)
class Plan:
    """Which weather each chain has.

    Attributes
    ----------
    member
        Position of the ensemble's member of each chain; -1 where there is no ensemble.
    year
        Past year that goes on after it.
    days
        Days ahead, and how many of them are the ensemble's.
    """

    member: NDArray[np.int64]
    year: NDArray[np.int64]
    days: pd.DatetimeIndex
    of_ensemble: int

    def told(self) -> str:
        """In words."""
        members = len(np.unique(self.member))
        years = f"past years {self.year.min()}-{self.year.max()}"
        if not self.of_ensemble:
            return f"{len(self.year)} {years} for all days, each with equal weight: no weather forecast was used"
        if self.of_ensemble == len(self.days):
            return f"{members} members of the ensemble for all days"
        return (
            f"{members} members of the ensemble up to {self.days[self.of_ensemble - 1]:%Y-%m-%d}, then "
            f"{len(self.year)} {years}, drawn by likeness of rain and temperature to the ensemble's last {RECENT} days"
        )


def plan_chains(past: xr.Dataset, ahead: xr.Dataset | None, last: pd.Timestamp, *, seed: int = 0) -> Plan:
    r"""Choose the past years that go on after the members of an ensemble.

    Past years of 1991-2020 are compared with the last 15 days of a member, on the same days of the year: with
    :math:`r` the log of one plus their rain, :math:`T` their mean temperature, and standard deviations over the years,
    :math:`d^2 = ((r - r_m) / s_r)^2 + ((T - T_m) / s_T)^2`. Each member goes on with ``ceil(32 / members)`` years,
    drawn without repetition with weights :math:`e^{-d^2 / 2}`. Without an ensemble all years have equal weight. Means
    over places decide, so that all cells of a map have the same years.

    Parameters
    ----------
    past
        Weather (time, place) of the years and up to the day before the first one ahead.
    ahead
        Weather of an ensemble (member, time, place) from that day on; None where there is none.
    last
        Last day ahead.
    seed
        Of the draws.

    Raises
    ------
    VadoseError
        When the past has fewer than two of the years, or the ensemble begins on another day.
    """
    first = past.indexes["time"][-1] + pd.Timedelta(days=1)
    days = pd.date_range(first, last)
    known = past.indexes["time"]
    years = [
        year
        for year in range(REFERENCE[0], REFERENCE[1] + 1)
        if known[0] <= _in_year(first, year) - pd.Timedelta(days=RECENT)
        and _in_year(first, year) + (last - first) <= min(known[-1], pd.Timestamp(REFERENCE[1], 12, 31))
    ]
    if len(years) < 2:
        raise VadoseError(
            f"outlook: the weather holds {known[0]:%Y-%m-%d} .. {known[-1]:%Y-%m-%d}, {len(years)} whole years of "
            f"{REFERENCE[0]}-{REFERENCE[1]}; two or more are needed"
        )
    if ahead is None:
        return Plan(np.full(len(years), -1), np.array(years), days, 0)
    forecast = ahead.indexes["time"]
    if forecast[0] != first:
        raise VadoseError(f"outlook: the weather ahead begins on {forecast[0]:%Y-%m-%d}, expected {first:%Y-%m-%d}")
    members, reach = ahead.sizes["member"], min(len(forecast), len(days))
    if reach == len(days):
        return Plan(np.arange(members), np.zeros(members, np.int64), days, reach)
    end = ahead.isel(time=slice(max(reach - RECENT, 0), reach))
    like = _likeness(past, end, years)
    random, each = np.random.default_rng([seed, int(first.strftime("%Y%m%d"))]), -(-MANY // members)
    # Gumbel's way of drawing without repetition: the highest of log weights with noise.
    order = np.argsort(-(np.log(like) + random.gumbel(size=like.shape)), axis=1)[:, : min(each, len(years))]
    return Plan(np.repeat(np.arange(members), order.shape[1]), np.array(years)[order.ravel()], days, reach)


def chains(past: xr.Dataset, ahead: xr.Dataset | None, plan: Plan) -> xr.Dataset:
    """Weather of the chains (member, time, place): each its member's, then that of its past year on the same days."""
    names, parts, end = [str(name) for name in past.data_vars], [], plan.of_ensemble
    later, known = plan.days[end:], past.indexes["time"]
    if ahead is not None and end:
        parts.append(ahead[names].isel(member=plan.member, time=slice(0, end)))
    if len(later):
        spells = [
            known.get_indexer(pd.date_range(_in_year(later[0], int(year)), periods=len(later))) for year in plan.year
        ]
        parts.append(past[names].isel(time=xr.DataArray(spells, dims=("member", "when"))).drop_vars("time"))
        parts[-1] = parts[-1].rename(when="time").assign_coords(time=later)
    return xr.concat([part.reset_coords(drop=True).drop_vars("member", errors="ignore") for part in parts], "time")


def _likeness(past: xr.Dataset, end: xr.Dataset, years: Sequence[int]) -> NDArray[np.float64]:
    """Weights (member, year) of past years by the likeness of the same days."""
    place = [dim for dim in end.dims if dim not in ("time", "member")]

    def nature(weather: xr.Dataset) -> xr.Dataset:
        rain = np.log1p(weather[RAIN].sum("time").mean(place))
        heat = weather[[*HEAT]].to_array("of").mean(["of", "time", *place])
        return xr.Dataset({"rain": rain, "heat": heat})

    first, number = end.indexes["time"][0], end.sizes["time"]
    days = past.indexes["time"]
    spells = [
        nature(past.isel(time=days.get_indexer(pd.date_range(_in_year(first, year), periods=number)))) for year in years
    ]
    then, now = xr.concat(spells, "year"), nature(end)
    apart = ((then - now) / then.std("year").clip(min=1e-6)).to_array("of")
    return np.exp(-0.5 * (apart**2).sum("of").transpose("member", "year").values) + 1e-12


def _in_year(day: pd.Timestamp, year: int) -> pd.Timestamp:
    """The same day of another year; 28 February for 29 February."""
    return day + pd.DateOffset(years=year - day.year)
