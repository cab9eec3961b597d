"""The first layer of every network: physical units to z-scores, unknown values to the mean."""

import torch
from torch import Tensor, nn

_AT_ONCE = 1 << 14
"""Values of each channel taken into the statistics at once."""


class Normalise(nn.Module):
    r"""Standardise channels, :math:`z = (x - \mu) / \sigma`, and put 0 where x is NaN.

    The statistics are buffers, learnt from training batches with `update`, so that a checkpoint
    takes and gives physical units by itself.

    Parameters
    ----------
    n
        Number of channels.
    axis
        Dimension of the channels: 2 in (B, T, C, H, W), 1 in (B, C, H, W).

    Examples
    --------
    >>> layer = Normalise(1, axis=1)
    >>> layer.update(torch.tensor([[1.0], [3.0], [float("nan")]]))
    >>> layer(torch.tensor([[3.0], [float("nan")]])).flatten().tolist()
    [1.0, 0.0]
    """

    count: Tensor
    mean: Tensor
    squares: Tensor

    def __init__(self, n: int, axis: int) -> None:
        super().__init__()
        self.axis = axis
        for name in ("count", "mean", "squares"):
            self.register_buffer(name, torch.zeros(n, dtype=torch.float64))

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Take the known values of one more batch into the statistics (Chan et al. 1982, one pass)."""
        # In parts that stay in the processor's cache: of a whole batch, most of the time goes into fetching memory.
        of_channels = x.movedim(self.axis, 0).flatten(1)
        for start in range(0, of_channels.shape[1], _AT_ONCE):
            part = of_channels[:, start : start + _AT_ONCE]
            values = part.double()
            count = (part.abs() < torch.inf).sum(1)
            mean = _known(values.clone()).sum(1) / count.clamp(min=1)
            squares = _known(values.sub_(mean[:, None])).square_().sum(1)
            total = (self.count + count).clamp(min=1)
            apart = mean - self.mean
            self.squares += squares + apart.square() * self.count * count / total
            self.mean += apart * count / total
            self.count += count

    @property
    def std(self) -> Tensor:
        """Standard deviation of each channel; 1 where it does not vary."""
        std = (self.squares / self.count.clamp(min=1)).sqrt()
        return torch.where(std > 1e-6 * self.mean.abs().clamp(min=1e-6), std, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """z-scores in float32, NaN replaced by 0."""
        shape = [1] * x.dim()
        shape[self.axis] = -1
        z = (x - self.mean.float().reshape(shape)) / self.std.float().reshape(shape)
        return torch.nan_to_num(z, nan=0.0)

    def inverse(self, z: Tensor, channel: int) -> Tensor:
        """Physical values of z-scores of one channel."""
        return z * self.std[channel].float() + self.mean[channel].float()


def _known(values: Tensor) -> Tensor:
    """The same tensor with 0 for what is no number."""
    return values.nan_to_num_(nan=0, posinf=0, neginf=0)
