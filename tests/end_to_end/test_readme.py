"""The page about own data runs."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vadose.models import MODELS

PAGE = Path(__file__).resolve().parents[2].joinpath("docs/bring_your_own.md").read_text()


def test_the_page_of_own_data_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    try:
        exec("\n".join(re.findall(r"```python\n(.+?)```", PAGE, flags=re.DOTALL)), found)
    finally:
        MODELS.pop("mine", None)
    assert found["own"].soil_moisture.sel(layer="0-10 cm").values.ravel() == pytest.approx(found["wetness"], abs=1e-6)
    assert found["scores"].set_index("metric").loc["bias", "median"] == pytest.approx(0.03, abs=1e-6)
    last = found["wetness"][92]
    ahead = found["ahead"].soil_moisture.values
    kept = np.exp(-np.array([0.1, 0.7]))[:, None, None]
    mean = (ahead[0, :1] - kept[:1] * last) / (1 - kept[:1])
    np.testing.assert_allclose(ahead[0], mean + kept * (last - mean), atol=5e-4)
    assert float(mean[0, 0, 0]) == pytest.approx(found["wetness"][:71].mean(), abs=0.02)
