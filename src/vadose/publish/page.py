"""The page of `vadose view`: one HTML file with its style and script, and with its data where it is to be sent."""

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vadose.areas import outlines
from vadose.artefact import provenance, writing
from vadose.door import open_store
from vadose.errors import VadoseError
from vadose.predict.outlook import CLASSES, THRESHOLDS
from vadose.publish.sources import Source, packed

MOST_BYTES = 25_000_000
"""Size of a file that can still be sent by mail."""
MOST_VALUES = 80_000_000
MOST_SITES = 5000
"""Sites of an evaluation that are drawn as dots."""
_SCORES = ("pearson_r", "ubrmse", "rmse", "bias", "skill_persistence", "skill_climatology")
_POLICY = "default-src 'none'; script-src {}; style-src 'unsafe-inline'; connect-src 'self'; img-src data:"
DAYS_BEFORE = 60
"""Days of observations shown before the first day of issue in a file."""


def page(
    sources: Sequence[Source],
    scores: Sequence[dict[str, Any]] = (),
    *,
    title: str = "Soil moisture",
    blocks: Sequence[tuple[str, bytes]] | None = None,
) -> str:
    """The page as HTML; without ``blocks`` of data it asks its server for them.

    Its policy lets it load nothing but from where it lies itself, and run nothing but its own script.
    """
    parts = {name: files("vadose.publish").joinpath("page", f"view.{name}").read_text() for name in ("css", "js")}
    own = base64.b64encode(hashlib.sha256(parts["js"].encode()).digest()).decode()
    made = provenance()
    about = {
        "title": title,
        "made": f"Made {datetime.now(UTC):%Y-%m-%d} with vadose {made['vadose_version']}",
        "served": blocks is None,
        "simulated": any(source.attributes.get("simulated") == "true" for source in sources),
        "sources": [source.about() for source in sources],
        "scores": list(scores),
        "ranges": ranges_of(sources),
        "classes": [{"name": f"D{k} {name}", "below": THRESHOLDS[k]} for k, name in enumerate(CLASSES)],
        "borders": _borders(sources),
    }
    data = [
        f'<script type="text/plain" id="{name}">{base64.b64encode(block).decode()}</script>'
        for name, block in blocks or ()
    ]
    text = files("vadose.publish").joinpath("page", "view.html").read_text()
    for mark, part in (
        ("policy", _POLICY.format(f"'sha256-{own}'")),
        ("title", escape(title)),
        ("css", parts["css"]),
        ("about", as_json(about)),
        ("data", "\n".join(data)),
        ("js", parts["js"]),
    ):
        text = text.replace(f"[[{mark}]]", part)
    return text


def save_page(
    out: Path, sources: Sequence[Source], scores: Sequence[dict[str, Any]] = (), *, title: str = "Soil moisture"
) -> Path:
    """Write the page with all its data into one file that opens without a server.

    Raises
    ------
    VadoseError
        When that is more than can be sent; the message says what to choose.
    """
    kept = [_for_file(source, sources) for source in sources]
    values = sum(of.size for source in kept for of in source.data.data_vars.values())
    if values > MOST_VALUES:
        raise VadoseError(_too_large(out, values, values))
    blocks: list[tuple[str, bytes]] = []
    for source in kept:
        for name in map(str, source.data.data_vars):
            codes = source.quantity(name).codes(source.values(name, **_thinned(source)))
            blocks.append((f"data:{source.id}:{name}", packed(codes.reshape(len(codes), -1))))
        if source.normal is not None:
            thin = slice(None, None, source.every)
            coefficients = np.ascontiguousarray(source.normal[:, thin, thin], "<f4").tobytes()
            blocks.append((f"normal:{source.id}", gzip.compress(coefficients, 6, mtime=0)))
        if (size := sum(len(block) for _, block in blocks) * 4 / 3) > MOST_BYTES:
            raise VadoseError(_too_large(out, values, size))
    text = page(kept, scores, title=title, blocks=blocks)
    with writing(out) as scratch:
        scratch.write_text(text)
    return out


def scores_of(folder: Path) -> dict[str, Any]:
    """Scores of each site from a folder of `vadose evaluate`, with their intervals and numbers of pairs.

    Raises
    ------
    VadoseError
        When the folder holds no evaluation, or one of more sites than are drawn as dots.
    """
    if not (folder / "scores.zarr").exists():
        raise VadoseError(f"{folder}: no scores.zarr in it; expected the output folder of 'vadose evaluate'")
    store = open_store(folder / "scores.zarr").load()
    if store.sizes["site"] > MOST_SITES:
        raise VadoseError(
            f"{folder}: scores of {store.sizes['site']} sites; the page draws up to {MOST_SITES} as dots. Evaluate at "
            "stations (--observed stations.zarr), or draw scores of cells with 'vadose report'"
        )
    kept = [name for name in _SCORES if name in store.metric.values]
    of_metric = store[["value", "lower", "upper"]].sel(metric=kept).transpose("run", "lead_days", "metric", "site")
    return {
        "layer": str(store.attrs.get("layer", "")),
        "days": f"{store.attrs.get('first_day', '')} to {store.attrs.get('last_day', '')}",
        "metrics": kept,
        "leads": store.lead_days.values.tolist(),
        "runs": [
            {name: str(store[name].values[k]) for name in ("model", "weather")} for k in range(store.sizes["run"])
        ],
        "sites": list(map(str, store.site.values)),
        "lat": store.lat.values.round(5).tolist(),
        "lon": store.lon.values.round(5).tolist(),
        "pairs": store.pairs.transpose("lead_days", "site").values.tolist(),
        **{name: _rounded(of_metric[name].values) for name in ("value", "lower", "upper")},
    }


