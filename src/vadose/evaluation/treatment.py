"""How series are changed before they are scored: to anomalies, and to the scale of the observations."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vadose.door.days import Period
from vadose.errors import VadoseError
from vadose.evaluation.anomalies import FEWEST_IN_WINDOW, FEWEST_YEARS, WINDOW, climatology_anomalies, window_anomalies
from vadose.evaluation.scaling import SCALINGS, scaled
from vadose.parallel.memory import release

NONE = "none"
ANOMALIES = (NONE, "window", "climatology")
SCALES = (NONE, *SCALINGS)
_SITES_AT_ONCE = 512
Array = NDArray[np.floating]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Treatment:
    """What is done to all series alike; scores of distributions are then not made.

    Attributes
    ----------
    anomalies
        ``'window'`` or ``'climatology'``, see `vadose.evaluation.anomalies`; each series has its own mean.
    climatology
        Period of the climatologies; by default all days of each series.
    scale
        How predictions are scaled to the observations, see `vadose.evaluation.scaling`; after anomalies are taken.

    Examples
    --------
    >>> Treatment("window", scale="cdf").words
    'anomalies from the mean of 35 days; scaled to the observations (cdf)'
    """

    anomalies: str = NONE
    climatology: Period | None = None
    scale: str = NONE

    def __post_init__(self) -> None:
        for option, value, known in (("anomalies", self.anomalies, ANOMALIES), ("scale", self.scale, SCALES)):
            if value not in known:
                raise VadoseError(f"{option} {value!r}: expected {', '.join(known)}")
        if self.climatology is not None:
            if self.anomalies != "climatology":
                raise VadoseError(f"a period of climatologies is given, but anomalies are {self.anomalies!r}")
            if self.climatology.last < self.climatology.first:
                raise VadoseError(f"climatology {self.climatology}: expected the first day before the last")

    @property
    def words(self) -> str:
        """For tables and reports; '' where nothing is done."""
        period = f" of {self.climatology}" if self.climatology else ""
        of_anomalies = {
            NONE: "",
            "window": f"anomalies from the mean of {WINDOW} days",
            "climatology": f"anomalies from the own climatology{period}",
        }
        of_scale = "" if self.scale == NONE else f"scaled to the observations ({self.scale})"
        return "; ".join(filter(None, [of_anomalies[self.anomalies], of_scale]))

    @property
    def needs(self) -> str:
        """What a series needs for anomalies, for errors; '' where nothing is done."""
        needs = {
            "window": f"; an anomaly needs a series of {WINDOW} days, and {FEWEST_IN_WINDOW} values in those around it",
            "climatology": f"; an anomaly needs values of {FEWEST_YEARS} years in the {WINDOW} days around it",
        }
        return needs.get(self.anomalies, "")

    def days(self, scored: pd.DatetimeIndex, recorded: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """Days that are read: those scored, and those that their anomalies are made of."""
        first, last = scored[0], scored[-1]
        if self.anomalies == "window":
            first, last = first - pd.Timedelta(days=WINDOW // 2), last + pd.Timedelta(days=WINDOW // 2)
        elif self.anomalies == "climatology":
            others = recorded if self.climatology is None else self.climatology.days
            first, last = min(first, others[0]), max(last, others[-1])
        return pd.date_range(first, last)

    def take_anomalies(self, days: pd.DatetimeIndex, series: Sequence[Array]) -> None:
        """Put anomalies into the place of series (day, site), or into that of each in an array of them."""
        if self.anomalies == NONE:
            return
        for of_days in series:
            for start in range(0, of_days.shape[1], _SITES_AT_ONCE):
                block = of_days[:, start : start + _SITES_AT_ONCE]
                values = block.astype(float)
                block[:] = (
                    window_anomalies(values)
                    if self.anomalies == "window"
                    else climatology_anomalies(values, days, self.climatology)
                )
            release(of_days)

    def rescale(self, predicted: Sequence[Array], observed: Array, common: Mask, fewest: int) -> NDArray[np.bool_]:
        """Scale series (day, site) of each run to the observations by the days ``common`` (day, site) of each site.

        A site with fewer than ``fewest`` of them is left alone. Returns (run, site): whether a series cannot be
        scaled; it is then missing.
        """
        unscaled = np.zeros((len(predicted), observed.shape[1]), bool)
        if self.scale == NONE:
            return unscaled
        for of_run, failed in zip(predicted, unscaled, strict=True):
            for site in np.flatnonzero(common.sum(axis=0) >= fewest):
                if not np.isfinite(of_run[common[:, site], site]).all():
                    continue  # a run that is left out of these days takes none from the others
                found = scaled(of_run[:, site], observed[:, site], common[:, site], self.scale)
                failed[site] = found is None
                of_run[:, site] = np.nan if found is None else found
            release(of_run)
        return unscaled
