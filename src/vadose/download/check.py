"""Whether a file that came is the one that was published: size, checksum, container, whole GRIB messages."""

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from vadose.download.client import HOW_TO_LOG_IN
from vadose.download.plan import RemoteFile
from vadose.errors import VadoseError
from vadose.products.containers import container_of

BLOCK = 1 << 20
# Containers that files of a suffix are published in.
CONTAINERS = {
    ".h5": {"hdf5"},
    ".hdf5": {"hdf5"},
    ".rt-h5": {"hdf5"},
    ".nc4": {"hdf5"},
    ".nc": {"hdf5", "netcdf3"},
    ".hdf": {"hdf4"},
    ".tif": {"tiff"},
    ".tiff": {"tiff"},
    ".zip": {"zip"},
    ".grb": {"grib"},
    ".grb2": {"grib"},
    ".txt": {"text"},
    ".csv": {"text"},
    ".tsv": {"text"},
    ".json": {"text"},
}


def check_size_and_sum(file: RemoteFile, path: Path, known: Mapping[str, Any]) -> None:
    """Compare with what the catalogue says and with what the server said in its headers.

    Raises
    ------
    VadoseError
        When one differs.
    """
    size = path.stat().st_size
    for told, who in ((file.bytes if not file.messages else None, "the catalogue"), (known.get("total"), "the server")):
        if told is not None and size != told:
            raise VadoseError(f"{file.name}: {size} bytes received, {who} says {told}; fetch it again later")
    for text in (file.checksum, f"md5:{known['md5']}" if known.get("md5") else ""):
        method, _, wanted = text.partition(":")
        if method and (found := digest_of(path, method)) != wanted.lower():
            raise VadoseError(
                f"{file.name}: its {method} is {found}, published is {wanted.lower()}; damaged in transfer"
            )


def check_container(file: RemoteFile, path: Path) -> None:
    """Whether a file holds data of its kind, and not a login or error page."""
    try:
        container = container_of(path)
    except VadoseError as error:
        text = str(error).removeprefix(f"{path}: ")
        if "web page" in text:
            text = f"{file.host} sent a web page, not data"
            text += f": the login failed; {HOW_TO_LOG_IN}" if file.login else "; try again later"
        raise VadoseError(f"{file.name}: {text}") from None
    suffix = PurePosixPath(file.name).suffix.lower()
    expected = {"grib"} if file.messages else CONTAINERS.get(suffix, {container})
    if container not in expected:
        raise VadoseError(f"{file.name}: {file.host} sent a {container} file, expected is {' or '.join(expected)}")


def check_grib(file: RemoteFile, path: Path) -> None:
    """Whether the file is whole GRIB-2 messages, one after the other."""
    size, at = path.stat().st_size, 0
    with path.open("rb") as stream:
        while at < size:
            stream.seek(at)
            head = stream.read(16)
            length = int.from_bytes(head[8:16], "big")
            if not head.startswith(b"GRIB") or not 20 <= length <= size - at:
                raise VadoseError(f"{file.name}: no whole GRIB message at byte {at}; its index belongs to another file")
            stream.seek(at + length - 4)
            if stream.read(4) != b"7777":
                raise VadoseError(f"{file.name}: the GRIB message at byte {at} has no end; damaged in transfer")
            at += length


def digest_of(path: Path, method: str) -> str:
    """Checksum of a file in hexadecimal."""
    digest = hashlib.new(method)
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
