"""Downscaling network of two streams whose temporal one remembers months: an LSTM in place of the Transformer."""

from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn

from vadose.models.anchor import logarithmic
from vadose.models.mmnet import Downscaler, Features, Fine
from vadose.models.normalise import Normalise


class LongMMNet(Downscaler):
    r"""MMNet with a memory of hundreds of days.

    .. math::
        h_t &= \mathrm{LSTM}(h_{t-1}, \text{weather}_t, \text{static}) \\
        \hat y_d &= \bar y + \sigma_y \, g(W [\mathrm{MLP}_s(x_d), h_{d - e}, \mathrm{MLP}_a(a_{d - e})] + b)

    with the features x of day d, the weather up to e days before it, and the means a of the weather over
    the last days, see `trailing_means`. One pass over a series gives all its days (`of_days`), so that training on
    sequences costs little more than on one day.

    As in MMNet there are an encoder per stream, a linear fusion and a head of three layers. Different are layer
    normalisation, which does not mix the days of a sequence; an indicator of missing values for each feature, because
    satellites fail for weeks; and logarithms of precipitation and of ages.

    Parameters
    ----------
    features
        Names of the features; ``days`` is some hundreds.
    dropout
        Fraction of states and fused representation dropped in training.
    hidden
        Size of the state.
    width
        Width of the fused representation.
    repeated
        Names of constant snapshot features to append to the weather of every day, because drainage depends on soil
        texture. A map then needs a run of the LSTM for every pixel.
    local
        Names of two snapshot features: the site's normal of the day and the standard deviation of its anomalies. If
        known, the network predicts standardised anomalies.
    aggregates
        Days to average the weather over; none for the LSTM alone. Windows that reach beyond the series are averaged
        over the available days.

    References
    ----------
    Xu et al. (2025), doi:10.1029/2025JH000639; Hochreiter and Schmidhuber (1997),
    doi:10.1162/neco.1997.9.8.1735; soil moisture by an LSTM: Fang et al. (2017), doi:10.1002/2017GL075619.

    Examples
    --------
    >>> from vadose.models.mmnet import example_fine
    >>> features = Features(("ndvi", "clay_fraction"), ("precipitation",), days=100)
    >>> model = LongMMNet(features, hidden=8, repeated=("clay_fraction",))
    >>> model(example_fine(features, batch=4)).shape, model.of_days(*example_fine(features, batch=4, days=30))[0].shape
    (torch.Size([4]), torch.Size([4, 30]))
    """

    takes = "series"

    def __init__(
        self,
        features: Features,
        gaussian: bool = False,
        dropout: float = 0.2,
        missing: bool = True,
        hidden: int = 96,
        width: int = 128,
        repeated: tuple[str, ...] = (),
        local: tuple[str, str] | tuple[()] = (),
        aggregates: tuple[int, ...] = (1, 3, 7, 30, 90, 365),
    ) -> None:
        super().__init__(features, gaussian, missing, skewed=True)
        self.repeated = self.columns(tuple(repeated))
        self.folds = not self.repeated
        self.local = features.positions(tuple(local))
        self.windows = tuple(aggregates)
        self.means = Normalise(len(self.windows) * len(features.series), axis=-1)
        self.snapshot_encoder = _perceptron(self.snapshot_width, 64, 64, width)
        self.embed = nn.Linear(self.series_width + len(self.repeated), hidden)
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.means_encoder = _perceptron(len(self.means.mean), 64, hidden) if self.windows else None
        self.dropout = nn.Dropout(dropout)
        self.fusion = nn.Linear(width + hidden * (2 if self.windows else 1), width)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.GELU(), nn.Dropout(dropout))
        self.head.extend(_perceptron(width, 64, 32, 1 + gaussian))
        for bias in (self.lstm.bias_ih_l0, self.lstm.bias_hh_l0):
            assert isinstance(bias, Tensor)
            bias.data[hidden : 2 * hidden].fill_(1.5)  # remember for weeks, to begin with

    def normalisations(self) -> list[Normalise]:
        """As of all, and of the means."""
        return [*super().normalisations(), self.means]

    def fit_normalisation(self, batches: Iterable[tuple[Fine, Tensor]]) -> None:
        """Learn means and standard deviations from training batches, of single days or of sequences."""
        for fine, observed in batches:
            super().fit_normalisation([(fine, observed)])
            days = fine.snapshot.shape[1] if fine.snapshot.dim() == 3 else 1
            self.means.update(self._means(fine.series, days))

    def distribution(self, fine: Fine) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [m3 m-3], (N,) each; without ``gaussian`` the deviation is NaN."""
        mean, std = self.of_days(fine.snapshot[:, None], fine.series)
        return mean[:, 0], std[:, 0]

    def of_days(self, snapshot: Tensor, series: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [m3 m-3] of each of D days, (N, D) each.

        Of snapshots (N, D, S) and the series (N, T + D - 1, C): day d is told ``series[:, : T + d]``. The
        features in ``repeated`` are those of the first day.
        """
        told = self.of_snapshot(snapshot)
        code = self.series_code(series, days=snapshot.shape[1], fixed=told[:, 0, self.repeated])
        fused = self.fusion(torch.cat([self.snapshot_encoder(told), self.dropout(code)], dim=-1))
        centre, scale = snapshot[..., self.local].unbind(-1) if self.local else (None, None)
        return self.physical(self.head(fused), centre, scale)

    def series_code(self, series: Tensor, days: int, fixed: Tensor) -> Tensor:
        """What the temporal stream knows at the end of each of the last ``days`` of a series: (N, D, code).

        ``fixed`` (N, R) are the standardised features in ``repeated``.
        """
        daily = torch.cat([self.of_series(series), fixed[:, None].expand(-1, series.shape[1], -1)], dim=-1)
        states = self.lstm(torch.relu(self.embed(daily)))[0][:, -days:]
        if self.means_encoder is None:
            return states  # type: ignore[no-any-return]
        return torch.cat([states, self.means_encoder(self.means(self._means(series, days)))], dim=-1)

    def _means(self, series: Tensor, days: int) -> Tensor:
        """`trailing_means`, side by side, in logarithms where skewed: (N, D, W * C)."""
        means = trailing_means(series, self.windows, days).flatten(2)
        return logarithmic(means, self.features.series * len(self.windows))


