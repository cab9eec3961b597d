"""Goldens: numbers kept under version control. One that is missing is written, and its test fails once."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

FOLDER = Path(__file__).parent / "goldens"
DIGITS = 6
Golden = Callable[..., None]


@pytest.fixture
def golden() -> Golden:
    """Hold ``numbers`` (name -> values) to the golden of that name, within a relative tolerance."""

    def hold(name: str, numbers: Mapping[str, list[float]], *, rtol: float = 1e-5) -> None:
        path = FOLDER / f"{name}.json"
        rounded = {key: [float(f"{value:.{DIGITS}g}") for value in values] for key, values in numbers.items()}
        if not path.exists():
            lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(values)}" for key, values in rounded.items())
            path.write_text(f"{{\n{lines}\n}}\n")
            pytest.fail(f"{path} was missing and is written now: look at it, then commit it")
        kept = json.loads(path.read_text())
        assert list(rounded) == list(kept)
        for key, values in rounded.items():
            np.testing.assert_allclose(values, kept[key], rtol=rtol, atol=1e-7, err_msg=f"{name}: {key}")

    return hold


def digest(dataset: xr.Dataset) -> dict[str, list[float]]:
    """Of each variable: share known, mean, deviation, least, largest, and five values spread over it."""
    found = {}
    for name in sorted(map(str, dataset.data_vars)):
        values = dataset[name].values
        if values.dtype.kind not in "biuf":
            continue
        known = values[np.isfinite(values)].astype(float).ravel()
        if not known.size:
            found[name] = [0.0]
            continue
        spread = known[np.linspace(0, known.size - 1, 5).astype(int)]
        some = [known.size / values.size, known.mean(), known.std(), known.min(), known.max(), *spread]
        found[name] = [float(value) for value in some]
    return found
