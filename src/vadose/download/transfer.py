"""One file over HTTP: resumed where it was left, in parts where only GRIB messages are wanted, verified at the end."""

import base64
import hashlib
import json
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from rasterio.errors import RasterioError

from vadose.download.check import BLOCK, check_grib, check_size_and_sum
from vadose.download.client import AgainError, Client
from vadose.download.note import read_note, write_note
from vadose.download.plan import RemoteFile
from vadose.download.window import crop_raster
from vadose.errors import VadoseError
from vadose.products.rasters import open_raster

PIECE = 1 << 18  # what is lost at most when a connection is


def download(client: Client, file: RemoteFile, part: Path) -> None:
    """Bring a remote file, or the GRIB messages wanted of it, to ``part``, and check its size and checksum."""
    restarted = False

    def attempt() -> None:
        nonlocal restarted
        known = _receive_messages(client, file, part) if file.messages else _receive(client, file, part)
        try:
            check_size_and_sum(file, part, known)
            if file.messages:
                check_grib(file, part)
        except VadoseError as error:
            # A part that was resumed, or damaged on its way, gets a second chance from the beginning.
            part.unlink()
            if restarted:
                raise
            restarted = True
            raise AgainError(str(error)) from None

    client.persist(file.name, attempt, reached=lambda: part.stat().st_size if part.exists() else 0)


def _receive(client: Client, file: RemoteFile, part: Path) -> dict[str, Any]:
    """Fill ``part`` with what is still missing of the whole remote file; what came stays when it fails."""
    state = part.with_name(part.name + ".json")
    known = read_note(state)
    have = part.stat().st_size if part.exists() else 0
    # Only with a validator, or a checksum to find out by, is it known that old and new bytes are of one file.
    if known.get("address") != _address(file) or not (known.get("validator") or file.checksum):
        have, known = 0, {}
    if have and have == known.get("total"):
        return known
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if known.get("validator"):
            headers["If-Range"] = known["validator"]
    with client.open(client.signed(file.url, file.name, file.login), file.name, file.login, headers) as response:
        if response.status_code == 416:
            part.unlink(missing_ok=True)
            raise AgainError("the part that came before is longer than the file, which has changed")
        if response.status_code == 206:
            begin, total = _content_range(response.headers.get("Content-Range", ""))
            changed = known.get("total") not in (None, total) or _validator(response) != known.get("validator", "")
            if begin != have or changed:
                part.unlink(missing_ok=True)
                raise AgainError("the file changed on the server while it was fetched")
        else:
            have = 0
            known = {
                "address": _address(file),
                "validator": _validator(response),
                "total": _length(response),
                "md5": _published_md5(response),
            }
            part.write_bytes(b"")
            write_note(state, known)
        _append(client, response.iter_content(PIECE), part, have)
    if known["total"] is not None and part.stat().st_size < known["total"]:
        raise AgainError(f"{file.host} closed the connection early")
    return known


def _receive_messages(client: Client, file: RemoteFile, part: Path) -> dict[str, Any]:
    """Fill ``part`` with the wanted GRIB messages, each a range of bytes named in the index beside the file."""
    index = client.ask(file.url + ".idx", file.name).decode("ascii", "replace")
    ranges = message_ranges(index, file.messages, file.name)
    state = part.with_name(part.name + ".json")
    known = {"address": _address(file), "ranges": json.loads(json.dumps(ranges))}
    have = part.stat().st_size if part.exists() else 0
    if read_note(state) != known or not part.exists():
        have = 0
        part.write_bytes(b"")
        write_note(state, known)
    for begin, end in ranges:
        length = None if end is None else end - begin + 1
        if length is not None and have >= length:
            have -= length
            continue
        if end is None:
            # How long the last message is, the index does not say: it is fetched as one.
            _truncate(part, part.stat().st_size - have)
            have = 0
        headers = {"Accept-Encoding": "identity", "Range": f"bytes={begin + have}-{'' if end is None else end}"}
        with client.open(file.url, file.name, file.login, headers) as response:
            if response.status_code != 206:
                raise VadoseError(
                    f"{file.name}: {file.host} does not serve parts of files; single messages cannot be fetched"
                )
            if _content_range(response.headers.get("Content-Range", ""))[0] != begin + have:
                raise AgainError(f"{file.host} sent other bytes than asked for")
            _append(client, response.iter_content(PIECE), part, part.stat().st_size)
        have = 0
    return {"total": None if ranges[-1][1] is None else sum(end - begin + 1 for begin, end in ranges if end)}


