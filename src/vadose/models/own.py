"""Models of a user's own, by the name of their class."""

import sys
from importlib import import_module
from pathlib import Path

from vadose.models import MODELS
from vadose.models.contract import Forecaster
from vadose.models.mmnet import Downscaler


def register(name: str) -> None:
    """Enter a class of a module into `vadose.models.MODELS` under the name ``'MODULE:CLASS'``.

    The module is looked for in the working directory, too. Checkpoints of it are read only after this: a checkpoint
    names no module to import.

    Examples
    --------
    >>> register("vadose.models.lstm:LSTM")
    >>> MODELS.pop("vadose.models.lstm:LSTM").__name__
    'LSTM'

    Raises
    ------
    ValueError
        When the name is not of this form, there is no such module, no such class in it, or it is no
        `vadose.models.contract.Forecaster`.
    """
    module, colon, kind = name.partition(":")
    if not (colon and module and kind.isidentifier()):
        raise ValueError(f"model {name!r}: expected MODULE:CLASS, such as my_models:Mine")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found = getattr(import_module(module), kind, None)
    except ImportError as error:
        raise ValueError(f"model {name!r}: {module} cannot be imported ({error})") from error
    finally:
        sys.path.remove(here)
    if not isinstance(found, type):
        raise ValueError(f"model {name!r}: {module} has no class {kind!r}")
    if not issubclass(found, Forecaster | Downscaler):
        raise ValueError(
            f"model {name!r}: expected a subclass of vadose.models.contract.Forecaster, found another class"
        )
    MODELS[name] = found
