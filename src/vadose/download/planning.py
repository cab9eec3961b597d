"""What has to be fetched of one product, and how large it is: listed, nothing fetched."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime

from vadose.download.area import BBox, checked
from vadose.download.client import AgainError, Client, MissingError
from vadose.download.earthdata import COLLECTIONS
from vadose.download.plan import Plan, RemoteFile, Request, newest
from vadose.download.sources import READERS, SOURCES
from vadose.errors import VadoseError, nearest

ASKED = 16
"""Files of a product whose size is asked for at most; the others are taken to be like them."""


def plan_fetch(
    product: str,
    bbox: BBox | Sequence[BBox] | None = None,
    first: date | str | None = None,
    last: date | str | None = None,
    variables: Sequence[str] | None = None,
    *,
    subset: bool = False,
    client: Client | None = None,
) -> Plan:
    """List the files that have to be fetched, without fetching one.

    Parameters
    ----------
    product
        A key of `SOURCES`; letters may be small. A NASA collection may carry a version: ``SPL3SMP_E.005``.
        Names of `vadose.products.PRODUCTS` do as well: ``smap_l3`` is SPL3SMP_E.
    bbox
        West, south, east, north [degree]; or several such boxes, of which a scene is fetched once.
    first, last
        Days, both taken; for forecasts the days of issue (00 UTC). Products that do not change need none.
    variables
        In the product's own names; the usual ones if not given.
    subset
        Let the server cut NASA granules to the box and variables (IMERG and NLDAS, by OPeNDAP). They have no
        published checksum then.
    client
        With another login, patience or time limits than usual.

    Returns
    -------
    Plan
        The newest release of every file.

    Raises
    ------
    VadoseError
        For an unknown product or variable, a box or days that make no sense or lie outside the product, or when there
        is no file.
    """
    name, request = request_for(product, bbox, first, last, variables, subset=subset)
    return list_files(name, request, client or Client())


def request_for(
    product: str,
    bbox: BBox | Sequence[BBox] | None,
    first: date | str | None,
    last: date | str | None,
    variables: Sequence[str] | None = None,
    *,
    subset: bool = False,
) -> tuple[str, Request]:
    """Name of the source, and what is asked of it, checked as far as is possible without asking anybody."""
    name, version = _named(product)
    source = SOURCES[name]
    if version and name not in COLLECTIONS:
        raise VadoseError(f"{product}: only NASA collections have versions to choose; leave out '.{version}'")
    if subset and name not in COLLECTIONS:
        raise VadoseError(f"{name}: --subset is for NASA collections; others are always subset to the box")
    if source.changes and (first is None or last is None):
        raise VadoseError(f"{name}: give the days (--from and --to)")
    days = [_day(day or date.today(), what) for day, what in ((first, "first day"), (last, "last day"))]
    request = Request(_boxes(bbox), days[0], days[1], tuple(variables or ()), version, subset)
    if request.first > request.last:
        raise VadoseError(f"{name}: first day {request.first} comes after last day {request.last}")
    source.check(name, request)
    return name, request


def list_files(name: str, request: Request, client: Client) -> Plan:
    """The files of a request, with the size that files have as a rule where the catalogue states none."""
    source = SOURCES[name]
    files = source.list(client, request)
    if not files:
        raise VadoseError(f"{name}: nothing found from {request.first} to {request.last} in box {request.bbox}")
    unknown = (None,)
    sized = [
        replace(file, about=source.size(file, request) or None) if (file.bytes, file.about) == unknown * 2 else file
        for file in newest(files)
    ]
    return Plan(name, tuple(sized))


def ask_sizes(plan: Plan, client: Client) -> Plan:
    """A plan with the sizes that servers state of whole files (HEAD), and without tiles that they do not have.

    Of many files `ASKED` spread evenly are asked for, and the others taken to be as large on average.
    """
    whole = [file for file in plan.files if _can_be_asked(file)]
    chosen = whole[:: max(-(-len(whole) // ASKED), 1)]
    with ThreadPoolExecutor(max_workers=4) as pool:
        answers = dict(
            zip((file.name for file in chosen), pool.map(lambda file: _size(client, file), chosen), strict=True)
        )
    stated = [size for size in answers.values() if size]
    usual = sum(stated) // len(stated) if stated else None
    files = []
    for file in plan.files:
        size = answers.get(file.name)
        if size == 0:
            continue  # the server has no such tile, and need not
        if size:
            files.append(replace(file, about=size, asked=True))
        elif usual and _can_be_asked(file):
            files.append(replace(file, about=usual))
        else:
            files.append(file)
    return replace(plan, files=tuple(files))


def _can_be_asked(file: RemoteFile) -> bool:
    part = bool(file.part) and not file.member
    return file.bytes is None and not (part or file.login or file.messages or file.write)


def _size(client: Client, file: RemoteFile) -> int | None:
    """Bytes that the server states; 0 where it lacks a file it need not have, None where it says nothing."""
    try:
        with client.open(file.url, file.name, headers={"Accept-Encoding": "identity"}, method="HEAD") as response:
            length = response.headers.get("Content-Length", "")
            return int(length) if length.isdigit() and int(length) else None
    except MissingError:
        return 0 if file.optional else None
    except (AgainError, VadoseError):
        return None


def _named(product: str) -> tuple[str, str]:
    # A reader's name stands for the first of its sources.
    names = {reader: name for name, reader in reversed(READERS.items())} | {name.lower(): name for name in SOURCES}
    for text, version in ((product, ""), tuple(product.partition(".")[::2])):
        if text.lower() in names:
            return names[text.lower()], version
    raise VadoseError(f"product {product!r} unknown{nearest(product, sorted(SOURCES))}")


def _boxes(bbox: BBox | Sequence[BBox] | None) -> tuple[BBox, ...]:
    if bbox is None or len(bbox) == 0:
        return ()
    return tuple(checked(box) for box in (bbox if isinstance(bbox[0], Sequence) else [bbox]))  # type: ignore[arg-type]


def _day(value: date | str, what: str) -> date:
    try:
        return value if isinstance(value, date) else datetime.strptime(value, "%Y-%m-%d").date()
    except ValueError:
        raise VadoseError(f"{what} {value!r}: not a day; write YYYY-MM-DD") from None
