"""What a cube holds beside its products, and what it says of itself: sums, filled values, statistics, attributes."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from numpy.typing import NDArray

from vadose import gapfill
from vadose.artefact import provenance
from vadose.artefact.predictions import CONVENTIONS, who
from vadose.cube import filling as gaps
from vadose.cube.granule import Listing
from vadose.cube.overpasses import interpolated, value_before
from vadose.cube.recipe import DIRECTIONS, Recipe, Source
from vadose.cube.store import ANTECEDENT_DAYS, BLOCK_DAYS, Store
from vadose.parallel.progress import Progress

DERIVED, INTERPOLATED = "derived", "interpolated"
"""The notes that say how many days of what is derived are done."""
Granules = Mapping[str, Mapping[str, object]]
"""What is noted of each granule, by its name."""
_OF_SPACE = {"mean": "area: mean", "majority": "area: mode"}


def derive(store: Store, recipe: Recipe, progress: Progress) -> None:
    """Carry the last values from day to day and sum precipitation, block by block in order of time."""
    note = store.note(DERIVED) or {"days": 0, "statistics": {}}
    if "precipitation" in store.open() and any(f"precipitation_{n}d" not in store.open() for n in ANTECEDENT_DAYS):
        note["days"] = 0  # a cube of an earlier version grows: what it lacks is made of all its days
    while (start := note["days"]) < len(recipe.days):
        block = slice(start, min(start + BLOCK_DAYS, len(recipe.days)))
        for made in _derived(store, recipe, block):
            _write_derived(store, recipe, block, made, note)
        note["days"] = block.stop
        store.write_note(DERIVED, note)
        progress("filling and summing", block.stop / len(recipe.days))
    note = store.note(INTERPOLATED) or {"days": 0, "statistics": {}}
    if recipe.interpolated and note["days"] < len(recipe.days):
        # The next observation changes the days before it: all are made anew, and those written that differ.
        for block, made in interpolated(store, recipe):
            _write_derived(store, recipe, block, made, note)
        store.write_note(INTERPOLATED, note | {"days": len(recipe.days)})


def _derived(store: Store, recipe: Recipe, block: slice) -> Iterator[dict[str, NDArray[np.float32]]]:
    """What is derived on the days of a block, some variables at a time."""
    group, start = store.open(), block.start
    for name in recipe.carried:
        by_filler = name in [one for filling in recipe.filling for one in filling.variables]
        state = {"filled": f"{name}_age" if by_filler else f"{name}_filled", "age": f"{name}_age"}
        before = {part: group[of][start - 1] for part, of in state.items() if start} or value_before(
            store, recipe, name
        )
        observed = xr.DataArray(group[name][block], dims=("time", "y", "x"), name=name)
        made = gapfill.carry_forward(observed, **before).drop_vars(f"{name}_filled" if by_filler else [])
        if name != "soil_moisture":  # of the others the age tells as much
            made = made.drop_vars(f"{name}_observed")
        yield {str(key): values.values for key, values in made.data_vars.items()}
    if any(name == "precipitation" for source in recipe.sources for name in source.variables.values()):
        earlier = max(start - max(ANTECEDENT_DAYS) + 1, 0)
        rain = group["precipitation"][earlier : block.stop].astype(float)
        for length in ANTECEDENT_DAYS:
            yield {f"precipitation_{length}d": _sum_back(rain, length)[start - earlier :]}


def fill(store: Store, recipe: Recipe, progress: Progress) -> None:
    """Fill the gaps of the variables that the recipe names."""
    for filling in recipe.filling:
        note = store.note(gaps.note_name(filling)) or {"days": 0, "statistics": {}, "counts": {}}
        for block, fields in gaps.fill_gaps(store, recipe, filling, progress):
            _write_derived(store, recipe, block, fields, note)
            note["days"] = block.stop
            for name in filling.variables:
                std = fields[f"{name}_filled_std"]
                counts = [int((std > 0).sum()), int(np.isfinite(std).sum())]
                note["counts"].setdefault(name, {})[str(block.start)] = counts
            store.write_note(gaps.note_name(filling), note)


def _write_derived(
    store: Store, recipe: Recipe, block: slice, fields: dict[str, NDArray[np.float32]], note: dict[str, Any]
) -> None:
    """Write days of derived variables, and note them with their statistics."""
    for name, values in fields.items():
        rounded = store.rounded(name, values)
        store.add(name, len(recipe.days))
        store.write(name, rounded, block)
        of_days = note["statistics"].setdefault(name, {})
        for day in recipe.days[block].strftime("%Y-%m-%d"):
            of_days.pop(day, None)  # it may have had values that it has no more
        of_days |= statistics(recipe, block, rounded)


def _sum_back(rain: NDArray[np.float64], length: int) -> NDArray[np.float32]:
    """Sums over the days up to each, NaN as long as the record is shorter or a day is missing."""
    windows = np.full(rain.shape, np.nan, np.float32)
    if len(rain) >= length:
        total = np.lib.stride_tricks.sliding_window_view(rain, length, axis=0).sum(axis=-1)
        windows[length - 1 :] = total
    return windows


def statistics(recipe: Recipe, days: slice | None, values: NDArray[np.float32]) -> dict[str, list[float]]:
    """Count, sum, sum of squares, least and largest value of each training day; '' is the day of fixed fields."""
    if recipe.training is None:
        return {}
    if days is None:
        return _moments("", values)
    first, last = (pd.Timestamp(day) for day in recipe.training)
    found: dict[str, list[float]] = {}
    for day, field in zip(recipe.days[days], values, strict=True):
        if first <= day <= last:
            found |= _moments(f"{day:%Y-%m-%d}", field)
    return found


def _moments(day: str, values: NDArray[np.float32]) -> dict[str, list[float]]:
    valid = values[np.isfinite(values)].astype(float)
    if not valid.size:
        return {}
    return {day: [float(v) for v in (valid.size, valid.sum(), (valid**2).sum(), valid.min(), valid.max())]}


def finish(store: Store, recipe: Recipe, notes: list[list[dict[str, Any]]], listings: list[Listing]) -> None:
    """Write what the cube says of itself, and that it is whole."""
    group = store.open()
    rows: list[dict[str, object]] = []
    simulated = False
    for source, own, listing in zip(recipe.sources, notes, listings, strict=True):
        own = [note for note in own if note]
        attributes: dict[str, object] = next((note["attributes"] for note in own if note["attributes"]), {})
        granules = {name: granule for note in own for name, granule in note["granules"].items()}
        rows += [{"product": source.product, "granule": name, **granules[name]} for name in sorted(granules)]
        rows += [{"product": source.product, "granule": n, "superseded_by": by} for n, by in listing.superseded.items()]
        rows += [{"product": source.product, "granule": n, "broken": why} for n, why in listing.strangers.items()]
        simulated |= attributes.get("simulated") == "true"
        _describe_source(group, source, own, attributes, granules)
    _describe_derived(store, recipe)
    _write_mask(store, recipe)
    _write_statistics(store, recipe, [note for own in notes for note in own if note])
    store.write_text("granules.csv", pd.DataFrame(rows).drop(columns="state", errors="ignore").to_csv(index=False))
    counts = pd.Series([row["product"] for row in rows if "sha256" in row]).value_counts().to_dict()
    made = provenance(recipe=recipe.identity(), last=recipe.last, granules=counts)
    products = " + ".join(source.product for source in recipe.sources)
    said = {
        **who(),
        "Conventions": CONVENTIONS,
        "title": f"Soil moisture and its drivers on the {recipe.resolution} EASE-Grid 2.0",
        "source": f"{products}, see granules.csv",
        "history": f"{group.attrs.get('history', '')}{made['created']}: vadose build, up to {recipe.last}\n",
        "references": f"vadose {made['vadose_version']}, docs/products.md and docs/methods.md",
        "dataset": products,
        "layer": "0-10 cm",
        "layer_note": _layer_note(recipe),
        "day_boundary": "each product's own, see the variables",
        "simulated": "true" if simulated else "false",
        **_left_out(recipe, notes, listings, rows),
        "never_observed": json.dumps(_never_observed(store, recipe)),
        **made,
    }
    group.attrs.update(said)
    store.mark(**said, state="complete")
    store.consolidate()


def _layer_note(recipe: Recipe) -> str:
    own = any(source.own is not None and "soil_moisture" in source.variables.values() for source in recipe.sources)
    return "as the data given have it" if own else "SMAP L-band retrieval, representative of about 0-5 cm"


def _describe_source(
    group: zarr.Group, source: Source, own: list[dict[str, Any]], attributes: dict[str, object], granules: Granules
) -> None:
    """Say with each variable of a source what it was made of."""
    for theirs, name in source.variables.items():
        array = group[name]
        array.attrs.update(
            attributes
            | {"source_variable": theirs}
            | {key: value for note in own for key, value in note["flags"].get(name, {}).items()}
            | {
                "resampling": source.resampling,
                "cell_methods": _cell_methods(source, name, array.ndim == 2),
                "granules": len(granules),
                "granules_sha256": _digest(granules),
            }
            | ({"latency": source.known.latency} if array.ndim == 3 else {})
        )


def _write_mask(store: Store, recipe: Recipe) -> None:
    """Mark the cells at which every fixed variable has a value; flat ground has no direction and still counts."""
    group = store.open()
    named = [pair for source in recipe.sources for pair in source.variables.items() if pair[0] not in DIRECTIONS]
    fixed = [group[name] for _, name in named if group[name].ndim == 2]
    if "mask" not in group:
        group.create_array(
            "mask",
            shape=(store.coordinates.sizes["y"], store.coordinates.sizes["x"]),
            dtype="bool",
            dimension_names=("y", "x"),
            attributes={
                "long_name": "every fixed variable has a value",
                "grid_mapping": "crs",
                "coordinates": "lat lon",
            },
        )
    group["mask"][:] = np.logical_and.reduce([np.isfinite(array[:]) for array in fixed]) if fixed else True


def _never_observed(store: Store, recipe: Recipe) -> dict[str, float]:
    """Share of the cells without any value on the last day, of variables whose last value is kept and its age."""
    group = store.open()
    inside, found = group["mask"][:], {}
    for name in recipe.carried:
        age = group[f"{name}_age"][-1][inside]
        if np.isnan(age).any():
            found[name] = round(float(np.isnan(age).mean()), 6)
        if np.isfinite(age).any():
            group[f"{name}_age"].attrs["oldest_on_last_day"] = float(np.nanmax(age))
    return found


def _left_out(
    recipe: Recipe, notes: list[list[dict[str, Any]]], listings: list[Listing], rows: list[dict[str, object]]
) -> dict[str, str]:
    """What the cube was not made of, as JSON: granules and why, bands, days without one, older versions, others."""
    listed = zip(recipe.sources, notes, listings, strict=True)
    absent, beside = {}, {}
    for source, own, listing in listed:
        if not source.known.fixed and (runs := _without_granule(recipe, own)):
            absent[source.product] = runs
        if listing.beside:
            beside[source.product] = dict(listing.beside)
    return {
        "broken_granules": json.dumps({row["granule"]: row["broken"] for row in rows if "broken" in row}),
        "days_without_granule": json.dumps(absent),
        "superseded_granules": json.dumps(
            {row["granule"]: row["superseded_by"] for row in rows if "superseded_by" in row}
        ),
        "files_beside_granules": json.dumps(beside),
        "incomplete_scenes": json.dumps({row["granule"]: row["lacks"] for row in rows if "lacks" in row}),
    }


def _without_granule(recipe: Recipe, notes: list[dict[str, Any]]) -> list[str]:
    """Days that no granule holds, as '2019-06-01' or '2019-06-01..2019-06-03'."""
    there = np.zeros(len(recipe.days), bool)
    for granule in (granule for note in notes for granule in note.get("granules", {}).values()):
        there[recipe.days.slice_indexer(granule["first"], granule["last"])] = True
    edges = np.flatnonzero(np.diff(there, prepend=True, append=True)).reshape(-1, 2)
    days = recipe.days.strftime("%Y-%m-%d")
    return [days[first] if stop - first == 1 else f"{days[first]}..{days[stop - 1]}" for first, stop in edges]


def _digest(granules: Granules) -> str:
    """One hash of the granules' names and hashes."""
    return hashlib.sha256("".join(f"{n}{granules[n]['sha256']}" for n in sorted(granules)).encode()).hexdigest()[:16]


