"""The kernels as functions of torch tensors: partial gradients, updates, and many steps in one call.

All of them take a population: networks of one shape, each with parameters, points and scalars of its own.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from draw_poly.kernels.cpu.kolmogorov import LOSSES
from draw_poly.kernels.cpu.learner import Learner
from draw_poly.kernels.cpu.loss import loss_of
from draw_poly.kernels.cpu.muon import scratch_size as matrix_size
from draw_poly.kernels.cpu.runtime.threads import Team, threads_for
from draw_poly.kernels.cpu.training import Batches, Checks, Term, blocks_of, scratch_size, share_out, work
from draw_poly.kernels.spec import SCALARS, KolmogorovTerm, Network, Optimizer
from draw_poly.kernels.support import unsupported_on_cpu
from draw_poly.kernels.tensors import read_array, shares, sizes, written

Found = NDArray[np.float64]
_NOTHING = np.empty(0, np.float32)
# Networks a thread from which on one more or less matters little.
APART = 8


class Workspace:
    """Room for the partial gradients of batches of at most `points`, made once; `term` is None without one.

    `weights` (networks,) of the term are its own where none are given. For one thread at a time: what `gradient`
    leaves here, `update` and `total` read.
    """

    def __init__(
        self,
        network: Network,
        term: KolmogorovTerm | None,
        points: int,
        device: torch.device,
        networks: int = 1,
        weights: Sequence[float] | None = None,
    ) -> None:
        if reason := unsupported_on_cpu(network, term, device):
            raise ValueError(reason)
        self.network, self.term, self.points, self.networks = network, term, points, networks
        predictor = term.predictor if term else Network((1, 1))
        predicted = network.size if term else 0
        self._rows = (
            share_out(network, predictor, points, networks),
            share_out(predictor, network, predicted, networks),
        )
        self._room = [np.empty((networks, one.size), np.float32) for one in (network, predictor)]
        self._addition = np.empty((networks, network.size if term else 0), np.float32)
        self.shares = np.array(shares(network, term, networks, weights), np.float32)
        self.order = np.tile(np.arange(points), (networks, 1))
        self._networks = network, predictor
        self._team = Team(max(*map(scratch_size, self._rows), *map(matrix_size, self._networks)), networks)
        self.used = points  # of the last batch
        self._loss = loss_of(network.loss)
        self.ranges = 2 * network.targets  # the lowest and the highest of each, in turns
        inputs, targets = (np.empty((networks, rows, 0), np.float32) for rows in (2, network.targets))
        self._no_points = inputs, targets
        nothing = np.empty((networks, 0, 0), np.float32)
        self._no_checks = Checks(inputs, targets, np.empty((networks, 0, 0, 1 + self.ranges)), nothing)
        self._point_work = 6.0 * network.size
        self._term_work = 6.0 * predictor.size * network.size if term else 0.0
        self._update_work = 8.0 * networks * network.size * self._rows[0].losses.shape[1]

    def operations(self, points: int) -> float:
        """Floating-point operations of a step on so many points each."""
        return self.networks * (self._point_work * points + self._term_work)

    def learners(
        self, parameters: Sequence[Tensor], moments: Sequence[Tensor] = (), optimizers: Sequence[Optimizer] = ()
    ) -> tuple[Learner, Learner]:
        """The networks and the predictors, or nobody, as the kernels know them; they train the given tensors."""
        nobody = np.empty((self.networks, 0), np.float32)
        unmoved = np.empty((self.networks, 0, 0), np.float32)
        found = [Learner.of(nobody, unmoved, nobody, self.network, None)] * 2
        for index, (flat, size) in enumerate(zip(parameters, sizes(parameters, self.network, self.term), strict=True)):
            numbers, kept, optimizer = read_array("parameters", flat, self.networks, size), unmoved, None
            if moments:
                optimizer = optimizers[index]
                numbers = written("parameters", flat, self.networks, size).numpy()
                kept = written("moments", moments[index], self.networks, optimizer.moments, size).numpy()
            found[index] = Learner.of(numbers, kept, self._room[index], self._networks[index], optimizer)
        return found[0], found[1]

    def term_arrays(self, positions: Tensor | None) -> Term:
        """The Kolmogorov term as the kernels know it, of parameters at these positions (3, P)."""
        term, nothing, nowhere = self.term, np.float32(0.0), _NOTHING.reshape(2, 0)
        if term is None:
            return Term(0, 0, nothing, nothing, nothing, self.shares, nowhere, self._addition)
        shape = term.predictor.dims[0], self.network.size
        places = nowhere if positions is None else read_array("positions", positions, *shape)
        return Term(
            getattr(LOSSES, term.loss), term.bins, np.float32(term.low), np.float32(term.high),
            np.float32(term.high - term.low), self.shares, places, self._addition,
        )  # fmt: skip

    def blocks(self, points: int) -> int:
        """How many blocks of points are validated one by one."""
        return blocks_of(self._rows[0], points)

    def points_of(self, inputs: Tensor, targets: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Inputs (networks, 2, n) and targets (networks, targets, n) as the kernels know them."""
        networks, network, count = self.networks, self.network, inputs.shape[-1]
        return (
            read_array("inputs", inputs, networks, network.dims[0], count),
            read_array("targets", targets, networks, network.targets, count),
        )

    def batches(self, order: NDArray[np.int64], size: int, points: Sequence[NDArray[np.float32]] = ()) -> Batches:
        """Points in their order (networks, epochs, n), so many a step; without any, of what has been differentiated."""
        inputs, targets = points or self._no_points
        return Batches(inputs, targets, order, size, self._loss)

    def launch(
        self,
        learners: tuple[Learner, Learner],
        term: Term,
        batches: Batches,
        scalars: NDArray[np.float32] | None = None,
        losses: NDArray[np.float32] | None = None,
        gradients: bool = True,
        checks: Checks | None = None,
    ) -> None:
        """Steps, one after the other, one for each row of `scalars` and `losses`; without them, gradients alone.

        The checks come last in each epoch.
        """
        updates = scalars is not None and losses is not None
        nothing = np.empty((self.networks, 1, 0), np.float32)
        numbers = nothing if scalars is None else scalars
        results = nothing if losses is None else losses
        work_size = self.operations(batches.size) if gradients else self._update_work
        epochs, steps = batches.order.shape[1], results.shape[1]
        threads = threads_for(work_size)
        # Where every thread has as many networks as the others, or so many that it matters little.
        apart = self.networks % threads == 0 or self.networks >= APART * threads
        self._team.run(
            threads, steps * work_size, work, apart, epochs, steps // epochs, gradients, updates, self._rows, learners,
            term, batches, checks or self._no_checks, numbers, results,
        )  # fmt: skip


