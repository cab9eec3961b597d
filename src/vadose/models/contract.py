"""What every model of `vadose.models.MODELS` is: the flags that training and predictions go by."""

from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from vadose.models.inputs import Channels, Inputs

Learns = Literal["steps", "at_once"]
"""By steps of an optimiser, after ``fit_normalisation(batches)``, or by its own ``fit(batches)``."""
Takes = Literal["windows", "series", "rows"]
"""Windows of a cube, series of which every day is estimated in one pass (``of_days``), or single station-days."""


class Model(Protocol):
    """A model: built as ``MODELS[name](names, **hyper)``, with what names its inputs as its first argument.

    Attributes
    ----------
    names
        What names the inputs, with ``to_dict`` and ``from_dict``: `vadose.models.inputs.Channels` of a forecaster,
        `vadose.models.mmnet.Features` of a downscaling network.
    learns, takes
        See `Learns` and `Takes`.
    has_deviation
        Whether `distribution` gives a deviation; NaN where not.
    keeps_cells
        Whether it keeps something of each cell, looked up by ``Inputs.cell``.
    inputs
        Those names, of this model.
    """

    names: ClassVar[Any]
    learns: ClassVar[Learns]
    takes: ClassVar[Takes]
    has_deviation: bool
    keeps_cells: bool

    @property
    def inputs(self) -> Any:
        """Names of the inputs."""

    def __call__(self, given: Any) -> Tensor:
        """Soil moisture [m3 m-3]."""

    def distribution(self, given: Any) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [m3 m-3]."""

    def state_dict(self) -> dict[str, Any]:
        """What it has learnt."""


def lacking(kind: Any) -> list[str]:
    """Names of the contract that a class of one's own does not have; none where it has all that is asked of a class.

    Examples
    --------
    >>> lacking(Forecaster), lacking(nn.Linear)[:4]
    ([], ['names', 'learns', 'takes', 'has_deviation'])
    """
    wanted = [*Model.__annotations__, "inputs", "distribution"]
    # What a model may set for itself is missed only beside what has to stand on the class.
    of_class = ("names", "learns", "takes", "distribution")
    return [name for name in wanted if not hasattr(kind, name)] if any(not hasattr(kind, n) for n in of_class) else []


class Forecaster(nn.Module):
    """A model of a cube's windows: subclasses give ``forward``, or ``distribution`` too where they have a deviation.

    Examples
    --------
    A model of one's own is one class and one line, ``MODELS["mine"] = Last``:

    >>> class Last(Forecaster):
    ...     learns = "at_once"
    ...     def fit(self, batches):
    ...         pass
    ...     def forward(self, inputs):
    ...         return inputs.history[:, -1:, 0].repeat(1, len(self.channels.leads), 1, 1)
    >>> from vadose.models.inputs import example_inputs
    >>> channels = Channels(("soil_moisture",))
    >>> mean, std = Last(channels).distribution(example_inputs(channels))
    >>> mean.shape, bool(std.isnan().all())
    (torch.Size([2, 5, 1, 1]), True)
    """

    names: ClassVar[Any] = Channels
    learns: ClassVar[Learns] = "steps"
    takes: ClassVar[Takes] = "windows"
    has_deviation = False
    keeps_cells = False
    of_each_cell = False
    """Whether the forecast of a cell depends on that cell alone."""
    gains_by_bfloat16 = False
    """Whether it was measured to gain by products in bfloat16, see `vadose.parallel.running`."""
    cascades: ClassVar[tuple[str, ...]] = ("head",)
    """Ways in which it can take the forecasts of the layers above, see `vadose.models.inputs.Channels`."""

    def __init__(self, channels: Channels) -> None:
        super().__init__()
        self.channels = channels

    @property
    def inputs(self) -> Channels:
        """Names of the inputs."""
        return self.channels

    def distribution(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [m3 m-3] at each lead, (B, L, H, W) each; the latter NaN."""
        mean: Tensor = self(inputs)
        return mean, torch.full_like(mean, torch.nan)

    def reach(self, look_back: int) -> int | None:
        """Cells as far as which it sees, given so many days: the halo that makes tiles equal to the whole map.

        None where no halo will do or none is known; maps are then forecast whole.
        """
        return 0 if self.of_each_cell else None
