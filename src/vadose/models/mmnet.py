"""Downscaling network of two streams: features of the day, and the weather of the days before it."""

import math
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vadose.models.anchor import logarithmic
from vadose.models.contract import Learns, Takes
from vadose.models.normalise import Normalise


class Fine(NamedTuple):
    """What is known at a point on the day its moisture is estimated, in physical units; NaN where missing.

    Attributes
    ----------
    snapshot
        (N, S): satellite features of the day, soil, terrain, land cover, place and season.
    series
        (N, T, C): daily weather, oldest day first.

    Of a sequence of D estimated days, (N, D, S) and (N, T + D - 1, C).
    """

    snapshot: Tensor
    series: Tensor

    def to(self, device: str | torch.device) -> "Fine":
        """The same on a device."""
        return Fine(*(part.to(device) for part in self))


@dataclass(frozen=True)
class Features:
    """Names of the features of `Fine`, in order, and the days its series spans.

    ``days`` is the length T of the series, which ends ``ends`` days before the estimated day: 1 for the
    day before it, 0 for the day itself.

    Examples
    --------
    >>> features = Features(("ndvi", "clay_fraction"), ("precipitation",), days=10)
    >>> features.positions(("clay_fraction",)), Features.from_dict(features.to_dict()) == features
    ([1], True)
    """

    snapshot: tuple[str, ...]
    series: tuple[str, ...]
    days: int
    ends: int = 1

    def __post_init__(self) -> None:
        for kind, names in (("snapshot", self.snapshot), ("series", self.series)):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{kind} features named twice: {', '.join(twice)}")
        if self.days < 1 or self.ends < 0:
            raise ValueError(f"days is {self.days} and ends is {self.ends}: at least 1 and 0 are needed")

    def positions(self, names: tuple[str, ...]) -> list[int]:
        """Indices of snapshot features."""
        if unknown := [name for name in names if name not in self.snapshot]:
            raise ValueError(f"no snapshot feature {', '.join(unknown)}; there are {', '.join(self.snapshot)}")
        return [self.snapshot.index(name) for name in names]

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Features":
        """The inverse of `to_dict`."""
        known: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        return cls(**known)


