"""Who is measured: our backends, the original's way of working, PyTorch's compiler and JAX, behind one interface.

All begin with the same draws, take the same batches in the same order, and must agree with the reference in float64
before any of them is timed. tiny-cuda-nn is none of them: its networks have no biases, and multiply in half precision.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor

from benches.contender import CHUNK, Contender, in_chunks
from benches.job import Job
from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.base import Backend, Data, never
from draw_poly.engine.backends.reference import Eager
from draw_poly.engine.config import BACKENDS, Config, ConfigError
from draw_poly.engine.model.state import Learner, State
from draw_poly.engine.training.trainer import Trainer
from draw_poly.kernels import reference
from draw_poly.kernels.oracle import MARGIN

CHECKED_EPOCHS, CHECKED_POINTS = 3, 4096
# Of a loss, relative: a few roundings of float32 a step, or so many times the error of the reference in float32 where
# that is larger. Adam divides a gradient by its own size, also one that is little more than rounding.
LOSS_TOLERANCE, LUCK = 1e-4, 10.0
# Of outputs, relative to their norm, after nine layers in float32.
OUTPUT_TOLERANCE = 1e-5
SMALLEST = 2.0**-126  # of the normal numbers of float32


class WrongAnswer(AssertionError):
    """A contender does not compute what the others do: no figure for it."""


class Ours(Contender):
    """A backend of the engine."""

    def __init__(self, job: Job, available: int, name: str) -> None:
        chosen, device = _backend(name, job)
        super().__init__(job, available if chosen.shares_work else job.threads(available))
        state = job.state().to(device)
        self.backend: Backend = chosen(state, job.config)
        self.trainer = Trainer(self.backend, job.training, job.validation, job.batch)
        columns = torch.cat(job.training)[None, :, self._batches].contiguous()
        # Validated on one point, as an epoch must be validated on some.
        self._data = Data(columns.to(device), columns[:, :, :1].to(device), job.batch)
        self._order = np.arange(columns.shape[2])[None, None]

    def epoch(self) -> tuple[float, float]:
        """See `Contender.epoch`."""
        with torch.inference_mode():
            found = self.trainer.epoch()
        return found.task, found.validation

    def steps(self) -> None:
        """See `Contender.steps`."""
        with torch.inference_mode():
            self.backend.visit(self._data, self._order, never)()

    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `Contender.evaluate`."""
        with torch.inference_mode():
            places = inputs.to(self.backend.device)
            return in_chunks(self._evaluate, places, len(inputs[0]) if self.backend.shares_work else CHUNK)

    def parameters(self) -> Tensor:
        """See `Contender.parameters`."""
        return self.backend.state.main.parameters[0].cpu()

    def _evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        outputs, signatures = self.backend.evaluate(inputs[None])
        return outputs[0], signatures[0]


