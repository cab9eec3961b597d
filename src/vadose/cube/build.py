"""Build a cube from granules block by block: resumable, appendable, on one process or a Dask cluster."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose import gapfill
from vadose.artefact import provenance
from vadose.cube.granules import Granule, list_granules, read_block
from vadose.cube.recipe import Recipe
from vadose.cube.store import ANTECEDENT_DAYS, Store, blocks_of
from vadose.errors import VadoseError

Progress = Callable[[str, float], None]


class Unit(NamedTuple):
    """A block of a source: its number in the recipe, and its first day and the one after its last; None if fixed."""

    source: int
    start: int | None
    stop: int | None

    @property
    def days(self) -> slice | None:
        """The block's days among the recipe's."""
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
    read, written to shards of its own and noted as done. So a build that was stopped goes on where it was, days
    that are added later (a later ``last``, or new or changed files) cost only their blocks, and any number of
    processes may work at once. A granule that cannot be read is noted (attribute ``broken_granules``) and
    leaves its days missing.

    Days are those of each product (its ``day_boundary`` is noted with the variable). Soil moisture is filled
    from the past and precipitation summed over 7, 30 and 90 days; ``mask`` marks the cells where every fixed
    variable has a value. With ``recipe.training`` mean, deviation and range of those days are noted with each
    variable (``training_mean`` ...).

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
    folders = [folder / source.product for source in recipe.sources]
    for source, place in zip(recipe.sources, folders, strict=True):
        if not place.is_dir():
            raise VadoseError(
                f"{folder}: no folder '{source.product}' in it; put that product's granules there, or take it "
                f"out of the recipe (fetch them with: vadose fetch {source.product})"
            )
    granules = [list_granules(place.resolve(), s.product) for s, place in zip(recipe.sources, folders, strict=True)]
    units = [unit for number, found in enumerate(granules) for unit in _units(number, found, recipe)]
    store = Store(out, recipe.grid)
    _begin(store, recipe)
    with store.locked():
        store.set_days(recipe.days)
        for unit in units:
            for name in recipe.sources[unit.source].variables.values():
                store.add(name, None if unit.days is None else len(recipe.days))
        todo = [unit for unit in units if not _is_done(store, recipe, granules[unit.source], unit)]
        if not todo and store.attributes()["state"] == "complete":
            return out
        store.mark(state="building")
        job = _Job(folder, out, recipe)
        with _workers(workers if len(todo) > 1 else 1, scheduler) as run:
            work = [(unit, _of_block(granules[unit.source], recipe, unit.days)) for unit in todo]
            for done, unit in enumerate(run(job, work), 1):
                progress(f"reading {recipe.sources[unit.source].product}", done / len(todo))
        progress("filling and summing", 0.0)
        _check_variables(store, recipe, units, granules)
        _derive(store, recipe)
        _finish(store, recipe, units)
        progress("filling and summing", 1.0)
    return out


def _units(number: int, granules: list[Granule], recipe: Recipe) -> list[Unit]:
    """Blocks of days a product has granules of; one of no days for a fixed product."""
    if any(granule.first is None for granule in granules):
        return [Unit(number, None, None)]
    blocks = [block for block in blocks_of(recipe.days) if _of_block(granules, recipe, block)]
    return [Unit(number, block.start, block.stop) for block in blocks]


def _of_block(granules: list[Granule], recipe: Recipe, block: slice | None) -> list[Granule]:
    if block is None:
        return granules
    days = recipe.days[block]
    return [g for g in granules if g.first and g.last and g.first <= days[-1] and g.last >= days[0]]


def _name(recipe: Recipe, unit: Unit) -> str:
    product = recipe.sources[unit.source].product
    return f"{product}-fixed" if unit.start is None else f"{product}-{recipe.days[unit.start]:%Y%m%d}"


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
    made = store.attributes()
    if made.get("recipe") != _identity(recipe):
        differs = [key for key, value in _identity(recipe).items() if (made.get("recipe") or {}).get(key) != value]
        raise VadoseError(
            f"{store.path}: a cube of another recipe is there ({', '.join(differs)} differ); choose another --out, "
            "or remove it"
        )
    length = store.open()["time"].shape[0] if "time" in store.open() else 0
    if length > len(recipe.days):
        raise VadoseError(f"{store.path}: holds {length} days, the recipe ends after {len(recipe.days)}; it only grows")


def _state(granules: list[Granule]) -> dict[str, list[int]]:
    return {granule.path.name: granule.state for granule in granules}


def _is_done(store: Store, recipe: Recipe, granules: list[Granule], unit: Unit) -> bool:
    note = store.note(_name(recipe, unit))
    return bool(note) and note["state"] == _state(_of_block(granules, recipe, unit.days)) and note["stop"] == unit.stop


class _Job:
    """Read a unit and write it; sent to workers whole."""

    def __init__(self, folder: Path, out: Path, recipe: Recipe) -> None:
        self.folder, self.out, self.recipe = folder.resolve(), out.resolve(), recipe

    def __call__(self, work: tuple[Unit, list[Granule]]) -> Unit:
        unit, granules = work
        recipe, days = self.recipe, unit.days
        source, store = recipe.sources[unit.source], Store(self.out, recipe.grid)
        found = read_block(granules, recipe.grid, None if days is None else recipe.days[days], source, self.folder)
        for name, values in found.fields.items():
            store.write(name, values, days)
        note = {
            "state": _state(granules),
            "stop": unit.stop,
            "variables": sorted(found.fields),
            "attributes": found.attributes,
            "granules": found.granules,
            "broken": found.broken,
            "statistics": {name: _statistics(recipe, days, values) for name, values in found.fields.items()},
        }
        store.write_note(_name(recipe, unit), note)
        return unit


@contextmanager
def _workers(workers: int, scheduler: str | None) -> Iterator[Callable[[_Job, list[Any]], Iterator[Unit]]]:
    """Run units here, or on the workers of a Dask cluster: this machine's, or that of a scheduler."""
    if workers < 2 and scheduler is None:
        yield lambda job, units: map(job, units)
        return
    from distributed import Client, LocalCluster, as_completed

    address: Any = scheduler or LocalCluster(
        n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=50
    )
    try:
        client = Client(address, timeout=10)
    except OSError as error:
        raise VadoseError(f"{scheduler}: no Dask scheduler answers there; start one with 'dask scheduler'") from error

    def run(job: _Job, units: list[Any]) -> Iterator[Unit]:
        # A worker that dies costs its unit, which is done again elsewhere: units write the same, whoever does them.
        futures = client.map(job, units, retries=2, pure=False)
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            client.cancel(futures)

    with client:
        yield run
    if scheduler is None:
        address.close()


