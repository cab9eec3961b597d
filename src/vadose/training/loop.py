"""The one training loop, on Lightning Fabric: epochs, batches, the best weights, the history, resuming.

What is learnt is a `Task`: its batches and their loss. Under `torchrun` every process goes through the same loop on its
share of each batch, see `vadose.training.processes`; the first one alone reports the progress and writes.
"""

import copy
import csv
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, Self, TypeVar

import numpy as np
import torch
from annotated_types import Ge, Gt, MinLen
from torch import Tensor, nn

from vadose.artefact import writing
from vadose.artefact.checkpoint import load, save
from vadose.errors import VadoseError
from vadose.models import MODELS
from vadose.parallel.progress import Progress, silent
from vadose.parallel.running import Running, compiled
from vadose.training.processes import JoinedNetwork, join_batch_norms, launched

Log = list[dict[str, Any]]
"""Rows of a history: ``run``, ``epoch``, mean losses by name, ``validation_loss`` ('' without)."""
InputsT = TypeVar("InputsT")
STATISTICS = 1 << 15
"""Samples that the means and deviations of a network's predictors are taken of."""
ADVERSARY_LEADS = 10.0
"""Learning rate of what learns beside the network, in that of the network: an adversary that lags is not fooled."""


@dataclass(frozen=True)
class Descent:
    """How any network is trained.

    Attributes
    ----------
    epochs, patience
        At most so many epochs; with a patience stop when the validation loss has not fallen for so many.
    batch_size
        Samples a step, of all processes together.
    learning_rate, weight_decay, optimiser
        ``'adamw'``, its rate falling to a tenth along a cosine, or ``'adam'`` at one rate, the decay in the gradient.
    clip
        Largest norm of the gradient.
    precision
        As Lightning Fabric names it, such as ``'32-true'`` or ``'bf16-mixed'``.
    seeds
        Networks trained, one a seed; the prediction is their mean.
    form
        Of the loss.
    compile
        Whether networks go through `torch.compile`; where that fails, for want of a C++ compiler say, training
        says so and goes on without. Of the same inputs as without it: a run is not made anew for it.
    device
        ``'auto'`` (a GPU where there is one), ``'cpu'``, ``'cuda'``; as ``compile``, no reason to make a run anew.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    epochs: Annotated[int, Ge(1)] = 100
    patience: Annotated[int, Ge(1)] | None = 20
    batch_size: Annotated[int, Ge(1)] = 32
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    weight_decay: Annotated[float, Ge(0)] = 0.0
    optimiser: Literal["adam", "adamw"] = "adamw"
    clip: Annotated[float, Gt(0)] = 1.0
    precision: str = "32-true"
    seeds: Annotated[tuple[int, ...], MinLen(1)] = (0,)
    form: str = ""
    compile: bool = False
    device: str = "auto"

    def run_as(self, running: Running) -> Self:
        """The same where, in which precision and compiled as is said; what is left open stays as it is.

        Examples
        --------
        >>> Descent().run_as(Running(precision="bfloat16")).precision
        'bf16-mixed'
        """
        precision = {"auto": self.precision, "float32": "32-true", "bfloat16": "bf16-mixed"}[running.precision]
        compile = self.compile if running.compile is None else running.compile
        device = self.device if running.device == "auto" else running.where()
        return replace(self, precision=precision, compile=compile, device=device)

    @property
    def keeps_best(self) -> bool:
        """Whether the epoch of the lowest validation loss is kept, where there is one; else the last."""
        return True


class Epoch(NamedTuple):
    """The share of the epochs done before this one, and what it draws with."""

    done: float
    generator: np.random.Generator


@dataclass(frozen=True)
class Task(ABC, Generic[InputsT]):
    """What a new network learns: batches of inputs and observed moisture, and their loss.

    ``label`` names it in the history, the progress and errors.
    """

    network: Any
    how: Descent
    seed: int
    label: str
    advice: ClassVar[str] = "lower the learning rate or the precision's speed ('32-true')"

    @property
    def method(self) -> str:
        """Method of the network that the loss calls."""
        if self.network.takes == "series":
            return "of_days"
        return "distribution" if self.how.form == "crps" else "forward"

    @property
    def beside(self) -> nn.Module | None:
        """What learns with the network, at `ADVERSARY_LEADS` times its rate."""
        return None

    @abstractmethod
    def statistics(self) -> Iterable[tuple[InputsT, Tensor]]:
        """Batches that means and deviations are taken of."""

    @abstractmethod
    def batches(self, generator: np.random.Generator) -> Iterator[tuple[InputsT, Tensor]]:
        """Batches of an epoch."""

    @abstractmethod
    def loss(self, predict: JoinedNetwork, inputs: InputsT, observed: Tensor) -> Tensor:
        """Loss of a batch, a scalar."""

    @abstractmethod
    def validate(self, predict: JoinedNetwork) -> float | None:
        """Mean loss over what is held out, the same samples every time; None where nothing is."""

    def step(
        self, predict: JoinedNetwork, inputs: InputsT, observed: Tensor, epoch: Epoch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What a step descends, and the losses it is logged as."""
        loss = self.loss(predict, inputs, observed)
        return loss, {"train_loss": loss.detach()}


@dataclass
class _Kept:
    """How far a training has come."""

    best: dict[str, Tensor]
    best_epoch: int = 0
    best_loss: float = math.inf
    epoch: int = 0
    log: Log = field(default_factory=list)


