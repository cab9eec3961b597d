r"""Scores of the members of an ensemble themselves, rather than of the Gaussian that has their mean and deviation.

With members :math:`x_1 \dots x_m`, their mean :math:`\bar x` and deviation :math:`s` (divisor :math:`m - 1`), and
:math:`o` observed, over the days of a site

- ``crps``, the fair one, which does not depend on how many members there are: the mean of
  :math:`\frac1m \sum_i |x_i - o| - \frac{1}{2 m (m - 1)} \sum_{i,j} |x_i - x_j|` (Ferro 2014, doi:10.1002/qj.2270);
- ``spread``, the mean of :math:`s`, and ``rmse``, :math:`\sqrt{\overline{(\bar x - o)^2}}`;
- ``spread_error``, :math:`\sqrt{\overline{\frac{m+1}{m} s^2}} \, / \, \mathrm{rmse}`: 1 where members and observation
  are alike, less where the ensemble is too sure (Fortin et al. 2014, doi:10.1175/JHM-D-14-0008.1);

and over days and sites how often the observation has each rank among the members (Hamill 2001,
doi:10.1175/1520-0493(2001)129<0550:IORHFV>2.0.CO;2). Members that are missing on a day are left out of it; a day needs
two. Ranks are of the days that have all members; among members equal to the observation, at single precision, its place
is drawn, by a generator of the seed `SEED`.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from vadose.evaluation.paired import Row

Array = NDArray[np.floating]
SEED = 0
COLUMNS = ["crps", "spread", "rmse", "spread_error", "n_members", "n_sites", "n_pairs", "n_pairs_lacking_members"]
RANK_COLUMNS = ["rank", "count", "share", "n_pairs", "seed"]


def fair_crps(members: Array, observed: Array) -> Array:
    """Fair CRPS of each ensemble (..., member), of the members that are there; NaN of fewer than two.

    Examples
    --------
    >>> fair_crps(np.array([0.1, 0.3, np.nan]), np.array(0.2)).round(6).item()  # (0.1 + 0.1) / 2 - 0.4 / 4
    0.0
    """
    number = np.isfinite(members).sum(axis=-1)
    place = 1 + np.arange(members.shape[-1])
    # Twice the sum over k of (2 k - m - 1) times the k-th smallest is that of all |x_i - x_j|; those missing are last.
    apart = np.nansum((2 * place - number[..., None] - 1) * np.sort(members, axis=-1), axis=-1)
    away = np.nansum(np.abs(members - observed[..., None]), axis=-1)
    some = np.maximum(number, 2)
    found: Array = np.where(number > 1, away / some - apart / (some * (some - 1)), np.nan)
    return found


def ranks(members: Array, observed: Array, draw: np.random.Generator) -> NDArray[np.int64]:
    """How many of the members (..., member) are below each observation, ties drawn.

    Examples
    --------
    >>> ranks(np.array([[0.1, 0.3], [0.1, 0.3]]), np.array([0.2, 0.4]), np.random.default_rng(0)).tolist()
    [1, 2]
    """
    x, o = members.astype(np.float32), observed.astype(np.float32)[..., None]
    found: NDArray[np.int64] = (x < o).sum(axis=-1) + draw.integers(0, (x == o).sum(axis=-1), endpoint=True)
    return found


def ensemble_rows(blocks: Iterable[tuple[Array, Array]]) -> tuple[Row, list[Row]]:
    """The median over sites of the scores, and the counts of ranks, of blocks of days.

    Parameters
    ----------
    blocks
        Members (day, site, member), and observed (day, site), NaN where it does not count.
    """
    draw = np.random.default_rng(SEED)
    of_sites, counts, lacking = np.zeros((5, 1)), np.zeros(1, np.int64), 0
    for members, observed in blocks:
        number = np.isfinite(members).sum(axis=-1)
        known = np.isfinite(observed) & (number > 1)
        m, x = np.maximum(number, 2), np.where(np.isfinite(members), members, 0.0)
        mean = x.sum(axis=-1) / m
        square = (np.where(np.isfinite(members), members - mean[..., None], 0.0) ** 2).sum(axis=-1) / (m - 1)
        daily = [np.ones(m.shape), fair_crps(members, observed), np.sqrt(square)]
        daily += [(mean - observed) ** 2, (m + 1) / m * square]
        of_sites = of_sites + np.stack([np.where(known, part, 0.0).sum(axis=0) for part in daily])
        whole = known & (number == members.shape[-1])
        lacking += int((known & ~whole).sum())
        found = np.bincount(ranks(members[whole], observed[whole], draw), minlength=members.shape[-1] + 1)
        counts = counts + found
    days, *sums = of_sites[:, of_sites[0] > 0]
    crps, spread, error, expected = (part / days for part in sums)
    with np.errstate(divide="ignore"):
        scores = [crps, spread, np.sqrt(error), np.sqrt(expected / error)]
    medians = [float(np.median(of)) if len(days) else np.nan for of in scores]
    row: Row = dict(zip(COLUMNS, [*medians, len(counts) - 1, len(days), int(days.sum()), lacking], strict=True))
    n = int(counts.sum())
    of_ranks = [[k, int(count), float(count / max(n, 1)), n, SEED] for k, count in enumerate(counts)]
    return row, [dict(zip(RANK_COLUMNS, of, strict=True)) for of in of_ranks]
