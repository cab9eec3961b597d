"""Quality flags of daily station series: what is wrong with a sensor's soil moisture, and since when that is known."""

import json
from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from vadose.errors import VadoseError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Flag -> what it means; its bit is its place here.
FLAGS = {
    "range_low": "below 0 m3 m-3 (ISMN C01)",
    "range_high": "above 0.60 m3 m-3 (ISMN C02)",
    "above_saturation": "above the pore space known for the sensor (ISMN C03)",
    "frozen": "soil temperature at the sensor at or below 0 degC",
    "zero": "exactly 0: below what the sensor resolves",
    "spike": "a day apart from both its neighbours, and no water came",
    "break": "a jump no water explains, or a sudden fall from a steady level, or to 0",
    "constant": "the same value for longer than soils hold it, or through rain",
    "plateau": "steady near the highest value so far, reached at a stroke",
    "unreliable": "too many values of the sensor's last year out of range, 0, constant or on a plateau",
    "unflagged": "ISMN series that its network never flagged",
    "stuck_later": "first days of a constant run or plateau, before it was long enough to be one",
}
BIT = {name: 1 << i for i, name in enumerate(FLAGS)}
# Known only after the day: they clean what is scored, never what a forecast is made from.
HINDSIGHT = ("spike", "stuck_later")
# Bulk densities are of few samples, and some sensors read above their pore space for years: kept, but marked.
KEPT = ("above_saturation",)
# Xu et al. (2025) keep what the ISMN flags C02 and C03.
KEPT_HIGH = (*KEPT, "range_high")


def masks_of(kept: tuple[str, ...]) -> tuple[int, int]:
    """Bits of the flags whose values are left out of what is scored, and of what a forecast is made from."""
    return (
        sum(bit for name, bit in BIT.items() if name not in kept),
        sum(bit for name, bit in BIT.items() if name not in (*kept, *HINDSIGHT)),
    )


LEFT_OUT, LEFT_OUT_CAUSAL = masks_of(KEPT)

FREEZING = 273.15
THAWED = 274.15  # K; next to 0 degC a part of the water may freeze and thaw again
WARM = 278.15  # K; above it what falls is rain, not snow
RAIN = 1.0  # kg m-2 of a day that may wet the soil
SPIKE = 0.05  # m3 m-3
JUMP = 0.10  # m3 m-3
RESPONSE = 0.02  # m3 m-3, a change in another sensor of the station that day or the days beside it
STEADY = (5, 0.03)  # days, m3 m-3
# Days of one value: more than the longest run at any of 107 USCRN stations in 2015-2021, by depth.
CONSTANT_DAYS = {5: 16, 10: 25, 20: 32, 50: 35, 100: 49}
CONSTANT_IN_RAIN = (7, 20.0, 12.5)  # days, kg m-2 meanwhile, down to [cm]
PLATEAU = (7, 0.002, 0.95, 0.03)  # days, spread, share of the highest value, rise in the STEADY days before
UNRELIABLE = (0.25, 365, 90)  # share of the values of the last days, the fewest to judge by


