"""A land-surface network with memory: soil moisture of three layers at once, driven by weather."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from vadose.models.normalise import Normalise

LAYERS = 3
State = tuple[Tensor, Tensor]


class LandSurface(nn.Module):
    r"""One LSTM over the days, read out for all layers.

    .. math::
        h_t &= \mathrm{LSTM}(h_{t-1}, \tanh(A x_t + B s)) \\
        \hat y_t &= \bar y + \sigma_y W h_t, \quad
        \hat\sigma_t = \sigma_y (\mathrm{softplus}(U h_t) + 0.03)

    with the weather and the season of day t in :math:`x_t`, and the fixed features s of the place. No moisture
    observation enters: see `Blend` for those.

    Parameters
    ----------
    daily, fixed
        Number of features of each day, and of each place.
    hidden
        Size of the state.
    dropout
        Fraction of the state dropped before it is read out in training.
    jitter
        Standard deviation of the noise on the fixed features in training, in theirs: few stations are easily learnt by
        heart.

    References
    ----------
    Hochreiter and Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735; soil moisture by an LSTM: Fang et al. (2017),
    doi:10.1002/2017GL075619.

    Examples
    --------
    >>> network = LandSurface(daily=10, fixed=4, hidden=8)
    >>> mean, std, state = network(torch.rand(2, 30, 10), torch.rand(2, 4))
    >>> mean.shape, bool((std > 0).all()), state[0].shape
    (torch.Size([2, 30, 3]), True, torch.Size([1, 2, 8]))
    """

    takes = "weather"

    def __init__(self, daily: int, fixed: int, hidden: int = 96, dropout: float = 0.3, jitter: float = 0.2) -> None:
        super().__init__()
        self.jitter = jitter
        self.of_day, self.of_place = Normalise(daily, axis=-1), Normalise(fixed, axis=-1)
        self.moisture = Normalise(LAYERS, axis=-1)
        self.enter = nn.Linear(daily + fixed, hidden)
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.read = nn.Linear(hidden, 2 * LAYERS)
        for bias in (self.lstm.bias_ih_l0, self.lstm.bias_hh_l0):
            assert isinstance(bias, Tensor)
            bias.data[hidden : 2 * hidden].fill_(1.5)  # remember for weeks, to begin with

    def fit_normalisation(self, batches: Iterable[tuple[tuple[Tensor, Tensor], Tensor]]) -> None:
        """Learn means and standard deviations from training batches."""
        for (daily, fixed), observed in batches:
            self.of_day.update(daily)
            self.of_place.update(fixed)
            self.moisture.update(observed)

    def forward(self, daily: Tensor, fixed: Tensor, state: State | None = None) -> tuple[Tensor, Tensor, State]:
        """Mean and standard deviation [m3 m-3], (N, T, 3) each, and the state at the end.

        Of daily features (N, T, daily) and fixed ones (N, fixed), going on from a state where there is one.
        """
        days, place = self.of_day(daily), self.of_place(fixed)
        if self.training:
            place = place + self.jitter * torch.randn_like(place)
        told = torch.cat([days, place[:, None].expand(-1, days.shape[1], -1)], dim=-1)
        hidden, state = self.lstm(torch.tanh(self.enter(told)), state)
        read = self.read(self.dropout(hidden)).float()
        centre, scale = self.moisture.mean.float(), self.moisture.std.float()
        std = scale * (functional.softplus(read[..., LAYERS:]) + 0.03)
        return centre + scale * read[..., :LAYERS], std, state

    def distribution(self, daily: Tensor, fixed: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of all days, without a state."""
        mean, std, _ = self(daily, fixed)
        return mean, std


class Blend(nn.Module):
    r"""Corrects the networks' joint estimate by what a place's own observations up to an earlier day tell.

    .. math::
        \hat y' &= \hat y + w_1 d + w_2 d_7 + w_3 d_{30} + w_4 \bar d + g_1 a - g_2 (\hat y - \hat y_{t_d}) + \Delta \\
        \hat\sigma' &= \hat\sigma \exp(\Gamma)

    with the last departure d of the observations from the estimate, that of day :math:`t_d`, its running means and
    :math:`\bar d` of all days, and what another amplitude than the estimate's adds, a: see
    `vadose.samples.land_surface.evidence`. A perceptron of all these and of their age gives the weights, whose sum is
    below 1, and the rest. Without an observation the mean stays as it is, and :math:`\Gamma` tells how far estimates at
    places not learnt from are off: it has to be fitted at such places alone.

    Parameters
    ----------
    evidence
        Features of each layer, in the order of `vadose.samples.land_surface.EVIDENCE`.

    Examples
    --------
    >>> blend = Blend(evidence=11)
    >>> mean, std = blend(torch.full((5, 3), 0.2), torch.full((5, 3), 0.05), torch.zeros(5, 3, 11))
    >>> bool((mean == 0.2).all()), bool((std > 0).all())
    (True, True)
    """

    takes = "evidence"
    widened: Tensor
    """Factors of the deviations of layers without and with observations (2, 3), from places held out."""

    def __init__(self, evidence: int, width: int = 48) -> None:
        super().__init__()
        self.estimate, self.evidence = Normalise(2 * LAYERS, axis=-1), Normalise(LAYERS * evidence, axis=-1)
        self.body = nn.Sequential(
            *(nn.Linear(2 * LAYERS + LAYERS * evidence, width), nn.GELU(), nn.Linear(width, width), nn.GELU()),
            nn.Linear(width, 9 * LAYERS),
        )
        self.register_buffer("widened", torch.ones(2, LAYERS))

    def fit_normalisation(self, batches: Iterable[tuple[tuple[Tensor, Tensor, Tensor], Tensor]]) -> None:
        """Learn means and standard deviations from training batches."""
        for (mean, std, evidence), _ in batches:
            self.estimate.update(torch.cat([mean, std.log()], dim=-1))
            self.evidence.update(evidence.flatten(-2))

    def forward(self, mean: Tensor, std: Tensor, evidence: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (..., 3) [m3 m-3]."""
        told = torch.cat([self.estimate(torch.cat([mean, std.log()], -1)), self.evidence(evidence.flatten(-2))], -1)
        read = self.body(told).float().unflatten(-1, (LAYERS, 9))
        known, departures = evidence[..., 0], evidence[..., [1, 4, 5, 6]]
        weights = torch.softmax(read[..., :5], dim=-1)[..., :4]
        gates = torch.sigmoid(read[..., 5:7])
        shift = (weights * departures).sum(-1) + gates[..., 0] * evidence[..., 9] - gates[..., 1] * evidence[..., 10]
        shift = shift + 0.05 * read[..., 7] * (known > 0).any(-1, keepdim=True)
        factor = torch.where(known > 0, self.widened[1], self.widened[0])
        return mean + shift, std * torch.exp(read[..., 8].clamp(-4, 2)) * factor

    distribution = forward
