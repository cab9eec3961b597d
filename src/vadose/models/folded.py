"""Two-stream networks in a form for maps: the weather encoded once a distinct history, the pixels combined with it."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_linear_bn_eval

from vadose.models.drawn import Drawn
from vadose.models.long_memory import LongMMNet
from vadose.models.mmnet import Downscaler, MMNet, positions


class Folded(nn.Module):
    """A network for inference, equal to the one it was made of by `fold`.

    Examples
    --------
    >>> from vadose.models.mmnet import Features, example_fine
    >>> features = Features(("ndvi", "clay_fraction"), ("precipitation",), days=10)
    >>> model, fine = MMNet(features).eval(), example_fine(features, batch=4)
    >>> maps, which = fold(model), torch.tensor([0, 0, 1, 1])
    >>> code = maps.encode(fine.series[:2])
    >>> shared = fine._replace(series=fine.series[which])
    >>> torch.allclose(maps.combine(fine.snapshot, code, which), model(shared), atol=1e-5)
    True
    """

    def __init__(
        self, model: Downscaler, histories: nn.Module, pixels: nn.Module, head: nn.Module, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.model, self.histories, self.dtype = model, histories, dtype
        self.pixels, self.head = pixels.to(dtype), head.to(dtype)

    @torch.no_grad()
    def encode(self, series: Tensor) -> Tensor:
        """Codes (K, width) of K distinct histories (K, T, C), physical units, NaN where missing."""
        code: Tensor = self.histories(series)
        return code.to(self.dtype)

    def combine(self, snapshot: Tensor, code: Tensor, which: Tensor) -> Tensor:
        """Soil moisture [m3 m-3] (N,) of N pixels: features (N, S), and ``which`` (N,) of the K codes is theirs."""
        return self.distribution(snapshot, code, which)[0]

    @torch.no_grad()
    def distribution(self, snapshot: Tensor, code: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [m3 m-3], (N,) each; NaN where the network gives no deviation."""
        return self.combined(snapshot, code[which])

    @torch.no_grad()
    def combined(self, snapshot: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """The same with a code (N, width) for each pixel."""
        of_pixels = self.pixels(self.model.of_snapshot(snapshot).to(self.dtype))
        return self.model.physical(self.head(of_pixels.add_(code)))


def fold(model: MMNet | LongMMNet, dtype: torch.dtype = torch.float32) -> Folded:
    r"""The network in the form for maps.

    The fusion layer is split into its halves, :math:`W [e_s, e_t] = W_s e_s + W_t e_t`, so that
    :math:`W_t e_t` is a code of the history alone. Batch normalisation is folded into the linear layers,
    and linear layers with nothing between them are multiplied out. Dropout is off, or drawn (`vadose.models.drawn`).

    Parameters
    ----------
    model
        The trained network; it is copied.
    dtype
        Of the products: float32; or bfloat16, which is faster on processors that multiply it and rounds the
        moisture by some percent of its deviation over a map.
        An LSTM runs in float32 always, for it would round every day.

    Raises
    ------
    ValueError
        Where the LSTM of the network is told features of the pixel (``repeated``): no history is shared then.

    References
    ----------
    Jacob et al. (2018, section 3.2), arXiv:1712.05877.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    pixels, head = _without_batch_norm(model.snapshot_encoder), _without_batch_norm(model.head)
    last, first = pixels[-1], head[0]
    assert isinstance(last, nn.Linear)
    of_pixel, of_history = model.fusion.weight[:, : last.out_features], model.fusion.weight[:, last.out_features :]
    pixels[-1] = fused = _product(_linear(of_pixel, model.fusion.bias), last)
    if isinstance(model, LongMMNet):
        if model.repeated:
            raise ValueError("the LSTM is told features of each pixel (repeated): no history is shared among pixels")
        memory = _Memory(model, _after(model.dropout, _linear(of_history)))
        return Folded(model, memory, pixels, head, dtype)
    # Nothing stands between MMNet's fusion and the first layer of its head.
    assert isinstance(first, nn.Linear)
    first = _after(model.dropout, first)
    pixels[-1] = _product(first, fused)
    code = _product(_linear(first.weight), _linear(of_history))
    return Folded(model, _Attention(model, code, dtype), pixels, head[1:], dtype)


class _Attention(nn.Module):
    """Code of a history by MMNet's temporal encoder.

    Attention is written out by units and days with the histories along the last axis: products of the few units and
    days of a head, and softmax over a short last axis, take a processor three times as long.
    """

    def __init__(self, model: MMNet, last: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.dtype = model, dtype
        self.embed = _without_batch_norm(model.series_encoder.embed).to(dtype)
        self.layer = copy.deepcopy(model.series_encoder.layer).to(dtype)
        self.dropout = model.series_encoder.attention_dropout
        self.last = last.to(dtype)

    def forward(self, series: Tensor) -> Tensor:
        days = series.shape[1]
        told = positions(days, self.model.features.ends, device=series.device).to(self.dtype)
        embedded = self.embed(self.model.of_series(series.transpose(0, 1)).to(self.dtype))
        layer, x = self.layer, embedded + told[:, None]
        x = layer.norm1(x + _by_history(layer.dropout1, self._attended(x)))
        inner = _by_history(layer.dropout, functional.relu(layer.linear1(x)))
        x = layer.norm2(x + _by_history(layer.dropout2, layer.linear2(inner)))
        return self.last(x.mean(0))  # type: ignore[no-any-return]

    def _attended(self, x: Tensor) -> Tensor:
        """Of (day, history, width)."""
        attention, (days, number, width) = self.layer.self_attn, x.shape
        told = torch.addmm(attention.in_proj_bias[:, None], attention.in_proj_weight, x.flatten(0, 1).T)
        # Of (head, unit, day, history); sums of many products in bfloat16 would round each, and take longer.
        query, key, value = told.float().view(3, attention.num_heads, -1, days, number)
        query = query * attention.head_dim**-0.5
        weights = query[:, 0, :, None] * key[:, 0, None]
        for unit in range(1, attention.head_dim):
            weights.addcmul_(query[:, unit, :, None], key[:, unit, None])
        weights = self.dropout(torch.softmax(weights, dim=2).movedim(-1, 0)).movedim(0, -1)
        heads = weights[:, None, :, 0] * value[:, :, None, 0]
        for day in range(1, days):
            heads.addcmul_(weights[:, None, :, day], value[:, :, None, day])
        by_history = heads.to(told.dtype).view(width, -1).T
        return attention.out_proj(by_history).view(days, number, width)  # type: ignore[no-any-return]


def _by_history(dropout: nn.Module, x: Tensor) -> Tensor:
    """Units (day, history, ...) that a dropout keeps, alike in all histories where they are drawn."""
    return dropout(x.transpose(0, 1)).transpose(0, 1)  # type: ignore[no-any-return]


class _Memory(nn.Module):
    """Code of a history by the memory of `LongMMNet`."""

    def __init__(self, model: LongMMNet, last: nn.Linear) -> None:
        super().__init__()
        self.model, self.last = model, last

    def forward(self, series: Tensor) -> Tensor:
        code = self.model.series_code(series, days=1, fixed=series.new_empty(len(series), 0))
        return self.last(code[:, 0])  # type: ignore[no-any-return]


def _without_batch_norm(layers: nn.Sequential) -> nn.Sequential:
    """The same layers, each batch normalisation folded into the linear layer before it, ReLU in place."""
    kept: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.BatchNorm1d) and isinstance(linear := kept[-1], nn.Linear):
            kept[-1] = fuse_linear_bn_eval(linear, layer)
        elif isinstance(layer, nn.ReLU):
            kept.append(nn.ReLU(inplace=True))
        else:
            kept.append(layer)
    return nn.Sequential(*kept).requires_grad_(False)


def _linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """A linear layer of these weights, without bias where none is given."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer


def _after(dropout: nn.Module, linear: nn.Linear) -> nn.Linear:
    """A linear layer of the units that a dropout keeps, where these are drawn."""
    if not isinstance(dropout, Drawn):
        return linear
    return _linear(linear.weight * dropout.mask(linear.in_features), linear.bias)


def _product(after: nn.Linear, before: nn.Linear) -> nn.Linear:
    """One linear layer in place of two."""
    weight = (after.weight.double() @ before.weight.double()).float()
    if before.bias is None:
        return _linear(weight, after.bias)
    return _linear(weight, after(before.bias))
