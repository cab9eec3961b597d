"""Build a cube from granules block by block: resumable, appendable, on one process or a Dask cluster."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose import gapfill
from vadose.artefact import provenance
from vadose.cube import filling as gaps
from vadose.cube.granules import DAILY, Granule, list_granules, read_block
from vadose.cube.recipe import Recipe, Source
from vadose.cube.store import ANTECEDENT_DAYS, BLOCK_DAYS, CONVENTIONS, Store, blocks_of
from vadose.errors import VadoseError
from vadose.products import PRODUCTS
from vadose.workers import on_workers

DERIVED = "derived"
"""The note that says how many days of what is derived are done."""
_OF_SPACE = {"mean": "area: mean", "majority": "area: mode"}

Progress = Callable[[str, float], None]


class Unit(NamedTuple):
    """Days of a source to read: its number in the recipe, first day of their block, first and after last day.

    A fixed product has no days.
    """

    source: int
    block: int | None
    start: int | None
    stop: int | None

    @property
    def days(self) -> slice | None:
        """The days among the recipe's."""
        return None if self.start is None else slice(self.start, self.stop)


def build_from_granules(
    folder: Path,
    out: Path,
    recipe: Recipe,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress = lambda what, share: None,
) -> Path:
    """Read granules of many products, bring them onto one grid, and write the cube.

    ``folder`` holds a folder a product, named as in `vadose.products.PRODUCTS`, such as ``smap_l3`` and
    ``gridmet``, with the granules anywhere below. The unit of work is a block of 32 days of one product: it is
    read, written to chunks of its own and noted as done. So a build that was stopped goes on where it was, any
    number of processes may work at once, and of a cube that is built again only the days of new, changed or
    vanished granules are read and written. A granule that cannot be read is noted (attribute
    ``broken_granules``, JSON) and leaves its days missing.

    Days are those of each product (its ``day_boundary`` and ``latency`` are noted with the variable). Soil
    moisture is filled from the past and precipitation summed over 7, 30 and 90 days; ``mask`` marks the cells
    where every fixed variable has a value; of fixed classes the share of each is kept. With
    ``recipe.training`` mean, deviation and range of those days are noted with each variable
    (``training_mean`` ...). ``granules.csv`` in the store lists every granule with its hash.

    Parameters
    ----------
    out
        Zarr store to write, or to go on with.
    workers
        Processes on this machine.
    scheduler
        Address of a Dask scheduler, such as ``'tcp://host:8786'``, whose workers see the same files.

    Raises
    ------
    VadoseError
        When a folder or variable is missing, ``out`` was made by another recipe or is being written, or a
        granule of a fixed product cannot be read.
    """
    recipe.check()
    gaps.check(recipe)
    folders = [folder / source.product for source in recipe.sources]
    for source, place in zip(recipe.sources, folders, strict=True):
        if not place.is_dir():
            raise VadoseError(
                f"{folder}: no folder '{source.product}' in it; put that product's granules there, or take it "
                f"out of the recipe (fetch them with: vadose fetch {source.product})"
            )
    granules = [list_granules(place.resolve(), s.product) for s, place in zip(recipe.sources, folders, strict=True)]
    store = Store(out, recipe.grid, recipe.exact)
    _begin(store, recipe)
    with store.locked():
        job = _Job(folder, out, recipe)
        work = [one for number, own in enumerate(granules) for one in _changed(store, recipe, number, own, job.folder)]
        if not work and store.days() == len(recipe.days) and store.attributes()["state"] == "complete":
            return out
        store.mark(state="building")
        _derive_again(store, recipe, [unit for unit, _ in work])
        store.set_days(recipe.days)
        for source, own in zip(recipe.sources, granules, strict=True):
            for name in source.variables.values():
                store.add(name, None if _is_fixed(own) else len(recipe.days))
        with on_workers(workers if len(work) > 1 else 1, scheduler) as run:
            for done, unit in enumerate(run(job, work), 1):
                progress(f"reading {recipe.sources[unit.source].product}", done / len(work))
        notes = [[store.note(name) for name in _note_names(recipe, number)] for number in range(len(granules))]
        _check_variables(recipe, notes)
        _derive(store, recipe, progress)
        _fill(store, recipe, progress)
        _finish(store, recipe, notes)
    return out


