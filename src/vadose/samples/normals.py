"""A station's normal of the day, from the days learnt from; of other stations that of the stations learnt from."""

import numpy as np
from numpy.typing import NDArray

from vadose.features.normals import fit_harmonic, normal_of

Array = NDArray[np.float32]
FEWEST_DAYS = 60
"""For a station to have a normal."""


def station_normals(observed: Array, days: NDArray[np.int64]) -> tuple[Array, Array]:
    """Normal of each day (station, time), and the standard deviation of the anomalies (station, 1).

    NaN at stations with fewer than 60 observations.

    Parameters
    ----------
    observed
        (station, time), NaN where not observed or not to be learnt from.
    days
        Since 1970-01-01 (time,).
    """
    count = np.isfinite(observed).sum(axis=1, keepdims=True)
    known = np.where(count >= FEWEST_DAYS, observed, np.float32(np.nan))
    normal = normal_of(fit_harmonic(known.T, days), days).T
    squares = np.nansum((known - normal) ** 2, axis=1, keepdims=True)
    deviation = np.sqrt(np.where(count >= FEWEST_DAYS, squares, np.nan) / np.maximum(count, 1))
    return normal.astype(np.float32), deviation.astype(np.float32)


def climatology(observed: Array, days: NDArray[np.int64]) -> tuple[Array, Array]:
    """Mean and standard deviation (station, time): a station's own normal, elsewhere that of the mean station.

    The deviation elsewhere includes that of the normals of the stations from their mean.

    Examples
    --------
    >>> days = np.arange(731)
    >>> observed = np.stack([np.full(731, 0.1), np.full(731, 0.3), np.full(731, np.nan)]).astype(np.float32)
    >>> mean, std = climatology(observed, days)
    >>> mean[:, 0].round(2).tolist(), std[:, 0].round(2).tolist()
    ([0.10000000149011612, 0.30000001192092896, 0.20000000298023224], [0.0, 0.0, 0.10000000149011612])
    """
    normal, deviation = station_normals(observed, days)
    some = np.isfinite(normal[:, 0])
    mean = normal[some].mean(axis=0, keepdims=True)
    apart = np.sqrt(np.mean(deviation[some] ** 2 + (normal[some] - mean) ** 2, axis=0, keepdims=True))
    own = some[:, None]
    found = np.where(own, normal, mean), np.where(own, np.broadcast_to(deviation, normal.shape), apart)
    return found[0].astype(np.float32), found[1].astype(np.float32)
