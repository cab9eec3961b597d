"""Filling days without a satellite overpass: simple fillers here, a learnt one in `vadose.gapfill.cru`.

A filler learns from series and gives mean and standard deviation at every time, from the past alone
(``causal``) or from the whole series (``smoothed``); `fill` is the one call for all of them.
"""

from vadose.gapfill.choice import Choice, choose
from vadose.gapfill.climatology import ClimatologyAR1
from vadose.gapfill.interpolation import Interpolation
from vadose.gapfill.last_value import carry_forward
from vadose.gapfill.series import Filler, Mode, Series, fill, series_of, withhold

__all__ = [
    "Choice",
    "ClimatologyAR1",
    "Filler",
    "Interpolation",
    "Mode",
    "Series",
    "carry_forward",
    "choose",
    "fill",
    "series_of",
    "withhold",
]
