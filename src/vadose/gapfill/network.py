"""The network of the continuous recurrent unit: from series to Gaussians, both directions in one filter."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vadose.gapfill.sde import Gaussian, Seen, Steps, kalman_filter, steps
from vadose.gapfill.series import Series

YEAR = 365.2425
FASTEST, SLOWEST = 1.0, 200.0
"""Decay times [day] that training starts with."""
JOINED = 64
"""Cells up to which both directions are filtered in one loop."""


class Network(nn.Module):
    """Normalisation, a filter for each direction, and the decoder of each mode."""

    value_mean: Tensor
    value_scale: Tensor
    daily_mean: Tensor
    daily_scale: Tensor
    static_mean: Tensor
    static_scale: Tensor
    logarithm: Tensor
    spread: Tensor

    def __init__(self, *, variables: int, covariates: int, static: int, latent: int, bases: int, width: int) -> None:
        super().__init__()
        self.sizes = {"variables": variables, "covariates": covariates, "static": static}
        daily = covariates + 2
        self.ahead = Filtered(daily, static, variables, latent, bases, width)
        self.back = Filtered(2 * daily, static, variables, latent, bases, width)
        self.causal = nn.Sequential(nn.Linear(width + 2 * latent, width), nn.GELU(), nn.Linear(width, 2 * variables))
        self.smoothed = nn.Sequential(
            nn.Linear(2 * (width + 2 * latent), width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, 2 * variables),
        )
        for name, size in (("value", variables), ("daily", daily), ("static", static)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_scale", torch.ones(size))
        self.register_buffer("logarithm", torch.zeros(daily))
        self.register_buffer("spread", torch.ones(2, variables))

    def fit_normalisation(self, series: Series) -> None:
        """Learn what makes values, covariates and static fields of mean 0 and deviation 1."""
        self.value_mean, self.value_scale = _moments(torch.as_tensor(series.values, dtype=torch.float64))
        self.static_mean, self.static_scale = _moments(torch.as_tensor(series.static, dtype=torch.float64)[None])
        daily = self._daily(series).double()
        mean, scale = _moments(daily)
        skewness = (((daily - mean) / scale) ** 3).mean(dim=(0, 1))
        skewed = (daily.amin(dim=(0, 1)) >= 0) & (skewness > 2)
        self.logarithm = torch.where(skewed, mean, 0.0)
        self.daily_mean, self.daily_scale = _moments(self._logarithmic(daily))
        # Series of a part of the year must not make the other seasons extreme.
        self.daily_mean[-2:], self.daily_scale[-2:] = 0.0, 1.0

    def loss(self, batch: Series, hidden: NDArray[np.bool_]) -> Tensor:
        """Of every observed value, each predicted from other times, or withheld itself."""
        own = torch.as_tensor(hidden.any(axis=2, keepdims=True))
        target = (torch.as_tensor(batch.values, dtype=torch.float32) - self.value_mean) / self.value_scale
        # A value seen by the state it is read from is no target.
        counted = torch.isfinite(target) & (~own | torch.as_tensor(hidden))
        outputs = self._decoded(batch.without(hidden), own, both=True)
        return torch.stack([_weighted_likelihood(m[counted], s[counted], target[counted]) for m, s in outputs]).sum()

    def predict(self, series: Series, *, smoothed: bool) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation in the units of the values, causal or ``smoothed``."""
        own = torch.as_tensor(np.isnan(series.values).any(axis=2, keepdims=True))
        mean, deviation = self._decoded(series, own, both=smoothed)[-1]
        return mean * self.value_scale + self.value_mean, deviation * self.value_scale * self.spread[int(smoothed)]

    def _decoded(self, series: Series, own: Tensor, *, both: bool) -> list[tuple[Tensor, Tensor]]:
        """Mean and deviation of the causal mode, and with ``both`` of the smoothed one.

        Where ``own`` (T, B, 1) the state has seen what is observed at the same time, else it has not.
        """
        known = torch.as_tensor(np.isfinite(series.values))
        values = (
            torch.as_tensor(np.nan_to_num(series.values), dtype=torch.float32) - self.value_mean
        ) / self.value_scale
        values = torch.where(known, values, 0.0)
        static = torch.as_tensor(series.static, dtype=torch.float32)
        static = torch.nan_to_num((static - self.static_mean) / self.static_scale)
        daily = (self._logarithmic(self._daily(series)) - self.daily_mean) / self.daily_scale
        days = torch.as_tensor(series.days - series.days[:1], dtype=torch.float32)

        last, features = _previous(values, known, days)
        embedded, terms = self.ahead(values, known.float(), torch.cat([daily, features], -1), static, days)
        if not both:
            seen = _filtered(terms)
            mean, deviation = self.causal(torch.cat([embedded, *_state(seen, own)], -1)).chunk(2, -1)
            return [(last + mean, _positive(deviation))]

        # The step back to a time starts at the next one, whose weather lies on the way.
        way = torch.cat([daily, torch.cat([daily[1:], daily[-1:]])], -1).flip(0)
        values_back, known_back, since = values.flip(0), known.flip(0), (days[-1:] - days).flip(0)
        _, features = _previous(values_back, known_back, since)
        embedded_back, terms_back = self.back(
            values_back, known_back.float(), torch.cat([way, features], -1), static, since
        )
        seen, seen_back = _both_filtered(terms, terms_back, cells=values.shape[1])
        state = [embedded, *_state(seen, own)]
        state_back = [x.flip(0) for x in (embedded_back, *_state(seen_back, torch.zeros_like(own)))]
        mean, deviation = self.causal(torch.cat(state, -1)).chunk(2, -1)
        correction, joined_deviation = self.smoothed(torch.cat(state + state_back, -1)).chunk(2, -1)
        mean = last + mean
        return [(mean, _positive(deviation)), (mean + correction, _positive(joined_deviation))]

    def _daily(self, series: Series) -> Tensor:
        """Covariates and season (T, B, n)."""
        angle = 2 * np.pi * np.broadcast_to(series.days, series.values.shape[:2])[..., None] / YEAR
        together = [series.covariates, np.sin(angle), np.cos(angle)]
        return torch.from_numpy(np.concatenate(together, axis=-1, dtype=np.float32))

    def _logarithmic(self, daily: Tensor) -> Tensor:
        daily = daily.clone()
        for place in self.logarithm.nonzero()[:, 0]:
            daily[..., place] = torch.log1p(daily[..., place].clamp(min=0) / self.logarithm[place])
        return daily