def _identity(recipe: Recipe) -> dict[str, Any]:
    """What may not change while a cube grows: all but its last day."""
    whole: dict[str, Any] = json.loads(json.dumps(asdict(recipe), default=list))
    return {key: value for key, value in whole.items() if key != "last"}


def _begin(store: Store, recipe: Recipe) -> None:
    if not (store.path / "zarr.json").exists():
        if store.path.exists() and any(store.path.iterdir()):
            raise VadoseError(f"{store.path}: there is something that is no cube; choose another --out")
        store.create(_identity(recipe))
        return
    # What a cube of an earlier version says nothing of was as it is by default.
    made = {"training": None, "exact": False, "filling": []} | (store.attributes().get("recipe") or {})
    if differs := [key for key, value in _identity(recipe).items() if made.get(key) != value]:
        raise VadoseError(
            f"{store.path}: a cube of another recipe is there ({', '.join(differs)} differ); choose another --out, "
            "or remove it"
        )
    if store.days() > len(recipe.days):
        raise VadoseError(
            f"{store.path}: holds {store.days()} days, the recipe ends after {len(recipe.days)}; it only grows"
        )


def _is_fixed(granules: list[Granule]) -> bool:
    return any(granule.first is None for granule in granules)


def _note_name(recipe: Recipe, source: int, block: int | None) -> str:
    product = recipe.sources[source].product
    return f"{product}-fixed" if block is None else f"{product}-{recipe.days[block]:%Y%m%d}"


def _note_names(recipe: Recipe, source: int) -> list[str]:
    blocks = [None, *(block.start for block in blocks_of(recipe.days))]
    return [_note_name(recipe, source, block) for block in blocks]


def _changed(
    store: Store, recipe: Recipe, source: int, granules: list[Granule], root: Path
) -> Iterator[tuple[Unit, list[Granule]]]:
    """What of a source is to be read: days of granules that are new, changed or gone since it was noted."""
    if _is_fixed(granules):
        before = store.note(_note_name(recipe, source, None)).get("granules", {})
        if {name: note["state"] for name, note in before.items()} != {g.name_in(root): g.state for g in granules}:
            yield Unit(source, None, None, None), granules
        return
    for block in blocks_of(recipe.days):
        days = recipe.days[block]
        note = store.note(_note_name(recipe, source, block.start))
        before = note.get("granules", {})
        there = {g.name_in(root): g for g in granules if g.overlaps(days[0], days[-1])}
        spans = [
            (g.first, g.last)
            for name, g in there.items()
            if g.first and g.last and before.get(name, {}).get("state") != g.state
        ]
        spans += [(pd.Timestamp(b["first"]), pd.Timestamp(b["last"])) for n, b in before.items() if n not in there]
        if note and note["stop"] < block.stop:
            # The cube grew: of granules that hold many days there are more to take.
            spans += [(recipe.days[note["stop"]], days[-1])] if there else []
        if spans:
            first, last = min(first for first, _ in spans), max(last for _, last in spans)
            wanted = np.flatnonzero((days >= first) & (days <= last)) + block.start
            own = [g for g in there.values() if g.overlaps(first, last)]
            yield Unit(source, block.start, int(wanted[0]), int(wanted[-1]) + 1), own


