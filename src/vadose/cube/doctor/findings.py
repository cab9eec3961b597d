"""Findings from a survey of a cube's variables, worst first."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.cube.doctor.survey import FILLS, Mask, Survey, months_of, survey
from vadose.cube.doctor.units import contradicts, suspected_unit
from vadose.errors import VadoseError
from vadose.parallel.progress import Progress

STUCK_VALUES = 10
"""Length of a run of equal values in one cell that is unlikely by chance."""
STUCK_SHARE = 1e-3
"""Fraction of cells with such runs above which they are reported; of many cells a few have some by chance."""
LONG_GAP = 16
"""Longest gap that orbits and composites of up to 16 days explain [day]."""
STEP_SIZE = 4.0
"""A step in the monthly means is reported above this multiple of their scatter."""
MIN_MONTHS = 3
"""Minimum number of months before and after a step."""
VERSIONS_AS_OF = "November 2025"
CURRENT = {
    r"SPL3SMP_E": "006",
    r"SPL3SMP": "009",
    r"SPL4SMGP": "008",
    r"GPM_3IMERG[A-Z]+": "V07",
    r"M[OYC]D[0-9A-Z]+": "061",
    r"NLDAS_[A-Z0-9]+_[A-Z]+": "2.0",
}
"""Products (patterns) and their current versions, as of `VERSIONS_AS_OF`."""
SEVERITIES = ("error", "warning", "note")
SLOW = 0.2
"""Median fraction of unchanged values per day above which a variable is slow and may repeat itself."""
# Derived variables inherit the gaps and runs of their source.
_DERIVED = re.compile(r".+_(filled|observed|age|std)|precipitation_\d+d")
# Composites of many days, classes and fixed fields given daily are constant for good reason.
_STEADY = re.compile(
    r"land_cover.*|leaf_area_index|ndvi|evi|albedo|roughness_coefficient|water_fraction|.*_(count|index)"
    r"|(clay|sand|silt)_fraction.*|bulk_density.*|dense_vegetation|extraordinary_surface|elevation"
)


@dataclass(frozen=True)
class Finding:
    """Severity, variable, finding, place and advice.

    An ``'error'`` must be mended before the cube is used, a ``'warning'`` needs a look, a ``'note'`` is information.
    """

    severity: str
    variable: str
    what: str
    where: str
    advice: str


@dataclass(frozen=True)
class Diagnosis:
    """Result of `examine`.

    Attributes
    ----------
    findings
        Worst first.
    ranges
        One row per variable: units, coverage (fraction of mask cells and days with a value); minimum, 1, 50 and 99 %
        quantiles and maximum of the values in the valid range; and that range.
    coverage
        Fraction of mask cells with a value; one row per daily variable, one column per month.
    facts
        Data set, days, cells and mask of the cube.
    """

    findings: tuple[Finding, ...]
    ranges: pd.DataFrame
    coverage: pd.DataFrame
    facts: dict[str, str]

    @property
    def errors(self) -> int:
        """Number of findings with severity ``'error'``."""
        return sum(finding.severity == "error" for finding in self.findings)


def examine(cube: xr.Dataset, *, progress: Progress = lambda what, share: None) -> Diagnosis:
    """Check a cube for errors.

    Every variable is read once, some days at a time, so that a cube may be much larger than memory. Only cells of its
    ``mask`` count. A finding is a reason to look, not proof.

    Parameters
    ----------
    cube
        Daily variables (time, y, x) and fixed ones (y, x), possibly lazy; others are ignored.

    Raises
    ------
    VadoseError
        If the data set is not a cube: no days, no cells, or no variable on them.

    Examples
    --------
    >>> days = pd.date_range("2020-01-01", periods=40)
    >>> cold = np.random.default_rng(0).normal(8.0, 4.0, (40, 3, 3)).astype("float32")
    >>> cube = xr.Dataset({"air_temperature": (("time", "y", "x"), cold)}, coords={"time": days})
    >>> [(f.severity, f.what) for f in examine(cube).findings]
    [('error', 'looks like degree Celsius or Fahrenheit, not K (-6.133 .. 19.82)')]
    """
    names = _names(cube)
    days = pd.DatetimeIndex(cube.indexes["time"])
    mask, findings = _mask(cube)
    findings += [*_time_findings(days), *_version_findings(cube, names), *_granule_findings(cube)]
    rows: dict[str, dict[str, Any]] = {}
    covered: dict[str, NDArray[np.float64]] = {}
    length = months_of(days, np.ones(len(days)))
    for number, name in enumerate(names, 1):
        found = survey(cube[name], mask)
        rows[name] = _row(found)
        if "time" in cube[name].dims:
            covered[name] = (months_of(days, found.known) / length / found.cells).to_numpy()
        findings += _of_variable(found, days, cube[name])
        progress("examining", number / len(names))
    facts = {
        "dataset": str(cube.attrs.get("dataset", "not said")),
        "days": f"{len(days)}, {days.min():%Y-%m-%d} to {days.max():%Y-%m-%d}",
        "cells": f"{cube.sizes['y']} x {cube.sizes['x']}",
        "mask": f"{int(mask.sum())} of {mask.size} cells",
    }
    if cube.attrs.get("simulated") == "true":
        facts["simulated"] = "yes: not measured"
    coverage = pd.DataFrame.from_dict(covered, orient="index", columns=[str(m) for m in length.index])
    return Diagnosis(
        tuple(sorted(_merged(findings), key=lambda f: SEVERITIES.index(f.severity))),
        pd.DataFrame.from_dict(rows, orient="index").rename_axis("variable"),
        coverage.rename_axis("variable"),
        facts,
    )


def _names(cube: xr.Dataset) -> list[str]:
    """Variables on the cells, daily ones first."""
    if missing := [d for d in ("time", "y", "x") if not cube.sizes.get(d)]:
        raise VadoseError(f"data set: no entries along {missing} (dimensions: {dict(cube.sizes)}); expected a cube")
    if not isinstance(cube.indexes.get("time"), pd.DatetimeIndex):
        raise VadoseError("cube: the coordinate time holds no dates; build the cube again")
    numeric = [str(n) for n, v in cube.data_vars.items() if v.dtype.kind in "fiub" and n != "mask"]
    daily = sorted(n for n in numeric if set(cube[n].dims) == {"time", "y", "x"})
    fixed = sorted(n for n in numeric if set(cube[n].dims) == {"y", "x"})
    if not daily and not fixed:
        raise VadoseError(f"cube: expected variables (time, y, x) or (y, x), found {list(cube.data_vars)}")
    return daily + fixed


def _mask(cube: xr.Dataset) -> tuple[Mask, list[Finding]]:
    shape = cube.sizes["y"], cube.sizes["x"]
    mask = cube["mask"].transpose("y", "x").values.astype(bool) if "mask" in cube else np.ones(shape, bool)
    if mask.any():
        return mask, []
    advice = "find the fixed variable without values and mend it; all cells are examined here instead"
    return np.ones(shape, bool), [Finding("error", "mask", "contains no cell", "everywhere", advice)]


def _merged(findings: list[Finding]) -> list[Finding]:
    """Merge equal findings of several variables; they have one cause."""
    variables: dict[tuple[str, ...], list[str]] = {}
    for f in findings:
        variables.setdefault((f.severity, f.what, f.where, f.advice), []).append(f.variable)
    return [Finding(text[0], ", ".join(names), *text[1:]) for text, names in variables.items()]


def _row(found: Survey) -> dict[str, Any]:
    row: dict[str, Any] = {"units": found.units, "coverage": found.known.sum() / (found.cells * len(found.known))}
    row |= {"lowest": found.lowest, "q1": found.quantile(0.01), "q50": found.quantile(0.5), "q99": found.quantile(0.99)}
    return row | {"highest": found.highest, "valid_low": found.valid[0], "valid_high": found.valid[1]}


def _of_variable(found: Survey, days: pd.DatetimeIndex, array: xr.DataArray) -> Iterator[Finding]:
    """Findings of a variable, without those that follow from another one."""
    name = found.name

    def finding(severity: str, what: str, where: str, advice: str) -> Finding:
        return Finding(severity, name, what, where, advice)

    if not found.known.any():
        advice = "check that its granules cover the area and days, and that the quality rule keeps some values"
        yield finding("error", "no value at all", "everywhere", advice)
        return
    if (suspected := suspected_unit(found)) is not None:
        unit, advice = suspected
        low, high = _short(found.quantile(0.001)), _short(found.quantile(0.999))
        yield finding("error", f"looks like {unit}, not {found.units} ({low} .. {high})", "all values", advice)
        return
    derived, steady = bool(_DERIVED.fullmatch(name)), bool(_STEADY.fullmatch(name))
    if (wrong := int(found.outside.sum())) and not derived:
        yield finding(*_impossible(found, wrong, days))
    if not found.inside.any():
        return
    if contradicts(found):
        what = f"its attribute units is {found.said_units!r}, its values look like {found.units!r}"
        yield finding("warning", what, "attributes", "check which is right and correct the attribute")
    daily = "time" in array.dims
    if found.lowest == found.highest and found.cells > 1 and not derived:
        severity = "error" if daily and not steady else "warning"
        advice = "a constant variable carries no information: check its source, or leave it out"
        yield finding(severity, f"the same value {_short(found.lowest)} everywhere", "all days", advice)
        return
    if (never := int((found.seen == 0).sum())) and not derived:
        what = "no value in some cells of the mask" + (" on any day" if daily else "")
        advice = "check that its files cover the complete area; samples there are lost"
        yield finding("warning", what, f"{_percent(never, found.cells)} of cells", advice)
    if daily and not derived:
        yield from (finding(*text) for text in _gaps(found, days))
        if not steady:
            yield from (finding(*text) for text in _repetitions(found, days))
        yield from (finding(*text) for text in _steps(found, days))
        yield from (finding(*text) for text in _shift(found, days, array))


Text = tuple[str, str, str, str]
"""Severity, finding, place and advice."""


def _impossible(found: Survey, wrong: int, days: pd.DatetimeIndex) -> Text:
    low, high = found.valid
    lowest, highest = found.impossible
    fill = [value for value in FILLS if np.isclose(value, (lowest, highest), rtol=1e-3).any()]
    where = f"{_percent(wrong, int(found.known.sum()))} of values"
    if len(found.known) == len(days):
        where += f", {_dates(days, found.outside > 0)}"
    what = f"values outside {_short(low)} .. {_short(high)} (found {_short(lowest)} .. {_short(highest)})"
    advice = f"{_short(fill[0])} marks missing values: read it as such" if fill else "check scale factor and fill value"
    grave = bool(fill) or np.isinf([lowest, highest]).any() or wrong > 1e-3 * found.known.sum()
    return "error" if grave else "warning", what, where, advice


def _gaps(found: Survey, days: pd.DatetimeIndex) -> Iterator[Text]:
    """Days without values; for satellites without daily coverage only long gaps."""
    some = found.known > 0
    first, last = int(some.argmax()), len(some) - int(some[::-1].argmax())
    if last - first < 0.9 * len(some):
        what = f"values only from {days[first]:%Y-%m-%d} to {days[last - 1]:%Y-%m-%d}"
        where = f"{len(some) - (last - first)} of {len(some)} days have no value"
        yield "warning", what, where, "fetch the missing granules, or build a shorter cube"
    every_day = some[first:last].mean() >= 0.95
    gaps = np.zeros_like(some)
    for begin, end in _stretches(~some[first:last]):
        gaps[first + begin : first + end] = every_day or end - begin > LONG_GAP
    if gaps.any():
        advice = "fetch the granules of these days; if none exist, an outage, frozen soil or snow explains it"
        what = "days without a value" if every_day else f"more than {LONG_GAP} days in a row without a value"
        yield "warning", what, _dates(days, gaps), advice


def _repetitions(found: Survey, days: pd.DatetimeIndex) -> Iterator[Text]:
    if np.nanmedian(found.kept) > SLOW:
        return
    repeated = found.repeated
    if repeated.any():
        advice = "a granule was used twice, or its date is wrong: compare the files of these days and build again"
        yield "error", "maps equal to the day before", _dates(days, repeated), advice
    # Values may stay at their limits (no rain, saturated air, lowest retrieval).
    ends = (0.0, found.lowest, found.highest, *found.valid)
    stuck = (found.longest >= STUCK_VALUES) & ~np.isin(found.held, ends)
    if stuck.mean() > STUCK_SHARE and repeated.sum() < STUCK_VALUES - 1:
        low, high = float(found.held[stuck].min()), float(found.held[stuck].max())
        at = f"at {_short(low)}" if low == high else f"between {_short(low)} and {_short(high)}"
        what = f"{STUCK_VALUES} or more equal values in a row, {at}"
        advice = "a limit of the retrieval, or a field that is not updated: leave these cells out if models get worse"
        yield "warning", what, f"{_percent(int(stuck.sum()), found.cells)} of cells", advice


def _steps(found: Survey, days: pd.DatetimeIndex) -> Iterator[Text]:
    """A lasting step in the monthly means, apart from the season.

    The means are fitted by the month of the year and a step at each month in turn; the best step is reported if it
    exceeds `STEP_SIZE` times the residual. Less than two years cannot separate a step from the season.
    """
    sums = pd.DataFrame({"total": months_of(days, found.total), "count": months_of(days, found.inside)})
    sums = sums[sums["count"] > 0.1 * sums["count"].median()]
    if len(sums) < 24:
        return
    means = (sums.total / sums["count"]).to_numpy()
    months = pd.PeriodIndex(sums.index)

    def off_season(values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Anomalies from the mean of the month of the year (months, ...)."""
        table = pd.DataFrame(values)
        anomalies: NDArray[np.float64] = (table - table.groupby(months.month).transform("mean")).to_numpy()
        return anomalies

    places = np.arange(MIN_MONTHS, len(means) - MIN_MONTHS + 1)
    steps = off_season((np.arange(len(means))[:, None] >= places).astype(float))
    anomalies = off_season(means)
    sizes = (steps * anomalies).sum(axis=0) / (steps**2).sum(axis=0)
    left = ((anomalies - sizes * steps) ** 2).sum(axis=0)
    best = int(left.argmin())
    scatter = float(np.sqrt(left[best] / max(len(means) - len(set(months.month)) - 2, 1)))
    # Ignore steps within the rounding of a constant mean.
    if abs(sizes[best]) > max(STEP_SIZE * scatter, 1e-4 * float(np.abs(means).max())):
        what = f"the mean changes by {_short(sizes[best])} permanently, beyond the season"
        where = f"from {months[places[best]]} on; other months scatter by {_short(scatter)}"
        advice = "check whether the version or processing of the product changed then; use granules of one version"
        yield "warning", what, where, advice


