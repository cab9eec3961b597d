"""Commands from files to a cube and a station store. They import the stages themselves, so that help is fast."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from vadose.cli.terminal import (
    AsJson,
    Cube,
    Out,
    Scheduler,
    app,
    box_of,
    console,
    day_of,
    progress_bars,
    say,
    say_json,
    warn,
)
from vadose.errors import VadoseError


@app.command()
def fetch(
    product: Annotated[
        str | None, typer.Argument(help="Product, such as SPL3SMP_E, gridmet, solus, scan; none with --recipe.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="All products of a recipe: a YAML file or a built-in name."),
    ] = None,
    at: Annotated[
        Path | None, typer.Option(help="Station store: fetch each scene once, of it the parts around the stations.")
    ] = None,
    bbox: Annotated[
        str | None, typer.Option(help="Area: 'west,south,east,north' in degrees. [default: the recipe's]")
    ] = None,
    first: Annotated[str | None, typer.Option("--from", help="First day: YYYY-MM-DD. [default: the recipe's]")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day. [default: the recipe's]")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Output folder. [default: data/READER; of a recipe data]"),
    ] = None,
    variable: Annotated[
        list[str] | None,
        typer.Option(help="Variable, by the product's own name; repeatable. [default: the usual ones]"),
    ] = None,
    subset: Annotated[
        bool, typer.Option("--subset", help="Let the server subset IMERG, NLDAS, SMAP L3 and MOD09CMG to the area.")
    ] = False,
    as_printed: Annotated[
        bool, typer.Option("--as-printed", help="With --recipe: the sources its paper took, in whole granules.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Parallel connections.")] = 4,
    verify: Annotated[bool, typer.Option("--verify", help="Check the checksums of existing files.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List files and sizes without fetching.")] = False,
) -> None:
    """Fetch a product's files for an area and a period, or all a recipe needs. An interrupted download resumes.

    With --recipe each product goes to the folder of its name, as `vadose build` and `vadose study` read it. --dry-run
    then prints files, size and login by product; sizes with ~ are estimates. A product that fails does not stop the
    others and is named at the end.

    Logins are read from `~/.netrc` or the environment (`EARTHDATA_TOKEN`, or `EARTHDATA_USERNAME` and
    `EARTHDATA_PASSWORD`) and are never shown.

    Examples: `vadose fetch gridmet --bbox=-100,38,-95,42 --from 2019-01-01 --to 2019-12-31 --variable pr` ·
    `vadose fetch --recipe conus --bbox=-101,39,-99,41 --out granules --dry-run`
    """
    from vadose import api
    from vadose.download import READERS, RecipePlan
    from vadose.fetching import plan as plan_of

    begin, end = (day_of(text, option) if text else None for text, option in ((first, "--from"), (last, "--to")))
    box = box_of(bbox) if bbox else None
    what = partial(plan_of, product, recipe=recipe, at=at, bbox=box, days=(begin, end))
    plan = what(variables=variable, subset=subset, as_printed=as_printed)
    whole = isinstance(plan, RecipePlan)
    say(plan.table() if dry_run or whole else plan.table().splitlines()[-1])
    if isinstance(plan, RecipePlan):
        folder, faults = out or Path("data"), plan.faults()
        if plan.offline():
            warn(plan.offline())
    else:
        folder, faults = out or Path("data") / READERS.get(plan.product, plan.product), []
    if dry_run and faults:
        raise VadoseError("\n".join(faults))
    if dry_run:
        return
    with progress_bars() as tell:
        paths = api.fetch(plan, out=folder, workers=workers, verify=verify, progress=tell)
    say(f"{folder}: {len(paths)} files")


@app.command()
def inspect(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders of one product, as published.")],
    product: Annotated[str | None, typer.Option(help="Product to read it as. [default: recognised]")] = None,
    bbox: Annotated[str | None, typer.Option(help="Read only this box: 'west,south,east,north' in degrees.")] = None,
    as_json: AsJson = False,
) -> None:
    """Describe a file: product, version, time, grid, variables, units, fraction of valid values.

    *present* is the fraction of cells with a value, *valid* the fraction kept by the default quality rule; *lowest* and
    *highest* are those of valid values.

    Example: `vadose inspect SMAP_L3_SM_P_E_20190701_R18290_001.h5 --bbox=-100,38,-95,42`
    """
    from rich.table import Table

    from vadose.products.inspection import inspect as inspect_path

    box = box_of(bbox) if bbox else None
    if as_json:
        say_json([{"path": str(path)} | asdict(inspect_path(path, product=product, bbox=box)) for path in paths])
        return
    for path in paths:
        found = inspect_path(path, product=product, bbox=box)
        say(f"{path}: {found.product}")
        for word, text in found.facts.items():
            say(f"  {word:<12} {text}")
        table = Table(
            "variable", "units", "dimensions", "present", "valid", "lowest", "highest", box=None, pad_edge=False
        )
        for v in found.variables:
            shares = (f"{100 * share:.1f} %" for share in (v.there, v.valid))
            table.add_row(v.name, v.units, v.dims, *shares, f"{v.low:.5g}", f"{v.high:.5g}")
        Console(width=120).print(table, highlight=False)


@app.command()
def build(
    source: Annotated[
        Path | None, typer.Argument(help="Folder of the data as published; file, store or address of your own.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Output store. [default: cube.zarr; with --at: at_stations.zarr]")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Recipe of the cube, a YAML file or a built-in name; SOURCE then has one folder per product."
        ),
    ] = None,
    product: Annotated[
        str | None, typer.Option(help="Without a recipe: database in the folder. [default: recognised]")
    ] = None,
    at: Annotated[
        Path | None,
        typer.Option(
            help="Station store: write the cube's values at its stations, filled as in the cube, instead of it."
        ),
    ] = None,
    bbox: Annotated[
        str | None, typer.Option(help="Area: 'west,south,east,north' in degrees. [default: the recipe's]")
    ] = None,
    first: Annotated[str | None, typer.Option("--from", help="First day. [default: the recipe's]")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day. [default: the recipe's]")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes on this machine. [default: all cores]")] = None,
    scheduler: Scheduler = None,
    explain: Annotated[
        Path | None, typer.Option(help="Grid of your own: print what it is taken for, to be saved as --recipe.")
    ] = None,
) -> None:
    """Build a Zarr cube from gridded data as published: granules by a recipe, or a database.

    An interrupted build resumes; readers see the previous cube until the build is complete. A repeated build with a
    later last day, or with new or changed granules, reads and writes only their days; an earlier last day shortens the
    cube. granules.csv in the cube lists its granules.

    Examples: `vadose build granules --recipe demo --out cube.zarr` · `vadose build data/conusv4f1` ·
    `vadose build granules --recipe demo --at stations.zarr` ·
    `vadose build --explain mine.nc > mine.yaml`, correct it, `vadose build mine.nc --recipe mine.yaml` ·
    `vadose build granules --recipe county_100m --bbox=-97.3,35.0,-96.7,35.5 --from 2020-01-01 --to 2020-12-31`
    """
    from vadose import api
    from vadose.cube.own_explain import explain_grid

    if explain is not None:
        typer.echo(explain_grid(explain), nl=False)
        return
    if source is None:
        raise VadoseError("give the folder of the data, or a file of your own with --recipe (see --explain)")
    days = (first and day_of(first, "--from"), last and day_of(last, "--to"))
    with progress_bars() as tell:
        made = api.build(
            source,
            recipe,
            out=out,
            at=at,
            bbox=box_of(bbox) if bbox else None,
            days=days,
            product=product,
            workers=workers,
            scheduler=scheduler,
            progress=tell,
        )
    _say_left_out({key: json.loads(made.attrs.get(key, "{}")) for key in _LEFT_OUT})
    for key in ("absent", "unread"):
        for name, reason in json.loads(made.attrs.get(key, "{}")).items():
            say(f"{key} {name}: {reason}")
    say(f"{out or ('at_stations.zarr' if at else 'cube.zarr')}: {dict(made.sizes)}")


_LEFT_OUT = (
    "incomplete_scenes",
    "never_observed",
    "broken_granules",
    "superseded_granules",
    "files_beside_granules",
    "days_without_granule",
)


def _say_left_out(left: dict[str, Any]) -> None:
    """Print granules that were left out, with the reason; old versions, other files, and days without a granule."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in left["broken_granules"].items():
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        say(f"left out {names[0]}{more}: {reason}")
    for name, absent in list(left["incomplete_scenes"].items())[:3]:
        say(f"{name}: {absent}")
    if (others := len(left["incomplete_scenes"]) - 3) > 0:
        say(f"{others} more scenes lack bands; see granules.csv")
    for name, share in left["never_observed"].items():
        say(f"{name}: {share:.1%} of the cells were never observed and have no value on the last day")
    if older := left["superseded_granules"]:
        name, newer = next(iter(older.items()))
        say(f"older versions left out: {len(older)} granules, such as {name} (newer: {newer}); see granules.csv")
    for product, endings in left["files_beside_granules"].items():
        say(f"{product}: {sum(endings.values())} other files next to the granules ({', '.join(endings)})")
    for product, runs in left["days_without_granule"].items():
        more = f" and {len(runs) - 3} spells before" if len(runs) > 3 else ""
        say(f"{product}: no granule of {', '.join(runs[-3:])}{more}; these days are missing")


