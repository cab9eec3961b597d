"""Build a cube from granules block by block: resumable, appendable, on one process or a Dask cluster."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vadose.artefact import locked, remove
from vadose.cube import filling as gaps
from vadose.cube import journal
from vadose.cube.finish import DERIVED, INTERPOLATED, derive, fill, finish, statistics
from vadose.cube.granule import Granule, Listing
from vadose.cube.granules import read_block
from vadose.cube.listing import listing_of, product_folders
from vadose.cube.overpasses import margin_name, read_margin
from vadose.cube.recipe import Recipe
from vadose.cube.store import BLOCK_DAYS, NOTES, Store, blocks_of
from vadose.errors import VadoseError
from vadose.parallel.progress import Progress
from vadose.parallel.workers import on_workers


class Unit(NamedTuple):
    """Days of a source to read: its number in the recipe, first day of their block, first and after last day.

    A fixed product has no days; those before or after the cube are a ``margin``.
    """

    source: int
    block: int | None
    start: int | None
    stop: int | None
    margin: str = ""

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
    vanished granules are read and written. Until a build is complete readers see the cube as it was before
    (`vadose.cube.journal`). With a later last day the cube grows, with an earlier one it is cut back. A granule
    that cannot be read is noted (attribute ``broken_granules``, JSON) and leaves its days missing; days without
    a granule are missing and noted too (``days_without_granule``, JSON).

    Where gaps are filled, granules of up to `vadose.cube.recipe.RUN_UP` days before the first day are read too.

    Days are those of each product (its ``day_boundary`` and ``latency`` are noted with the variable). Soil
    moisture is filled from the past and precipitation summed over 7, 14, 30 and 90 days; ``mask`` marks the cells
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
        When a folder or variable is missing, or ``out`` was made by another recipe or is being written.
    """
    recipe.check()
    gaps.check(recipe)
    product_folders(folder, [source.product for source in recipe.sources if source.own is None])
    listings = [listing_of(folder, source) for source in recipe.sources]
    granules = [listing.granules for listing in listings]
    store = Store(out, recipe.grid, recipe.exact)
    with locked(out):
        _begin(store, recipe)
        job = _Job(out, recipe)
        work = [one for number, own in enumerate(granules) for one in _changed(store, recipe, number, own)]
        before = store.days()
        if not work and before == len(recipe.days) and store.attributes().get("state") == "complete":
            return out
        journal.begin(out, recipe=recipe.identity(), days=len(recipe.days), cut=before > len(recipe.days))
        if not store.attributes():
            store.create(recipe.identity())
        if before > len(recipe.days):
            _cut_back(store, recipe)
        _derive_again(store, recipe, [unit for unit, _ in work])
        store.set_days(recipe.days)
        for source in recipe.sources:
            for name in source.variables.values():
                store.add(name, None if source.known.fixed else len(recipe.days))
        with on_workers(workers if len(work) > 1 else 1, scheduler) as run:
            for done, unit in enumerate(run(job, work), 1):
                progress(f"reading {recipe.sources[unit.source].product}", done / len(work))
        notes = [[store.note(name) for name in _note_names(recipe, number)] for number in range(len(granules))]
        _check_variables(recipe, notes, listings)
        derive(store, recipe, progress)
        fill(store, recipe, progress)
        finish(store, recipe, notes, listings)
        journal.commit(out)
    return out


def _begin(store: Store, recipe: Recipe) -> None:
    """Refuse what is there and is no cube of this recipe, and leave changes behind that cannot go on."""
    out = store.path
    journal.settle(out)
    if out.exists() and not (out / "zarr.json").exists() and any(out.iterdir()):
        raise VadoseError(f"{out}: exists and is not a cube; choose another --out")
    identity, days = recipe.identity(), len(recipe.days)
    begun = journal.resumable(out)
    # Changes go on towards a later last day, but for those that cut the cube back.
    on = (
        begun and begun["recipe"] == identity and (begun["days"] <= days if not begun["cut"] else begun["days"] == days)
    )
    if not on:
        remove(journal.building(out))
    if not (attributes := store.attributes()):
        return
    # What a cube of an earlier version says nothing of was as it is by default.
    recorded = attributes.get("recipe") or {}
    recorded = json.loads(recorded) if isinstance(recorded, str) else recorded
    made = {"training": None, "exact": False, "filling": []} | recorded
    made["sources"] = [{"overlap": "mean", "gaps": "missing"} | source for source in made.get("sources", [])]
    if differs := [key for key, value in identity.items() if made.get(key) != value]:
        raise VadoseError(
            f"{out}: is a cube of another recipe ({', '.join(differs)} differ); choose another --out, or remove it"
        )