class Original(Contender):
    """The original's way of working, on all of torch's threads as it does."""

    def __init__(self, job: Job, available: int) -> None:
        super().__init__(job, available)
        self.baseline = job.baseline()
        self._draws = job.state().generator.get_state()
        rows = torch.cat(job.training)[:, self._batches].t().contiguous()
        self._rows = [(batch[:, :2], batch[:, 2:]) for batch in rows.to(job.device).split(job.batch)]

    def epoch(self) -> tuple[float, float]:
        """See `Contender.epoch`."""
        # Its loader draws from torch's own generator, as ours from the state's.
        torch.set_rng_state(self._draws)
        found = self.baseline.epoch()
        self._draws = torch.get_rng_state()
        return found

    def steps(self) -> None:
        """See `Contender.steps`."""
        for inputs, targets in self._rows:
            self.baseline.step(inputs, targets)

    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `Contender.evaluate`; in pieces of its own size."""
        with torch.no_grad():
            parts = inputs.t().to(self.baseline.device).split(131072)
            outputs, signatures = zip(*(self.baseline.module(part) for part in parts), strict=True)
        return torch.cat(outputs).t(), torch.cat(signatures)

    def parameters(self) -> Tensor:
        """See `Contender.parameters`."""
        return torch.cat([one.detach().reshape(-1) for one in self.baseline.module.parameters()]).cpu()


@dataclass(frozen=True)
class Entry:
    """A contender that may be missing here. `compiled`: it needs seconds of compilation for each job."""

    build: Callable[[Job, int], Contender]
    absent: Callable[[Job], str | None]
    compiled: bool = False


def _backend(name: str, job: Job) -> tuple[type[Backend], torch.device]:
    device = torch.device(job.device)
    config = Config(**{**vars(job.config), "backend": name})
    return backend.choose(config, device)[0], device


def _absent_backend(name: str, job: Job) -> str | None:
    try:
        _backend(name, job)
    except ConfigError as error:
        return str(error)
    return None


def _compiled_module(mode: str) -> Callable[[Job, int], Contender]:
    def build(job: Job, available: int) -> Contender:
        from benches.compiled_module import CompiledModule

        return CompiledModule(job, available, mode)

    return build


def _jax(job: Job, available: int) -> Contender:
    from benches.jax_network import JaxNetwork

    return JaxNetwork(job, available)


def _no_jax(job: Job) -> str | None:
    missing = importlib.util.find_spec("jax") is None
    return "JAX is not installed: python -m pip install jax" if missing else None


def _no_compiler(job: Job) -> str | None:
    return _absent_backend("compile", job)


ORIGINAL = "original's way"
ENTRIES: dict[str, Entry] = {
    ORIGINAL: Entry(Original, lambda job: None),
    "torch.compile": Entry(_compiled_module("default"), _no_compiler, compiled=True),
    "torch.compile, max-autotune": Entry(_compiled_module("max-autotune"), _no_compiler, compiled=True),
    "JAX": Entry(_jax, _no_jax),
    **{
        name: Entry(partial(Ours, name=name), partial(_absent_backend, name), compiled=name == "compile")
        for name in BACKENDS
        if name != "auto"
    },
}
OURS = tuple(name for name in BACKENDS if name != "auto")


@dataclass(frozen=True)
class Truth:
    """What float64 comes to: mean task loss and validation error of each epoch; the most that float32 may be off."""

    losses: list[tuple[float, float]]
    allowed: float


@lru_cache
def truth(job: Job) -> Truth:
    """The reference in float64, from the same draws, on the same batches, beside itself in float32."""
    exact, rounded = (_losses(job, dtype) for dtype in (torch.float64, torch.float32))
    errors = [
        abs(b / a - 1) for one, other in zip(exact, rounded, strict=True) for a, b in zip(one, other, strict=True)
    ]
    return Truth(exact, max(LOSS_TOLERANCE, LUCK * max(errors)))


def _losses(job: Job, dtype: torch.dtype) -> list[tuple[float, float]]:
    state = job.state()
    learners = [
        Learner(one.network, one.optimizer, one.parameters.to(dtype), one.moments.to(dtype), one.steps)
        for one in state.learners
    ]
    predictor = learners[1] if state.predictor else None
    made = Eager(State(learners[0], predictor, state.coefficients, state.generator), job.config)
    made.positions = made.positions.to(dtype) if made.positions is not None else None
    training, validation = ((samples[0].to(dtype), samples[1].to(dtype)) for samples in (job.training, job.validation))
    trainer = Trainer(made, training, validation, job.batch)
    with torch.inference_mode():
        found = [trainer.epoch() for _ in range(CHECKED_EPOCHS)]
    return [(one.task, one.validation) for one in found]


def check(contender: Contender) -> float:
    """Trains a fresh contender and evaluates it, against float64. Returns its largest relative error of a loss.

    Raises WrongAnswer where it is off by more than float32 explains.
    """
    job, worst = contender.job, 0.0
    exact = truth(job)
    for number, expected in enumerate(exact.losses, 1):
        for what, found, true in zip(("loss", "validation error"), contender.epoch(), expected, strict=True):
            error = abs(found - true) / abs(true)
            if not error <= exact.allowed:
                raise WrongAnswer(f"epoch {number}: the {what} was {found:.7f}, and {true:.7f} in float64")
            worst = max(worst, error)
    inputs = torch.rand((2, CHECKED_POINTS), generator=torch.Generator().manual_seed(2))
    outputs, signatures = (one.cpu() for one in contender.evaluate(inputs))
    main, flat = job.config.network, contender.parameters().double()
    stack = reference.layers(flat, main)
    exact_outputs, patterns = reference.evaluate_one(
        stack, job.state().coefficients[0], inputs.double(), main.activation
    )
    error = float((outputs - exact_outputs).norm() / exact_outputs.norm())
    if not error <= OUTPUT_TOLERANCE:
        raise WrongAnswer(f"outputs are off by {error:.1e} of their norm")
    unequal = (signatures != patterns) & ~near_zero(flat, job)(inputs.double())
    if unequal.any():
        raise WrongAnswer(f"{int(unequal.sum())} of {CHECKED_POINTS} signatures are wrong")
    return worst


def near_zero(flat: Tensor, job: Job) -> Callable[[Tensor], Tensor]:
    """Tells of which points (2, n) some neuron is too near zero to say which side of it float32 finds it on.

    One that adds up nothing but what is as near is rounded by as much less; what is subnormal may be zero.
    """
    main = job.config.network

    def tell(inputs: Tensor) -> Tensor:
        hidden, found = inputs, torch.zeros(inputs.shape[1], dtype=torch.bool)
        for weight, bias in reference.layers(flat, main)[:-1]:
            before = torch.addmm(bias, weight, hidden)
            size = torch.addmm(bias.abs(), weight.abs(), hidden.abs())
            found |= ((before.abs() < MARGIN["fp32"]) & (size > MARGIN["fp32"])).any(0)
            found |= ((before.abs() < SMALLEST) & (before != 0)).any(0)
            hidden = torch.nn.functional.leaky_relu(before, main.slope)
        return found

    return tell
