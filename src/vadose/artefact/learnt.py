"""What a forecast has learnt from: days, and the cells or stations; kept in checkpoints and in attributes of stores."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import xarray as xr

from vadose.door.days import Period
from vadose.door.place import Place
from vadose.errors import VadoseError

PLACE_UNKNOWN = "the run does not name the cells it learnt on; they are taken to be the cube's, in their order"
LEARN_NOTHING = ("last observation", "last_value", "linear", "dct_pls")
"""Fillers whose values follow from the series itself; their deviations are learnt."""
Learnt = Mapping[str, Period]
"""Days by what learnt from them: training, validation, gap filler, layers above, blend weights."""


def learnt_by_inputs(cube: xr.Dataset, names: tuple[str, ...], above: Mapping[str, xr.Dataset]) -> dict[str, Period]:
    """Days that the gap fillers of a cube's variables, and the forecasts of the layers above, have learnt from."""
    parts: list[Learnt] = [learnt_by_store(store.attrs) for store in above.values()]
    found = merged({"layers above": period} for part in parts for period in part.values())
    filled = {name: cube[name].attrs for name in names if name in cube and "training_days" in cube[name].attrs}
    periods = (
        {"gap filler": Period(*map(str, attributes["training_days"]))}
        for name, attributes in filled.items()
        if "fill_method" in attributes and (name.endswith("_std") or attributes["fill_method"] not in LEARN_NOTHING)
    )
    return merged([found, *periods])


def learnt_by_checkpoint(checkpoint: Mapping[str, Any]) -> Learnt:
    """Days that a run, or the members of a blend and who chose its weights, have learnt from."""
    own = {name: Period(*days) for name, days in checkpoint.get("learnt", {}).items()}
    return merged([own, *(learnt_by_checkpoint(member) for member in checkpoint.get("members", ()))])


def learnt_by_store(attributes: Mapping[str, object]) -> Learnt:
    """Days that a store of forecasts says it has learnt from; none where it does not say."""
    return {name: Period(*days) for name, days in json.loads(str(attributes.get("learnt_from", "{}"))).items()}


def merged(parts: Iterable[Learnt]) -> dict[str, Period]:
    """Each name with the shortest period that holds those it has."""
    found: dict[str, Period] = {}
    for part in parts:
        for name, period in part.items():
            found[name] = period.hull(found.get(name, period))
    return found


def as_attributes(learnt: Learnt) -> dict[str, str]:
    """``learnt_from`` (JSON: first and last day by what learnt), and ``learnt_first`` and ``learnt_last`` of all.

    Examples
    --------
    >>> as_attributes({"training": Period("2015-04-01", "2016-01-31")})["learnt_last"]
    '2016-01-31'
    """
    if not learnt:
        return {}
    ends = {"learnt_first": min(p.first for p in learnt.values()), "learnt_last": max(p.last for p in learnt.values())}
    return ends | {"learnt_from": json.dumps({name: [p.first, p.last] for name, p in learnt.items()})}


def overlap(attributes: Mapping[str, object], scored: Period) -> str:
    """What of a store's forecasts learnt from days of a period that they are scored on, in words; '' for nothing.

    Examples
    --------
    >>> store = as_attributes({"training": Period("2015-04-01", "2016-01-31")})
    >>> overlap(store, Period("2016-01-01", "2016-12-31")), overlap(store, Period("2016-02-01", "2016-12-31"))
    ('training learnt from 2015-04-01 .. 2016-01-31', '')
    """
    learnt = learnt_by_store(attributes).items()
    shared = [f"{name} learnt from {p}" for name, p in learnt if p.first <= scored.last and p.last >= scored.first]
    return "; ".join(shared)


def remarks(attributes: Mapping[str, object], scored: Period) -> str:
    """What a table has to say beside a store's scores: what has seen the days scored, and what is not known.

    Examples
    --------
    >>> remarks({"weights_from": "not stated"}, Period("2016-01-01", "2016-12-31"))
    'days the weights of the blend were chosen on are not stated'
    """
    found = [overlap(attributes, scored), str(attributes.get("place_note", ""))]
    if attributes.get("weights_from") == "not stated":
        found.append("days the weights of the blend were chosen on are not stated")
    return "; ".join(filter(None, found))


def single_models(checkpoint: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The models a checkpoint holds: itself, or the members of a blend and theirs."""
    if "members" not in checkpoint:
        yield checkpoint
    for member in checkpoint.get("members", ()):
        yield from single_models(member)


def learnt_on(model: dict[str, Any]) -> Place | None:
    """Cells or stations by which a single model looks up what it keeps; None where it keeps nothing of each."""
    return Place.from_dict(model["place"]) if "place" in model and _keeps_cells(model) else None


def check_place(checkpoint: dict[str, Any], place: Place, what: str) -> str:
    """Refuse a place that a run cannot forecast; a note where the run does not say enough to tell.

    A model that keeps something of each cell or station forecasts those it learnt on; another one any cells of the
    same size.

    Raises
    ------
    VadoseError
        When the place holds cells or stations that such a model did not learn on, or its cells are of another size.
    """
    note = ""
    for model in single_models(checkpoint):
        grid = tuple(model["hyper"].get("grid", place.shape))
        if "place" not in model:
            note = PLACE_UNKNOWN
            if grid != place.shape:
                raise VadoseError(
                    f"{what}: the run learnt on {grid[0]} x {grid[1]} cells that it does not name, the cube has "
                    f"{place.shape[0]} x {place.shape[1]}; train it again"
                )
            continue
        own = Place.from_dict(model["place"])
        try:
            own.find(place, what) if _keeps_cells(model) else own.check_cells(place, what)
            if model["window"] != 1:
                own.check_steps(place, what)
        except VadoseError as error:
            raise VadoseError(f"{error}; forecast cells that {model['name']} learnt on, or train it on these") from None
    return note


def _keeps_cells(model: dict[str, Any]) -> bool:
    # Runs of earlier versions do not say it.
    of_trees = model["name"] == "trees" and model["hyper"].get("place", True)
    return bool(model.get("keeps_cells", "grid" in model["hyper"] or of_trees))