def new_network(model: str, names: Any, hyper: dict[str, Any], seed: int) -> Any:
    """An untrained network of `vadose.models.MODELS`; all that is random from here on follows from the seed."""
    from lightning_fabric.utilities.seed import seed_everything

    seed_everything(seed, verbose=False)
    return MODELS[model](names, **hyper)


def fit(task: Task[Any], *, resume: Path | None = None, progress: Progress = silent) -> tuple[int, Log]:
    """Train the network of a task; it is left with the weights of the epoch kept.

    Parameters
    ----------
    resume
        File that is written after each epoch; a training that finds it goes on from there, on as many processes as
        there are then.

    Returns
    -------
    The epoch kept, from 1, and the history.

    Raises
    ------
    VadoseError
        When the loss stops being a number.
    """
    network, how, label = task.network, task.how, task.label
    fabric = launched(how.precision, how.device)
    if fabric.world_size > 1:
        join_batch_norms(network)
    network.fit_normalisation(task.statistics())
    optimiser, schedule = _optimiser(task)
    shadow, wrapped = fabric.setup(network, optimiser)
    if task.beside is not None:
        fabric.to_device(task.beside)
    if task.method != "forward":
        shadow.mark_forward_method(task.method)
    if how.compile:
        plain = getattr(network, task.method)
        setattr(network, task.method, compiled(plain, lambda why: progress(f"{label} goes on {why}", 1.0)))
    predict = JoinedNetwork(fabric, shadow)
    kept = _Kept(copy.deepcopy(network.state_dict()))
    parts: dict[str, Any] = {"network": network, "optimiser": optimiser, "schedule": schedule}
    progress(f"training {label}", 0.0)
    left = resume if resume is not None and fabric.is_global_zero and resume.exists() else None
    if state := fabric.broadcast(left and load(left, needs=("network",), made_by="vadose train")):
        for name, part in parts.items():
            part.load_state_dict(state[name])
        torch.set_rng_state(state["rng"])
        kept = _Kept(**{own.name: state[own.name] for own in fields(_Kept)})
    if fabric.global_rank:
        # Masks of dropout other than those of the first process.
        torch.manual_seed(int(np.random.default_rng([task.seed, kept.epoch + 1, fabric.global_rank]).integers(2**62)))
    for number in range(kept.epoch + 1, how.epochs + 1):
        if how.patience is not None and kept.epoch - kept.best_epoch >= how.patience:
            break
        shadow.train()
        epoch = Epoch((number - 1) / how.epochs, np.random.default_rng([task.seed, number]))
        losses = _descend(task, predict, wrapped, epoch)
        schedule.step()
        shadow.eval()
        with torch.no_grad():
            # All have to stop at the same epoch, whatever the last bit of their loss.
            validation = fabric.broadcast(task.validate(predict))
        kept.epoch = number
        kept.log.append(
            {"run": label, "epoch": number, **losses, "validation_loss": "" if validation is None else validation}
        )
        if validation is None or not how.keeps_best or validation < kept.best_loss:
            kept.best, kept.best_epoch = copy.deepcopy(network.state_dict()), number
            kept.best_loss = math.inf if validation is None else validation
        progress(f"training {label}: epoch {number}, best {kept.best_epoch}", 0.99 * number / how.epochs)
        if resume is not None and fabric.is_global_zero:
            states = {name: part.state_dict() for name, part in parts.items()}
            with writing(resume) as scratch:
                save(states | {"rng": torch.get_rng_state()} | vars(kept), scratch)
    progress(f"training {label}", 1.0)
    network.load_state_dict(kept.best)
    return kept.best_epoch, kept.log


def write_history(log: Log, folder: Path) -> None:
    """Write ``history.csv``, unless nothing was trained by steps."""
    if log:
        with (folder / "history.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, log[0])
            writer.writeheader()
            writer.writerows(log)


def _optimiser(task: Task[Any]) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    how = task.how
    groups: list[dict[str, Any]] = [{"params": task.network.parameters()}]
    if task.beside is not None:
        groups.append({"params": task.beside.parameters(), "lr": ADVERSARY_LEADS * how.learning_rate})
    kind = torch.optim.AdamW if how.optimiser == "adamw" else torch.optim.Adam
    optimiser = kind(groups, lr=how.learning_rate, weight_decay=how.weight_decay, foreach=True)

    def rate(epoch: int) -> float:
        falling = how.optimiser == "adamw"
        return 0.1 + 0.45 * (1 + math.cos(math.pi * min(epoch / how.epochs, 1.0))) if falling else 1.0

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, rate)


def _descend(task: Task[Any], predict: JoinedNetwork, optimiser: Any, epoch: Epoch) -> dict[str, float]:
    """Go down the loss of each batch of an epoch; the means of what is logged."""
    fabric = predict.fabric
    steps: list[dict[str, Tensor]] = []
    for inputs, observed in task.batches(epoch.generator):
        loss, logged = task.step(predict, inputs, observed, epoch)
        if not torch.isfinite(loss):
            raise VadoseError(
                f"{task.label}: the training loss is {loss.item()} after {len(steps)} steps of an epoch; {task.advice}"
            )
        optimiser.zero_grad()
        fabric.backward(loss)
        # Of the network alone, which ``fabric.clip_gradients`` does not tell from what learns beside it.
        fabric.strategy.precision.unscale_gradients(optimiser.optimizer)
        nn.utils.clip_grad_norm_(task.network.parameters(), task.how.clip)
        optimiser.step()
        steps.append(logged)
    if not steps:
        raise VadoseError(f"{task.label}: no batch has two samples to learn from; give more observations")
    return {name: float(torch.stack([step[name] for step in steps]).mean()) for name in steps[0]}
