"""Stations on a cube: the cell each lies in, its strata, and how many days there are to compare."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pyproj import Geod

from vadose.artefact import writing
from vadose.door import as_cube, as_stations
from vadose.errors import VadoseError
from vadose.features import (
    IGBP_GROUPS,
    NLCD_GROUPS,
    TEXTURE_GROUPS,
    USDA_TEXTURE,
    igbp_group,
    nlcd_group,
    texture_group,
    usda_texture_class,
)
from vadose.grid import Grid, grid_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_GROUP = "none"
# Okabe and Ito's colours, told apart by colour-blind readers.
COLOURS = {"coarse": "#E69F00", "medium": "#009E73", "fine": "#0072B2", NO_GROUP: "#FFFFFF"}

_SOIL = re.compile(r"(?P<part>sand|silt|clay)_fraction(?P<suffix>_(?P<top>\d+)(?:_(?P<bottom>\d+))?cm)?")
_ELLIPSOID = Geod(ellps="WGS84")


def stations_on_cube(stations: xr.Dataset, cube: xr.Dataset) -> pd.DataFrame:
    """The cell of a cube that each station lies in, with its strata.

    Texture is that of the station's own soil at its sensor's depth where the store has it, else that of the
    cell. Of the cube's soils a layer takes the depth nearest to its middle that lies in it, such as
    ``clay_fraction_30cm`` for 10-40 cm; soils named without a depth are those of the topmost layer. Silt is
    what sand and clay leave where it is not given.

    Parameters
    ----------
    stations
        Store of `vadose.insitu.store.build_stations`.
    cube
        One grid of a cube, as `vadose.cube.open_cube` gives it. Without a variable ``mask`` every cell of it
        counts as being in the mask.

    Returns
    -------
    pandas.DataFrame
        A row for each station, in the order of the store; what is not known is missing.

        - ``station``, ``network``, ``station_name``, ``lat``, ``lon`` [degree];
        - ``row``, ``column``, ``cell_lat``, ``cell_lon`` of the cell that holds it, missing outside, and
          ``distance_km`` from its centre on the WGS84 ellipsoid; a station on the border of two cells
          belongs to the eastern or southern one;
        - ``in_mask``; ``stations_in_cell`` and ``shares_cell_with``, the names of the others;
        - ``igbp_class``, ``igbp_group``, ``nlcd_class``, ``nlcd_group`` (level 1) of the cell;
        - ``elevation``, ``cell_elevation`` and ``elevation_difference``, station minus cell [m];
        - for each layer, as in ``days_0_10cm``: ``days`` with a good value within the cube's days;
          ``texture_station`` and ``texture_cube``, USDA classes; ``texture`` and ``texture_group``, those
          used, and ``texture_from``, ``'station'`` or ``'cube'``;
        - ``simulated``: whether stations or cube are.

    Raises
    ------
    VadoseError
        When either is not such a store, or holds soils or land cover in other units or classes.

    References
    ----------
    Karney (2013), doi:10.1007/s00190-012-0578-z.
    """
    stations, cube = _checked(stations, cube)
    grid = grid_of(cube)
    lat, lon = stations.lat.values, stations.lon.values
    row, column = grid.rowcol(lat, lon)
    inside = row >= 0
    cells = _cells(cube, row, column)
    cell_lat, cell_lon = (np.where(inside, values, np.nan) for values in grid.latlon(row, column))
    distance = np.full(len(row), np.nan)
    ends = (lon[inside], lat[inside], cell_lon[inside], cell_lat[inside])
    distance[inside] = _ELLIPSOID.inv(*ends)[2] / 1000

    unknown = xr.DataArray(np.full(len(row), np.nan), dims="station")
    igbp, nlcd = cells.get("land_cover", unknown), cells.get("land_cover_nlcd", unknown)
    igbp_groups, nlcd_groups = igbp_group(igbp), nlcd_group(nlcd)
    elevation, cell_elevation = stations.elevation.values, cells.get("elevation", unknown).values
    columns: dict[str, Any] = {
        "station": _text(stations.station),
        "network": _text(stations.network),
        "station_name": _text(stations.station_name),
        "lat": lat,
        "lon": lon,
        "row": _whole(np.where(inside, row, np.nan)),
        "column": _whole(np.where(inside, column, np.nan)),
        "cell_lat": cell_lat,
        "cell_lon": cell_lon,
        "distance_km": distance,
        "in_mask": inside & (cells["mask"].values == 1) if "mask" in cells else inside,
        **_neighbours(_text(stations.station), row, column),
        "igbp_class": _whole(igbp.values),
        "igbp_group": _names(igbp_groups, IGBP_GROUPS),
        "nlcd_class": _whole(nlcd.values),
        "nlcd_group": _names(nlcd_groups, NLCD_GROUPS["level1"]),
        "elevation": elevation,
        "cell_elevation": cell_elevation,
        "elevation_difference": elevation - cell_elevation,
    }
    own_days, cube_days = (pd.DatetimeIndex(of.time.values).normalize() for of in (stations, cube))
    days = own_days.isin(cube_days)
    good = stations.soil_moisture.isel(time=days).notnull().sum("time").transpose("layer", "station").values
    depths = json.loads(stations.attrs["layer_depths"])
    for layer, count in zip(map(str, stations.layer.values), good, strict=True):
        of_layer = {"days": count, **_textures(stations, cells, layer, depths[layer])}
        suffix = layer.replace("-", "_").replace(" ", "")
        columns |= {f"{name}_{suffix}": values for name, values in of_layer.items()}
    columns["simulated"] = "true" in (stations.attrs.get("simulated"), cube.attrs.get("simulated"))
    return pd.DataFrame(columns)


def with_stations(
    cube: xr.Dataset, stations: xr.Dataset, observed: str, layer: str, weight: float, first: str, last: str
) -> xr.Dataset:
    r"""Add ``OBSERVED_with_stations`` (time, y, x): what to learn from, so that stations are in the loss.

    .. math:: y' = (1 - w) \, y + w \left( \bar y + \frac{\sigma_y}{\sigma_s} (s - \bar s) \right)

    at cells that hold stations, on days with both; y elsewhere. s is the mean of a cell's stations, brought to
    mean and deviation of the cell's own series y on the days ``first`` .. ``last`` that have both: a point has
    another mean than its cell. For a squared error this is the same as two terms of weights 1 - w and w.

    Parameters
    ----------
    cube
        One grid of a cube.
    stations
        Store of `vadose.insitu.store.build_stations`.
    observed, layer
        Variable of the cube, and the stations' layer it is of.
    weight
        w, from 0 to 1.
    first, last
        Days that are learnt from.

    Raises
    ------
    VadoseError
        When no station has ten days in common with its cell.
    """
    stations, cube = _checked(stations, cube)
    y = cube[observed].transpose("time", "y", "x")
    moisture = stations.soil_moisture.sel(layer=layer).transpose("time", "station").reindex(time=cube.time.values)
    row, column = grid_of(cube).rowcol(stations.lat.values, stations.lon.values)
    learnt = ((y.time >= np.datetime64(first)) & (y.time <= np.datetime64(last))).values
    mixed, met = y.values.copy(), 0
    for r, c in sorted({(int(r), int(c)) for r, c in zip(row, column, strict=True) if r >= 0}):
        here = moisture.values[:, (row == r) & (column == c)]
        known = np.isfinite(here)
        s = np.where(known, here, 0).sum(axis=1) / np.where(known.any(axis=1), known.sum(axis=1), np.nan)
        own = mixed[:, r, c]
        both = np.isfinite(s) & np.isfinite(own)
        common = both & learnt
        if common.sum() < 10 or s[common].std() == 0:
            continue
        scaled = own[common].mean() + own[common].std() / s[common].std() * (s - s[common].mean())
        mixed[both, r, c] = (1 - weight) * own[both] + weight * scaled[both]
        met += 1
    if not met:
        raise VadoseError(f"no station of {layer} has ten days in common with its cell's {observed}, {first} .. {last}")
    return cube.assign({f"{observed}_with_stations": (y.dims, mixed)})


def match_stations(stations: xr.Dataset, cube: xr.Dataset, out: Path) -> pd.DataFrame:
    """Write the table of `stations_on_cube` as CSV, places to 1e-5 degree and heights to 0.1 m."""
    table = stations_on_cube(stations, cube)
    decimals = {"lat": 5, "lon": 5, "cell_lat": 5, "cell_lon": 5, "distance_km": 3}
    decimals |= {"elevation": 1, "cell_elevation": 1, "elevation_difference": 1}
    with writing(out) as scratch:
        table.round(decimals).to_csv(scratch, index=False)
    return table


def count_stations(table: pd.DataFrame, min_days: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Stations in the mask by network and land cover, and by network and soil texture.

    Parameters
    ----------
    table
        Of `stations_on_cube`, or its CSV read again.
    min_days
        Fewest days with a good value for a station to count in a layer.

    Returns
    -------
    tuple of pandas.DataFrame
        Rows of IGBP groups and columns (layer, texture group, network); rows (texture group, class) and
        columns (network, layer). ``'none'`` are those of no group or no known class.

    References
    ----------
    Rabiei, Babaeian and Grunwald (2025), doi:10.3390/rs17183219, Tables A1 and 4.
    """
    counted = []
    for layer in _layers(table):
        chosen = table[table.in_mask & (table[f"days_{layer}"] >= min_days)]
        strata = {"land_cover": chosen.igbp_group, "texture": chosen[f"texture_{layer}"]}
        strata |= {"texture_group": chosen[f"texture_group_{layer}"]}
        filled = {name: values.astype(object).fillna(NO_GROUP) for name, values in strata.items()}
        counted.append(pd.DataFrame({"layer": layer, "network": chosen.network, **filled}))
    every = pd.concat(counted, ignore_index=True)
    networks = sorted(table.network.unique())
    classes = [(group, name) for group, names in TEXTURE_GROUPS.items() for name in names] + [(NO_GROUP, NO_GROUP)]

    def tally(index: pd.Index, header: pd.MultiIndex) -> pd.DataFrame:
        sizes = every.groupby([*index.names, *header.names]).size().unstack(header.names)
        return sizes.reindex(index=index, columns=header).fillna(0).astype(int)

    of_layers = pd.MultiIndex.from_product(
        [_layers(table), [*TEXTURE_GROUPS, NO_GROUP], networks], names=["layer", "texture_group", "network"]
    )
    of_networks = pd.MultiIndex.from_product([networks, _layers(table)], names=["network", "layer"])
    return (
        tally(pd.Index([*IGBP_GROUPS, NO_GROUP], name="land_cover"), of_layers),
        tally(pd.MultiIndex.from_tuples(classes, names=["texture_group", "texture"]), of_networks),
    )


