"""Kinds of sites - network, land cover, soil texture, climate - whose scores are told apart."""

import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from vadose.errors import VadoseError
from vadose.evaluation.collocate import cells_of, is_station_store
from vadose.features.classes import igbp_group, texture_group, usda_texture_class

Labels = NDArray[np.object_]
SOIL_DEPTHS = {"0-10 cm": 5, "10-40 cm": 30, "40-100 cm": 60}
"""Depth [cm] of the mapped soil that stands for a layer, as in Rabiei et al. (2025), doi:10.3390/rs17183219."""
_FRACTIONS = ("sand", "silt", "clay")


def strata_of(observed: xr.Dataset, cube: xr.Dataset | None = None, *, layer: str = "0-10 cm") -> dict[str, Labels]:
    """What is known of the kind of every station of a store, or every cell of a cube.

    Kinds, each where there is a field for it: ``network``; ``land_cover``, groups of IGBP classes
    (`vadose.features.classes.igbp_group`); ``texture_class``, of the USDA triangle, and ``texture``, coarse,
    medium or fine, of the soil at the depth of the layer (`SOIL_DEPTHS`), or of ``sand_fraction`` and the like
    without a depth; ``koeppen``; ``split``, 'trained' or 'new', from the variable ``learnt`` (y, x) of the cells
    networks were trained on.

    Parameters
    ----------
    observed
        A station store, or a cube.
    cube
        Fields at the stations of a station store: of the cell each lies in. Without one, or without fractions
        in it, texture is of the soil that was sampled at the station.
    layer
        Layer whose soil is looked at.

    Returns
    -------
    dict
        Kind -> label of each station (station,) or cell (y, x); '' where there is none, as where fractions are
        missing or far from adding up to 1.

    Raises
    ------
    VadoseError
        When a land cover is no IGBP class.
    """
    of_stations = is_station_store(observed)
    shape = tuple(observed.sizes[axis] for axis in (("station",) if of_stations else ("y", "x")))
    fields = _at_stations(observed, cube, layer) if of_stations else observed
    found: dict[str, Labels] = {}
    if "network" in observed.variables:
        found["network"] = _spread(observed["network"].values, shape)
    if "land_cover" in fields:
        found["land_cover"] = _names(igbp_group(_fixed(fields["land_cover"])))
    if soil := _fractions(fields, layer):
        texture = usda_texture_class(*soil)
        found["texture_class"] = _names(texture)
        found["texture"] = _names(texture_group(texture))
    for source in (fields, observed):
        if "koeppen" in source.variables and "koeppen" not in found:
            found["koeppen"] = _spread(source["koeppen"].values, shape)
    if "learnt" in fields:
        learnt = fields["learnt"].values
        found["split"] = np.where(learnt == 1, "trained", np.where(learnt == 0, "new", "")).astype(object)
    return {kind: labels.reshape(shape) for kind, labels in found.items()}


def labels_for(kind: str, given: Sequence[str] | Labels, sites: int, there_are: str) -> Labels:
    """Labels given of a kind as text (site,), checked to be as many as the sites."""
    labels = np.ravel(np.asarray(given, object))
    if len(labels) != sites:
        raise VadoseError(f"strata {kind!r} has {len(labels)} labels; the {there_are}")
    return np.array([str(label) for label in labels], object)


def classes(labels: Mapping[str, Labels]) -> Iterator[tuple[str, str, NDArray[np.int64]]]:
    """Each kind, each of its classes, and the positions of the sites in it."""
    for kind, of_site in labels.items():
        for name in sorted(set(of_site) - {""}):
            yield kind, name, np.flatnonzero(of_site == name)


def crossed(labels: Mapping[str, Labels], one: str, other: str) -> Labels:
    """Labels 'a / b' of two kinds at once, '' where either is unknown."""
    pairs = zip(labels[one], labels[other], strict=True)
    return np.array([f"{a} / {b}" if a and b else "" for a, b in pairs], object)


def _at_stations(stations: xr.Dataset, cube: xr.Dataset | None, layer: str) -> xr.Dataset:
    """Fixed fields of the cells the stations lie in; texture of the station where the cells have none."""
    found = xr.Dataset()
    if cube is not None:
        rows, columns = cells_of(stations, cube)
        at = {
            "y": xr.DataArray(np.maximum(rows, 0), dims="station"),
            "x": xr.DataArray(np.maximum(columns, 0), dims="station"),
        }
        wanted = ["land_cover", "koeppen", "learnt", *(n for p in _FRACTIONS for n in _soil_names(p, layer))]
        for name in wanted:
            if name in cube.variables:
                values = _fixed(cube[name]).isel(at, missing_dims="ignore").reset_coords(drop=True)
                inside = xr.DataArray(rows >= 0, dims="station")
                found[name] = values.where(inside, "" if values.dtype.kind in "OUT" else np.nan)
    if not _fractions(found, layer) and "depth" in stations.dims:
        depth = json.loads(stations.attrs.get("layer_depths", "{}")).get(layer, SOIL_DEPTHS.get(layer))
        for part in _FRACTIONS:
            if f"{part}_fraction" in stations and depth in stations.depth.values:
                found[f"{part}_fraction"] = stations[f"{part}_fraction"].sel(depth=depth).reset_coords(drop=True)
    return found


def _soil_names(part: str, layer: str) -> tuple[str, str]:
    return f"{part}_fraction_{SOIL_DEPTHS.get(layer)}cm", f"{part}_fraction"


def _fractions(fields: xr.Dataset, layer: str) -> list[xr.DataArray]:
    """Sand, silt and clay of the layer, missing where they are far from adding up to 1; [] without sand or clay.

    Without silt it is what sand and clay leave.
    """
    for sand, silt, clay in zip(*(_soil_names(part, layer) for part in _FRACTIONS), strict=True):
        if sand in fields and clay in fields:
            known = {name: _fixed(fields[name]).astype(np.float64) for name in (sand, silt, clay) if name in fields}
            rest = (1 - known[sand] - known[clay]).clip(min=0.0)
            parts = [known[sand], known.get(silt, rest), known[clay]]
            total = sum(parts[1:], parts[0])
            return [part.where((total >= 0.5) & (total <= 1.5)) for part in parts]
    return []


def _fixed(field: xr.DataArray) -> xr.DataArray:
    """A field that may be kept for every day, as of the last one."""
    return field.isel(time=-1, drop=True) if "time" in field.dims else field


def _names(numbers: xr.DataArray) -> Labels:
    """Names of the classes of a field with CF flags, '' where there is none."""
    names = ["", *(word.replace("_", " ") for word in str(numbers.attrs["flag_meanings"]).split())]
    labels: Labels = np.array(names, object)[np.nan_to_num(numbers.values).astype(int)]
    return labels


def _spread(values: ArrayLike, shape: tuple[int, ...]) -> Labels:
    """Labels along y, or of every place, at every place."""
    words = np.asarray(values).astype(object)
    if words.ndim < len(shape):
        words = words.reshape(words.shape + (1,) * (len(shape) - words.ndim))
    return np.broadcast_to(words, shape).copy()
