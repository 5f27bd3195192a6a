"""Steps of training as tasks that threads share: gradients of batches, then updates, step after step.

A step is a number of tasks: rows of points, rows of parameters under the predictor, then segments to update. Threads
take the next task whenever they are free, and each task waits for the phase before it. What a task computes, and in
which order the rows are added up, does not depend on who takes it: neither does the result. One thread may do it all,
and a thread that comes late or is held up costs nothing but its help.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.cpu.clock import done, take, wait
from kernels.cpu.compiled import kernel
from kernels.cpu.kolmogorov import NOTES, code_loss
from kernels.cpu.mlp import (
    OUT,
    SOURCE,
    SOURCE_STRIDE,
    TARGET,
    TARGET_STRIDE,
    backward,
    block_panels,
    block_size,
    forward,
    gather,
    squared_error,
    table,
)  # fmt: skip
from kernels.cpu.update import SEGMENT, gather_gradient, step
from kernels.cpu.vector import LANES
from kernels.spec import Network

# Numbers of all rows of partial gradients, and the rows that there are however large the network is.
ROWS_SIZE, FEWEST_ROWS = 2**24, 4


class Rows(NamedTuple):
    """How a network's points are shared out, and the partial sums of each share.

    `layers` is its `mlp.table` for blocks of `panels`; row r takes the points from `r * span` on.
    """

    layers: NDArray[np.int64]
    slope: np.float32
    panels: int
    span: int
    gradients: NDArray[np.float32]  # (rows, parameters)
    losses: NDArray[np.float64]  # (rows,)


class Term(NamedTuple):
    """The Kolmogorov term's settings, and its gradient of the network's parameters; all empty where it is off."""

    kind: int
    bins: int
    low: np.float32
    high: np.float32
    share: np.float32  # of each parameter's loss in the loss
    positions: NDArray[np.float32]  # (3, parameters)
    gradient: NDArray[np.float32]  # (parameters,)


class Batches(NamedTuple):
    """Points in the order in which the steps take them, `size` a step, the last fewer."""

    inputs: NDArray[np.float32]  # (2, points)
    targets: NDArray[np.float32]  # (outputs, points)
    order: NDArray[np.int64]  # (points,)
    size: int


class Learner(NamedTuple):
    """A network's parameters (P,), moments (count, P), its optimiser, and room for its gradient (P,)."""

    parameters: NDArray[np.float32]
    moments: NDArray[np.float32]
    gradient: NDArray[np.float32]
    kind: int
    rate: np.float32
    momentum: np.float32


