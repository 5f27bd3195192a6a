"""The optimisers: what a kernel, a checkpoint and the command line must know of each kind."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import zip_longest
from typing import Any

import numpy as np

from draw_poly.kernels.spec.rate import Numbers, RateSchedule

ADAM_BETAS = (0.9, 0.999)
LION_BETAS = (0.9, 0.99)
NADAM_DECAY = 0.004  # of its momentum, step by step
RMSPROP_ALPHA = 0.99
EPSILON = 1e-8
# The numbers of a step that kernels read, all that networks trained side by side may differ in, by their places in a
# row of SCALARS: what each is to a kind, its record says. A gradient longer than MOST_NORM is scaled down to it; DECAY
# times the parameters is added to it, and of themselves KEPT remains; a kind has one of these.
SCALARS = 10
RATE, DIVISOR, MOMENTUM, TINY, DECAY, KEPT, MOST_NORM, OTHER_RATE, REST, MATRIX_TINY = range(SCALARS)
# How Muon makes its rate of the run's, by a matrix's rows and columns; in each iteration of its orthogonalisation a
# matrix X becomes a X + (b G + c G G) X, with G = X Xᵀ. Source: Jordan, "Muon", 2024; `torch.optim.Muon`.
MUON_RATES: dict[str, Callable[[int, int], float]] = {
    "original": lambda rows, columns: math.sqrt(max(1.0, rows / columns)),
    "match_rms_adamw": lambda rows, columns: 0.2 * math.sqrt(max(rows, columns)),
}
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
# Added to a norm that divides, as in `torch.nn.utils.clip_grad_norm_`.
NORM_EPSILON = 1e-6


@dataclass(frozen=True)
class Optimizer:
    """An optimiser with `torch.optim`'s defaults apart from what is given here, of which a kind reads its `options`.

    `schedule` is how the rate goes over the run; the gradient is clipped to `grad_clip_norm` before each step.
    Raises ValueError for a kind that is not in `OPTIMIZERS`.
    """

    kind: str
    learning_rate: float
    momentum: float = 0.9
    schedule: RateSchedule = field(default_factory=RateSchedule)
    weight_decay: float = 0.0
    adam_eps: float = EPSILON
    amsgrad: bool = False
    grad_clip_norm: float | None = None
    muon_momentum: float = 0.95
    muon_nesterov: bool = True
    muon_ns_steps: int = 5
    muon_eps: float = 1e-7
    muon_adjust_lr_fn: str = "original"

    def __post_init__(self) -> None:
        if self.kind not in OPTIMIZERS:
            raise ValueError(f"no optimiser is called {self.kind!r}: give one of {', '.join(OPTIMIZERS)}")

    @property
    def record(self) -> "OptimizerKind":
        """What is known of its kind."""
        return OPTIMIZERS[self.kind]

    @property
    def has_maximum(self) -> bool:
        """Whether it divides by the greatest second moment so far, which is one more that it keeps."""
        return self.amsgrad and "amsgrad" in self.record.reads

    @property
    def rest(self) -> "Optimizer | None":
        """The optimiser of what is no matrix, where that is another one."""
        return replace(self, kind=self.record.rest) if self.record.rest else None

    @property
    def clips(self) -> bool:
        """Whether it scales a gradient by its norm."""
        return self.grad_clip_norm is not None

    @property
    def looks_ahead(self) -> bool:
        """Whether a step needs more of the gradient than its own part: the norm, or whole matrices."""
        return self.clips or self.record.rest is not None

    def rate_of(self, rows: int, columns: int) -> float:
        """What Muon multiplies the rate by for a matrix of this shape."""
        return MUON_RATES[self.muon_adjust_lr_fn](rows, columns)

    @property
    def moment_names(self) -> tuple[str, ...]:
        """The vectors of the parameters' size that it keeps, with PyTorch's names; of matrices, if they differ."""
        own = (MAXIMUM,) if self.has_maximum and not self.record.rest else ()
        return (*self.record.moments, *own)

    @property
    def moments(self) -> int:
        """How many those are."""
        return len(self.rows)

    @property
    def rows(self) -> tuple[tuple[str | None, ...], ...]:
        """The names of each moment: of matrices, and of what is none, where these have others."""
        return tuple(zip_longest(*(one.moment_names for one in (self, self.rest) if one)))

    @property
    def form(self) -> tuple[object, ...]:
        """What networks have in common that are trained side by side: the rest is in their scalars."""
        muon = (self.muon_nesterov, self.muon_ns_steps, self.muon_adjust_lr_fn) if self.record.rest else ()
        return self.kind, self.has_maximum, self.weight_decay > 0, self.clips, *muon

    @property
    def group(self) -> dict[str, Any]:
        """Its parameter group in `torch.optim`'s state dict, but for the parameters."""
        own = {key: getattr(self, name) for key, name in self.record.options.items()}
        return {"lr": self.learning_rate, **self.record.group, **own}

    def keeps(self, other: "Optimizer") -> bool:
        """Whether it goes on with another's moments, which mean the same."""
        return self.record.family == other.record.family

    def after(self, loss: float) -> "Optimizer":
        """The same after an epoch that came to this loss: its schedule may heed it."""
        return replace(self, schedule=self.schedule.after(loss, self.learning_rate)) if self.schedule.waits else self

    def from_group(self, group: Mapping[str, Any]) -> "Optimizer":
        """The same with the options that a parameter group of `torch.optim` holds, as far as it does."""
        found = {name: group[key] for key, name in self.record.options.items() if key in group}
        known = {name: value for name, value in found.items() if value is not None}
        return replace(self, **{name: type(getattr(self, name))(value) for name, value in known.items()})

    def scalars(self, step: int) -> tuple[float, ...]:
        """The numbers of a step, counted from 1, in double precision: see `SCALARS`."""
        [row] = self.table((step,)).tolist()
        return tuple(row)

    def table(self, steps: Sequence[int], taken: Sequence[int] | None = None) -> Numbers:
        """Those of many steps, (steps, SCALARS); `taken` are those that the run took before each, if not as many."""
        before = [step - 1 for step in steps] if taken is None else taken
        rates = self.schedule.rates(self.learning_rate, before)
        table = np.zeros((len(steps), SCALARS))
        table[:, KEPT], table[:, TINY] = 1.0, self.adam_eps if "adam_eps" in self.record.reads else EPSILON
        table[:, MOST_NORM] = math.inf if self.grad_clip_norm is None else self.grad_clip_norm
        if self.record.decoupled:
            table[:, KEPT] -= rates * self.weight_decay
        else:
            table[:, DECAY] = self.weight_decay
        for place, numbers in self.record.scalars(self, steps, rates).items():
            table[:, place] = numbers
        return table


