"""Values that Rabiei et al. (2025) print, beside ours of the same row, and how the data differ."""

from collections.abc import Mapping, Sequence

import pandas as pd

from vadose.reports.contents import Absent

STATIONS = {"SCAN": 137, "USCRN": 59}
_METRICS = ("pearson_r", "ubrmse", "bias")
_LAYERS = ("0-10 cm", "10-40 cm", "40-100 cm")
# Layer, network: S1, S2 and S3, each quartiles of R, ubRMSE and bias over stations 1 day ahead, Table 5 as printed.
_TABLE_5 = {
    ("0-10 cm", "SCAN"): """0.33 0.58 0.72 0.03 0.045 0.06 -0.07 -0.01 0.06
        0.442 0.61 0.73 0.02 0.045 0.06 -0.04 0.01 0.05 / 0.36 0.58 0.70 0.05 0.07 0.10 -0.05 -0.001 0.06""",
    ("0-10 cm", "USCRN"): """0.42 0.62 0.75 0.038 0.065 0.075 -0.036 0.007 0.05
        0.46 0.61 0.75 0.037 0.064 0.076 -0.026 0.019 0.044 / 0.38 0.56 0.69 0.036 0.063 0.075 -0.023 0.014 0.056""",
    ("10-40 cm", "SCAN"): """0.12 0.39 0.69 0.027 0.042 0.056 -0.08 -0.003 0.06
        0.28 0.59 0.75 0.027 0.04 0.05 -0.08 -0.003 0.06 / 0.33 0.50 0.64 0.028 0.04 0.055 -0.083 -0.008 0.06""",
    ("10-40 cm", "USCRN"): """0.156 0.47 0.71 0.032 0.05 0.63 -0.045 -0.00 0.05
        0.31 0.60 0.79 0.030 0.043 0.06 -0.036 0.001 0.046 / 0.13 0.52 0.67 0.034 0.048 0.06 -0.026 0.007 0.046""",
    ("40-100 cm", "SCAN"): """0.073 0.46 0.70 0.015 0.032 0.047 -0.13 -0.031 0.054
        0.16 0.54 0.73 0.02 0.030 0.045 -0.125 -0.033 0.05 / 0.19 0.52 0.71 0.023 0.032 0.047 -0.12 -0.03 0.04""",
    ("40-100 cm", "USCRN"): """0.41 0.60 0.73 0.018 0.041 0.068 -0.084 -0.012 0.05
        0.40 0.63 0.80 0.018 0.037 0.053 -0.075 -0.013 0.05 / 0.39 0.60 0.77 0.02 0.033 0.049 -0.068 -0.007 0.06""",
}
# R of S2 at all stations, 1 and 30 days ahead, as the text gives it with Figures 4 to 6.
_BY_LEAD = {"0-10 cm": (0.61, 0.27), "10-40 cm": (0.59, 0.22), "40-100 cm": (0.42, 0.19)}
# R, RMSE, bias, ubRMSE of the products at the surface, averages over land covers, Table 1.
_TABLE_1 = {
    "SCAN": {
        "smap_dca": (0.62, 0.094, 0.032, 0.059),
        "smap_scah": (0.57, 0.097, -0.008, 0.061),
        "smap_scav": (0.61, 0.095, 0.033, 0.057),
        "nldas_noah": (0.59, 0.086, 0.016, 0.056),
    },
    "USCRN": {
        "smap_dca": (0.70, 0.098, 0.016, 0.049),
        "smap_scah": (0.61, 0.105, -0.023, 0.056),
        "smap_scav": (0.68, 0.098, 0.018, 0.049),
        "nldas_noah": (0.57, 0.078, -0.004, 0.052),
    },
}
_KEYS = ["layer", "network", "model", "scenario", "metric", "lead_days"]


def beside(
    table5: pd.DataFrame,
    by_lead: pd.DataFrame,
    table1: pd.DataFrame | None,
    networks: Sequence[str],
    told: Mapping[str, str],
) -> pd.DataFrame:
    """The paper's figures, one a row, and ours.

    Parameters
    ----------
    table5, by_lead, table1
        Ours: runs at the shortest lead by network; runs at all leads and stations; products by network.
    networks
        Ours, the largest first, that stand for SCAN and USCRN where they have other names.
    told
        What is said of our data, by layer.
    """
    ours = {
        name: name if name in networks else networks[k]
        for k, name in enumerate(STATIONS)
        if name in networks or k < len(networks)
    }
    if not ours:
        raise Absent("no networks of stations; the paper's figures are of SCAN and USCRN")
    found = pd.DataFrame(_printed(ours))
    parts = [table5, by_lead.assign(network="both"), *([] if table1 is None else [table1])]
    mine = pd.concat(parts)[[*_KEYS, "q25", "median", "q75", "n_sites"]].drop_duplicates(_KEYS)
    mine = mine.rename(columns={"q25": "ours_q25", "median": "ours", "q75": "ours_q75"})
    # What the paper averages over land covers, and products, have no lead of the paper's.
    of_products = mine.model.isin(_TABLE_1["SCAN"])
    mine.loc[of_products, "lead_days"] = 0
    mine = mine[mine.model.isin(["convlstm", *_TABLE_1["SCAN"]])]
    found = found.merge(mine, on=_KEYS, how="left")
    if found.ours.isna().all():
        raise Absent("no run or product of the paper is scored at stations")
    found["differs"] = [
        f"{row.differs}; here {told.get(str(row.layer), 'no such layer')}" for row in found.itertuples()
    ]
    return found[
        ["of", *_KEYS, *(f"published{end}" for end in ("", "_q25", "_q75")), *mine.columns[len(_KEYS) :], "differs"]
    ]


def _printed(ours: Mapping[str, str]) -> list[dict[str, object]]:
    """The paper's figures in rows; networks by our names."""
    rows: list[dict[str, object]] = []
    for (layer, name), text in _TABLE_5.items():
        if name not in ours:
            continue
        values = [float(word) for word in text.replace("/", " ").split()]
        for k, scenario in enumerate(("S1", "S2", "S3")):
            for m, metric in enumerate(_METRICS):
                q25, median, q75 = values[9 * k + 3 * m : 9 * k + 3 * m + 3]
                quartiles = {"published": median, "published_q25": q25, "published_q75": q75}
                said = f"paper: {STATIONS[name]} {name} stations, 2022"
                rows.append(_row("Table 5", (layer, ours[name], "convlstm", scenario, metric, 1), said) | quartiles)
    for layer in _LAYERS:
        for lead, value in zip((1, 30), _BY_LEAD[layer], strict=True):
            key = (layer, "both", "convlstm", "S2", "pearson_r", lead)
            rows.append(_row("text, Figures 4-6", key, "paper: SCAN and USCRN, 2022") | {"published": value})
    for name in (name for name in _TABLE_1 if name in ours):
        for product, scores in _TABLE_1[name].items():
            for metric, value in zip(("pearson_r", "rmse", "bias", "ubrmse"), scores, strict=True):
                said = f"paper: mean over land covers, {name}, 2017-01 .. 2023-01"
                key = ("0-10 cm", ours[name], product, "all", metric, 0)
                rows.append(_row("Table 1", key, said) | {"published": value})
    return rows


def _row(of: str, key: tuple[object, ...], differs: str) -> dict[str, object]:
    return {"of": of, **dict(zip(_KEYS, key, strict=True)), "differs": differs}