def _cut_back(store: Store, recipe: Recipe) -> None:
    """Forget what was noted of days after the recipe's last one."""
    last, days = f"{recipe.days[-1]:%Y-%m-%d}", len(recipe.days)
    for name in store.notes():
        note = store.note(name)
        if (note.get("stop", 0) - 1) // BLOCK_DAYS * BLOCK_DAYS >= days:
            store.forget(f"{NOTES}/{name}.json")
            continue
        note["statistics"] = {n: {d: v for d, v in of.items() if d <= last} for n, of in note["statistics"].items()}
        note |= {key: min(note[key], days) for key in ("stop", "days") if key in note}
        if "granules" in note:
            note["granules"] = {n: g for n, g in note["granules"].items() if not g["first"] or g["first"] <= last}
        if "counts" in note:
            note["counts"] = {n: {s: c for s, c in of.items() if int(s) < days} for n, of in note["counts"].items()}
        store.write_note(name, note)
    for filling in recipe.filling:
        # What sees days ahead saw those, and the block of the last day is counted anew.
        _again(store, gaps.note_name(filling), max(days - 1 - gaps.reach_back(filling), 0))


def _note_name(recipe: Recipe, source: int, block: int | None, margin: str = "") -> str:
    if margin:
        return margin_name(recipe.sources[source], margin)
    product = recipe.sources[source].product
    return f"{product}-fixed" if block is None else f"{product}-{recipe.days[block]:%Y%m%d}"


def _note_names(recipe: Recipe, source: int) -> list[str]:
    blocks = [None, *(block.start for block in blocks_of(recipe.days))]
    around = [_note_name(recipe, source, None, margin) for margin in recipe.margins(recipe.sources[source])]
    return [*(_note_name(recipe, source, block) for block in blocks), *around]


def _changed(
    store: Store, recipe: Recipe, source: int, granules: list[Granule]
) -> Iterator[tuple[Unit, list[Granule]]]:
    """What of a source is to be read: days of granules that are new, changed or gone since it was noted."""
    if recipe.sources[source].known.fixed:
        before = store.note(_note_name(recipe, source, None)).get("granules", {})
        if {name: note["state"] for name, note in before.items()} != {g.name: g.state for g in granules}:
            yield Unit(source, None, None, None), granules
        return
    for margin, days in recipe.margins(recipe.sources[source]).items():
        note = store.note(_note_name(recipe, source, None, margin))
        around = [g for g in granules if g.overlaps(days[0], days[-1])]
        states = {name: noted["state"] for name, noted in note.get("granules", {}).items()}
        if states != {g.name: g.state for g in around} or note.get("first", f"{days[0]}") != f"{days[0]}":
            yield Unit(source, None, None, None, margin), around
    for block in blocks_of(recipe.days):
        days = recipe.days[block]
        note = store.note(_note_name(recipe, source, block.start))
        before = note.get("granules", {})
        there = {g.name: g for g in granules if g.overlaps(days[0], days[-1])}
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
            if not len(wanted):
                # What is gone was after the last day of a cube that is cut back.
                continue
            own = [g for g in there.values() if g.overlaps(first, last)]
            yield Unit(source, block.start, int(wanted[0]), int(wanted[-1]) + 1), own


