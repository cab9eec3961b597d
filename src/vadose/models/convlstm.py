"""Convolutional LSTM with peepholes: windows of maps in, one map a lead time out."""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vadose.models.anchor import WEATHER_MEANS, Anchor
from vadose.models.contract import Forecaster
from vadose.models.gates import gated
from vadose.models.inputs import Channels, Inputs, season
from vadose.models.normalise import Normalise

LARGE = 1 << 14
"""Days x cells from which on gates are computed in one pass: it takes a compiler that is loaded in half a second."""


class ConvLSTMCell(nn.Module):
    r"""One layer of a convolutional LSTM with peepholes, over a whole sequence.

    .. math::
        i_t &= \sigma(W_{xi} * X_t + W_{hi} * H_{t-1} + W_{ci} \circ C_{t-1} + b_i) \quad (1) \\
        f_t &= \sigma(W_{xf} * X_t + W_{hf} * H_{t-1} + W_{cf} \circ C_{t-1} + b_f) \quad (2) \\
        o_t &= \sigma(W_{xo} * X_t + W_{ho} * H_{t-1} + W_{co} \circ C_t + b_o) \quad (3) \\
        \tilde C_t &= \tanh(W_{xc} * X_t + W_{hc} * H_{t-1} + b_c) \quad (4) \\
        C_t &= f_t \circ C_{t-1} + i_t \circ \tilde C_t \quad (5) \\
        H_t &= o_t \circ \tanh(C_t) \quad (6)

    The convolution of the inputs is done for all days at once, and that of the first, zero state
    is left out: both change nothing but the time taken.

    Parameters
    ----------
    inputs, hidden
        Channels in and out.
    kernel
        Edge of the square kernels, odd; padding keeps the size of the map.
    peephole
        ``'channel'``: one weight a channel, for maps of any size; ``'position'``: one a channel and
        cell of a window of ``positions`` cells; ``'none'``.

    References
    ----------
    Shi et al. (2015), doi:10.48550/arXiv.1506.04214; Rabiei et al. (2025), doi:10.3390/rs17183219.

    Examples
    --------
    >>> ConvLSTMCell(2, 4)(torch.zeros(1, 3, 2, 8, 8)).shape
    torch.Size([1, 3, 4, 8, 8])
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        kernel: int = 3,
        peephole: str = "channel",
        positions: tuple[int, int] = (8, 8),
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel {kernel} is even; 'same' padding needs an odd one")
        # Gates in the order i, f, candidate, o, as torch.nn.LSTM has them.
        self.from_input = nn.Conv2d(inputs, 4 * hidden, kernel, padding=kernel // 2)
        self.from_state = nn.Conv2d(hidden, 4 * hidden, kernel, padding=kernel // 2, bias=False)
        sizes = {"channel": (3, hidden, 1, 1), "position": (3, hidden, *positions)}
        if peephole not in (*sizes, "none"):
            raise ValueError(f"peephole {peephole!r} unknown; choose from {[*sizes, 'none']}")
        self.peephole = nn.Parameter(torch.zeros(sizes[peephole])) if peephole in sizes else None
        for layer in (self.from_input, self.from_state):
            nn.init.xavier_normal_(layer.weight)
        if self.peephole is not None:
            nn.init.normal_(self.peephole, std=1 / math.sqrt(hidden))
        assert self.from_input.bias is not None
        nn.init.zeros_(self.from_input.bias)
        nn.init.ones_(self.from_input.bias.data[hidden : 2 * hidden])  # remember, to begin with

    def forward(self, sequence: Tensor) -> Tensor:
        """(B, T, C, H, W) to the hidden states (B, T, hidden, H, W)."""
        if self._at_once(sequence):
            return self._in_one_pass(sequence)
        from_input = _days(self.from_input(sequence.flatten(0, 1)), sequence.shape[1])
        states: list[Tensor] = []
        cell: Tensor | None = None
        for t in range(sequence.shape[1]):
            gates = from_input[:, t] if cell is None else from_input[:, t] + self.from_state(states[-1])
            to_i, to_f, to_c, to_o = gates.chunk(4, dim=1)
            if self.peephole is not None and cell is not None:
                to_i, to_f = to_i + self.peephole[0] * cell, to_f + self.peephole[1] * cell
            new = torch.sigmoid(to_i) * torch.tanh(to_c)
            cell = new if cell is None else torch.sigmoid(to_f) * cell + new
            if self.peephole is not None:
                to_o = to_o + self.peephole[2] * cell
            states.append(torch.sigmoid(to_o) * torch.tanh(cell))
        return torch.stack(states, dim=1)

    def _at_once(self, sequence: Tensor) -> bool:
        """Whether to compute gates in one pass: of many cells on a processor, of which no gradient is wanted."""
        alike = self.peephole is None or self.peephole.shape[-2:].numel() == 1
        wanted = torch.is_grad_enabled() or torch.compiler.is_compiling()
        large = sequence[:, :, 0].numel() >= LARGE and sequence.dtype == torch.float32
        return large and alike and not wanted and sequence.device.type == "cpu"

    def _in_one_pass(self, sequence: Tensor) -> Tensor:
        """The same within rounding, without gradients: channels last, gates by `vadose.models.gates`."""
        size, days, _, height, width = sequence.shape
        hidden = self.from_state.in_channels
        peephole = torch.zeros(3, hidden) if self.peephole is None else self.peephole.flatten(1)
        of_cells = np.zeros((size, height * width, hidden), np.float32)
        states = np.empty((size, days, height * width, hidden), np.float32)
        found = torch.from_numpy(states).reshape(size, days, height, width, hidden).permute(0, 1, 4, 2, 3)

        def of_maps(layer: nn.Conv2d, maps: Tensor) -> Tensor:
            gates: Tensor = layer(maps.contiguous(memory_format=torch.channels_last))
            return gates.permute(0, 2, 3, 1).reshape(size, height * width, -1)

        # Day by day: what the convolution gives of all days is most of the memory of a forecast.
        for day in range(days):
            from_state = of_maps(self.from_state, found[:, day - 1]) if day else None
            gated(of_maps(self.from_input, sequence[:, day]), from_state, peephole, day, of_cells, states)
        return found


class ConvLSTM(Forecaster):
    r"""Stacked convolutional LSTM layers and a 1 x 1 convolution on the last hidden state.

    .. math:: Y = W_y * H_T + b_y \quad (7)

    One network predicts all lead times. With known-future weather the head also uses, at each lead time, its means
    over the 1, 3, 7 and 30 days up to the valid day (those after ``t0``); in a cascade it uses the forecasts of the
    layers above for the same day. With ``cascade='sequence'`` of the channels these are, as in the paper, predictors
    of the sequence instead: on each day of the look-back the forecasts issued on that day, one a layer and lead.

    Differs from the paper: Glorot-normal weights and a forget bias of one (the paper says normal);
    one peephole weight per channel by default, so that maps can have any size; the season enters as
    sine and cosine; the head with weather, ``departure`` and ``gaussian`` are additions.

    Parameters
    ----------
    channels
        Predictors and lead times.
    filters
        Hidden channels of the layers; the paper's are 4, 16, 32, 64, 128, 256.
    kernel, peephole, positions
        See `ConvLSTMCell`.
    dropout
        Fraction of channels dropped after every second layer in training.
    departure
        Predict the departure from the damped last value, see `Anchor`, instead of from the mean.
    gaussian
        Also predict a standard deviation, see `distribution`.
    dense
        Read the state of a whole window of ``positions`` cells by one fully connected layer, as the paper's last layer
        can be understood, instead of each cell's by the same weights. For windows of that size, without weather ahead
        or forecasts at the head.

    References
    ----------
    Rabiei et al. (2025), doi:10.3390/rs17183219.

    Examples
    --------
    >>> from vadose.models.inputs import example_inputs
    >>> channels = Channels(("soil_moisture_filled", "precipitation"), target="soil_moisture_filled")
    >>> ConvLSTM(channels, filters=(4, 8))(example_inputs(channels, look_back=3, size=8)).shape
    torch.Size([2, 5, 8, 8])
    """

    gains_by_bfloat16 = True
    cascades = ("head", "sequence")

    def __init__(
        self,
        channels: Channels,
        filters: tuple[int, ...] = (4, 16, 32, 64, 128, 256),
        kernel: int = 3,
        peephole: str = "channel",
        positions: tuple[int, int] = (8, 8),
        dropout: float = 0.2,
        departure: bool = False,
        gaussian: bool = False,
        dense: bool = False,
    ) -> None:
        super().__init__(channels)
        self.dense = dense
        self.has_deviation = gaussian
        self.history = Normalise(len(channels.history), axis=2)
        self.static = Normalise(len(channels.static), axis=1)
        self.future = Normalise(len(channels.future), axis=2)
        self.above = Normalise(len(channels.above), axis=-3)
        self.anchor = Anchor(channels, last=departure)
        at_head = channels.cascade == "head"
        modelled = 0 if at_head else len(channels.leads) * len(channels.above)
        widths = (len(channels.history) + modelled + len(channels.static) + 2, *filters)
        self.layers = nn.ModuleList(ConvLSTMCell(a, b, kernel, peephole, positions) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in filters)
        self.dropout = nn.Dropout2d(dropout)
        outputs = 1 + gaussian
        self.reads_leads = bool(channels.future or (at_head and channels.above))
        if dense and self.reads_leads:
            raise ValueError("dense is of a state alone; it cannot read weather ahead or layers above at the head")
        if self.reads_leads:
            extra = len(WEATHER_MEANS) * len(channels.future) + at_head * len(channels.above) + 1
            self.head: nn.Module = nn.Sequential(
                nn.Conv2d(filters[-1] + extra, 64, 1), nn.ReLU(), nn.Conv2d(64, outputs, 1)
            )
        elif dense:
            maps, cells = outputs * len(channels.leads), math.prod(positions)
            layer = nn.Linear(filters[-1] * cells, maps * cells)
            self.head = nn.Sequential(nn.Flatten(), layer, nn.Unflatten(1, (maps, *positions)))
        else:
            self.head = nn.Conv2d(filters[-1], outputs * len(channels.leads), 1)

    def fit_normalisation(self, batches: Iterable[tuple[Inputs, Tensor]]) -> None:
        """Learn the means and standard deviations of the predictors from training batches."""
        for inputs, observed in batches:
            self.history.update(inputs.history)
            self.static.update(inputs.static)
            self.anchor.learn(observed)
            if inputs.future is not None:
                self.future.update(inputs.future)
            if inputs.above is not None:
                self.above.update(inputs.above)

    def forward(self, inputs: Inputs) -> Tensor:
        """Soil moisture [m3 m-3] at each lead (B, L, H, W)."""
        return self.distribution(inputs)[0]

    def distribution(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [m3 m-3] at each lead, (B, L, H, W) each; NaN without ``gaussian``."""
        read = self._read(inputs)
        mean: Tensor = self.anchor(inputs) + self.anchor.scale * read[:, :, 0]
        if not self.has_deviation:
            return mean, torch.full_like(mean, torch.nan)
        return mean, self.anchor.scale * (functional.softplus(read[:, :, 1]) + 1e-3)

    def reach(self, look_back: int) -> int | None:
        r"""Every way from a cell of the first day to a forecast passes one convolution of inputs in each layer and one
        of states in each step of time, :math:`\lfloor k / 2 \rfloor \, (\text{layers} + \text{days} - 1)`: 8 for the
        six layers and three days of the paper. None with peepholes of each position or a dense head, which fit windows
        of one size.

        Examples
        --------
        >>> ConvLSTM(Channels(("soil_moisture",)), filters=(4, 8, 8, 8, 8, 8)).reach(look_back=3)
        8
        """
        cells: list[Any] = list(self.layers)
        if self.dense or any(cell.peephole is not None and cell.peephole.shape[-2:].numel() > 1 for cell in cells):
            return None
        return int(cells[0].from_input.kernel_size[0] // 2) * (len(cells) + look_back - 1)

    def _read(self, inputs: Inputs) -> Tensor:
        """What the head gives, in standard deviations: (B, L, 1 or 2, H, W)."""
        history = self.history(inputs.history)
        batch, days, _, height, width = history.shape
        fixed = torch.cat([self.static(inputs.static), season(inputs.day, height, width)], dim=1)
        daily = [history, fixed[:, None].expand(-1, days, -1, -1, -1)]
        if inputs.above is not None and self.channels.cascade == "sequence":
            daily.append(self.above(inputs.above).flatten(2, 3))
        sequence = torch.cat(daily, dim=2)
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            sequence = layer(sequence)
            if number + 1 == len(self.layers):
                sequence, days = sequence[:, -1:], 1
            sequence = torch.relu(norm(sequence.flatten(0, 1)))
            if number % 2:
                sequence = self.dropout(sequence)
            sequence = _days(sequence, days)
        state = sequence[:, -1]
        read: Tensor
        if not self.reads_leads:
            read = self.head(state)
        else:
            told = self._at_leads(inputs)
            repeated = state[:, None].expand(-1, told.shape[1], -1, -1, -1)
            read = self.head(torch.cat([repeated, told], dim=2).flatten(0, 1))
        return read.float().reshape(batch, len(self.channels.leads), -1, height, width)

    def _at_leads(self, inputs: Inputs) -> Tensor:
        """Means of the future weather, forecasts of the layers above, and the lead: (B, L, channels, H, W)."""
        at_leads = []
        total: Tensor | None = None
        if inputs.future is not None:
            future = self.future(inputs.future)
            total = torch.cat([torch.zeros_like(future[:, :1]), future.cumsum(dim=1)], dim=1)
        at_head = inputs.above is not None and self.channels.cascade == "head"
        above = self.above(inputs.above) if at_head else None
        for number, lead in enumerate(self.channels.leads):
            told = [torch.full_like(inputs.history[:, 0, :1], math.log(lead) / 3)]
            if total is not None:
                told += [(total[:, lead] - total[:, max(lead - days, 0)]) / min(days, lead) for days in WEATHER_MEANS]
            if above is not None:
                told.append(above[:, number])
            at_leads.append(torch.cat(told, dim=1))
        return torch.stack(at_leads, dim=1)


def _days(maps: Tensor, days: int) -> Tensor:
    """(B * T, C, H, W) back to (B, T, C, H, W)."""
    return maps.reshape(-1, days, *maps.shape[1:])
