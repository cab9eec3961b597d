"""One plan for all products of a recipe, and their download: a folder a product, as builds and studies read them."""

import threading
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import requests

from vadose.download.client import Client, service
from vadose.download.download import fetch
from vadose.download.earthdata import CAN_CUT, COLLECTIONS
from vadose.download.plan import Plan, Request, size_text
from vadose.download.planning import ask_sizes, list_files, request_for
from vadose.download.sources import AS_OF, SOURCES
from vadose.errors import VadoseError
from vadose.products import PRODUCTS
from vadose.products.product import Wanted

PATIENCE = 5.0
"""Longest wait for a first answer of any service [s]."""
TRIES = 4
"""Attempts to list the files of a product, within some seconds: who plans waits for the table."""
YEARS_BACK = 3
"""Of products with one map a year, how many years before the first day a map may be."""

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class ProductPlan:
    """What is to be fetched of one product.

    Attributes
    ----------
    plan
        Its files; None where they could not be listed.
    number, size
        Files, and bytes to be moved, also where they are estimates.
    stated
        Who stated the sizes: ``'catalogue'``, ``'server'``; else they are estimates.
    login
        ``'earthdata'`` or ``'planetary-computer'``, else empty.
    problem
        Why it cannot be fetched now.
    offline
        The server that gives no answer, if that is the problem.
    note
        What else is to be known.
    """

    product: str
    source: str = ""
    plan: Plan | None = None
    number: int = 0
    size: int = 0
    stated: str = ""
    login: str = ""
    problem: str = ""
    offline: str = ""
    note: str = ""

    def row(self) -> tuple[str, ...]:
        """Cells of the table."""
        sizes = self.stated or f"estimate of {AS_OF}"
        return (
            self.product,
            self.source or "-",
            f"{self.number:,}" if self.number else "-",
            ("" if self.stated else "~") + size_text(self.size) if self.number else "-",
            self.login or "none",
            sizes if self.number else "not known",
        )


@dataclass(frozen=True)
class RecipePlan:
    """What is to be fetched of all products of a recipe."""

    products: tuple[ProductPlan, ...]

    def table(self) -> str:
        """A line a product (files, bytes to be moved, login, who stated the sizes), their sum, and notes."""
        number, size = (sum(getattr(one, key) for one in self.products) for key in ("number", "size"))
        about = "" if all(one.stated for one in self.products) else "~"
        rows = [
            ("product", "source", "files", "size", "login", "sizes from"),
            *(one.row() for one in self.products),
            ("total", "", f"{number:,}", f"{about}{size_text(size)}", "", ""),
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if k in (2, 3) else cell.ljust(width)
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, *(f"{one.product}: {one.note}" for one in self.products if one.note)])

    def offline(self) -> str:
        """One line on servers that gave no answer; '' where all did."""
        if hosts := sorted({one.offline for one in self.products if one.offline}):
            names = [one.product for one in self.products if one.offline]
            return f"no answer from {', '.join(hosts)}: files and sizes of {', '.join(names)} are estimates of {AS_OF}"
        return ""

    def faults(self) -> list[str]:
        """Lines on the products that cannot be fetched whatever the network."""
        return [f"{one.product}: {one.problem}" for one in self.products if one.problem and not one.offline]


def plan_products(wanted: Iterable[Wanted], client: Client | None = None, patience: float = PATIENCE) -> RecipePlan:
    """Plan all products of a recipe, asking services side by side.

    A service that gives no answer within ``patience`` seconds is not asked further; of its products the usual number
    and size of files stand in the plan.

    Parameters
    ----------
    wanted
        What is wanted of each product.
    """
    client = client or Client(tries=TRIES)
    asked = [_asked(one, source) for one in wanted for source in _sources(one)]
    silent = _silent({_service(row) for row, request in asked if request}, patience)
    with warnings.catch_warnings(), ThreadPoolExecutor(max_workers=max(len(asked), 1)) as pool:
        # Of the catalogue's library; threads that each set this and take it back would do so across each other.
        warnings.simplefilter("ignore", FutureWarning)
        rows = pool.map(lambda pair: _planned(pair[0], pair[1], silent, client), asked)
        return RecipePlan(tuple(rows))


