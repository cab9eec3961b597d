"""Tables and figures of Rabiei et al. (2025) from evaluations of the same layers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vadose.artefact import identity
from vadose.errors import VadoseError
from vadose.evaluation.collocate import observed_variable
from vadose.evaluation.strata import strata_of
from vadose.features.classes import IGBP_GROUPS, TEXTURE_GROUPS
from vadose.reports import figures
from vadose.reports.contents import Absent, Content, write_contents
from vadose.reports.evaluated import Evaluation, read
from vadose.reports.rabiei_2025_published import beside
from vadose.reports.study_area import study_area

BASELINES = ("persistence", "damped_persistence", "climatology")
AREA = ("land_cover", "koeppen")
"""Variables of a cube that maps of the study area are of."""
_METRICS = ("pearson_r", "ubrmse", "bias")
_RUN = ["model", "weather", "scenario"]
_STATISTICS = ["metric", "q25", "median", "q75", "lower", "upper", "n_sites", "n_pairs"]
_GROUP_OF = {texture: group for group, textures in TEXTURE_GROUPS.items() for texture in textures}


def paper_tables(
    evaluations: Mapping[str, Path],
    out: Path,
    *,
    run: str | None = None,
    forecasts: Mapping[str, xr.Dataset] | None = None,
    cube: xr.Dataset | None = None,
    day: str | None = None,
    products: Mapping[str, Path] | None = None,
) -> Path:
    """Write Tables 1, 4, 5, A1 and the paper's figures beside ours as CSV, Figures 1, 3-9, A1-A4 as PNG, into a folder.

    ``index.csv`` (file, shows, absent_because) describes each and says why one is missing. Sites are stations, where
    the largest network replaces the paper's SCAN and the second its USCRN, or cells of a map, without a network.

    Parameters
    ----------
    evaluations
        Layer -> folder of `vadose.evaluation.evaluate`, from the surface down.
    run
        Run to show, such as ``'convlstm|none|S2'`` (model, weather, scenario). Default: of the runs that are not
        baselines, preferably of scenario S2 and without weather, the one with the highest median R at the shortest
        lead time, averaged over layers; it is chosen on the scores it is shown with, and ``index.csv`` says so.
    forecasts
        Layer -> forecast store, for the maps of Figure 9.
    cube
        Cube with the observations for Figure 9, soil fractions for its texture map, land cover and ``koeppen`` for
        Figures 1 and A2.
    day
        Valid day of the maps of Figure 9. Default: the middle one of the days forecast at every lead time.
    products
        Layer -> evaluation of the products alone over all days, for Table 1; of the runs' days when left out.

    Raises
    ------
    VadoseError
        If a folder is not an evaluation or lacks the run, or the day is not forecast at every lead time.

    References
    ----------
    Rabiei, Babaeian and Grunwald (2025), doi:10.3390/rs17183219.
    """
    layers = {layer: Evaluation(folder) for layer, folder in evaluations.items()}
    if not layers:
        raise VadoseError("tables of the paper: expected one evaluation per layer, found none")
    chosen = "" if run else " (best median R at the shortest lead, chosen on these scores)"
    run = run or _best(layers)
    for layer, of in layers.items():
        if run not in of.scores.run.values:
            raise VadoseError(f"the evaluation of {layer} has no run {run!r}; it has {of.scores.run.values.tolist()}")
    networks = _networks(layers)
    of_day = _day(forecasts or {}, day)
    shown = _rows(layers, forecasts or {}, cube, of_day)
    inputs = {
        "evaluations": {layer: identity(folder) for layer, folder in evaluations.items()},
        "run": run,
        "day": str(of_day),
        "maps": shown if isinstance(shown, Absent) else identity(*_fields(shown)),
        "area": None if cube is None else identity(*(cube[name] for name in AREA if name in cube)),
        "products": {layer: identity(folder) for layer, folder in (products or {}).items()},
    }
    drawn = _Drawn(run, chosen, networks, forecasts or {}, shown, of_day, cube)
    with_products = {layer: folder for layer, folder in (products or evaluations).items() if layer in layers}
    return write_contents(_contents(layers, drawn, with_products), out, inputs)


@dataclass(frozen=True)
class _Drawn:
    """The run and networks shown, how the run was chosen, forecasts, the maps of Figure 9 and their day, the cube."""

    run: str
    chosen: str
    networks: list[str]
    forecasts: Mapping[str, xr.Dataset]
    rows: "list[_Row] | Absent"
    day: np.datetime64 | None
    cube: xr.Dataset | None


def _contents(layers: dict[str, Evaluation], drawn: _Drawn, products: Mapping[str, Path]) -> Iterator[Content]:
    run, chosen, networks = drawn.run, drawn.chosen, drawn.networks
    first = networks[0] if networks else None
    second = networks[1] if len(networks) > 1 else "second network"
    where = first or f"all {next(iter(layers.values())).sites_are}"
    table1 = partial(_table1, products)
    yield (
        "published.csv",
        "figures of the paper beside ours, and what differs",
        partial(_beside, layers, networks, table1),
    )
    yield "figure1.png", "study area: stations, networks, land cover", partial(_area, layers, drawn.cube, "land_cover")
    yield "figureA2.png", "study area: stations, Köppen climate", partial(_area, layers, drawn.cube, "koeppen")
    yield "table1.csv", "products, and runs at the shortest lead, by network and land cover", table1
    yield "table4.csv", "sites by USDA texture class, network and layer", partial(_table4, layers)
    yield "table5.csv", "runs at the shortest lead: medians, quartiles over sites", partial(_table5, layers)
    yield "tableA1.csv", "sites by land cover, texture, network and layer", partial(_table_a1, layers)
    of_run = f"; {run}{chosen}"
    for number, (layer, of) in zip((4, 5, 6), layers.items(), strict=False):
        make = partial(figures.site_maps, of.scores.sel(run=run))
        yield f"figure{number}.png", f"maps of R, ubRMSE and bias, {layer}{of_run}", make
    for network, places, numbers in ((first, where, ("3", "7", "8")), (second, second, ("A1", "A3", "A4"))):
        density, by_cover, by_texture = (f"figure{number}.png" for number in numbers)
        yield density, f"forecast against observed, {places}{of_run}", partial(_density, layers, run, network)
        yield by_cover, f"scores by land cover, {places}{of_run}", partial(_boxes, layers, run, "land_cover", network)
        yield by_texture, f"scores by soil texture, {places}{of_run}", partial(_boxes, layers, run, "texture", network)
    given = dict.fromkeys("|".join(str(store.attrs[key]) for key in _RUN) for store in drawn.forecasts.values())
    maps = "; ".join(["forecast and observed maps of a day", *given])
    yield "figure9.png", maps, partial(_maps, drawn.rows, drawn.day)


def _area(layers: dict[str, Evaluation], cube: xr.Dataset | None, kind: str) -> Figure:
    """Figures 1 and A2: classes of the cells where the cube is a map, and the stations."""
    of = next(iter(layers.values()))
    lon, lat, network = of.scores.lon.values, of.scores.lat.values, of.classes("network")
    names = _networks({"": of})
    sites = {name: (lon[network == name], lat[network == name]) for name in names}
    place = cube if cube is not None and _is_map(cube) else xr.Dataset()
    classes = strata_of(place).get(kind) if place else None
    if kind == "koeppen" and classes is None:
        raise Absent("the cube has no variable 'koeppen' (y, x)")
    if classes is None and not sites:
        raise Absent("neither a map of land cover nor stations")
    order = IGBP_GROUPS if kind == "land_cover" or classes is None else sorted({*classes.ravel()} - {""})
    return study_area(classes, place, list(order), sites)


def _beside(layers: dict[str, Evaluation], networks: list[str], table1: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """The paper's figures beside ours."""
    told = {}
    for layer, of in layers.items():
        said = of.scores.attrs
        simulated = ", simulated" if said["simulated"] == "true" else ""
        told[layer] = (
            f"{of.counted().sum()} sites of {said['dataset']}, {said['first_day']} .. {said['last_day']}{simulated}"
        )
    try:
        ours = table1()
        ours = ours[(ours.land_cover == "all") & (ours.network != "all")]
    except Absent:
        ours = None
    whole = pd.concat([of.table for of in layers.values()])
    return beside(_table5(layers), whole, ours, networks, told)


