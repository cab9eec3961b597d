"""Own polygons: GeoJSON files."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from vadose.areas.borders import Line, oriented
from vadose.areas.named import Area
from vadose.errors import VadoseError

_NAMES = ("name", "NAME", "Name", "title", "label", "id", "ID", "huc8", "HUC8", "huc12", "HUC12", "GEOID")


def own_areas(path: Path) -> tuple[Area, ...]:
    """Polygons of a GeoJSON file, named by the property ``name`` (or ``id``, ``huc8``, ...), else by their number.

    Raises
    ------
    VadoseError
        When the file is no GeoJSON, holds no polygon, or its coordinates are no degrees.
    """
    if not path.is_file():
        raise VadoseError(f"{path}: no such file; expected a GeoJSON file of polygons")
    try:
        told = json.loads(path.read_text("utf-8-sig"))
    except (ValueError, UnicodeDecodeError) as error:
        raise VadoseError(f"{path}: not a GeoJSON file ({error}); export polygons as GeoJSON in WGS 84") from error
    features = _features(told, path)
    _check_projection(told, path)
    found = []
    for number, feature in enumerate(features, 1):
        geometry, properties = feature.get("geometry") or {}, feature.get("properties") or {}
        name = next((str(properties[key]) for key in _NAMES if properties.get(key) not in (None, "")), None)
        where = f"{path}: feature {number}" + (f" ({name})" if name else "")
        if geometry.get("type") not in ("Polygon", "MultiPolygon"):
            raise VadoseError(f"{where} is a {geometry.get('type') or 'feature without geometry'}; expected polygons")
        polygons = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
        rings = [oriented(_ring(ring, where), hole=k > 0) for polygon in polygons for k, ring in enumerate(polygon)]
        if not rings:
            raise VadoseError(f"{where} is empty; expected a polygon with an outer ring")
        found.append(Area(str(number), name or f"polygon {number}", "", tuple(rings)))
    return tuple(found)


def _features(told: Any, path: Path) -> list[dict[str, Any]]:
    kind = told.get("type") if isinstance(told, dict) else None
    if kind == "FeatureCollection" and told.get("features"):
        return list(told["features"])
    if kind == "Feature":
        return [told]
    if kind in ("Polygon", "MultiPolygon"):
        return [{"geometry": told}]
    found = f"an empty {kind}" if kind == "FeatureCollection" else f"type {kind!r}"
    raise VadoseError(f"{path}: {found}; expected a GeoJSON FeatureCollection, Feature, Polygon or MultiPolygon")


def _check_projection(told: dict[str, Any], path: Path) -> None:
    """Refuse the projections that GeoJSON of before 2016 could state."""
    name = str(((told.get("crs") or {}).get("properties") or {}).get("name", "CRS84"))
    if not name.endswith(("CRS84", "4326", "4269")):
        raise VadoseError(f"{path}: coordinates are in {name}; export the polygons in WGS 84 (EPSG:4326)")


def _ring(points: Any, where: str) -> Line:
    try:
        ring = np.array([point[:2] for point in points], float)
    except (TypeError, ValueError, IndexError) as error:
        raise VadoseError(f"{where}: coordinates are no numbers; expected [longitude, latitude] pairs") from error
    if ring.ndim != 2 or len(ring) < 4:
        raise VadoseError(f"{where}: a ring of {len(ring)} points; expected four or more, the last as the first")
    if not np.isfinite(ring).all() or (np.abs(ring) > (180, 90)).any():
        worst = ring[np.argmax(np.abs(ring).max(axis=1))]
        raise VadoseError(f"{where}: a point at {worst[0]:g}, {worst[1]:g}; expected longitude, latitude in degrees")
    return ring if (ring[0] == ring[-1]).all() else np.concatenate([ring, ring[:1]])
