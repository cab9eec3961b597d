"""The command from a place to its soil-moisture outlook."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vadose.cli.terminal import app, box_of, console, progress_bars, say
from vadose.errors import VadoseError

if TYPE_CHECKING:
    import xarray as xr
    from rich.table import Table

TOLD = (0, 1, 3, 7, 14, 21, 30)
"""Leads in the table of the terminal [day]."""
PRINTED = 5
"""Places whose tables are printed, at most."""
COUNTIES = 12
"""Counties that are printed, at most."""
COVERED = 0.5
"""Share of a county that the map has to cover for it to be printed, unless none is covered as much."""


@app.command()
def outlook(
    at: Annotated[str | None, typer.Option(help="'LAT,LON' in degrees, such as 39.10,-96.60.")] = None,
    county: Annotated[str | None, typer.Option(help="County by name or FIPS code: map of 4 km.")] = None,
    state: Annotated[str | None, typer.Option(help="State by name or postal code: map of 4 km.")] = None,
    bbox: Annotated[str | None, typer.Option(help="'west,south,east,north' in degrees: map of 4 km.")] = None,
    points: Annotated[Path | None, typer.Option(help="CSV table of places: name, lat, lon.")] = None,
    sensor: Annotated[Path | None, typer.Option(help="Own table of soil moisture, to be taken into account.")] = None,
    mapping: Annotated[Path | None, typer.Option(help="YAML file: what the columns of --sensor hold.")] = None,
    days: Annotated[int, typer.Option(help="Days ahead, 1 to 30.")] = 30,
    members: Annotated[int, typer.Option(help="Members of the GEFS ensemble; 0 for past years alone.")] = 4,
    forecast_days: Annotated[int, typer.Option(help="Days ahead of the ensemble that are used, up to 34.")] = 15,
    correct: Annotated[
        bool, typer.Option("--correct", help="Fetch past runs of GEFS (1.4 GB a month) that it is corrected by.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Use what was fetched before alone.")] = False,
    cache: Annotated[Path | None, typer.Option(help="Folder of fetched data. [default: ~/.cache/vadose]")] = None,
    networks: Annotated[Path | None, typer.Option(help="Weights of networks. [default: the packaged ones]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the figures, the store and its tables.")] = Path(
        "outlook"
    ),
) -> None:
    """Soil moisture of any place in the conterminous United States: today and 1 to 30 days ahead, in three layers.

    Writes a figure of each place, outlook.zarr and outlook.csv. The first time at a place the weather of 36 years is
    fetched, which takes minutes; later seconds. Nothing needs a login.

    Examples: `vadose outlook --at 39.10,-96.60` · `vadose outlook --county "Riley, KS"` ·
    `vadose outlook --points farms.csv --out farms` · `vadose outlook --at 39.10,-96.60 --sensor my.csv --offline`
    """
    from vadose.outlooking import Ahead
    from vadose.outlooking import outlook as outlook_of
    from vadose.predict.outlook.told import notes_of

    area = county or state or bbox
    if not (at or points or area or sensor):
        raise VadoseError(
            "outlook: give --at, --county, --state, --bbox or --points; --sensor alone does where it says its place"
        )
    with progress_bars() as tell:
        store = outlook_of(
            latlon_of(at) if at else None,
            points=points,
            county=county,
            state=state,
            bbox=box_of(bbox) if bbox else None,
            sensor=sensor,
            mapping=mapping,
            ahead=Ahead(days, forecast_days, members, correct=correct),
            offline=offline,
            cache=cache,
            networks=networks,
            out=out,
            say=lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True),
            progress=tell,
        )
    if as_json:
        from vadose.predict.outlook.place_store import as_json as plain

        say(json.dumps(plain(store)))
        return
    if area:
        print_counties(out / "counties.csv", store)
    else:
        print_places(store)
    for note in notes_of(store.attrs):
        say(note)
    say(f"{out}: {', '.join(sorted(path.name for path in out.iterdir() if not path.name.startswith('.')))}")


def latlon_of(text: str) -> tuple[float, float]:
    """Latitude and longitude of 'LAT,LON'."""
    parts = [part for part in re.split(r"[,;\s]+", text.strip()) if part]
    try:
        lat, lon = (float(part) for part in parts)
    except ValueError as error:
        raise VadoseError(f"--at {text!r}: expected 'LAT,LON' in degrees, such as 39.10,-96.60") from error
    return lat, lon


def print_places(store: "xr.Dataset") -> None:
    """Print the tables of the first places."""
    from rich.console import Console

    from vadose.predict.outlook.place_store import table_of

    rows = table_of(store)
    names = list(dict.fromkeys(rows.place))
    for name in names[:PRINTED]:
        of_place = rows[rows.place == name]
        first = of_place.iloc[0]
        title = f"{name} ({first.latitude:.2f} N, {-first.longitude:.2f} W), {first.date}{simulated_of(store)}"
        table = _table(title, ("layer", "day", "date", "m3 m-3", "90 % range", "percentile", "class", "D1+"))
        for layer, of_layer in of_place.groupby("layer", sort=False):
            shown = of_layer[of_layer.lead_days.isin(TOLD)]
            for k, (_, row) in enumerate(shown.iterrows()):
                table.add_row(
                    str(layer) if k == 0 else "",
                    "today" if row.lead_days == 0 else f"+{row.lead_days} d",
                    row.date[5:],
                    f"{row.q50:.3f}",
                    f"{row.q05:.2f}-{row.q95:.2f}",
                    f"{row.percentile:.0f}",
                    row.drought_class,
                    f"{100 * row.probability_d1:.0f} %",
                    end_section=k == len(shown) - 1,
                )
        Console(markup=False).print(table)
    if len(names) > PRINTED:
        say(f"and {len(names) - PRINTED} more places in outlook.csv")


def print_counties(path: Path, store: "xr.Dataset") -> None:
    """Print the table of the counties, the driest first by today's percentile of the deepest layer with roots."""
    import pandas as pd
    from rich.console import Console

    rows = pd.read_csv(path, dtype={"code": str})
    if (whole := rows.covered >= COVERED).any():
        rows = rows[whole]
    title = f"{store.attrs['region']}, {rows.date.iloc[0]}{simulated_of(store)}"
    leads = rows.lead_days.unique()
    table = _table(title, ("county", "layer", *("today" if k == 0 else f"+{k} d" for k in leads), "D1+ today"))
    of_roots = rows[(rows.layer == "10-40 cm") & (rows.lead_days == 0)].sort_values("percentile")
    for name in of_roots.area[:COUNTIES]:
        for k, (layer, of_layer) in enumerate(rows[rows.area == name].groupby("layer", sort=False)):
            shares = [f"{value:.0f}" for value in of_layer.percentile]
            cells = (str(name) if k == 0 else "", str(layer), *shares, f"{100 * of_layer.share_d1.iloc[0]:.0f} %")
            table.add_row(*cells, end_section=k == 2)
    Console(markup=False).print(table)
    say("percentiles of 1991-2020 and the share of the county in drought, means of cells")
    if len(of_roots) > COUNTIES:
        say(f"and {len(of_roots) - COUNTIES} less dry counties in counties.csv")


def simulated_of(store: "xr.Dataset") -> str:
    """What a title says of simulated data."""
    return " - SIMULATED DATA" if store.attrs["simulated"] == "true" else ""


def _table(title: str, columns: Sequence[str]) -> "Table":
    from rich.table import Table

    table = Table(title=title)
    for column in columns:
        left = column in ("layer", "day", "class", "county")
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    return table
