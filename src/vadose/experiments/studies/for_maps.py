"""What maps take of a study besides its networks: its ensembles, and how intervals are calibrated at new places."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import xarray as xr

from vadose.artefact import identity, is_current, note_inputs, writing
from vadose.artefact.checkpoint import save
from vadose.errors import VadoseError
from vadose.parallel.progress import Progress
from vadose.predict.calibration import calibrate_fold
from vadose.training.station_days import load


def join_ensembles(ensembles: Mapping[str, Sequence[str]], predictions: Mapping[str, xr.Dataset], out: Path) -> None:
    """Write each ensemble whose members are all networks as one checkpoint, ``runs/SCENARIO/FOLD/ENSEMBLE/model.pt``.

    Its members are runs, no draws of one network (``draws`` False), see `vadose.models.mixture.mixture`.
    """
    for scenario, store in predictions.items():
        for fold in json.loads(store.attrs["folds"]):
            for name, members in ensembles.items():
                runs = out / "runs" / scenario / fold
                files = [runs / member / "model.pt" for member in members]
                if not all(file.exists() for file in files):
                    continue
                parts = [load(file) for file in files]
                # Calibration is noted later, of each and of them together.
                of_state = {member: identity(runs / member / "estimates.npz") for member in members}
                if is_current(runs / name, members=of_state):
                    continue
                said = {key: parts[0][key] for key in ("inputs", "stations") if key in parts[0]}
                attributes = parts[0].get("attributes", {}) | {"model": name}
                joined = {"name": "blend", "members": parts, "weights": None, "draws": False, "attributes": attributes}
                with writing(runs / name) as scratch:
                    scratch.mkdir()
                    save(said | joined, scratch / "model.pt")
                    note_inputs(scratch, members=of_state)


def calibrate_networks(
    passes: Mapping[str, int | None], predictions: Mapping[str, xr.Dataset], out: Path, progress: Progress
) -> None:
    """Note in each network's checkpoint the calibration of its intervals, `vadose.predict.calibration.calibrate_fold`.

    Parameters
    ----------
    passes
        Names of the runs or ensembles, and with how many passes with dropout they estimated, which is noted too.
    predictions
        Estimates by scenario, as the study writes them.
    out
        Folder of the study, with ``runs/SCENARIO/FOLD/RUN/model.pt``. A checkpoint that says the same already is left
        alone; those that cannot be calibrated are left without, and a line for each scenario says why.
    """
    for scenario, store in predictions.items():
        reasons = {}
        for fold, name in enumerate(json.loads(store.attrs["folds"])):
            for model in passes:
                file = out / "runs" / scenario / name / model / "model.pt"
                if not file.exists() or not store.predicted_std.sel(model=model).notnull().any():
                    continue
                try:
                    found = calibrate_fold(predictions, scenario, fold, model).to_dict()
                except VadoseError as error:
                    reasons[str(error)] = f"{model}, fold {name}"
                    continue
                kept = load(file)
                noted = {"calibration": found} | ({"dropout_passes": passes[model]} if passes[model] else {})
                if any(kept.get(key) != value for key, value in noted.items()):
                    with writing(file) as scratch:
                        save(kept | noted, scratch)
        for reason, first in reasons.items():
            progress(f"{scenario}, no calibrated maps of {first}, {reason}", 1.0)