def _statistics(recipe: Recipe, days: slice | None, values: NDArray[np.float32]) -> list[float] | None:
    """Count, sum, sum of squares, least and largest value on training days; None where there are none."""
    if recipe.training is None:
        return None
    if days is not None:
        first, last = (pd.Timestamp(day) for day in recipe.training)
        values = values[(recipe.days[days] >= first) & (recipe.days[days] <= last)]
    valid = values[np.isfinite(values)].astype(float)
    if not valid.size:
        return None
    return [float(v) for v in (valid.size, valid.sum(), (valid**2).sum(), valid.min(), valid.max())]


def _check_variables(store: Store, recipe: Recipe, units: list[Unit], granules: list[list[Granule]]) -> None:
    """Refuse a variable that no granule gave, with the reason where granules are broken."""
    for number, source in enumerate(recipe.sources):
        notes = [store.note(_name(recipe, unit)) for unit in units if unit.source == number]
        given = {name for note in notes for name in note["variables"]}
        if missing := [theirs for theirs, ours in source.variables.items() if ours not in given]:
            broken = [reason for note in notes for reason in note["broken"].values()]
            raise VadoseError(
                f"{source.product}: {len(granules[number])} granules, and none with {missing} on the grid between "
                f"{recipe.first} and {recipe.last}" + (f"; {len(broken)} are broken: {broken[0]}" if broken else "")
            )


def _derive(store: Store, recipe: Recipe) -> None:
    """Fill soil moisture from the past and sum precipitation, block by block in order of time."""
    names = {ours for source in recipe.sources for ours in source.variables.values()}
    group = store.open()
    before, changed = {}, False
    for block in blocks_of(recipe.days):
        name = f"derived-{recipe.days[block][0]:%Y%m%d}"
        inputs = [
            store.note(_name(recipe, Unit(number, block.start, block.stop))).get("state")
            for number, source in enumerate(recipe.sources)
            if {"soil_moisture", "precipitation"} & set(source.variables.values())
        ]
        # What a block holds follows from its granules and from the block before it.
        note = store.note(name)
        if not changed and note.get("inputs") == inputs and note["stop"] == block.stop:
            continue
        changed = True
        made: dict[str, NDArray[np.float32]] = {}
        if "soil_moisture" in names:
            if block.start:
                before = {part: group[f"soil_moisture_{part}"][block.start - 1] for part in ("filled", "age")}
            observed = xr.DataArray(group["soil_moisture"][block], dims=("time", "y", "x"), name="soil_moisture")
            filled = gapfill.carry_forward(observed, **before)
            made |= {str(key): values.values for key, values in filled.data_vars.items()}
        if "precipitation" in names:
            start = max(block.start - max(ANTECEDENT_DAYS) + 1, 0)
            rain = group["precipitation"][start : block.stop].astype(float)
            for length in ANTECEDENT_DAYS:
                made[f"precipitation_{length}d"] = _sum_back(rain, length)[block.start - start :]
        for key, values in made.items():
            store.add(key, len(recipe.days))
            store.write(key, values, block)
        statistics = {key: _statistics(recipe, block, values) for key, values in made.items()}
        store.write_note(name, {"inputs": inputs, "stop": block.stop, "statistics": statistics})