def gradient(
    workspace: Workspace, parameters: Sequence[Tensor], positions: Tensor | None, inputs: Tensor, targets: Tensor
) -> None:
    """Writes the partial gradients and losses of a batch of each network into `workspace`.

    `parameters` are those of the networks (networks, P) and of the predictors, if there are any; `positions` (3, P);
    `inputs` (networks, 2, n), `targets` (networks, targets, n), of at most the points that `workspace` was made for.
    Raises ValueError for others.
    """
    count = inputs.shape[-1]
    if not 0 < count <= workspace.points:
        raise ValueError(f"a batch of {count} points where 1 to {workspace.points} were provided for")
    if workspace.term and positions is None:
        raise ValueError("the Kolmogorov term needs the positions of the parameters")
    order = np.ascontiguousarray(workspace.order[:, None, :count])
    batches = workspace.batches(order, count, workspace.points_of(inputs, targets))
    workspace.launch(workspace.learners(parameters), workspace.term_arrays(positions), batches)
    workspace.used = count


def update(
    workspace: Workspace,
    optimizers: Sequence[Optimizer],
    parameters: Sequence[Tensor],
    moments: Sequence[Tensor],
    scalars: Tensor,
    losses: Tensor,
) -> None:
    """Adds the partial gradients up and takes a step of each learner's kind of optimiser, in place.

    `moments` are (networks, count, P), `scalars` (networks, SCALARS per learner) those of `Optimizer.scalars`, which
    hold all that networks may differ in. Writes `losses` (networks, 1 per learner): of the task, and the mean of the
    Kolmogorov term.
    """
    networks, used = workspace.networks, workspace.used
    order = np.ascontiguousarray(workspace.order[:, None, :used])
    learners = workspace.learners(parameters, moments, optimizers)
    numbers = read_array("scalars", scalars, networks, SCALARS * len(parameters)).reshape(networks, 1, -1)
    results = written("losses", losses, networks, len(parameters)).view(networks, 1, -1).numpy()
    batches = workspace.batches(order, used)
    workspace.launch(learners, workspace.term_arrays(None), batches, numbers, results, gradients=False)


