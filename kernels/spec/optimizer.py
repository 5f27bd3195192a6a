"""The optimisers: what a kernel, a checkpoint and the command line must know of each kind."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from draw_poly.kernels.spec.rate import Numbers, RateSchedule

ADAM_BETAS = (0.9, 0.999)
RMSPROP_ALPHA = 0.99
EPSILON = 1e-8


@dataclass(frozen=True)
class Optimizer:
    """An optimiser with `torch.optim`'s defaults apart from learning rate and, where the kind has one, momentum.

    `schedule` is how the rate goes over the run.
    Raises ValueError for a kind that is not in `OPTIMIZERS`.
    """

    kind: str
    learning_rate: float
    momentum: float = 0.9
    schedule: RateSchedule = field(default_factory=RateSchedule)

    def __post_init__(self) -> None:
        if self.kind not in OPTIMIZERS:
            raise ValueError(f"no optimiser is called {self.kind!r}: give one of {', '.join(OPTIMIZERS)}")

    @property
    def record(self) -> "OptimizerKind":
        """What is known of its kind."""
        return OPTIMIZERS[self.kind]

    @property
    def moments(self) -> int:
        """How many vectors of the parameters' size it keeps."""
        return len(self.record.moments)

    @property
    def group(self) -> dict[str, Any]:
        """Its parameter group in `torch.optim`'s state dict, but for the parameters."""
        momentum = {"momentum": self.momentum} if self.record.has_momentum else {}
        return {"lr": self.learning_rate, **self.record.group, **momentum}

    def scalars(self, step: int) -> tuple[float, float]:
        """The two numbers of a step, counted from 1, in double precision: see `OptimizerKind.scalars`."""
        [[first, second]] = self.table((step,)).tolist()
        return first, second

    def table(self, steps: Sequence[int], taken: Sequence[int] | None = None) -> Numbers:
        """Those of many steps, (steps, 2), before each of which the run had `taken` so many; else those before it."""
        before = [step - 1 for step in steps] if taken is None else taken
        rates = self.schedule.rates(self.learning_rate, before)
        return np.stack(np.broadcast_arrays(*self.record.scalars(self, steps, rates)), 1)


def _constant(one: Optimizer, steps: Sequence[int], rates: Numbers) -> tuple[Numbers, Numbers]:
    return rates, np.ones(1)


def _corrected(one: Optimizer, steps: Sequence[int], rates: Numbers) -> tuple[Numbers, Numbers]:
    """The second divides the root second moment. Source: Kingma and Ba, "Adam", 2015, algorithm 1."""
    # Powers as the C library makes them: NumPy's may differ in the last bit.
    first, second = (1.0 - np.array([beta**step for step in steps]) for beta in ADAM_BETAS)
    return rates / first, np.sqrt(second)


def _with_momentum(one: Optimizer, steps: Sequence[int], rates: Numbers) -> tuple[Numbers, Numbers]:
    return rates, np.full(1, one.momentum)


@dataclass(frozen=True)
class OptimizerKind:
    """A kind of optimiser, under its name on the command line.

    `torch_name` is its class in `torch.optim`; `group` holds that class's options as a state dict does, but for the
    learning rate. `moments` are named as there; `counts_steps` tells whether a count of steps lies beside them.
    `scalars` are the two numbers of each of some steps, of their rates, that its kernels read, in double precision: all
    that networks trained side by side may differ in.
    """

    name: str
    torch_name: str
    moments: tuple[str, ...]
    group: Mapping[str, Any]
    counts_steps: bool = False
    has_momentum: bool = False
    scalars: Callable[[Optimizer, Sequence[int], Numbers], tuple[Numbers, Numbers]] = _constant


_COMMON: dict[str, Any] = {"weight_decay": 0, "maximize": False, "foreach": None}
_SGD = _COMMON | {"momentum": 0, "dampening": 0, "nesterov": False, "fused": None, "differentiable": False}
_ADAM = _COMMON | {
    "betas": ADAM_BETAS, "eps": EPSILON, "amsgrad": False, "capturable": False, "fused": None, "differentiable": False,
    "decoupled_weight_decay": False,
}  # fmt: skip
_RMSPROP = _COMMON | {
    "momentum": 0, "alpha": RMSPROP_ALPHA, "eps": EPSILON, "centered": False, "capturable": False,
    "differentiable": False,
}  # fmt: skip
OPTIMIZERS = {
    kind.name: kind
    for kind in (
        OptimizerKind("adam", "Adam", ("exp_avg", "exp_avg_sq"), _ADAM, counts_steps=True, scalars=_corrected),
        OptimizerKind("sgd", "SGD", (), _SGD),
        OptimizerKind("sgd_momentum", "SGD", ("momentum_buffer",), _SGD, has_momentum=True, scalars=_with_momentum),
        OptimizerKind("rmsprop", "RMSprop", ("square_avg",), _RMSPROP, counts_steps=True),
    )
}
