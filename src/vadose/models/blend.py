"""The mean of several trained models."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from vadose.models.inputs import Channels, Inputs


class Blend(nn.Module):
    r"""The weighted mean of its members, :math:`\hat y_L = \sum_m w_{mL} \hat y_{mL} / \sum_m w_{mL}`.

    It is NaN where a member is.

    Parameters
    ----------
    channels
        What the blend is given; holds every predictor and lead of the members.
    members
        Models already built.
    look_backs
        Days of history each member takes; it is given the last ones.
    weights
        A row a member, a column a lead; equal when left out.

    Examples
    --------
    >>> from vadose.models.baselines import Persistence
    >>> from vadose.models.inputs import example_inputs
    >>> channels = Channels(("soil_moisture_filled",), target="soil_moisture_filled")
    >>> blend = Blend(channels, [Persistence(channels), Persistence(channels)], look_backs=(1, 3))
    >>> inputs = example_inputs(channels)
    >>> torch.equal(blend(inputs), Persistence(channels)(inputs))
    True
    """

    def __init__(
        self,
        channels: Channels,
        members: list[Any],
        look_backs: tuple[int, ...],
        weights: tuple[tuple[float, ...], ...] | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.members = nn.ModuleList(members)
        self.look_backs = look_backs
        equal = torch.ones(len(members), len(channels.leads))
        self.weights = equal if weights is None else torch.tensor(weights, dtype=torch.float32)

    def forward(self, inputs: Inputs) -> Tensor:
        """Soil moisture [m3 m-3] at each lead (B, L, H, W)."""
        total = torch.zeros(())
        shares = self.weights / self.weights.sum(dim=0)
        for member, look_back, weight in zip(self.members, self.look_backs, shares, strict=True):
            wants = cast(Channels, member.channels)
            future = inputs.future
            given = Inputs(
                history=inputs.history[:, -look_back:, _positions(wants.history, self.channels.history)],
                static=inputs.static[:, _positions(wants.static, self.channels.static)],
                future=None if future is None else future[:, : max(wants.leads)],
                day=inputs.day,
                cell=inputs.cell,
            )
            leads = _positions(self.channels.leads, wants.leads)
            total = total + weight[:, None, None] * member(given)[:, leads]
        return total


def _positions(wanted: tuple[Any, ...], held: tuple[Any, ...]) -> list[int]:
    return [held.index(item) for item in wanted]
