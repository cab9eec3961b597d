"""Several estimates of one thing: passes with dropout, and the one formula by which members are joined."""

from collections.abc import Iterable
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

Array = NDArray[np.float32]


def mixture(
    members: Iterable[tuple[Array, Array]], weights: Iterable[Any] | None = None, *, draws: bool = False
) -> tuple[Array, Array]:
    r"""Mean and standard deviation of the mixture of members.

    .. math:: \mu = \frac{\sum_m w_m \mu_m}{\sum_m w_m}, \quad
        \sigma^2 = \frac{\sum_m w_m (\sigma_m^2 + (\mu_m - \mu)^2)}{\sum_m w_m}

    The rule for members without a deviation (NaN): the mixture has none where one with a weight has none, for it
    would be too small. The exception are ``draws``, several of one network (seeds of a run, passes with dropout, past
    years of weather): a network without a deviation counts there with 0, since their spread is what is known. One draw
    alone has no spread, and keeps what it has.

    Parameters
    ----------
    members
        Mean and standard deviation of each, all of one shape; gone through once. The mixture is NaN where a mean is.
    weights
        Of each member, numbers or arrays to broadcast, none negative; all alike when left out.
    draws
        Whether the members are draws of one network.

    Examples
    --------
    >>> none, some = np.array([np.nan]), np.array([0.1])
    >>> first, second = np.array([0.2]), np.array([0.4])
    >>> [values.round(3).tolist() for values in mixture([(first, some), (second, some)])]
    [[0.3], [0.141]]
    >>> mixture([(first, none), (second, none)])[1].tolist()
    [nan]
    >>> mixture([(first, none), (second, none)], draws=True)[1].round(3).tolist()
    [0.1]
    """
    first, own, number = None, None, 0
    total: Any = 0.0
    departure: Any = 0.0
    squares: Any = 0.0
    for (mean, std), weight in zip(members, repeat(np.float32(1)) if weights is None else weights, strict=False):
        # Apart from the first: the squares of moisture itself would leave little of a small spread in single precision.
        first, own, number = (mean, std, 1) if first is None else (first, own, number + 1)
        apart = mean - first
        variance = np.nan_to_num(std**2) if draws else std**2
        total = total + weight
        departure = departure + weight * apart
        squares = squares + np.where(weight > 0, weight * (variance + apart**2), np.float32(0))
    assert first is not None
    assert own is not None
    if number == 1:
        return first, own
    departure = departure / total
    return first + departure, np.sqrt(np.maximum(squares / total - departure**2, 0))


def leave_dropout_on(network: nn.Module) -> bool:
    """Let dropout go on as in training, nothing else; whether there is any."""
    dropouts = [m for m in network.modules() if isinstance(m, nn.Dropout | nn.Dropout2d) and m.p > 0]
    for module in dropouts:
        module.train()
    return bool(dropouts)