class _Job:
    """Read a unit and write it; sent to workers whole."""

    def __init__(self, folder: Path, out: Path, recipe: Recipe) -> None:
        self.folder, self.out, self.recipe = folder.resolve(), out.resolve(), recipe

    def __call__(self, work: tuple[Unit, list[Granule]]) -> Unit:
        unit, granules = work
        recipe, days = self.recipe, unit.days
        source, store = recipe.sources[unit.source], Store(self.out, recipe.grid, recipe.exact)
        found = read_block(granules, recipe.grid, None if days is None else recipe.days[days], source, self.folder)
        name, names = _note_name(recipe, unit.source, unit.block), _variables(recipe, unit.source)
        note = self._without(store.note(name), days) or {
            "stop": 0, "variables": [], "attributes": {}, "granules": {}, "statistics": {n: {} for n in names}
        }  # fmt: skip
        for variable in names:
            values = found.fields.get(variable)
            if days is not None:
                values = store.rounded(variable, _missing(recipe, days) if values is None else values)
            if values is not None:
                store.write(variable, values, days)
                note["statistics"][variable] |= _statistics(recipe, days, values)
        for variable, (classes, shares) in found.fractions.items():
            store.write_fractions(variable, classes, shares)
        block_stop = 0 if unit.block is None else min(unit.block + BLOCK_DAYS, len(recipe.days))
        note |= {
            "stop": max(note["stop"], block_stop),
            "variables": sorted({*note["variables"], *found.fields}),
            "attributes": found.attributes or note["attributes"],
            "flags": found.flags,
            "granules": note["granules"] | found.granules,
        }
        store.write_note(name, note)
        return unit

    def _without(self, note: dict[str, Any], days: slice | None) -> dict[str, Any]:
        """What was noted of other days than those."""
        if days is None or not note:
            return {}
        first, *_, last = [f"{day:%Y-%m-%d}" for day in self.recipe.days[days][[0, -1]]]
        others = {n: g for n, g in note["granules"].items() if g["last"] < first or g["first"] > last}
        kept = {
            name: {day: part for day, part in parts.items() if not first <= day <= last}
            for name, parts in note["statistics"].items()
        }
        return note | {"granules": others, "statistics": kept}


def _missing(recipe: Recipe, days: slice) -> NDArray[np.float32]:
    return np.full((days.stop - days.start, *recipe.grid.shape), np.nan, np.float32)


def _statistics(recipe: Recipe, days: slice | None, values: NDArray[np.float32]) -> dict[str, list[float]]:
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


def _check_variables(recipe: Recipe, notes: list[list[dict[str, Any]]]) -> None:
    """Refuse a variable that no granule gave, with the reason where granules are broken."""
    for source, own in zip(recipe.sources, notes, strict=True):
        given = {name for note in own for name in note.get("variables", ())}
        if missing := [theirs for theirs, ours in source.variables.items() if ours not in given]:
            granules = {name: g for note in own for name, g in note.get("granules", {}).items()}
            broken = [granule["broken"] for granule in granules.values() if "broken" in granule]
            raise VadoseError(
                f"{source.product}: {len(granules)} granules of these days, and none with {missing} on the grid "
                f"between {recipe.first} and {recipe.last}"
                + (f"; {len(broken)} are broken: {broken[0]}" if broken else "")
            )


def _derive_again(store: Store, recipe: Recipe, units: list[Unit]) -> None:
    """Note that what is derived from the days to be read, and all after them, is to be made again."""

    def first_of(names: Iterable[str]) -> int:
        changed = [unit.start or 0 for unit in units if set(names) & set(_variables(recipe, unit.source))]
        return min(changed, default=len(recipe.days))

    def again(name: str, first: int) -> None:
        note = store.note(name)
        if note and first < note["days"]:
            store.write_note(name, note | {"days": first})

    again(DERIVED, first_of(("soil_moisture", "precipitation")))
    for filling in recipe.filling:
        first = first_of((*filling.variables, *filling.covariates, *filling.static))
        last = pd.Timestamp(recipe.training[1]) if recipe.training else recipe.days[0]
        if first < len(recipe.days) and recipe.days[first] <= last:
            gaps.forget(store, filling)
            first = 0
        # What sees days ahead sees more of them in a record that has grown.
        again(gaps.note_name(filling), max(min(first, store.days()) - gaps.reach_back(filling), 0))


