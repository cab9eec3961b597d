"""Soil moisture of any place as a distribution, from its weather: the networks that come with the package."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtr

from vadose.artefact import writing
from vadose.errors import VadoseError
from vadose.models.land_surface import Blend, LandSurface
from vadose.models.mixture import mixture
from vadose.samples.land_surface import TOLD, Climate, Drivers, drivers, evidence, evidence_features

Array = NDArray[np.float32]

PACKAGED = Path(__file__).parent / "weights"
TOGETHER = 1 << 21
"""Values of an array that are computed at once, so that they stay near the processor."""
HALVED = 10
"""Times that the range of a quantile is halved before it is interpolated: right to 0.00001 m3 m-3."""
LAYERS = ("0-10 cm", "10-40 cm", "40-100 cm")


@dataclass(frozen=True)
class Networks:
    """Networks that estimate together, and what corrects and calibrates their joint estimate.

    Attributes
    ----------
    card
        How they were made and how well they do, plain values.
    """

    members: tuple[LandSurface, ...]
    blend: Blend
    card: dict[str, Any] = field(default_factory=dict)

    def identity(self) -> str:
        """Hash of weights and card."""
        digest = hashlib.sha256(json.dumps(self.card, sort_keys=True).encode())
        for part in (*self.members, self.blend):
            for name, value in part.state_dict().items():
                digest.update(name.encode() + value.numpy().tobytes())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write a safetensors file; its metadata hold sizes and card as JSON.

        Learnt weights are rounded to half precision: estimates change by 0.0002 m3 m-3 at most, scores not at all.
        """
        from safetensors.torch import save_file

        parts = {f"network{k}": member for k, member in enumerate(self.members)} | {"blend": self.blend}
        tensors = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
        learnt = {f"{name}.{key}" for name, part in parts.items() for key, _ in part.named_parameters()}
        tensors |= {key: value.half() for key, value in tensors.items() if key in learnt}
        first = self.members[0]
        sizes = {"daily": len(first.of_day.mean), "fixed": len(first.of_place.mean)}
        sizes |= {"hidden": first.lstm.hidden_size, "members": len(self.members)}
        with writing(path) as scratch:
            save_file(tensors, scratch, {"sizes": json.dumps(sizes), "card": json.dumps(self.card)})


def packaged() -> list[Path]:
    """Files of weights that come with the package."""
    return sorted(PACKAGED.glob("*.safetensors"))


