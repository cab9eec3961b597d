"""Where a forecast starts from: the last known moisture, damped toward the normal of the valid day."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from vadose.models.contract import Forecaster
from vadose.models.inputs import NORMAL, Channels, Inputs, season
from vadose.models.normalise import Normalise

WEATHER_MEANS = (1, 3, 7, 30)
"""Days, ending with the valid day, over which the known-future weather is averaged for the head."""


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


class Anchored(Forecaster):
    """A network of maps that predicts the departure from the anchor: subclasses give `departure`.

    ``look_back`` is the number of days of history, fixed for a network; with ``gaussian`` it predicts a standard
    deviation too.
    """

    def __init__(self, channels: Channels, look_back: int, gaussian: bool) -> None:
        super().__init__(channels)
        self.look_back, self.has_deviation = look_back, gaussian
        self.history = Normalise(len(channels.history), axis=2)
        self.static = Normalise(len(channels.static), axis=1)
        self.future = Normalise(len(channels.future), axis=2)
        self.above = Normalise(len(channels.above), axis=2)
        self.anchor = Anchor(channels)
        self.width_of_day = len(channels.history) + len(channels.static) + 2
        self.width_ahead = len(WEATHER_MEANS) * len(channels.future) + 2 * len(channels.above)

    def fit_normalisation(self, batches: Iterable[tuple[Inputs, Tensor]]) -> None:
        """Learn the means and standard deviations of predictors and moisture from training batches."""
        for inputs, observed in batches:
            self.history.update(logarithmic(inputs.history, self.channels.history))
            self.static.update(inputs.static)
            self.anchor.learn(observed)
            if inputs.future is not None:
                self.future.update(logarithmic(inputs.future, self.channels.future))
            if inputs.above is not None:
                self.above.update(inputs.above)

    def forward(self, inputs: Inputs) -> Tensor:
        """Soil moisture [m3 m-3] at each lead (B, L, H, W)."""
        return self.distribution(inputs)[0]

    def distribution(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [m3 m-3] at each lead, (B, L, H, W) each; without ``gaussian`` it is NaN."""
        found = self.departure(inputs).float()
        mean: Tensor = self.anchor(inputs) + self.anchor.scale * found[:, :, 0]
        if not self.has_deviation:
            return mean, torch.full_like(mean, torch.nan)
        return mean, self.anchor.scale * (functional.softplus(found[:, :, 1]) + 1e-3)

    def departure(self, inputs: Inputs) -> Tensor:
        """What the network adds to the anchor, in standard deviations (B, L, 1 or 2, H, W)."""
        raise NotImplementedError

    def daily(self, inputs: Inputs) -> Tensor:
        """Predictors of each day, static fields and season in z-scores: (B, T, ``width_of_day``, H, W)."""
        _, days, _, height, width = inputs.history.shape
        if days != self.look_back:
            raise ValueError(f"history of {days} days; this network was built for look_back {self.look_back}")
        history = self.history(logarithmic(inputs.history, self.channels.history))
        fixed = torch.cat([self.static(inputs.static), season(inputs.day, height, width)], dim=1)
        return torch.cat([history, fixed[:, None].expand(-1, days, -1, -1, -1)], dim=2)

    def ahead(self, inputs: Inputs) -> list[Tensor]:
        """What is known of each valid day, ``width_ahead`` channels of (B, L, channels, H, W) together.

        Means of the weather up to it, and forecasts of the layers above and whether they exist.
        """
        known = []
        if inputs.future is not None:
            weather = self.future(logarithmic(inputs.future, self.channels.future))
            known.append(means_until(weather, self.channels.leads))
        if inputs.above is not None:
            known += [self.above(inputs.above), torch.isfinite(inputs.above).float()]
        return known


def means_until(weather: Tensor, leads: tuple[int, ...]) -> Tensor:
    """Means of the weather of the days ahead (B, D, F, H, W) up to each lead: (B, L, F * windows, H, W).

    Over the last 1, 3, 7 and 30 days, as far as they lie after ``t0``.

    Examples
    --------
    >>> means_until(torch.tensor([1.0, 2.0, 6.0]).reshape(1, 3, 1, 1, 1), (1, 3)).squeeze().tolist()
    [[1.0, 1.0, 1.0, 1.0], [6.0, 3.0, 3.0, 3.0]]
    """
    total = functional.pad(weather.cumsum(dim=1), (0, 0, 0, 0, 0, 0, 1, 0))
    at = torch.tensor(leads, device=weather.device)
    means = []
    for days in WEATHER_MEANS:
        begin = (at - days).clamp(min=0)
        means.append((total[:, at] - total[:, begin]) / (at - begin)[:, None, None, None])
    return torch.cat(means, dim=2)
