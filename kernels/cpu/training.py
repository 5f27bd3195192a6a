"""Steps of training as tasks that threads share: gradients of batches, then updates, step after step.

A network's step is a number of tasks: rows of points, rows of parameters under the predictor, then segments to update.
Threads take the next task of any network whenever they are free, and each task waits for its network's phase before it.
What a task computes, and in which order the rows are added up, does not depend on who takes it, nor on the networks
beside it: neither does the result. One thread may do it all, and a thread that comes late or is held up costs nothing
but its help.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from draw_poly.kernels.compiled import inlined, kernel, part
from draw_poly.kernels.cpu.gradient import (
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
    table,
)  # fmt: skip
from draw_poly.kernels.cpu.kolmogorov import NOTES, term_loss
from draw_poly.kernels.cpu.learner import add_up, keep, renew
from draw_poly.kernels.cpu.loss import CrossEntropy, SquaredError, descend, measure
from draw_poly.kernels.cpu.runtime.task_counter import claim, finish, wait
from draw_poly.kernels.cpu.runtime.tiles import Specialisation, specialisation_of
from draw_poly.kernels.cpu.runtime.vector import LANES
from draw_poly.kernels.cpu.update import SEGMENT
from draw_poly.kernels.spec import SCALARS, Network

# Numbers of all rows of partial gradients; the rows that there may be at least, however large the network is, and at
# most: as many as keep sixty-four threads busy, and few enough to add up.
ROWS_SIZE, FEWEST_ROWS, MOST_ROWS = 2**24, 4, 64


class Rows(NamedTuple):
    """How each network's points are shared out, and the partial sums of each share.

    `layers` is their `gradient.table` for blocks of `panels`; row r takes the points from `r * span` on.
    """

    layers: NDArray[np.int64]
    specialisation: Specialisation
    panels: int
    span: int
    gradients: NDArray[np.float32]  # (networks, rows, parameters)
    losses: NDArray[np.float64]  # (networks, rows)


class Term(NamedTuple):
    """The Kolmogorov term's settings, and its gradient of the network's parameters; all empty where it is off."""

    kind: int
    bins: int
    low: np.float32
    high: np.float32
    span: np.float32  # high - low, rounded once
    shares: NDArray[np.float32]  # (networks,), of each parameter's loss in the loss
    positions: NDArray[np.float32]  # (3, parameters)
    gradient: NDArray[np.float32]  # (networks, parameters)


class Batches(NamedTuple):
    """Points in the order in which the steps of each epoch take them, `size` a step, the last fewer.

    `loss` says how outputs are scored against targets, `Loss.targets` for each point; so for the checks' points.
    """

    inputs: NDArray[np.float32]  # (networks, 2, points)
    targets: NDArray[np.float32]  # (networks, targets, points)
    order: NDArray[np.int64]  # (networks, epochs, points)
    size: int
    loss: SquaredError | CrossEntropy


class Checks(NamedTuple):
    """What is kept of each network after an epoch: its parameters, and what validation finds, a row a block of points.

    Without blocks nothing is validated, and without room for parameters none are kept.
    """

    inputs: NDArray[np.float32]  # (networks, 2, points)
    targets: NDArray[np.float32]  # (networks, targets, points)
    found: NDArray[np.float64]  # (networks, epochs, blocks, 1 + 2 * targets): sum of losses, ranges as of `measure`
    parameters: NDArray[np.float32]  # (networks, epochs, parameters of all learners)


def share_out(network: Network, beside: Network, points: int, networks: int) -> Rows:
    """The rows of so many networks of this shape for so many points each, none for none, with another's `beside`."""
    panels = block_panels(network, points)
    block = panels * LANES
    blocks = -(-points // block)
    most = max(FEWEST_ROWS, min(MOST_ROWS, ROWS_SIZE // network.size))
    span = block * max(1, -(-blocks // most))
    rows = -(-points // span)
    gradients = np.empty((networks, rows, network.size), np.float32)
    specialisation, losses = specialisation_of(network, beside), np.empty((networks, rows))
    return Rows(table(network, panels), specialisation, panels, span, gradients, losses)


def blocks_of(rows: Rows, points: int) -> int:
    """How many blocks of points are validated one by one."""
    return -(-points // (rows.panels * LANES))


def scratch_size(rows: Rows) -> int:
    """Numbers that a thread needs to work on a row: a block, the targets of its points, the cross-entropy's notes."""
    return block_size(rows.layers, rows.panels) + rows.panels * int(rows.layers[-1, TARGET_STRIDE]) + NOTES


@inlined
def differentiate(  # type: ignore[no-untyped-def]
    with_term, network, row, rows, flat, points, batches, epoch, first, parameters, term, scratch
):
    """Partial gradient and loss of a row: of the epoch's batch that begins at `first`, or of parameters `with_term`.

    `flat` are the parameters of the network that is differentiated; `points` is how many there are for all rows.
    """
    layers, gradient = rows.layers, rows.gradients[network, row]
    outputs, target, stride = layers[-1, OUT], layers[-1, TARGET], layers[-1, TARGET_STRIDE]
    beside = target + rows.panels * stride  # the targets, or the cross-entropy's notes
    scale = np.float32(batches.loss.factor / (points * batches.targets.shape[1]))
    gradient[:] = np.float32(0.0)
    loss = 0.0
    end = min((row + 1) * rows.span, points)
    for begin in range(row * rows.span, end, rows.panels * LANES):
        count = min(rows.panels * LANES, end - begin)
        source, source_stride = layers[0, SOURCE], layers[0, SOURCE_STRIDE]
        if with_term:
            gather_neighbours(term.positions, begin, count, scratch, source, source_stride)
        else:
            start, order = first + begin, batches.order[network, epoch]
            gather(batches.inputs[network], order, start, count, scratch, source, source_stride)
            gather(batches.targets[network], order, start, count, scratch, beside, stride)
        forward(flat, layers, (count + LANES - 1) // LANES, scratch, rows.specialisation)
        if with_term:
            loss += term_loss(
                term.kind, term.bins, term.low, term.high, term.span, parameters, begin, count, scratch, target, stride,
                scratch[beside:], term.gradient[network],
            )  # fmt: skip
        else:
            loss += descend(batches.loss, outputs, count, scratch, target, stride, beside, stride, scale)
        backward(flat, layers, count, scratch, rows.specialisation, gradient)
    rows.losses[network, row] = loss


@part
def check(network, epoch, block, rows, parameters, loss, checks, scratch):  # type: ignore[no-untyped-def]
    """Validates a network after an epoch on a block of its points."""
    layers, panels = rows.layers, rows.panels
    target, stride = layers[-1, TARGET], layers[-1, TARGET_STRIDE]
    inputs, targets = checks.inputs[network], checks.targets[network]
    first = block * panels * LANES
    count = min(panels * LANES, inputs.shape[1] - first)
    beside = target + panels * stride
    gather_neighbours(inputs, first, count, scratch, layers[0, SOURCE], layers[0, SOURCE_STRIDE])
    gather_neighbours(targets, first, count, scratch, beside, stride)
    forward(parameters, layers, (count + LANES - 1) // LANES, scratch, rows.specialisation)
    found = checks.found[network, epoch, block]
    measure(loss, layers[-1, OUT], count, scratch, target, stride, beside, stride, found)


@kernel
def work(  # type: ignore[no-untyped-def]
    counter, scratch, apart, epochs, steps, gradients, updates, rows, learners, term, batches, checks, scalars, losses
):
    """What one thread does of so many epochs of each network, of so many steps each: takes tasks until there are none.

    `rows` and `learners` are two each: of the networks, and of the predictors. `gradients` and `updates` say which half
    of a step is wanted. `scalars` (networks, epochs * steps, SCALARS per learner) are the optimisers'. Writes `losses`
    (networks, epochs * steps, 1 per learner): of the task, and the mean of the Kolmogorov term. The checks come last in
    an epoch; the next one's first gradients need not wait for them. With `apart`, a thread takes all that there is of a
    network: nobody waits for anybody, and what is in a core's cache stays there.
    """
    main, second = learners
    networks, size = main.parameters.shape
    terms, blocks = rows[1].losses.shape[1], checks.found.shape[2]
    segments = (size + SEGMENT - 1) // SEGMENT
    # Of each network in a step: those of its gradients come before those that update it.
    half = (terms + rows[0].losses.shape[1]) * gradients
    pieces = len(main.pieces)
    renewals = (pieces + len(second.pieces)) * updates
    # Where a step needs more of a gradient than its piece, all segments are added up before any piece is renewed; else
    # a piece is a segment.
    ahead = main.squares.shape[1] + second.squares.shape[1] > 0
    sums = (segments + (second.parameters.shape[1] + SEGMENT - 1) // SEGMENT) * updates * ahead
    tasks = half + sums + renewals
    whole = steps * tasks + blocks  # of each network in an epoch
    # Tasks are taken in turns of so many networks, of which the first is `base`.
    some, base, following = 1 if apart else networks, 0, epochs * whole
    while True:
        if not apart:
            ticket = claim(counter)
        else:
            if following == epochs * whole:
                base, following = claim(counter), 0
            ticket = following
            following += 1
        if base >= networks or ticket >= some * epochs * whole:
            for network in range(networks):
                wait(counter, network, epochs * whole)
            return
        epoch, ticket = divmod(ticket, some * whole)
        before = epoch * whole  # tasks of a network that are of earlier epochs
        if ticket >= some * steps * tasks:
            network, block = divmod(ticket - some * steps * tasks, blocks)
            network += base
            wait(counter, network, before + steps * tasks)
            check(network, epoch, block, rows[0], main.parameters[network], batches.loss, checks, scratch)
            finish(counter, network)
            continue
        index, rest = divmod(ticket, some * tasks)
        place = epoch * steps + index
        first = index * batches.size
        points = min(batches.size, batches.order.shape[2] - first)
        used = (points + rows[0].span - 1) // rows[0].span
        if rest < some * half:
            network, task = divmod(rest, half)
            network += base
            wait(counter, network, before + index * tasks - (blocks if index == 0 and epoch > 0 else 0))
            which = np.intp(task < terms)  # the rows of parameters, which take longest, go first
            row = task if which else task - terms
            if which or row < used:
                differentiate(
                    which, network, row, rows[which], learners[which].parameters[network], size if which else points,
                    batches, epoch, first, main.parameters[network], term, scratch,
                )  # fmt: skip
        else:
            rest -= some * half
            summing = rest < some * sums
            rest -= 0 if summing else some * sums
            network, task = divmod(rest, sums if summing else renewals)
            network += base
            wait(counter, network, before + index * tasks + half + (0 if summing else sums))
            first_of_second = segments if summing else pieces
            which = np.intp(task >= first_of_second)
            piece = task - which * first_of_second
            full = terms if which else used
            if summing or sums == 0:
                share = term.shares[network]
                add_up(
                    learners[which], network, rows[which], full, share if which else np.float32(1.0),
                    term.gradient[network, : 0 if which else size], share, piece,
                )  # fmt: skip
            if summing:
                finish(counter, network)
                continue
            renew(
                learners[which], network, scalars[network, place, SCALARS * which : SCALARS * (which + 1)], piece,
                scratch,
            )  # fmt: skip
            if index == steps - 1 and checks.parameters.shape[2] > 0:
                keep(learners[which], network, piece, checks.parameters[network, epoch, which * size :])
            if piece == 0:
                count = size if which else points * batches.targets.shape[1]
                loss = 0.0
                for row in range(full):
                    loss += rows[which].losses[network, row]
                losses[network, place, which] = loss / count
        finish(counter, network)
