"""A SimVP-like network: maps of all days at once in, maps of all lead times out, without recurrence."""

import torch
from torch import Tensor, nn

from vadose.models.anchor import Anchored
from vadose.models.inputs import Channels, Inputs


class SimVP(Anchored):
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
        if min(hidden, width, depth, look_back) < 1:
            raise ValueError(
                f"hidden {hidden}, width {width}, depth {depth}, look_back {look_back}: expected at least 1 each"
            )
        super().__init__(channels, look_back, gaussian)
        self.enter = _convolution(self.width_of_day, hidden)
        self.encode = _convolution(hidden, hidden)
        self.translate = nn.Sequential(
            nn.Conv2d(look_back * hidden, width, 1),
            *(GatedBlock(width, dropout) for _ in range(depth)),
            nn.Conv2d(width, len(channels.leads) * hidden, 1),
        )
        self.decode = nn.Sequential(_convolution(2 * hidden + self.width_ahead, hidden), _convolution(hidden, hidden))
        self.head = nn.Conv2d(hidden, 1 + gaussian, 1)

    def reach(self, look_back: int) -> int:
        """Cells from the border of a map or tile as far as which the border changes the forecast."""
        blocks = sum(isinstance(layer, GatedBlock) for layer in self.translate)
        return 4 + blocks * GatedBlock.reach

    def departure(self, inputs: Inputs) -> Tensor:
        """What the network adds to the anchor, in standard deviations (B, L, 1 or 2, H, W)."""
        batch, days, _, height, width = inputs.history.shape
        entered = self.enter(self.daily(inputs).flatten(0, 1))
        middle = self.translate(self.encode(entered).reshape(batch, -1, height, width))

        leads = len(self.channels.leads)
        last = entered.reshape(batch, days, -1, height, width)[:, -1:].expand(-1, leads, -1, -1, -1)
        at_leads = [middle.reshape(batch, leads, -1, height, width), last, *self.ahead(inputs)]
        found: Tensor = self.head(self.decode(torch.cat(at_leads, dim=2).flatten(0, 1)))
        return found.reshape(batch, leads, -1, height, width)


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


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU())
