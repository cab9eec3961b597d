"""Compiled loops: kept between processes where that is possible, and imported by nothing that needs none."""

import subprocess
import sys

import numba
import numpy as np
import pytest

from vadose.compiled import compiled


def divided(values: np.ndarray, by: float) -> float:
    return values.sum() / by


def test_divisions_by_zero_are_as_in_numpy() -> None:
    assert compiled(divided)(np.ones(2), 0.0) == np.inf
    assert compiled(divided).__wrapped__ is divided


def test_where_no_folder_can_be_written_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
    with pytest.raises(RuntimeError, match="no locator"):
        numba.njit(cache=True)(divided)
    assert compiled(divided)(np.ones(2), 4.0) == 0.5


def test_imports_of_the_package_take_no_compiler() -> None:
    code = "import sys, vadose.features, vadose.cli; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
