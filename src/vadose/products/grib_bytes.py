"""Messages of a GRIB file as bytes, checked before the library decodes them, one field each.

The library trusts the lengths, template numbers and counts of a message; a single wrong bit there ends the
process. So a message reaches it only if its sections fill it and are as long as their templates say.

Source: WMO Manual on Codes, No. 306, volume I.2, FM 92 GRIB editions 1 and 2.
"""

import mmap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vadose.errors import VadoseError

MOST_CELLS = 50_000_000
END = b"7777"
_NO_BITMAP, _SAME_BITMAP = 255, 254
# Template -> octets of its section, and where the number of times stands that each add 12 octets.
_PRODUCTS = {0: (34, 0), 1: (37, 0), 2: (36, 0), 8: (58, 42), 11: (61, 45), 12: (60, 44)}
_SIMPLE, _COMPLEX, _DIFFERENCES, _JPEG, _PNG, _CCSDS = 0, 2, 3, 40, 41, 42
_PACKINGS = {_SIMPLE: 21, _COMPLEX: 47, _DIFFERENCES: 49, _JPEG: 23, _PNG: 21, _CCSDS: 25}


class _Unread(Exception):
    """A message of a template that is not read: no fault of the file."""


class _Broken(Exception):
    """What of a message does not fit."""


def whole_messages(path: Path, unread: Counter[str]) -> Iterator[bytes]:
    """Messages of edition 1 and 2 in order, each of one field; grids and products not read are counted in ``unread``.

    Raises
    ------
    VadoseError
        When the file ends within a message, or one of them is damaged.
    """
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        end = 0
        while (start := data.find(b"GRIB", end)) >= 0:
            _refuse_lost(path, data, end, start)
            length = _length(data[start : start + 16])
            if start + length > len(data):
                raise VadoseError(
                    f"{path}: cut short: the message at byte {start} is {length} bytes long, {len(data) - start} are "
                    "there; fetch it again"
                )
            message = data[start : start + length]
            end = start + length
            try:
                if not message.endswith(END):
                    raise _Broken("it does not end with 7777")
                yield from _first_edition(message) if message[7] == 1 else _second_edition(message)
            except _Unread as reason:
                unread[str(reason)] += 1
            except (_Broken, IndexError) as error:
                raise VadoseError(
                    f"{path}: the message at byte {start} is damaged ({error}); fetch it again"
                ) from error
        if not end:
            raise VadoseError(f"{path}: holds no message; the file is damaged, fetch it again")
        _refuse_lost(path, data, end, len(data))


def _refuse_lost(path: Path, data: mmap.mmap, end: int, start: int) -> None:
    """Headers of other systems may stand between messages; the end of a message is there if its begin is damaged."""
    if data.find(END, end, start) >= 0:
        raise VadoseError(
            f"{path}: a message before byte {start} has lost its begin; the file is damaged, fetch it again"
        )


def _number(section: bytes, first: int, last: int) -> int:
    """Whole number in octets of a section, counted from 1."""
    return int.from_bytes(section[first - 1 : last], "big")


def _length(head: bytes) -> int:
    return _number(head, 5, 7) if head[7:8] == b"\x01" else _number(head, 9, 16)


