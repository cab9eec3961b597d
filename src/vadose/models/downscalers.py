"""The rivals of one stream of the paper that MMNet is from."""

import torch
from torch import Tensor, nn

from vadose.models.mmnet import Downscaler, Features, SeriesEncoder, perceptron


class MLP(Downscaler):
    """The snapshot encoder alone, with the weather of the last day of the series, or with ``full`` of all its days.

    Differs from the paper, whose MLP uses the weather of the estimated day; here it does if the series ends with that
    day (``Features.ends`` 0).

    Parameters
    ----------
    features
        Names of the features; with ``full`` the series has exactly ``features.days`` days.
    dropout
        Fraction of the representation dropped in training.
    full
        MLP_full of the paper: the flattened series and the snapshot.

    References
    ----------
    Xu et al. (2025, section 3.3.2), doi:10.1029/2025JH000639.

    Examples
    --------
    >>> from vadose.models.mmnet import example_fine
    >>> features = Features(("ndvi", "clay_fraction"), ("precipitation",), days=10)
    >>> MLP(features, full=True)(example_fine(features, batch=4)).shape
    torch.Size([4])
    """

    def __init__(
        self,
        features: Features,
        gaussian: bool = False,
        dropout: float = 0.0,
        missing: bool = False,
        full: bool = False,
    ) -> None:
        super().__init__(features, gaussian, missing)
        self.days = features.days if full else 1
        self.encoder = perceptron(self.snapshot_width + self.days * self.series_width, 32, 64, 128)
        self.dropout = nn.Dropout(dropout)
        self.head = perceptron(128, 64, 32, 1 + gaussian)

    def read(self, snapshot: Tensor, series: Tensor) -> Tensor:
        """Standardised moisture from standardised features."""
        encoded = self.encoder(torch.cat([snapshot, series[:, -self.days :].flatten(1)], dim=-1))
        return self.head(self.dropout(encoded))  # type: ignore[no-any-return]


class MLPFull(MLP):
    """MLP_full of the paper: the flattened series and the snapshot."""

    def __init__(self, features: Features, gaussian: bool = False, dropout: float = 0.0, missing: bool = False) -> None:
        super().__init__(features, gaussian, dropout, missing, full=True)


class Transformer(Downscaler):
    """The temporal encoder alone; snapshot features in ``repeated`` are appended to the weather of every day.

    Differs from the paper: coarse soil moisture in ``repeated`` has its value of the estimated day on every day. The
    paper uses its series, as here if it is one of ``Features.series``.

    Parameters
    ----------
    dropout
        Fraction dropped in training, within the Transformer layer and of the representation.
    repeated
        Names of snapshot features to append to every day.
    full
        Transformer_full of the paper: all snapshot features appended.

    References
    ----------
    Xu et al. (2025, section 3.3.2), doi:10.1029/2025JH000639.

    Examples
    --------
    >>> from vadose.models.mmnet import example_fine
    >>> features = Features(("ndvi", "soil_moisture_smap_l4"), ("precipitation",), days=10)
    >>> Transformer(features, repeated=("soil_moisture_smap_l4",))(example_fine(features, batch=4)).shape
    torch.Size([4])
    """

    def __init__(
        self,
        features: Features,
        gaussian: bool = False,
        dropout: float = 0.0,
        missing: bool = False,
        repeated: tuple[str, ...] = (),
        full: bool = False,
    ) -> None:
        super().__init__(features, gaussian, missing)
        self.repeated = self.columns(features.snapshot if full else tuple(repeated))
        self.encoder = SeriesEncoder(self.series_width + len(self.repeated), features.ends, dropout)
        self.dropout = nn.Dropout(dropout)
        self.head = perceptron(128, 64, 32, 1 + gaussian)

    def read(self, snapshot: Tensor, series: Tensor) -> Tensor:
        """Standardised moisture from standardised features."""
        encoded = self.encoder(_appended(series, snapshot[:, self.repeated]))
        return self.head(self.dropout(encoded))  # type: ignore[no-any-return]


class TransformerFull(Transformer):
    """Transformer_full of the paper: all snapshot features appended to the weather of every day."""

    def __init__(self, features: Features, gaussian: bool = False, dropout: float = 0.0, missing: bool = False) -> None:
        super().__init__(features, gaussian, dropout, missing, full=True)


class LSTMSeries(Downscaler):
    """An LSTM over the series with the snapshot appended to every day, read from its last state.

    Parameters
    ----------
    dropout
        Fraction of the last state dropped in training.
    hidden
        Size of the state.

    References
    ----------
    Hochreiter and Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735.

    Examples
    --------
    >>> from vadose.models.mmnet import example_fine
    >>> features = Features(("ndvi", "clay_fraction"), ("precipitation",), days=10)
    >>> LSTMSeries(features)(example_fine(features, batch=4)).shape
    torch.Size([4])
    """

    def __init__(
        self,
        features: Features,
        gaussian: bool = False,
        dropout: float = 0.0,
        missing: bool = False,
        hidden: int = 128,
    ) -> None:
        super().__init__(features, gaussian, missing, skewed=True)
        self.lstm = nn.LSTM(self.series_width + self.snapshot_width, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.head = perceptron(hidden, 64, 32, 1 + gaussian)

    def read(self, snapshot: Tensor, series: Tensor) -> Tensor:
        """Standardised moisture from standardised features."""
        states, _ = self.lstm(_appended(series, snapshot))
        return self.head(self.dropout(states[:, -1]))  # type: ignore[no-any-return]


def _appended(series: Tensor, snapshot: Tensor) -> Tensor:
    """The snapshot beside every day of the series: (N, T, C + S)."""
    return torch.cat([series, snapshot[:, None].expand(-1, series.shape[1], -1)], dim=-1)