class _Job:
    """Read a unit and write it; sent to workers whole."""

    def __init__(self, out: Path, recipe: Recipe) -> None:
        self.out, self.recipe = out.absolute(), recipe

    def __call__(self, work: tuple[Unit, list[Granule]]) -> Unit:
        unit, granules = work
        recipe, days = self.recipe, unit.days
        source, store = recipe.sources[unit.source], Store(self.out, recipe.grid, recipe.exact)
        if unit.margin:
            self._read_margin(unit, granules, store)
            return unit
        found = read_block(granules, recipe.grid, None if days is None else recipe.days[days], source)
        name, names = _note_name(recipe, unit.source, unit.block), _variables(recipe, unit.source)
        note = self._without(store.note(name), days) or {
            "stop": 0,
            "variables": [],
            "attributes": {},
            "granules": {},
            "statistics": {n: {} for n in names},
        }
        for variable in names:
            values = found.fields.get(variable)
            if days is not None:
                values = store.rounded(variable, _on_all_days(recipe, days, found.daily.get(variable, {})))
            if values is not None:
                store.write(variable, values, days)
                note["statistics"][variable] |= statistics(recipe, days, values)
        for variable, (classes, shares) in found.fractions.items():
            store.write_fractions(variable, classes, shares)
        block_stop = 0 if unit.block is None else min(unit.block + BLOCK_DAYS, len(recipe.days))
        note |= {
            "stop": max(note["stop"], block_stop),
            "variables": sorted({*note["variables"], *found.fields, *found.daily}),
            "attributes": found.attributes or note["attributes"],
            "flags": found.flags,
            "granules": note["granules"] | found.granules,
        }
        store.write_note(name, note)
        return unit

    def _read_margin(self, unit: Unit, granules: list[Granule], store: Store) -> None:
        """Keep what is seen nearest to the cube on the days before or after it."""
        source = self.recipe.sources[unit.source]
        nearest, found = read_margin(granules, self.recipe, source, unit.margin)
        name = margin_name(source, unit.margin)
        store.write_beside(name, nearest)
        note = {"variables": sorted(found.daily), "attributes": found.attributes, "flags": found.flags}
        first = self.recipe.margins(source)[unit.margin][0]
        store.write_note(name, note | {"granules": found.granules, "statistics": {}, "first": f"{first}"})

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


def _on_all_days(
    recipe: Recipe, days: slice, fields: Mapping[pd.Timestamp, NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Fields of some days among all of a block; the others are missing."""
    made = np.full((days.stop - days.start, *recipe.grid.shape), np.nan, np.float32)
    for day, field in fields.items():
        made[recipe.days[days].get_loc(day)] = field
    return made


def _check_variables(recipe: Recipe, notes: list[list[dict[str, Any]]], listings: list[Listing]) -> None:
    """Refuse a variable that no granule gave, with the reason where granules are broken."""
    for source, own, listing in zip(recipe.sources, notes, listings, strict=True):
        given = {name for note in own for name in note.get("variables", ())}
        if missing := [theirs for theirs, ours in source.variables.items() if ours not in given]:
            granules = {name: g for note in own for name, g in note.get("granules", {}).items()}
            broken = [granule["broken"] for granule in granules.values() if "broken" in granule]
            broken += listing.strangers.values()
            lacks = [f"{name} has {granule['lacks']}" for name, granule in granules.items() if "lacks" in granule]
            raise VadoseError(
                f"{source.product}: {len(granules)} granules of these days, and none with {missing} on the grid "
                f"between {recipe.first} and {recipe.last}"
                + (f"; {len(broken)} are broken: {broken[0]}" if broken else "")
                + (f"; {lacks[0]}" if lacks else "")
            )


def _derive_again(store: Store, recipe: Recipe, units: list[Unit]) -> None:
    """Note that what is derived from the days to be read, and all after them, is to be made again."""

    def first_of(names: Iterable[str]) -> int:
        changed = [unit.start or 0 for unit in units if set(names) & set(_variables(recipe, unit.source))]
        return min(changed, default=len(recipe.days))

    _again(store, DERIVED, first_of((*recipe.carried, "precipitation")))
    if first_of(recipe.interpolated) < len(recipe.days) or store.days() != len(recipe.days):
        _again(store, INTERPOLATED, 0)
    for filling in recipe.filling:
        first = first_of((*filling.variables, *filling.covariates, *filling.static))
        last = pd.Timestamp(recipe.training[1]) if recipe.training else recipe.days[0]
        if first < len(recipe.days) and recipe.days[first] <= last:
            gaps.forget(store, filling)
            first = 0
        # What sees days ahead sees more of them in a record that has grown.
        _again(store, gaps.note_name(filling), max(min(first, store.days()) - gaps.reach_back(filling), 0))


def _again(store: Store, name: str, first: int) -> None:
    """Note that what a note says is done is to be made again from a day on."""
    note = store.note(name)
    if note and first < note["days"]:
        store.write_note(name, note | {"days": first})


def _variables(recipe: Recipe, source: int) -> list[str]:
    return list(recipe.sources[source].variables.values())
