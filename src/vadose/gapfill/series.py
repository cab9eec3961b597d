"""Series with gaps, the one call that fills them, and withholding observations to learn or to test."""

from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, Self, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError

Array = NDArray[np.floating]
Mode = Literal["causal", "smoothed"]
"""``causal``: from the day itself and the past; ``smoothed``: from the whole series."""
Values = TypeVar("Values", xr.DataArray, xr.Dataset, Array)


@dataclass(frozen=True)
class Series:
    """Series of any number of cells, on common or on each cell's own times.

    Attributes
    ----------
    values
        (times, cells, variables), NaN where not observed.
    days
        (times, 1) or (times, cells), days since 1970-01-01, never falling.
    covariates
        (times, cells, n), what is known at every time, such as the day's weather; n may be 0.
    static
        (cells, n), such as the soil's texture; n may be 0. NaN stands for the mean.
    """

    values: Array
    days: Array
    covariates: Array
    static: Array

    def __post_init__(self) -> None:
        times, cells, _ = self.values.shape
        if self.days.shape not in ((times, 1), (times, cells)):
            raise VadoseError(
                f"series of {times} times and {cells} cells: found days of shape {self.days.shape}; give "
                f"({times},), or ({times}, {cells}) for each cell's own times"
            )
        if not np.isfinite(self.days).all() or (np.diff(self.days, axis=0) < 0).any():
            raise VadoseError("series: times must be strictly increasing and without gaps (NaT)")
        if self.covariates.shape[:2] != (times, cells) or len(self.static) != cells:
            raise VadoseError(
                f"series of {times} times and {cells} cells: found covariates of shape {self.covariates.shape} and "
                f"static fields of shape {self.static.shape}; expected the same times and cells"
            )
        if bad := int((~np.isfinite(self.covariates[:, self.inside])).sum()):
            raise VadoseError(
                f"series: {bad} covariate values are missing; covariates are what is known at every time. Leave the "
                "variable out, or give it as one more series to be filled"
            )
        if np.isinf(self.values).any():
            raise VadoseError("series: some values are infinite; use NaN for missing values")

    @property
    def inside(self) -> NDArray[np.bool_]:
        """(cells,): cells that have covariates at all; those beyond a coast have none at any time."""
        inside: NDArray[np.bool_] = np.isfinite(self.covariates).any(axis=(0, 2)) | (self.covariates.shape[2] == 0)
        return inside

    def cells(self, which: slice | NDArray[np.integer] | NDArray[np.bool_]) -> "Series":
        """Those of some cells."""
        days = self.days if self.days.shape[1] == 1 else self.days[:, which]
        return Series(self.values[:, which], days, self.covariates[:, which], self.static[which])

    def times(self, which: slice) -> "Series":
        """Those of some times."""
        return replace(self, values=self.values[which], days=self.days[which], covariates=self.covariates[which])

    def without(self, hidden: NDArray[np.bool_]) -> "Series":
        """The same with the values at ``hidden`` (times, cells, variables) not observed."""
        return replace(self, values=np.where(hidden, np.nan, self.values))


class Filler(Protocol):
    """What fills gaps: learns from series, then gives mean and standard deviation at every time."""

    name: str
    modes: tuple[Mode, ...]

    def fit(self, series: Series) -> Self:
        """Learn from series and give itself back."""

    def predict(self, series: Series, mode: Mode) -> tuple[Array, Array]:
        """Mean and standard deviation (times, cells, variables)."""


def fill(
    observed: Values,
    filler: Filler,
    mode: Mode,
    *,
    days: Array | None = None,
    covariates: xr.Dataset | Array | None = None,
    static: xr.Dataset | Array | None = None,
) -> tuple[Values, Values]:
    """Fill the gaps of series: mean and standard deviation at every time.

    Where a value was observed it is kept, with a deviation of 0, which says nothing of the
    observation's own error. Cells without any covariate (beyond a coast) stay NaN; others are filled
    even where nothing was ever observed.

    Parameters
    ----------
    observed
        (time, ...) as DataArray, a Dataset of several variables, or an array (times, cells) or
        (times, cells, variables); NaN where not observed.
    filler
        A fitted filler, such as `vadose.gapfill.ClimatologyAR1`.
    mode
        ``'causal'`` for whatever feeds a forecast, ``'smoothed'`` for hindcasts. Causal is the state:
        the filler's own parameters are those it was fitted with.
    days
        (times,) or (times, cells), days since 1970-01-01; of labelled series their coordinate
        ``time``, of plain arrays 0, 1, 2 ... when left out.
    covariates
        (time, ...) variables known at every time, or an array (times, cells, n).
    static
        (...) fields, or an array (cells, n).

    Returns
    -------
    mean, std
        Of the form and units of ``observed``. Labelled ones carry ``fill_method``, ``causal`` and
        ``filled_share``, the share of their values that was filled.

    Raises
    ------
    VadoseError
        When shapes differ, times fall, covariates miss, or the filler has no such mode.

    Examples
    --------
    >>> from vadose.gapfill import Interpolation
    >>> series = xr.DataArray(
    ...     [0.2, np.nan, 0.3, np.nan, 0.3], [("time", np.arange("2020-01-01", "2020-01-06", dtype="M8[D]"))]
    ... )
    >>> mean, std = fill(series, Interpolation("linear").fit(series_of(series)), "smoothed")
    >>> mean.values.tolist(), mean.attrs["causal"], mean.attrs["filled_share"]
    ([0.2, 0.25, 0.3, 0.3, 0.3], 'false', 0.4)
    """
    series: Series = series_of(observed, days=days, covariates=covariates, static=static)
    mean, std = (np.where(series.inside[:, None], x, np.nan) for x in filler.predict(series, mode))
    known = np.isfinite(series.values)
    mean, std = np.where(known, series.values, mean), np.where(known, 0.0, std)
    note = {"fill_method": filler.name, "causal": "true" if mode == "causal" else "false"}
    return _like(observed, mean, note), _like(observed, std, note)


