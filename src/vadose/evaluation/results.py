"""The tables of an evaluation, as they lie in its folder."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vadose.errors import VadoseError


@dataclass(frozen=True)
class Scores:
    """What `vadose.evaluation.evaluate` wrote into ``folder``.

    Raises
    ------
    VadoseError
        When the folder holds no evaluation.
    """

    folder: Path

    def __post_init__(self) -> None:
        if not (self.folder / "scores.csv").exists():
            raise VadoseError(f"{self.folder}: not an evaluation; make one with: vadose evaluate")

    @property
    def table(self) -> pd.DataFrame:
        """Median over sites of each score by model and lead, with its 95 % interval and the number of sites."""
        return self.read("scores")

    @property
    def comparisons(self) -> pd.DataFrame:
        """Median over sites of a model's score minus every other model's, on the same samples, with its interval."""
        return self.read("comparisons")

    @property
    def left_out(self) -> pd.DataFrame:
        """What the tables leave out, with reason and number."""
        return self.read("left_out")

    def read(self, name: str) -> pd.DataFrame:
        """A table by its name, such as ``'strata'``."""
        return pd.read_csv(self.folder / f"{name}.csv", keep_default_na=False, na_values=[""])

    def _repr_html_(self) -> str:
        return str(self.table.to_html(index=False))