def _table1(products: Mapping[str, Path]) -> pd.DataFrame:
    tables = [folder / "products.csv" for folder in products.values() if (folder / "products.csv").exists()]
    if not tables:
        raise Absent("no evaluation has products")
    table = pd.concat([read(path) for path in tables])
    # A product that stands for a run where products are scored alone is there once.
    analyses = table[table.weather == "analysis"].model.unique()
    table = table[(table.weather == "analysis") | ~table.model.isin(analyses)]
    both = table["class"].str.split(" / ", expand=True).reindex(columns=[0, 1])
    kind, name = table["kind"], table["class"]
    table["network"] = np.select([kind == "network", kind == "network / land_cover"], [name, both[0]], "all")
    table["land_cover"] = np.select([kind == "land_cover", kind == "network / land_cover"], [name, both[1]], "all")
    return table[["layer", "network", "land_cover", *_RUN, "lead_days", *_STATISTICS]]


def _table4(layers: dict[str, Evaluation]) -> pd.DataFrame:
    frame = _sites(layers, "texture_class")
    table = _counted(frame, "texture_class", [*_GROUP_OF], ["network", "layer"], _columns(frame, layers))
    table.insert(0, "texture", [_GROUP_OF[name] for name in table.index])
    return table.reset_index()


def _table5(layers: dict[str, Evaluation]) -> pd.DataFrame:
    parts = []
    for of in layers.values():
        networks = of.strata[of.strata["kind"] == "network"].rename(columns={"class": "network"})
        parts.append(pd.concat([networks, of.table.assign(network="all")]))
    table: pd.DataFrame = pd.concat(parts)
    table = table[table.lead_days == table.lead_days.min()]
    return table[["layer", "network", *_RUN, "lead_days", *_STATISTICS]]