class Downscaler(nn.Module):
    """What all downscaling networks share: physical units in and out, unknown values to the training mean.

    A network is given by `read`, from standardised features to standardised moisture. It takes these parameters, and
    those it names itself.

    Parameters
    ----------
    features
        Names of the features.
    gaussian
        Whether the network gives a deviation too, see `distribution`.
    missing
        Whether an indicator, 1 where the value is known, stands beside each feature.
    skewed
        Whether precipitation and ages enter as log(1 + x).
    """

    names: ClassVar[Any] = Features
    learns: ClassVar[Learns] = "steps"
    takes: ClassVar[Takes] = "rows"
    keeps_cells = False
    folds = False
    """Whether pixels can share the code of a history, see `vadose.models.folded`."""
    local: Sequence[int] = ()
    """Snapshot features, where there are any: a place's own normal of the day and the deviation of its moisture."""

    def __init__(self, features: Features, gaussian: bool = False, missing: bool = False, skewed: bool = False) -> None:
        super().__init__()
        self.features, self.has_deviation, self.missing, self.skewed = features, gaussian, missing, skewed
        self.snapshot = Normalise(len(features.snapshot), axis=-1)
        self.series = Normalise(len(features.series), axis=-1)
        self.moisture = Normalise(1, axis=0)
        self.snapshot_width = len(features.snapshot) * (1 + missing)
        self.series_width = len(features.series) * (1 + missing)

    @property
    def inputs(self) -> Features:
        """Names of the inputs."""
        return self.features

    def normalisations(self) -> list[Normalise]:
        """Layers that standardise the features: of the snapshot, of the series, and others of the series' features."""
        return [self.snapshot, self.series]

    def fit_normalisation(self, batches: Iterable[tuple[Fine, Tensor]]) -> None:
        """Learn the means and standard deviations of features and moisture from training batches."""
        for fine, observed in batches:
            self.snapshot.update(self._transformed(fine.snapshot, self.features.snapshot))
            self.series.update(self._transformed(fine.series, self.features.series))
            self.moisture.update(observed.flatten()[None])

    def forward(self, fine: Fine) -> Tensor:
        """Soil moisture [m3 m-3] (N,)."""
        return self.distribution(fine)[0]

    def distribution(self, fine: Fine) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [m3 m-3], (N,) each; without ``gaussian`` the deviation is NaN."""
        return self.physical(self.read(self.of_snapshot(fine.snapshot), self.of_series(fine.series)))

    def read(self, snapshot: Tensor, series: Tensor) -> Tensor:
        """Standardised moisture (N, 1), with its deviation before softplus (N, 2), from standardised features."""
        raise NotImplementedError

    def of_snapshot(self, snapshot: Tensor) -> Tensor:
        """z-scores, and indicators where the network takes any: (..., S) to (..., ``snapshot_width``)."""
        return self._beside_known(self.snapshot(self._transformed(snapshot, self.features.snapshot)), snapshot)

    def of_series(self, series: Tensor) -> Tensor:
        """z-scores, and indicators where the network takes any: (..., C) to (..., ``series_width``)."""
        return self._beside_known(self.series(self._transformed(series, self.features.series)), series)

    def columns(self, names: tuple[str, ...]) -> list[int]:
        """Columns of `of_snapshot` that tell of these features: z-scores, then indicators where there are any."""
        chosen = self.features.positions(names)
        return chosen + [len(self.features.snapshot) + i for i in chosen] if self.missing else chosen

    def physical(
        self, read: Tensor, centre: Tensor | None = None, scale: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [m3 m-3] of what a network reads (..., 1 or 2).

        It reads departures from ``centre`` in units of ``scale``; where these are not given or NaN, from mean and in
        standard deviations of the training moisture.
        """
        centre, scale = (
            own[0].float() if given is None else torch.where(torch.isfinite(given), given, own[0].float())
            for own, given in ((self.moisture.mean, centre), (self.moisture.std, scale))
        )
        read = read.float()
        mean = centre + scale * read[..., 0]
        if not self.has_deviation:
            return mean, torch.full_like(mean, torch.nan)
        return mean, scale * (functional.softplus(read[..., 1]) + 1e-3)

    def _transformed(self, x: Tensor, names: tuple[str, ...]) -> Tensor:
        if not self.skewed:
            return x
        return logarithmic(x, names) if x.dim() == 3 else logarithmic(x[:, None], names)[:, 0]

    def _beside_known(self, z: Tensor, x: Tensor) -> Tensor:
        return torch.cat([z, torch.isfinite(x).float()], dim=-1) if self.missing else z


class MMNet(Downscaler):
    r"""Multimodal network of Xu et al. (2025, section 3.1).

    .. math::
        e_s &= \mathrm{MLP}_s(x_s), \quad
        e_t = \frac{1}{T} \sum_t \mathrm{Transformer}(\mathrm{MLP}_t(x_t) + p)_t \\
        \hat y &= \bar y + \sigma_y \, \mathrm{MLP}_y(W [e_s, e_t] + b)

    with :math:`\mathrm{MLP}_s` of 32, 64 and 128 units, :math:`\mathrm{MLP}_t` the same for every day, one
    Transformer layer of 16 heads and 256 units, W to 128, :math:`\mathrm{MLP}_y` of 64, 32 and 1, and batch
    normalisation and ReLU between the layers of each MLP. The position p of a day counts back from the
    estimated day, so that a network accepts series of any length. With the paper's 25 and 7 features it has
    198,273 parameters.

    Differs from the paper: soil moisture is standardised. The paper does not describe the positional encoding: here
    it is that of Vaswani et al. (2017); a learnt encoding of ten days would add 10 x 128 parameters. The paper mentions
    no dropout, and the default is none.

    Parameters
    ----------
    dropout
        Fraction dropped in training, within the Transformer layer and of the fused representation.

    References
    ----------
    Xu et al. (2025), doi:10.1029/2025JH000639; Vaswani et al. (2017), arXiv:1706.03762.

    Examples
    --------
    >>> features = Features(("ndvi", "clay_fraction"), ("precipitation",), days=10)
    >>> MMNet(features)(example_fine(features, batch=4)).shape
    torch.Size([4])
    """

    folds = True

    def __init__(self, features: Features, gaussian: bool = False, dropout: float = 0.0, missing: bool = False) -> None:
        super().__init__(features, gaussian, missing)
        self.snapshot_encoder = perceptron(self.snapshot_width, 32, 64, 128)
        self.series_encoder = SeriesEncoder(self.series_width, features.ends, dropout)
        self.fusion = nn.Linear(256, 128)
        self.dropout = nn.Dropout(dropout)
        self.head = perceptron(128, 64, 32, 1 + gaussian)

    def read(self, snapshot: Tensor, series: Tensor) -> Tensor:
        """Standardised moisture from standardised features."""
        both = torch.cat([self.snapshot_encoder(snapshot), self.series_encoder(series)], dim=-1)
        return self.head(self.dropout(self.fusion(both)))  # type: ignore[no-any-return]


