"""What holds for every product of PRODUCTS, read from simulated files and, where they are, from real ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from vadose.products import PRODUCTS
from vadose.twin import build_world
from vadose.variables import VARIABLES

REAL = {
    "conusv4f1": "conusv4f1",
    "uscrn": "uscrn_daily01/2016/CRND0103-2016-AL_Fairhope_3_NE.txt",
    "scan": "scan_daily/2057.csv",
    "ismn": "granules/ismn/format_header_values",
}


def datasets(name: str, path: Path) -> list[xr.Dataset]:
    found: Any = PRODUCTS[name].read(path)
    return found if isinstance(found, list) else [found]


def check(name: str, path: Path) -> None:
    first, again = datasets(name, path), datasets(name, path)
    assert first
    for dataset, twice in zip(first, again, strict=True):
        xr.testing.assert_identical(dataset, twice)
        assert "soil_moisture" in dataset
        for variable in map(str, dataset.data_vars):
            if variable in VARIABLES:
                assert dataset[variable].attrs["units"] == VARIABLES[variable].units
        days = dataset.time.values
        assert (np.diff(days) > np.timedelta64(0)).all()
        assert (days == days.astype("datetime64[D]")).all()
        assert dataset.attrs["day_boundary"]
        assert not (dataset.soil_moisture < -90).any()
        if PRODUCTS[name].kind == "grid":
            assert (np.diff(dataset.y) < 0).all()
            assert (np.diff(dataset.x) > 0).all()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_world(tmp_path_factory.mktemp("contract") / "world", years=1, stations=1)


def test_simulated_files_keep_the_contract(world: Path) -> None:
    check("conusv4f1", world / "conusv4f1")
    check("uscrn", next((world / "uscrn").rglob("CRND*.txt")))


@pytest.mark.parametrize("name", PRODUCTS)
def test_real_files_keep_the_contract(name: str, real_data: Path) -> None:
    check(name, real_data / REAL[name])


def test_every_product_says_where_it_is_published() -> None:
    for product in PRODUCTS.values():
        assert product.kind in ("grid", "station")
        assert product.doi.startswith("10.")
