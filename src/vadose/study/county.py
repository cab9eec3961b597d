"""Downscaling on a simulated county: stations around it teach, its pixels tell how right the maps are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vadose.artefact import writing
from vadose.config.downscaling import Downscaling
from vadose.downscale.maps import downscale_maps
from vadose.evaluate.county import score_county
from vadose.evaluate.series_plots import plot_county
from vadose.report import build_tables_report
from vadose.study.downscaling import study_downscaling
from vadose.twin.county import build_county, open_county

INSIDE = "INSIDE"
"""Network of the stations in the county, which the networks that map it did not learn from."""
FIELD = "soil_moisture_smap_l4"


def study_county(
    experiment: Downscaling,
    out: Path,
    *,
    cells: tuple[int, int] = (96, 96),
    stations: int = 60,
    mapped: tuple[str, str] | None = None,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> Path:
    """Simulate a county, score models at its stations, map it with some, and score the maps pixel by pixel.

    Written under ``out``: ``county`` (see `vadose.twin.county.build_county`), ``stations`` (see
    `vadose.study.downscaling.study_downscaling`), ``maps/RUN.zarr``, and ``pixels`` with ``scores.csv``, figures and
    ``report.html``.

    Parameters
    ----------
    experiment
        Its scenario ``network`` has to hold out the stations in the county; ``maps`` names the runs to map with.
    cells, stations, mapped
        Size of the county in pixels of 100 m, number of stations, first and last day to map (the last year).

    Returns
    -------
    Path
        The report of the maps.
    """
    first, last = experiment.first.isoformat(), experiment.last.isoformat()
    county = build_county(
        out / "county", first=first, last=last, cells=cells, stations=stations, inside=max(2, stations // 6),
        mapped=mapped, progress=progress,
    )  # fmt: skip
    study_downscaling(
        experiment, county / "table.zarr", out / "stations", title="Downscaling at simulated stations",
        progress=progress,
    )  # fmt: skip
    _, fine, coarse, truth = open_county(county)
    days = pd.DatetimeIndex(truth.time.values)
    smap = next(field for field in coarse if FIELD in field)
    tables, maps = [], {}
    for name in experiment.maps:
        model = out / "stations" / "runs" / "network" / INSIDE / name / "model.pt"
        store = downscale_maps(model, fine, coarse, days, out / "maps" / f"{name}.zarr", progress=progress)
        maps[name] = xr.open_zarr(store, consolidated=False)
        progress(f"scoring the maps of {name}", 0.0)
        scores = score_county(maps[name], truth, smap, replicates=experiment.replicates)
        scores.insert(0, "model", name)
        tables.append(scores)
        progress(f"scoring the maps of {name}", 1.0)
    wettest = int(np.argmax(truth.soil_moisture.mean(("y", "x")).values))
    folder = out / "pixels"
    with writing(folder) as scratch:
        scratch.mkdir()
        pd.concat(tables).to_csv(scratch / "scores.csv", index=False, float_format="%.4g")
        shown = [days[max(0, wettest - 5)], days[wettest]]
        plot_county(truth, smap[FIELD], maps, shown).savefig(scratch / "maps.png", dpi=130)
        index = {
            "scores.csv": "Scores of the maps and of the coarse field repeated on the pixels, against the truth",
            "maps.png": "Truth, coarse field and maps on the wettest day and five days before",
        }
        rows = [{"file": file, "shows": shows, "absent_because": ""} for file, shows in index.items()]
        pd.DataFrame(rows).to_csv(scratch / "index.csv", index=False)
    return build_tables_report(
        folder, out / "report.html", title="A simulated county at 100 m", simulated=truth.attrs["simulated"] == "true"
    )
