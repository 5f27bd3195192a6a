"""The kernels as functions of torch tensors: partial gradients, updates, and many steps in one call."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from draw_poly.kernels.cpu.kolmogorov import LOSSES
from draw_poly.kernels.cpu.threads import Team, threads_for
from draw_poly.kernels.cpu.training import Batches, Checks, Learner, Term, checks_of, scratch_size, share_out, work
from draw_poly.kernels.cpu.update import KINDS
from draw_poly.kernels.spec import CodeLength, Network, Optimizer
from draw_poly.kernels.support import unsupported_on_cpu
from draw_poly.kernels.tensors import read_array, sizes, written


def _learner(
    parameters: NDArray[np.float32],
    room: NDArray[np.float32],
    scale: np.float32,
    moments: NDArray[np.float32],
    optimizer: Optimizer | None = None,
) -> Learner:
    one = optimizer or Optimizer("sgd", 0.0)
    return Learner(parameters, moments, room, getattr(KINDS, one.kind), np.float32(one.factor), scale)


_NOTHING = np.empty(0, np.float32)
_NO_POINTS = _NOTHING.reshape(2, 0)
_NO_NUMBERS = np.empty((1, 0), np.float32)
_NO_CHECKS = Checks(_NO_POINTS, _NO_POINTS, np.empty((0, 3)))
_NOBODY = _learner(_NOTHING, _NOTHING, np.float32(0.0), _NOTHING.reshape(0, 0))


class Partials:
    """Room for the partial gradients of a batch of at most `points`, made once; without a term `code` is None.

    For one thread at a time: what `gradient` leaves here, `update` and `total` read.
    """

    def __init__(self, network: Network, code: CodeLength | None, points: int, device: torch.device) -> None:
        if reason := unsupported_on_cpu(network, code, device):
            raise ValueError(reason)
        self.network, self.code, self.points = network, code, points
        predictor = code.predictor if code else Network((1, 1))
        self._rows = share_out(network, points), share_out(predictor, network.size if code else 0)
        self._room = [np.empty(network.size, np.float32), np.empty(predictor.size, np.float32)]
        self._addition = np.empty(network.size if code else 0, np.float32)
        self.order = np.arange(points)
        self._team = Team(max(map(scratch_size, self._rows)))
        self.used = points  # of the last batch
        self._point_work = 6.0 * network.size
        self._term_work = 6.0 * predictor.size * network.size if code else 0.0
        self._update_work = 8.0 * network.size * len(self._rows[0].losses)

    def operations(self, points: int) -> float:
        """Floating-point operations of a step on so many points."""
        return self._point_work * points + self._term_work

    def learners(
        self, parameters: Sequence[Tensor], moments: Sequence[Tensor] = (), optimizers: Sequence[Optimizer] = ()
    ) -> tuple[Learner, Learner]:
        """The network and the predictor, or nobody, as the kernels know them; they train the tensors that are given."""
        found = [_NOBODY, _NOBODY]
        share = self.code.weight / self.network.size if self.code else 0.0
        for index, (flat, size) in enumerate(zip(parameters, sizes(parameters, self.network, self.code), strict=True)):
            numbers, kept, optimizer = read_array("parameters", flat, size), _NOBODY.moments, None
            if moments:
                numbers, optimizer = written("parameters", flat, size).numpy(), optimizers[index]
                kept = written("moments", moments[index], optimizer.moments, size).numpy()
            scale = np.float32(share if index else 1.0)
            found[index] = _learner(numbers, self._room[index], scale, kept, optimizer)
        return found[0], found[1]

    def term(self, positions: Tensor | None) -> Term:
        """The Kolmogorov term as the kernels know it, of parameters at these positions (3, P)."""
        code, nothing = self.code, np.float32(0.0)
        if code is None:
            return Term(0, 0, nothing, nothing, nothing, nothing, _NO_POINTS, self._addition)
        shape = code.predictor.dims[0], self.network.size
        places = _NO_POINTS if positions is None else read_array("positions", positions, *shape)
        return Term(
            getattr(LOSSES, code.loss), code.bins, np.float32(code.low), np.float32(code.high),
            np.float32(code.high - code.low), np.float32(code.weight / self.network.size), places, self._addition,
        )  # fmt: skip

    def checks(self, inputs: Tensor, targets: Tensor) -> Checks:
        """Validation on inputs (2, n) and targets (outputs, n)."""
        return checks_of(self._rows[0], *self.points_of(inputs, targets))

    def points_of(self, inputs: Tensor, targets: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Inputs (2, n) and targets (outputs, n) as the kernels know them."""
        dims, count = self.network.dims, inputs.shape[-1]
        return read_array("inputs", inputs, dims[0], count), read_array("targets", targets, dims[-1], count)

    def launch(
        self,
        learners: tuple[Learner, Learner],
        term: Term,
        batches: Batches,
        scalars: NDArray[np.float32] | None = None,
        losses: NDArray[np.float32] | None = None,
        gradients: bool = True,
        checks: Checks = _NO_CHECKS,
    ) -> None:
        """Steps, one after the other, one for each row of `scalars` and `losses`; without them, gradients alone.

        The checks come last.
        """
        updates = scalars is not None and losses is not None
        numbers = _NO_NUMBERS if scalars is None else scalars
        results = _NO_NUMBERS if losses is None else losses
        work_size = self.operations(batches.size) if gradients else self._update_work
        self._team.run(
            threads_for(work_size), len(results) * work_size, work, len(results), gradients, updates, self._rows,
            learners, term, batches, checks, numbers, results,
        )  # fmt: skip