def _variables(recipe: Recipe, source: int) -> list[str]:
    return list(recipe.sources[source].variables.values())


def _derive(store: Store, recipe: Recipe, progress: Progress) -> None:
    """Fill soil moisture from the past and sum precipitation, block by block in order of time."""
    names = {name for source in recipe.sources for name in source.variables.values()}
    group = store.open()
    note = store.note(DERIVED) or {"days": 0, "statistics": {}}
    by_filler = "soil_moisture" in [name for filling in recipe.filling for name in filling.variables]
    while (start := note["days"]) < len(recipe.days):
        block = slice(start, min(start + BLOCK_DAYS, len(recipe.days)))
        made: dict[str, NDArray[np.float32]] = {}
        if "soil_moisture" in names:
            state = {"filled": "soil_moisture_age" if by_filler else "soil_moisture_filled", "age": "soil_moisture_age"}
            before = {part: group[name][start - 1] for part, name in state.items() if start}
            observed = xr.DataArray(group["soil_moisture"][block], dims=("time", "y", "x"), name="soil_moisture")
            filled = gapfill.carry_forward(observed, **before)
            made |= {str(key): values.values for key, values in filled.data_vars.items()}
            if by_filler:
                del made["soil_moisture_filled"]
        if "precipitation" in names:
            earlier = max(start - max(ANTECEDENT_DAYS) + 1, 0)
            rain = group["precipitation"][earlier : block.stop].astype(float)
            for length in ANTECEDENT_DAYS:
                made[f"precipitation_{length}d"] = _sum_back(rain, length)[start - earlier :]
        _write_derived(store, recipe, block, made, note)
        store.write_note(DERIVED, note)
        progress("filling and summing", block.stop / len(recipe.days))


def _fill(store: Store, recipe: Recipe, progress: Progress) -> None:
    """Fill the gaps of the variables that the recipe names."""
    for filling in recipe.filling:
        note = store.note(gaps.note_name(filling)) or {"days": 0, "statistics": {}, "counts": {}}
        for block, fields in gaps.fill_gaps(store, recipe, filling, progress):
            _write_derived(store, recipe, block, fields, note)
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
        note["statistics"].setdefault(name, {}).update(_statistics(recipe, block, rounded))
    note["days"] = block.stop


def _sum_back(rain: NDArray[np.float64], length: int) -> NDArray[np.float32]:
    """Sums over the days up to each, NaN as long as the record is shorter or a day is missing."""
    windows = np.full(rain.shape, np.nan, np.float32)
    if len(rain) >= length:
        total = np.lib.stride_tricks.sliding_window_view(rain, length, axis=0).sum(axis=-1)
        windows[length - 1 :] = total
    return windows


