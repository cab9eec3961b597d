"""The models: each a torch module that takes plain tensors in physical units and gives soil moisture in m3 m-3."""

from typing import Any

from vadose.models.baselines import Climatology, DampedPersistence, Persistence
from vadose.models.contract import Model
from vadose.models.convlstm import ConvLSTM
from vadose.models.downscalers import MLP, LSTMSeries, MLPFull, Transformer, TransformerFull
from vadose.models.inputs import Channels
from vadose.models.long_memory import LongMMNet
from vadose.models.lstm import LSTM
from vadose.models.map_transformer import MapTransformer
from vadose.models.mmnet import Features, MMNet
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
    "map_transformer": MapTransformer,
    "surrogate": Surrogate,
    "mmnet": MMNet,
    "mlp": MLP,
    "transformer": Transformer,
    "mlp_full": MLPFull,
    "transformer_full": TransformerFull,
    "lstm_series": LSTMSeries,
    "long_mmnet": LongMMNet,
}
"""Name in configurations and stores -> class, a `vadose.models.contract.Model`; a model of one's own is added here."""


def forecaster_names() -> list[str]:
    """Names of the models of a cube's windows."""
    return [name for name, kind in MODELS.items() if getattr(kind, "names", None) is Channels]


def downscaler_names() -> list[str]:
    """Names of the models of station-days."""
    return [name for name, kind in MODELS.items() if getattr(kind, "names", None) is Features]


def to_checkpoint(name: str, hyper: dict[str, Any], model: Model) -> dict[str, Any]:
    """A model as plain values and tensors, for ``torch.save``."""
    return {
        "name": name,
        "hyper": hyper,
        "inputs": model.inputs.to_dict(),
        "state": model.state_dict(),
        "keeps_cells": model.keeps_cells,
    }


def from_checkpoint(checkpoint: dict[str, Any]) -> Any:
    """The model of `to_checkpoint`, ready to predict.

    Examples
    --------
    >>> channels = Channels(("soil_moisture_filled",), target="soil_moisture_filled")
    >>> model = MODELS["climatology"](channels, grid=(2, 2))
    >>> type(from_checkpoint(to_checkpoint("climatology", {"grid": (2, 2)}, model))).__name__
    'Climatology'
    """
    kind = MODELS[checkpoint["name"]]
    model = kind(kind.names.from_dict(checkpoint["inputs"]), **checkpoint["hyper"])
    model.load_state_dict(checkpoint["state"])
    return model.eval()
