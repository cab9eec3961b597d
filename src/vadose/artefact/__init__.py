"""Artefacts: written whole or not at all, by one process at a time, and saying what they were made from."""

from vadose.artefact.atomic import locked, remove, writing
from vadose.artefact.chunks import CHUNKS, check_chunks, note_chunks
from vadose.artefact.contents import complete, identity, is_current, made_from, note_inputs, provenance

__all__ = [
    "CHUNKS",
    "check_chunks",
    "complete",
    "identity",
    "is_current",
    "locked",
    "made_from",
    "note_chunks",
    "note_inputs",
    "provenance",
    "remove",
    "writing",
]
