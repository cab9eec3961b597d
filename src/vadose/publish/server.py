"""The server of `vadose view`: the page, what it draws, and positions and areas for machines, shaped as OGC EDR.

Stores are named, never their paths; each answer has a largest size, and few are read at once.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from vadose.errors import VadoseError
from vadose.publish.edr import (
    HEADERS,
    Refused,
    area,
    choice,
    collection,
    issue_of,
    json_of,
    lead_of,
    number_of,
    position,
)
from vadose.publish.sources import Source

if TYPE_CHECKING:
    from anyio import CapacityLimiter
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

MOST_TEXT = 8000
"""Characters of the parameters of a request."""
SERIES_DAYS = 366
"""Days of issue in a series at one lead, around the day shown."""
AT_ONCE = 4
"""Requests that read at once; others wait."""
CACHE_BYTES = 128_000_000


@dataclass
class Kept:
    """Maps as they were sent, the least recently asked for dropped first."""

    most: int = CACHE_BYTES
    size: int = 0
    held: OrderedDict[object, bytes] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: object, make: Callable[[], bytes]) -> bytes:
        """What is kept under a key, or is made now."""
        with self.lock:
            if key in self.held:
                self.held.move_to_end(key)
                return self.held[key]
        made = make()
        with self.lock:
            if key not in self.held and len(made) <= self.most:
                self.held[key] = made
                self.size += len(made)
            while self.size > self.most:
                self.size -= len(self.held.popitem(last=False)[1])
        return made


def application(sources: Sequence[Source], html: str, hosts: Sequence[str]) -> "Starlette":
    """The web application that serves a page and the data of its sources.

    Parameters
    ----------
    html
        `vadose.publish.page.page` without data.
    hosts
        Names by which it may be asked; others are refused, so that no foreign page reaches it by a name of its own.
    """
    from anyio import CapacityLimiter
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import HTMLResponse
    from starlette.routing import Route

    held, kept, slots = {source.id: source for source in sources}, Kept(), CapacityLimiter(AT_ONCE)

    async def front(request: "Request") -> "Response":
        return HTMLResponse(html, headers=HEADERS)

    async def collections(request: "Request") -> "Response":
        return json_of({"collections": [collection(source) for source in sources]})

    routes = [Route("/", front), Route("/collections", collections)]
    edr = {"coords", "init", "lead", "parameter-name", "f"}
    for path, answer, allowed in (
        ("/maps/{id}/{quantity}", partial(_map, kept), {"init", "lead"}),
        ("/series/{id}", _series, {"init", "lead", "row", "column"}),
        ("/collections/{id}", lambda source, request: json_of(collection(source)), set()),
        ("/collections/{id}/position", position, edr),
        ("/collections/{id}/area", area, edr),
    ):
        routes.append(Route(path, partial(_answered, answer, allowed, held, slots)))
    return Starlette(routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))])


async def _answered(
    answer: Callable[[Source, "Request"], "Response"],
    allowed: set[str],
    held: Mapping[str, Source],
    slots: "CapacityLimiter",
    request: "Request",
) -> "Response":
    """An answer from one of the slots, or in words why there is none."""
    from anyio import to_thread

    try:
        given = request.query_params.multi_items()
        if len(request.url.query) > MOST_TEXT or len(given) != len(dict(given)):
            raise Refused(400, f"expected each parameter once, in {MOST_TEXT} characters at most")
        if unknown := sorted(set(dict(given)) - allowed):
            raise Refused(400, f"parameter {unknown[0][:40]!r} unknown; expected {sorted(allowed)}")
        if (source := held.get(request.path_params["id"])) is None:
            raise Refused(404, "no such collection; see /collections")
        return await to_thread.run_sync(answer, source, request, limiter=slots)
    except Refused as error:
        status, why = error.args
        return json_of({"code": status, "description": why}, status)


def _map(kept: Kept, source: Source, request: "Request") -> "Response":
    from starlette.responses import Response

    name = choice(request.path_params["quantity"], list(map(str, source.data.data_vars)), "quantity")
    issue, lead = issue_of(source, request), lead_of(source, request)
    body = kept.get((source.id, name, issue, lead), lambda: source.map(name, issue, lead))
    return Response(body, media_type="application/octet-stream", headers=HEADERS)


def _series(source: Source, request: "Request") -> "Response":
    row, column = (number_of(request, name, source.data.sizes[axis]) for name, axis in (("row", "y"), ("column", "x")))
    issue, lead = issue_of(source, request), lead_of(source, request)
    first = max(0, min(issue - SERIES_DAYS // 2, len(source.issued) - SERIES_DAYS))
    normal = np.array([np.nan]) if source.normal is None else source.normal[:, row, column]
    return json_of(
        {
            "first": first,
            "days": source.series(row, column, init_time=slice(first, first + SERIES_DAYS), lead_time=lead),
            "leads": source.series(row, column, init_time=issue),
            "normal": None if np.isnan(normal).any() else normal.astype(float).tolist(),
        }
    )


def serve(app: "Starlette", host: str, port: int) -> None:
    """Serve until interrupted.

    Raises
    ------
    VadoseError
        When the port is taken or the host is none of this machine.
    """
    import socket

    import uvicorn

    try:
        with socket.create_server((host, port), backlog=256) as listening:
            settings = uvicorn.Config(app, log_level="warning", limit_concurrency=512, timeout_keep_alive=5)
            uvicorn.Server(settings).run(sockets=[listening])
    except OSError as error:
        raise VadoseError(
            f"http://{host}:{port}: cannot listen there ({error.strerror}); give another --port"
        ) from error