def trailing_means(series: Tensor, windows: tuple[int, ...], days: int) -> Tensor:
    """Means over the last days up to each of the last ``days`` of a series: (N, T, C) to (N, D, W, C).

    Of the days known; NaN where none is.

    Examples
    --------
    >>> series = torch.tensor([1.0, 2.0, float("nan"), 6.0]).reshape(1, 4, 1)
    >>> trailing_means(series, (1, 2, 365), days=2)[0, :, :, 0].tolist()
    [[nan, 2.0, 1.5], [6.0, 6.0, 3.0]]
    """
    known = torch.isfinite(series)
    # Sums from the start of the series, in double precision: their differences are small beside them.
    sums = torch.where(known, series, 0.0).double().cumsum(1)
    both = torch.stack([sums, known.cumsum(1).double()])
    both = torch.cat([torch.zeros_like(both[:, :, :1]), both], dim=2)
    end = torch.arange(series.shape[1] - days, series.shape[1], device=series.device)[:, None] + 1
    start = (end - torch.tensor(windows, dtype=torch.int64, device=series.device)).clamp(min=0)
    total, count = both[:, :, end] - both[:, :, start]
    means: Tensor = total / count
    return means.to(series.dtype)


def _perceptron(*sizes: int) -> nn.Sequential:
    """Linear layers with layer normalisation and GELU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes[:-1]):
        layers += [nn.Linear(before, after), nn.LayerNorm(after), nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))
