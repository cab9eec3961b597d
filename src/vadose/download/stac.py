"""Landsat 8 / 9 and Sentinel-1 scenes that a STAC catalogue lists, their bands cut to the box where they are."""

from typing import Any

import requests

from vadose.download.area import needs_boxes, touching
from vadose.download.client import AgainError, Client, service
from vadose.download.plan import RemoteFile, Request, part_of
from vadose.errors import VadoseError, extras

# Collection, query beyond box and days, and the bands fetched when none is named.
COLLECTIONS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "landsat": (
        "landsat-c2-l2",
        {"platform": {"in": ["landsat-8", "landsat-9"]}},
        ("blue", "green", "red", "nir08", "swir16", "swir22", "lwir11", "qa_pixel", "qa_radsat", "mtl.txt"),
    ),
    "sentinel1": ("sentinel-1-rtc", {"sar:instrument_mode": {"eq": "IW"}}, ("vv", "vh")),
}
SMALL = 20_000
"""Bytes of a file of metadata beside the bands."""


def list_scenes(client: Client, request: Request, product: str) -> list[RemoteFile]:
    """Bands of every scene that touches the box on the days; a folder a scene, named as it.

    Addresses are signed when they are fetched, unless VADOSE_URL_STAC_SIGN is set to nothing: other catalogues than
    the Planetary Computer's want no signature.
    """
    collection, query, usual = COLLECTIONS[product]
    boxes = needs_boxes(request.boxes, product)
    files = []
    for scene in _search(client, request, collection, query):
        extent = tuple(scene.bbox) if scene.bbox else None
        within = touching(boxes, extent) if extent else boxes
        missing = [band for band in request.variables if band not in scene.assets]
        if missing:
            raise VadoseError(f"{product}: {scene.id} has no {missing}; choose from {sorted(scene.assets)}")
        for band in request.variables or usual:
            if band not in scene.assets or not within:
                continue
            url = scene.assets[band].href
            name = url.split("?")[0].rsplit("/", 1)[1]
            cut = name.lower().endswith((".tif", ".tiff"))
            files.append(
                RemoteFile(
                    f"{scene.id}/{name}",
                    url,
                    login="planetary-computer" if service("stac_sign") else "",
                    part=part_of(within) if cut else {},
                    crop=within if cut else (),
                    extent=extent,
                    about=None if cut else SMALL,
                )
            )
    return files


def _search(client: Client, request: Request, collection: str, query: dict[str, Any]) -> list[Any]:
    with extras():
        import pystac_client
        from pystac_client.stac_api_io import StacApiIO
    # Places far apart lie in few of the scenes of the box around them.
    where: dict[str, Any] = {"bbox": request.bbox}
    if len(request.boxes) > 1:
        rings = [[[(w, s), (e, s), (e, n), (w, n), (w, s)]] for w, s, e, n in request.boxes]
        where = {"intersects": {"type": "MultiPolygon", "coordinates": rings}}
    days = f"{request.first:%Y-%m-%d}T00:00:00Z/{request.last:%Y-%m-%d}T23:59:59Z"

    def attempt() -> list[Any]:
        try:
            catalogue = pystac_client.Client.open(
                service("stac"), stac_io=StacApiIO(timeout=client.timeout, max_retries=None)
            )
            found = catalogue.search(collections=[collection], **where, datetime=days, query=query)
            return list(found.items())
        except pystac_client.exceptions.APIError as error:
            status = getattr(error, "status_code", None)
            if status is not None and 400 <= status < 500 and status not in (408, 425, 429):
                raise VadoseError(f"{collection}: the catalogue refuses the search ({status})") from None
            raise AgainError("the catalogue answered an error") from None
        except (requests.RequestException, ValueError, KeyError) as error:
            raise AgainError(f"the catalogue cannot be read ({type(error).__name__})") from None

    return client.persist(collection, attempt)
