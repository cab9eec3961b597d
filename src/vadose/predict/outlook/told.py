"""What an outlook says of its sources and of how far to trust it."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from vadose.artefact import provenance
from vadose.predict.outlook.moisture import LAYERS, Networks
from vadose.predict.outlook.point import Places
from vadose.samples.land_surface import FIXED, WEATHER, Climate, fixed_features

FAR = 3.0
"""Standard deviations from the mean of training beyond which a place is said to lie outside its domain."""


def attributes_of(
    known: Places,
    ahead: str,
    networks: Networks,
    issued: pd.Timestamp,
    offline: bool,
    compared: Sequence[str] = (),
    followed: Sequence[str] = (),
) -> dict[str, str]:
    """Attributes of a store: ``sources`` and ``trust`` as JSON, and what made it; ``compared`` is what others say.

    ``followed`` says how well an own sensor is followed, a line each.
    """
    past, ground, forecast = known.past.attrs, known.ground.attrs, known.ahead
    newest = known.past.indexes["time"][-1]
    run = "" if forecast is None else " ({source}, {leads})".format(**forecast.attrs)
    roles = (past, ground, {} if forecast is None else forecast.attrs)
    tried = [line for of in roles for line in str(of.get("tried", "")).split("\n")]
    sources = {
        "past": f"{past['source']} up to {newest:%Y-%m-%d}{_status(known.past)}, fetched {past['fetched'][:16]}",
        "ahead": f"{ahead}{run}",
        "correction": "" if forecast is None else str(forecast.attrs.get("correction", "")),
        "ground": "; ".join(
            str(ground[key]) for key in ("soil_source", "terrain_source", "cover_source") if ground.get(key)
        ),
        "networks": f"{len(networks.members)} land-surface networks",
        "tried": [line for line in dict.fromkeys(tried) if line],
        "newest_day": f"{newest:%Y-%m-%d}",
        "offline": offline,
        "compared": list(compared),
    }
    simulated = any(str(of.get("simulated", "")).lower() == "true" for of in (past, ground, networks.card))
    return {
        "simulated": str(simulated).lower(),
        "model": "land-surface networks",
        "weather": "forecast" if forecast is not None else "past years",
        "corrected": "false" if forecast is None else str(forecast.attrs.get("corrected", "false")),
        "observed": "soil_moisture",
        "climatology_period": "1991-01-01 .. 2020-12-31",
        "sources": json.dumps(sources),
        "trust": json.dumps({"lines": [*_trust(known, networks), *followed]}),
    } | provenance(lat=known.past.lat.values.tolist(), lon=known.past.lon.values.tolist(), issued=f"{issued:%Y-%m-%d}")


def notes_of(attributes: Mapping[Any, Any]) -> list[str]:
    """What an outlook says of its sources and of how far to trust it, a line each, for people."""
    sources, trust = json.loads(attributes["sources"]), json.loads(attributes["trust"])
    lines = [f"Weather: {sources['past']}. Ahead: {sources['ahead']}."]
    if correction := sources.get("correction"):
        lines.append(f"Weather forecast, correction to gridMET: {correction}.")
    lines.append(f"Ground: {sources['ground']}. Networks: {sources['networks']}.")
    lines += [f"Trust: {line}." for line in trust["lines"]]
    lines += [f"For comparison, not used here: {line}." for line in sources["compared"]]
    return lines + [f"Source that did not serve: {line}" for line in sources["tried"]]


def changing_of(networks: Networks) -> list[float]:
    """Error of each layer's changes [m3 m-3], without that of the level: the off-site ubRMSE of the model card.

    Infinite where it says none: then the whole deviation counts.
    """
    scores = networks.card.get("scores", {})
    return [float(scores.get(layer, {}).get("ubrmse", math.inf)) for layer in LAYERS]


def _status(past: xr.Dataset) -> str:
    """Up to which day the weather is final, in words."""
    if "status" not in past.coords:
        return ""
    final = past.indexes["time"][past.status.values == "permanent"]
    return f" (final up to {final[-1]:%Y-%m-%d}, later days may change)" if len(final) else " (days may change)"


def _by_place(of: xr.Dataset) -> xr.Dataset:
    return of if "place" in of.dims else of.stack(place=("lat", "lon"), create_index=False)


def _domain(known: Places, networks: Networks) -> str:
    """How far climate, height and soil lie from those of training, in standard deviations there."""
    stacked = [_by_place(of) for of in (known.past, known.ground)]
    dry = stacked[0][WEATHER[0]].notnull().any("time").values
    weather, ground = (of.isel(place=dry) for of in stacked)
    fixed = fixed_features(ground, Climate.of(weather), weather.sizes["place"])
    norm = networks.members[0].of_place
    apart = np.abs((fixed - norm.mean.numpy()) / np.maximum(norm.std.numpy(), 1e-6))
    furthest = np.nan_to_num(apart).max(axis=0)
    worst = int(furthest.argmax())
    said = f"{FIXED[worst].replace('_', ' ')} lies {furthest[worst]:.1f} standard deviations from the mean of training"
    if furthest[worst] > FAR:
        return f"{said}, outside its range: expect larger errors"
    return f"a place like those learnt from ({said})"


def _trust(known: Places, networks: Networks) -> list[str]:
    """How far to trust the figures, in words."""
    lines, scores = [], networks.card.get("scores", {})
    if scores:
        told = ", ".join(
            f"{layer} R {of['r']:.2f}, RMSE {of['rmse']:.3f}" for layer in LAYERS if (of := scores.get(layer))
        )
        lines.append(f"at stations not learnt from (median): {told} m3 m-3")
    else:
        lines.append(f"model card: {networks.card.get('headline', 'none, take the figures with care')}")
    lines.append(_domain(known, networks))
    sand = [known.ground[name] for name in known.ground.data_vars if str(name).startswith("sand_fraction")]
    unknown = int((~np.isfinite(sand[0].values)).sum()) if sand else known.past.sizes["place"]
    lines.append(
        "the soil is known"
        if not unknown
        else f"the soil is unknown at {unknown} of {known.past.sizes['place']} places"
    )
    return lines
