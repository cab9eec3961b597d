"""Days ahead of many cells: past years go on after the ensemble at some of them, and what they add is spread to all.

Each cell is run with each member of the ensemble, and after its end with the weather usual for the season. One of 16
cells is run with all chains of weather, whose past years depart from that; the departures of the four nearest of these
are added in each cell. While the ensemble lasts nothing is added.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray

from vadose.predict.outlook.chains import Plan, chains
from vadose.predict.outlook.kept import Known
from vadose.predict.outlook.moisture import Array, Mixture
from vadose.samples.land_surface import WEATHER

SPACING = 4
"""Edge of the square of cells of which one is run with all chains."""
NEAREST = 4


@dataclass(frozen=True)
class Sample:
    """Cells that are run with all chains.

    Attributes
    ----------
    at
        Where they stand among the places (S,).
    near, share
        The nearest of them of each place, and their shares (place, nearest).
    """

    at: NDArray[np.int64]
    near: NDArray[np.int64]
    share: NDArray[np.float32]

    @classmethod
    def of(cls, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> "Sample":
        """Of each square the cell nearest to its middle; places are named by row and column.

        Examples
        --------
        >>> rows, columns = np.divmod(np.arange(64), 8)
        >>> sample = Sample.of(rows, columns)
        >>> sample.at.tolist(), sample.near.shape, sample.near[0, 0].item()
        ([9, 13, 41, 45], (64, 4), 0)
        """
        squares = np.stack([rows // SPACING, columns // SPACING])
        off = np.hypot(rows % SPACING - (SPACING - 1) / 2, columns % SPACING - (SPACING - 1) / 2)
        order = np.lexsort((off, *squares))
        _, first = np.unique(squares[:, order], axis=1, return_index=True)
        at = np.sort(order[first])
        apart = np.hypot(rows[:, None] - rows[at], columns[:, None] - columns[at])
        near = np.argsort(apart, axis=1, kind="stable")[:, :NEAREST]
        share = 1 / (np.take_along_axis(apart, near, axis=1) ** 2 + 0.01)
        return cls(at, near, (share / share.sum(axis=1, keepdims=True)).astype(np.float32))


def distributions(
    known: Known,
    recent: xr.Dataset,
    ahead: xr.Dataset | None,
    plan: Plan,
    sample: Sample,
    days: pd.DatetimeIndex,
    *,
    rounded: bool = False,
) -> Mixture:
    """Distributions of the places on days ahead.

    Parameters
    ----------
    recent
        Weather (time, place) that holds the days from the state kept on to the newest.
    ahead
        Weather of the ensemble (member, time, place) from the day after on; None where there is none.
    rounded
        Multiply in bfloat16, which changes means by 0.0002 m3 m-3.
    """
    later = plan.days[plan.of_ensemble :]
    usual = recent.isel(time=[0] * len(later)).assign_coords(time=later) * np.nan
    usual = known.end.climate.fill(usual).expand_dims("member")
    if ahead is not None and plan.of_ensemble:
        members = ahead[[*WEATHER]].reset_coords(drop=True).drop_vars("member", errors="ignore")
        members = members.isel(time=slice(0, plan.of_ensemble))
        usual = xr.concat([members, usual.isel(member=[0] * members.sizes["member"])], "time")
    with torch.autocast("cpu", torch.bfloat16, enabled=rounded):
        past = known.end.ahead(recent.sel(time=slice(known.end.day + pd.Timedelta(days=1), None)), days[:0])
        assert past.end is not None
        alone = past.end.ahead(usual, days)
        if not len(later):
            return alone
        some = None if ahead is None else ahead.isel(place=sample.at)
        chained = past.end.of(sample.at).ahead(chains(known.spells, some, plan), days)
    member = np.maximum(plan.member, 0)
    means, deviations = alone.means[..., member], alone.deviations[..., member]
    departs = (chained.means - means[sample.at])[sample.near]
    wider = (chained.deviations / deviations[sample.at])[sample.near]
    share = sample.share[:, :, None, None, None]
    means += _together(departs, share)
    return Mixture(chained.weights, means, deviations * (share * wider).sum(axis=1), days)


def _together(departs: Array, share: Array) -> Array:
    """Means over the nearest (place, nearest, day, layer, chain), with the spread over the chains of a single one."""
    mean = (share * departs).sum(axis=1)
    usual = np.sqrt((share[..., 0] * departs.var(axis=-1)).sum(axis=1))[..., None]
    middle = mean.mean(axis=-1, keepdims=True)
    return np.asarray(
        middle + (mean - middle) * (usual / np.maximum(mean.std(axis=-1, keepdims=True), 1e-6)).clip(1, 2)
    )
