"""What is to be fetched: remote files, what is known of each beforehand, and which release of several is newest."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vadose.download.area import BBox, hull
from vadose.download.cut import Cut

# Several releases of one granule lie side by side after reprocessing. `key` says which granule it is, the other
# groups, compared as text from the left, which release is newer.
RELEASES = (
    re.compile(r"(?P<key>SMAP_L2_.+_\d{5}_[AD])_\d{8}T\d{6}_R(?P<crid>\d{5})_(?P<run>\d{3})\.h5"),
    re.compile(r"(?P<key>SMAP_L3_.+_\d{8})_R(?P<crid>\d{5})_(?P<run>\d{3})\.h5"),
    re.compile(r"(?P<key>SMAP_L4_.+)_V[a-z](?P<crid>\d{4})_(?P<run>\d{3})\.h5"),
    re.compile(r"(?P<key>3B-.+)\.(?P<release>V\d{2}[A-Z]?)\.(HDF5|RT-H5|nc4)"),
    re.compile(
        r"(?P<key>M[OYC]D\w+\.A\d{7}(?:\.h\d{2}v\d{2})?)\.(?P<collection>\d{3})\.(?P<produced>\d{13})\.hdf(?:\.nc4)?"
    ),
    re.compile(
        r"(?P<key>L[COTE]0\d_L2S[PR]_\d{6}_\d{8})_(?P<produced>\d{8})_(?P<collection>\d{2})_(T1|T2|RT)(?P<band>_.+)"
    ),
)


@dataclass(frozen=True)
class Request:
    """What was asked for: boxes (none: everything), first and last day (both taken), variables in the product's own
    names; for a NASA collection its version and whether the server is to cut the granules.
    """

    boxes: tuple[BBox, ...]
    first: date
    last: date
    variables: tuple[str, ...] = ()
    version: str = ""
    subset: bool = False

    @property
    def bbox(self) -> BBox | None:
        """The box around all boxes."""
        return hull(self.boxes)

    @property
    def days(self) -> int:
        """Number of days."""
        return (self.last - self.first).days + 1

    @property
    def years(self) -> range:
        """Calendar years that the days lie in."""
        return range(self.first.year, self.last.year + 1)


@dataclass(frozen=True)
class RemoteFile:
    """One file to be fetched.

    Attributes
    ----------
    name
        Path below the folder it is fetched to, named as published.
    url
        Where it lies; without signature or secret.
    bytes
        Size that the catalogue states, None where it states none.
    checksum
        ``'md5:...'``, ``'sha1:...'``, ``'sha256:...'`` or ``'sha512:...'`` as the catalogue states, or empty.
    login
        ``'earthdata'`` or ``'planetary-computer'`` where one is needed, else empty.
    part
        What part of the published file this is (box, days, variables), empty for a whole one. A file with another
        part under the same name is never replaced by one that holds less.
    settled
        Day from which the data centre no longer rewrites the file; one fetched before that day is fetched again.
    optional
        Whether the server may well not have it: a tile of open sea.
    messages
        Patterns of the GRIB messages wanted, looked up in the ``.idx`` file beside it; empty for all.
    member
        File to be taken out of the zip archive that ``url`` is.
    crop
        Boxes to which a GeoTIFF is cut, several as one file with nothing between them; together with ``member`` after
        unpacking, else by reading only the blocks of the remote file that are needed.
    extent
        Box that the published file covers, where the catalogue or its name tells; None: all that the product covers.
    about
        Size expected where the catalogue states none; ``asked`` where the server stated it.
    cut
        What OPeNDAP cuts of it, of products whose axes are not among their fields.
    write
        Makes the file itself, from several answers of a service; given the client and a scratch path.
    """

    name: str
    url: str
    bytes: int | None = None
    checksum: str = ""
    login: str = ""
    part: dict[str, Any] = field(default_factory=dict)
    settled: date | None = None
    optional: bool = False
    messages: tuple[str, ...] = ()
    member: str = ""
    crop: tuple[BBox, ...] = ()
    extent: BBox | None = None
    about: int | None = None
    asked: bool = False
    cut: Cut | None = None
    write: Callable[[Any, Path], None] | None = None

    @property
    def host(self) -> str:
        """Server it comes from."""
        return urlsplit(self.url).netloc.rpartition("@")[2]


@dataclass(frozen=True)
class Plan:
    """Files to be fetched for one product, before anything is."""

    product: str
    files: tuple[RemoteFile, ...]

    @property
    def bytes(self) -> int:
        """Sum of the sizes that are known."""
        return sum(file.bytes or 0 for file in self.files)

    def table(self) -> str:
        """One line a file (size, name, address without its query), and their sum.

        Examples
        --------
        >>> print(Plan("srtm", (RemoteFile("a.tif", "https://host/a.tif?key=1", bytes=2_500_000),)).table())
               2.5 MB  a.tif  https://host/a.tif
        srtm: 1 file, 2.5 MB
        """
        lines = [f"{size_text(file.bytes):>13}  {file.name}  {bare(file.url)}" for file in self.files]
        unknown = sum(file.bytes is None for file in self.files)
        sizes = [size_text(self.bytes)] if self.bytes or not unknown else []
        sizes += [f"{unknown} of unknown size"] if unknown else []
        count = f"{len(self.files)} file{'' if len(self.files) == 1 else 's'}"
        return "\n".join([*lines, f"{self.product}: {count}, {' and '.join(sizes)}"])


def part_of(boxes: Sequence[BBox]) -> dict[str, Any]:
    """What a note says of a part cut to boxes: one as four numbers, several as a list of them."""
    found = [list(box) for box in boxes]
    return {"bbox": found[0] if len(found) == 1 else found} if found else {}


def boxes_of(part: Mapping[str, Any]) -> tuple[BBox, ...]:
    """The boxes that a note says a part is cut to.

    Examples
    --------
    >>> boxes_of(part_of([(-100, 30, -99, 31)]))
    ((-100, 30, -99, 31),)
    """
    found = part.get("bbox", [])
    return tuple(tuple(box) for box in (found if found and isinstance(found[0], list) else [found] if found else []))


def bare(url: str) -> str:
    """An address without login, query and fragment, where keys and signatures are.

    Examples
    --------
    >>> bare("https://me:secret@host/a.tif?sig=abc")
    'https://host/a.tif'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def size_text(size: int | None) -> str:
    """A size for people.

    Examples
    --------
    >>> size_text(731_000_000), size_text(12), size_text(None)
    ('731.0 MB', '12 bytes', 'unknown')
    """
    if size is None:
        return "unknown"
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"


def newest(files: Iterable[RemoteFile]) -> list[RemoteFile]:
    """Keep the newest release of every granule, files of other names all, in order of name.

    SMAP: the highest composite release id, then the highest run; IMERG: the last letter of the version; MODIS and
    Landsat: the last day of production.

    Examples
    --------
    >>> names = [f"SMAP_L3_SM_P_E_20240715_{release}.h5" for release in ("R18290_003", "R19240_001", "R19240_002")]
    >>> [file.name for file in newest(RemoteFile(name, "") for name in names)]
    ['SMAP_L3_SM_P_E_20240715_R19240_002.h5']
    """
    best: dict[tuple[str, ...], tuple[tuple[str, ...], RemoteFile]] = {}
    for file in files:
        key, release = _release(file.name)
        if key not in best or release > best[key][0]:
            best[key] = release, file
    return sorted((file for _, file in best.values()), key=lambda file: file.name)


def _release(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    folder, _, last = name.rpartition("/")
    for pattern in RELEASES:
        if match := pattern.fullmatch(last):
            groups = match.groupdict()
            # The folder of a Landsat scene is named after its release.
            key = (groups.pop("key"), groups.pop("band", "") or "")
            return key, tuple(str(value) for value in groups.values())
    return (folder, last), ()
