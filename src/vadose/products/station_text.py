"""Text files of stations: decoded within stated limits, and what their days, places and moisture have to be."""

import codecs
import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from vadose.errors import VadoseError

MOST_BYTES = 256 << 20
"""Largest file, or member of a zip archive; 20 years of readings every 10 minutes are 100 MB."""
LONGEST_LINE = 100_000
"""Most characters of a line."""
MOST_MEMBERS = 200_000
"""Most files in an archive."""
FIRST_DAY = pd.Timestamp("1900-01-01")
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """The text of a file, in the encoding of its byte-order mark where it has one; line ends as LF.

    Raises
    ------
    VadoseError
        When the file cannot be read or decoded, or is larger or has longer lines than `MOST_BYTES`, `LONGEST_LINE`.
    """
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise VadoseError(f"{path}: {size >> 20} MiB; expected at most {MOST_BYTES >> 20} MiB of a station file")
        data = path.read_bytes()
        text = data.decode(_encoding(data, encoding))
    except (OSError, UnicodeError) as error:
        raise VadoseError(f"{path}: not plain text as published: {error}; export or fetch it again") from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if len(text) > LONGEST_LINE and (longest := max(map(len, text.split("\n")))) > LONGEST_LINE:
        raise VadoseError(f"{path}: a line of {longest} characters; expected at most {LONGEST_LINE}")
    return text


def first_text(path: Path, size: int = 65536) -> str:
    """The beginning of a file as text, to recognise it by; what cannot be decoded is replaced."""
    with path.open("rb") as stream:
        data = stream.read(size)
    return data.decode(_encoding(data, "utf-8"), errors="replace").replace("\r\n", "\n").replace("\r", "\n")


def fields_of(text: str) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and fields, separated by what separates most of the header; decimal commas become points."""
    lines = text.split("\n")
    head = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    separator = max(",;\t", key=head.count)
    reader = csv.reader(lines, delimiter=separator)
    for row in reader:
        yield reader.line_num, row if separator == "," else [re.sub(r"^([-+]?\d*),(\d+)$", r"\1.\2", v) for v in row]


def impossible_days(days: ArrayLike) -> "pd.Series[bool]":
    """Which days are none, or before 1900 or more than a year ahead: a typing error would make a store of ages.

    Examples
    --------
    >>> impossible_days(np.array(["NaT", "2020-02-29", "9999-06-20"], "datetime64[s]")).tolist()
    [True, False, True]
    """
    read = pd.Series(np.asarray(days, "datetime64[s]"))
    return ~read.between(FIRST_DAY, pd.Timestamp.now() + pd.DateOffset(years=1))


def check_place(lat: float, lon: float, place: str) -> None:
    """Raise where a latitude or longitude is none: missing, beyond a pole, or the two exchanged."""
    if not (abs(lat) <= 90 and abs(lon) <= 180):
        exchanged = abs(lon) <= 90 and abs(lat) <= 180
        raise VadoseError(
            f"{place}: latitude {lat:g}, longitude {lon:g}; expected at most 90 and 180 degrees"
            + (" (are the two exchanged?)" if exchanged else "")
        )


def check_moisture(moisture: ArrayLike, place: str) -> None:
    """Raise where moisture [m3 m-3] is in percent or another unit: half of its values exceed 1."""
    values = np.asarray(moisture, float)
    values = values[np.isfinite(values)]
    if len(values) and np.median(values) > 1:
        raise VadoseError(
            f"{place}: half of the values of soil moisture exceed {np.median(values):g} m3 m-3; expected 0 to 1. "
            "Are they percent?"
        )


def _encoding(data: bytes, usual: str) -> str:
    return next((name for mark, name in _MARKS.items() if data.startswith(mark)), usual)