def networks(path: Path | None = None) -> Networks:
    """Networks from a file of weights, else the newest that come with the package.

    Raises
    ------
    VadoseError
        When the file is none, or of another form.
    """
    from safetensors import SafetensorError, safe_open

    path = path or packaged()[-1]
    try:
        with safe_open(path, "pt") as file:
            noted = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        sizes = json.loads(noted["sizes"])
        members = sizes.pop("members")
        parts: dict[str, Any] = {f"network{k}": LandSurface(**sizes) for k in range(members)}
        parts["blend"] = Blend(tensors["blend.evidence.mean"].numel() // 3)
        for name, part in parts.items():
            of_part = {
                key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")
            }
            part.load_state_dict(of_part)
            part.eval()
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise VadoseError(
            f"{path}: no weights of land-surface networks ({reason}); make some with: vadose study outlook"
        ) from error
    blend = parts.pop("blend")
    return Networks(tuple(parts.values()), blend, json.loads(noted["card"]))


@dataclass(frozen=True)
class End:
    """Where an estimate of places ended: all that running on takes.

    Attributes
    ----------
    states
        Of each network, (1, place, hidden) twice.
    evidence
        What own observations told (place, layer, value), ``lead`` days before ``day``.
    estimate
        Mean and deviation of the days of the estimate before own observations were taken into account.
    """

    networks: Networks
    states: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    fixed: Array
    climate: Climate
    day: pd.Timestamp
    evidence: Array
    estimate: tuple[Array, Array]
    lead: int = 0

    def of(self, places: NDArray[np.int64]) -> "End":
        """Some of the places, or all again and again."""
        states = tuple((h[:, places], c[:, places]) for h, c in self.states)
        climate = Climate(self.climate.course[places], self.climate.wet[places])
        return replace(self, states=states, fixed=self.fixed[places], climate=climate, evidence=self.evidence[places])

    def ahead(self, weather: xr.Dataset, wanted: pd.DatetimeIndex | None = None) -> "Mixture":
        """Run on: a component for each ``member`` of the weather of the days after; without any, with an end again.

        Where the weather is NaN it counts as unknown. The mixture holds the days wanted, else all.
        """
        days, places = pd.DatetimeIndex(weather.indexes["time"]), len(self.fixed)
        if days[0] - self.day != pd.Timedelta(days=1):
            raise VadoseError(f"weather ahead: expected from the day after {self.day:%F}, found {days[0]:%F}")
        of_members, members = "member" in weather.dims, weather.sizes.get("member", 1)
        rows = ("member", *place_dims(weather)) if of_members else place_dims(weather)
        flat = weather.stack(row=rows, create_index=False).transpose("row", "time")
        begin = self.of(np.tile(np.arange(places), members)) if of_members else self
        mean, std, states = joint(self.networks, drivers(flat, begin.fixed, begin.climate), begin.states)
        end = None
        if not of_members:
            end = replace(self, states=tuple(states), day=days[-1], estimate=(mean, std), lead=self.lead + len(days))
        lead = self.lead + 1 + (np.arange(len(days)) if wanted is None else days.get_indexer(wanted))
        days = days if wanted is None else wanted
        mean, std = (of[:, lead - self.lead - 1] for of in (mean, std))
        mean, std = corrected(self.networks, mean, std, begin.evidence[:, None], lead)
        shape = (members, places, len(days), len(LAYERS))
        means, deviations = (np.ascontiguousarray(np.moveaxis(of.reshape(shape), 0, -1)) for of in (mean, std))
        return Mixture(np.full(members, 1 / members, np.float32), means, deviations, days, end)


@dataclass(frozen=True)
class Mixture:
    """Distributions of moisture: mixtures of normal distributions, cut off at 0.

    Attributes
    ----------
    weights
        Of the components (component,), their sum is 1.
    means, deviations
        (place, time, layer, component) [m3 m-3].
    days
        (time,).
    end
        To run on from; none after several members.
    """

    weights: Array
    means: Array
    deviations: Array
    days: pd.DatetimeIndex
    end: End | None = None

    @property
    def mean(self) -> Array:
        """Of the distributions (place, time, layer)."""
        return np.asarray(self.means @ self.weights)

    @property
    def deviation(self) -> Array:
        """Standard deviation of the distributions (place, time, layer)."""
        square = (self.deviations**2 + (self.means - self.mean[..., None]) ** 2) @ self.weights
        return np.asarray(np.sqrt(square))

    def below(self, value: Array | float) -> Array:
        """Probability of less than a value, a number or (place, time, layer)."""
        z = (np.asarray(value, np.float32)[..., None] - self.means) / self.deviations
        return np.asarray(ndtr(z) @ self.weights)

    def quantile(self, p: float | Sequence[float]) -> Array:
        """Quantiles (place, time, layer), or (quantile, place, time, layer) of several probabilities; by bisection."""
        asked = np.atleast_1d(np.asarray(p, np.float32))
        reach = 6 * self.deviations
        lowest, highest = (self.means - reach).min(-1), (self.means + reach).max(-1)
        low, high = (np.repeat(end[None], len(asked), axis=0) for end in (lowest, highest))
        if len(self.weights) == 1:
            from scipy.special import ndtri

            found = self.means[..., 0] + self.deviations[..., 0] * ndtri(asked)[:, None, None, None]
        else:
            p_low, p_high, wanted = np.zeros_like(low), np.ones_like(high), asked[:, None, None, None]
            for _ in range(HALVED):
                middle = (low + high) / 2
                reached = np.stack([self.below(values) for values in middle])
                under = reached < wanted
                low, p_low = np.where(under, middle, low), np.where(under, reached, p_low)
                high, p_high = np.where(under, high, middle), np.where(under, p_high, reached)
            found = low + (high - low) * (wanted - p_low) / np.maximum(p_high - p_low, 1e-9)
        found = np.maximum(found, 0.0)
        return np.asarray(found if np.ndim(p) else found[0], np.float32)

    def as_known(self, lead: int = 30) -> "Mixture":
        """All days again, each corrected by what own observations tell at the end, as of a day ``lead`` days later.

        A climatology of these days compares with the last ones: their level and amplitude are corrected alike.
        """
        assert self.end is not None
        mean, std = corrected(self.end.networks, *self.end.estimate, self.end.evidence[:, None], lead)
        return replace(self, means=mean[..., None], deviations=std[..., None])

    def ahead(self, weather: xr.Dataset) -> "Mixture":
        """Run on from the last day, see `End.ahead`."""
        if self.end is None:
            raise VadoseError("moisture: a forecast of members cannot be run on; expected an estimate of past days")
        return self.end.ahead(weather)


def soil_moisture(
    networks: Networks,
    weather: xr.Dataset,
    ground: xr.Dataset,
    observed: Array | None = None,
    climate: Climate | None = None,
) -> Mixture:
    """Moisture of places on all days of their weather; the estimate of a day takes observations up to the day before.

    Places are run together: some thousands of them at a time fit into memory over a year. The first year is needed to
    forget how wet the ground was taken to be.

    Parameters
    ----------
    weather
        `vadose.samples.land_surface.WEATHER` over (time, place) or (time, lat, lon), which become places row by row;
        in the units of `vadose.variables`, NaN where unknown.
    ground
        `vadose.samples.land_surface.SOIL` and ``elevation`` over the same place dimensions; unknown ones are left out.
    observed
        Own observations (place, time, layer) [m3 m-3], NaN where there is none.
    climate
        Seasonal course of the weather at the places; that of ``weather`` when left out.

    Returns
    -------
    Mixture
        Of (place, time, layer); `Mixture.ahead` goes on from its last day.

    Raises
    ------
    VadoseError
        When weather is missing altogether, or its days have gaps.

    Examples
    --------
    >>> days = pd.date_range("2020-01-01", periods=400)
    >>> level = {"precipitation": 2.0, "air_temperature_max": 295.0, "air_temperature_min": 283.0,
    ...          "relative_humidity": 60.0, "shortwave_radiation": 180.0}
    >>> weather = xr.Dataset({k: (("time", "place"), np.full((400, 1), v)) for k, v in level.items()}, {"time": days})
    >>> past = soil_moisture(networks(), weather, xr.Dataset())
    >>> later = days[-1] + pd.to_timedelta(range(1, 31), "D")
    >>> future = past.ahead(weather.isel(time=slice(0, 30)).assign_coords(time=later))
    >>> past.means.shape, future.quantile([0.05, 0.5, 0.95]).shape
    ((1, 400, 3, 1), (3, 1, 30, 3))
    """
    weather, ground = (_by_place(of) for of in (weather, ground))
    climate = climate or Climate.of(weather)
    driven = drivers(weather, ground, climate)
    mean, std, states = joint(networks, driven, None)
    truth = np.full(mean.shape, np.nan, np.float32) if observed is None else np.asarray(observed, np.float32)
    if truth.shape != mean.shape:
        raise VadoseError(f"own observations: expected (place, time, layer) {mean.shape}, found {truth.shape}")
    known = evidence(mean, truth)
    before = np.concatenate([np.zeros_like(known[:, :1]), known[:, :-1]], axis=1)
    end = End(networks, tuple(states), driven.fixed, climate, driven.days[-1], known[:, -1], (mean, std))
    of_day = corrected(networks, mean, std, before, 1)
    means, deviations = (of[..., None] for of in of_day)
    return Mixture(np.ones(1, np.float32), means, deviations, driven.days, end)


def place_dims(weather: xr.Dataset) -> list[str]:
    """Dimensions of the places of a dataset of weather."""
    return [str(dim) for dim in weather.dims if dim not in ("time", "member")]


def _by_place(of: xr.Dataset) -> xr.Dataset:
    return of.stack(place=("lat", "lon"), create_index=False) if {"lat", "lon"} <= set(of.dims) else of


@torch.no_grad()
def joint(
    networks: Networks, driven: Drivers, states: Sequence[Any] | None
) -> tuple[Array, Array, list[tuple[torch.Tensor, torch.Tensor]]]:
    """Mean and deviation (P, T, 3) of the mixture of the networks, and the state of each at the end."""
    daily, fixed = torch.from_numpy(driven.daily), torch.from_numpy(driven.fixed)
    each: list[tuple[Array, Array]] = []
    ends: list[tuple[torch.Tensor, torch.Tensor]] = []
    together = TOGETHER // max(len(fixed) * networks.members[0].lstm.hidden_size, 1)
    for k, member in enumerate(networks.members):
        state, found = states[k] if states else None, []
        for some in torch.split(daily, max(together, 1), dim=1):
            mean, std, state = member(some, fixed, state)
            found.append((mean, std))
        means, deviations = (torch.cat(of, dim=1).numpy() for of in zip(*found, strict=True))
        each.append((means, deviations))
        assert state is not None
        ends.append(state)
    mean, std = mixture(each)
    return mean, std, ends


def given(networks: Networks, mean: Array, std: Array, observed: Array | None, lead: int) -> tuple[Array, Array]:
    """Mean and deviation (P, T, 3) of the days of an estimate, given observations up to ``lead`` days before each."""
    before = np.zeros((*mean.shape, TOLD), np.float32)
    if observed is not None:
        before[:, lead:] = evidence(mean, observed)[:, :-lead]
    return corrected(networks, mean, std, before, lead)


@torch.no_grad()
def corrected(networks: Networks, mean: Array, std: Array, known: Array, lead: Any) -> tuple[Array, Array]:
    """Mean and deviation (P, T, 3) as the blend corrects them, by evidence (P, T, 3, 9) ``lead`` days before."""
    found = np.empty((2, *mean.shape), np.float32)
    number = max(TOGETHER // max(mean[0].size * 16, 1), 1)
    for start in range(0, len(mean), number):
        some = slice(start, start + number)
        told = np.broadcast_to(known[some], (*mean[some].shape, known.shape[-1]))
        features = evidence_features(told, lead, mean[some])
        corrected_some = networks.blend(*map(torch.from_numpy, (mean[some], std[some], features)))
        found[:, some] = torch.stack(corrected_some)
    return found[0], found[1]
