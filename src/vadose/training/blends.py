"""Blends: trained runs joined into one."""

from pathlib import Path
from typing import Any

from vadose.artefact import identity, is_current, note_inputs, writing
from vadose.artefact.checkpoint import load, save
from vadose.door.days import Period
from vadose.errors import VadoseError
from vadose.models.inputs import Channels
from vadose.training.processes import launched

CHECKPOINTS = ("selected.pt", "final.pt")


def blend(
    runs: list[Path],
    out: Path,
    *,
    weights: tuple[tuple[float, ...], ...] | None,
    leads: tuple[int, ...],
    attributes: dict[str, str],
    weights_from: Period | None = None,
) -> Path:
    """Join trained runs into one whose forecast is their weighted mean; the members are kept whole.

    ``weights_from`` are the days the weights were chosen on.

    Raises
    ------
    VadoseError
        When the runs take different weather.
    """
    inputs: dict[str, Any] = {
        "runs": [run.name for run in runs],
        "members": identity(*(run / name for run in runs for name in CHECKPOINTS)),
        "weights": weights,
        "leads": leads,
        "learnt": {"blend weights": [weights_from.first, weights_from.last]} if weights_from else {},
        "attributes": attributes,
    }
    fabric = launched()
    if fabric.is_global_zero and not is_current(out, **inputs):
        with writing(out) as scratch:
            scratch.mkdir()
            for name in CHECKPOINTS:
                save(_blended([run / name for run in runs], out.name, inputs), scratch / name)
            note_inputs(scratch, **inputs)
    fabric.barrier()
    return out


def _blended(paths: list[Path], name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """One checkpoint of several."""
    members = [load(path, needs=("name", "inputs", "attributes"), made_by="vadose train") for path in paths]
    if len({member["attributes"]["weather"] for member in members}) > 1:
        raise VadoseError(f"{name}: some members use weather and some do not; expected all or none")
    channels = Channels(
        **{part: _union(m["inputs"][part] for m in members) for part in ("history", "static", "future", "above")},
        leads=inputs["leads"],
        target=members[0]["inputs"]["target"],
        cascade="sequence" if any(m["inputs"].get("cascade") == "sequence" for m in members) else "head",
    )
    return {
        "name": "blend",
        "members": members,
        "weights": inputs["weights"],
        "inputs": channels.to_dict(),
        "learnt": inputs["learnt"],
        "look_back": max(m["look_back"] for m in members),
        "window": max(m["window"] or 0 for m in members),
        "attributes": members[0]["attributes"] | {"model": "blend"} | inputs["attributes"],
    }


def _union(names: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in names for name in group))
