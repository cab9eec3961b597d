"""A cube continued by a weather forecast: after the day of issue it holds the weather forecast, and nothing else."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose import features
from vadose.cube.listing import list_granules
from vadose.cube.store import ANTECEDENT_DAYS
from vadose.errors import VadoseError
from vadose.products.containers import BBox
from vadose.products.weather_forecast import daily_weather_forecast
from vadose.variables import VARIABLES

PRODUCT = "weather_forecast"
MEAN = "mean"
DAY = pd.Timedelta(days=1)
MARGIN = 1.0
"""Degrees read beyond the cube's cells, so that those at its edge have neighbours on grids of up to a degree."""


def with_weather_ahead(
    cube: xr.Dataset,
    forecast: xr.Dataset | Iterable[Path],
    names: tuple[str, ...],
    *,
    init: str | None = None,
    member: str | None = None,
) -> xr.Dataset:
    """Cut a cube at the day of issue and continue it by the days of a weather forecast.

    On the days forecast the variables in ``names`` hold the forecast, interpolated bilinearly between its
    grid points at each cell's centre, or at each station; all else is NaN there, and so are cells off the
    ``mask``. What the forecast lacks is computed of its own fields where a formula is known:
    ``vapor_pressure_deficit`` and ``reference_evapotranspiration`` (of grass, and ``_alfalfa``) by the daily
    equations of ASCE, which gridMET's evapotranspiration is of too; ``wind_speed`` of the day's mean components,
    which is lower than the mean speed; and the antecedent sums ``precipitation_7d`` ... of the cube's days and
    those forecast. After the last day forecast there is no day: leads beyond it stay NaN.

    Nothing is corrected. The forecast differs from the analysis that a model learnt from by its errors, which
    grow with the lead, and by its bias; its days are UTC days, where those of gridMET end at 07:00 UTC and those
    of stations at local midnight (attributes ``day_boundary`` and ``ahead_day_boundary``). The mean of an
    ensemble has rain on more days and less of it on one than any of its members.

    Parameters
    ----------
    cube
        One grid of a cube, or stations as cells, with ``lat`` and ``lon`` of each cell.
    forecast
        As `vadose.products.weather_forecast.daily_weather_forecast` makes it, or the granules (files, or
        folders of them), of which the cube's area is read then.
    names
        Variables of the cube to continue: those a model takes of the days ahead.
    init
        Day of issue, the last day known; the cube's last day when left out. Of several runs the one that
        starts at its end is taken.
    member
        Of an ensemble: one of its names, such as ``'c00'``, or ``'mean'`` of all.

    Returns
    -------
    xarray.Dataset
        The cube with attributes ``weather`` 'forecast', ``day_of_issue``, ``weather_run`` (which run and
        member) and ``weather_note``. Each variable in ``names`` says in ``ahead`` what it holds.

    Raises
    ------
    VadoseError
        When no run starts at the end of the day of issue, a day is missing in it, it lacks a variable, has
        other units, or does not cover the cells of the cube; when it is not said which member to take.

    References
    ----------
    ASCE-EWRI (2005), The ASCE standardized reference evapotranspiration equation, doi:10.1061/9780784408056.
    Abatzoglou (2013), gridMET, doi:10.1002/joc.3413.

    Examples
    --------
    >>> from vadose.grid import ease_grid
    >>> cube = ease_grid("36km").bounding_box(-101, 39, -99, 41).coordinates()
    >>> cube = cube.assign_coords(time=pd.date_range("2019-06-01", periods=2))
    >>> shape = tuple(cube.sizes[axis] for axis in ("time", "y", "x"))
    >>> cube["precipitation"] = ("time", "y", "x"), np.zeros(shape, np.float32)
    >>> cube["mask"] = ("y", "x"), np.ones(shape[1:], bool)
    >>> foretold = xr.Dataset(
    ...     {"precipitation": (("init_time", "lead_time", "lat", "lon"), np.full((1, 3, 2, 2), 5.0))},
    ...     coords={
    ...         "init_time": pd.DatetimeIndex(["2019-06-03"]),
    ...         "lead_time": pd.to_timedelta([1, 2, 3], unit="D"),
    ...         "lat": [42.0, 38.0], "lon": [-102.0, -98.0], "member": "c00",
    ...     },
    ... )
    >>> ahead = with_weather_ahead(cube, foretold, ("precipitation",))
    >>> ahead.precipitation.mean(("y", "x")).values.tolist()
    [0.0, 0.0, 5.0, 5.0, 5.0]
    """
    if not names:
        raise VadoseError("weather ahead: the model uses no weather after the day of issue")
    if missing := [name for name in names if name not in cube or "time" not in cube[name].dims]:
        raise VadoseError(f"weather ahead: the cube has no daily variable {missing}; it cannot be continued")
    known = cube.sel(time=slice(None, _day_of_issue(cube, init)))
    if not isinstance(forecast, xr.Dataset):
        forecast = daily_weather_forecast(_granules(forecast), bbox=_around(cube))
    run, says = _run_of(forecast, known.indexes["time"][-1], member)
    days = pd.DatetimeIndex(run.time.values)
    sums = {name: length for length in ANTECEDENT_DAYS if (name := f"precipitation_{length}d") in names}
    direct = dict.fromkeys([name for name in names if name not in sums] + ["precipitation"] * bool(sums))
    ahead, made_of = _on_cells(run, list(direct), cube)
    for name, length in sums.items():
        before = known.precipitation.isel(time=slice(-length, None)).load()
        total = features.antecedent_sum(_joined(before, ahead["precipitation"]).astype(float), length)
        ahead[name] = total.sel(time=days).astype(np.float32)
        made_of[name] = "sums of the cube's days and those forecast"
    continued = _longer(known, days)
    for name in names:
        continued[name] = _joined(known[name], ahead[name]).assign_attrs(
            known[name].attrs,
            ahead=f"from {days[0]:%Y-%m-%d} on {says['weather_run']}, {made_of[name]}",
            ahead_day_boundary="00 to 24 UTC",
        )
    simulated = "true" in (cube.attrs.get("simulated"), run.attrs.get("simulated"))
    return continued.assign_attrs(says, simulated="true" if simulated else "false")


