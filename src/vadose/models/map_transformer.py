"""A transformer of maps: attention over the days of a cell in turn with attention over the cells around it."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vadose.models.anchor import Anchored
from vadose.models.inputs import Channels, Inputs


class MapTransformer(Anchored):
    r"""Embed each cell of each day, mix days and neighbours by attention, read every lead from the state on ``t0``.

    .. math::
        z_{d,s} &= W_e \, (x_{d,s}, \text{static}_s, \text{season}) + p_d, \quad d = t_0 - T + 1 .. t_0 \\
        z &\leftarrow \mathrm{Block}_k(z), \quad k = 1 .. K \\
        \hat y_s(t_0 + L) &= a_{L,s} + \sigma \, g(\mathrm{LN}(z_{t_0,s}) W + q_L + W_a (\text{weather}_{L,s},
        \text{above}_{L,s}))

    for cells s, with `DividedBlock`. :math:`a_L` is the damped last value, see `Anchor`; p and q are learnt; g is a
    perceptron of one hidden layer. Known-future weather enters by its means over the 1, 3, 7 and 30 days up to the
    valid day (those after ``t0``), a cascade by the forecasts of the layers above and whether they exist.

    Divided attention over time and space is that of TimeSformer, in local windows as in Earthformer's cuboids. The
    window of a cell is centred on it (neighbourhood attention) instead of one of a shifted partition: the network is
    equivariant to translation, so that tiles with a halo of `reach` equal the complete map. There are no patches and
    no coarser levels, because forecasts are per cell.

    Parameters
    ----------
    channels
        Predictors and lead times.
    width, heads
        Size of the state of a cell and day, and into how many heads attention divides it.
    depth
        Number of blocks.
    window
        Cells along the edge of the square that a cell attends to, odd.
    dropout
        Fraction dropped from what a block adds in training.
    look_back
        Number of days of history; fixed for a network.
    gaussian
        Also predict a standard deviation, see `distribution`.

    References
    ----------
    Divided attention: Bertasius et al. (2021), TimeSformer, doi:10.48550/arXiv.2102.05095; local attention in space and
    time for the earth's systems: Gao et al. (2022), Earthformer, doi:10.48550/arXiv.2207.05833; windows centred on each
    cell: Hassani et al. (2023), doi:10.48550/arXiv.2204.07143; relative positions: Liu et al. (2021), Swin,
    doi:10.48550/arXiv.2103.14030.

    Examples
    --------
    >>> from vadose.models.inputs import example_inputs
    >>> channels = Channels(("soil_moisture_filled", "precipitation"), target="soil_moisture_filled")
    >>> model = MapTransformer(channels, width=8, heads=2, depth=2, window=5, gaussian=True)
    >>> mean, std = model.distribution(example_inputs(channels, look_back=3, size=9))
    >>> mean.shape, bool((std > 0).all()), model.reach(look_back=3)
    (torch.Size([2, 5, 9, 9]), True, 4)
    """

    def __init__(
        self,
        channels: Channels,
        width: int = 64,
        heads: int = 4,
        depth: int = 3,
        window: int = 5,
        dropout: float = 0.1,
        look_back: int = 3,
        gaussian: bool = False,
    ) -> None:
        if min(width, heads, depth, look_back) < 1:
            raise ValueError(
                f"width {width}, heads {heads}, depth {depth}, look_back {look_back}: expected at least 1 each"
            )
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        if window < 1 or window % 2 == 0:
            raise ValueError(f"window {window}: expected an odd number of cells, which has a centre")
        super().__init__(channels, look_back, gaussian)
        self.embed = nn.Linear(self.width_of_day, width)
        self.of_day = nn.Parameter(0.02 * torch.randn(look_back, 1, 1, width))
        self.blocks = nn.ModuleList(DividedBlock(width, heads, window, look_back, dropout) for _ in range(depth))
        self.from_now = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.from_lead = nn.Parameter(0.02 * torch.randn(len(channels.leads), 1, 1, width))
        self.from_ahead = nn.Linear(self.width_ahead, width, bias=False) if self.width_ahead else None
        self.head = nn.Linear(width, 1 + gaussian)

    def reach(self, look_back: int) -> int:
        """Cells as far as which a cell is seen: half a window in each block."""
        return sum(block.window // 2 for block in self.blocks if isinstance(block, DividedBlock))

    def departure(self, inputs: Inputs) -> Tensor:
        """What the network adds to the anchor, in standard deviations (B, L, 1 or 2, H, W)."""
        # Channels last from here on.
        states = self.embed(self.daily(inputs).movedim(2, -1)) + self.of_day
        for number, block in enumerate(self.blocks, start=1):
            # Of the last block the state on t0 alone is read.
            states = block(states, last=number == len(self.blocks))
        at_leads = self.from_now(states) + self.from_lead
        if self.from_ahead is not None:
            at_leads = at_leads + self.from_ahead(torch.cat(self.ahead(inputs), dim=2).movedim(2, -1))
        found: Tensor = self.head(functional.gelu(at_leads))
        return found.movedim(-1, 2)


class DividedBlock(nn.Module):
    r"""Attention over the days of a cell, then over the cells around it, then a perceptron; each adds to the state.

    .. math::
        z'_{d,s} &= z_{d,s} + W_1 \sum_{e} \mathrm{softmax}_e
        (q_{d,s} \cdot k_{e,s} / \sqrt{c} + b_{e - d}) \, v_{e,s} \\
        z''_{d,s} &= z'_{d,s} + W_2 \sum_{r \in N_s} \mathrm{softmax}_r
        (q'_{d,s} \cdot k'_{d,r} / \sqrt{c} + b'_{r - s}) \, v'_{d,r} \\
        y &= z'' + W_4 \, \mathrm{GELU}(W_3 \, \mathrm{LN}(z''))

    with, in each head of c channels, (q, k, v) linear in LN(z), (q', k', v') in LN(z'), learnt biases b, b' of the
    relative position and :math:`N_s` the window centred on s. Cells beyond the border of the map have keys and values
    of 0, as the padding of a convolution.

    Examples
    --------
    >>> block = DividedBlock(width=8, heads=2, window=3, look_back=4, dropout=0.0)
    >>> block(torch.zeros(1, 4, 6, 5, 8)).shape, block(torch.zeros(1, 4, 6, 5, 8), last=True).shape
    (torch.Size([1, 4, 6, 5, 8]), torch.Size([1, 1, 6, 5, 8]))
    """

    lags: Tensor

    def __init__(self, width: int, heads: int, window: int, look_back: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.read_days, self.read_cells = (
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 3 * width)) for _ in "ab"
        )
        self.leave_days, self.leave_cells = nn.Linear(width, width), nn.Linear(width, width)
        self.bias_days = nn.Parameter(torch.zeros(heads, 2 * look_back - 1))
        self.bias_cells = nn.Parameter(torch.zeros(heads, window * window))
        self.think = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.dropout = nn.Dropout(dropout)
        day = torch.arange(look_back)
        self.register_buffer("lags", day - day[:, None] + look_back - 1, persistent=False)

    def forward(self, states: Tensor, last: bool = False) -> Tensor:
        """(B, T, H, W, width) to the same, or with ``last`` to that of the last day, (B, 1, H, W, width)."""
        first = states.shape[1] - 1 if last else 0
        states = states[:, first:] + self.dropout(self.leave_days(self._over_days(states, first)))
        states = states + self.dropout(self.leave_cells(self._over_cells(states)))
        added: Tensor = self.dropout(self.think(states))
        return states + added

    def _over_days(self, states: Tensor, first: int) -> Tensor:
        """What the days from ``first`` on take of all days, at each cell."""
        batch, days, *size, width = states.shape
        by_cell = self.read_days(states).reshape(batch, days, -1, 3, self.heads, width // self.heads)
        # To (cells, heads, days, channels).
        query, key, value = by_cell.permute(3, 0, 2, 4, 1, 5).flatten(1, 2)
        bias = self.bias_days[:, self.lags[first:]].to(query.dtype)
        taken = functional.scaled_dot_product_attention(query[:, :, first:], key, value, attn_mask=bias)
        by_day = taken.reshape(batch, -1, *taken.shape[1:]).permute(0, 3, 1, 2, 4)
        return by_day.reshape(batch, days - first, *size, width)

    def _over_cells(self, states: Tensor) -> Tensor:
        """What each cell takes of the cells of its window, on each day."""
        height, width = states.shape[2:4]
        read = self.read_cells(states).unflatten(-1, (3, self.heads, -1))
        query, around = read[..., 0, :, :], functional.pad(read[..., 1:, :, :], (0,) * 6 + (self.window // 2,) * 4)
        query = query * query.shape[-1] ** -0.5
        # One cell of the window after another: all at once would copy keys and values as often as it has cells.
        window = [(row, column) for row in range(self.window) for column in range(self.window)]
        near = [around[:, :, row : row + height, column : column + width] for row, column in window]
        fits = torch.stack([(query * part[..., 0, :, :]).sum(-1) for part in near], dim=-1)
        share = torch.softmax(fits + self.bias_cells, dim=-1).to(query.dtype)
        taken = torch.zeros_like(query)
        for number, part in enumerate(near):
            taken = taken + share[..., number, None] * part[..., 1, :, :]
        return taken.flatten(-2)
