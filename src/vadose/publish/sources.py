"""Stores as the page and its server read them: maps and series of few quantities, coded in 16 bits."""

import gzip
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.door import as_forecasts, as_stations
from vadose.errors import VadoseError
from vadose.features.normals import HARMONIC, with_normals
from vadose.grid import METRES_A_DEGREE, grid_of

MOST_CELLS = 4_000_000
"""Cells of a map that is drawn whole; of a larger one every n-th row and column."""
DIMS = ("init_time", "lead_time", "y", "x")
Codes = NDArray[np.uint16]


@dataclass(frozen=True)
class Quantity:
    """How values become 16-bit codes: 0 where missing, else 1 + (value - low) / step, rounded (or ``up``)."""

    step: float
    low: float = 0.0
    up: bool = False

    def codes(self, values: NDArray[Any]) -> Codes:
        """Codes of values, those outside of the range at its ends."""
        with np.errstate(invalid="ignore"):
            scaled = (np.asarray(values, np.float32) - np.float32(self.low)) / np.float32(self.step)
            whole = np.ceil(scaled) if self.up else np.rint(scaled)
            return np.where(np.isfinite(whole), np.clip(whole, 0, 65534) + 1, 0).astype(np.uint16)


QUANTITIES = {
    "soil_moisture": Quantity(0.001),
    # Rounded up to halves: a percentile stays on its side of the whole numbers at which drought classes begin.
    "soil_moisture_percentile": Quantity(0.5, up=True),
    "drought_class": Quantity(1.0, -1.0),
    "soil_moisture_std": Quantity(0.0005),
}
_QUANTILE = "quantile_"


@dataclass(frozen=True)
class Part:
    """What of the stores is shown: a box (west, south, east, north [degree]), days of issue, leads [day]."""

    bbox: tuple[float, float, float, float] | None = None
    days: tuple[str | None, str | None] = (None, None)
    leads: Sequence[int] = ()


@dataclass
class Source:
    """One store: quantities (init_time, lead_time, y, x); at stations they lie along y, and x is one column.

    Attributes
    ----------
    id, model, layer
        Name in addresses; names on the page.
    observed
        Whether it holds observations: at lead 0 of their days.
    data
        The quantities, with 1-D ``lat`` and ``lon`` of rows and columns, at stations both of the rows.
    """

    id: str
    model: str
    layer: str
    observed: bool
    data: xr.Dataset
    normal: NDArray[np.float32] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def points(self) -> bool:
        """Whether the cells are stations."""
        return "station" in self.data.coords

    @cached_property
    def every(self) -> int:
        """Of so many rows and columns one is drawn."""
        rows, columns = self.data.sizes["y"], self.data.sizes["x"]
        return max(1, int(np.ceil(np.sqrt(rows * columns / MOST_CELLS))))

    @property
    def issued(self) -> pd.DatetimeIndex:
        """Days of issue."""
        return pd.DatetimeIndex(self.data.init_time.values)

    @property
    def leads(self) -> list[int]:
        """Lead times [day]."""
        return [int(days) for days in pd.TimedeltaIndex(self.data.lead_time.values).days]

    def quantity(self, name: str) -> Quantity:
        """How a variable is coded; quantiles as the moisture itself."""
        return QUANTITIES["soil_moisture" if name.startswith(_QUANTILE) else name]

    def values(self, name: str, **at: Any) -> NDArray[Any]:
        """Values of a variable at positions along dimensions, read in this thread alone."""
        read: NDArray[Any] = self.data[name].isel(at).compute(scheduler="synchronous").values
        return read

    def map(self, name: str, issue: int, lead: int) -> bytes:
        """A map as it is sent: see `packed`."""
        drawn = slice(None, None, self.every)
        found = self.values(name, init_time=issue, lead_time=lead, y=drawn, x=drawn)
        return packed(self.quantity(name).codes(found).reshape(1, -1))

    def series(self, row: int, column: int, **at: int | slice) -> dict[str, list[float | None]]:
        """Values of all variables at a cell along the leads of a day of issue, or the days of issue at a lead."""
        found = {name: self.values(name, y=row, x=column, **at).ravel() for name in map(str, self.data.data_vars)}
        return {name: [None if np.isnan(v) else round(float(v), 4) for v in of] for name, of in found.items()}

    def about(self) -> dict[str, Any]:
        """What the page has to know before it draws."""
        drawn = slice(None, None, self.every)
        lat, lon = self.data.lat.values[drawn], self.data.lon.values[drawn]
        wide = 1.0
        if not self.points and str(self.data.x.attrs.get("units", "m")).startswith("degree"):
            wide = float(np.cos(np.radians(lat.mean())))
        names = map(str, self.data.data_vars)
        return {
            "id": self.id,
            "model": self.model,
            "layer": self.layer,
            "observed": self.observed,
            "points": self.points,
            "names": [str(name) for name in self.data.station.values] if self.points else [],
            "every": self.every,
            "shape": [len(lat), 1 if self.points else len(lon)],
            "lat": lat.astype(float).round(5).tolist(),
            "lon": lon.astype(float).round(5).tolist(),
            # Height of a cell on the screen, where its width is 1.
            "tall": 1 / wide,
            "issued": [f"{day:%Y-%m-%d}" for day in self.issued],
            "leads": self.leads,
            "quantities": {name: {"step": of.step, "low": of.low} for name in names for of in [self.quantity(name)]},
            "facts": facts_of(self.attributes),
            "normal": self.attributes.get("normal_period") if self.normal is not None else None,
        }


