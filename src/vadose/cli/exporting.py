"""The command that writes stores in the forms of others."""

from pathlib import Path
from typing import Annotated

import typer

from vadose.cli.terminal import app, day_of, progress_bars, say


@app.command()
def export(
    store: Annotated[Path, typer.Argument(help="Cube, forecasts, maps or station store.")],
    to: Annotated[str, typer.Option(help="Form: netcdf, cog, zarr2, csv, parquet or stac.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Output path. [default: the store's name with another ending]")
    ] = None,
    variable: Annotated[list[str] | None, typer.Option(help="Variable; repeatable. [default: all]")] = None,
    init: Annotated[
        str | None,
        typer.Option(help="Day of issue (of a cube: day), 'latest', or FIRST..LAST. [default: all]"),
    ] = None,
    lead: Annotated[list[int] | None, typer.Option(help="Lead time [day]; repeatable. [default: all]")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer, such as '0-10 cm'. [default: all]")] = None,
    by: Annotated[
        str | None, typer.Option(help="Means over areas: county, state, or a GeoJSON file of polygons.")
    ] = None,
) -> None:
    """Write a store, or a part of it, in a form that other programs read.

    netcdf: CF-1.11. cog: a folder of GeoTIFFs with overviews, names of bands and colours, for GIS. zarr2: for GDAL
    before 3.11. csv, parquet: a row for each day, lead and cell. stac: a catalogue entry of the store.

    `vadose export forecast.zarr --to cog --init latest --lead 7`

    `vadose export forecast.zarr --to csv --by county --variable soil_moisture_percentile`

    Example: `vadose export forecast.zarr --to netcdf --out forecast.nc`
    """
    from vadose.exporting import export as write

    first, _, last = (init or "").partition("..")
    days = tuple(day if day == "latest" else day_of(day, "--init") for day in (first, last or first)) if init else None
    with progress_bars() as tell:
        path = write(
            store,
            to,
            out,
            variables=variable or (),
            days=(days[0], days[1]) if days else None,
            leads=lead or (),
            layer=layer,
            by=by,
            progress=tell,
        )
    say(str(path))