def _day_of_issue(cube: xr.Dataset, init: str | None) -> pd.Timestamp:
    days = cube.indexes["time"]
    issue = pd.Timestamp(init) if init else days[-1]
    if issue not in days:
        raise VadoseError(
            f"weather ahead of {issue:%Y-%m-%d}: the cube holds {days[0]:%Y-%m-%d} .. {days[-1]:%Y-%m-%d}; choose a "
            "day of issue within, or build the cube up to it"
        )
    return issue


def _granules(paths: Iterable[Path]) -> Iterator[Path]:
    """Files, those of folders too."""
    for path in paths:
        yield from [granule.path for granule in list_granules(path, PRODUCT).granules] if path.is_dir() else [path]


def _around(cube: xr.Dataset) -> BBox:
    lat, lon = cube.lat.values, cube.lon.values
    return (float(lon.min()) - MARGIN, float(lat.min()) - MARGIN, float(lon.max()) + MARGIN, float(lat.max()) + MARGIN)


def _run_of(forecast: xr.Dataset, issue: pd.Timestamp, member: str | None) -> tuple[xr.Dataset, dict[str, str]]:
    """The run that starts at the end of the day of issue, by day (time), and what the cube says of it."""
    if missing := [axis for axis in ("init_time", "lead_time", "lat", "lon") if axis not in forecast.dims]:
        raise VadoseError(f"weather forecast: no dimension {missing}; make it with daily_weather_forecast")
    first, runs = issue + DAY, pd.DatetimeIndex(forecast.init_time.values)
    if first not in runs:
        raise VadoseError(
            f"weather forecast: runs start on {', '.join(f'{run:%Y-%m-%d %H} UTC' for run in runs[:4])}; one issued "
            f"at the end of {issue:%Y-%m-%d} needs the run of {first:%Y-%m-%d %H} UTC: fetch that one, or choose "
            "another day of issue"
        )
    run = forecast.sel(init_time=first).drop_vars(["init_time", "day"], errors="ignore")
    ends = pd.TimedeltaIndex(run.lead_time.values)
    if not np.array_equal(ends / DAY, np.arange(1, len(ends) + 1)):
        raise VadoseError(
            f"weather forecast: run {first:%Y-%m-%d} holds days {[f'{end / DAY:g}' for end in ends]} after its start; "
            "every day from the first on is needed"
        )
    run = run.assign_coords(lead_time=first + ends - DAY).rename(lead_time="time")
    members = [str(name) for name in np.atleast_1d(run.member.values)] if "member" in run.coords else ["unknown"]
    choices = [*members, *([MEAN] if len(members) > 1 and MEAN not in members else [])]
    chosen = member or (members[0] if len(members) == 1 else None)
    if chosen not in choices:
        raise VadoseError(f"weather forecast: member is {member!r}; choose one of {choices}")
    if "member" in run.dims and chosen in members:
        run = run.isel(member=members.index(chosen))
    product = run.attrs.get("product", "weather forecast")
    return run, {
        "weather": "forecast",
        "day_of_issue": f"{issue:%Y-%m-%d}",
        "weather_run": f"{product} {chosen}, run of {first:%Y-%m-%d %H} UTC",
        "weather_note": "not corrected for what the forecast differs from the analysis by; days are 00 to 24 UTC",
    }


