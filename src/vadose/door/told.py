"""YAML files that describe data of your own, read as a dataclass and checked."""

from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from vadose.errors import VadoseError

Told = TypeVar("Told")


def read_told(path: Path, kind: type[Told]) -> Told:
    """Read a YAML file as a dataclass.

    Raises
    ------
    VadoseError
        When it cannot be read, or a key or value in it is wrong; the message names it.
    """
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise VadoseError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from error
    return told_of(values, kind, str(path))


def told_of(values: object, kind: type[Told], place: str) -> Told:
    """The same of plain values."""
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if part not in ("str", "tuple[str, ...]"))
        of: Any = kind
        known = f"; known are {', '.join(f.name for f in fields(of))}" if len(first["loc"]) < 2 else ""
        raise VadoseError(f"{place}: key {key!r}: {first['msg']}{known}") from error
