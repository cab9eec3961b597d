"""A SimVP-like network: maps of all days at once in, maps of all lead times out, without recurrence."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from vadose.models.anchor import Anchor, logarithmic
from vadose.models.contract import Forecaster
from vadose.models.convlstm import WEATHER_MEANS
from vadose.models.inputs import Channels, Inputs, season
from vadose.models.normalise import Normalise


class SimVP(Forecaster):
    r"""Encode each day's map, mix days and channels by gated convolutions, decode one map per lead time.

    .. math::
        e_d &= \mathrm{Enc}(x_d, \text{static}, \text{season}), \quad d = t_0 - T + 1 .. t_0 \\
        (m_1, .., m_L) &= \mathrm{Mid}(e_{t_0 - T + 1}, .., e_{t_0}) \\
        \hat y(t_0 + L) &= a_L + \sigma \, \mathrm{Dec}(m_L, e'_{t_0}, \text{weather}_L, \text{above}_L)

    Enc and Dec are two 3 x 3 convolutions each, the same for all days and all leads; Mid is a stack of `GatedBlock`
    on the channels of all days together; e' is the first layer of the encoder (skip connection). :math:`a_L`
    is the damped last value, see `Anchor`. With known-future weather the decoder uses its means over the 1, 3, 7 and
    30 days up to the valid day (those after ``t0``), and in a cascade the forecasts of the layers above and whether
    they exist.

    Differs from the paper: no down- and upsampling, because forecasts are per cell and a translation-equivariant
    network can run in tiles; batch instead of group normalisation, whose statistics would depend on the map or tile;
    smaller kernels; inputs of the valid day; static fields and season; the anchor.

    Parameters
    ----------
    channels
        Predictors and lead times.
    hidden
        Channels of the encoder (per day) and of the decoder (per lead time).
    width, depth
        Channels and number of the blocks in between.
    dropout
        Fraction of channels dropped from the residual of a block in training.
    look_back
        Number of days of history; fixed for a network.
    gaussian
        Also predict a standard deviation, see `distribution`.

    References
    ----------
    Gao et al. (2022), SimVP, doi:10.48550/arXiv.2206.05099; the gated blocks: Tan et al. (2022), SimVPv2,
    doi:10.48550/arXiv.2211.12509.

    Examples
    --------
    >>> from vadose.models.inputs import example_inputs
    >>> channels = Channels(("soil_moisture_filled", "precipitation"), target="soil_moisture_filled")
    >>> model = SimVP(channels, hidden=4, width=8, depth=2, gaussian=True)
    >>> mean, std = model.distribution(example_inputs(channels, look_back=3, size=9))
    >>> mean.shape, bool((std > 0).all()), model.reach(look_back=3)
    (torch.Size([2, 5, 9, 9]), True, 14)
    """

    def __init__(
        self,
        channels: Channels,
        hidden: int = 32,
        width: int = 128,
        depth: int = 4,
        dropout: float = 0.1,
        look_back: int = 3,
        gaussian: bool = False,
    ) -> None:
        super().__init__(channels)
        if min(hidden, width, depth, look_back) < 1:
            raise ValueError(
                f"hidden {hidden}, width {width}, depth {depth}, look_back {look_back}: expected at least 1 each"
            )
        self.look_back, self.has_deviation = look_back, gaussian
        self.history = Normalise(len(channels.history), axis=2)
        self.static = Normalise(len(channels.static), axis=1)
        self.future = Normalise(len(channels.future), axis=2)
        self.above = Normalise(len(channels.above), axis=2)
        self.anchor = Anchor(channels)
        self.enter = _convolution(len(channels.history) + len(channels.static) + 2, hidden)
        self.encode = _convolution(hidden, hidden)
        self.translate = nn.Sequential(
            nn.Conv2d(look_back * hidden, width, 1),
            *(GatedBlock(width, dropout) for _ in range(depth)),
            nn.Conv2d(width, len(channels.leads) * hidden, 1),
        )
        known_ahead = len(WEATHER_MEANS) * len(channels.future) + 2 * len(channels.above)
        self.decode = nn.Sequential(_convolution(2 * hidden + known_ahead, hidden), _convolution(hidden, hidden))
        self.head = nn.Conv2d(hidden, 1 + gaussian, 1)

    def reach(self, look_back: int) -> int:
        """Cells from the border of a map or tile as far as which the border changes the forecast."""
        blocks = sum(isinstance(layer, GatedBlock) for layer in self.translate)
        return 4 + blocks * GatedBlock.reach

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
        mean, _ = self.distribution(inputs)
        return mean

    def distribution(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [m3 m-3] at each lead, (B, L, H, W) each; without ``gaussian`` it is NaN."""
        found = self._departure(inputs)
        mean: Tensor = self.anchor(inputs) + self.anchor.scale * found[:, :, 0]
        if not self.has_deviation:
            return mean, torch.full_like(mean, torch.nan)
        return mean, self.anchor.scale * (functional.softplus(found[:, :, 1]) + 1e-3)

    def _departure(self, inputs: Inputs) -> Tensor:
        """What the network adds to the anchor, in standard deviations (B, L, 1 or 2, H, W)."""
        batch, days, _, height, width = inputs.history.shape
        if days != self.look_back:
            raise ValueError(f"history of {days} days; this network was built for look_back {self.look_back}")
        history = self.history(logarithmic(inputs.history, self.channels.history))
        fixed = torch.cat([self.static(inputs.static), season(inputs.day, height, width)], dim=1)
        daily = torch.cat([history, fixed[:, None].expand(-1, days, -1, -1, -1)], dim=2)
        entered = self.enter(daily.flatten(0, 1))
        middle = self.translate(self.encode(entered).reshape(batch, -1, height, width))

        leads = len(self.channels.leads)
        last = entered.reshape(batch, days, -1, height, width)[:, -1:].expand(-1, leads, -1, -1, -1)
        at_leads = [middle.reshape(batch, leads, -1, height, width), last]
        if inputs.future is not None:
            weather = self.future(logarithmic(inputs.future, self.channels.future))
            at_leads.append(means_until(weather, self.channels.leads))
        if inputs.above is not None:
            at_leads += [self.above(inputs.above), torch.isfinite(inputs.above).float()]
        decoded = self.decode(torch.cat(at_leads, dim=2).flatten(0, 1))
        found: Tensor = self.head(decoded)
        return found.float().reshape(batch, leads, -1, height, width)


class GatedBlock(nn.Module):
    r"""Attention by convolution, then a network for each cell; each adds to what it is given.

    .. math::
        (g, u) &= W_2 * (D_5 \star D_3 \star \mathrm{GELU}(W_1 * \mathrm{BN}(x))) \\
        x' &= x + W_3 * (\sigma(g) \circ u) \\
        y &= x' + W_5 * \mathrm{GELU}(W_4 * \mathrm{BN}(x'))

    with 1 x 1 convolutions W and, for each channel by itself, :math:`D_3` of 3 x 3 cells and :math:`D_5` of
    5 x 5 cells two apart: 11 x 11 cells are seen at the cost of 34.

    Examples
    --------
    >>> GatedBlock(4, dropout=0.0)(torch.zeros(1, 4, 6, 5)).shape
    torch.Size([1, 4, 6, 5])
    """

    reach = 5
    """Cells as far as which a cell is seen: 1 by the 3 x 3, 4 by the 5 x 5 cells two apart."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Conv2d(width, width, 1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1, groups=width),
            nn.Conv2d(width, width, 5, padding=4, dilation=2, groups=width),
            nn.Conv2d(width, 2 * width, 1),
        )
        self.leave = nn.Conv2d(width, width, 1)
        self.think = nn.Sequential(
            nn.BatchNorm2d(width), nn.Conv2d(width, 2 * width, 1), nn.GELU(), nn.Conv2d(2 * width, width, 1)
        )
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) to the same."""
        gate, seen = self.look(x).chunk(2, dim=1)
        x = x + self.dropout(self.leave(torch.sigmoid(gate) * seen))
        added: Tensor = self.dropout(self.think(x))
        return x + added


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


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU())
