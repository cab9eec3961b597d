"""The whole road on the real data, where they are."""

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from vadose.cli import main

# Two leads of the built-in experiment, for time goes by their number.
EXPERIMENT = """
like: conus
leads: [1, 30]
blends:
  blend: {weights: &two {3: null, 7: null, 14: null}}
  blend-weather: {weights: *two}
"""


def test_the_quick_study_of_the_real_data(
    real_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    blank_figures: Any,
) -> None:
    # Its figures are made, and saved empty: those of the simulated world are drawn by the same functions.
    out, experiment = tmp_path / "study", tmp_path / "real.yaml"
    experiment.write_text(EXPERIMENT)
    command = ["study", str(experiment), "--data", str(real_data / "conusv4f1"), "--out", str(out), "--quick"]
    monkeypatch.setattr(sys, "argv", ["vadose", *command])
    with pytest.raises(SystemExit) as stopped, blank_figures():
        main()
    assert stopped.value.code in (0, None)
    assert f"report: {out / 'report.html'}" in capsys.readouterr().out
    table = pd.read_csv(out / "scores.csv", keep_default_na=False, na_values=[""])
    models = {"persistence", "damped_persistence", "climatology", "trees", "lstm", "convlstm", "blend"}
    assert set(table.model) == models
    assert "SIMULATED" not in (out / "report.html").read_text()
