"""Steps of training as tasks that threads share: gradients of batches, then updates, step after step.

A step is a number of tasks: rows of points, rows of parameters under the predictor, then segments to update. Threads
take the next task whenever they are free, and each task waits for the phase before it. What a task computes, and in
which order the rows are added up, does not depend on who takes it: neither does the result. One thread may do it all,
and a thread that comes late or is held up costs nothing but its help.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from draw_poly.kernels.compiled import inlined, kernel, part
from draw_poly.kernels.cpu.clock import done, take, wait
from draw_poly.kernels.cpu.kolmogorov import NOTES, code_loss
from draw_poly.kernels.cpu.mlp import (
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
    gather_neighbours,
    squared_error,
    table,
)  # fmt: skip
from draw_poly.kernels.cpu.update import SEGMENT, add_up_rows, step
from draw_poly.kernels.cpu.vector import LANES
from draw_poly.kernels.spec import Network

# Numbers of all rows of partial gradients; the rows that there may be at least, however large the network is, and at
# most: as many as keep sixty-four threads busy, and few enough to add up.
ROWS_SIZE, FEWEST_ROWS, MOST_ROWS = 2**24, 4, 64


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
    span: np.float32  # high - low, rounded once
    share: np.float32  # of each parameter's loss in the loss
    positions: NDArray[np.float32]  # (3, parameters)
    gradient: NDArray[np.float32]  # (parameters,)


class Batches(NamedTuple):
    """Points in the order in which the steps take them, `size` a step, the last fewer."""

    inputs: NDArray[np.float32]  # (2, points)
    targets: NDArray[np.float32]  # (outputs, points)
    order: NDArray[np.int64]  # (points,)
    size: int


class Checks(NamedTuple):
    """Points that validate the network after the last step, and what is found there, a row a block of them."""

    inputs: NDArray[np.float32]  # (2, points)
    targets: NDArray[np.float32]  # (outputs, points)
    found: NDArray[np.float64]  # (blocks, 3): sum of squared errors, lowest and highest output


class Learner(NamedTuple):
    """A network's parameters (P,), moments (count, P), its optimiser, and room for its gradient (P,)."""

    parameters: NDArray[np.float32]
    moments: NDArray[np.float32]
    gradient: NDArray[np.float32]
    kind: int
    rate: np.float32
    momentum: np.float32
    scale: np.float32  # of its rows' gradients in the loss's