def _finish(store: Store, recipe: Recipe, notes: list[list[dict[str, Any]]]) -> None:
    """Write what the cube says of itself, and that it is whole."""
    group = store.open()
    rows: list[dict[str, Any]] = []
    fixed, simulated = [], False
    for source, own in zip(recipe.sources, notes, strict=True):
        own = [note for note in own if note]
        attributes: dict[str, Any] = next((note["attributes"] for note in own if note["attributes"]), {})
        granules = {name: granule for note in own for name, granule in note["granules"].items()}
        rows += [{"product": source.product, "granule": name, **granules[name]} for name in sorted(granules)]
        simulated |= attributes.get("simulated") == "true"
        for theirs, name in source.variables.items():
            array = group[name]
            array.attrs.update(
                attributes
                | {key: value for note in own for key, value in note["flags"].get(name, {}).items()}
                | {
                    "source_variable": theirs,
                    "resampling": source.resampling,
                    "cell_methods": _cell_methods(source, name, array.ndim == 2),
                    "granules": len(granules),
                    "granules_sha256": _digest(granules),
                }
                | ({"latency": PRODUCTS[source.product].latency} if array.ndim == 3 else {})
            )
            if array.ndim == 2:
                fixed.append(np.isfinite(array[:]))
    _describe_derived(store, recipe)
    if "mask" not in group:
        group.create_array(
            "mask", shape=(store.coordinates.sizes["y"], store.coordinates.sizes["x"]), dtype="bool",
            dimension_names=("y", "x"),
            attributes={
                "long_name": "every fixed variable has a value", "grid_mapping": "crs", "coordinates": "lat lon"
            },
        )  # fmt: skip
    group["mask"][:] = np.logical_and.reduce(fixed) if fixed else True
    _write_statistics(store, recipe, [note for own in notes for note in own if note])
    store.write_text("granules.csv", pd.DataFrame(rows).drop(columns="state").to_csv(index=False))
    broken = {row["granule"]: row["broken"] for row in rows if "broken" in row}
    counts = pd.Series([row["product"] for row in rows]).value_counts().to_dict()
    made = provenance(recipe=_identity(recipe), last=recipe.last, granules=counts)
    products = " + ".join(source.product for source in recipe.sources)
    said = {
        "Conventions": CONVENTIONS,
        "title": f"Soil moisture and its drivers on the {recipe.resolution} EASE-Grid 2.0",
        "source": f"{products}, see granules.csv",
        "history": f"{group.attrs.get('history', '')}{made['created']}: vadose build, up to {recipe.last}\n",
        "dataset": products,
        "layer": "0-10 cm",
        "layer_note": "SMAP L-band retrieval, representative of about 0-5 cm",
        "day_boundary": "each product's own, see the variables",
        "simulated": "true" if simulated else "false",
        "broken_granules": json.dumps(broken),
        **made,
    }
    group.attrs.update(said)
    store.mark(**said, state="complete")


def _digest(granules: dict[str, dict[str, Any]]) -> str:
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
    return f"time: {'mean' if source.product in (*DAILY, 'gridmet') else 'point'} {space}"


def _describe_derived(store: Store, recipe: Recipe) -> None:
    group = store.open()
    for part in ("filled", "observed", "age"):
        if (name := f"soil_moisture_{part}") in group:
            group[name].attrs.update({"fill_method": "last observation", "causal": "true"})
    for filling in recipe.filling:
        for name, counts in store.note(gaps.note_name(filling))["counts"].items():
            filled, there = np.sum(list(counts.values()), axis=0)
            others = [n for n in (*filling.variables, *filling.covariates, *filling.static) if n != name]
            for part in ("filled", "filled_std"):
                group[f"{name}_{part}"].attrs.update({
                    "fill_method": filling.method, "causal": "true" if filling.mode == "causal" else "false",
                    "filled_with": ", ".join(others) or "itself alone",
                    "filled_share": round(float(filled / max(there, 1)), 4),
                })  # fmt: skip
    for length in ANTECEDENT_DAYS:
        if (name := f"precipitation_{length}d") in group:
            group[name].attrs["causal"] = "true"


def _write_statistics(store: Store, recipe: Recipe, notes: list[dict[str, Any]]) -> None:
    """Mean, deviation and range of the training days, noted with each variable."""
    if recipe.training is None:
        return
    parts: dict[str, list[list[float]]] = {}
    for note in (*notes, store.note(DERIVED), *(store.note(gaps.note_name(f)) for f in recipe.filling)):
        for name, days in note["statistics"].items():
            parts.setdefault(name, []).extend(days[day] for day in sorted(days))
    group = store.open()
    for name, own in parts.items():
        if not own:
            continue
        count, total, squares = (sum(part[i] for part in own) for i in range(3))
        mean = total / count
        group[name].attrs.update({
            "training_days": list(recipe.training), "training_count": int(count), "training_mean": mean,
            "training_std": float(np.sqrt(max(squares / count - mean**2, 0.0))),
            "training_min": min(part[3] for part in own), "training_max": max(part[4] for part in own),
        })  # fmt: skip