def _cell_methods(source: Source, name: str, fixed: bool) -> str:
    """CF's words for what a value of a cell stands for, as far as the source tells."""
    space = _OF_SPACE.get(source.resampling, "area: point")
    if fixed:
        return space
    if name.startswith(("precipitation", "evapotranspiration", "reference_evapotranspiration", "runoff")):
        return f"time: sum {space}"
    if name.endswith(("_max", "_min")):
        return f"time: {'maximum' if name.endswith('_max') else 'minimum'} {space}"
    product = source.known
    return f"time: {'mean' if product.daily or product.day_means else 'point'} {space}"


def _describe_derived(store: Store, recipe: Recipe) -> None:
    group = store.open()
    for carried in recipe.carried:
        for part in ("filled", "observed", "age"):
            if (name := f"{carried}_{part}") in group:
                group[name].attrs.update({"fill_method": "last observation", "causal": "true"})
    for name in recipe.interpolated:
        group[f"{name}_filled"].attrs.update(
            {"fill_method": "linear between observations, hindcast: it takes the next one", "causal": "false"}
        )
    for filling in recipe.filling:
        said = gaps.attributes(store, filling)
        for name, counts in store.note(gaps.note_name(filling))["counts"].items():
            filled, there = np.sum(list(counts.values()), axis=0)
            others = [n for n in (*filling.variables, *filling.covariates, *filling.static) if n != name]
            for part in ("filled", "filled_std"):
                group[f"{name}_{part}"].attrs.update(
                    said[name]
                    | {
                        "causal": "true" if filling.mode == "causal" else "false",
                        "filled_with": ", ".join(others) or "itself alone",
                        "filled_share": round(float(filled / max(there, 1)), 4),
                    }
                )
    for length in ANTECEDENT_DAYS:
        if (name := f"precipitation_{length}d") in group:
            group[name].attrs["causal"] = "true"


def _write_statistics(store: Store, recipe: Recipe, notes: list[dict[str, Any]]) -> None:
    """Mean, deviation and range of the training days, noted with each variable."""
    if recipe.training is None:
        return
    parts: dict[str, list[list[float]]] = {}
    derived = (note for note in (store.note(DERIVED), store.note(INTERPOLATED)) if note)
    for note in (*notes, *derived, *(store.note(gaps.note_name(f)) for f in recipe.filling)):
        for name, days in note["statistics"].items():
            parts.setdefault(name, []).extend(days[day] for day in sorted(days))
    group = store.open()
    for name, own in parts.items():
        if not own:
            for key in [key for key in group[name].attrs if key.startswith("training_")]:
                del group[name].attrs[key]
            continue
        count, total, squares = (sum(part[i] for part in own) for i in range(3))
        mean = total / count
        group[name].attrs.update(
            {
                "training_days": list(recipe.training),
                "training_count": int(count),
                "training_mean": mean,
                "training_std": float(np.sqrt(max(squares / count - mean**2, 0.0))),
                "training_min": min(part[3] for part in own),
                "training_max": max(part[4] for part in own),
            }
        )