def total(workspace: Workspace, gradients: Sequence[Tensor], losses: Tensor) -> None:
    """What `update` would take its steps with: each learner's gradient (networks, P), and the `losses`."""
    for gradient in gradients:
        written("gradient", gradient, *gradient.shape).zero_()
    # A step of descent from zero at the rate -1 ends at the gradient.
    descent = [Optimizer("sgd", -1.0)] * len(gradients)
    scalars = losses.new_tensor([[number for one in descent for number in one.scalars(1)]] * len(losses))
    nothing = [gradient.new_empty((len(gradient), 0, gradient.shape[-1])) for gradient in gradients]
    update(workspace, descent, gradients, nothing, scalars, losses)


class Training:
    """What `gradient` and `update` do, batch after batch of some points: prepared once, since that takes a while.

    `points` are inputs (networks, 2, all) and targets (networks, targets, all); a batch is `workspace.points` of them,
    the last one fewer. `validation` are others. Parameters and moments are trained in place, wherever `run` is called:
    by one thread at a time.
    """

    def __init__(
        self,
        workspace: Workspace,
        optimizers: Sequence[Optimizer],
        parameters: Sequence[Tensor],
        moments: Sequence[Tensor],
        positions: Tensor | None,
        points: tuple[Tensor, Tensor],
        validation: tuple[Tensor, Tensor],
    ) -> None:
        self._workspace = workspace
        self._learners, self._term = (
            workspace.learners(parameters, moments, optimizers),
            workspace.term_arrays(positions),
        )
        self._inputs, self._targets = workspace.points_of(*points)
        self._validation = workspace.points_of(*validation)
        self._size = sum(flat.shape[1] for flat in parameters)

    def run(
        self,
        order: NDArray[np.int64],
        scalars: NDArray[np.float32],
        losses: NDArray[np.float32],
        kept: NDArray[np.float32] | None = None,
    ) -> Found:
        """A step for each row of `scalars` (networks, epochs, steps, SCALARS per learner), on each network's points.

        Their `order` is (networks, epochs, n). Writes `losses` (networks, epochs, steps, 1 per learner). Where there is
        room for them, the learners' parameters after each epoch are `kept` (networks, epochs, P of all), and each is
        validated: returns what is found, (networks, epochs, 3), the mean loss, and the lowest and highest number of
        the output that has the widest range, or of the classes. Raises ValueError where the points are not those of so
        many steps.
        """
        networks, (epochs, points), size = self._workspace.networks, order.shape[1:], self._workspace.points
        steps = -(-points // size)
        if not scalars.shape[1:3] == losses.shape[1:3] == (epochs, steps):
            raise ValueError(
                f"{epochs} times {points} points are {steps} steps of {size} each, and {scalars.shape[1:3]} rows of "
                f"scalars and {losses.shape[1:3]} of losses were given"
            )
        if not losses.flags.c_contiguous:
            raise ValueError("losses were to be written with gaps in between: give contiguous memory")
        if kept is not None and kept.shape != (networks, epochs, self._size):
            raise ValueError(f"parameters were to be kept in {kept.shape}: give {(networks, epochs, self._size)}")
        checks, blocks = None, 0 if kept is None else self._workspace.blocks(self._validation[0].shape[2])
        found = np.empty((networks, epochs, blocks, 1 + self._workspace.ranges))
        if kept is not None:
            checks = Checks(*self._validation, found, kept)
        # Kernels read memory as it lies.
        points_taken = self._inputs, self._targets
        batches = self._workspace.batches(np.ascontiguousarray(order, np.int64), size, points_taken)
        flat = networks, epochs * steps
        numbers = np.ascontiguousarray(scalars, np.float32).reshape(*flat, scalars.shape[3])
        results = losses.reshape(*flat, losses.shape[3])
        self._workspace.launch(self._learners, self._term, batches, numbers, results, checks=checks)
        return self._summed(found)

    def _summed(self, found: NDArray[np.float64]) -> Found:
        """What blocks of points (networks, epochs, blocks, 1 + ranges) come to together, (networks, epochs, 3)."""
        errors, *limits = np.ascontiguousarray(np.moveaxis(found, -1, 0))
        if not found.shape[2]:
            return np.empty((*found.shape[:2], 3))
        lowest, highest = np.stack(limits[::2]).min(-1), np.stack(limits[1::2]).max(-1)  # (ranges, networks, epochs)
        if len(lowest) > 1:
            widest = (highest - lowest).argmax(0)[None]
            lowest, highest = (np.take_along_axis(one, widest, 0) for one in (lowest, highest))
        return np.stack((errors.sum(-1) / self._validation[1][0].size, lowest[0], highest[0]), -1)