MAXIMUM = "max_exp_avg_sq"
EVERYONES = ("grad_clip_norm",)  # what every kind reads
Columns = dict[int, Numbers | float]


def _constant(one: Optimizer, steps: Sequence[int], rates: Numbers) -> Columns:
    return {RATE: rates}


def _corrected(one: Optimizer, steps: Sequence[int], rates: Numbers) -> Columns:
    """The second divides the root second moment. Source: Kingma and Ba, "Adam", 2015, algorithm 1."""
    # Powers as the C library makes them: NumPy's may differ in the last bit.
    first, second = (1.0 - np.array([beta**step for step in steps]) for beta in ADAM_BETAS)
    return {RATE: rates / first, DIVISOR: np.sqrt(second)}


def _nadam_momentum(step: int) -> float:
    return float(ADAM_BETAS[0] * (1.0 - 0.5 * 0.96 ** (step * NADAM_DECAY)))


@cache
def _nadam_products() -> tuple[float, ...]:
    """The products of the momenta up to each step, in float32 as PyTorch has them, until they are nothing beside 1."""
    products = [np.float32(1.0)]
    while products[-1] > 1e-18:
        products.append(products[-1] * np.float32(_nadam_momentum(len(products))))
    return tuple(map(float, products))


def nadam_product(step: int) -> float:
    """The product of the momenta up to a step, which PyTorch keeps in its state."""
    products = _nadam_products()
    return products[min(step, len(products) - 1)]


def _nadam(one: Optimizer, steps: Sequence[int], rates: Numbers) -> Columns:
    """RATE is the gradient's, OTHER_RATE its mean's. Source: Dozat, "Incorporating Nesterov Momentum into Adam"."""
    products = np.array([nadam_product(step) for step in steps])
    now, following = (np.array([_nadam_momentum(step + later) for step in steps]) for later in (0, 1))
    second = np.array([1.0 - ADAM_BETAS[1] ** step for step in steps])
    return {
        RATE: rates * (1.0 - now) / (1.0 - products), OTHER_RATE: rates * following / (1.0 - products * following),
        DIVISOR: second,
    }  # fmt: skip


def _muon(one: Optimizer, steps: Sequence[int], rates: Numbers) -> Columns:
    """OTHER_RATE, MOMENTUM, REST (1 less that) and MATRIX_TINY are of matrices, Adam's numbers of what is none."""
    own: Columns = {MOMENTUM: one.muon_momentum, REST: 1 - one.muon_momentum, MATRIX_TINY: one.muon_eps}
    return _corrected(one, steps, rates) | own | {OTHER_RATE: rates}


