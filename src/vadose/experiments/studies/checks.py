"""Before a study begins: whether its phases can be scored, and what has learnt from the days they are scored on."""

from collections.abc import Mapping, Sequence

import xarray as xr

from vadose.artefact.learnt import learnt_by_inputs
from vadose.errors import VadoseError
from vadose.experiments import Experiment, LayerConfig

MIN_PAIRS = {"validation": 10, "test": 60}
"""Fewest pairs for a cell or station to count, where validation holds two months; half a year's take 60."""


def min_pairs(experiment: Experiment, phase: str) -> int:
    """Fewest pairs for a cell or station to count in a phase, ``validation`` or ``test``."""
    half_a_year = len(getattr(experiment.split, phase).days) > 180
    return experiment.min_pairs or MIN_PAIRS["test" if half_a_year else phase]


def check_pairs(
    experiment: Experiment, phase: str, cube: xr.Dataset, stations: xr.Dataset, observed: Mapping[str, str]
) -> None:
    """Refuse a phase in which no cell, or no station, is observed on days enough to be scored.

    ``observed`` is the cube's variable of each layer.
    """
    period, wanted = getattr(experiment.split, phase), min_pairs(experiment, phase)
    truths = {f"cells of {layer}": cube[variable] for layer, variable in observed.items()}
    for layer in observed if "layer" in stations else ():
        if layer in stations.layer.values:
            truths[f"stations of {layer}"] = stations.soil_moisture.sel(layer=layer)
    for sites, truth in truths.items():
        most = int(truth.sel(time=slice(period.first, period.last)).count("time").max())
        if most < wanted:
            raise VadoseError(
                f"{phase} {period}: {sites} are observed on {most} days at most, and count with {wanted}; give the "
                f"experiment a longer {phase}, or the key 'min_pairs: {max(3, most // 2)}'"
            )


def allowed_overlap(
    experiment: Experiment, cube: xr.Dataset, layers: Sequence[LayerConfig], place: str
) -> dict[str, str]:
    """The attribute that says what has learnt from days that are scored; empty where nothing has.

    Raises
    ------
    VadoseError
        When a gap filler of the cube has, and the experiment does not allow it.
    """
    split = experiment.split
    names = {name for layer in layers for run in experiment.runs.values() for name in run.channels(layer).history}
    filler = learnt_by_inputs(cube, tuple(names), {}).get("gap filler")
    found = []
    if filler and filler.last >= split.validation.first:
        if "gap_filler" not in experiment.allow_overlap:
            raise VadoseError(
                f"{place}: its gap filler learnt from {filler}, which reaches into the validation "
                f"({split.validation}) or the test ({split.test}); build a cube whose training days "
                "end before, or add 'allow_overlap: [gap_filler]' to the experiment; the forecasts then say so"
            )
        found.append(f"gap filler learnt from {filler}")
    for name, join in experiment.blends.items():
        if join.weights_from and join.weights_from.last >= split.test.first:
            found.append(f"weights of {name} chosen on {join.weights_from}")
    return {"allowed_overlap": "; ".join(found)} if found else {}