def screen(station: xr.Dataset) -> xr.DataArray:
    """Flag what is wrong with the soil moisture of one station: a bit mask by day and depth.

    Range and saturation are the ISMN's checks C01, C02 and C03; they look at single values and hold at any step.
    Its other checks do not: spikes (D06: 15 % there and back, over 25 readings), breaks (D07, D08: derivatives
    over 25 readings), low constant values (D09: 13 readings) and saturated plateaus (D10: 12 readings) have
    windows and thresholds meant for hourly readings; on daily means an ordinary rain is a "spike" and a dry
    fortnight "constant". Checks of this package take their place, for daily means. They call on what an hourly
    check lacks, the other sensors of the station: water that comes or goes shows in more than one of them, or in
    the rain gauge. Where neither can be asked a rise is not judged.

    ==================  ====================================================================================
    range_low, _high    below 0, above 0.60 m3 m-3
    above_saturation    above ``saturation``, where known
    frozen              soil temperature at the same depth <= 0 degC; not set where it is missing
    zero                exactly 0
    break               rise > 0.10 on thawed soil, no rain >= 1 kg m-2 and no rise > 0.02 in another sensor on
                        the day or the day before; fall > 0.10 after 5 days within 0.03, in this sensor alone,
                        thawed; fall > 0.05 to exactly 0
    constant            one value for 16, 25, 32, 35, 49 days at 5, 10, 20, 50, 100 cm; or for 7 days in
                        which >= 20 kg m-2 of rain fell on warm soil, to 12.5 cm; from the day that completes it
    plateau             >= 7 days within 0.002, from 0.95 of the sensor's highest value so far on, after a rise
                        > 0.03 within 5 days; from the seventh day
    unreliable          > 25 % of the sensor's values of the last 365 days (90 at least) are out of range, zero,
                        constant, plateau
    unflagged           value stems from ISMN hours without any flag
    ------------------  ------------------------------------------------------------------------------------
    spike               > 0.05 from both neighbours, which agree within half of that, without water as for a
                        break, the day after included
    stuck_later         the days of a run or plateau before ``constant`` or ``plateau``
    ==================  ====================================================================================

    The flags above the line are causal: that of a day follows from the record up to that day. The two below it
    (`HINDSIGHT`) need days after. Observations that are scored are freed of all; what a forecast is made from
    only of the causal ones. What each choice keeps of 235 USCRN and SCAN stations stands in docs/methods.md.

    Parameters
    ----------
    station
        ``soil_moisture`` [m3 m-3] (time, depth), consecutive days; ``soil_temperature`` [K],
        ``precipitation`` [kg m-2] (time), ``saturation`` [m3 m-3] (depth) and ``unflagged`` where known.

    Returns
    -------
    xarray.DataArray
        int32 (time, depth), 0 where nothing is wrong or nothing was measured; CF ``flag_masks`` and
        ``flag_meanings``; ``hindsight`` names the flags that need days after.

    Raises
    ------
    VadoseError
        When days are missing or out of order.

    References
    ----------
    Dorigo et al. (2013), doi:10.2136/vzj2012.0097.

    Examples
    --------
    >>> days = np.arange("2020-06-01", "2020-07-01", dtype="datetime64[D]").astype("datetime64[ns]")
    >>> moisture = 0.20 - 0.001 * np.arange(30)
    >>> moisture[[9, 19]] = 0.65, 0.0
    >>> series = xr.DataArray(moisture[:, None], {"time": days, "depth": [5]}, name="soil_moisture")
    >>> flags = screen(series.to_dataset()).values[:, 0]
    >>> {k: [name for name in FLAGS if flags[k] & BIT[name]] for k in flags.nonzero()[0].tolist()}
    {9: ['range_high'], 19: ['zero', 'break']}
    """
    if (np.diff(station.time.values) != np.timedelta64(1, "D")).any():
        name = station.attrs.get("station", "")
        raise VadoseError(f"station {name}: days are missing or out of order; give every day once")
    moisture: Array = station.soil_moisture.transpose("time", "depth").values.astype(float)
    none = np.full(moisture.shape, np.nan)
    temperature: Array = (
        station.get("soil_temperature", xr.DataArray(none, dims=("time", "depth"))).transpose("time", "depth").values
    )
    rain: Array = station["precipitation"].values if "precipitation" in station else none[:, 0]
    saturation = station["saturation"].values if "saturation" in station else none[0]
    unflagged = station["unflagged"].values if "unflagged" in station else np.zeros(moisture.shape, bool)

    flagged = {name: np.zeros(moisture.shape, bool) for name in FLAGS}
    flagged |= zip(FLAGS, _plausible(moisture, saturation), strict=False)
    flagged["frozen"] = temperature <= FREEZING
    flagged["zero"] = moisture == 0
    flagged["spike"], flagged["break"] = _steps(moisture, temperature, rain)
    for i, depth in enumerate(station.depth.values):
        series, sound = moisture[:, i], moisture[:, i] <= 0.60
        constant, before = _constant(series, temperature[:, i], rain, float(depth))
        plateau, start = _plateau(series, np.where(sound & ~flagged["frozen"][:, i], series, np.nan))
        flagged["constant"][:, i], flagged["plateau"][:, i] = constant, plateau
        flagged["stuck_later"][:, i] = (before | start) & ~constant & ~plateau
    measured = np.isfinite(moisture)
    wrong = np.any([flagged[k] for k in ("range_low", "range_high", "zero", "constant", "plateau")], axis=0)
    share, days, fewest = UNRELIABLE
    of_year = _sum_of_last(measured, days)
    flagged["unreliable"] = (_sum_of_last(wrong & measured, days) > share * of_year) & (of_year >= fewest)
    flagged["unflagged"] = unflagged
    bits = sum(np.where(mask & measured, BIT[name], 0) for name, mask in flagged.items())
    return xr.DataArray(
        np.asarray(bits, np.int32),
        dims=("time", "depth"),
        coords={"time": station.time, "depth": station.depth},
        attrs={
            "long_name": "what is wrong with soil moisture",
            "flag_masks": list(BIT.values()),
            "flag_meanings": " ".join(FLAGS),
            "hindsight": " ".join(HINDSIGHT),
            "comment": json.dumps(FLAGS),
        },
    )


