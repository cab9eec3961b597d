"""What every forecasting model is given: plain tensors, and the names of their channels."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

NORMAL = "_normal"
"""Ending of the name of a variable's harmonic climatology."""


class Inputs(NamedTuple):
    """What is known when a forecast is issued, at the end of day ``t0``, in physical units.

    A channel is NaN where it is unknown (before the record starts, off the land); models
    replace NaN by the training mean in their first layer.

    Attributes
    ----------
    history
        (B, T, C, H, W): the T days that end with ``t0``, oldest first.
    static
        (B, S, H, W): soil, vegetation, terrain.
    future
        (B, D, F, H, W): weather of the days ``t0 + 1 .. t0 + D`` where the model takes
        known-future weather, else ``None``.
    day
        (B,) int64: ``t0`` in days since 1970-01-01.
    cell
        (B, 2) int64: row and column of the window's upper-left cell on the grid the model learns, or learnt, on. A
        model that looks up what it keeps by them has ``keeps_cells = True``.
    above
        (B, L, U, H, W): forecasts of the moisture of the layers above, issued at ``t0`` and valid at each lead,
        where the model is one of a cascade, else ``None``. With ``cascade='sequence'`` those issued on each of the
        T days, and in a sequence, of which every day is a ``t0``, (B, T, L, U, H, W).
    """

    history: Tensor
    static: Tensor
    future: Tensor | None
    day: Tensor
    cell: Tensor
    above: Tensor | None = None

    def to(self, device: str | torch.device) -> "Inputs":
        """The same on a device."""
        return Inputs(*(part if part is None else part.to(device) for part in self))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Channels:
    """Names of the channels of `Inputs`, in order, and the lead times a model forecasts.

    ``target`` names the history channel that holds the last known value of what is forecast.
    ``<target>_observed`` is 1 on days it was observed, ``<target>_age`` the days since then.
    ``<target>_normal`` is the harmonic climatology of the day; it may stand in ``future`` too, for it
    is known of any day. ``future`` is empty for a model that is told nothing of the days ahead;
    ``above`` names the layers above whose forecasts the model is given: by ``cascade`` at its ``head``, those issued
    at t0, or within the ``sequence``, as predictors of each day of the history those issued on that day.

    Examples
    --------
    >>> channels = Channels(history=("soil_moisture",), leads=(1, 3))
    >>> channels.position("soil_moisture"), channels.weather
    (0, 'none')
    """

    history: tuple[str, ...]
    static: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    leads: tuple[int, ...] = (1, 3, 7, 14, 30)
    target: str = "soil_moisture"
    above: tuple[str, ...] = ()
    cascade: Literal["head", "sequence"] = "head"

    def position(self, name: str) -> int:
        """Index of a history channel."""
        return self.history.index(name)

    @property
    def weather(self) -> str:
        """Whether forecasts take the analysed weather of the days to come: 'none' or 'perfect'."""
        return "none" if all(name.endswith(NORMAL) for name in self.future) else "perfect"

    @property
    def foreseen(self) -> tuple[str, ...]:
        """Moisture among ``future``, which no forecast is to be given: the normal alone is known of days ahead.

        Examples
        --------
        >>> Channels(("soil_moisture",), future=("precipitation", "soil_moisture", "soil_moisture_normal")).foreseen
        ('soil_moisture',)
        """
        moist = ("soil_moisture", self.target.removesuffix("_filled"))
        return tuple(name for name in self.future if name.startswith(moist) and not name.endswith(NORMAL))

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        values = asdict(self)
        if self.cascade == "head":
            del values["cascade"]  # which runs of earlier versions do not say: they stay current
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Channels":
        """The inverse of `to_dict`."""
        known: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        return cls(**known)


def season(day: Tensor, height: int, width: int) -> Tensor:
    """Sine and cosine of the time of year of days since 1970-01-01, as maps (B, 2, H, W).

    Examples
    --------
    >>> season(torch.tensor([0]), 1, 1).flatten().tolist()
    [0.0, 1.0]
    """
    angle = 2 * torch.pi * day.to(torch.float32) / 365.2425
    both = torch.stack([torch.sin(angle), torch.cos(angle)], dim=1)
    return both[:, :, None, None].expand(-1, -1, height, width)


def example_inputs(channels: Channels, *, look_back: int = 3, size: int = 1, batch: int = 2) -> Inputs:
    """Random inputs of the right shapes, for documentation and tests."""
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, size, size, generator=generator)

    issued = (batch,) if channels.cascade == "head" else (batch, look_back)
    return Inputs(
        history=uniform(batch, look_back, len(channels.history)),
        static=uniform(batch, len(channels.static)),
        future=uniform(batch, max(channels.leads), len(channels.future)) if channels.future else None,
        day=torch.arange(16600, 16600 + batch),
        cell=torch.zeros(batch, 2, dtype=torch.int64),
        above=uniform(*issued, len(channels.leads), len(channels.above)) if channels.above else None,
    )