def _sum_back(rain: NDArray[np.float64], length: int) -> NDArray[np.float32]:
    """Sums over the days up to each, NaN as long as the record is shorter or a day is missing."""
    windows = np.full(rain.shape, np.nan, np.float32)
    if len(rain) >= length:
        total = np.lib.stride_tricks.sliding_window_view(rain, length, axis=0).sum(axis=-1)
        windows[length - 1 :] = total
    return windows


def _finish(store: Store, recipe: Recipe, units: list[Unit]) -> None:
    """Mask, attributes and statistics; then the cube is complete."""
    group = store.open()
    notes = {unit: store.note(_name(recipe, unit)) for unit in units}
    broken = {name: reason for note in notes.values() for name, reason in note["broken"].items()}
    simulated = False
    fixed: list[NDArray[np.bool_]] = []
    for number, source in enumerate(recipe.sources):
        own = [note for unit, note in notes.items() if unit.source == number]
        attributes: dict[str, Any] = next((note["attributes"] for note in own if note["attributes"]), {})
        simulated |= attributes.get("simulated") == "true"
        attributes |= {"resampling": source.resampling, "granules": sum(len(note["granules"]) for note in own)}
        for name in source.variables.values():
            group[name].attrs.update(attributes)
            if group[name].ndim == 2:
                fixed.append(np.isfinite(group[name][:]))
    for name, array in group.arrays():
        if name.startswith("soil_moisture_") and name.rsplit("_", 1)[1] in ("filled", "observed", "age"):
            array.attrs.update({"fill_method": "last observation", "causal": "true"})
    for length in ANTECEDENT_DAYS:
        if (name := f"precipitation_{length}d") in group:
            group[name].attrs.update({"units": "kg m-2", "long_name": f"precipitation of {length} days up to the day"})
    if "mask" not in group:
        group.create_array(
            "mask", shape=(store.coordinates.sizes["y"], store.coordinates.sizes["x"]), dtype="bool",
            dimension_names=("y", "x"), attributes={"long_name": "every fixed variable has a value"},
        )  # fmt: skip
    group["mask"][:] = np.logical_and.reduce(fixed) if fixed else True
    _write_statistics(store, recipe, list(notes.values()))
    said = {
        "dataset": " + ".join(source.product for source in recipe.sources),
        "layer": "0-10 cm",
        "layer_note": "SMAP L-band retrieval, representative of about 0-5 cm",
        "day_boundary": "each product's own, see the variables",
        "simulated": "true" if simulated else "false",
        "broken_granules": broken,
        **provenance(recipe=_identity(recipe), last=recipe.last, granules=_digest(notes)),
    }
    group.attrs.update(said)
    store.mark(**said, state="complete")


def _digest(notes: dict[Unit, dict[str, Any]]) -> dict[str, int]:
    """Granules by product."""
    counts: dict[str, int] = {}
    for note in notes.values():
        for name in note["granules"]:
            product = name.split("/")[0]
            counts[product] = counts.get(product, 0) + 1
    return counts


def _write_statistics(store: Store, recipe: Recipe, notes: list[dict[str, Any]]) -> None:
    """Mean, deviation and range of the training days, noted with each variable."""
    if recipe.training is None:
        return
    derived = [store.note(f"derived-{recipe.days[block][0]:%Y%m%d}") for block in blocks_of(recipe.days)]
    parts: dict[str, list[list[float]]] = {}
    for note in (*notes, *derived):
        for name, part in note["statistics"].items():
            if part is not None:
                parts.setdefault(name, []).append(part)
    group = store.open()
    for name, own in parts.items():
        count, total, squares = (sum(part[i] for part in own) for i in range(3))
        mean = total / count
        group[name].attrs.update({
            "training_days": list(recipe.training), "training_count": int(count), "training_mean": mean,
            "training_std": float(np.sqrt(max(squares / count - mean**2, 0.0))),
            "training_min": min(part[3] for part in own), "training_max": max(part[4] for part in own),
        })  # fmt: skip