def _shift(found: Survey, days: pd.DatetimeIndex, array: xr.DataArray) -> Iterator[Text]:
    """Training statistics that differ much from the other days."""
    period, mean, std = (array.attrs.get(f"training_{key}") for key in ("days", "mean", "std"))
    if period is None or mean is None or not std:
        return
    others = np.asarray((days < pd.Timestamp(period[0])) | (days > pd.Timestamp(period[1])))
    if found.inside[others].any():
        shift = (found.total[others].sum() / found.inside[others].sum() - mean) / std
        if abs(shift) > 1:
            what = f"its mean outside the training days differs by {_short(shift)} standard deviations"
            advice = "another season or climate: train on complete years, and on more of them"
            yield "note", what, f"training {period[0]} .. {period[1]}", advice


def _time_findings(days: pd.DatetimeIndex) -> Iterator[Finding]:
    advice = "build the cube again: models and sums over days count days by their position"
    if not days.is_monotonic_increasing or days.has_duplicates:
        bad = np.append(False, np.diff(days.asi8) <= 0)
        yield Finding("error", "time", "days not in order, or repeated", _dates(days, bad), advice)
    elif len(missing := pd.date_range(days[0], days[-1]).difference(days)):
        yield Finding("error", "time", "days missing", _dates(missing, np.ones(len(missing), bool)), advice)