def _with_momentum(one: Optimizer, steps: Sequence[int], rates: Numbers) -> Columns:
    return {RATE: rates, MOMENTUM: one.momentum}


@dataclass(frozen=True)
class OptimizerKind:
    """A kind of optimiser, under its name on the command line.

    `torch_name` is its class in `torch.optim`, if it has one; `group` holds that class's options as a state dict does,
    but for the learning rate and `options`: by their keys there, the fields of `Optimizer` that it reads. `moments` are
    named as there; beside them lie `counters`, numbers of how many steps there were. Weight decay is `decoupled` where
    it shrinks the parameters themselves, else it is added to the gradient. Moments mean the same to kinds of one
    `family`, which by default is a kind's own. One of matrices alone names the kind that takes the `rest`. `scalars`
    are a kind's own numbers of each of some steps, of their rates, by their places: see `SCALARS`.
    """

    name: str
    torch_name: str | None
    moments: tuple[str, ...]
    group: Mapping[str, Any]
    options: Mapping[str, str]
    counters: Mapping[str, Callable[[int], float]] = field(default_factory=dict)
    decoupled: bool = False
    family: str = ""
    rest: str | None = None
    scalars: Callable[[Optimizer, Sequence[int], Numbers], Columns] = _constant

    def __post_init__(self) -> None:
        object.__setattr__(self, "family", self.family or self.name)

    @property
    def reads(self) -> tuple[str, ...]:
        """The fields of `Optimizer` that it reads, and whoever takes the rest."""
        own = (*EVERYONES, *self.options.values(), *(OPTIMIZERS[self.rest].options.values() if self.rest else ()))
        return tuple(dict.fromkeys(own))


_COMMON: dict[str, Any] = {"maximize": False, "foreach": None}
_SGD = _COMMON | {"momentum": 0, "dampening": 0, "nesterov": False, "fused": None, "differentiable": False}
_ADAM = _COMMON | {
    "betas": ADAM_BETAS, "capturable": False, "fused": None, "differentiable": False, "decoupled_weight_decay": False,
}  # fmt: skip
_RMSPROP = _COMMON | {
    "momentum": 0, "alpha": RMSPROP_ALPHA, "eps": EPSILON, "centered": False, "capturable": False,
    "differentiable": False,
}  # fmt: skip
_DECAY = {"weight_decay": "weight_decay"}
_MOMENTUM = _DECAY | {"momentum": "momentum"}
_EPS = _DECAY | {"eps": "adam_eps"}
_AMSGRAD = _EPS | {"amsgrad": "amsgrad"}
_MUON = _DECAY | {
    key: f"muon_{key}" for key in ("momentum", "nesterov", "ns_steps", "eps", "adjust_lr_fn")
}  # fmt: skip
_ADAMS = ("exp_avg", "exp_avg_sq")
_STEP: dict[str, Callable[[int], float]] = {"step": float}
_NADAM = _COMMON | {
    "betas": ADAM_BETAS, "momentum_decay": NADAM_DECAY, "capturable": False, "differentiable": False,
    "decoupled_weight_decay": False,
}  # fmt: skip
OPTIMIZERS = {
    kind.name: kind
    for kind in (
        OptimizerKind("adam", "Adam", _ADAMS, _ADAM, _AMSGRAD, _STEP, scalars=_corrected),
        OptimizerKind("sgd", "SGD", (), _SGD, _DECAY),
        OptimizerKind("sgd_momentum", "SGD", ("momentum_buffer",), _SGD, _MOMENTUM, scalars=_with_momentum),
        OptimizerKind("rmsprop", "RMSprop", ("square_avg",), _RMSPROP, _DECAY, _STEP),
        OptimizerKind(
            "adamw", "AdamW", _ADAMS, _ADAM | {"decoupled_weight_decay": True}, _AMSGRAD, _STEP,
            decoupled=True, family="adam", scalars=_corrected,
        ),
        OptimizerKind(
            "nadam", "NAdam", _ADAMS, _NADAM, _EPS, _STEP | {"mu_product": nadam_product}, family="adam",
            scalars=_nadam,
        ),
        OptimizerKind(
            "muon", "Muon", ("momentum_buffer",), {"ns_coefficients": NEWTON_SCHULZ}, _MUON, decoupled=True,
            rest="adamw", scalars=_muon,
        ),
        OptimizerKind("lion", None, ("exp_avg",), {"betas": LION_BETAS}, _DECAY, decoupled=True),
    )
}  # fmt: skip
# All fields of `Optimizer` but for kind, rate and schedule.
OPTIONS = tuple(dict.fromkeys(name for kind in OPTIMIZERS.values() for name in kind.reads))
