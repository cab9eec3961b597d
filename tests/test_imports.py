"""What stages load: a package that takes a second to import is loaded by what needs it."""

import subprocess
import sys

import pytest

SLOW = {"captum", "lightning_fabric", "matplotlib", "numba", "optuna", "sklearn", "skops", "sympy", "torch._dynamo"}


@pytest.mark.parametrize("stage", ["forecast, vadose.predict.outlook", "maps, vadose.training.loop"])
def test_a_stage_loads_no_slow_package_before_it_needs_it(stage: str) -> None:
    code = f"import sys, vadose.predict.{stage}; print(*sorted({SLOW!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split() == []