def _version_findings(cube: xr.Dataset, names: Iterable[str]) -> Iterator[Finding]:
    taken: dict[tuple[str, str], list[str]] = {}
    for name in names:
        product, version = (str(cube[name].attrs.get(key, "")) for key in ("product", "version"))
        taken.setdefault((product, version), []).append(name)
    for (product, version), variables in taken.items():
        current = next((v for pattern, v in CURRENT.items() if re.fullmatch(pattern, product)), None)
        number = re.match(r"[Vv]?(\d+(?:\.\d+)?)", version)
        if current is None:
            continue
        if number is None:
            advice = f"check the names of its granules; {current} was current in {VERSIONS_AS_OF}"
            yield Finding("note", ", ".join(variables), "version not known", product, advice)
        # NLDAS counted 002, then 2.0: an equal number spelled differently is older.
        elif number[1] != current.lstrip("V") and float(number[1]) <= float(current.lstrip("V")):
            advice = f"{current} was current in {VERSIONS_AS_OF}; fetch that, and do not mix versions"
            yield Finding("warning", ", ".join(variables), "an old version", f"{product} {version}", advice)


def _granule_findings(cube: xr.Dataset) -> Iterator[Finding]:
    """Granules that a build left out."""
    broken = json.loads(cube.attrs.get("broken_granules", "{}"))
    if broken:
        first, reason = next(iter(broken.items()))
        what = f"{len(broken)} granule{'s' if len(broken) > 1 else ''} could not be read; days or cells are missing"
        yield Finding("warning", "cube", what, f"{first}: {reason}", "fetch them again and build again")


def _stretches(those: Mask) -> list[tuple[int, int]]:
    """First and one past the last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], those, [False]]).astype(int)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _dates(days: pd.DatetimeIndex, those: Mask, most: int = 4) -> str:
    """Days as text, at most ``most`` stretches."""
    stretches = _stretches(those)
    words = [f"{days[a]:%Y-%m-%d}" + (f" to {days[b - 1]:%Y-%m-%d}" if b - a > 1 else "") for a, b in stretches[:most]]
    more = f" and {len(stretches) - most} more stretches" if len(stretches) > most else ""
    count = int(those.sum())
    return f"{count} day{'' if count == 1 else 's'}: {', '.join(words)}{more}"


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole
    return f"{share:.0f} %" if share >= 10 else f"{share:.2g} %"


def _short(value: float) -> str:
    return "-" if np.isnan(value) else f"{float(value):.4g}"
