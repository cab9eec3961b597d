"""Where the optional real data lie, for the tests that look at them."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("VADOSE_DATA", root.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set VADOSE_DATA to the folder that holds them")
    return folder
