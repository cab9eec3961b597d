"""Stores and tables of outlooks: the one form of predictions, (init_time, lead_time, layer, y, x)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from vadose.artefact import writing
from vadose.artefact.predictions import write_predictions
from vadose.predict.outlook.percentiles import MISSING, NONE, THRESHOLDS

_ORDER = ("init_time", "lead_time", "layer", "quantile", "drought_threshold", "level", "time", "y", "x")


def as_store(found: xr.Dataset, issued: pd.Timestamp, names: list[str], attributes: Mapping[str, str]) -> xr.Dataset:
    """Outlooks of places as a store: each place a row (y) with its name in ``station``.

    Days from that of issue on are at their lead; of those before, variables are named ``recent_...`` over ``time``.
    """
    axes = {"place": "y"}
    ahead = found.sel(time=slice(issued, None)).rename(time="lead_time")
    ahead = ahead.assign_coords(lead_time=ahead.lead_time - np.datetime64(issued, "ns")).expand_dims(init_time=[issued])
    before = found.sel(time=slice(None, issued - pd.Timedelta(days=1)))
    before = before.rename({name: f"recent_{name}" for name in before.data_vars})
    store = xr.merge([ahead, before], combine_attrs="override", join="exact", compat="override").rename(axes)
    store = store.expand_dims(x=[0]).assign_coords(
        layer=found.layer.values.astype(object),
        y=np.arange(len(names)),
        station=("y", np.array(names, object)),
        lat=("y", found.lat.values),
        lon=("y", found.lon.values),
    )
    return store.transpose(*(axis for axis in _ORDER if axis in store.dims)).assign_attrs(attributes)


def write_store(store: xr.Dataset, path: Path, title: str) -> Path:
    """Write a store of an outlook."""
    with writing(path) as scratch:
        write_predictions(scratch, store, title, chunks={})
    return path


def table_of(store: xr.Dataset) -> pd.DataFrame:
    """A row for each place, layer and lead."""
    of_store = store.isel(init_time=0)
    issued = pd.Timestamp(store.init_time.values[0])
    rows = []
    for y in range(store.sizes["y"]):
        for layer in store.layer.values:
            one = of_store.isel(y=y, x=0).sel(layer=layer)
            leads = pd.TimedeltaIndex(one.lead_time.values)
            values: dict[str, Any] = {
                "place": str(one.station.values),
                "latitude": float(one.lat),
                "longitude": float(one.lon),
                "layer": str(layer),
                "lead_days": leads.days,
                "date": (issued + leads).strftime("%Y-%m-%d"),
                "mean": one.soil_moisture.values,
                "std": one.soil_moisture_std.values,
            }
            values |= {
                f"q{round(100 * q):02d}": one.soil_moisture_quantile.sel(quantile=q).values
                for q in one["quantile"].values
            }
            values["percentile"] = one.soil_moisture_percentile.values
            values["drought_class"] = [short_class(n) for n in one.drought_class.values]
            values |= {
                f"probability_d{k}": one.drought_probability.sel(drought_threshold=t).values
                for k, t in enumerate(THRESHOLDS)
            }
            rows.append(pd.DataFrame(values))
    whole = pd.concat(rows, ignore_index=True)
    return whole.astype({name: float for name, kind in whole.dtypes.items() if kind == np.float32})


def as_json(store: xr.Dataset) -> dict[str, Any]:
    """Figures and sources as plain values."""
    issued = f"{pd.Timestamp(store.init_time.values[0]):%Y-%m-%d}"
    told = {key: json.loads(store.attrs[key]) for key in ("sources", "trust") if key in store.attrs}
    if "station" not in store.coords:
        from vadose.predict.outlook.area import county_table

        return {"issued": issued, "counties": county_table(store).round(4).to_dict("records")} | told
    table = table_of(store).round(4)
    places = []
    for (name, lat, lon), of_place in table.groupby(["place", "latitude", "longitude"], sort=False):
        layers = {
            str(layer): of_layer.drop(columns=["place", "latitude", "longitude", "layer"]).to_dict("records")
            for layer, of_layer in of_place.groupby("layer", sort=False)
        }
        places.append({"name": name, "latitude": lat, "longitude": lon, "layers": layers})
    return {"issued": issued, "places": places} | told


def short_class(number: float) -> str:
    """Of a drought class in tables: ``'D1'``, ``'none'``, or ``''`` where it is unknown."""
    return "" if number == MISSING or np.isnan(number) else "none" if number == NONE else f"D{int(number)}"