def _on_cells(run: xr.Dataset, names: list[str], cube: xr.Dataset) -> tuple[dict[str, xr.DataArray], dict[str, str]]:
    """Variables of a run (time, y, x) on the cells of the cube, and how each was made."""
    fields = {name: _field(run, name) for name in names}
    if lacking := [name for name, field in fields.items() if field is None]:
        needed = {name: list(FORMULAS[name][0]) for name in lacking if name in FORMULAS}
        raise VadoseError(
            f"weather forecast: no {', '.join(lacking)}"
            + "".join(f" ({name} can be computed of {', '.join(of)})" for name, of in needed.items())
            + f", which the model takes of the days ahead; it holds {', '.join(map(str, run.data_vars))}"
        )
    mask: NDArray[np.bool_] = cube.mask.transpose("y", "x").values.astype(bool)
    places = {axis: xr.DataArray(cube[axis].transpose("y", "x").values, dims=("y", "x")) for axis in ("lat", "lon")}
    ahead, made_of = {}, {}
    for name, field in fields.items():
        assert field is not None
        ours = cube[name].attrs.get("units", "")
        theirs = field.attrs.get("units", "") if name in run else VARIABLES[name].units
        if ours and theirs and theirs != ours:
            raise VadoseError(f"weather forecast: {name} is in {theirs}, in the cube in {ours}; convert one of them")
        field = field.mean("member") if "member" in field.dims else field
        values = field.interp(places).transpose("time", "y", "x").values.astype(np.float32)
        if missing := int(np.isnan(values[:, mask]).any(axis=0).sum()):
            raise VadoseError(
                f"weather forecast: {name} is missing at {missing} of {mask.sum()} cells of the cube; it covers "
                f"{run.lon.values.min():g} .. {run.lon.values.max():g} east, {run.lat.values.min():g} .. "
                f"{run.lat.values.max():g} north: fetch all of the cube's area"
            )
        values[:, ~mask] = np.nan
        ahead[name] = xr.DataArray(
            values, dims=("time", "y", "x"), coords={"time": run.time.values, "y": cube.y.values, "x": cube.x.values}
        )
        made_of[name] = "bilinear" if name in run else f"computed of {', '.join(FORMULAS[name][0])}, bilinear"
    return ahead, made_of


def _field(run: xr.Dataset, name: str) -> xr.DataArray | None:
    """A variable of the run, else what a formula makes of others; None where one of them lacks."""
    if name in run:
        return run[name]
    if name not in FORMULAS:
        return None
    needed, formula = FORMULAS[name]
    parts = [_field(run, part) for part in needed]
    return None if any(part is None for part in parts) else formula(*parts)


def _longer(known: xr.Dataset, days: pd.DatetimeIndex) -> xr.Dataset:
    """The cube with more days, on which all is missing."""
    longer = known.pad(time=(0, len(days)))
    time = pd.DatetimeIndex(np.append(known.time.values, days.values))
    longer = longer.assign_coords(time=("time", time, known.time.attrs))
    if "time_bnds" in longer.variables:
        longer["time_bnds"] = ("time", "bnds"), np.stack([time, time + DAY], axis=1), known.time_bnds.attrs
    return longer


def _joined(before: xr.DataArray, after: xr.DataArray) -> xr.DataArray:
    """Days and the days after them."""
    return xr.concat([before.transpose("time", "y", "x").reset_coords(drop=True), after], "time", join="override")


def _deficit(
    highest: xr.DataArray, lowest: xr.DataArray, humidity: xr.DataArray, pressure: xr.DataArray
) -> xr.DataArray:
    r"""Mean vapour pressure deficit of a day [kPa], :math:`(e_s(T_{max}) + e_s(T_{min})) / 2 - e_a`, at least 0."""
    saturated = (_saturation(highest) + _saturation(lowest)) / 2
    return (saturated - _vapour(humidity, pressure)).clip(min=0)


