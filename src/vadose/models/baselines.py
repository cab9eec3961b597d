"""Persistence, day-of-year climatology and damped persistence: what every model has to beat."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from vadose.models.contract import Forecaster
from vadose.models.inputs import Channels, Inputs

Batches = Iterable[tuple[Inputs, Tensor]]


class Persistence(Forecaster):
    r"""Last known value, :math:`\hat y(t_0 + L) = y(t_0)`; NaN before the first observation.

    Examples
    --------
    >>> from vadose.models.inputs import example_inputs
    >>> channels = Channels(("soil_moisture_filled",), target="soil_moisture_filled")
    >>> inputs = example_inputs(channels)
    >>> bool((Persistence(channels)(inputs)[:, 4] == inputs.history[:, -1, 0]).all())
    True
    """

    learns = "at_once"
    of_each_cell = True

    def fit(self, batches: Batches) -> None:
        """Nothing to learn."""

    def forward(self, inputs: Inputs) -> Tensor:
        """Soil moisture [m3 m-3] at each lead (B, L, H, W)."""
        last = inputs.history[:, -1, self.channels.position(self.channels.target)]
        return last[:, None].repeat(1, len(self.channels.leads), 1, 1)


class Climatology(Forecaster):
    r"""Mean and first annual harmonic of each cell's training observations.

    .. math:: \hat y(d) = a + b \sin(2 \pi d / 365.2425) + c \cos(2 \pi d / 365.2425)

    The harmonic is fitted by ridge regression with a penalty of ``prior`` observations, because the training period
    may be shorter than a year; the mean is not shrunk. Cells without training observations are NaN. The standard
    deviation (`distribution`) is the root mean square of a cell's training errors, shrunk toward that of all cells,
    which counts as ``prior`` additional pairs.

    Parameters
    ----------
    channels
        Lead times.
    grid
        Rows and columns of the cube.
    prior
        Weight of the prior on the harmonic, in observations.

    Examples
    --------
    >>> from vadose.models.inputs import example_inputs
    >>> channels = Channels(("soil_moisture_filled",), leads=(1,), target="soil_moisture_filled")
    >>> model = Climatology(channels, grid=(1, 1))
    >>> inputs = example_inputs(channels)
    >>> model.fit([(inputs, torch.full((2, 1, 1, 1), 0.25))])
    >>> model(inputs).flatten().tolist()
    [0.25, 0.25]
    """

    learns = "at_once"
    has_deviation = keeps_cells = of_each_cell = True
    coefficients: Tensor
    spread: Tensor

    def __init__(self, channels: Channels, grid: tuple[int, int], prior: float = 10.0) -> None:
        super().__init__(channels)
        self.prior = prior
        self.register_buffer("coefficients", torch.full((*grid, 3), torch.nan, dtype=torch.float64))
        self.register_buffer("spread", torch.full((*grid, len(channels.leads)), torch.nan, dtype=torch.float64))

    def fit(self, batches: Batches) -> None:
        """Fit every cell's three coefficients; each observation counts once, at the first lead."""
        grid = self.coefficients.shape[:2]
        normal = torch.zeros(*grid, 3, 3, dtype=torch.float64)
        right = torch.zeros(*grid, 3, dtype=torch.float64)
        for inputs, target in batches:
            basis = _harmonic(inputs.day + self.channels.leads[0])
            known = torch.isfinite(target[:, 0])
            y = torch.where(known, target[:, 0], 0.0).double()
            squares = (basis[:, :, None] * basis[:, None]).flatten(1)
            _add(normal.view(*grid, 9), inputs, torch.einsum("bhw,bk->bhwk", known.double(), squares), known)
            _add(right, inputs, torch.einsum("bhw,bk->bhwk", y, basis), known)
        some = normal[..., 0, 0] > 0
        ridge = torch.diag(torch.tensor([0.0, self.prior, self.prior], dtype=torch.float64))
        solved = torch.linalg.solve(normal[some] + ridge, right[some])
        self.coefficients.fill_(torch.nan)
        self.coefficients[some] = solved
        self.spread.copy_(_spread(self, batches, grid, self.prior))

    def at(self, inputs: Inputs, days_ahead: Tensor) -> Tensor:
        """Climatology (B, L, H, W) of the days ``t0 + days_ahead`` (L,) or (B, L)."""
        rows, columns = _cells(inputs)
        basis = _harmonic(inputs.day[:, None] + days_ahead)
        return torch.einsum("bhwk,blk->blhw", self.coefficients[rows, columns], basis).float()

    def forward(self, inputs: Inputs) -> Tensor:
        """Soil moisture [m3 m-3] at each lead (B, L, H, W)."""
        return self.at(inputs, torch.tensor(self.channels.leads))

    def distribution(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [m3 m-3] at each lead, (B, L, H, W) each."""
        return self(inputs), _of_cells(self.spread, inputs)


class DampedPersistence(Forecaster):
    r"""Climatology plus the last anomaly, damped by a factor for each lead and cell.

    .. math:: \hat y(t_0 + L) = c(t_0 + L) + \rho_L \, (y(t_0) - c(t_0))

    The factor is the regression coefficient of later on earlier anomalies in training. That of a cell is shrunk
    toward that of all cells, which counts as ``prior`` additional pairs. The standard deviation, the root mean square
    of the training errors, is shrunk in the same way.

    Parameters
    ----------
    channels
        Lead times.
    grid
        Rows and columns of the cube.
    prior
        Weight of the factor of all cells, in pairs.
    """

    learns = "at_once"
    has_deviation = keeps_cells = of_each_cell = True
    factor: Tensor
    spread: Tensor

    def __init__(self, channels: Channels, grid: tuple[int, int], prior: float = 30.0) -> None:
        super().__init__(channels)
        self.prior = prior
        self.climatology = Climatology(channels, grid)
        self.register_buffer("factor", torch.zeros(*grid, len(channels.leads), dtype=torch.float64))
        self.register_buffer("spread", torch.full_like(self.factor, torch.nan))

    def fit(self, batches: Batches) -> None:
        """Fit the climatology, then the factors, then the deviations; goes through the batches for each."""
        self.climatology.fit(batches)
        products, squares, pairs = (torch.zeros_like(self.factor) for _ in range(3))
        for inputs, target in batches:
            now = self._anomaly(inputs)[:, None].expand_as(target)
            later = target - self.climatology(inputs)
            known = torch.isfinite(now) & torch.isfinite(later)
            a, b = (torch.where(known, part, 0.0).double().movedim(1, -1) for part in (now, later))
            some = known.any(dim=1)
            _add(products, inputs, a * b, some)
            _add(squares, inputs, a * a, some)
            _add(pairs, inputs, known.double().movedim(1, -1), some)
        all_cells = products.sum((0, 1)) / squares.sum((0, 1)).clamp(min=1e-12)
        mean_square = squares.sum((0, 1)) / pairs.sum((0, 1)).clamp(min=1)
        weight = self.prior * mean_square
        self.factor.copy_((products + weight * all_cells) / (squares + weight).clamp(min=1e-12))
        self.spread.copy_(_spread(self, batches, self.factor.shape[:2], self.prior))

    def _anomaly(self, inputs: Inputs) -> Tensor:
        last = inputs.history[:, -1, self.channels.position(self.channels.target)]
        return last - self.climatology.at(inputs, torch.tensor([0]))[:, 0]

    def forward(self, inputs: Inputs) -> Tensor:
        """Soil moisture [m3 m-3] at each lead (B, L, H, W)."""
        normal: Tensor = self.climatology(inputs)
        return normal + _of_cells(self.factor, inputs) * self._anomaly(inputs)[:, None]

    def distribution(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [m3 m-3] at each lead, (B, L, H, W) each."""
        return self(inputs), _of_cells(self.spread, inputs)


def _spread(model: nn.Module, batches: Batches, grid: torch.Size, prior: float) -> Tensor:
    """Root mean square error (rows, columns, L) of training, each cell's shrunk toward that of all."""
    squares: Tensor | None = None
    for inputs, target in batches:
        error = target - model(inputs)
        if squares is None:
            squares = torch.zeros(*grid, error.shape[1], dtype=torch.float64)
            pairs = torch.zeros_like(squares)
        known = torch.isfinite(error).movedim(1, -1)
        some = known.any(dim=-1)
        _add(squares, inputs, torch.where(known, error.movedim(1, -1), 0.0).double() ** 2, some)
        _add(pairs, inputs, known.double(), some)
    if squares is None:
        return torch.full((*grid, 1), torch.nan, dtype=torch.float64)
    all_cells = squares.sum((0, 1)) / pairs.sum((0, 1)).clamp(min=1)
    return ((squares + prior * all_cells) / (pairs + prior)).sqrt()


def _of_cells(values: Tensor, inputs: Inputs) -> Tensor:
    """Values (rows, columns, L) at the windows' cells, (B, L, H, W)."""
    rows, columns = _cells(inputs)
    return values[rows, columns].movedim(-1, 1).float()


def _add(total: Tensor, inputs: Inputs, values: Tensor, where: Tensor) -> None:
    """Add values (B, H, W, n) of the windows to the sums (rows, columns, n) of their cells, where marked."""
    if values.shape[1:3] == total.shape[:2]:
        total += values.sum(dim=0)
    else:
        rows, columns = _cells(inputs)
        total.index_put_((rows[where], columns[where]), values[where], accumulate=True)


def _cells(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Row and column (B, H, W) of every cell of the windows."""
    height, width = inputs.history.shape[-2:]
    shape = (len(inputs.cell), height, width)
    rows = inputs.cell[:, 0, None, None] + torch.arange(height)[None, :, None]
    columns = inputs.cell[:, 1, None, None] + torch.arange(width)[None, None, :]
    return rows.expand(shape), columns.expand(shape)


def _harmonic(day: Tensor) -> Tensor:
    """1, sine and cosine of the time of year, (..., 3)."""
    angle = 2 * torch.pi * day.double() / 365.2425
    return torch.stack([torch.ones_like(angle), torch.sin(angle), torch.cos(angle)], dim=-1)