def _table_a1(layers: dict[str, Evaluation]) -> pd.DataFrame:
    frame = _sites(layers, "land_cover", "texture")
    columns = [(network, layer, texture) for network, layer in _columns(frame, layers) for texture in TEXTURE_GROUPS]
    table = _counted(frame, "land_cover", [*IGBP_GROUPS], ["network", "layer", "texture"], columns)
    return table.rename_axis("land_cover").reset_index()


def _counted(
    frame: pd.DataFrame, of: str, rows: list[str], by: list[str], columns: Sequence[tuple[str, ...]]
) -> pd.DataFrame:
    """Number of sites by two keys or more, 0 where there is none."""
    table: pd.DataFrame = frame.pivot_table(index=of, columns=by, values="n", aggfunc="sum")
    table = table.reindex(index=rows, columns=pd.MultiIndex.from_tuples(columns)).fillna(0).astype(int)
    table.columns = [" ".join(column) for column in columns]
    return table


def _sites(layers: dict[str, Evaluation], *kinds: str) -> pd.DataFrame:
    """One row per scored site with a class of every kind."""
    parts = []
    for layer, of in layers.items():
        frame = pd.DataFrame({kind: of.classes(kind) for kind in ("network", *kinds)})[of.counted()]
        parts.append(frame.assign(layer=layer, n=1))
    frame = pd.concat(parts)
    frame = frame[(frame[list(kinds)] != "").all(axis=1)].replace({"network": {"": "all"}})
    if frame.empty:
        raise Absent(f"no site has a class of {' and '.join(kinds)}")
    return frame


def _columns(frame: pd.DataFrame, layers: dict[str, Evaluation]) -> list[tuple[str, str]]:
    return [(network, layer) for network in frame.network.value_counts().index for layer in layers]


def _density(layers: dict[str, Evaluation], run: str, network: str | None) -> Figure:
    at = {layer: of.counted(network) for layer, of in layers.items()}
    shown = {layer: layers[layer].pairs.sel(run=run).isel(site=of).load() for layer, of in at.items() if of.any()}
    if not shown:
        raise Absent(f"no site of {network}")
    return figures.density(shown)


