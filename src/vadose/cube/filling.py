"""Gaps of a cube's variables filled as its recipe says, in blocks of days: memory does not grow with the record.

A block is filled from its own days, the run-up of days before it and, if smoothed, as many after it. What a block
holds follows from these days alone: a cube that grew by days is the same as one built at once.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import zarr
from numpy.typing import NDArray

from vadose.cube.recipe import Filling, Recipe, check_options
from vadose.cube.store import NOTES, Store
from vadose.errors import VadoseError
from vadose.gapfill import Choice, ClimatologyAR1, Filler, Interpolation, Mode, Series, choose, fill, series_of
from vadose.parallel.progress import Progress

FILL_DAYS = 128
"""Days filled at once."""
RUN_UP = 192
"""Days before them that the filler sees: more than any filler remembers of soil moisture."""
CELLS_AT_ONCE = 40_000
"""Cells filled at once."""
TRAINING_CELLS = 2000
"""Cells that a filler with shared weights learns from, drawn from all that were observed."""
CHOICE_CELLS = 500
"""Cells that a filler is chosen by, drawn likewise."""
CANDIDATES: dict[Mode, tuple[str, ...]] = {
    "causal": ("cru", "climatology_ar1", "last_value"),
    "smoothed": ("cru", "climatology_ar1", "linear"),
}
"""Fillers that ``auto`` chooses from."""
MIN_OBSERVED = 30
"""Training days with an observation that such a cell has."""

Floats = NDArray[np.float32]


def note_name(filling: Filling) -> str:
    """The note that says up to which day the variables are filled."""
    return f"filled-{filling.name}"


def check(recipe: Recipe) -> None:
    """Refuse fillings that the recipe has not what it takes for."""
    names = {name for source in recipe.sources for name in source.variables.values()}
    for filling in recipe.filling:
        kinds = [_kind(method) for method in _methods(filling)]
        check_options(f"recipe: options of the filling of {filling.name!r}", filling.options, kinds)
        for modes in (_new(filling, method).modes for method in _methods(filling)):
            if filling.mode not in modes:
                raise VadoseError(
                    f"recipe: filling of {filling.name!r} by {filling.method!r} has no mode {filling.mode!r}; "
                    f"choose from {list(modes)}"
                )
        if missing := {*filling.variables, *filling.covariates, *filling.static} - names:
            raise VadoseError(
                f"recipe: filling of {filling.name!r} asks for {sorted(missing)}, which no product provides"
            )
        if recipe.training is None:
            raise VadoseError(f"recipe: filling of {filling.name!r} learns from the training days; name them")
        if pd.Timestamp(recipe.training[1]) > recipe.days[-1]:
            raise VadoseError(
                f"recipe: filling of {filling.name!r} learns from days up to {recipe.training[1]}, and the cube "
                f"ends on {recipe.last}; build it at least so far"
            )


def reach_back(filling: Filling) -> int:
    """Days before a changed one whose filled values change with it."""
    return RUN_UP if filling.mode == "smoothed" else 0


def forget(store: Store, filling: Filling) -> None:
    """Choose and fit the filler anew at the next build: the days it learnt from have changed."""
    store.forget(_place(filling))
    store.forget(f"{NOTES}/{_choice_name(filling)}.json")


def attributes(store: Store, filling: Filling) -> dict[str, dict[str, object]]:
    """What each variable says of how it was filled: the method, and of one that was chosen what it was chosen by."""
    note = store.note(_choice_name(filling))
    if not note:
        return {name: {"fill_method": filling.method} for name in filling.variables}
    lengths = ", ".join(f"{length:g}" for length in sorted(set(note["lengths"])))
    return {
        name: {
            "fill_method": f"{note['methods'][k]}, chosen",
            "fill_rmse": json.dumps({method: float(f"{rmse[k]:.4g}") for method, rmse in note["rmse"].items()}),
            "fill_choice": f"lowest RMSE at {note['withheld'][k]} withheld training observations, gaps of {lengths} d",
        }
        for k, name in enumerate(filling.variables)
    }


def fill_gaps(
    store: Store, recipe: Recipe, filling: Filling, progress: Progress
) -> Iterator[tuple[slice, dict[str, Floats]]]:
    """Fill the days that are not filled yet: days of each block and its fields, for the caller to write.

    The fields are ``<variable>_filled`` of each and ``<variable>_filled_std``, the deviation of what the filler
    predicts, 0 where observed. A covariate that is missing on some days keeps its last value; days before it
    begins, and cells where it never does, stay missing.
    """
    days = recipe.days
    done = store.note(note_name(filling)).get("days", 0)
    if done >= len(days):
        return
    group, shape = store.open(), recipe.grid.shape
    methods = _chosen(store, recipe, filling, progress)
    columns = {method: [k for k, own in enumerate(methods) if own == method] for method in dict.fromkeys(methods)}
    learnt = {method: _learnt(store, recipe, filling, method, progress) for method in columns}
    band = max(1, CELLS_AT_ONCE // shape[1])
    for start in range(done - done % FILL_DAYS, len(days), FILL_DAYS):
        block = slice(start, min(start + FILL_DAYS, len(days)))
        seen = slice(max(start - RUN_UP, 0), min(block.stop + reach_back(filling), len(days)))
        own = slice(start - seen.start, block.stop - seen.start)
        made = np.full((2, len(filling.variables), block.stop - start, *shape), np.nan, np.float32)
        for top in range(0, shape[0], band):
            rows = slice(top, min(top + band, shape[0]))
            cells = np.ones((rows.stop - rows.start, shape[1]), bool)
            series, known = _series(group, recipe, filling, seen, rows, cells)
            for method, chosen in columns.items():
                filler = learnt[method] or _new(filling, method).fit(
                    _series(group, recipe, filling, _training(recipe), rows, cells)[0]
                )
                given = fill(
                    series.values,
                    filler,
                    filling.mode,
                    days=series.days[:, 0],
                    covariates=series.covariates,
                    static=series.static,
                )
                for whole, values in zip(made, given, strict=True):
                    there = np.where(known[..., None], values, np.nan)[own][..., chosen]
                    whole[chosen, :, rows] = np.moveaxis(there, -1, 0).reshape(len(chosen), -1, *cells.shape)
        names = [f"{name}_{part}" for part in ("filled", "filled_std") for name in filling.variables]
        yield block, dict(zip(names, made.reshape(-1, *made.shape[2:]), strict=True))
        progress(f"filling {filling.name}", block.stop / len(days))


def _methods(filling: Filling) -> tuple[str, ...]:
    """The fillers that may fill it."""
    return CANDIDATES[filling.mode] if filling.method == "auto" else (filling.method,)


def _kind(method: str) -> Callable[..., Any]:
    """What makes a filler of its options."""
    if method == "cru":
        # torch takes seconds to import, and few cubes need it.
        from vadose.gapfill.cru import ContinuousRecurrentUnit

        return ContinuousRecurrentUnit
    return ClimatologyAR1 if method == "climatology_ar1" else partial(Interpolation, method)


def _new(filling: Filling, method: str) -> Any:
    return _kind(method)(**(filling.options if method == "cru" else {}))


def _place(filling: Filling) -> str:
    return f"{NOTES}/filler-{filling.name}.pt"


def _choice_name(filling: Filling) -> str:
    return f"chosen-{filling.name}"


def _training(recipe: Recipe) -> slice:
    assert recipe.training is not None
    first, last = recipe.days.searchsorted([pd.Timestamp(day) for day in recipe.training])
    return slice(int(first), int(last) + 1)


def _chosen(store: Store, recipe: Recipe, filling: Filling, progress: Progress) -> list[str]:
    """The method of each variable, chosen once and noted in the store."""
    if len(methods := _methods(filling)) == 1:
        return [filling.method] * len(filling.variables)
    if note := store.note(_choice_name(filling)):
        return [str(method) for method in note["methods"]]
    progress(f"choosing a filler of {filling.name}", 0.0)
    series = _sample(store, recipe, filling, CHOICE_CELLS)
    choice: Choice = choose(series, {method: _new(filling, method) for method in methods}, filling.mode)
    store.write_note(_choice_name(filling), vars(choice) | {"statistics": {}})
    progress(f"choosing a filler of {filling.name}: {', '.join(dict.fromkeys(choice.methods))}", 1.0)
    return list(choice.methods)


def _learnt(store: Store, recipe: Recipe, filling: Filling, method: str, progress: Progress) -> Filler | None:
    """The filler whose weights all cells share, fitted once and kept in the store; None for one a cell."""
    filler = _new(filling, method)
    if not hasattr(filler, "save"):
        return None
    if place := store.find(_place(filling)):
        kept: Filler = filler.load(place)
        return kept
    fitted: Filler = filler.fit(_sample(store, recipe, filling, TRAINING_CELLS), progress=progress)
    filler.save(store.place(_place(filling)))
    return fitted


def _sample(store: Store, recipe: Recipe, filling: Filling, cells: int) -> Series:
    """Training days of at most so many cells that were observed."""
    group, period = store.open(), _training(recipe)
    counts = np.zeros(recipe.grid.shape, int)
    for day in range(period.start, period.stop):
        counts += np.isfinite(group[filling.name][day])
    enough = np.flatnonzero(counts >= MIN_OBSERVED)
    if not len(enough):
        raise VadoseError(
            f"{filling.name}: no cell was observed on {MIN_OBSERVED} of the training days; there is too little to "
            "learn its filling from"
        )
    chosen = np.zeros(counts.size, bool)
    chosen[np.random.default_rng(0).permutation(enough)[:cells]] = True
    return _series(group, recipe, filling, period, slice(None), chosen.reshape(counts.shape))[0]


def _series(
    group: zarr.Group, recipe: Recipe, filling: Filling, days: slice, rows: slice, cells: NDArray[np.bool_]
) -> tuple[Series, NDArray[np.bool_]]:
    """Series of the cells, and (times, cells) whether their covariates have begun."""
    given = [
        np.concatenate(
            [
                # A chunk is the map of a day: of a whole record a part at a time is held.
                np.asarray(group[name][start : min(start + 32, days.stop), rows])[:, cells]
                for start in range(days.start, days.stop, 32)
            ]
        )
        for name in (*filling.variables, *filling.covariates)
    ]
    observed, covariates = given[: len(filling.variables)], given[len(filling.variables) :]
    begun = np.ones(observed[0].shape, bool)
    for number, values in enumerate(covariates):
        covariates[number], known = _held(values)
        begun &= known
    static = [np.asarray(group[name][rows])[cells] for name in filling.static]
    series = series_of(
        np.stack(observed, -1),
        days=(recipe.days[days] - pd.Timestamp("1970-01-01")).days.to_numpy(float),
        covariates=np.stack(covariates, -1) if covariates else None,
        static=np.stack(static, -1) if static else None,
    )
    return series, begun


def _held(values: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """A covariate that keeps its last value where missing, and where it has begun; before that the first one."""
    known = np.isfinite(values)
    times = np.arange(len(values))[:, None]
    last = np.maximum.accumulate(np.where(known, times, -1), axis=0)
    source = np.where(last < 0, known.argmax(axis=0), last)
    return np.take_along_axis(values, source, axis=0), last >= 0
