"""Units of a variable, judged by its attribute and by the size of its values."""

from vadose.cube.doctor.survey import Survey

_SPELLINGS = {
    "mm": "kg m-2",
    "mm d-1": "kg m-2",
    "mm/day": "kg m-2",
    "m3/m3": "m3 m-3",
    "m^3/m^3": "m3 m-3",
    "cm3 cm-3": "m3 m-3",
    "kg/kg": "kg kg-1",
    "m/s": "m s-1",
    "W/m^2": "W m-2",
    "%": "percent",
    "degrees": "degree",
    "-": "1",
    "": "1",
}


def contradicts(survey: Survey) -> bool:
    """Whether the attribute ``units`` names another unit than the variable's own, beyond its spelling."""
    return _SPELLINGS.get(survey.said_units, survey.said_units) != survey.units != survey.said_units


def suspected_unit(survey: Survey) -> tuple[str, str] | None:
    """Unit that the values seem to be in instead of the variable's own, and how to convert it; None if they fit."""
    # Quantiles include values outside the valid range, where a wrong unit puts them, but not single outliers.
    middle, high = survey.quantile(0.5), survey.quantile(0.999)
    mostly_outside = survey.outside.sum() > 0.5 * survey.known.sum()
    units, name, valid = survey.units, survey.name, survey.valid
    too_high = mostly_outside or middle >= 1
    # Condition, suspected unit, advice; a build sets values outside the valid range to missing.
    rules = (
        (
            units == "K" and (high < 150 or (middle <= valid[0] + 1 and valid[0] > 0)),
            "degree Celsius or Fahrenheit",
            "convert it to K",
        ),
        (units == "m3 m-3" and too_high and 1 < high <= 100, "percent", "divide by 100"),
        (units == "m3 m-3" and too_high and high > 100, "kg m-2", "divide by the depth of the layer in mm"),
        (units == "1" and valid[1] == 1.0 and too_high and 1 < high <= 100, "percent", "divide by 100"),
        (units == "1" and mostly_outside and high > 100, "numbers not scaled", "apply the scale factor, often 0.0001"),
        (units == "Pa" and high < 2000, "hPa or kPa", "multiply hPa by 100, kPa by 1000"),
        (units == "kPa" and (mostly_outside or middle > 5), "Pa or hPa", "divide Pa by 1000, hPa by 10"),
        (name.startswith("reference_evapotranspiration") and middle > 25, "W m-2", "divide by 28.4"),
        (units == "kg kg-1" and mostly_outside, "g kg-1", "divide by 1000"),
        (units == "g cm-3" and mostly_outside, "kg m-3 or 0.01 g cm-3", "divide by 1000 or 100"),
        (units == "percent" and name.startswith("relative_humidity") and high <= 1.5, "a fraction", "multiply by 100"),
        (name == "precipitation" and 0 < high < 0.05, "kg m-2 s-1 or m", "multiply kg m-2 s-1 by 86400, m by 1000"),
        (name == "longwave_radiation" and high < 60, "MJ m-2 of a day", "divide by 0.0864"),
        (name == "shortwave_radiation" and 0 < high < 45, "MJ m-2 of a day", "divide by 0.0864"),
    )
    return next(((unit, advice) for holds, unit, advice in rules if holds), None)