class Filtered(nn.Module):
    """One direction in time: encoder, rates, drive and noise density, and the filter's start."""

    def __init__(self, daily: int, static: int, variables: int, latent: int, bases: int, width: int) -> None:
        super().__init__()
        self.sizes = bases, 2 * latent, 2 * latent
        self.daily = nn.Linear(daily + 3 * variables, width)
        self.static = nn.Parameter(torch.randn(static, width) / max(static, 1) ** 0.5)
        self.embed = nn.Sequential(nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.encoder = nn.Sequential(nn.Linear(width + 2 * variables, width), nn.GELU(), nn.Linear(width, 2 * latent))
        self.motion = nn.Linear(width, sum(self.sizes))
        nn.init.constant_(self.motion.bias[-2 * latent :], -2.0)
        memory = FASTEST * (SLOWEST / FASTEST) ** torch.rand(bases, 2 * latent)
        self.rates = nn.Parameter(torch.log(torch.expm1(1 / memory)))
        self.angle = nn.Parameter(torch.rand(latent) / 2)
        self.start_mean = nn.Parameter(torch.zeros(2, 1, latent))
        self.start_variance = nn.Parameter(torch.zeros(2, 1, latent))

    def forward(
        self, values: Tensor, known: Tensor, daily: Tensor, static: Tensor, days: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Embedded inputs (T, B, width), and the arguments of the filter."""
        times, cells, _ = values.shape
        embedded = self.embed(self.daily(daily) + static @ self.static)
        observed, variance = self.encoder(torch.cat([values, known, embedded], dim=-1)).chunk(2, dim=-1)
        coefficients, drive, density = self.motion(embedded).split(self.sizes, dim=-1)
        # A softmax over few values, and an ELU below, take three times as long by functions of their own.
        shares = (coefficients - coefficients.detach().amax(-1, keepdim=True)).exp()
        rates = shares @ functional.softplus(self.rates) / shares.sum(-1, keepdim=True) + 1e-4

        def modes(of_pairs: Tensor) -> Tensor:
            return of_pairs.reshape(times, cells, 2, -1).transpose(1, 2).contiguous()

        through = steps(modes(rates), modes(_positive(density)), modes(drive), _lengths(days)[:, None, :, None])
        observer = torch.stack([self.angle.cos(), self.angle.sin()])[:, None].expand(2, cells, -1)
        start_mean = self.start_mean.expand(-1, cells, -1)
        start_variance = torch.eye(2)[:, :, None, None] * _positive(self.start_variance).expand(-1, cells, -1)
        there = known.amax(-1, keepdim=True)
        return embedded, (observed, _positive(variance), there, *through, observer, start_mean, start_variance)


def _filtered(terms: Sequence[Tensor]) -> Seen:
    observed, variance, known, decay, drive, noise, observer, mean, covariance = terms
    return kalman_filter(observed, variance, known, Steps(decay, drive, noise), observer, Gaussian(mean, covariance))


def _both_filtered(ahead: Sequence[Tensor], back: Sequence[Tensor], cells: int) -> tuple[Seen, Seen]:
    """Both directions: of few cells in one loop, whose calls cost most, of many each by itself, to save copying."""
    if cells > JOINED:
        return _filtered(ahead), _filtered(back)
    together = _filtered([torch.cat(pair, dim=-2) for pair in zip(ahead, back, strict=True)])
    return Seen(*(x[:, :cells] for x in together)), Seen(*(x[:, cells:] for x in together))


def _state(seen: Seen, own: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and logarithm of the variance, with what is observed at the same time where ``own``."""
    mean = torch.where(own, seen.mean, seen.prior_mean)
    return mean, torch.where(own, seen.variance, seen.prior_variance).clamp(min=1e-6).log()


def _previous(values: Tensor, known: Tensor, days: Tensor) -> tuple[Tensor, Tensor]:
    """Value last observed before each time, 0 where none, and with its age and whether there is none."""
    rows = torch.arange(len(values))[:, None, None]
    place = torch.where(known, rows, -1).cummax(0).values
    place = torch.cat([torch.full_like(place[:1], -1), place[:-1]])
    none = place < 0
    last = torch.where(none, 0.0, values.gather(0, place.clamp(min=0)))
    days = days[..., None].expand_as(values)
    age = torch.where(none, math.inf, days - days.gather(0, place.clamp(min=0)))
    return last, torch.cat([last, torch.log1p(age.clamp(max=60.0)) / 2, none.float()], -1)


def _lengths(days: Tensor) -> Tensor:
    """Days from one time to the next; none to the first."""
    return torch.diff(days, dim=0, prepend=days[:1])


def _positive(raw: Tensor) -> Tensor:
    """Smallest value 0.001: an exponential below zero, a straight line above."""
    return raw.clamp(max=0).exp() + 0.001 + raw.relu()


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the known values, 1 for a deviation of nothing."""
    mean = values.nanmean(dim=(0, 1))
    scale = ((values - mean) ** 2).nanmean(dim=(0, 1)).sqrt()
    mean = mean.nan_to_num()
    return mean.float(), torch.where(scale > 1e-12 * (1 + mean.abs()), scale, 1.0).float()


def _weighted_likelihood(mean: Tensor, deviation: Tensor, target: Tensor) -> Tensor:
    """Negative logarithm of the Gaussian likelihood, each weighed by its deviation as a constant."""
    each = deviation.log() + 0.5 * ((target - mean) / deviation) ** 2
    return (each * deviation.detach()).sum() / max(len(target), 1)
