"""Networks in training as threads take them in pieces: gradients added up, then steps, piece by piece."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from draw_poly.kernels.compiled import inlined, part
from draw_poly.kernels.cpu.muon import descend_matrix
from draw_poly.kernels.cpu.update import KINDS, SEGMENT, add_up_rows, clip, squared_norm, step
from draw_poly.kernels.spec import Network, Optimizer
from draw_poly.kernels.spec.optimizer import MOST_NORM


class Learner(NamedTuple):
    """Networks in training, their kind of optimiser, and room for their gradients.

    A piece is what a task renews: begin and end of its parameters, and the shape of the matrix that they begin with
    where the optimiser takes matrices, zeros else. `ratios` are what the rate of each is multiplied by.
    """

    parameters: NDArray[np.float32]  # (networks, parameters)
    moments: NDArray[np.float32]  # (networks, count, parameters)
    gradient: NDArray[np.float32]  # (networks, parameters)
    kind: int  # among `update.KINDS`, of what is no matrix
    squares: NDArray[np.float64]  # (networks, segments), of the gradient; none where no step needs more than its piece
    pieces: NDArray[np.int64]  # (pieces, 4)
    ratios: NDArray[np.float32]  # (pieces,)
    iterations: int
    nesterov: bool

    @staticmethod
    def of(
        parameters: NDArray[np.float32], moments: NDArray[np.float32], gradient: NDArray[np.float32],
        network: Network, optimizer: Optimizer | None,
    ) -> "Learner":  # fmt: skip
        """Networks (networks, parameters) of this shape; without an optimiser they take no steps."""
        networks, size = parameters.shape
        segments = -(-size // SEGMENT)
        begins = range(0, size, SEGMENT)
        pieces: Sequence[Sequence[int]] = [(begin, min(begin + SEGMENT, size), 0, 0) for begin in begins]
        ratios, kind = [1.0] * segments, 0
        if optimizer:
            kind = getattr(KINDS, (optimizer.rest or optimizer).kind)
        if optimizer and optimizer.rest:
            layers = list(zip(network.offsets, network.shapes, strict=True))
            pieces = [(begin, begin + out * (into + 1), out, into) for begin, (out, into) in layers]
            ratios = [optimizer.rate_of(*shape) for shape in network.shapes]
        return Learner(
            parameters, moments, gradient, kind,
            np.empty((networks, segments if optimizer and optimizer.looks_ahead else 0)),
            np.array(pieces, np.int64).reshape(-1, 4), np.array(ratios, np.float32),
            optimizer.muon_ns_steps if optimizer else 0, bool(optimizer and optimizer.muon_nesterov),
        )  # fmt: skip


@inlined
def add_up(learner, network, rows, used, scale, addition, share, segment):  # type: ignore[no-untyped-def]
    """The gradient of a network's segment: `scale` times its first `used` rows, and `share` of an addition.

    The addition may be empty.
    """
    gradient = learner.gradient[network]
    begin = segment * SEGMENT
    end = min(begin + SEGMENT, len(gradient))
    add_up_rows(rows.gradients[network], used, scale, addition, share, gradient, begin, end)
    if learner.squares.shape[1] > 0:
        learner.squares[network, segment] = squared_norm(gradient[begin:end])


@inlined
def renew(learner, network, scalars, piece, scratch):  # type: ignore[no-untyped-def]
    """Takes the step of a network's piece, whose gradient has been added up."""
    flat, gradient, moments = learner.parameters[network], learner.gradient[network], learner.moments[network]
    begin, end, out, into = learner.pieces[piece]
    if learner.squares.shape[1] > 0:
        clip(gradient, learner.squares[network], scalars[MOST_NORM], begin, end)
    if out > 0:
        after = begin + out * into
        descend_matrix(
            flat[begin:after], gradient[begin:after], moments[0, begin:after], out, into, learner.ratios[piece],
            scalars, learner.iterations, learner.nesterov, scratch,
        )  # fmt: skip
        begin = after
    step(learner.kind, scalars, flat, gradient, moments, begin, end)


@part
def keep(learner, network, piece, kept):  # type: ignore[no-untyped-def]
    """Copies a piece of a network's parameters to where those of an epoch are kept."""
    begin, end = learner.pieces[piece, :2]
    for index in range(begin, end):
        kept[index] = learner.parameters[network, index]
