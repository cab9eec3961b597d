"""The command that shows stores on a page."""

from pathlib import Path
from typing import Annotated

import typer

from vadose.cli.terminal import app, box_of, day_of, say, span_of
from vadose.errors import VadoseError


@app.command()
def view(
    stores: Annotated[
        list[Path], typer.Argument(help="Stores of forecasts, percentiles, maps or cubes: models and layers.")
    ],
    observed: Annotated[
        list[Path] | None, typer.Option(help="Cube or station store with observations; repeatable.")
    ] = None,
    scores: Annotated[
        list[Path] | None, typer.Option(help="Output folder of 'vadose evaluate', drawn as dots; repeatable.")
    ] = None,
    normals: Annotated[
        str | None, typer.Option(help="'FIRST..LAST': days of the observations' normals (mean and yearly harmonic).")
    ] = None,
    bbox: Annotated[str | None, typer.Option(help="Area to show: west,south,east,north in degrees.")] = None,
    area: Annotated[
        str | None, typer.Option(help="US state, or county such as 'Riley, KS', whose box is shown.")
    ] = None,
    first: Annotated[str | None, typer.Option("--from", help="First day of issue to show.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day of issue to show.")] = None,
    lead: Annotated[list[int] | None, typer.Option(help="Lead time to show [days]; repeatable. [default: all]")] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write one HTML file that holds its data and opens without a server.")
    ] = None,
    title: Annotated[str, typer.Option(help="Title of the page.")] = "Soil moisture",
    host: Annotated[
        str, typer.Option(help="Address to serve at; 0.0.0.0 shows the stores to the network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to serve at.")] = 8765,
) -> None:
    """Show stores on a page: maps of moisture, percentile, drought class, spread and error; a click draws a series.

    Serves the page to this machine until interrupted, with positions and areas for programs at /collections (OGC
    EDR), or writes it into one file to send.

    Examples: `vadose view lstm.zarr persistence.zarr --observed cube.zarr --scores evaluation`

    `vadose view forecast.zarr --area Nebraska --save nebraska.html`
    """
    from vadose.areas import find
    from vadose.viewing import view as show

    if area and bbox:
        raise VadoseError("--area and --bbox both name the part to show; give one of them")
    box = box_of(bbox) if bbox else find(area, "county" if "," in area else "state").box if area else None
    days = [text and day_of(text, option) for text, option in ((first, "--from"), (last, "--to"))]
    saved = show(
        stores,
        save,
        observed=observed or (),
        scores=scores or (),
        normals=span_of(normals) if normals else None,
        bbox=box,
        days=(days[0], days[1]),
        leads=lead or (),
        title=title,
        host=host,
        port=port,
        tell=lambda address: say(f"{address} (stop: Ctrl-C)"),
    )
    if saved is not None:
        say(f"{saved} ({saved.stat().st_size / 1e6:.1f} MB)")