@app.command()
def doctor(
    cube: Cube,
    out: Annotated[Path | None, typer.Option(help="Output folder for tables and a figure.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check a cube for gaps, wrong ranges or units, stuck or repeated values, breaks and old product versions.

    Exits with 1 if it finds errors. --out writes findings.csv, ranges.csv, coverage.csv and diagnosis.png.

    Example: `vadose doctor cube.zarr --out diagnosis`
    """
    from vadose.cube import open_cube
    from vadose.cube.doctor import as_text, examine, write_diagnosis

    with progress_bars() as tell:
        diagnosis = examine(open_cube(cube), progress=tell)
    if as_json:
        ranges = diagnosis.ranges.reset_index().to_dict("records")
        say_json({"facts": diagnosis.facts, "findings": [asdict(one) for one in diagnosis.findings], "ranges": ranges})
    else:
        typer.echo(as_text(diagnosis), nl=False)
    if out is not None:
        write_diagnosis(diagnosis, out)
        (console.print if as_json else say)(f"{out}: tables and a figure")
    raise typer.Exit(1 if diagnosis.errors else 0)


@app.command()
def match(
    stations: Annotated[Path, typer.Argument(help="Store made by 'vadose stations'.")],
    cube: Cube,
    out: Out = Path("stations.csv"),
    picture: Annotated[Path | None, typer.Option("--map", help="Figure of the stations on the cube's grid.")] = None,
) -> None:
    """Match stations to cells of a cube: distance from the cell's centre, land cover, soil.

    Example: `vadose match stations.zarr cube.zarr --out stations.csv --map stations.png`
    """
    from vadose.artefact import writing
    from vadose.cube import open_cube
    from vadose.door import open_store
    from vadose.insitu.matchups import count_stations, match_stations, plot_stations

    grid = open_cube(cube)
    table = match_stations(open_store(stations), grid, out)
    for counts in count_stations(table):
        say(counts.to_string())
    if picture is not None:
        with writing(picture) as scratch:
            plot_stations(table, grid).savefig(scratch, format=picture.suffix.lstrip(".") or "png", dpi=150)
    say(f"{out}: {len(table)} stations")


@app.command()
def twin(
    out: Out = Path("world"),
    first: Annotated[str, typer.Option("--from", help="First day.")] = "2015-01-01",
    last: Annotated[str, typer.Option("--to", help="Last day.")] = "2016-09-30",
    bbox: Annotated[str, typer.Option(help="'west,south,east,north' in degrees.")] = "-100.4,39.5,-99.3,40.5",
    everything: Annotated[
        bool, typer.Option(help="Also one day of every product, and 100 m products of a county.")
    ] = False,
    more: Annotated[
        list[str] | None,
        typer.Option("--with", help="Further product of all days: nldas_noah, mod09ga or mod09cmg; repeatable."),
    ] = None,
    stations: Annotated[int, typer.Option(help="Number of stations.")] = 12,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
) -> None:
    """Simulate a world with known truth and write it in the formats of the data centres.

    Example: `vadose twin --from 2019-01-01 --to 2019-12-31 --out world`

    For the forecast paper: add `--with nldas_noah --with mod09cmg`.
    """
    from vadose.parallel.workers import cores
    from vadose.twin.world import build_granule_world

    with progress_bars() as tell:
        build_granule_world(
            out,
            day_of(first, "--from"),
            day_of(last, "--to"),
            bbox=box_of(bbox),
            everything=everything,
            more=more or (),
            stations=stations,
            seed=seed,
            workers=cores(),
            progress=tell,
        )
    say(str(out))


@app.command()
def stations(
    out: Out = Path("stations.zarr"),
    uscrn: Annotated[Path | None, typer.Option(help="Folder of USCRN daily01 files, YEAR/CRND0103-*.txt.")] = None,
    scan: Annotated[Path | None, typer.Option(help="Folder of SCAN daily CSV exports.")] = None,
    ismn: Annotated[Path | None, typer.Option(help="ISMN archive, folder or zip.")] = None,
    table: Annotated[
        list[Path] | None, typer.Option(help="Own table, CSV, Parquet or NetCDF, or a folder of them; repeatable.")
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="YAML file: what the columns of own tables hold.")] = None,
    metadata: Annotated[
        Path | None, typer.Option(help="Folder of station coordinates and soils; for own tables a CSV file.")
    ] = None,
    explain: Annotated[
        Path | None, typer.Option(help="Own table: print what its columns are taken for, to be saved as --mapping.")
    ] = None,
) -> None:
    """Build the station store from USCRN, SCAN and ISMN files or own tables, with quality flags.

    Example: `vadose stations --uscrn data/uscrn_daily01 --metadata data/station_meta --out stations.zarr`

    Own tables: `vadose stations --explain mine.csv > mine.yaml`; correct mine.yaml; then
    `vadose stations --table mine.csv --mapping mine.yaml --out stations.zarr`
    """
    from vadose.door import open_store
    from vadose.insitu.store import COUNTS, build_stations
    from vadose.insitu.tables import explain_table

    if explain is not None:
        typer.echo(explain_table(explain), nl=False)
        return
    with progress_bars() as tell:
        build_stations(
            out,
            uscrn=uscrn,
            scan=scan,
            ismn=ismn,
            tables=table or (),
            mapping=mapping,
            metadata=metadata,
            progress=tell,
        )
    store = open_store(out)
    for name, reason in json.loads(store.attrs["left_out"]).items():
        say(f"left out {name}: {reason}")
    counts = json.loads(store.attrs["out_of_range"]) | {name: store.attrs[name] for name in COUNTS}
    if any(counts.values()):
        say("set to missing or dropped: " + ", ".join(f"{name} {n}" for name, n in counts.items() if n))
    say(f"{out}: {dict(store.sizes)}")