def _saturation(temperature: xr.DataArray) -> xr.DataArray:
    """Saturation vapour pressure [kPa] over water, ASCE-EWRI (2005) equation 7, of a temperature [K]."""
    celsius = temperature - 273.15
    pressure: xr.DataArray = 0.6108 * xr.ufuncs.exp(17.27 * celsius / (celsius + 237.3))
    return pressure


def _vapour(humidity: xr.DataArray, pressure: xr.DataArray) -> xr.DataArray:
    """Vapour pressure [kPa] of specific humidity [kg kg-1] and pressure [Pa]."""
    return humidity * pressure / 1000 / (0.622 + 0.378 * humidity)


def _reference(
    highest: xr.DataArray,
    lowest: xr.DataArray,
    humidity: xr.DataArray,
    pressure: xr.DataArray,
    shortwave: xr.DataArray,
    wind: xr.DataArray,
    *,
    numerator: float,
    denominator: float,
) -> xr.DataArray:
    r"""Reference evapotranspiration of a day [kg m-2], ASCE-EWRI (2005) equation 1 with no heat into the ground.

    .. math:: \frac{0.408 \Delta R_n + \gamma C_n u_2 (e_s - e_a) / (T + 273)}{\Delta + \gamma (1 + C_d u_2)}
    """
    celsius, kilopascal = (highest + lowest) / 2 - 273.15, pressure / 1000
    slope = 4098 * _saturation(celsius + 273.15) / (celsius + 237.3) ** 2
    psychrometric = 0.000665 * kilopascal
    wind_2m = wind * 4.87 / np.log(67.8 * 10 - 5.42)
    # The height that has this pressure in the standard atmosphere, equation 3.
    height = (293 - 293 * (kilopascal / 101.3) ** (1 / 5.26)) / 0.0065
    sun = shortwave * 0.0864
    clear = (0.75 + 2e-5 * height) * _extraterrestrial(sun)
    cloudiness = 1.35 * (sun / clear.clip(min=0.01)).clip(0.3, 1) - 0.35
    emitted = 4.901e-9 * (highest**4 + lowest**4) / 2
    longwave = emitted * cloudiness * (0.34 - 0.14 * xr.ufuncs.sqrt(_vapour(humidity, pressure)))
    of_radiation = 0.408 * slope * (0.77 * sun - longwave)
    of_wind = psychrometric * numerator / (celsius + 273) * wind_2m * _deficit(highest, lowest, humidity, pressure)
    total: xr.DataArray = (of_radiation + of_wind) / (slope + psychrometric * (1 + denominator * wind_2m))
    return total.clip(min=0)


def _extraterrestrial(field: xr.DataArray) -> xr.DataArray:
    """Radiation above the atmosphere [MJ m-2 a day] on the days and latitudes of a field, equation 21."""
    latitude, season = np.radians(field.lat), 2 * np.pi * field.time.dt.dayofyear / 365
    declination = 0.409 * xr.ufuncs.sin(season - 1.39)
    sunset = xr.ufuncs.arccos((-xr.ufuncs.tan(latitude) * xr.ufuncs.tan(declination)).clip(-1, 1))
    height = sunset * xr.ufuncs.sin(latitude) * xr.ufuncs.sin(declination)
    height = height + xr.ufuncs.cos(latitude) * xr.ufuncs.cos(declination) * xr.ufuncs.sin(sunset)
    radiation: xr.DataArray = 24 / np.pi * 4.92 * (1 + 0.033 * xr.ufuncs.cos(season)) * height
    return radiation


_AIR = ("air_temperature_max", "air_temperature_min", "specific_humidity", "surface_pressure")
FORMULAS: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
    "wind_speed": (("eastward_wind", "northward_wind"), xr.ufuncs.hypot),
    "vapor_pressure_deficit": (_AIR, _deficit),
    "reference_evapotranspiration": (
        (*_AIR, "shortwave_radiation", "wind_speed"),
        partial(_reference, numerator=900, denominator=0.34),
    ),
    "reference_evapotranspiration_alfalfa": (
        (*_AIR, "shortwave_radiation", "wind_speed"),
        partial(_reference, numerator=1600, denominator=0.38),
    ),
}
"""What can be computed of a forecast's variables. Wind speed of a day's mean components is lower than its mean."""
