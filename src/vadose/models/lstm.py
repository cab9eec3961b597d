"""A long short-term memory network for each cell, rolled on through known-future weather."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from vadose.models.contract import Forecaster
from vadose.models.inputs import Channels, Inputs, season
from vadose.models.normalise import Normalise


class LSTM(Forecaster):
    r"""One LSTM for all cells, over the look-back and, with weather, up to the last lead time.

    Each day's input is its weather, the last known soil moisture, whether it was observed and its age, the season and
    the static fields. With known-future weather the network continues day by day after ``t0``, with constant last
    known soil moisture of growing age, and each lead time is read from the state of its day:
    :math:`\hat y(t_0 + L) = g(h_{t_0 + L})`. Without it all lead times are read from the state on ``t0``.

    Precipitation enters as :math:`\log(1 + P)` because it is skewed.

    Parameters
    ----------
    channels
        Predictors and lead times; the weather variables of ``future`` are among ``history``.
    hidden
        Size of the state.
    dropout
        Share of the state dropped before the head in training.

    References
    ----------
    Hochreiter and Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735; soil moisture: Fang et al.
    (2017), doi:10.1002/2017GL075619.

    Examples
    --------
    >>> from vadose.models.inputs import example_inputs
    >>> channels = Channels(("soil_moisture_filled", "precipitation"), target="soil_moisture_filled")
    >>> LSTM(channels, hidden=8)(example_inputs(channels, look_back=30)).shape
    torch.Size([2, 5, 1, 1])
    """

    of_each_cell = True

    def __init__(self, channels: Channels, hidden: int = 128, dropout: float = 0.3) -> None:
        super().__init__(channels)
        self.history = Normalise(len(channels.history), axis=2)
        self.static = Normalise(len(channels.static), axis=1)
        width = len(channels.history) + len(channels.static) + 2
        self.embed = nn.Sequential(nn.Linear(width, hidden), nn.ReLU())
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden, 1 if channels.future else len(channels.leads))
        with torch.no_grad():
            for bias in (self.lstm.bias_ih_l0, self.lstm.bias_hh_l0):
                assert isinstance(bias, Tensor)
                bias[hidden : 2 * hidden].fill_(1.5)  # remember, to begin with

    def fit_normalisation(self, batches: Iterable[tuple[Inputs, Tensor]]) -> None:
        """Learn the means and standard deviations of the predictors from training batches."""
        for inputs, _ in batches:
            self.history.update(self._transformed(inputs.history))
            self.static.update(inputs.static)

    def forward(self, inputs: Inputs) -> Tensor:
        """Soil moisture [m3 m-3] at each lead (B, L, H, W)."""
        batch, days, _, height, width = inputs.history.shape
        daily = self.history(self._transformed(self._continued(inputs)))
        static = self.static(inputs.static)
        ahead = daily.shape[1] - days
        steps = torch.arange(1 - days, 1 + ahead, device=inputs.day.device)
        time_of_year = season((inputs.day[:, None] + steps).flatten(), height, width)
        time_of_year = time_of_year.reshape(batch, -1, 2, height, width)
        fixed = static[:, None].expand(-1, daily.shape[1], -1, -1, -1)
        sequence = torch.cat([daily, time_of_year, fixed], dim=2).permute(0, 3, 4, 1, 2).flatten(0, 2)
        states, _ = self.lstm(self.embed(sequence))
        if ahead:
            leads = torch.tensor(self.channels.leads, device=states.device)
            read = self.head(self.dropout(states[:, days - 1 + leads]))[..., 0]
        else:
            read = self.head(self.dropout(states[:, -1]))
        departure = read.reshape(batch, height, width, -1).movedim(-1, 1)
        return self.history.inverse(departure.float(), self.channels.position(self.channels.target))

    def _continued(self, inputs: Inputs) -> Tensor:
        """The history and, with weather, the days to the last lead with the moisture held."""
        if inputs.future is None:
            return inputs.history
        days = max(self.channels.leads)
        ahead = inputs.history[:, -1:].repeat(1, days, 1, 1, 1)
        for position, name in enumerate(self.channels.history):
            if name in self.channels.future:
                ahead[:, :, position] = inputs.future[:, :days, self.channels.future.index(name)]
            elif name.endswith("_observed"):
                ahead[:, :, position] = 0.0
            elif name.endswith("_age"):
                ahead[:, :, position] += torch.arange(1, days + 1, device=ahead.device)[:, None, None]
            elif name != self.channels.target:
                ahead[:, :, position] = math.nan
        return torch.cat([inputs.history, ahead], dim=1)

    def _transformed(self, history: Tensor) -> Tensor:
        """Logarithms of what is skewed: precipitation, and the age of the last observation."""
        skewed = [i for i, n in enumerate(self.channels.history) if n.startswith("precipitation") or n.endswith("_age")]
        transformed = history.clone()
        transformed[:, :, skewed] = torch.log1p(transformed[:, :, skewed])
        return transformed
