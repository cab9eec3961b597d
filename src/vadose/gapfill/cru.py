"""A continuous recurrent unit that fills gaps: mean and deviation from past values, or past and future."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from vadose.artefact import writing
from vadose.artefact.checkpoint import load, save
from vadose.errors import VadoseError
from vadose.gapfill.network import Network
from vadose.gapfill.series import Array, Mode, Series, check_mode, withhold

BLOCKS = (1, 1, 5, 10, 30)
"""Lengths [day] of the blocks withheld in training, each as likely."""
ROWS_AT_ONCE = 30_000
"""Times x cells filled at once: what a layer gives of them stays near the processor."""
NINE_OF_TEN = 1.6449
"""Deviations to either side within which nine of ten values of a Gaussian lie."""


class ContinuousRecurrentUnit:
    r"""Fill gaps with a latent linear stochastic differential equation, filtered exactly.

    Each time's values are encoded as an observation of n latent variables with its own variance
    (`vadose.gapfill.sde.kalman_filter`); a decoder reads mean and deviation of each value from the
    state and the day's covariates. All cells share the weights. ``causal`` is the filter; ``smoothed``
    joins it with a second one that runs backward from the end. Fitting withholds observations in
    blocks of 1 to 30 days and maximises the likelihood of every value given the others.

    This is the fast variant (f-CRU) of the paper. Differs from it:

    - The eigenbasis turns pairs (observed, memory) by learnt angles instead of all latent variables by
      one orthogonal matrix: the paper's covariance of three diagonals is then exact.
    - The coefficients that mix the bases of rates come from the last observations, season, covariates
      and static fields instead of the state: all steps are known before the filter runs.
    - Covariates and static fields, absent in the paper, drive the state as a control term and act on
      the noise density, the encoder and the decoder. Without them season and last observation do.
    - The decoder gives the departure from the last observation; that of the smoothed mode corrects the causal mean.
    - The loss weighs the likelihood by the deviation, held fixed (Seitzer et al., 2022, beta = 0.5), and
      deviations are scaled to a tenth of the cells that the weights were not fitted to.

    Non-negative covariates with a skewness over 2, such as precipitation, enter as a logarithm.

    Parameters
    ----------
    latent, bases, width
        Observed latent variables n, matrices of rates mixed, and width of the small networks.
    steps, batch, learning_rate
        Steps of training, cells a step, and the highest rate of the one-cycle schedule.
    window
        Times of a training series at most; of longer records a stretch is drawn.
    seed
        Of weights, batches and withheld observations.

    References
    ----------
    Schirmer, Eltayeb, Lessmann and Rudolph (2022), arXiv:2111.11344; Seitzer et al. (2022),
    arXiv:2203.09168.

    Examples
    --------
    >>> from vadose.gapfill import series_of
    >>> values = np.sin(np.arange(60.0) / 5)[:, None] + np.zeros((60, 4))
    >>> values[20:25] = np.nan
    >>> unit = ContinuousRecurrentUnit(latent=2, bases=2, width=8, steps=3, batch=4)
    >>> mean, std = unit.fit(series_of(values)).predict(series_of(values), "smoothed")
    >>> mean.shape, bool((std > 0).all())
    ((60, 4, 1), True)
    """

    name = "cru"
    modes: tuple[Mode, ...] = ("causal", "smoothed")

    def __init__(
        self,
        latent: int = 8,
        bases: int = 8,
        width: int = 32,
        steps: int = 600,
        batch: int = 32,
        learning_rate: float = 5e-3,
        window: int = 366,
        seed: int = 0,
    ) -> None:
        self.settings: dict[str, Any] = {
            "latent": latent,
            "bases": bases,
            "width": width,
            "steps": steps,
            "batch": batch,
            "learning_rate": learning_rate,
            "window": window,
            "seed": seed,
        }
        self.network: Network | None = None

    def fit(self, series: Series, progress: Callable[[str, float], None] = lambda what, share: None) -> Self:
        """Train on the observed values of these series; they need not be those filled later.

        Raises
        ------
        VadoseError
            When a variable is never observed, or the loss stops being a number.
        """
        how = self.settings
        series = series.cells(series.inside)
        if not np.isfinite(series.values).any(axis=(0, 1)).all():
            raise VadoseError(f"filler {self.name!r}: a variable is never observed; it cannot be fitted")
        generator = np.random.default_rng(how["seed"])
        order = generator.permutation(series.values.shape[1])
        training, held = order[len(order) // 10 :], order[: len(order) // 10]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(how["seed"])
            network = self._network(_sizes(series))
            network.fit_normalisation(series.cells(training))
            optimiser = torch.optim.AdamW(network.parameters(), lr=how["learning_rate"], weight_decay=1e-3)
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                optimiser, how["learning_rate"], total_steps=how["steps"] + 1, pct_start=0.1
            )
            for step in range(how["steps"]):
                chosen = generator.choice(training, min(how["batch"], len(training)), replace=False)
                first = generator.integers(max(len(series.values) - how["window"], 0) + 1)
                batch = series.cells(chosen).times(slice(first, first + how["window"]))
                hidden = withhold(batch, generator.uniform(0.05, 0.5), generator.choice(BLOCKS), generator)
                loss = network.loss(batch, hidden)
                if not torch.isfinite(loss):
                    raise VadoseError(
                        f"filler {self.name!r}: the loss is {loss.item()} after {step} steps; lower the learning rate"
                    )
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimiser.step()
                schedule.step()
                progress(f"training the {self.name}: loss {loss.item():.3f}", (step + 1) / how["steps"])
        self.network = network.eval()
        self._calibrate(series.cells(held if len(held) else training), generator)
        return self

    @torch.inference_mode()
    def predict(self, series: Series, mode: Mode) -> tuple[Array, Array]:
        """Mean and standard deviation (times, cells, variables), in the units of the values.

        Where all variables of a time are observed they are predicted from other times alone.
        """
        check_mode(self, mode)
        if self.network is None:
            raise VadoseError(f"filler {self.name!r}: not fitted; call fit(series) or load(path) first")
        if _sizes(series) != self.network.sizes:
            raise VadoseError(
                f"filler {self.name!r}: was fitted to {self.network.sizes}, found {_sizes(series)}; "
                "give the same variables in the same order"
            )
        mean, std = np.empty((2, *series.values.shape), np.float32)
        size = max(ROWS_AT_ONCE // max(len(series.values), 1), 1)
        for start in range(0, series.values.shape[1], size):
            part = slice(start, start + size)
            mean[:, part], std[:, part] = (
                x.numpy() for x in self.network.predict(series.cells(part), smoothed=mode == "smoothed")
            )
        return mean, std

    def save(self, path: Path) -> Path:
        """Write weights, normalisation and settings to one file."""
        if self.network is None:
            raise VadoseError(f"{path}: the {self.name} is not fitted; there is nothing to save")
        with writing(path) as scratch:
            state = {"sizes": self.network.sizes, "settings": self.settings, "state": self.network.state_dict()}
            save({"filler": self.name} | state, scratch)
        return path

    @classmethod
    def load(cls, path: Path) -> Self:
        """What `save` wrote.

        Raises
        ------
        VadoseError
            When there is no such file, or it holds something else.
        """
        kept = load(
            path, needs=("filler", "settings", "sizes", "state"), made_by=f"{cls.__name__}().fit(...).save(...)"
        )
        if kept["filler"] != cls.name:
            raise VadoseError(f"{path}: a fitted {kept['filler']}, not a {cls.name}; fit and save it again")
        unit = cls(**kept["settings"])
        unit.network = unit._network(kept["sizes"])
        unit.network.load_state_dict(kept["state"])
        unit.network.eval()
        return unit

    def _network(self, sizes: dict[str, int]) -> Network:
        return Network(**sizes, **{name: self.settings[name] for name in ("latent", "bases", "width")})

    def _calibrate(self, series: Series, generator: np.random.Generator) -> None:
        """Scale the deviations so that nine of ten withheld values lie inside the interval of 90 %."""
        assert self.network is not None
        for place, mode in enumerate(self.modes):
            apart: list[list[Array]] = [[] for _ in range(series.values.shape[2])]
            for length in BLOCKS[1:]:
                hidden = withhold(series, 0.2, length, generator)
                mean, std = self.predict(series.without(hidden), mode)
                for variable, found in enumerate(apart):
                    error = np.abs(series.values - mean)[..., variable] / std[..., variable]
                    found.append(error[hidden[..., variable]])
            for variable, found in enumerate(apart):
                together = np.concatenate(found)
                # Fewer values than this say little about the tenth part of them.
                if len(together) >= 30:
                    self.network.spread[place, variable] = float(np.quantile(together, 0.9)) / NINE_OF_TEN


def _sizes(series: Series) -> dict[str, int]:
    parts = {"variables": series.values, "covariates": series.covariates, "static": series.static}
    return {name: part.shape[-1] for name, part in parts.items()}
