from pathlib import Path

import pytest

from vadose.twin.world import build_granule_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four months of a block of 9 km cells, as granules."""
    box = (-100.3, 39.6, -99.4, 40.4)
    out = tmp_path_factory.mktemp("granules") / "world"
    return build_granule_world(out, "2019-04-01", "2019-07-29", bbox=box, stations=3)
