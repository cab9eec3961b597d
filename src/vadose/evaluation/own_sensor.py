"""How well the land-surface networks follow own sensors, without it and with it known some days before."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from vadose.evaluation.rows import Cell, Group, Row, score_sites
from vadose.predict.outlook.moisture import LAYERS, Array, Mixture, given

Run = tuple[Array, Array | None]
"""Mean and standard deviation (1, time, layer), the latter None of a single value."""

FEWEST = 60
"""Days with all that is compared, of a layer that counts."""
ALONE, EARLIER, LAST = "without the sensor", "sensor before the first day scored", "last value of the sensor"
METRICS = ("pearson_r", "rmse", "crps")


def followed(past: Mixture, observed: Array, leads: Sequence[int] = (1, 7, 30), first: int = 0) -> pd.DataFrame:
    """Scores of a place's estimates on the days of its sensor, the weather of all days known.

    Parameters
    ----------
    past
        `vadose.predict.outlook.moisture.soil_moisture` of one place, with or without its observations.
    observed
        Moisture of the sensor (1, time, layer) [m3 m-3], NaN where there is none.
    leads
        Days between the last observation that counts and the day that is estimated.
    first
        Position of the first day that is scored; what was observed before is known.

    Returns
    -------
    pandas.DataFrame
        For each layer with 60 days or more, lead and model (`ALONE`, with the sensor, `LAST`): ``pearson_r``, ``rmse``
        and ``crps`` [m3 m-3] as ``median`` with their 95 % interval, ``lower`` to ``upper``, over the same ``n_pairs``
        days: a day for which there is an observation so many days before.

    Examples
    --------
    >>> import xarray as xr
    >>> from vadose.predict.outlook.moisture import networks, soil_moisture
    >>> days = pd.date_range("2020-01-01", periods=400)
    >>> rain = np.random.default_rng(0).exponential(3, (400, 1))
    >>> level = {"air_temperature_max": 295.0, "air_temperature_min": 283.0, "relative_humidity": 60.0,
    ...          "shortwave_radiation": 180.0}
    >>> weather = xr.Dataset({k: (("time", "place"), np.full((400, 1), v)) for k, v in level.items()}, {"time": days})
    >>> past = soil_moisture(networks(), weather.assign(precipitation=(("time", "place"), rain)), xr.Dataset())
    >>> table = followed(past, past.mean + 0.05, leads=[7], first=100)
    >>> table[table.metric == "rmse"].groupby("model")["median"].max().round(3).to_dict()["without the sensor"]
    0.05
    """
    rows: list[Row] = []
    assert past.end is not None
    of_days = past.end.networks, *past.end.estimate
    fixed = {ALONE: given(*of_days, None, 1)}
    if first:
        early = np.arange(observed.shape[1])[:, None] < first
        fixed[EARLIER] = given(*of_days, np.where(early, observed, np.float32(np.nan)), 1)
    for lead in leads:
        last = np.full_like(observed, np.nan)
        last[:, lead:] = observed[:, :-lead]
        runs: dict[str, Run] = {
            **fixed,
            f"sensor up to {lead} d before": given(*of_days, observed, lead),
            LAST: (last, None),
        }
        rows += _rows(runs, observed, first, {"lead_days": lead})
    return pd.DataFrame(rows)


def told_of_table(table: pd.DataFrame, lead: int = 7) -> list[str]:
    """What a table of `followed` says of a lead, a line for each layer.

    Examples
    --------
    >>> rows = [("0-10 cm", 7, ALONE, 0.9, 0.05), ("0-10 cm", 7, LAST, 0.7, 0.04)]
    >>> rows = [(*row[:3], 365, 1, name, value) for row in rows for name, value in zip(("pearson_r", "rmse"), row[3:])]
    >>> columns = ["layer", "lead_days", "model", "n_pairs", "n_sites", "metric", "median"]
    >>> told_of_table(pd.DataFrame(rows, columns=columns))[0]
    'own sensor, 0-10 cm, 365 days: without the sensor R 0.90, RMSE 0.050; last value of the sensor R 0.70, RMSE 0.040'
    """
    lines = []
    of_lead = table[table.lead_days == lead] if len(table) else table
    for layer, rows in of_lead.groupby("layer", sort=False) if len(of_lead) else ():
        runs = rows.pivot_table(index="model", columns="metric", values="median", sort=False)
        said = [f"{model} R {of['pearson_r']:.2f}, RMSE {of['rmse']:.3f}" for model, of in runs.iterrows()]
        sensors = "own sensor" if rows.n_sites.iloc[0] == 1 else f"{rows.n_sites.iloc[0]} own sensors (median)"
        lines.append(f"{sensors}, {layer}, {rows.n_pairs.iloc[0]} days: {'; '.join(said)}")
    return lines


def _rows(runs: Mapping[str, Run], observed: Array, first: int, named: dict[str, Cell]) -> Iterator[Row]:
    """Rows of each layer over the days that all runs have."""
    for layer, name in enumerate(LAYERS):
        predicted = np.stack([mean[:, first:, layer].T for mean, _ in runs.values()])
        spreads = [None if std is None else std[:, first:, layer].T for _, std in runs.values()]
        truth = np.where(np.isfinite(predicted).all(axis=0), observed[:, first:, layer].T, np.nan)
        if np.isfinite(truth).sum() < FEWEST:
            continue
        scored, pairs = score_sites(predicted, truth, spreads, min_pairs=FEWEST)
        group = Group(scored, {"layer": name, **named}, [{"model": run} for run in runs], pairs, drawn=False)
        yield from (row for row in group.scores() if row["metric"] in METRICS)
