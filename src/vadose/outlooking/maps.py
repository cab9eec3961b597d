"""The outlook of an area: maps, and tables by county."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from vadose.errors import VadoseError
from vadose.outlooking import weather
from vadose.outlooking.places import file_name
from vadose.outlooking.weather import (
    Ahead,
    Issue,
    compared_of,
    forecast_of,
    issue_of,
    past_of,
    recent_weather,
)

if TYPE_CHECKING:
    from vadose.download.roles import Access
    from vadose.predict.outlook.area import Cells
    from vadose.predict.outlook.moisture import Networks
    from vadose.predict.outlook.where import Region

Box = tuple[float, float, float, float]
GEOTIFFS = ("soil_moisture", "soil_moisture_percentile", "drought_class")
"""Variables of maps that are written as GeoTIFFs, a folder for each layer."""


@dataclass(frozen=True)
class Cached:
    """What the cache holds of boxes of cells, see `vadose.predict.outlook.area.Sources`."""

    access: "Access"
    first: str
    issue: Issue
    wanted: Ahead
    forecast: bool
    narrow: xr.Dataset | None
    """Weather of a day of the cells by whose fit the forecast is corrected; None where the area is too wide for one."""
    blocks: dict[Box, tuple[xr.Dataset, xr.Dataset | None]] = field(default_factory=dict, compare=False)
    """Ground and weather ahead of the block at work."""

    def past(self, box: Box, first: pd.Timestamp | None, last: pd.Timestamp) -> xr.Dataset:
        """Past weather from a day on, or from the first one."""
        from vadose.download.roles import past_weather

        begin = self.first if first is None else first.date()
        return of_gridmet(past_weather(box, begin, last.date(), access=self.access))

    def settled(self, box: Box) -> tuple[list[tuple[Path, pd.Timestamp]], pd.Timestamp]:
        """Files of weather that changes no more, the last day of each, and the last day that changes no more."""
        from vadose.download.roles import settled
        from vadose.download.roles.gridmet import SETTLED

        files = settled(box, self.first, access=self.access)
        return [(path, pd.Timestamp(last)) for path, last in files], pd.Timestamp(self.access.today - SETTLED)

    def around(self, box: Box) -> tuple[xr.Dataset, xr.Dataset | None]:
        """Ground and weather of an ensemble of a block of tiles; read once for tiles that follow one another."""
        from vadose.download.roles import ground

        if box not in self.blocks:
            self.blocks.clear()
            ahead = None
            if self.forecast:
                ahead = forecast_of(box, self.issue, self.wanted, self.access, self.narrow)
            self.blocks[box] = ground(box, access=self.access), ahead
        return self.blocks[box]

    def kept(self, box: Box) -> Path:
        """Folder for what is kept of the box from day to day."""
        from vadose.download.roles.where import cells_of

        return self.access.folder / "outlook" / cells_of(box).name


def outlook_over(region: "Region", out: Path, weights: "Networks", access: "Access", ahead: Ahead) -> xr.Dataset:
    """The outlook of an area, written: store, GeoTIFFs, figure and tables."""
    from vadose.artefact import writing
    from vadose.door import open_store
    from vadose.download.roles import ground
    from vadose.download.roles.correction import WIDEST
    from vadose.parallel.workers import cores
    from vadose.predict.outlook import area
    from vadose.predict.outlook.area_map import draw_area
    from vadose.predict.outlook.chains import plan_chains
    from vadose.predict.outlook.point import Places
    from vadose.predict.outlook.told import attributes_of, changing_of, notes_of
    from vadose.publish.export_cog import write_cogs

    cells = area.Cells.of(region)
    box = cells.box(cells.middle())
    middle = of_gridmet(past_of(box, ahead, access))
    issue = issue_of(middle, ahead, access)
    narrow = middle if max(np.ptp(cells.lat), np.ptp(cells.lon)) <= WIDEST else None
    issued, forecast = pd.Timestamp(issue.day), forecast_of(box, issue, ahead, access, narrow)
    plan = plan_chains(middle, forecast, issued + pd.Timedelta(days=ahead.days))
    cached = Cached(
        access,
        weather.FIRST,
        issue,
        replace(ahead, correct=False),
        forecast is not None,
        None if narrow is None else narrow.isel(time=slice(-1, None)),
    )
    if not access.offline:
        _fetch(cells, cached)
    quiet = replace(access, offline=True, client=None, say=_unheard, progress=_unheard)
    maps = area.Maps(
        out / "outlook.zarr",
        cells,
        replace(cached, access=quiet, blocks={}),
        weights,
        plan,
        issued,
        [lead for lead in area.LEADS if lead <= ahead.days],
        changing_of(weights),
    )
    known = Places(middle, ground(box, access=access), forecast)
    compared = compared_of(region, issue.day, access)
    told = attributes_of(known, plan.told(), weights, issued, access.offline, compared)
    out.mkdir(parents=True, exist_ok=True)
    path = area.map_area(
        out / "outlook.zarr",
        maps,
        told | {"region": region.name},
        title=f"soil-moisture outlook of {issued:%Y-%m-%d}, {region.name}",
        workers=cores(),
        progress=lambda share: access.progress("estimating soil moisture", share),
    )
    store = open_store(path)
    for layer in store.layer.values:
        write_cogs(store[[*GEOTIFFS]].sel(layer=layer, drop=True), out / "geotiff" / file_name(str(layer)))
    draw_area(store, out / f"{file_name(region.name)}.png", region.name, notes_of(store.attrs))
    with writing(out / "counties.csv") as scratch:
        area.county_table(store).to_csv(scratch, index=False, float_format="%.4f")
    return store


def of_gridmet(past: xr.Dataset) -> xr.Dataset:
    """Past weather of maps, whose normals are gridMET's.

    Raises
    ------
    VadoseError
        When another source stood in.
    """
    if not past.attrs["source"].startswith("gridMET"):
        raise VadoseError(
            f"outlook: gridMET is away and maps are of its weather alone, found {past.attrs['source']}; try again "
            "later, or ask for places by --at or --points"
        )
    return past


def _fetch(cells: "Cells", cached: Cached) -> None:
    """Put into the cache what maps need."""
    units = list(cells.blocks())
    for k, (block, tile) in enumerate(units):
        cached.around(cells.box(block))
        of_gridmet(recent_weather(cells.box(tile), cached.access))
        cached.access.progress("fetching", (k + 1) / len(units))


def _unheard(*of: Any) -> None:
    """Says nothing, in other processes too."""
