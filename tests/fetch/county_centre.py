"""The data centres of a county on this machine: simulated granules, listed and served as by their catalogues."""

import io
import json
import threading
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.fetch.data_centre import Centre, Handler, serve

LANDSAT = {"blue": 2, "green": 3, "red": 4, "nir08": 5, "swir16": 6, "swir22": 7}
SCENES = {
    "landsat-c2-l2": (
        "landsat",
        {f"_SR_B{n}.TIF": name for name, n in LANDSAT.items()} | {"_QA_PIXEL.TIF": "qa_pixel"},
    ),
    # Without the incidence angle, as in the catalogue.
    "sentinel-1-rtc": ("sentinel1", {"_VV.tif": "vv", "_VH.tif": "vh"}),
}
COLLECTIONS = {"SPL4SMGP": "smap_l4", "MOD11A1": "mod11a1"}


class CountyCentre(Centre):
    """Serves a folder of a folder a product; within it the services of ``fetch`` are this server's."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.folder = folder
        for name in ("cmr", "stac", "gridmet_subset", "3dep", "nlcd", "polaris"):
            patch.setenv(f"VADOSE_URL_{name.upper()}", self.url(f"/{name}"))
        patch.setenv("VADOSE_URL_STAC_SIGN", "")
        patch.setenv("EARTHDATA_TOKEN", "tok")
        for path in folder.rglob("*"):
            if path.is_file():
                self.on(f"/files/{path.relative_to(folder)}", lambda to, path=path: serve(path.read_bytes())(to))
        self.on("/cmr/search/granules.umm_json", self._granules)
        self.on("/stac", as_json(self._catalogue()))
        self.on("/stac/search", self._scenes)
        for product, places in {
            "gridmet": lambda path: [f"/gridmet_subset/{path.stem.split('_')[0]}/{path.name}"],
            "3dep": lambda path: [f"/3dep/1/TIFF/current/{path.stem.rsplit('_')[-1]}/{path.name}"],
            "polaris": lambda path: [f"/polaris/{path.relative_to(folder / 'polaris')}"],
        }.items():
            for path in self._files(product):
                for place in places(path):
                    self.answers[place] = self.answers[f"/files/{path.relative_to(folder)}"]
        (land,) = self._files("nlcd")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.write(land, land.name)
        self.on(f"/nlcd/{land.stem}.zip", serve(packed.getvalue()))

    def __enter__(self) -> "CountyCentre":
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def _files(self, product: str) -> list[Path]:
        endings = (".nc", ".tif", ".TIF", ".h5", ".hdf")
        return sorted(path for path in (self.folder / product).rglob("*") if path.suffix in endings)

    def _url(self, path: Path) -> str:
        return self.url(f"/files/{path.relative_to(self.folder)}")

    def _granules(self, to: Handler) -> None:
        asked = parse_qs(urlsplit(to.path).query)
        items = [
            {
                "meta": {},
                "umm": {"GranuleUR": path.name, "RelatedUrls": [{"Type": "GET DATA", "URL": self._url(path)}]},
            }
            for path in self._files(COLLECTIONS[asked["short_name"][0]])
        ]
        as_json({"hits": len(items), "items": items}, CMR_Hits=len(items))(to)

    def _catalogue(self) -> dict[str, Any]:
        stac = "https://api.stacspec.org/v1.0.0"
        links = {"self": "", "root": "", "search": "/search"}
        return {
            "type": "Catalog",
            "id": "county",
            "description": "a county",
            "stac_version": "1.0.0",
            "conformsTo": [f"{stac}/core", f"{stac}/item-search", f"{stac}/item-search#query"],
            "links": [
                {
                    "rel": rel,
                    "href": self.url(f"/stac{end}"),
                    "method": "POST" if end else "GET",
                    "type": "application/geo+json",
                }
                for rel, end in links.items()
            ],
        }

    def _scenes(self, to: Handler) -> None:
        asked = json.loads(to.body)
        (collection,) = asked["collections"]
        product, assets = SCENES[collection]
        west, south, east, north = asked["bbox"]
        features = []
        for scene in sorted((self.folder / product).iterdir()):
            found = {
                name: {"href": self._url(path)}
                for path in sorted(scene.iterdir())
                for ending, name in assets.items()
                if path.name.endswith(ending)
            }
            features.append(
                {
                    "type": "Feature",
                    "stac_version": "1.0.0",
                    "stac_extensions": [],
                    "id": scene.name,
                    "geometry": {"type": "Point", "coordinates": [(west + east) / 2, (south + north) / 2]},
                    "bbox": [west, south, east, north],
                    "properties": {"datetime": "2019-06-01T17:30:00Z"},
                    "links": [],
                    "collection": collection,
                    "assets": found,
                }
            )
        as_json({"type": "FeatureCollection", "features": features, "links": []})(to)


def as_json(value: object, **headers: object) -> Any:
    """An answer in JSON."""
    return serve(json.dumps(value).encode(), etag=None, Content_Type="application/json", **headers)