def _first_edition(message: bytes) -> Iterator[bytes]:
    """The message itself, its sections checked: product, grid and bitmap if flagged, values."""
    at, flags = 8, message[15]
    lengths = []
    for there in (True, flags & 128, flags & 64, True):
        lengths.append(_number(message[at : at + 3], 1, 3) if there else 0)
        at += lengths[-1]
    if at != len(message) - 4 or lengths[0] < 28 or lengths[3] < 11:
        raise _Broken("its sections do not fill it")
    hour, minute = message[23], message[24]
    if hour > 24 or minute > 59:  # the library takes it and writes to the terminal
        raise _Broken(f"its time is {hour}:{minute:02d}")
    if not flags & 128:
        raise _Unread("without a grid")
    grid = message[8 + lengths[0] :][: lengths[1]]
    if grid[5] != 0:
        raise _Unread(f"on a grid of kind {grid[5]}")
    cells = _number(grid, 7, 8) * _number(grid, 9, 10)
    values = message[len(message) - 4 - lengths[3] : -4]
    if lengths[1] != 32 or grid[3] or not 0 < cells <= MOST_CELLS:
        raise _Broken(f"a grid of {cells} cells in {lengths[1]} bytes")
    count = cells
    if lengths[2]:
        bitmap = message[8 + lengths[0] + lengths[1] :][: lengths[2]]
        if _number(bitmap, 5, 6) or lengths[2] * 8 - 48 - bitmap[3] != cells:
            raise _Broken("its bitmap does not fit its grid")
        count = int(np.unpackbits(np.frombuffer(bitmap[6:], np.uint8), count=cells).sum())
    # Simple packing of a grid: the first half of octet 4 says so, the second how many bits are left over.
    if values[3] & 0xF0 or values[10] > 32 or (lengths[3] - 11) * 8 < count * values[10]:
        raise _Broken("its values do not fit their packing")
    yield message


def _second_edition(message: bytes) -> Iterator[bytes]:
    """Messages of one field each: sections from the second on may come again in one message, as older GFS has winds."""
    sections: dict[int, bytes] = {}
    at, last = 16, 0
    while at < len(message) - 4:
        length, number = _number(message[at : at + 4], 1, 4), message[at + 4]
        section = message[at : at + length]
        if not 1 <= number <= 7 or length < 5 or at + length > len(message) - 4 or not _follows(last, number):
            raise _Broken("its sections do not fill it")
        # A bitmap that counts on stands in the field before.
        if not (number == 6 and section[5:6] == bytes([_SAME_BITMAP]) and 6 in sections):
            sections[number] = section
        at, last = at + length, number
        if number == 7:
            _check(sections)
            body = b"".join(sections[n] for n in sorted(sections))
            yield message[:8] + (len(body) + 20).to_bytes(8, "big") + body + END
    if last != 7:
        raise _Broken("it has no values")


def _follows(before: int, number: int) -> bool:
    return number == before + 1 or (before, number) == (1, 3) or (before == 7 and number in (2, 3, 4))


def _check(sections: dict[int, bytes]) -> None:
    """Refuse a field whose sections are not as long as their templates and counts say."""
    grid, product, packing, bitmap, values = (sections[n] for n in (3, 4, 5, 6, 7))
    templates = _number(grid, 13, 14), _number(product, 8, 9), _number(packing, 10, 11)
    for kind, template, known in zip(
        ("grid", "product", "packing"), templates, ({0}, set(_PRODUCTS), set(_PACKINGS)), strict=True
    ):
        if template not in known:
            raise _Unread(f"of {kind} template {template}")
    cells, (octets, times) = _number(grid, 7, 10), _PRODUCTS[templates[1]]
    if times:
        octets += 12 * (product[times - 1] - 1)
    if (len(grid), len(product), len(packing)) != (72, octets, _PACKINGS[templates[2]]) or _number(product, 6, 7):
        raise _Broken("a section is not as long as its template")
    if cells != _number(grid, 31, 34) * _number(grid, 35, 38) or not 0 < cells <= MOST_CELLS or grid[10]:
        raise _Broken(f"{_number(grid, 35, 38)} x {_number(grid, 31, 34)} cells where {cells} are declared")
    count = cells
    if bitmap[5] == 0:
        if len(bitmap) != 6 + -(-cells // 8):
            raise _Broken("its bitmap does not fit its grid")
        count = int(np.unpackbits(np.frombuffer(bitmap[6:], np.uint8), count=cells).sum())
    elif bitmap[5] != _NO_BITMAP or len(bitmap) != 6:
        raise _Broken(f"a bitmap of kind {bitmap[5]}")
    if _number(packing, 6, 9) != count:
        raise _Broken(f"{_number(packing, 6, 9)} values where {count} are declared")
    bits = packing[19]
    if bits > 32 or (templates[2] == _SIMPLE and (len(values) - 5) * 8 < count * bits):
        raise _Broken("its values do not fit their packing")
