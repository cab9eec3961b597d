"""Where a network runs, in which precision, and whether it is compiled."""

import math
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from vadose.errors import VadoseError

if TYPE_CHECKING:
    from torch import Tensor, nn

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")
PRECISIONS = ("auto", "float32", "bfloat16")
TOLERANCE = 0.02
"""Rms of what bfloat16 may round off, in standard deviations of the result."""
ROUNDED = 5e11
"""Floating-point operations up to which work stays in float32.

On a core with AMX, 132 GFLOP/s in float32 and 983 in bfloat16 (products of 1,024 x 1,024), that is 4 s or 0.5 s. The
rounding of the paper's ConvLSTM on 1,024 cells took 0.4 s: bfloat16 makes up for it after 6e10 operations.
"""
COMPILED = {"cpu": 5e13, "cuda": 1e15}
"""Operations from which on compiling saves more than the half minute it takes; on other devices it is left."""


@dataclass(frozen=True)
class Running:
    """Where networks run, in which precision, and whether compiled.

    Attributes
    ----------
    device
        As torch names it, such as ``'cpu'``, ``'cuda'``, ``'cuda:1'``; ``'auto'`` is a GPU where there is one.
    precision
        ``'float32'``, or ``'bfloat16'`` for the products of a network. ``'auto'`` takes bfloat16 for more than
        5e11 operations where the processor or GPU multiplies it (AMX, AVX-512 BF16), the network gains by it, and a
        part of the result differs from that in float32 by at most 2 % of its standard deviation (rms).
    compile
        Whether through `torch.compile`; when left out, for work that it saves more of than the half minute it takes.
        The code is kept in the user's cache, ``~/.cache/vadose``, or ``TORCHINDUCTOR_CACHE_DIR``.

    Raises
    ------
    VadoseError
        For a precision or device that does not exist.

    Examples
    --------
    >>> Running(device="cpu").settled(work=1e9)
    Running(device='cpu', precision='float32', compile=False)
    """

    device: str = "auto"
    precision: str = "auto"
    compile: bool | None = None

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise VadoseError(f"precision is {self.precision!r}; expected one of {', '.join(PRECISIONS)}")

    def settled(
        self,
        work: float,
        rounding: Callable[[], float] = lambda: math.inf,
        tell: Callable[[str], object] = lambda why: None,
    ) -> "Running":
        """The same with nothing left open; it follows from the work and the device alone, and from the rounding.

        Parameters
        ----------
        work
            Floating-point operations to do.
        rounding
            What bfloat16 would round off, see `rounded_off`; infinite for a network that does not gain by it. Asked
            only where all else speaks for bfloat16.
        tell
            Told why it is float32 where bfloat16 would round off too much.
        """
        device = self.where()
        kind = device.partition(":")[0]
        precision = self.precision
        if precision == "auto":
            share = rounding() if work > ROUNDED and multiplies_bfloat16(kind) else math.inf
            precision = "bfloat16" if share <= TOLERANCE else "float32"
            if TOLERANCE < share < math.inf:
                tell(f"in float32, bfloat16 would round off {share:.1%} of the standard deviation; allowed are 2 %")
        compiling = work > COMPILED.get(kind, math.inf) if self.compile is None else self.compile
        return Running(device, precision, compiling)

    def prepare(self, network: "nn.Module", *methods: str, tell: Callable[[str], None] = lambda why: None) -> None:
        """Bring a network to its device, and put methods in the place of its own that run as this says.

        What they are given is moved to the device; results stay there. ``tell`` is told why a network is not compiled.
        """
        network.to(self.device)
        for method in methods:
            plain = getattr(network, method)
            setattr(network, method, self._running(compiled(plain, tell) if self.compile else plain))

    def _running(self, method: Callable[..., Any]) -> Callable[..., Any]:
        import torch

        def run(*given: Any) -> Any:
            there = (part.to(self.device) if hasattr(part, "to") else part for part in given)
            kind, rounded = self.device.partition(":")[0], self.precision == "bfloat16"
            with torch.autocast(kind, torch.bfloat16) if rounded else nullcontext():
                return method(*there)

        return run

    def where(self) -> str:
        """The device, looked for."""
        import torch

        if self.device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        try:
            kind = torch.device(self.device).type
        except RuntimeError as error:
            raise VadoseError(f"device is {self.device!r}; expected auto, cpu or cuda") from error
        if kind == "cuda" and not torch.cuda.is_available():
            raise VadoseError(f"device is {self.device!r}, but torch {torch.__version__} finds no CUDA GPU; use cpu")
        return self.device


def multiplies_bfloat16(kind: str) -> bool:
    """Whether a processor (``'cpu'``) or GPU (``'cuda'``) has instructions for products in bfloat16."""
    import torch

    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    asked = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("amx_tile", "avx512_bf16"))
    return kind == "cpu" and any(ask is not None and ask() for ask in asked)


def rounded_off(exact: "Tensor", rounded: "Tensor") -> float:
    """Rms of what bfloat16 rounds off, in standard deviations of the exact result."""
    return float((rounded.float() - exact).square().mean().sqrt() / exact.std())


def rounding_of(method: Callable[..., Any], given: Any, device: str = "cpu") -> float:
    """What bfloat16 rounds off of the first of a network's results, see `rounded_off`."""
    import torch

    with torch.no_grad():
        exact = method(given)[0]
        with torch.autocast(device.partition(":")[0], torch.bfloat16):
            return rounded_off(exact, method(given)[0])


def compiled(
    plain: Callable[_Given, _Result], tell: Callable[[str], None] = lambda why: None
) -> Callable[_Given, _Result]:
    """A function through `torch.compile`; the plain one from the first call on that fails, which ``tell`` is told."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "vadose", "compiled")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache))
    chosen: Callable[_Given, _Result] | None = None

    def call(*arguments: _Given.args, **named: _Given.kwargs) -> _Result:
        nonlocal chosen
        if chosen is plain:
            return plain(*arguments, **named)
        import torch

        try:
            chosen = chosen or torch.compile(plain)
            return chosen(*arguments, **named)
        except RuntimeError as error:
            # One that is not the compiler's comes again below.
            chosen = plain
            tell(f"uncompiled, torch.compile failed with {type(error).__name__}")
            return plain(*arguments, **named)

    return call


def work_of(network: "nn.Module", uses: float) -> float:
    """Floating-point operations of a network each of whose weights is used so many times: twice their product."""
    return 2.0 * uses * float(sum(weights.numel() for weights in network.parameters()))
