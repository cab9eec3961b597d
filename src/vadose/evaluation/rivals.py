"""A run against its rival at each lead: over all sites, over each class of them, and at each site."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from vadose.evaluation.paired import Array, Row, score
from vadose.evaluation.strata import Labels, classes


class Compared(NamedTuple):
    """Differences of the scores of a run from those of its rival.

    Attributes
    ----------
    table
        Medians over the sites of each ``class`` of each ``kind`` ('all' of all) by lead and metric, with their 95 %
        interval, the share of sites where the run is better, sites and pairs.
    sites
        ``value``, ``lower``, ``upper`` (lead_days, metric, site): the same at each site.
    """

    table: pd.DataFrame
    sites: xr.Dataset


def compare(
    pairs: xr.Dataset,
    observed: Callable[[int], Array],
    labels: Mapping[str, Labels],
    run: str,
    rivals: Mapping[int, str],
) -> Compared:
    """Differences of the scores of a run from those of its rival at each lead, on the samples that all runs share.

    Parameters
    ----------
    pairs
        Series of all runs (`vadose.evaluation.leads.read_pairs`).
    observed
        Lead -> observations (day, site) that count there (`vadose.evaluation.distributions.shared`).
    labels
        Kind -> class of each site, '' for none.
    rivals
        Lead -> run; leads without one are left out.
    """
    rows: list[Row] = []
    sites = []
    for lead, rival in rivals.items():
        of_lead = pairs.sel(lead_days=lead, run=[run, rival])
        spreads = [None, None] if "spread" not in pairs else [*of_lead.spread.values]
        spreads = [None if of is None or np.isnan(of).all() else of for of in spreads]
        truth = observed(lead)
        number = np.isfinite(truth).sum(axis=0)
        scored = score(of_lead.predicted.values, truth, spreads, references={}, counts=number > 0)
        everywhere = np.arange(len(number))
        for kind, name, here in [("all", "all", everywhere), *classes(labels)]:
            size: Row = {"n_sites": int((number[here] > 0).sum()), "n_pairs": int(number[here].sum())}
            named: Row = {"lead_days": lead, "rival": rival, "kind": kind, "class": name, **size}
            rows += [named | row for a, _, row in scored.differences(here) if a == 0 and size["n_sites"]]
        found = scored.differences_at_sites(0, 1)
        of_sites = {
            name: (("metric", "site"), of.T) for name, of in zip(("value", "lower", "upper"), found, strict=True)
        }
        sites.append(xr.Dataset(of_sites, {"metric": list(scored.metrics), "lead_days": lead}))
    at_sites = (
        xr.concat(sites, "lead_days", join="outer", coords="minimal", compat="override") if sites else xr.Dataset()
    )
    return Compared(pd.DataFrame(rows), at_sites)