def packed(codes: Codes) -> bytes:
    """Codes (plane, cell) as gzip: each plane less the one before, all low bytes before all high ones.

    Maps of following days are alike, and so are bytes: a month of a state takes a third of its plain size.
    """
    apart = np.diff(codes, axis=0, prepend=np.zeros_like(codes[:1]))
    return gzip.compress(np.ascontiguousarray(apart, "<u2").view(np.uint8).reshape(-1, 2).T.tobytes(), 6, mtime=0)


def sources_of(stores: Mapping[str, xr.Dataset], part: Part, observed: Collection[str] = ()) -> list[Source]:
    """Sources of opened stores (ours, see `vadose.door.foreign` for others) by their paths, one a layer.

    Stores that name no model hold observations, and those whose paths are ``observed``. Days of issue and leads of the
    part are those of forecasts, and of other stores where there are none.

    Raises
    ------
    VadoseError
        When a store holds nothing that the page shows, its cells are not in rows of one latitude, or nothing of it is
        in the part asked for.
    """
    found: list[Source] = []
    forecasts = [place for place, store in stores.items() if place not in observed and "model" in store.attrs]
    for place, store in stores.items():
        if {"station", "time"} <= set(store.dims):
            of_store = _at_stations(store, place)
        else:
            layers = [str(layer) for layer in store.layer.values] if "layer" in store.dims else []
            of_store = [
                _on_cells(store.sel(layer=layer).drop_vars("layer").assign_attrs(layer=layer), place)
                for layer in layers
            ] or [_on_cells(store, place)]
        truth = place in observed or "model" not in store.attrs
        cut = Part(part.bbox) if truth and forecasts else part
        for data in of_store:
            # What a cube's forecasts were of may be another of its variables.
            named = next((str(stores[of].attrs["observed"]) for of in forecasts if "observed" in stores[of].attrs), "")
            quantities = _quantities(data, named if named in data and truth else "soil_moisture", place)
            found.append(_source(_cut(_located(quantities, place), cut, place), Path(place).stem, truth))
    return _named_apart(found)


def with_normal(source: Source, days: tuple[str, str]) -> None:
    """Give observations of days that a normal is wanted of one: of `vadose.features.normals.with_normals`."""
    first, last = source.issued[[0, -1]]
    if source.observed and pd.Timestamp(days[0]) <= last and pd.Timestamp(days[1]) >= first:
        cube = source.data[["soil_moisture"]].isel(lead_time=0, drop=True).rename(init_time="time")
        source.normal = with_normals(cube, ("soil_moisture",), *days)["soil_moisture" + HARMONIC].values
        source.attributes = {**source.attributes, "normal_period": f"{days[0]} to {days[1]}"}


def facts_of(attributes: Mapping[str, Any]) -> list[str]:
    """What has to stand beside a forecast, from the attributes of its store."""
    weather = {
        "perfect": "weather ahead: analysed, an upper bound of skill and no forecast",
        "forecast": "weather ahead: forecast",
        "none": "weather ahead: not used",
    }.get(str(attributes.get("weather")))
    gaps = "hindcast: gaps filled from later days" if attributes.get("causal") == "false" else None
    learnt = {name: attributes.get(f"learnt_{name}") for name in ("first", "last")}
    trained = f"trained on {learnt['first']} to {learnt['last']}" if all(learnt.values()) else None
    climatology = attributes.get("climatology_period")
    return [
        str(fact)
        for fact in (
            attributes.get("dataset"),
            weather,
            gaps,
            trained,
            f"climatology {climatology}" if climatology else None,
            attributes.get("climatology_warning"),
            attributes.get("layer_note"),
        )
        if fact
    ]


def _on_cells(store: xr.Dataset, place: str) -> xr.Dataset:
    named = store.rename({old: new for old, new in (("lat", "y"), ("lon", "x")) if old in store.dims})
    for axis, of in (("y", "lat"), ("x", "lon")):
        if of in store.dims:
            named = named.assign_coords({of: (axis, named[axis].values)})
            named[axis].attrs.setdefault("units", "degrees")
    return as_forecasts(named, place, ())


def _at_stations(store: xr.Dataset, place: str) -> list[xr.Dataset]:
    """Observations of a station store: a data set for each layer."""
    found = as_stations(store, place)
    places = {name: ("y", found[name].values) for name in ("station", "lat", "lon")}
    return [
        xr.Dataset(
            {
                "soil_moisture": (
                    DIMS,
                    found.soil_moisture.sel(layer=layer).transpose("time", "station").data[:, None, :, None],
                )
            },
            {"init_time": found.time.values, "lead_time": pd.to_timedelta([0], unit="D"), **places},
            {**store.attrs, "layer": str(layer)},
        )
        for layer in found.layer.values
    ]