def plot_stations(table: pd.DataFrame, cube: xr.Dataset, layer: str = "0-10 cm") -> "Figure":
    """Map of the stations, coloured by texture group, on the cube's mask; crosses are outside it.

    Parameters
    ----------
    table
        Of `stations_on_cube`, or its CSV read again.
    cube
        The same cube.
    layer
        Layer whose texture is shown.

    Raises
    ------
    VadoseError
        When the table has no such layer.
    """
    suffix = layer.replace("-", "_").replace(" ", "")
    if suffix not in _layers(table):
        raise VadoseError(f"layer {layer!r}: the table has {_layers(table)}; name one of them, such as '0-10 cm'")
    cube = as_cube(cube, "the cube")
    lat, lon, shown = _outlines(grid_of(cube), cube)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    axis = figure.subplots()
    axis.pcolormesh(lon, lat, np.where(shown, 1.0, np.nan), cmap="Greys", vmin=0, vmax=5, rasterized=True)
    groups = table[f"texture_group_{suffix}"].astype(object).fillna(NO_GROUP)
    for group, colour in COLOURS.items():
        chosen = table[table.in_mask & (groups == group)]
        if len(chosen):
            label = f"{group if group != NO_GROUP else 'texture unknown'} ({len(chosen)})"
            axis.scatter(chosen.lon, chosen.lat, s=28, c=colour, edgecolors="black", linewidths=0.6, label=label)
    outside = table[~table.in_mask]
    # Stations far from the cube would make it small: they are counted, not drawn.
    near = outside[outside.lat.between(lat.min(), lat.max()) & outside.lon.between(lon.min(), lon.max())]
    if len(outside):
        label = f"outside the mask ({len(outside)})"
        axis.scatter(near.lon, near.lat, s=20, c="0.5", marker="x", linewidths=0.8, label=label)
    axis.set_xlim(lon.min(), lon.max())
    axis.set_ylim(lat.min(), lat.max())
    axis.set_aspect(1 / np.cos(np.radians((lat.min() + lat.max()) / 2)))
    axis.set_xlabel("longitude [°]")
    axis.set_ylabel("latitude [°]")
    axis.set_title(f"stations by soil texture, {layer}" + (" (SIMULATED)" if table.simulated.any() else ""))
    if len(table):
        figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def _checked(stations: xr.Dataset, cube: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Both in our form, refused where they are no such stores."""
    needed = {"station", "layer", "time", "lat", "lon", "elevation", "network", "station_name", "soil_moisture"}
    if missing := sorted(needed - set(stations.variables)):
        raise VadoseError(f"station store: no {missing} in it; make one with: vadose stations")
    if "layer_depths" not in stations.attrs:
        raise VadoseError("station store: no attribute 'layer_depths' in it; make it again with: vadose stations")
    if "grid_step" not in cube.attrs or "time" not in cube.indexes:
        raise VadoseError("cube: no grid or no days in it; make one with: vadose build")
    return as_stations(stations, "the station store"), as_cube(cube, "the cube")


def _cells(cube: xr.Dataset, row: NDArray[np.int64], column: NDArray[np.int64]) -> dict[str, xr.DataArray]:
    """Fixed variables at the cells of the stations, (station,), NaN outside."""
    wanted = [str(n) for n in cube.data_vars if _SOIL.fullmatch(str(n))]
    wanted += [n for n in ("mask", "land_cover", "land_cover_nlcd", "elevation") if n in cube]
    if changing := [name for name in wanted if "time" in cube[name].dims]:
        raise VadoseError(f"cube: {changing} change with time; keep one of their times, as (y, x)")
    at = {
        "y": xr.DataArray(np.maximum(row, 0), dims="station"),
        "x": xr.DataArray(np.maximum(column, 0), dims="station"),
    }
    inside = xr.DataArray(row >= 0, dims="station")
    return {n: cube[n].isel(at).reset_coords(drop=True).load().astype(float).where(inside) for n in wanted}


def _textures(
    stations: xr.Dataset, cells: Mapping[str, xr.DataArray], layer: str, depth: float
) -> dict[str, NDArray[np.object_]]:
    """Classes of one layer from the stations' own soils and from the cells', and those used."""
    own = {name: stations[name] for name in map(str, stations.data_vars) if _SOIL.fullmatch(name)}
    at_depth = {name: soil.sel(depth=depth).reset_coords(drop=True).load() for name, soil in own.items()}
    from_station = _texture(at_depth, "", stations.sizes["station"])
    suffix = _suffix(cells, layer)
    from_cube = _texture(cells if suffix is not None else {}, suffix or "", stations.sizes["station"])
    used = from_station.fillna(from_cube)
    source = (0 * from_station + 1).fillna(0 * from_cube + 2)
    return {
        "texture_station": _names(from_station, USDA_TEXTURE),
        "texture_cube": _names(from_cube, USDA_TEXTURE),
        "texture": _names(used, USDA_TEXTURE),
        "texture_group": _names(texture_group(used), TEXTURE_GROUPS),
        "texture_from": _names(source, ("station", "cube")),
    }


def _suffix(cells: Mapping[str, xr.DataArray], layer: str) -> str | None:
    """How the cube's soils of a layer are named: the depth nearest to its middle, of those that lie in it."""
    top, bottom = map(float, layer.removesuffix(" cm").split("-"))
    depths: dict[str, float] = {}
    for name in cells:
        soil = _SOIL.fullmatch(name)
        if soil and soil["suffix"]:
            depths[soil["suffix"]] = (float(soil["top"]) + float(soil["bottom"] or soil["top"])) / 2
    both = [s for s in depths if f"sand_fraction{s}" in cells and f"clay_fraction{s}" in cells]
    within = [s for s in both if top <= depths[s] <= bottom]
    if within:
        return min(within, key=lambda s: (abs(depths[s] - (top + bottom) / 2), depths[s]))
    return "" if top == 0 else None


def _texture(soils: Mapping[str, xr.DataArray], suffix: str, size: int) -> xr.DataArray:
    sand, silt, clay = (soils.get(f"{part}_fraction{suffix}") for part in ("sand", "silt", "clay"))
    if sand is None or clay is None:
        return xr.DataArray(np.full(size, np.nan), dims="station")
    return usda_texture_class(sand, (1 - sand - clay).clip(min=0) if silt is None else silt, clay)


def _neighbours(names: NDArray[np.object_], row: NDArray[np.int64], column: NDArray[np.int64]) -> dict[str, Any]:
    """Stations in the cell of each, itself counted, and the names of the others."""
    in_cell: dict[tuple[int, int], list[str]] = {}
    places = list(zip(row.tolist(), column.tolist(), strict=True))
    for name, place in zip(names, places, strict=True):
        in_cell.setdefault(place, []).append(name)
    together = [in_cell[place] if place[0] >= 0 else [] for place in places]
    others = ["; ".join(n for n in cell if n != name) or None for name, cell in zip(names, together, strict=True)]
    return {
        "stations_in_cell": _whole(np.array([len(cell) or np.nan for cell in together], float)),
        "shares_cell_with": np.array(others, object),
    }


def _outlines(grid: Grid, cube: xr.Dataset) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Corners of the cells [degree], with the gaps between those of a lattice, and which to fill."""
    half = grid.cell / grid.transform[2] / 2
    rows, columns = ((np.arange(n)[:, None] + [-half, half]).ravel() for n in grid.shape)
    lat, lon = grid.latlon(rows[:, None], columns[None, :])
    shown = np.zeros((len(rows) - 1, len(columns) - 1), bool)
    shown[::2, ::2] = cube.mask.values == 1 if "mask" in cube else True
    return lat, lon, shown


def _layers(table: pd.DataFrame) -> list[str]:
    return [name.removeprefix("days_") for name in table.columns if name.startswith("days_")]


def _text(values: xr.DataArray) -> NDArray[np.object_]:
    return np.array([str(value) for value in values.values], object)


def _whole(values: NDArray[Any]) -> Any:
    """Whole numbers, missing where NaN."""
    return pd.array(values, dtype="Int64")


def _names(numbers: xr.DataArray, names: Iterable[str]) -> NDArray[np.object_]:
    """Names of classes numbered from 1; None where NaN."""
    of = (None, *names)
    return np.array([of[int(number)] for number in numbers.fillna(0).values], object)
