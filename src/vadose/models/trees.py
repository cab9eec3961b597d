"""Gradient-boosted trees: one ensemble a lead time, on sums and means of what is known."""

import io
import re
import zipfile
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vadose.compiled import compiled
from vadose.models.anchor import Anchor
from vadose.models.contract import Forecaster
from vadose.models.inputs import NORMAL, Channels, Inputs
from vadose.models.tree_walk import predict

# scikit-learn, SciPy behind it, takes as long to import as torch: where it is fitted or read alone.
if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingRegressor

Array = NDArray[np.float32]
WINDOWS = (1, 3, 7, 14, 30, 90)
"""Days, ending with ``t0`` or the valid day, over which predictors are averaged."""
RECESSIONS = (0.85, 0.95)
"""Daily recessions of the antecedent precipitation indices."""
TRUSTED = [
    "sklearn._loss.link.IdentityLink",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogLink",
    "sklearn._loss.loss.HalfSquaredError",
    "sklearn._loss.loss.HalfGammaLoss",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "numpy.dtype",
    "_loss.CyHalfSquaredError",
    "_loss.CyHalfGammaLoss",
]
"""Types that a saved regressor may hold besides those always trusted."""
HELD_OUT_DAYS = 30
"""Blocks of so many days, every fifth of them, tell how far forecasts of days not learnt from are off."""
SMALLEST_VARIANCE = 1e-8


