"""Values of a place out of a large netCDF-4 file that stays where it is: only the parts needed are asked for."""

import io
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from vadose.download.client import AgainError, Client
from vadose.errors import VadoseError

BLOCK = 1 << 19
"""Bytes asked for at once; a file's description lies together."""


class Ranged(io.RawIOBase):
    """A file of a server, read by ranges of bytes."""

    def __init__(self, client: Client, url: str, name: str) -> None:
        super().__init__()
        self.client, self.url, self.name, self.at = client, url, name, 0
        self.size, self.first = client.persist(name, lambda: self._ask(0, BLOCK))

    def _ask(self, begin: int, size: int) -> tuple[int, bytes]:
        headers = {"Range": f"bytes={begin}-{begin + size - 1}", "Accept-Encoding": "identity"}
        with self.client.open(self.url, self.name, headers=headers) as response:
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            if response.status_code != 206 or not total.isdigit():
                raise VadoseError(f"{self.name}: the server does not serve parts of files")
            if len(content := response.content) != min(size, int(total) - begin):
                raise AgainError("a part came short")
            return int(total), content

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where reading goes on."""
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go on elsewhere."""
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        return self.at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer."""
        begin, size = self.at, min(len(buffer), self.size - self.at)
        if size <= 0:
            return 0
        if begin + size <= len(self.first):
            content = self.first[begin : begin + size]
        else:
            content = self.client.persist(self.name, lambda: self._ask(begin, size))[1]
        buffer[:size] = content
        self.at += size
        return size


def nearest_in_file(client: Client, url: str, name: str, variable: str, at: tuple[float, float]) -> NDArray[np.float64]:
    """Values of a variable at the cell nearest to a point (x, y) of the file's own axes, unpacked; of its layers.

    Raises
    ------
    MissingError
        When the server does not have it.
    VadoseError
        When it cannot be read, lacks the variable, or the point lies outside.
    """
    try:
        with h5py.File(io.BufferedReader(Ranged(client, url, name), BLOCK), "r") as file:
            of = file[variable]
            dims = [str(scale[0].name).rpartition("/")[2] for scale in of.dims]
            place: list[Any] = [0 if dim == "time" else slice(None) for dim in dims]
            for axis, wanted in zip("xy", at, strict=True):
                centres = file[axis][:]
                k = int(np.abs(centres - wanted).argmin())
                if abs(centres[k] - wanted) > abs(centres[1] - centres[0]):
                    raise VadoseError(f"{name}: the place lies outside")
                place[dims.index(axis)] = k
            values = np.asarray(of[tuple(place)], float)
            attrs = {key: float(np.ravel(of.attrs[key])[0]) for key in PACKING if key in of.attrs}
    except (OSError, KeyError, IndexError, ValueError, RuntimeError) as error:
        raise VadoseError(f"{name}: {variable} cannot be read ({' '.join(str(error).split())})") from None
    values[values == attrs.get("_FillValue")] = np.nan
    return np.ravel(values * attrs.get("scale_factor", 1.0) + attrs.get("add_offset", 0.0))


PACKING = ("_FillValue", "scale_factor", "add_offset")