def share_out(network: Network, points: int) -> Rows:
    """The rows of a network for so many points; none for none."""
    panels = block_panels(network, points)
    block = panels * LANES
    blocks = -(-points // block)
    most = max(FEWEST_ROWS, min(MOST_ROWS, ROWS_SIZE // network.size))
    span = block * max(1, -(-blocks // most))
    rows = -(-points // span)
    gradients = np.empty((rows, network.size), np.float32)
    return Rows(table(network, panels), np.float32(network.slope), panels, span, gradients, np.empty(rows))


def checks_of(rows: Rows, inputs: NDArray[np.float32], targets: NDArray[np.float32]) -> Checks:
    """Checks of a network on these points."""
    blocks = -(-inputs.shape[1] // (rows.panels * LANES))
    return Checks(inputs, targets, np.empty((blocks, 3)))


def scratch_size(rows: Rows) -> int:
    """Numbers that a thread needs to work on a row: a block, the targets of its points, the cross-entropy's notes."""
    return block_size(rows.layers, rows.panels) + rows.panels * int(rows.layers[-1, TARGET_STRIDE]) + NOTES


@inlined
def differentiate(coded, rows, row, flat, points, batches, first, parameters, term, scratch):  # type: ignore[no-untyped-def]
    """Partial gradient and loss of a row: of points of the batch that begins at `first`, or of parameters if `coded`.

    `flat` are the parameters of the network that is differentiated; `points` is how many there are for all rows.
    """
    layers, gradient = rows.layers, rows.gradients[row]
    outputs, target, stride = layers[-1, OUT], layers[-1, TARGET], layers[-1, TARGET_STRIDE]
    beside = target + rows.panels * stride  # the targets, or the cross-entropy's notes
    scale = np.float32(2.0 / (points * outputs))
    gradient[:] = np.float32(0.0)
    loss = 0.0
    end = min((row + 1) * rows.span, points)
    for begin in range(row * rows.span, end, rows.panels * LANES):
        count = min(rows.panels * LANES, end - begin)
        if coded:
            gather_neighbours(term.positions, begin, count, scratch, layers[0, SOURCE], layers[0, SOURCE_STRIDE])
        else:
            start = first + begin
            gather(batches.inputs, batches.order, start, count, scratch, layers[0, SOURCE], layers[0, SOURCE_STRIDE])
            gather(batches.targets, batches.order, start, count, scratch, beside, stride)
        forward(flat, layers, (count + LANES - 1) // LANES, scratch, rows.slope)
        if coded:
            loss += code_loss(
                term.kind, term.bins, term.low, term.high, term.span, parameters, begin, count, scratch, target, stride,
                scratch[beside:], term.gradient,
            )  # fmt: skip
        else:
            loss += squared_error(outputs, count, scratch, target, stride, beside, stride, scale)
        backward(flat, layers, count, scratch, rows.slope, gradient)
    rows.losses[row] = loss


@inlined
def renew(learner, rows, used, addition, share, step_size, divisor, segment):  # type: ignore[no-untyped-def]
    """Adds up the first `used` rows of a segment, and `share` of an addition if there is one, and takes the step."""
    begin = segment * SEGMENT
    end = min(begin + SEGMENT, len(learner.parameters))
    add_up_rows(rows.gradients, used, learner.scale, addition, share, learner.gradient, begin, end)
    step(
        learner.kind, learner.rate, learner.momentum, step_size, divisor, learner.parameters, learner.gradient,
        learner.moments, begin, end,
    )  # fmt: skip


@part
def check(rows, block, parameters, checks, scratch):  # type: ignore[no-untyped-def]
    """Validates the network on a block of points."""
    layers, panels = rows.layers, rows.panels
    target, stride = layers[-1, TARGET], layers[-1, TARGET_STRIDE]
    first = block * panels * LANES
    count = min(panels * LANES, checks.inputs.shape[1] - first)
    gather_neighbours(checks.inputs, first, count, scratch, layers[0, SOURCE], layers[0, SOURCE_STRIDE])
    forward(parameters, layers, (count + LANES - 1) // LANES, scratch, rows.slope)
    error, lowest, highest = 0.0, np.inf, -np.inf
    for output in range(layers[-1, OUT]):
        for point in range(count):
            value = scratch[target + point // LANES * stride + output * LANES + point % LANES]
            error += (value - checks.targets[output, first + point]) ** 2
            lowest = lowest if lowest <= value or lowest != lowest else value  # a NaN stays
            highest = highest if highest >= value or highest != highest else value
    found = checks.found[block]
    found[0], found[1], found[2] = error, lowest, highest  # a tuple at once takes the compiler seconds


@kernel
def work(clock, scratch, steps, gradients, updates, rows, learners, term, batches, checks, scalars, losses):  # type: ignore[no-untyped-def]
    """What one thread does of so many steps: takes tasks by the clock until there are none.

    `rows` and `learners` are two each: of the network, and of the predictor. `gradients` and `updates` say which half
    of a step is wanted. `scalars` (steps, 2 per learner) are the optimisers'. Writes `losses` (steps, 1 per learner):
    of the task, and the mean of the Kolmogorov term. The checks come last.
    """
    main, second = learners
    size, terms = len(main.parameters), len(rows[1].losses)
    segments = (size + SEGMENT - 1) // SEGMENT
    half = (terms + len(rows[0].losses)) * gradients
    tasks = half + (segments + (len(second.parameters) + SEGMENT - 1) // SEGMENT) * updates
    while True:
        ticket = take(clock)
        if ticket >= steps * tasks + len(checks.found):
            wait(clock, steps * tasks + len(checks.found))
            return
        if ticket >= steps * tasks:
            wait(clock, steps * tasks)
            check(rows[0], ticket - steps * tasks, main.parameters, checks, scratch)
            done(clock)
            continue
        index, task = divmod(ticket, tasks)
        wait(clock, index * tasks + (half if task >= half else 0))
        first = index * batches.size
        points = min(batches.size, len(batches.order) - first)
        used = (points + rows[0].span - 1) // rows[0].span
        if task < half:
            which = np.intp(task < terms)  # the rows of parameters, which take longest, go first
            row = task if which else task - terms
            if which or row < used:
                differentiate(
                    which, rows[which], row, learners[which].parameters, size if which else points, batches, first,
                    main.parameters, term, scratch,
                )  # fmt: skip
        else:
            which = np.intp(task - half >= segments)
            segment = task - half - which * segments
            full = terms if which else used
            renew(
                learners[which], rows[which], full, term.gradient[: 0 if which else size], term.share,
                scalars[index, 2 * which], scalars[index, 2 * which + 1], segment,
            )  # fmt: skip
            if segment == 0:
                count = size if which else points * rows[0].layers[-1, OUT]
                loss = 0.0
                for row in range(full):
                    loss += rows[which].losses[row]
                losses[index, which] = loss / count
        done(clock)
