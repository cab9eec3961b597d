"""A surrogate of a land surface model: driven by weather, corrected by what was observed."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from vadose.models.anchor import Anchor, logarithmic
from vadose.models.contract import Forecaster
from vadose.models.inputs import Channels, Inputs, season
from vadose.models.normalise import Normalise

MOISTURE = "soil_moisture"
"""Channels whose names begin so tell of the state of the soil; the others drive it."""


class Surrogate(Forecaster):
    r"""Two recurrent networks for each cell: one simulates, one assimilates the observations.

    .. math::
        s_t &= \mathrm{LSTM}_s(s_{t-1}, \text{weather}_t, \text{season}_t, \text{static}) \\
        h_t &= \mathrm{LSTM}_h(h_{t-1}, s_t, \text{moisture}_t, \text{season}_t, \text{static}) \\
        \hat y(t_0 + L) &= a_L + \sigma \, g(h_{t_0}, s_{t_0 + L}, s_{t_0}, L, \text{above}_L)

    The simulation s is an open loop without soil-moisture input, so that known-future weather drives it to the valid
    day, as a land-surface model is run from its analysis. Without such weather the head g uses :math:`s_{t_0}` only.
    :math:`a_L` is the damped last value, see `Anchor`.

    Every day of a sequence is a t0: both networks run over it once, and all its days are trained and forecast together
    (`of_days`). The state of a day depends on the days before it in the sequence, at least the look-back.

    Parameters
    ----------
    channels
        Predictors and lead times. With weather ahead, variables of ``history`` that are not in ``future`` go to the
        second network only.
    hidden
        Size of each state.
    width
        Width of the head.
    dropout
        Fraction of the states dropped before the head in training.
    gaussian
        Also predict a standard deviation, see `distribution`.

    References
    ----------
    Hochreiter and Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735; soil moisture simulated by an LSTM: Fang et
    al. (2017), doi:10.1002/2017GL075619; corrected by recent observations: Fang and Shen (2020),
    doi:10.1175/JHM-D-19-0169.1.

    Examples
    --------
    >>> from vadose.models.inputs import example_inputs
    >>> channels = Channels(("soil_moisture_filled", "precipitation"), target="soil_moisture_filled")
    >>> model, inputs = Surrogate(channels, hidden=8, gaussian=True), example_inputs(channels, look_back=30)
    >>> model(inputs).shape, model.of_days(inputs, first=20)[0].shape
    (torch.Size([2, 5, 1, 1]), torch.Size([2, 10, 5, 1, 1]))
    """

    takes = "series"
    of_each_cell = True

    def __init__(
        self, channels: Channels, hidden: int = 64, width: int = 64, dropout: float = 0.2, gaussian: bool = False
    ) -> None:
        super().__init__(channels)
        self.has_deviation = gaussian
        names = channels.history
        ahead = channels.weather == "perfect"
        driving = [n for n in names if not n.startswith(MOISTURE) and (not ahead or n in channels.future)]
        self.driving = [names.index(n) for n in driving]
        self.driving_ahead = [channels.future.index(n) for n in driving] if ahead else []
        self.telling = [i for i in range(len(names)) if i not in self.driving]
        self.history = Normalise(len(names), axis=2)
        self.static = Normalise(len(channels.static), axis=1)
        self.above = Normalise(len(channels.above), axis=-3)
        self.anchor = Anchor(channels)
        fixed = len(channels.static) + 2
        self.drive = nn.Linear(len(self.driving) + fixed, hidden)
        self.simulation = nn.LSTM(hidden, hidden, batch_first=True)
        # The observations of a variable mean something only beside whether they are any.
        self.tell = nn.Linear(2 * len(self.telling) + fixed + hidden, hidden)
        self.correction = nn.LSTM(hidden, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.from_now = nn.Linear(2 * hidden + fixed, width)
        self.from_then = nn.Linear(hidden, width, bias=False) if ahead else None
        self.from_above = nn.Linear(2 * len(channels.above), width, bias=False) if channels.above else None
        self.from_lead = nn.Parameter(torch.randn(len(channels.leads), width) / width**0.5)
        self.head = nn.Sequential(nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1 + gaussian))
        for network in (self.simulation, self.correction):
            for bias in (network.bias_ih_l0, network.bias_hh_l0):
                assert isinstance(bias, Tensor)
                bias.data[hidden : 2 * hidden].fill_(1.5)  # remember, to begin with

    def fit_normalisation(self, batches: Iterable[tuple[Inputs, Tensor]]) -> None:
        """Learn the means and standard deviations of predictors and moisture from training batches."""
        for inputs, observed in batches:
            self.history.update(logarithmic(inputs.history, self.channels.history))
            self.static.update(inputs.static)
            self.anchor.learn(observed)
            if inputs.above is not None:
                self.above.update(inputs.above)

    def forward(self, inputs: Inputs) -> Tensor:
        """Soil moisture [m3 m-3] at each lead (B, L, H, W)."""
        return self.of_days(inputs, first=inputs.history.shape[1] - 1)[0][:, 0]

    def distribution(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [m3 m-3] at each lead, (B, L, H, W) each."""
        mean, std = self.of_days(inputs, first=inputs.history.shape[1] - 1)
        return mean[:, 0], std[:, 0]

    def of_days(self, inputs: Inputs, first: int) -> tuple[Tensor, Tensor]:
        """Mean and deviation with each day from position ``first`` on as t0, (B, T - first, L, H, W) each.

        ``inputs.above`` has a days axis then, (B, T - first, L, U, H, W), or is of the last day alone.
        Without ``gaussian`` the deviation is NaN.
        """
        batch, days, _, height, width = inputs.history.shape
        history = self.history(logarithmic(inputs.history, self.channels.history))
        static = self.static(inputs.static)
        driving = history[:, :, self.driving]
        reach = 0
        if self.driving_ahead and inputs.future is not None:
            names = tuple(self.channels.history[i] for i in self.driving)
            ahead = inputs.future[:, : max(self.channels.leads), self.driving_ahead]
            driving = torch.cat([driving, self._standard(logarithmic(ahead, names), self.driving)], dim=1)
            reach = ahead.shape[1]

        # From here on (cells, days, channels).
        fixed = self._fixed(static, inputs.day, days, reach, (height, width))
        simulated, _ = self.simulation(functional.relu(self.drive(torch.cat([_by_cell(driving), fixed], -1))))
        known = torch.isfinite(inputs.history[:, :, self.telling]).float()
        telling = torch.cat([_by_cell(history[:, :, self.telling]), _by_cell(known)], -1)
        told = torch.cat([telling, fixed[:, :days], simulated[:, :days]], -1)
        corrected, _ = self.correction(functional.relu(self.tell(told)))

        now = torch.cat([corrected[:, first:], simulated[:, first:days]], -1)
        found = self.from_now(torch.cat([self.dropout(now), fixed[:, first:days]], -1))[:, :, None] + self.from_lead
        if self.from_then is not None:
            leads = torch.tensor(self.channels.leads, device=simulated.device)
            then = torch.arange(first, days, device=simulated.device)[:, None] + leads
            found = found + self.from_then(self.dropout(simulated[:, then]))
        if self.from_above is not None and inputs.above is not None:
            above = inputs.above if inputs.above.dim() == 6 else inputs.above[:, None]
            both = torch.cat([self.above(above), torch.isfinite(above).float()], dim=3)
            found = found + self.from_above(both.permute(0, 4, 5, 1, 2, 3).flatten(0, 2))
        read = self.head(found).float()
        read = read.reshape(batch, height, width, *read.shape[1:]).permute(0, 3, 4, 5, 1, 2)
        mean = self.anchor.of_days(inputs, first) + self.anchor.scale * read[:, :, :, 0]
        if not self.has_deviation:
            return mean, torch.full_like(mean, torch.nan)
        return mean, self.anchor.scale * (functional.softplus(read[:, :, :, 1]) + 1e-3)

    def _standard(self, daily: Tensor, positions: list[int]) -> Tensor:
        """z-scores of some of the history's channels."""
        shape = (1, 1, -1, 1, 1)
        mean, std = self.history.mean[positions].float(), self.history.std[positions].float()
        return torch.nan_to_num((daily - mean.reshape(shape)) / std.reshape(shape), nan=0.0)

    def _fixed(self, static: Tensor, day: Tensor, days: int, reach: int, size: tuple[int, int]) -> Tensor:
        """Static fields and the season of each day: (cells, days + reach, S + 2)."""
        offsets = torch.arange(1 - days, 1 + reach, device=day.device)
        time_of_year = season((day[:, None] + offsets).flatten(), *size).reshape(len(day), -1, 2, *size)
        fields = static[:, None].expand(-1, days + reach, -1, -1, -1)
        return _by_cell(torch.cat([fields, time_of_year], dim=2))


def _by_cell(daily: Tensor) -> Tensor:
    """(B, T, C, H, W) to (B * H * W, T, C)."""
    return daily.permute(0, 3, 4, 1, 2).flatten(0, 2)
