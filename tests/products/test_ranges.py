"""Values out of their range: single ones are missing and counted, many refuse the file."""

from contextlib import nullcontext

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


@pytest.mark.parametrize(
    ("name", "highest", "refused"),
    [
        ("relative_humidity_max", 0.98, True),
        ("relative_humidity_min", 3.0, False),
        ("soil_moisture_0_10cm", 0.003, True),
        ("soil_moisture", 0.02, False),
        ("longwave_radiation", 0.0, True),
        ("precipitation", 0.0, False),
        ("shortwave_radiation", 0.0, False),
    ],
)
def test_values_all_too_low_for_their_unit_are_refused(name: str, highest: float, refused: bool) -> None:
    values = np.linspace(0, highest, 20, dtype=np.float32)
    assert within(values[-1:], name, "day.nc")[0] == pytest.approx(highest), "one value tells nothing"
    with pytest.raises(VadoseError, match="the highest of 20 values") if refused else nullcontext():
        within(values, name, "day.nc")