def message_ranges(index: str, patterns: tuple[str, ...], name: str) -> list[tuple[int, int | None]]:
    """First and last byte of the messages whose line of a wgrib2 index holds one of the patterns.

    Examples
    --------
    >>> index = "1:0:d=2024010100:PRMSL:mean sea level:3 hour fcst:\\n2:900:d=2024010100:TMP:2 m above ground:3 hour"
    >>> message_ranges(index, (":PRMSL:",), "gfs"), message_ranges(index, (":TMP:2 m above ground:",), "gfs")
    ([(0, 899)], [(900, None)])
    """
    lines = [line for line in index.splitlines() if line.strip()]
    try:
        starts = [int(line.split(":")[1]) for line in lines]
    except (IndexError, ValueError):
        raise VadoseError(f"{name}: its index (.idx) is not one of wgrib2; is the address right?") from None
    later = sorted(set(starts))
    following = dict(pairwise(later))
    missing = [pattern for pattern in patterns if not any(pattern in line for line in lines)]
    if missing:
        raise VadoseError(f"{name}: its index holds no message {', '.join(missing)}; choose others with --variable")
    wanted = sorted({s for s, line in zip(starts, lines, strict=True) if any(p in line for p in patterns)})
    ranges: list[tuple[int, int | None]] = []
    for start in wanted:
        end = following[start] - 1 if start in following else None
        if ranges and ranges[-1][1] == start - 1:
            ranges[-1] = ranges[-1][0], end
        else:
            ranges.append((start, end))
    return ranges


def _append(client: Client, blocks: Iterator[bytes], part: Path, at: int) -> None:
    with part.open("rb+") as stream:
        stream.truncate(at)
        stream.seek(at)
        for block in blocks:
            client.check()
            stream.write(block)
            client.count(len(block))


def _truncate(part: Path, size: int) -> None:
    with part.open("rb+") as stream:
        stream.truncate(size)


def _address(file: RemoteFile) -> str:
    """The address in a form that gives nothing away; its query says which part of the file is meant."""
    return hashlib.sha256(file.url.encode()).hexdigest()


def _validator(response: Any) -> str:
    """What tells one state of the remote file from another; a weak ETag does not tell bytes."""
    tag = response.headers.get("ETag", "")
    return str(tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", ""))


def _length(response: Any) -> int | None:
    encoded = response.headers.get("Content-Encoding", "identity") != "identity"
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdigit() and not encoded else None


def _published_md5(response: Any) -> str:
    """MD5 that the server states in a header of the whole file, in hexadecimal, or empty."""
    text = response.headers.get("Content-MD5", "")
    if found := re.search(r"md5=([A-Za-z0-9+/=]+)", response.headers.get("x-goog-hash", "")):
        text = found[1]
    try:
        return base64.b64decode(text, validate=True).hex()
    except ValueError:
        return ""


def _content_range(text: str) -> tuple[int, int | None]:
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", text)
    if not found:
        raise AgainError(f"the server sent a part of the file without saying which ({text!r})")
    return int(found[1]), None if found[2] == "*" else int(found[2])


def unpack(file: RemoteFile, part: Path) -> None:
    """Put the wanted member of an archive in the place of the archive."""
    scratch = part.with_name(part.name + ".member")
    try:
        with zipfile.ZipFile(part) as archive:
            members = [info for info in archive.infolist() if PurePosixPath(info.filename).name == file.member]
            if not members:
                raise VadoseError(f"{file.name}: no {file.member} in the archive (found: {archive.namelist()[:5]})")
            size, free = members[0].file_size, shutil.disk_usage(part.parent).free
            if size > free:
                raise VadoseError(f"{file.name}: {file.member} takes {size / 1e9:.3g} GB, {free / 1e9:.3g} GB are free")
            with archive.open(members[0]) as source, scratch.open("wb") as target:
                while block := source.read(BLOCK):
                    target.write(block)
        if file.crop:
            with open_raster(scratch) as raster:
                crop_raster(raster, part, file.crop, file.name)
        else:
            os.replace(scratch, part)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RasterioError) as error:
        raise VadoseError(f"{file.name}: the archive is damaged ({error}); fetch it again") from None
    finally:
        scratch.unlink(missing_ok=True)
