"""What maps take of a study besides its networks: how their intervals are calibrated at places not learnt from."""

import json
from collections.abc import Mapping
from pathlib import Path

import xarray as xr

from vadose.artefact import writing
from vadose.artefact.checkpoint import save
from vadose.errors import VadoseError
from vadose.parallel.progress import Progress
from vadose.predict.calibration import calibrate_fold
from vadose.training.station_days import load


def calibrate_networks(predictions: Mapping[str, xr.Dataset], out: Path, progress: Progress) -> None:
    """Note in each network's checkpoint the calibration of its intervals, `vadose.predict.calibration.calibrate_fold`.

    Parameters
    ----------
    predictions
        Estimates by scenario, as the study writes them.
    out
        Folder of the study, with ``runs/SCENARIO/FOLD/RUN/model.pt``. A checkpoint that says the same already is left
        alone; those that cannot be calibrated are left without, and a line for each scenario says why.
    """
    for scenario, store in predictions.items():
        reasons = {}
        for fold, name in enumerate(json.loads(store.attrs["folds"])):
            for model in map(str, store.model.values):
                file = out / "runs" / scenario / name / model / "model.pt"
                if not file.exists() or not store.predicted_std.sel(model=model).notnull().any():
                    continue
                try:
                    found = calibrate_fold(predictions, scenario, fold, model).to_dict()
                except VadoseError as error:
                    reasons[str(error)] = f"{model}, fold {name}"
                    continue
                kept = load(file)
                if kept.get("calibration") != found:
                    with writing(file) as scratch:
                        save(kept | {"calibration": found}, scratch)
        for reason, first in reasons.items():
            progress(f"{scenario}, no calibrated maps of {first}, {reason}", 1.0)
