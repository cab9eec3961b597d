"""Which features an estimate leans on: SHAP values by expected gradients, as shares in percent."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vadose.artefact.learnt import single_models
from vadose.errors import VadoseError, extras
from vadose.models import from_checkpoint
from vadose.models.mmnet import Features, Fine
from vadose.samples.station_days import StationDays

Array = NDArray[Any]
Mask = NDArray[np.bool_]
Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]
REPLICATES = 1000
ROWS_AT_ONCE = 1 << 17
"""Days of series that a network is run backward through at once."""


def importances(
    checkpoint: dict[str, Any],
    days: StationDays,
    mask: Mask,
    *,
    n_background: int = 1000,
    n_samples: int = 400,
    draws: int = 40,
    seed: int = 0,
) -> pd.DataFrame:
    r"""Share of each feature in what moves the estimate, with an interval over stations.

    .. math:: \phi_i(x) = \mathbb{E}_{x' \sim D,\, \lambda \sim U(0, 1)} \left[ (x_i - x'_i) \,
              \frac{\partial f}{\partial x_i} \big( x' + \lambda (x - x') \big) \right]

    with x the standardised features of a station-day and D those of the background; they add up to
    :math:`f(x) - \mathbb{E} f(x')`. The values of a series' feature are summed over its days, and over the means
    a network takes of them, before the absolute value is taken: the importance is
    :math:`\mathbb{E} |\sum_{i \in \text{feature}} \phi_i|`, as a share of that of all features. A feature that is
    unknown on a day moves nothing there, and the background is told the same gaps.

    The values are those of the network, not of nature: features that tell the same share their importance.

    Parameters
    ----------
    checkpoint
        As `vadose.training.station_days.fit` gives it; of an ensemble the values are those of the mean.
    days
        Station-days of the checkpoint's features.
    mask
        (station, time), where station-days are drawn from: those explained, and the background.
    n_background, n_samples
        Station-days of the background, and those explained; all of the mask where it holds fewer.
    draws
        Pairs of a background day and a place on the path for each one explained. Too few leave noise in small
        shares, which are of absolute values.

    Returns
    -------
    DataFrame
        ``feature``, ``stream`` ('snapshot' or 'series'), ``percent``, ``low`` and ``high``: 95 % interval
        [percent], stations resampled; largest first. ``percent`` adds up to 100.

    Raises
    ------
    VadoseError
        When captum is not installed, features differ, or the mask holds fewer than two stations.

    References
    ----------
    Erion et al. (2021), doi:10.1038/s42256-021-00343-w; Lundberg and Lee (2017), arXiv:1705.07874; groups of
    features: Jullum et al. (2021), arXiv:2106.12228.
    """
    features = days.features
    if Features.from_dict(checkpoint["inputs"]) != features:
        raise VadoseError(
            f"importances: the days have {features}, the network {checkpoint['inputs']}; make the days with the "
            "features of the checkpoint"
        )
    index = np.random.default_rng(seed).permutation(np.argwhere(mask))
    samples, background = index[:n_samples], index[::-1][:n_background]
    stations, of_station = np.unique(samples[:, 0], return_inverse=True)
    if len(stations) < 2:
        raise VadoseError(f"importances: the mask has days of {len(stations)} stations; expected at least two")
    each = [_values(from_checkpoint(m), days, samples, background, draws, seed) for m in single_models(checkpoint)]
    values = np.mean(each, axis=0)
    by_station = np.zeros((len(stations), values.shape[1]))
    np.add.at(by_station, of_station, np.abs(values))
    if not by_station.any():
        raise VadoseError("importances: no feature changes the estimate of any sampled day; is the network trained?")
    drawn = np.random.default_rng(seed).multinomial(
        len(stations), np.full(len(stations), 1 / len(stations)), REPLICATES
    )
    low, high = np.nanpercentile(_percent(drawn @ by_station), [2.5, 97.5], axis=0)
    table = pd.DataFrame(
        {
            "feature": [*features.snapshot, *features.series],
            "stream": ["snapshot"] * len(features.snapshot) + ["series"] * len(features.series),
            "percent": _percent(by_station.sum(axis=0)),
            "low": low,
            "high": high,
        }
    )
    return table.sort_values("percent", ascending=False, ignore_index=True)


def _percent(values: Array) -> Array:
    total = values.sum(axis=-1, keepdims=True)
    share: Array = np.divide(100 * values, total, out=np.full(values.shape, np.nan), where=total > 0)
    return share


def _values(
    network: Any, days: StationDays, samples: NDArray[np.int64], background: NDArray[np.int64], draws: int, seed: int
) -> Array:
    """SHAP values [m3 m-3] (samples, features), those of the snapshot, then those of the series."""
    with extras():
        from captum.attr import GradientShap
    from lightning_fabric.utilities.seed import seed_everything

    seed_everything(seed, verbose=False)
    layers, local = network.normalisations(), list(network.local)
    width = len(days.features.series)

    def estimate(*values: Tensor) -> Tensor:
        *z, own, snapshot, series = values
        given = dict(zip(layers, z, strict=True))
        snapshot = snapshot.clone()
        snapshot[:, local] = torch.where(torch.isfinite(snapshot[:, local]), own, torch.nan)
        with _hooked(layers, lambda layer, args, z: torch.where(torch.isfinite(args[0]), given[layer], z)):
            found: Tensor = network(Fine(snapshot, series))
        return found

    of_background = _inputs(network, layers, local, days.fine(background))
    explainer = GradientShap(estimate)
    step = max(1, ROWS_AT_ONCE // (draws * days.features.days))
    found = []
    for start in range(0, len(samples), step):
        fine = days.fine(samples[start : start + step])
        inputs = tuple(values.requires_grad_() for values in _inputs(network, layers, local, fine))
        parts = explainer.attribute(inputs, of_background, n_samples=draws, additional_forward_args=tuple(fine))
        snapshot, *of_series, own = (part.detach().flatten(1) for part in parts)
        snapshot[:, local] += own
        # Columns of the series, and of its means over several windows, repeat the features in their order.
        series = sum(part.unflatten(1, (-1, width)).sum(1) for part in of_series)
        found.append(torch.cat([snapshot, series], dim=1))
    values: Array = torch.cat(found).double().numpy()
    return values


@torch.no_grad()
def _inputs(network: Any, layers: list[nn.Module], local: list[int], fine: Fine) -> tuple[Tensor, ...]:
    """What the layers that standardise features give, and a place's own normal and deviation, which go around them."""
    z: dict[nn.Module, Tensor] = {}
    with _hooked(layers, lambda layer, args, given: z.update({layer: given})):
        network(fine)
    instead = torch.cat([network.moisture.mean, network.moisture.std]).float()[: len(local)]
    own = fine.snapshot[:, local]
    return *(z[layer] for layer in layers), torch.where(torch.isfinite(own), own, instead)


@contextmanager
def _hooked(layers: list[nn.Module], hook: Hook) -> Iterator[None]:
    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
