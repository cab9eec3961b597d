"""Where a forecast starts from: the last known moisture, damped toward the normal of the valid day."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from vadose.models.inputs import NORMAL, Channels, Inputs
from vadose.models.normalise import Normalise


class Anchor(nn.Module):
    r"""Turn what a model predicts, in standard deviations, into moisture.

    .. math:: \hat y(t_0 + L) = c(t_0 + L) + \rho_L \, (y(t_0) - c(t_0)) + \sigma z_L

    with the normal c where the channels hold it, else the training mean; without the last known
    moisture among the predictors the middle term is absent. A model so has damped persistence to
    improve on, not to find. :math:`\rho_L` is learnt, and starts at :math:`e^{-L/30}`.

    Parameters
    ----------
    channels
        Predictors and lead times.
    last
        Whether to start from the last known moisture where the channels hold it.

    Examples
    --------
    >>> import math
    >>> from vadose.models.inputs import example_inputs
    >>> channels = Channels(("soil_moisture_filled",), leads=(1,), target="soil_moisture_filled")
    >>> anchor, inputs = Anchor(channels), example_inputs(channels)
    >>> anchor.learn(torch.tensor([0.1, 0.3]).reshape(2, 1, 1, 1))
    >>> start = anchor(inputs)
    >>> bool(torch.allclose(start - 0.2, math.exp(-1 / 30) * (inputs.history[:, -1:, 0] - 0.2)))
    True
    """

    def __init__(self, channels: Channels, *, last: bool = True) -> None:
        super().__init__()
        self.channels = channels
        self.moisture = Normalise(1, axis=0)
        kept = torch.exp(-torch.tensor(channels.leads, dtype=torch.float32) / 30)
        has_last = last and channels.target in channels.history
        self.kept = nn.Parameter(torch.logit(kept)) if has_last else None
        self.normal = channels.target.removesuffix("_filled") + NORMAL
        self.has_normal = self.normal in channels.history and self.normal in channels.future

    def learn(self, observed: Tensor) -> None:
        """Take the observed targets of one more batch into mean and deviation."""
        self.moisture.update(observed.flatten()[None])

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Inputs, Tensor]]) -> None:
        """Learn mean, deviation, and the factors by regression, for a model without gradients."""
        for _, observed in batches:
            self.learn(observed)
        if self.kept is None:
            return
        products, squares = torch.zeros(2, len(self.kept), dtype=torch.float64)
        for inputs, observed in batches:
            last = inputs.history[:, -1, self.channels.position(self.channels.target)][:, None]
            now, valid = (part[:, 0] for part in self._normals(inputs, first=inputs.history.shape[1] - 1))
            anomaly, later = (last - now).expand_as(observed), observed - valid
            known = torch.isfinite(anomaly) & torch.isfinite(later)
            products += torch.where(known, anomaly * later, 0.0).sum((0, 2, 3))
            squares += torch.where(known, anomaly.square(), 0.0).sum((0, 2, 3))
        self.kept.copy_(torch.logit((products / squares.clamp(min=1e-12)).clamp(0.001, 0.999)))

    @property
    def scale(self) -> Tensor:
        """Standard deviation of the observed moisture in training."""
        return self.moisture.std[0].float()

    def forward(self, inputs: Inputs) -> Tensor:
        """Moisture (B, L, H, W) of the formula's first two terms."""
        return self.of_days(inputs, first=inputs.history.shape[1] - 1)[:, 0]

    def of_days(self, inputs: Inputs, first: int) -> Tensor:
        """The same with each day of the history from position ``first`` on as t0: (B, T - first, L, H, W)."""
        now, valid = self._normals(inputs, first)
        if self.kept is None:
            return valid
        last = inputs.history[:, first:, self.channels.position(self.channels.target)][:, :, None]
        share = torch.sigmoid(self.kept)[:, None, None]
        return valid + share * torch.where(torch.isfinite(last), last - now, 0.0)

    def _normals(self, inputs: Inputs, first: int) -> tuple[Tensor, Tensor]:
        """Normal of each t0 (B, T - first, 1, H, W) and of its valid days (B, T - first, L, H, W)."""
        history = inputs.history
        leads = torch.tensor(self.channels.leads, device=history.device)
        days = torch.arange(first, history.shape[1], device=history.device)
        mean = self.moisture.mean[0].float()
        if self.has_normal and inputs.future is not None:
            ahead = inputs.future[:, :, self.channels.future.index(self.normal)]
            normal = torch.cat([history[:, :, self.channels.position(self.normal)], ahead], dim=1)
            # A cell never observed in training has no normal.
            normal = torch.where(torch.isfinite(normal), normal, mean)
            return normal[:, days][:, :, None], normal[:, days[:, None] + leads]
        now = mean.expand(len(history), len(days), 1, *history.shape[-2:])
        return now, now.expand(-1, -1, len(leads), -1, -1)


def skewed(names: tuple[str, ...]) -> list[int]:
    """Positions of channels to take the logarithm of: precipitation, and ages of observations."""
    return [i for i, n in enumerate(names) if n.startswith("precipitation") or n.endswith("_age")]


def logarithmic(daily: Tensor, names: tuple[str, ...]) -> Tensor:
    """log(1 + x) of the skewed channels of (B, T, C, H, W)."""
    positions = skewed(names)
    if not positions:
        return daily
    changed = daily.clone()
    changed[:, :, positions] = torch.log1p(changed[:, :, positions].clamp(min=0))
    return changed
