"""Benchmarks: the page made of rows, growth named where it is steep, and networks on the device asked for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from benchmarks.speed import forecasts, growth, maps, row
from benchmarks.speed.__main__ import each
from benchmarks.speed.page import write_growth, write_page
from benchmarks.speed.row import QUICK, ROWS, Peak, Plan, Row, Way

PEAK = Peak(float32=200.0, bfloat16=800.0, memory=20.0, threads=2)
SAID = {"command": "make bench", "commit": "abc", "machine": "two cores"}


def test_the_page_holds_ratios_shares_and_what_was_not_measured(tmp_path: Path) -> None:
    ways = [Way("Keras", note="not installed"), Way("plain", 10.0), Way("ours, bf16", 40.0, (0.1, 0.01), 2, 1.5, 3.0)]
    rows = [Row("training", "samples", "vd.train(cube)", ">= 100", ways, flop=4e9)]
    write_growth(tmp_path / "speed.md", ["Time grows."])
    write_page(tmp_path / "speed.md", rows, PEAK, SAID, size=QUICK)
    text = (tmp_path / "speed.md").read_text()
    assert "| training (samples) | Keras | not installed |" in text
    assert "|  | plain | 10 | 1.00 |  |  | 20 % |" in text
    assert "|  | ours, bf16 | 40 | 4.00 | 1.0e-01 | 1.0e-02 | 20 % | 1.5 | 3.0 |  |" in text
    assert text.endswith("- Training: `vd.train(cube)`.\n\n## Growth\n\nTime grows.\n")
    write_growth(tmp_path / "speed.md", ["Anew."])
    assert (tmp_path / "speed.md").read_text() == text.replace("Time grows.", "Anew.")


def test_a_row_that_fails_or_is_not_compiled_says_so_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Row("work", "units", "call()", "")
    monkeypatch.setitem(ROWS, "not compiled", (one, lambda plan: [Way("bf16, compiled", 1.0, graphs=0)]))
    monkeypatch.setitem(ROWS, "good", (one, lambda plan: [Way("plain", float(plan.of(1, 2, 3)))]))
    failed, good = each(["not compiled", "good"], Plan(QUICK))
    assert failed.ways[0].name == "failed"
    assert "no graph was" in failed.ways[0].note
    assert good.ways == [Way("plain", 1.0)]


def test_growth_names_what_takes_more_than_in_step_with_the_size() -> None:
    sizes = np.array([10, 40, 160])
    flat = {"step": "flat", "of": "days", "size": sizes, "seconds": 1.0 * sizes, "memory": np.full(3, 0.5)}
    steep = flat | {"step": "steep", "seconds": 1.0 * sizes**2, "memory": 0.1 * sizes}
    *_, time, memory = growth.page([pd.DataFrame(flat), pd.DataFrame(steep)])
    assert time == "Time grows more than in step with: steep (days, 2.00)."
    assert memory == "Memory grows with: steep (days, 1.00)."


@pytest.mark.parametrize("name", ["convlstm-training", "mmnet-training", "long-memory-training", "fill-station"])
def test_networks_run_on_the_device_asked_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def alone(run: Any, *given: Any) -> tuple[Any, float]:
        asked.append(getattr(given[-1], "device", given[-1]))
        return (1.0, 1.0, 1), 0.5

    for module in (forecasts, maps):
        monkeypatch.setattr(module, "alone", alone)
    monkeypatch.setattr(forecasts, "random_cube", lambda path, shape, days: path)
    monkeypatch.setattr(maps, "LONG_MEMORY", replace(maps.LONG_MEMORY, batch=2, sequence=5))
    monkeypatch.delenv("VADOSE_KERAS_PYTHON", raising=False)
    found = row.measured(name, Plan(QUICK, "meta"))
    assert asked == ["meta"] * 4
    assert [way.graphs for way in found.ways[-3:]] == [None, None, 1]


def test_the_rival_in_plain_pytorch_has_the_papers_shape_on_any_device() -> None:
    days = torch.empty(2, forecasts.LOOK_BACK, forecasts.PREDICTORS, 8, 8, device="meta")
    forecast = forecasts.PlainConvLSTM().to("meta")(days)
    assert forecast.shape == (2, forecasts.LEADS, 8, 8)
    assert forecast.device.type == "meta"
