"""Which part of a store is published: variables, days of issue, leads and layer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from vadose.artefact.predictions import DAYS_A_CHUNK, on_axes
from vadose.door import GRID, as_forecasts, as_stations
from vadose.door.days import lead_days
from vadose.errors import VadoseError

AXES = ("station", "layer", "init_time", "lead_time", "time", "area", "y", "x")
"""Axes of a store; others, such as ``quantile``, are of single variables."""
FIRST = ("soil_moisture", "soil_moisture_std", "soil_moisture_quantile", "soil_moisture_percentile", "drought_class")


@dataclass(frozen=True)
class Part:
    """What of a store is wanted; all of it by default.

    Attributes
    ----------
    variables
        Names.
    days
        First and last day of issue, of a cube or stations first and last day; ``'latest'`` is the last there is.
    leads
        Lead times [day].
    layer
        Such as ``'0-10 cm'``.
    """

    variables: Sequence[str] = ()
    days: tuple[str, str] | None = None
    leads: Sequence[int] = ()
    layer: str | None = None

    def of(self, data: xr.Dataset, place: str) -> xr.Dataset:
        """The part of a store, lazily; its places on 1-D axes where these suffice.

        Raises
        ------
        VadoseError
            When the store lacks a variable, a day, a lead or the layer, or nothing but a table of scores is in it.
        """
        given, data = data, _in_our_form(data, place)
        held = [str(name) for name, of in data.data_vars.items() if _is_published(of, data)]
        if missing := [name for name in self.variables if name not in held]:
            raise VadoseError(
                f"{place}: no variable {', '.join(missing)} to export; it has {', '.join(held) or 'none'}"
            )
        if not held:
            raise VadoseError(
                f"{place}: no maps or series in it; expected a cube, forecasts, maps or stations, found the "
                f"variables {sorted(map(str, data.data_vars))}"
            )
        wanted = list(self.variables) or sorted(held, key=rank)
        data = data[wanted]
        found = on_axes(self._of_layer(self._of_leads(self._of_days(data, place), place), place))
        for name, of in found.data_vars.items():
            of.encoding = given[name].encoding
        return found

    def _of_days(self, data: xr.Dataset, place: str) -> xr.Dataset:
        axis = next((axis for axis in ("init_time", "time") if axis in data.dims), None)
        if self.days is None:
            return data
        if axis is None:
            raise VadoseError(f"{place}: it has no days to choose from")
        days = data.indexes[axis]
        first, last = (days[-1] if day == "latest" else pd.Timestamp(day) for day in self.days)
        found = data.isel({axis: np.flatnonzero((days >= first) & (days <= last))})
        if not found.sizes[axis]:
            raise VadoseError(
                f"{place}: nothing of {first:%Y-%m-%d} .. {last:%Y-%m-%d}; it holds {days[0]:%Y-%m-%d} .. "
                f"{days[-1]:%Y-%m-%d} ({len(days)} days)"
            )
        return found

    def _of_leads(self, data: xr.Dataset, place: str) -> xr.Dataset:
        if not self.leads:
            return data
        held = lead_days(data, place).tolist() if "lead_time" in data.dims else []
        if missing := sorted(set(self.leads) - set(held)):
            raise VadoseError(f"{place}: no leads {missing} days; it has {held or 'none, for it is no forecast'}")
        return data.isel(lead_time=[held.index(lead) for lead in self.leads])

    def _of_layer(self, data: xr.Dataset, place: str) -> xr.Dataset:
        if self.layer is None:
            return data
        along = "layer" in data.dims
        held = [str(of) for of in data.layer.values] if along else [str(data.attrs.get("layer"))]
        if self.layer not in held:
            raise VadoseError(f"{place}: no layer {self.layer!r}; it has {', '.join(held)}")
        return data.isel(layer=[held.index(self.layer)]) if along else data


def rank(name: str) -> tuple[int, str]:
    """Order of variables: moisture and what is said of it, then by name."""
    return FIRST.index(name) if name in FIRST else len(FIRST), name


def _in_our_form(data: xr.Dataset, place: str) -> xr.Dataset:
    if {"init_time", "lead_time"} <= set(data.dims):
        return as_forecasts(data, place, ())
    return as_stations(data, place) if {"station", "layer", "time"} <= set(data.dims) else data


def _is_published(values: xr.DataArray, data: xr.Dataset) -> bool:
    maps = {"y", "x"} <= set(values.dims)
    return values.dtype.kind in "fiub" and (maps or ("y" not in data.dims and {"station", "time"} <= set(values.dims)))


def check_map(data: xr.Dataset, place: str, form: str) -> None:
    """Refuse stations, and cells of which it is not known where they lie, for a form that is a map."""
    if "station" in data.coords or not {"y", "x"} <= set(data.dims):
        raise VadoseError(
            f"{place}: holds stations, which are no map; export them to csv, parquet or netcdf, not {form}"
        )
    if missing := [name for name in GRID if not data.attrs.get(name)]:
        raise VadoseError(f"{place}: its grid is not known ({', '.join(missing)}); it cannot become {form}")


def single_days(data: xr.Dataset, axis: str, most: int = 1 << 28) -> Iterator[xr.Dataset]:
    """Each day along an axis; as many days as chunks hold are read at once where they fit into ``most`` bytes."""
    if not axis:
        yield data
        return
    of_day = data.nbytes // max(data.sizes[axis], 1)
    together = max(1, min(DAYS_A_CHUNK, most // max(of_day, 1)))
    for start in range(0, data.sizes[axis], together):
        block = data.isel({axis: slice(start, start + together)})
        block = block.load() if of_day <= most else block
        yield from (block.isel({axis: k}) for k in range(block.sizes[axis]))
