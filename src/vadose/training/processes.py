"""Training on several processes that `torchrun` started: each takes its share of every batch."""

import os
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, distributed, nn

from vadose.errors import VadoseError

# Imported where it is begun with: maps and forecasts need the modules of training and no Fabric.
if TYPE_CHECKING:
    from lightning_fabric import Fabric


def launched(precision: str = "32-true", device: str = "auto") -> "Fabric":
    """Lightning Fabric on one device, or under `torchrun` with all its processes joined; may be called again.

    Parameters
    ----------
    precision
        As Lightning Fabric names it.
    device
        ``'auto'``, ``'cpu'``, ``'cuda'``, ``'cuda:1'``; under torchrun each process takes one of its kind.

    Raises
    ------
    VadoseError
        When torchrun was told to restart what fails, but those restarted would be given addresses of the dead.

    Examples
    --------
    >>> launched().world_size
    1
    """
    if not distributed.is_torchelastic_launched():
        return _alone(precision, device)
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    restarts, shared = (os.environ.get(f"TORCHELASTIC_{name}") for name in ("MAX_RESTARTS", "USE_AGENT_STORE"))
    if restarts != "0" and shared == "True":  # github.com/pytorch/pytorch/issues/135712
        raise VadoseError(
            f"torchrun --max-restarts {restarts}: processes that are restarted would look for those that died; "
            "set the environment variable TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 before torchrun"
        )
    here, everywhere = (int(os.environ[name]) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    # The others wait while the first fits trees or forecasts, and torchrun sees one that dies. A loss need not reach
    # all parameters, such as those of a deviation: with a static graph that is found out in the first step.
    strategy = DDPStrategy(timeout=timedelta(days=1), static_graph=True)
    fabric = Fabric(
        accelerator=device.partition(":")[0],
        devices=here,
        num_nodes=everywhere // here,
        strategy=strategy,
        precision=precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


@cache  # looking for devices and plugins takes a tenth of a second
def _alone(precision: str, device: str) -> "Fabric":
    from lightning_fabric import Fabric

    kind, _, number = device.partition(":")
    return Fabric(accelerator=kind, devices=[int(number)] if number else 1, precision=precision)  # type: ignore[arg-type]


def share(fabric: "Fabric", batch: Tensor) -> Tensor:
    """This process's samples of a batch; all of them where the batch has fewer samples than there are processes."""
    return batch[fabric.global_rank :: fabric.world_size] if len(batch) >= fabric.world_size else batch


def joined(fabric: "Fabric", part: Tensor, size: int) -> Tensor:
    r"""Predictions of a whole batch of ``size`` samples, in its order, from those of each process's `share`.

    A loss that is no mean over samples so is that of the joined batch, and the same on every process.
    Its gradient is summed over the P processes on the way back, :math:`P \, \partial \mathcal{L} / \partial \hat y`,
    and the mean that is taken of the processes' gradients is that of the joined batch.
    """
    if fabric.world_size == 1 or size < fabric.world_size:
        return part
    longest = -(-size // fabric.world_size)
    padded = torch.cat([part, part.new_zeros(longest - len(part), *part.shape[1:])])
    # Sample i of the batch is number i // P of process i % P; what was added comes last.
    whole: Tensor = _gathered(padded).transpose(0, 1).flatten(0, 1)[:size]
    return whole


@dataclass(frozen=True)
class JoinedNetwork:
    """A network that all processes run together: each predicts its `share` of a batch, and has the predictions of all.

    The one place where batches go to the device, and where they are computed in another precision: on one process the
    network's wrapper, from ``fabric.setup``, does so for ``forward`` alone.
    """

    fabric: "Fabric"
    network: Any

    def __call__(self, method: str, size: int, *inputs: Any) -> tuple[Tensor, Tensor]:
        """Mean and deviation that a method of the network gives of ``size`` samples; the latter NaN without."""
        part = apply_to_collection(inputs, Tensor, lambda tensor: share(self.fabric, tensor))
        with self.fabric.autocast():
            found = getattr(self.network, method)(*self.fabric.to_device(part))
        found = self.joined(apply_to_collection(found, Tensor, Tensor.float), size)
        return found if isinstance(found, tuple) else (found, found.new_tensor(torch.nan))

    def joined(self, part: Any, size: int) -> Any:
        """See `joined`, of a collection."""
        return apply_to_collection(part, Tensor, lambda tensor: joined(self.fabric, tensor, size))


def join_batch_norms(network: nn.Module) -> None:
    """Let the batch normalisations of a network take the statistics of all processes' samples."""
    for module in network.modules():
        if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d):
            module.__class__ = _JoinedBatchNorm


class _JoinedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """`torch.nn.SyncBatchNorm`, which runs on GPUs alone, for any device."""

    def _check_input_dim(self, x: Tensor) -> None:
        """Samples of any shape (N, C, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        var, mean = torch.var_mean(x.float(), (0, *range(2, x.dim())), correction=0)
        count = torch.full_like(mean, x.numel() / x.shape[1])
        counts, means, variances = _gathered(torch.stack([count, mean, var])).unbind(1)
        total = counts.sum(0)
        weight = counts / total
        mean = (weight * means).sum(0)
        var = (weight * (variances + (means - mean).square())).sum(0)
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            assert self.momentum is not None
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * total / (total - 1), self.momentum)
        scale = self.weight * torch.rsqrt(var + self.eps)
        shift = self.bias - scale * mean
        shift, scale = (values.reshape(-1, *[1] * (x.dim() - 2)) for values in (shift, scale))
        return torch.addcmul(shift, x.float(), scale).to(x.dtype)


@torch._disable_dynamo  # type: ignore[attr-defined]  # as torch.compiler.disable, which loads the compiler
def _gathered(part: Tensor) -> Tensor:
    """Tensors of all processes (P, ...)."""
    found: Tensor = _Gather.apply(part)  # type: ignore[no-untyped-call]
    return found


class _Gather(torch.autograd.Function):
    """All processes' tensors, and back the sum of all processes' gradients of the own one."""

    @staticmethod
    def forward(_: Any, part: Tensor) -> Tensor:
        parts = [torch.empty_like(part) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, part)
        return torch.stack(parts)

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total[distributed.get_rank()]
