"""Forecasting models: each a torch module that takes `Inputs` and gives physical units."""

from typing import Any

from torch import nn

from vadose.models.baselines import Climatology, DampedPersistence, Persistence
from vadose.models.convlstm import ConvLSTM
from vadose.models.inputs import Channels
from vadose.models.lstm import LSTM
from vadose.models.simvp import SimVP
from vadose.models.surrogate import Surrogate
from vadose.models.trees import Trees

MODELS: dict[str, Any] = {
    "persistence": Persistence,
    "damped_persistence": DampedPersistence,
    "climatology": Climatology,
    "trees": Trees,
    "lstm": LSTM,
    "convlstm": ConvLSTM,
    "simvp": SimVP,
    "surrogate": Surrogate,
}
"""Name in configurations and stores -> class, built as ``MODELS[name](channels, **hyper)``."""


def to_checkpoint(name: str, hyper: dict[str, Any], model: nn.Module) -> dict[str, Any]:
    """A model as plain values and tensors, for ``torch.save``."""
    channels: Any = model.channels
    kept = {"name": name, "hyper": hyper, "channels": channels.to_dict(), "state": model.state_dict()}
    return kept | {"keeps_cells": bool(getattr(model, "keeps_cells", False))}


def from_checkpoint(checkpoint: dict[str, Any]) -> nn.Module:
    """The model of `to_checkpoint`, ready to forecast.

    Examples
    --------
    >>> channels = Channels(("soil_moisture_filled",), target="soil_moisture_filled")
    >>> model = MODELS["climatology"](channels, grid=(2, 2))
    >>> type(from_checkpoint(to_checkpoint("climatology", {"grid": (2, 2)}, model))).__name__
    'Climatology'
    """
    channels = Channels.from_dict(checkpoint["channels"])
    model: nn.Module = MODELS[checkpoint["name"]](channels, **checkpoint["hyper"])
    model.load_state_dict(checkpoint["state"])
    return model.eval()