def check_mode(filler: Filler, mode: Mode) -> None:
    """Refuse a mode that the filler does not have."""
    if mode not in filler.modes:
        raise VadoseError(f"filler {filler.name!r} has no mode {mode!r}; it offers {list(filler.modes)}")


def series_of(
    observed: xr.DataArray | xr.Dataset | Array,
    *,
    days: Array | None = None,
    covariates: xr.Dataset | Array | None = None,
    static: xr.Dataset | Array | None = None,
) -> Series:
    """Series of labelled or plain arrays; the parameters are those of `fill`."""
    of_time: Any = covariates
    fixed: Any = static
    if isinstance(observed, xr.DataArray | xr.Dataset):
        dims = ["time", *_cell_dims(observed)]
        values = _table(observed, dims)
        days = observed["time"].values.astype("datetime64[s]").astype(float) / 86400 if days is None else days
        of_time = None if covariates is None else _table(of_time, dims)
        fixed = None if static is None else _table(fixed, dims[1:])
    else:
        values = np.asarray(observed, np.result_type(observed, np.float32))
        values = values[..., None] if values.ndim == 2 else values
        if values.ndim != 3:
            raise VadoseError(f"series: found an array of shape {values.shape}; give (times, cells[, variables])")
    times, cells = values.shape[:2]
    days = np.arange(float(times)) if days is None else np.asarray(days, float)
    return Series(
        values,
        days[:, None] if days.ndim == 1 else days,
        np.zeros((times, cells, 0), np.float32) if of_time is None else np.asarray(of_time),
        np.zeros((cells, 0), np.float32) if fixed is None else np.asarray(fixed),
    )


def withhold(series: Series, share: float, length: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Choose observations to hide, in blocks of ``length`` days: (times, cells, variables).

    Each cell's and variable's record is cut into blocks from a random day on, and each block is chosen
    with probability ``share``; chosen blocks may adjoin. A length of 1 takes single days.

    Examples
    --------
    >>> series = series_of(np.ones((3650, 2)))
    >>> hidden = withhold(series, 0.2, 10.0, np.random.default_rng(0))
    >>> round(float(hidden.mean()), 1)
    0.2
    """
    cells, variables = series.values.shape[1:]
    since = (series.days - series.days.min())[..., None] / length
    block = np.floor(since + generator.random((cells, variables))).astype(int)
    chosen = generator.random((int(block.max()) + 1 if block.size else 1, cells, variables)) < share
    return np.take_along_axis(chosen, np.broadcast_to(block, series.values.shape), axis=0) & np.isfinite(series.values)


def _cell_dims(labelled: xr.DataArray | xr.Dataset) -> list[str]:
    if "time" not in labelled.dims:
        raise VadoseError(f"series: found the dimensions {tuple(map(str, labelled.dims))}; one has to be 'time'")
    return [str(d) for d in labelled.dims if d != "time"]


def _table(labelled: xr.DataArray | xr.Dataset, dims: list[str]) -> Array:
    """(time, cells, variables) or (cells, variables)."""
    arrays = [labelled] if isinstance(labelled, xr.DataArray) else list(labelled.data_vars.values())
    for array in arrays:
        if set(array.dims) != set(dims):
            raise VadoseError(f"{array.name!r}: found the dimensions {array.dims}; this series has {tuple(dims)}")
    lead = [d for d in dims if d == "time"]
    columns = [a.transpose(*dims).values.reshape(*(a.sizes[d] for d in lead), -1) for a in arrays]
    return np.stack(columns, axis=-1)


def _like(observed: Any, values: Array, note: dict[str, str]) -> Any:
    """The values in the form of what was given."""
    if isinstance(observed, xr.Dataset):
        arrays = observed.data_vars.items()
        return xr.Dataset(
            {k: _like(a, values[..., [i]], note) for i, (k, a) in enumerate(arrays)}, attrs=observed.attrs
        )
    if isinstance(observed, xr.DataArray):
        dims = ["time", *_cell_dims(observed)]
        ordered = observed.transpose(*dims)
        filled = ordered.copy(data=values[..., 0].reshape(ordered.shape).astype(observed.dtype))
        share = float((filled.notnull() & ordered.isnull()).sum() / max(int(filled.notnull().sum()), 1))
        return filled.transpose(*observed.dims).assign_attrs(**note, filled_share=round(share, 4))
    return values.reshape(np.shape(observed)).astype(np.result_type(observed, np.float32))