def ranges_of(sources: Sequence[Source]) -> dict[str, tuple[float, float]]:
    """Ends of the colour scales, the same for all days: 2nd and 98th percentile of some maps, rounded outwards."""
    found: dict[str, tuple[float, float]] = {}
    for name, step in (("soil_moisture", 0.05), ("soil_moisture_std", 0.01)):
        holding = [source for source in sources if name in source.data]
        looked = [
            source.values(
                name, init_time=k, lead_time=lead, y=slice(None, None, thin), x=slice(None, None, thin)
            ).ravel()
            for source in holding
            for thin in [max(1, int(np.sqrt(source.data.sizes["y"] * source.data.sizes["x"] / 2e5)))]
            for k, lead in {(0, 0), (len(source.issued) // 2, -1), (-1, len(source.leads) // 2)}
        ]
        values = np.concatenate(looked) if looked else np.array([])
        values = values[np.isfinite(values)]
        low, high = np.percentile(values, [2, 98]) if len(values) else (0.0, step)
        low = np.floor(low / step) * step if name == "soil_moisture" else 0.0
        found[name] = round(float(low), 4), round(float(max(np.ceil(high / step) * step, low + step)), 4)
    return found


def as_json(value: object) -> str:
    """JSON that may stand in a page: no tag can begin within it."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _rounded(values: NDArray[Any]) -> Any:
    """Nested lists of three decimals, None for missing values."""
    found = values.round(3).astype(object)
    found[~np.isfinite(values)] = None
    return found.tolist()


def _borders(sources: Sequence[Source]) -> list[list[float]]:
    """Borders of US states around the sources: longitude and latitude in turn."""
    lat, lon = (np.concatenate([source.data[name].values for source in sources]) for name in ("lat", "lon"))
    box = (float(lon.min()) - 1, float(lat.min()) - 1, float(lon.max()) + 1, float(lat.max()) + 1)
    # As fine as a pixel of a wide screen.
    digits = 2 if box[2] - box[0] > 10 else 3
    return [line.round(digits).ravel().tolist() for line in outlines("state", box)]


def _thinned(source: Source) -> dict[str, slice]:
    return dict.fromkeys(("y", "x"), slice(None, None, source.every))


def _for_file(source: Source, sources: Sequence[Source]) -> Source:
    """A source without what follows from the rest of it, and without observations of days that are not shown."""
    data = source.data
    names = set(map(str, data.data_vars))
    if "soil_moisture_percentile" in names:
        names -= {"drought_class"}
    names -= {name for name in names if _normal_quantile(source, name)}
    forecasts = [one for one in sources if not one.observed]
    if source.observed and forecasts:
        first = min(one.issued[0] for one in forecasts) - pd.Timedelta(days=DAYS_BEFORE)
        last = max(one.issued[-1] + pd.Timedelta(days=max(one.leads)) for one in forecasts)
        data = data.sel(init_time=slice(first, last))
        if not data.sizes["init_time"]:
            raise VadoseError(f"{source.model}: holds no day from {first:%Y-%m-%d} to {last:%Y-%m-%d}")
    kept = data[[name for name in map(str, data.data_vars) if name in names]]
    return Source(source.id, source.model, source.layer, source.observed, kept, source.normal, source.attributes)


def _normal_quantile(source: Source, name: str) -> bool:
    """Whether a variable holds the quantiles of the normal distribution of mean and deviation, which the page knows."""
    if not name.startswith("quantile_") or not {"soil_moisture", "soil_moisture_std"} <= set(source.data):
        return False
    drawn = {"init_time": 0, "lead_time": -1, **_thinned(source)}
    found, mean, std = (source.values(of, **drawn) for of in (name, "soil_moisture", "soil_moisture_std"))
    z = NormalDist().inv_cdf(float(name.removeprefix("quantile_")))
    return bool(np.allclose(found, np.maximum(mean + z * std, 0), atol=0.001, equal_nan=True))


def _too_large(out: Path, values: int, size: float) -> str:
    return (
        f"{out}: {values / 1e6:.0f} million values would make a file of {size / 1e6:.0f} MB or more, expected up to "
        f"{MOST_BYTES / 1e6:.0f} MB; choose a part (--area STATE, --bbox WEST,SOUTH,EAST,NORTH, --from, --to, --lead), "
        "or leave out --save to serve the page from this machine"
    )