def gradient(
    partials: Partials, parameters: Sequence[Tensor], positions: Tensor | None, inputs: Tensor, targets: Tensor
) -> None:
    """Writes the partial gradients and losses of a batch into `partials`.

    `parameters` are those of the network (P,) and of the predictor, if there is one; `positions` (3, P); `inputs`
    (2, n), `targets` (outputs, n), of at most the points that `partials` was made for. Raises ValueError for others.
    """
    count = inputs.shape[1]
    if not 0 < count <= partials.points:
        raise ValueError(f"a batch of {count} points where 1 to {partials.points} were provided for")
    if partials.code and positions is None:
        raise ValueError("the Kolmogorov term needs the positions of the parameters")
    batches = Batches(*partials.points_of(inputs, targets), partials.order[:count], count)
    partials.launch(partials.learners(parameters), partials.term(positions), batches)
    partials.used = count


def update(
    partials: Partials,
    optimizers: Sequence[Optimizer],
    parameters: Sequence[Tensor],
    moments: Sequence[Tensor],
    scalars: Tensor,
    losses: Tensor,
) -> None:
    """Adds the partial gradients up and takes a step of each optimiser, in place.

    `moments` are (count, P), `scalars` (2 per learner,) those of `Optimizer.scalars`. Writes `losses` (1 per learner,):
    of the task, and the mean of the Kolmogorov term.
    """
    batches = Batches(_NO_POINTS, _NO_POINTS, partials.order[: partials.used], partials.used)
    learners = partials.learners(parameters, moments, optimizers)
    numbers = read_array("scalars", scalars, 2 * len(parameters)).reshape(1, -1)
    results = written("losses", losses, len(parameters)).view(1, -1).numpy()
    partials.launch(learners, partials.term(None), batches, numbers, results, gradients=False)


def total(partials: Partials, gradients: Sequence[Tensor], losses: Tensor) -> None:
    """What `update` would take its steps with: the gradient (P,) of each learner, and the `losses` (1 per learner,)."""
    for gradient in gradients:
        written("gradient", gradient, len(gradient)).zero_()
    # A step of descent from zero at the rate -1 ends at the gradient.
    ascent = Optimizer("sgd", -1.0)
    scalars = losses.new_tensor(ascent.scalars(1) * len(gradients))
    nothing = [gradient.new_empty((0, len(gradient))) for gradient in gradients]
    update(partials, [ascent] * len(gradients), gradients, nothing, scalars, losses)


class Training:
    """What `gradient` and `update` do, batch after batch of some points: prepared once, since that takes a while.

    `points` are inputs (2, all) and targets (outputs, all); a batch is `partials.points` of them, the last one fewer.
    `validation` are others. Parameters and moments are trained in place, wherever `run` is called: by one thread at a
    time.
    """

    def __init__(
        self,
        partials: Partials,
        optimizers: Sequence[Optimizer],
        parameters: Sequence[Tensor],
        moments: Sequence[Tensor],
        positions: Tensor | None,
        points: tuple[Tensor, Tensor],
        validation: tuple[Tensor, Tensor],
    ) -> None:
        self._partials = partials
        self._learners, self._term = partials.learners(parameters, moments, optimizers), partials.term(positions)
        self._inputs, self._targets = partials.points_of(*points)
        self._checks = partials.checks(*validation)

    def run(
        self,
        order: NDArray[np.int64],
        scalars: NDArray[np.float32],
        losses: NDArray[np.float32],
        validates: bool = False,
    ) -> None:
        """A step for each row of `scalars` (steps, 2 per learner) on the points in this order (n,).

        Writes `losses` (steps, 1 per learner); then validates, if asked to. Raises ValueError where the points are not
        those of so many steps.
        """
        size = self._partials.points
        if not len(scalars) == len(losses) == -(-len(order) // size):
            raise ValueError(
                f"{len(order)} points are {-(-len(order) // size)} steps of {size}, and {len(scalars)} rows of scalars "
                f"and {len(losses)} of losses were given"
            )
        # Kernels read memory as it lies.
        batches = Batches(self._inputs, self._targets, np.ascontiguousarray(order, np.int64), size)
        scalars = np.ascontiguousarray(scalars, np.float32)
        checks = self._checks if validates else _NO_CHECKS
        self._partials.launch(self._learners, self._term, batches, scalars, losses, checks=checks)

    def found(self) -> tuple[float, float, float]:
        """The mean squared error, the lowest and the highest output of the last validation."""
        errors, lowest, highest = self._checks.found.T
        add_up, least, most = np.add.reduce, np.minimum.reduce, np.maximum.reduce
        return float(add_up(errors)) / self._checks.targets.size, float(least(lowest)), float(most(highest))