def share_out(network: Network, points: int) -> Rows:
    """The rows of a network for so many points; none for none."""
    panels = block_panels(network)
    block = panels * LANES
    blocks = -(-points // block)
    most = max(FEWEST_ROWS, ROWS_SIZE // network.size)
    span = block * max(1, -(-blocks // most))
    rows = -(-points // span)
    gradients = np.empty((rows, network.size), np.float32)
    return Rows(table(network, panels), np.float32(network.slope), panels, span, gradients, np.empty(rows))


def scratch_size(rows: Rows) -> int:
    """Numbers that a thread needs to work on a row: a block, the targets of its points, the cross-entropy's notes."""
    return block_size(rows.layers, rows.panels) + rows.panels * int(rows.layers[-1, TARGET_STRIDE]) + NOTES


@kernel
def task_row(rows, row, parameters, batches, first, points, scratch):  # type: ignore[no-untyped-def]
    """Partial gradient and loss of a row of the batch that begins at `first` and has so many points."""
    layers, gradient = rows.layers, rows.gradients[row]
    outputs, target, stride = layers[-1, OUT], layers[-1, TARGET], layers[-1, TARGET_STRIDE]
    wanted = target + rows.panels * stride
    scale = np.float32(2.0 / (points * outputs))
    gradient[:] = np.float32(0.0)
    loss = 0.0
    end = min((row + 1) * rows.span, points)
    for begin in range(row * rows.span, end, rows.panels * LANES):
        count = min(rows.panels * LANES, end - begin)
        panels = (count + LANES - 1) // LANES
        gather(
            batches.inputs, batches.order, first + begin, count, scratch, layers[0, SOURCE], layers[0, SOURCE_STRIDE]
        )
        gather(batches.targets, batches.order, first + begin, count, scratch, wanted, stride)
        forward(parameters, layers, panels, scratch, rows.slope)
        loss += squared_error(outputs, count, scratch, target, stride, wanted, stride, scale)
        backward(parameters, layers, panels, scratch, rows.slope, gradient)
    rows.losses[row] = loss


@kernel
def code_row(rows, row, parameters, predictor, term, scratch):  # type: ignore[no-untyped-def]
    """Partial gradient and loss of a row of parameters under the predictor."""
    layers, gradient = rows.layers, rows.gradients[row]
    target, stride = layers[-1, TARGET], layers[-1, TARGET_STRIDE]
    notes = scratch[target + rows.panels * stride :]
    gradient[:] = np.float32(0.0)
    loss = 0.0
    end = min((row + 1) * rows.span, len(parameters))
    for begin in range(row * rows.span, end, rows.panels * LANES):
        count = min(rows.panels * LANES, end - begin)
        panels = (count + LANES - 1) // LANES
        _gather_positions(term.positions, begin, count, scratch, layers[0, SOURCE], layers[0, SOURCE_STRIDE])
        forward(predictor, layers, panels, scratch, rows.slope)
        loss += code_loss(
            term.kind, term.bins, term.low, term.high, parameters, begin, count, scratch, target, stride, notes,
            term.gradient,
        )  # fmt: skip
        backward(predictor, layers, panels, scratch, rows.slope, gradient)
    rows.losses[row] = loss


@kernel
def _gather_positions(positions, first, count, block, start, stride):  # type: ignore[no-untyped-def]
    """As `gather` does, of neighbours."""
    for feature in range(positions.shape[0]):
        at = start + feature * LANES
        for panel in range(0, count, LANES):
            for lane in range(LANES):
                block[at + lane] = positions[feature, first + min(panel + lane, count - 1)]
            at += stride


@kernel
def work(  # type: ignore[no-untyped-def]
    clock, scratch, steps, gradients, updates, rows, code_rows, term, batches, learner, predictor, scalars, losses
):
    """What one thread does of so many steps: takes tasks by the clock until there are none.

    `gradients` and `updates` say which half of a step is wanted. `scalars` (steps, 2 per learner) are the optimisers';
    `losses` (steps, 1 per learner) are written: task, and mean of the Kolmogorov term.
    """
    terms, size, code_size = len(code_rows.losses), len(learner.parameters), len(predictor.parameters)
    points = batches.size
    segments = (size + SEGMENT - 1) // SEGMENT
    differentiate = (len(rows.losses) + terms) * gradients
    tasks = differentiate + (segments + (code_size + SEGMENT - 1) // SEGMENT) * updates
    while True:
        ticket = take(clock)
        index = ticket // tasks
        if index >= steps:
            return
        task = ticket % tasks
        needed = index * tasks + (differentiate if task >= differentiate else 0)
        wait(clock, needed)
        first = index * batches.size
        points = min(batches.size, len(batches.order) - first)
        used = (points + rows.span - 1) // rows.span
        if task < differentiate:
            # The rows of parameters take longest and go first.
            if task < terms:
                code_row(code_rows, task, learner.parameters, predictor.parameters, term, scratch)
            elif task - terms < used:
                task_row(rows, task - terms, learner.parameters, batches, first, points, scratch)
        else:
            begin = (task - differentiate) * SEGMENT
            if task - differentiate < segments:
                end = min(begin + SEGMENT, size)
                gather_gradient(rows.gradients, used, begin, end, term.gradient, term.share, learner.gradient)
                _step(learner, scalars[index, 0], scalars[index, 1], begin, end)
                if begin == 0:
                    losses[index, 0] = rows.losses[:used].sum() / (points * rows.layers[-1, OUT])
            else:
                begin -= segments * SEGMENT
                end = min(begin + SEGMENT, code_size)
                gather_gradient(
                    code_rows.gradients, terms, begin, end, term.gradient[:0], term.share, predictor.gradient
                )
                for place in range(begin, end):
                    predictor.gradient[place] *= term.share
                _step(predictor, scalars[index, 2], scalars[index, 3], begin, end)
                if begin == 0:
                    losses[index, 1] = code_rows.losses.sum() / size
        done(clock)


@kernel
def _step(learner, step_size, divisor, begin, end):  # type: ignore[no-untyped-def]
    step(
        learner.kind, learner.rate, learner.momentum, step_size, divisor, learner.parameters, learner.gradient,
        learner.moments, begin, end,
    )  # fmt: skip
