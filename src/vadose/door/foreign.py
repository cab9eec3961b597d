"""Forecasts and analyses of others: any NetCDF or Zarr data set as a store of forecasts in our form.

What is told by CF attributes and by the names that centres use is found; what is not, and all that is to be otherwise,
stands in a small YAML file that names the data set (`Foreign`).
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import xarray as xr
from annotated_types import Gt

from vadose.door.days import lead_days, of_days
from vadose.door.foreign_axes import NAMES, PLACES, at_places, by_run, named, on_degrees, selected
from vadose.door.stores import REMOTE, address_of, is_grib, open_any, open_store
from vadose.door.told import read_told
from vadose.door.values import conversion, in_units
from vadose.errors import VadoseError

LAYERS = {"0-10 cm": (0.0, 10.0), "10-40 cm": (10.0, 40.0), "40-100 cm": (40.0, 100.0)}
"""Layers that are scored [cm]; another one counts as that which holds most of it, at least half."""
_MOISTURE = {
    r"soil_moisture|volumetric_soil_moisture|sm": None,
    r"swvl1": (0.0, 7.0),
    r"swvl2": (7.0, 28.0),
    r"swvl3": (28.0, 100.0),
    r"sm_surface|surface_soil_moisture|ssm": (0.0, 5.0),
    r"soilm?_?moist\w*_?0_10cm\w*|soilm_0_10cm|sm_?0_10(cm)?": (0.0, 10.0),
    r"soilm?_?moist\w*_?10_40cm\w*|soilm_10_40cm|sm_?10_40(cm)?": (10.0, 40.0),
    r"soilm?_?moist\w*_?40_100cm\w*|soilm_40_100cm|sm_?40_100(cm)?": (40.0, 100.0),
}
"""Name of a variable of moisture -> depths of its layer [cm], None where the name does not say them."""
_STRICT = {"extra": "forbid"}
_OURS = ("init_time", "lead_time", "y", "x")


@dataclass(frozen=True)
class Foreign:
    """What a data set of others holds, where it does not say so itself.

    Attributes
    ----------
    path
        NetCDF file or Zarr store; of a relative path the folder of the YAML file is the start.
    model
        Its name in the tables; the name of the file when left out.
    variable
        The moisture in it.
    unit
        Of its values, where the attribute ``units`` is missing or wrong; ``kg m-2`` and ``mm`` are of the whole layer.
    layer
        Top and bottom [cm].
    select
        Dimension -> value on it, of dimensions beside days, cells and members, such as ``{depth: 0.05}``.
    init_is
        Whether ``init_time`` is the last day known to a forecast, as here, or the first one forecast, as of runs that
        start at midnight.
    weather
        What it knew of the weather ahead, for the tables.
    """

    __pydantic_config__ = _STRICT

    path: str
    model: str | None = None
    variable: str | None = None
    unit: str | None = None
    layer: tuple[Annotated[float, Gt(-1)], Annotated[float, Gt(0)]] | None = None
    select: dict[str, float | str] | None = None
    init_is: Literal["last_day_known", "first_day_forecast"] = "last_day_known"
    weather: str = "own"


def read_foreign(path: Path) -> Foreign:
    """Read what a data set of others holds from a YAML file; errors as of `vadose.door.told.read_told`."""
    found = read_told(path, Foreign)
    return found if REMOTE.match(found.path) else replace(found, path=str(path.parent / found.path))


def is_ours(store: xr.Dataset) -> bool:
    """Whether a data set says of itself what our forecasts do."""
    return {"model", "weather", "layer"} <= set(store.attrs)


def told_of_path(path: Path) -> Foreign:
    """What is said of a data set: that of a YAML file, or no more than its path."""
    return read_foreign(path) if path.suffix in (".yaml", ".yml") else Foreign(str(path))


def holds_granules(told: Foreign) -> bool:
    """Whether a path is a folder without a Zarr store."""
    path = Path(told.path)
    return path.is_dir() and not any((path / name).exists() for name in ("zarr.json", ".zgroup"))


def open_forecasts(path: Path) -> xr.Dataset:
    """Open a store of forecasts, ours or of others, by its path or that of the YAML file that tells of it.

    Raises
    ------
    VadoseError
        When it cannot be opened, or is not understood (`as_ours`).
    """
    told = told_of_path(path)
    place = Path(told.path)
    other = REMOTE.match(told.path) or place.suffix.lower() == ".json" or is_grib(place)
    store = open_any(address_of(told.path)) if other else open_store(place)
    return store if is_ours(store) and path == place else as_ours(store, told)


def as_ours(data: xr.Dataset, told: Foreign) -> xr.Dataset:
    """A data set of others as a store of forecasts: soil_moisture (init_time, lead_time, y, x) [m3 m-3].

    Values of hours become means of days (by valid time, in the zone of the file). Without times of issue it is an
    analysis: at lead 0 of its days. Of an ensemble the mean and the standard deviation over the members that are there
    stand beside these; of quantiles the median, and the deviation of the normal distribution that has the outermost
    pair.

    Raises
    ------
    VadoseError
        When the moisture, its unit, its layer or an axis is not known; the message says what to write into the file.

    Examples
    --------
    >>> days = pd.date_range("2020-06-01", periods=2)
    >>> era = xr.Dataset({"swvl1": (("time", "latitude", "longitude"), np.full((2, 2, 2), 0.25))},
    ...                  {"time": days, "latitude": [40.0, 39.9], "longitude": [260.0, 260.1]})
    >>> ours = as_ours(era.assign(swvl1=era.swvl1.assign_attrs(units="m**3 m**-3")), Foreign("era5_land.nc"))
    >>> ours.soil_moisture.dims, ours.attrs["layer"], ours.attrs["model"], ours.x.values.round(1).tolist()
    (('init_time', 'lead_time', 'y', 'x'), '0-10 cm', 'era5_land', [-100.0, -99.9])
    """
    place = told.path
    moisture, depths = _moisture(data.set_coords([str(n) for n in data.data_vars if str(n) in PLACES]), told)
    axes = by_run(named(moisture, place))
    layer, note = _layer(axes, told, depths)
    chosen = selected(axes, told.select or {}, place, (*NAMES, "station"), "in the YAML file, 'select")
    mapping = data.get(str(moisture.attrs.get("grid_mapping", moisture.encoding.get("grid_mapping", ""))))
    values = _in_our_unit(at_places(on_degrees(chosen), mapping, place), told, layer[1])
    ours = _issued(values, told)
    spread, found = _spread(ours, place)
    moist = found.rename("soil_moisture").transpose(*_OURS).to_dataset()
    for axis in {"member", "quantile"} & set(ours.dims) if spread is not None else ():
        moist[f"soil_moisture_{axis}"] = ours.transpose(*_OURS[:2], axis, *_OURS[2:]).assign_attrs(units="m3 m-3")
    if spread is not None:
        moist["soil_moisture_std"] = spread.transpose(*_OURS).assign_attrs(units="m3 m-3")
    attrs = {
        "model": told.model or Path(place).stem,
        "weather": told.weather,
        "scenario": "own",
        "layer": layer[0],
        "layer_note": note,
        "simulated": str(data.attrs.get("simulated", "false")),
        "causal": "unknown",
    }
    moist = moist.assign_attrs(attrs | {k: v for k, v in data.attrs.items() if k in ("grid_crs", "cell_size")})
    moist.encoding = {"source": place}
    return moist


def _moisture(data: xr.Dataset, told: Foreign) -> tuple[xr.DataArray, tuple[float, float] | None]:
    """The moisture of a data set, and the depths that its name tells."""
    by_name = {
        str(name): depths
        for name in data.data_vars
        for pattern, depths in _MOISTURE.items()
        if re.fullmatch(pattern, str(name).lower())
    }
    if told.variable is not None:
        if told.variable not in data:
            raise VadoseError(f"{told.path}: no variable {told.variable!r}; found {sorted(map(str, data.data_vars))}")
        return data[told.variable], by_name.get(told.variable)
    standard = "volume_fraction_of_condensed_water_in_soil"
    by_standard = [str(n) for n, v in data.data_vars.items() if v.attrs.get("standard_name") == standard]
    chosen = list(by_name) if len(by_name) == 1 else by_standard
    if len(chosen) != 1:
        found = sorted({*by_name, *by_standard}) or sorted(map(str, data.data_vars))
        raise VadoseError(
            f"{told.path}: which variable is the moisture to score is not clear, found {found}; name it in a YAML "
            f"file, 'path: {Path(told.path).name}' and 'variable: NAME', and give that file instead; quantiles in "
            "variables of their own are joined before (xarray: xr.concat(..., dim='quantile'))"
        )
    return data[chosen[0]], by_name.get(chosen[0])


def _layer(values: xr.DataArray, told: Foreign, depths: tuple[float, float] | None) -> tuple[tuple[str, float], str]:
    """Our layer and the thickness of theirs [cm], and a word on how they compare."""
    own = told.layer or depths
    if own is None:
        raise VadoseError(
            f"{told.path}: of which layer {values.name} is, is not said; write its top and bottom [cm] in the "
            "YAML file, such as 'layer: [0, 5]'"
        )
    top, bottom = own
    share = {name: (min(b, bottom) - max(a, top)) / (bottom - top) for name, (a, b) in LAYERS.items()}
    name = max(share, key=share.__getitem__)
    if share[name] < 0.5:
        raise VadoseError(
            f"{told.path}: a layer of {top:g}-{bottom:g} cm lies with less than half of it in any of {list(LAYERS)}; "
            "choose another variable, or say which layer it is to stand for"
        )
    return (name, bottom - top), f"{top:g}-{bottom:g} cm of the data, {share[name]:.0%} within"


def _in_our_unit(values: xr.DataArray, told: Foreign, thickness: float) -> xr.DataArray:
    """Values [m3 m-3]."""
    unit = told.unit or values.attrs.get("units")
    if unit is None:
        raise VadoseError(f"{told.path}: {values.name} has no attribute 'units'; write 'unit: m3 m-3' in the YAML file")
    # Water of the whole layer: a kg m-2 is a mm of it.
    water = conversion(str(unit), "kg m-2")
    if conversion(str(unit), "m3 m-3") is None and water is not None:
        return (values * (water[0] * 0.1 / thickness)).assign_attrs(units="m3 m-3", converted_from=str(unit))
    named = values.assign_attrs(units=str(unit)).rename("soil_moisture").to_dataset()
    converted: xr.DataArray = in_units(named, told.path).soil_moisture
    return converted


def _issued(values: xr.DataArray, told: Foreign) -> xr.DataArray:
    """Values by the last day known and whole days of lead."""
    if "init_time" not in values.dims:
        by_day = _daily(values, "time", told.path)
        return by_day.rename(time="init_time").expand_dims(lead_time=pd.to_timedelta([0], unit="D"))
    if "lead_time" not in values.dims:
        raise VadoseError(f"{told.path}: init_time without lead_time (or step); expected both, or valid days alone")
    steps = values.lead_time.values
    if steps.dtype.kind == "m" and (steps % np.timedelta64(1, "D")).astype(int).any():
        values = of_days(values, "lead_time", steps.astype("timedelta64[D]").astype("timedelta64[ns]"), told.path)
    leads = lead_days(values.to_dataset(name="soil_moisture"), told.path)
    times = pd.DatetimeIndex(values.init_time.values)
    first_day = told.init_is == "first_day_forecast"
    if (times != times.normalize()).any():
        raise VadoseError(
            f"{told.path}: init_time {times[times != times.normalize()][0]} is no whole day; take the runs of midnight"
        )
    # The first day that a run of midnight forecasts is its own: at lead 1 of the day before.
    days, leads = (times - pd.Timedelta(days=1), leads + 1) if first_day else (times, leads)
    return values.assign_coords(init_time=days, lead_time=pd.to_timedelta(leads, unit="D"))


def _daily(values: xr.DataArray, axis: str, place: str) -> xr.DataArray:
    """Means of days of values of hours."""
    times = values[axis].values
    if times.dtype.kind != "M":
        raise VadoseError(
            f"{place}: {axis} holds {times.dtype}; expected dates of the standard calendar (xarray: "
            "dataset.convert_calendar('standard'))"
        )
    days = times.astype("datetime64[D]")
    if len(np.unique(days)) == len(days):
        return values.assign_coords({axis: days.astype("datetime64[ns]")})
    return of_days(values, axis, days.astype("datetime64[ns]"), place)


def _spread(values: xr.DataArray, place: str) -> tuple[xr.DataArray | None, xr.DataArray]:
    """Standard deviation, where members or quantiles tell it, and the value."""
    if "member" in values.dims:
        number = values.notnull().sum("member")
        mean = values.sum("member") / number.where(number > 0)
        square = ((values - mean) ** 2).sum("member") / (number - 1).where(number > 1)
        return square**0.5 if values.sizes["member"] > 1 else None, mean
    if "quantile" not in values.dims:
        return None, values
    levels = values["quantile"].values.astype(float)
    if not np.isclose(levels, 0.5).any() or len(levels) % 2 == 0 or not np.allclose(levels + levels[::-1], 1):
        raise VadoseError(
            f"{place}: quantiles {levels.tolist()}; expected 0.5 and pairs about it, such as 0.05, 0.5, 0.95"
        )
    from scipy.stats import norm

    wide = float(norm.ppf(levels[-1]) - norm.ppf(levels[0]))
    spread = (values.isel(quantile=-1, drop=True) - values.isel(quantile=0, drop=True)) / wide if wide else None
    return spread, values.isel(quantile=int(np.isclose(levels, 0.5).argmax()), drop=True)