def _plausible(moisture: Array, saturation: Array) -> tuple[Mask, Mask, Mask]:
    """The ISMN's checks C01, C02 and C03 (Dorigo et al. 2013, Table 2), (time, depth) each.

    They compare percent of volume; six digits of it, so that rounding of the product does not count.
    """
    percent, limit = np.round(100 * moisture, 6), 100 * saturation
    return percent < 0, percent > 60, (limit > 0) & (percent > limit)


def _steps(moisture: Array, temperature: Array, rain: Array) -> tuple[Mask, Mask]:
    """Spikes and breaks, (time, depth) each."""
    step = np.diff(moisture, axis=0, prepend=np.nan)
    after = np.diff(moisture, axis=0, append=np.nan)
    rises, falls, known = step > RESPONSE, step < -RESPONSE, np.isfinite(step)
    others = [np.arange(moisture.shape[1]) != i for i in range(moisture.shape[1])]

    def elsewhere(mask: Mask) -> Mask:
        return np.column_stack([mask[:, other].any(axis=1) for other in others])

    wet = ((rain >= RAIN)[:, None]) | elsewhere(rises) | (temperature <= THAWED)
    unknown = np.isnan(rain)[:, None]

    def dry(near: Callable[[Mask], Mask]) -> Mask:
        return ~near(wet) & (~near(unknown) | elsewhere(known))

    apart = np.where(np.sign(step) == -np.sign(after), np.fmin(np.abs(step), np.abs(after)), 0.0)
    spike = dry(_around) & (apart > SPIKE) & (np.abs(step + after) <= apart / 2)
    # The day after a spike is a step too, back to where it was.
    back = np.roll(spike, 1, axis=0)
    jump = dry(_since) & (step > JUMP)
    days, spread = STEADY
    steady = np.zeros(moisture.shape, bool)
    if len(moisture) > days:
        windows = sliding_window_view(moisture, days, axis=0)[:-1]
        steady[days:] = windows.max(axis=-1) - windows.min(axis=-1) < spread
    fall = (step < -JUMP) & steady & ~_since(elsewhere(falls) | (temperature <= THAWED))
    to_zero = (step < -SPIKE) & (moisture == 0)
    return spike, (jump | fall | to_zero) & ~back


def _constant(series: Array, temperature: Array, rain: Array, depth: float) -> tuple[Mask, Mask]:
    """Runs of one value, too long for the depth or through rain on warm soil: known as such, and the days before."""
    known, before = np.zeros((2, len(series)), bool)
    days, amount, deepest = CONSTANT_IN_RAIN
    longest = np.interp(depth, list(CONSTANT_DAYS), list(CONSTANT_DAYS.values()))
    for begin, end in _runs(np.abs(np.diff(series)) < 5e-5):
        run = slice(begin, end + 1)  # a run of n equal steps is n + 1 values
        length = np.arange(1, end + 2 - begin)
        meanwhile = np.nancumsum(rain[run]) - np.nan_to_num(rain[begin])
        rained = (depth <= deepest) & (length >= days) & (meanwhile >= amount)
        warm = np.minimum.accumulate(temperature[run]) > WARM
        known[run] = np.logical_or.accumulate((length >= longest) | (rained & warm))
        before[run] = known[end] & ~known[run]
    return known, before


def _plateau(series: Array, sound: Array) -> tuple[Mask, Mask]:
    """Steady stretches near the highest sound value so far that begin with a sharp rise: known, and the days before."""
    known, before = np.zeros((2, len(series)), bool)
    days, spread, share, rise = PLATEAU
    if len(series) < days:
        return known, before
    windows = sliding_window_view(series, days)
    highest = np.fmax.accumulate(sound)[days - 1 :]
    flat = (windows.max(axis=1) - windows.min(axis=1) <= spread) & (windows.mean(axis=1) >= share * highest)
    for begin, end in _runs(flat):
        last = series[max(0, begin - STEADY[0]) : begin]
        if np.isfinite(last).any() and series[begin] - np.nanmin(last) > rise:
            before[begin : begin + days - 1] = True
            known[begin + days - 1 : end + days - 1] = True
    return known, before


def _around(mask: Mask) -> Mask:
    """Whether it is so on the day, the day before or the day after."""
    wide = _since(mask)
    wide[:-1] |= mask[1:]
    return wide


def _since(mask: Mask) -> Mask:
    """Whether it is so on the day or the day before."""
    wide = mask.copy()
    wide[1:] |= mask[:-1]
    return wide


def _sum_of_last(mask: Mask, days: int) -> NDArray[np.int64]:
    """How often it is so in the days that end with each, along the first axis."""
    total: NDArray[np.int64] = np.cumsum(mask, axis=0, dtype=np.int64)
    total[days:] -= total[:-days].copy()
    return total


def _runs(mask: Mask) -> list[tuple[int, int]]:
    """First and one past last place of every stretch that is true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
