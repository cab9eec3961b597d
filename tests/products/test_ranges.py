"""Values out of their range: single ones are missing and counted, many refuse the file."""

import numpy as np
import pytest

from vadose.errors import VadoseError
from vadose.products.ranges import within


@pytest.mark.parametrize("value", [-9999.0, 340.1, 1e30, np.inf, -np.inf])
def test_a_share_of_one_percent_may_lie_outside(value: float) -> None:
    kelvin = np.full((40, 20), 280.0, np.float32)
    kelvin[:10] = np.nan
    kelvin[20, :6] = value
    values, counts = within(kelvin.copy(), "air_temperature", "day.nc")
    assert counts == {"outside_range": 6}
    assert np.isnan(values[20, :6]).all()
    assert np.isfinite(values[20, 6:]).all()
    kelvin[20, 6] = value
    with pytest.raises(VadoseError, match=r"^day.nc: 7 of 600 values of air_temperature lie outside 180 \.\. 340 K"):
        within(kelvin, "air_temperature", "day.nc")


def test_rounding_is_no_value_outside() -> None:
    values, counts = within(np.array([1.0000001, -1e-7, 0.3], np.float32), "soil_moisture", "day.h5")
    assert values.tolist() == [1.0, 0.0, np.float32(0.3)]
    assert counts == {}


def test_a_product_may_have_a_range_of_its_own() -> None:
    values, counts = within(np.array([0.2, 0.55], np.float32), "soil_moisture", "day.h5", (0.0, 0.5))
    assert np.isnan(values[1])
    assert counts == {"outside_range": 1}
    assert within(np.array([1e20], np.float32), "not_of_the_vocabulary", "day.h5")[1] == {}
