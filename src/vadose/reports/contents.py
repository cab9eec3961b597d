"""Tables and figures written into a folder, with an index of what each shows or why it is missing."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from vadose.artefact import is_current, note_inputs, writing

Content = tuple[str, str, Callable[[], pd.DataFrame | Figure]]
"""File name, description, and function that makes it."""
DPI = 150


class Absent(Exception):
    """Reason why a table or figure cannot be made."""


def write_contents(
    contents: Iterable[Content], out: Path, inputs: Mapping[str, object], *, simulated: bool = False
) -> Path:
    """Write tables as CSV, figures as PNG and ``index.csv`` (file, shows, absent_because) into a folder.

    A folder made from the same inputs is kept.
    """
    if is_current(out, **inputs):
        return out
    index = []
    with writing(out) as scratch:
        scratch.mkdir()
        note_inputs(scratch, **inputs)
        for file, shows, make in contents:
            row = {"file": file, "shows": shows + ("; simulated data" if simulated else ""), "absent_because": ""}
            try:
                made = make()
                if isinstance(made, Figure):
                    if simulated:
                        made.supxlabel("simulated data", x=0.995, ha="right", fontsize=7)
                    made.savefig(scratch / file, dpi=DPI)
                else:
                    made.to_csv(scratch / file, index=False, float_format="%.6g")
            except Absent as reason:
                row["absent_because"] = str(reason)
            index.append(row)
        pd.DataFrame(index).to_csv(scratch / "index.csv", index=False)
    return out
