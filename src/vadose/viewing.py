"""`vadose.view`: stores as a page to click, in one file or from a small server."""

from collections.abc import Callable, Sequence
from pathlib import Path

import xarray as xr

from vadose.api import BBox, Days, PathLike
from vadose.errors import VadoseError


def view(
    stores: PathLike | Sequence[PathLike],
    save: PathLike | None = None,
    *,
    observed: PathLike | Sequence[PathLike] = (),
    scores: Sequence[PathLike] = (),
    normals: Days | None = None,
    bbox: BBox | None = None,
    days: tuple[str | None, str | None] = (None, None),
    leads: Sequence[int] = (),
    title: str = "Soil moisture",
    host: str = "127.0.0.1",
    port: int = 8765,
    tell: Callable[[str], None] = lambda text: None,
) -> Path | None:
    """Show forecasts, maps, outlooks and cubes on a page with maps, and series at places that are clicked.

    Parameters
    ----------
    stores
        Forecasts, percentiles, 100 m maps, cubes; of several models and layers. Data sets of others as for `evaluate`.
    save
        HTML file to write, with all its data in it. When left out, the page is served until interrupted.
    observed, scores
        Cubes and station stores with observations; output folders of `evaluate`, whose sites become dots.
    normals
        First and last day of the observations' normals: mean and yearly harmonic of each cell.
    bbox, days, leads
        Part to show: (west, south, east, north [degree]), first and last day of issue, lead times [day].
    host, port
        Where the page is served: by default to this machine alone.
    tell
        Is told the page's address before it is served.

    Returns
    -------
    The file, or None once a server was stopped.

    Raises
    ------
    VadoseError
        If a store cannot be opened or holds nothing to show, the file would be too large to send, or the extra ``view``
        is needed and not installed.
    """
    from vadose.publish.page import page, save_page, scores_of
    from vadose.publish.sources import Part, sources_of, with_normal

    if save is None:
        _need_server()
    part = Part(bbox, days, leads)
    paths, truths = _paths(stores), _paths(observed)
    opened, opened_truths = ({str(path): _opened(path) for path in some} for some in (paths, truths))
    sources = sources_of({**opened, **opened_truths}, part, observed=frozenset(map(str, truths)))
    if normals is not None:
        for source in sources:
            with_normal(source, normals)
    tables = [scores_of(Path(folder)) for folder in scores]
    if save is not None:
        return save_page(Path(save), sources, tables, title=title)
    from vadose.publish.server import application, serve

    hosts = {host, "localhost", "127.0.0.1", "::1"} if host not in ("0.0.0.0", "::") else {"*"}
    app = application(sources, page(sources, tables, title=title), sorted(hosts))
    tell(f"http://{host}:{port}")
    serve(app, host, port)
    return None


def _paths(given: PathLike | Sequence[PathLike]) -> list[Path]:
    return [Path(path) for path in ([given] if isinstance(given, str) or not isinstance(given, Sequence) else given)]


def _opened(path: Path) -> xr.Dataset:
    from vadose.cube import is_cube, open_cube
    from vadose.door import open_store
    from vadose.door.foreign import open_forecasts

    if is_cube(path):
        return open_cube(path)
    if path.exists() and path.suffix.lower() not in (".yaml", ".yml"):
        store = open_store(path)
        ours = "model" in store.attrs and {"init_time", "lead_time", "y", "x"} <= set(store.dims)
        if ours or {"station", "time"} <= set(store.dims):
            return store
    return open_forecasts(path)


def _need_server() -> None:
    from importlib.util import find_spec

    if lacking := [name for name in ("starlette", "uvicorn") if find_spec(name) is None]:
        raise VadoseError(
            f"view: the server needs {' and '.join(lacking)}, not installed; pip install 'vadose[view]', or write one "
            "file: --save page.html"
        )
