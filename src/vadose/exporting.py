"""`vadose.export`: a store in a form that other programs read."""

from collections.abc import Sequence
from pathlib import Path

from vadose.api import Days, Out, PathLike
from vadose.api import open as open_any
from vadose.parallel.progress import Progress, silent


def export(
    store: PathLike,
    to: str,
    out: Out = None,
    *,
    variables: Sequence[str] = (),
    days: Days | None = None,
    leads: Sequence[int] = (),
    layer: str | None = None,
    by: str | None = None,
    progress: Progress = silent,
) -> Path:
    """Write a cube, forecasts, maps or stations, or a part of them, in a form that other programs read.

    Parameters
    ----------
    store
        As `open` takes it.
    to
        ``'netcdf'`` (CF-1.11), ``'cog'`` (folder of GeoTIFFs with overviews, band names and colours), ``'zarr2'`` (for
        GDAL before 3.11), ``'csv'`` or ``'parquet'`` (a row for each day, lead and cell), ``'stac'`` (catalogue entry).
    out
        File or folder. Default: the store's name with an ending, in the working directory.
    variables, layer
        Names, such as ``'soil_moisture'``, and layer, such as ``'0-10 cm'``. Default: all.
    days, leads
        First and last day of issue (of a cube or stations: first and last day), or ``('latest', 'latest')``; lead times
        [day].
    by
        ``'county'``, ``'state'`` or a GeoJSON file of polygons: means over these instead of cells, see
        `vadose.areas.means`; in place of classes of drought the share of the area in each or worse.

    Raises
    ------
    VadoseError
        For an unknown form, a part that is not in the store, stations as maps, and where a library is missing.
    """
    from vadose.publish.export import Exported
    from vadose.publish.export import export as write
    from vadose.publish.selection import Part

    path = Path(store)
    part = Part(tuple(variables), days, tuple(leads), layer)
    return write(Exported(open_any(path), path, part, by), to, Path(out) if out else None, progress)