class Trees(Forecaster):
    r"""Histogram gradient boosting, one regressor per lead time, on predictors derived from the inputs.

    Predictors: the last known moisture, its age and its means over past windows, also of other filled
    variables; the means of each
    weather variable over `WINDOWS` days and the antecedent precipitation indices
    :math:`A_t = k A_{t-1} + P_t`, up to ``t0`` or, with known-future weather, up to the valid day
    (and since ``t0``); the normals of ``t0`` and of the valid day; the forecasts of the layers above;
    static fields; the season of the valid day; the cell's row and column. Trees have a branch for missing values.

    Parameters
    ----------
    channels
        Predictors and lead times.
    iterations, learning_rate, leaves, samples_per_leaf, l2, features
        Of each regressor, see scikit-learn; ``features`` is the fraction of predictors tried at a split.
    departure
        Predict the departure from the damped last value (`Anchor`, factor by regression) instead of soil moisture:
        if soil moisture hardly changes over the lead time, the steps of a tree are too coarse.
    place
        Use row and column as predictors. The model then cannot forecast other cells. Not for cells without a map.
    gaussian
        Also predict a standard deviation (`distribution`): regressors of each lead time model the squared error (gamma
        deviance) on blocks of days held out from the mean; then the mean is refitted on all days.

    References
    ----------
    Friedman (2001), doi:10.1214/aos/1013203451; index: Kohler and Linsley (1951), US Weather Bureau
    Research Paper 34.

    Examples
    --------
    >>> from vadose.models.inputs import example_inputs
    >>> channels = Channels(("soil_moisture_filled",), leads=(1,), target="soil_moisture_filled")
    >>> model, inputs = Trees(channels, iterations=2), example_inputs(channels)
    >>> model.fit([(inputs, torch.full((2, 1, 1, 1), 0.25))])
    >>> model(inputs).flatten().tolist()
    [0.25, 0.25]
    """

    learns = "at_once"
    of_each_cell = True

    def __init__(
        self,
        channels: Channels,
        iterations: int = 300,
        learning_rate: float = 0.05,
        leaves: int = 31,
        samples_per_leaf: int = 50,
        l2: float = 1.0,
        features: float = 1.0,
        departure: bool = False,
        place: bool = True,
        gaussian: bool = False,
    ) -> None:
        super().__init__(channels)
        self.has_deviation = gaussian
        self.settings: dict[str, Any] = {
            "max_iter": iterations,
            "learning_rate": learning_rate,
            "max_leaf_nodes": leaves,
            "min_samples_leaf": samples_per_leaf,
            "l2_regularization": l2,
            "max_features": features,
            "early_stopping": False,
            "random_state": 0,
        }
        self.regressors: list[HistGradientBoostingRegressor] = []
        self.variances: list[HistGradientBoostingRegressor] = []
        self.anchor = Anchor(channels) if departure else None
        self.place = self.keeps_cells = place

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Inputs, Tensor]]) -> None:
        """Fit one regressor a lead to all its observed targets."""
        predictors: list[list[Array]] = [[] for _ in self.channels.leads]
        targets: list[list[Array]] = [[] for _ in self.channels.leads]
        days: list[list[NDArray[np.int64]]] = [[] for _ in self.channels.leads]
        if self.anchor is not None:
            self.anchor.fit(batches)
        for inputs, target in batches:
            if self.anchor is not None:
                target = target - self.anchor(inputs)
            for number, x in enumerate(self._predictors(inputs)):
                y = target[:, number].flatten().numpy()
                predictors[number].append(x[np.isfinite(y)])
                targets[number].append(y[np.isfinite(y)])
                days[number].append(np.repeat(inputs.day.numpy(), y.size // len(target))[np.isfinite(y)])
        self.regressors, self.variances = [], []
        for parts, parts_observed, parts_day in zip(predictors, targets, days, strict=True):
            together, observed = np.concatenate(parts), np.concatenate(parts_observed)
            # A predictor that is never known, as a mean over days ahead of what is not known ahead.
            together[:, np.isnan(together).all(axis=0)] = 0.0
            if self.has_deviation:
                self.variances.append(self._variance(together, observed, np.concatenate(parts_day)))
            self.regressors.append(_fitted(self.settings, together, observed))

    def _variance(self, predictors: Array, observed: Array, day: NDArray[np.int64]) -> "HistGradientBoostingRegressor":
        """A regressor of the squared error on days held out."""
        distinct = np.unique(day)
        if len(distinct) < 2:
            raise ValueError(
                "the standard deviation of trees is fitted to held-out days: expected targets on at least two days"
            )
        blocks = np.array_split(distinct, max(2, len(distinct) // HELD_OUT_DAYS))
        held = np.isin(day, np.concatenate(blocks[1::5]))
        mean = _fitted(self.settings, predictors[~held], observed[~held])
        squares = (observed[held] - predict(mean, predictors[held])) ** 2
        fewer = self.settings | {"max_iter": max(1, self.settings["max_iter"] // 4), "loss": "gamma"}
        return _fitted(fewer, predictors[held], np.maximum(squares, SMALLEST_VARIANCE))

    @torch.no_grad()
    def forward(self, inputs: Inputs) -> Tensor:
        """Soil moisture [m3 m-3] at each lead (B, L, H, W)."""
        found = self._predicted(self.regressors, inputs, self._predictors(inputs))
        return found if self.anchor is None else self.anchor(inputs) + found

    @torch.no_grad()
    def distribution(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [m3 m-3] at each lead, (B, L, H, W) each; the latter NaN without ``gaussian``."""
        predictors = self._predictors(inputs)
        mean = self._predicted(self.regressors, inputs, predictors)
        if self.anchor is not None:
            mean = self.anchor(inputs) + mean
        if not self.has_deviation:
            return mean, torch.full_like(mean, torch.nan)
        return mean, self._predicted(self.variances, inputs, predictors).sqrt()

    def _predicted(
        self, regressors: "list[HistGradientBoostingRegressor]", inputs: Inputs, predictors: list[Array]
    ) -> Tensor:
        batch, _, _, height, width = inputs.history.shape
        predicted = [predict(regressor, x) for regressor, x in zip(regressors, predictors, strict=True)]
        stacked = torch.from_numpy(np.stack(predicted).astype(np.float32))
        return stacked.reshape(len(predicted), batch, height, width).transpose(0, 1)

    def _predictors(self, inputs: Inputs) -> list[Array]:
        """Predictors (cells, features) of each lead."""
        channels = self.channels
        height, width = inputs.history.shape[-2:]
        history = _by_cell(inputs.history)
        days = history.shape[1]
        filled = [name for name in channels.history if name == channels.target or name.endswith("_filled")]
        moisture_names = {*filled, *(n for n in channels.history if n.endswith(("_observed", "_age")))}
        normals = [name for name in channels.history if name.endswith(NORMAL)]
        weather = [i for i, n in enumerate(channels.history) if n not in moisture_names and n not in normals]
        daily = history[:, :, weather]
        rain = channels.history.index("precipitation") if "precipitation" in channels.history else None
        common = [
            history[:, -1, [i for i, name in enumerate(channels.history) if name in moisture_names]],
            *_Sums(history[:, :, [channels.position(name) for name in filled]]).means(days, WINDOWS[1:]),
            _by_cell(inputs.static[:, None])[:, 0],
            history[:, -1, [channels.history.index(name) for name in normals]],
        ]
        if self.place:
            place = inputs.cell[:, :, None, None].expand(-1, -1, height, width).clone()
            place[:, 0] += torch.arange(height)[:, None]
            place[:, 1] += torch.arange(width)
            common.append(_by_cell(place[:, None].float())[:, 0])
        above = None if inputs.above is None else _by_cell(inputs.above)
        ahead = None if inputs.future is None else _by_cell(inputs.future)
        indices: list[Array] = []
        if ahead is not None and channels.weather == "perfect":
            # The days ahead continue the history; a variable not known ahead ends unknown.
            future = np.full((len(history), ahead.shape[1], len(weather)), np.nan, np.float32)
            for position, name in enumerate(channels.future):
                if name not in normals:
                    future[:, :, weather.index(channels.history.index(name))] = ahead[:, :, position]
            daily = np.concatenate([daily, future], axis=1)
        if rain is not None:
            indices = [_antecedent_index(daily[:, :, weather.index(rain)], k) for k in RECESSIONS]
        sums, of_leads = _Sums(daily), []
        for number, lead in enumerate(channels.leads):
            valid = inputs.day.numpy() + lead
            angle = 2 * np.pi * np.repeat(valid, height * width) / 365.2425
            own = [np.stack([np.sin(angle), np.cos(angle)], axis=1)]
            ends = [days, days + lead] if channels.weather == "perfect" else [days]
            own += [index[:, end - 1 : end] for index in indices for end in ends]
            own += sums.means(ends[-1], WINDOWS)
            if lead > 1 and len(ends) > 1:
                own += sums.means(ends[-1], (lead,))
            if ahead is not None and normals:
                own.append(ahead[:, lead - 1, [channels.future.index(n) for n in normals if n in channels.future]])
            if above is not None:
                own.append(above[:, number])
            of_leads.append(np.concatenate([*common, *own], axis=1).astype(np.float32))
        return of_leads

    def get_extra_state(self) -> Tensor:
        """The fitted regressors as bytes, so that a checkpoint is whole."""
        import skops.io  # takes seconds, and most models need none of it

        data = skops.io.dumps([self.regressors, self.variances])
        return torch.frombuffer(bytearray(_canonical(data)), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the regressors back from bytes; types not expected there are refused."""
        self.regressors, self.variances = map(list, _read(state.numpy().tobytes()))


def _fitted(settings: dict[str, Any], predictors: Array, observed: Array) -> "HistGradientBoostingRegressor":
    from sklearn.ensemble import HistGradientBoostingRegressor

    fitted: HistGradientBoostingRegressor = HistGradientBoostingRegressor(**settings).fit(predictors, observed)
    return fitted


@lru_cache(maxsize=2)  # a checkpoint is checked by building its model before that is built
def _read(archive: bytes) -> "list[list[HistGradientBoostingRegressor]]":
    import skops.io

    found: list[list[HistGradientBoostingRegressor]] = skops.io.loads(archive, trusted=TRUSTED)
    return found


def _canonical(archive: bytes) -> bytes:
    """A skops archive without times and addresses of objects: the same bytes for the same regressors."""
    numbers: dict[bytes, bytes] = {}

    def number(address: re.Match[bytes]) -> bytes:
        return numbers.setdefault(address[0], b"%d" % len(numbers))

    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(packed, "w") as target:
        schema = re.sub(rb'(?<="__id__": )\d+|(?<=")\d+(?=\.npy")', number, source.read("schema.json"))
        for name in source.namelist():
            if name != "schema.json":
                address, ending = name.split(".")
                target.writestr(zipfile.ZipInfo(f"{numbers[address.encode()].decode()}.{ending}"), source.read(name))
        target.writestr(zipfile.ZipInfo("schema.json"), schema)
    return packed.getvalue()


def _by_cell(values: Tensor) -> Array:
    """(B, T, C, H, W) to (B * H * W, T, C)."""
    array: Array = values.permute(0, 3, 4, 1, 2).flatten(0, 2).numpy()
    return array


class _Sums:
    """Running sums along the days of (cells, days, channels), to average any window at once."""

    def __init__(self, daily: Array) -> None:
        cells, days, channels = daily.shape
        self.total, self.count = np.zeros((2, cells, days + 1, channels))
        _sum_up(daily, self.total, self.count)

    def means(self, end: int, windows: tuple[int, ...]) -> list[NDArray[np.float64]]:
        """Means of the known days in windows that end before day ``end``; NaN where none is known."""
        found = []
        for window in windows:
            start = max(end - window, 0)
            count = self.count[:, end] - self.count[:, start]
            total = self.total[:, end] - self.total[:, start]
            found.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
        return found


@compiled
def _sum_up(daily: Array, total: NDArray[np.float64], count: NDArray[np.float64]) -> None:
    cells, days, channels = daily.shape
    for cell in range(cells):
        for day in range(days):
            for k in range(channels):
                value = daily[cell, day, k]
                known = np.isfinite(value)
                total[cell, day + 1, k] = total[cell, day, k] + (value if known else 0.0)
                count[cell, day + 1, k] = count[cell, day, k] + known


def _antecedent_index(rain: Array, recession: float) -> Array:
    """A_t = k A_{t-1} + P_t along the days of (cells, days), unknown days taken as dry."""
    index = np.nan_to_num(rain, nan=0.0)
    for t in range(1, index.shape[1]):
        index[:, t] += recession * index[:, t - 1]
    return index