def _boxes(layers: dict[str, Evaluation], run: str, kind: str, network: str | None) -> Figure:
    order = list(IGBP_GROUPS if kind == "land_cover" else TEXTURE_GROUPS)
    shown = {}
    for layer, of in layers.items():
        at = of.counted(network) & (of.classes(kind) != "")
        if at.any():
            shown[layer] = of.scores.value.sel(run=run, metric=list(_METRICS)).isel(site=at), of.classes(kind)[at]
    if not shown:
        raise Absent(f"no site{f' of {network}' if network else ''} has a class of {kind}")
    return figures.class_boxes(shown, order)


_Row = tuple[str, NDArray[np.object_] | None, xr.DataArray, dict[int, xr.DataArray]]
"""Layer, texture, observed, and forecasts by lead time (y, x)."""


def _rows(
    layers: dict[str, Evaluation],
    forecasts: Mapping[str, xr.Dataset],
    cube: xr.Dataset | None,
    day: np.datetime64 | None,
) -> list[_Row] | Absent:
    """Maps of a day by layer, or the reason why there are none."""
    stores = {layer: forecasts[layer] for layer in layers if layer in forecasts}
    if not stores or cube is None:
        return Absent("no forecast stores and cube")
    if not _is_map(cube):
        return Absent("the cells are stations, not a map")
    if day is None:
        return Absent("no day is forecast at every lead time")
    rows: list[_Row] = []
    for layer, store in stores.items():
        valid = {
            int(lead / np.timedelta64(1, "D")): store.soil_moisture.sel(init_time=day - lead, lead_time=lead).load()
            for lead in store.lead_time.values
        }
        texture = strata_of(cube, layer=layer).get("texture")
        rows.append((layer, texture, cube[observed_variable(store)].sel(time=day).load(), valid))
    return rows


def _is_map(cube: xr.Dataset) -> bool:
    return "station" not in cube.coords and min(cube.sizes["y"], cube.sizes["x"]) >= 2


def _fields(rows: list[_Row]) -> Iterator[xr.DataArray]:
    for _, texture, observed, valid in rows:
        yield from (observed, *valid.values(), *([] if texture is None else [xr.DataArray(texture)]))


def _maps(shown: list[_Row] | Absent, day: np.datetime64 | None) -> Figure:
    if isinstance(shown, Absent):
        raise shown
    return figures.forecast_maps(shown, str(day)[:10], list(TEXTURE_GROUPS))


def _day(forecasts: Mapping[str, xr.Dataset], day: str | None) -> np.datetime64 | None:
    """The given day, or the middle one of those forecast at every lead time; None without any."""
    if not forecasts:
        return None
    begin = max(store.init_time.values[0] + store.lead_time.values[-1] for store in forecasts.values())
    end = min(store.init_time.values[-1] + store.lead_time.values[0] for store in forecasts.values())
    if day is not None and not begin <= np.datetime64(day) <= end:
        raise VadoseError(
            f"maps of {day}: expected a day from {str(begin)[:10]} to {str(end)[:10]}, forecast at every lead time"
        )
    middle = begin + (end - begin) // np.timedelta64(2, "D") * np.timedelta64(1, "D")
    of: np.datetime64 | None = middle if end >= begin else None
    return of if day is None else np.datetime64(day, "ns")


def _networks(layers: dict[str, Evaluation]) -> list[str]:
    """Networks in decreasing number of scored sites."""
    names = np.concatenate([of.classes("network")[of.counted()] for of in layers.values()])
    counts = pd.Series(names[names != ""]).value_counts()
    return [str(name) for name in counts.index]


def _best(layers: dict[str, Evaluation]) -> str:
    """Default run to show."""
    common = [
        str(run)
        for run in next(iter(layers.values())).scores.run.values
        if all(run in of.scores.run.values for of in layers.values())
    ]
    if not common:
        raise VadoseError("the evaluations have no run in common; give the runs of all layers the same names")
    candidates = common
    for wanted in (lambda r: r[0] not in BASELINES, lambda r: r[2] == "S2", lambda r: r[1] == "none"):
        candidates = [run for run in candidates if wanted(run.split("|"))] or candidates
    r = [of.scores.value.sel(run=candidates, metric="pearson_r").isel(lead_days=0) for of in layers.values()]
    median = np.mean([np.nan_to_num(of.median("site", skipna=True).values, nan=-1.0) for of in r], axis=0)
    return candidates[int(median.argmax())]