class SeriesEncoder(nn.Module):
    """A series (N, T, C) of any length to a vector (N, 128): the paper's temporal encoder."""

    def __init__(self, width: int, ends: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.ends = ends
        self.embed = perceptron(width, 32, 64, 128)
        self.layer = nn.TransformerEncoderLayer(128, 16, 256, dropout, batch_first=True)
        self.attention_dropout = nn.Dropout(dropout)
        """That of the layer's attention, where it is written out (`vadose.models.folded`)."""

    def forward(self, series: Tensor) -> Tensor:
        """Mean over the days of what the Transformer layer gives."""
        days = series.shape[1]
        embedded = self.embed(series.flatten(0, 1)).unflatten(0, (-1, days))
        told = embedded + positions(days, self.ends, device=series.device)
        return encoded(self.layer, told).mean(1)


def encoded(layer: nn.TransformerEncoderLayer, x: Tensor) -> Tensor:
    """What calling the layer gives of series (N, T, width), in half the time where they are short.

    Examples
    --------
    >>> layer, x = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval(), torch.rand(3, 10, 16)
    >>> torch.allclose(encoded(layer, x), layer(x), atol=1e-6)
    True
    """
    x = layer.norm1(x + layer.dropout1(_attended(layer.self_attn, x)))
    inner = layer.dropout(functional.relu(layer.linear1(x)))
    return layer.norm2(x + layer.dropout2(layer.linear2(inner)))  # type: ignore[no-any-return]


def _attended(attention: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """Attention by a product for each head; in float32, for bfloat16 takes three times as long for so few days."""
    number, days, width = x.shape
    told = functional.linear(x, attention.in_proj_weight, attention.in_proj_bias)
    kind = x.device.type
    with torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext():
        parts = told.float().reshape(number, days, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4).flatten(1, 2)
        query, key, value = parts
        scores = query @ key.mT * query.shape[-1] ** -0.5
        # Over the first axis a processor takes many at once, over a short last one each by itself.
        weights = torch.softmax(scores.flatten(0, 1).T.contiguous(), dim=0).T.contiguous().view_as(scores)
        weights = functional.dropout(weights, attention.dropout, attention.training)
        heads = (weights @ value).reshape(number, -1, days, query.shape[-1])
    by_day = heads.permute(2, 0, 1, 3).reshape(days, number, width).to(told.dtype)
    return attention.out_proj(by_day).transpose(0, 1)  # type: ignore[no-any-return]


def perceptron(*sizes: int) -> nn.Sequential:
    """Linear layers with batch normalisation and ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes[:-1]):
        layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def positions(days: int, ends: int, width: int = 128, device: torch.device | None = None) -> Tensor:
    """Sines and cosines of the days before the estimated one (days, width), Vaswani et al. (2017, section 3.5)."""
    before = torch.arange(days - 1, -1, -1, device=device) + ends
    angles = before[:, None] * torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10000.0) / width))
    return torch.stack([torch.sin(angles), torch.cos(angles)], dim=-1).flatten(1)


def example_fine(features: Features, *, batch: int = 8, days: int | None = None) -> Fine:
    """Random features of the right shapes, for documentation and tests; a sequence of ``days`` where given."""
    generator = torch.Generator().manual_seed(0)
    ahead = () if days is None else (days,)
    length = features.days + (days or 1) - 1
    return Fine(
        torch.rand(batch, *ahead, len(features.snapshot), generator=generator),
        torch.rand(batch, length, len(features.series), generator=generator),
    )