def _quantities(data: xr.Dataset, observed: str, place: str) -> xr.Dataset:
    """The variables that the page shows, quantiles each by itself."""
    if observed != "soil_moisture":
        data = data.drop_vars("soil_moisture", errors="ignore").rename({observed: "soil_moisture"})
    shown = {name: data[name] for name in QUANTITIES if name in data and set(data[name].dims) == set(DIMS)}
    if "soil_moisture_quantile" in data:
        levels = data["quantile"].values
        shown |= {
            f"{_QUANTILE}{float(level):g}": data.soil_moisture_quantile.isel(quantile=k, drop=True)
            for k, level in enumerate(levels)
        }
    if not shown:
        raise VadoseError(
            f"{place}: nothing to show; expected one of {list(QUANTITIES)} or soil_moisture_quantile by day and cell, "
            f"found {sorted(map(str, data.data_vars))}"
        )
    kept = {name: data[name] for name in ("lat", "lon", "station") if name in data.coords}
    found = xr.Dataset({name: of.reset_coords(drop=True) for name, of in shown.items()}).transpose(*DIMS)
    return found.assign_coords(kept).assign_attrs(data.attrs)


def _located(data: xr.Dataset, place: str) -> xr.Dataset:
    """With ``lat`` of the rows and ``lon`` of the columns, at stations both of the rows."""
    if "station" in data.coords:
        lat, lon = (np.asarray(data[name].values, float).reshape(-1) for name in ("lat", "lon"))
        return data.drop_vars(["lat", "lon"]).assign_coords(lat=("y", lat), lon=("y", lon))
    if not {"lat", "lon"} <= set(data.coords):
        rows, columns = np.arange(data.sizes["y"]), np.arange(data.sizes["x"])
        grid = grid_of(data)
        data = data.assign_coords(lat=("y", grid.latlon(rows, 0)[0]), lon=("x", grid.latlon(0, columns)[1]))
    if data.lat.ndim == 2:
        lat, lon = data.lat.transpose("y", "x").values, data.lon.transpose("y", "x").values
        apart = max(np.ptp(lat, axis=1).max(), np.ptp(lon, axis=0).max())
        if apart > float(data.attrs.get("cell_size", 1000.0)) / METRES_A_DEGREE / 10:
            raise VadoseError(
                f"{place}: latitudes along a row differ by up to {apart:.3g} degrees; the page draws grids whose rows "
                "have one latitude and columns one longitude (EASE-Grid 2.0, degrees); regrid it first: vadose build"
            )
        data = data.drop_vars(["lat", "lon"]).assign_coords(lat=("y", lat[:, 0]), lon=("x", lon[0]))
    return data


def _cut(data: xr.Dataset, part: Part, place: str) -> xr.Dataset:
    if part.bbox is not None:
        west, south, east, north = part.bbox
        inside_y = (data.lat >= south) & (data.lat <= north)
        inside_x = (data.lon >= west) & (data.lon <= east)
        if "station" in data.coords:
            data = data.isel(y=np.flatnonzero(inside_y & inside_x))
        else:
            data = data.isel(y=np.flatnonzero(inside_y), x=np.flatnonzero(inside_x))
    if any(part.days):
        data = data.sel(init_time=slice(*part.days))
    known = pd.TimedeltaIndex(data.lead_time.values).days
    if part.leads and known.tolist() != [0]:
        data = data.isel(lead_time=np.flatnonzero(np.isin(known, part.leads)))
    if empty := [name for name, n in data.sizes.items() if not n]:
        asked = {"y": "box", "x": "box", "init_time": "days", "lead_time": "leads"}[str(empty[0])]
        raise VadoseError(f"{place}: nothing of it is in the {asked} asked for; take another, or none")
    return data


def _source(data: xr.Dataset, stem: str, observed: bool) -> Source:
    told = data.attrs
    model = str(told.get("model") or told.get("dataset") or stem)
    return Source(
        "", f"observed: {model}" if observed else model, str(told.get("layer", "soil")), observed, data, attributes=told
    )


def _named_apart(sources: list[Source]) -> list[Source]:
    """Names that differ: by weather and scenario, and by a number where these are alike too."""
    labels = Counter((source.model, source.layer) for source in sources)
    seen: Counter[tuple[str, str]] = Counter()
    for source in sources:
        if labels[source.model, source.layer] > 1:
            told = [str(source.attributes[key]) for key in ("weather", "scenario") if key in source.attributes]
            source.model = ", ".join([source.model, *told])
        seen[source.model, source.layer] += 1
        if (n := seen[source.model, source.layer]) > 1:
            source.model += f" ({n})"
        source.id = re.sub("[^a-z0-9]+", "-", f"{source.model} {source.layer}".lower()).strip("-")
    return sources