def fetch_products(
    plan: RecipePlan,
    folder: Path,
    progress: Progress | None = None,
    workers: int = 4,
    *,
    verify: bool = False,
    client: Client | None = None,
) -> list[Path]:
    """Fetch all products of a plan, each to the folder of its name; one that fails does not stop the others.

    Returns
    -------
    list of Path
        All files.

    Raises
    ------
    VadoseError
        When everything was tried, naming the products that are not complete and why.
    """
    paths: list[Path] = []
    failed: dict[str, str] = {}
    for one in plan.products:
        if one.plan is None or one.problem:
            failed[one.product] = one.problem
            continue
        try:
            paths += fetch(one.plan, folder / one.product, progress, workers, verify=verify, client=client)
        except VadoseError as error:
            failed[one.product] = str(error)
    if failed:
        reasons = {reason: [one for one, why in failed.items() if why == reason] for reason in failed.values()}
        counts = f"{len(failed)} of {len(plan.products)} products"
        raise VadoseError(
            f"{counts} not complete, the others are in {folder}; run the same command again to continue\n"
            + "\n".join(_together(reason, names) for reason, names in reasons.items())
        )
    return paths


def _together(reason: str, products: Sequence[str]) -> str:
    first, *more = reason.splitlines()
    left = f" (and {len(more)} more)" if more else ""
    return f"{', '.join(products)}: {first}{left}"


def _sources(wanted: Wanted) -> tuple[str, ...]:
    known = PRODUCTS[wanted.product]
    return wanted.sources or known.sources[: known.together] or ("",)


def _asked(wanted: Wanted, name: str) -> tuple[ProductPlan, Request | None]:
    """What a product's source is asked, as far as it has a source, and anything there and then."""
    known = PRODUCTS[wanted.product]
    if not name:
        return ProductPlan(wanted.product, problem="has no source to fetch from; add its files yourself"), None
    source, note = SOURCES[name], ""
    missing = [variable for variable in wanted.variables if variable not in known.published]
    # Whole granules hold all variables; others are published, or cut by the server, variable by variable.
    cut = name in CAN_CUT and not missing and not wanted.whole
    by_name = cut or name not in COLLECTIONS
    told = known.published if not missing and by_name else {}
    names = list(dict.fromkeys(told[one] for one in wanted.variables)) if told else []
    if missing and known.published and name not in COLLECTIONS:
        return ProductPlan(wanted.product, name, problem=f"does not publish {', '.join(missing)}"), None
    first, last = wanted.first, wanted.last
    if known.year:
        first, last = date(first.year - YEARS_BACK, 1, 1), first
    elif source.changes and first < source.begins <= last:
        note = f"begins on {source.begins}; the days from {first} to then have no files"
        first = source.begins
    try:
        _, request = request_for(name, wanted.boxes, first, last, names, subset=cut)
    except VadoseError as error:
        return ProductPlan(wanted.product, name, problem=str(error).removeprefix(f"{name}: ")), None
    return ProductPlan(wanted.product, name, login=source.login, note=note), request


def _service(row: ProductPlan) -> str:
    return service(SOURCES[row.source].service)


def _planned(row: ProductPlan, request: Request | None, silent: set[str], client: Client) -> ProductPlan:
    """A product's files and sizes, from whoever tells them."""
    if request is None:
        return row
    source, year = SOURCES[row.source], PRODUCTS[row.product].year
    if (url := _service(row)) in silent:
        host = url.split("/")[2].rpartition("@")[2]
        row = replace(row, offline=host, problem=f"no answer from {host}; is there a connection?")
    if row.offline and source.asks:
        number, size = source.expected(replace(request, first=request.last) if year else request)
        return replace(row, number=number, size=size)
    try:
        plan = list_files(row.source, request, client)
    except VadoseError as error:
        return replace(row, problem=str(error).removeprefix(f"{row.source}: "))
    if year:
        newest = max((found[1] for file in plan.files if (found := year.search(file.name))), default="")
        kept = tuple(file for file in plan.files if (found := year.search(file.name)) and found[1] == newest)
        plan, row = replace(plan, files=kept), replace(row, note=f"one map, of {newest}")
    plan = plan if row.offline else ask_sizes(plan, client)
    sizes = [file.about if file.bytes is None else file.bytes for file in plan.files]
    stated = "catalogue" if all(file.bytes is not None for file in plan.files) else ""
    stated = stated or ("server" if all(file.asked or file.bytes is not None for file in plan.files) else "")
    login = next((file.login for file in plan.files if file.login), "")
    return replace(row, plan=plan, number=len(plan.files), size=sum(s or 0 for s in sizes), stated=stated, login=login)


def _silent(urls: set[str], patience: float) -> set[str]:
    """Those of the addresses from which no answer of any kind comes in time."""
    answered: set[str] = set()

    def ask(url: str) -> None:
        try:
            requests.head(url, timeout=(patience / 2, patience), allow_redirects=False).close()
            answered.add(url)
        except requests.RequestException:
            pass

    # Looking up a name heeds no time limit; a daemon does not hold up the end.
    threads = [threading.Thread(target=ask, args=(url,), daemon=True) for url in sorted(urls)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + patience
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0.0))
    return urls - answered
