"""Outputs and signatures: at given points, or at the pixels of a picture, whose coordinates are computed."""

from typing import Any, NamedTuple

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray
from torch import Tensor

from draw_poly.kernels.compiled import kernel, part
from draw_poly.kernels.cpu.gradient import (
    MANY_POINTS,
    OUT,
    SOURCE,
    SOURCE_STRIDE,
    TARGET,
    TARGET_STRIDE,
    block_panels,
    block_size,
    forward,
    gather_neighbours,
    table,
)  # fmt: skip
from draw_poly.kernels.cpu.runtime.task_counter import claim, finish, wait
from draw_poly.kernels.cpu.runtime.threads import Team, threads_for
from draw_poly.kernels.cpu.runtime.tiles import Specialisation, specialisation_of
from draw_poly.kernels.cpu.runtime.vector import (
    INTEGER,
    LANES,
    LONG,
    constant,
    load,
    place,
    read,
    splat,
    spread,
    store,
    write,
)
from draw_poly.kernels.picture.grid import places
from draw_poly.kernels.spec import Network
from draw_poly.kernels.support import unsupported_on_cpu
from draw_poly.kernels.tensors import read_array, written

BLOCKS = 16  # of a task


@intrinsic
def add_coefficients(
    typing: Any, block: Any, results: Any, stride: Any, panels: Any, halves: Any, first: Any, count: Any, sums: Any
) -> Any:
    """To the signatures of all points, `sums`, the coefficients of the positive ones among a layer's `count` results.

    `halves` (neurons, 2) are the upper and lower 16 bits of the coefficients: they add up in 32 bits, exactly up to
    2^16 results, in half as many operations as 64 bits would take.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        block, results, stride, panels, halves, first, count, sums = values
        memory = place(context, builder, signature.args[0], block, results)
        factors = place(context, builder, signature.args[4], halves, builder.mul(first, LONG(2)))
        signatures = place(context, builder, signature.args[7], sums, LONG(0))
        words, longs = ir.VectorType(INTEGER, LANES), ir.VectorType(LONG, LANES)
        totals = [cgutils.alloca_once(builder, words) for _ in range(2)]
        with cgutils.for_range(builder, panels) as panel:
            for total in totals:
                builder.store(constant(0, kind=INTEGER), total)
            rows = builder.gep(memory, [builder.mul(panel.index, stride)])
            with cgutils.for_range(builder, count) as loop:
                row = read(builder, builder.gep(rows, [builder.mul(loop.index, LONG(LANES))]))
                mask = builder.sext(builder.fcmp_ordered(">", row, constant(0.0)), words)
                for half, total in enumerate(totals):
                    at = builder.add(builder.mul(loop.index, LONG(2)), LONG(half))
                    factor = spread(builder, builder.load(builder.gep(factors, [at])))
                    builder.store(builder.add(builder.load(total), builder.and_(mask, factor)), total)
            high, low = (builder.zext(builder.load(total), longs) for total in totals)
            address = builder.gep(signatures, [builder.mul(panel.index, LONG(LANES))])
            part = builder.add(low, builder.shl(high, constant(16, kind=LONG)))
            write(builder, builder.add(read(builder, address), part), address)
        return context.get_dummy_value()

    size = types.intp
    return types.void(block, size, size, size, halves, size, size, sums), generate


@part
def pixels(columns, rows, first, count, block, start, stride):  # type: ignore[no-untyped-def]
    """Places the coordinates of pixels `first` to `first + count`, row by row, in a block."""
    row, column = first // len(columns), first % len(columns)
    for panel in range((count + LANES - 1) // LANES):
        at = start + panel * stride
        if column + LANES < len(columns) and (panel + 1) * LANES < count:  # of one row, with neither's last pixel
            store(block, at, load(columns, column))
            store(block, at + LANES, splat(rows[row]))
            column += LANES
            continue
        for lane in range(LANES):
            block[at + lane] = columns[column]
            block[at + LANES + lane] = rows[row]
            if panel * LANES + lane < count - 1:
                column += 1
                if column == len(columns):
                    column, row = 0, row + 1


@part
def evaluate_block(parameters, layers, panels, specialisation, halves, block, sums):  # type: ignore[no-untyped-def]
    """Runs the network on the inputs that stand in a block; writes the points' signatures into `sums`."""
    forward(parameters, layers, panels, block, specialisation)
    sums[:] = 0
    neuron = 0
    for layer in range(len(layers) - 1):
        results, distance = layers[layer, TARGET], layers[layer, TARGET_STRIDE]
        add_coefficients(block, results, distance, panels, halves, neuron, layers[layer, OUT], sums)
        neuron += layers[layer, OUT]


@kernel(allocates=True)
def work(  # type: ignore[no-untyped-def]
    counter, scratch, parameters, layers, panels, specialisation, halves, inputs, columns, rows, outputs, signatures
):
    """What one thread does of an evaluation: of `inputs` (networks, 2, n), where there are none of a picture's pixels.

    Writes `outputs` (networks, k, n) and `signatures` (networks, n).
    """
    networks, points = signatures.shape
    target, stride = layers[-1, TARGET], layers[-1, TARGET_STRIDE]
    sums = np.empty(panels * LANES, np.int64)
    size = panels * LANES * BLOCKS
    tasks = (points + size - 1) // size
    while True:
        ticket = claim(counter)
        if ticket >= networks * tasks:
            wait(counter, 0, networks * tasks)
            return
        network, task = divmod(ticket, tasks)
        begin = task * size
        for first in range(begin, min(begin + size, points), panels * LANES):
            count = min(panels * LANES, points - first)
            full = (count + LANES - 1) // LANES
            if len(columns):
                pixels(columns, rows, first, count, scratch, layers[0, SOURCE], layers[0, SOURCE_STRIDE])
            else:
                gather_neighbours(inputs[network], first, count, scratch, layers[0, SOURCE], layers[0, SOURCE_STRIDE])
            evaluate_block(parameters[network], layers, full, specialisation, halves[network], scratch, sums)
            signatures[network, first : first + count] = sums[:count]
            whole = count // LANES
            for output in range(outputs.shape[1]):
                results, at = outputs[network, output], target + output * LANES
                for panel in range(whole):
                    store(results, first + panel * LANES, load(scratch, at + panel * stride))
                for lane in range(count - whole * LANES):
                    results[first + whole * LANES + lane] = scratch[at + whole * stride + lane]
        finish(counter, 0)


class Settings(NamedTuple):
    """What a kernel that evaluates has to know: the layers of blocks of so many panels, the specialisation.

    `halves` (networks, neurons, 2) are the upper and lower 16 bits of the coefficients.
    """

    layers: NDArray[np.int64]
    panels: int
    specialisation: Specialisation
    halves: NDArray[np.int32]

    @classmethod
    def of(cls, network: Network, coefficients: Tensor) -> "Settings":
        """Of networks with these coefficients (networks, neurons) int64.

        Raises ValueError for what no kernel supports.
        """
        if reason := unsupported_on_cpu(network, None, coefficients.device):
            raise ValueError(reason)
        terms = read_array("coefficients", coefficients, len(coefficients), network.neurons, dtype=torch.int64)
        panels = block_panels(network, MANY_POINTS)
        halves = np.stack((terms >> 16, terms & 0xFFFF), 2).astype(np.int32)
        return cls(table(network, panels), panels, specialisation_of(network), halves)

    @property
    def block_size(self) -> int:
        """How many numbers a block takes."""
        return block_size(self.layers, self.panels)


class Evaluator:
    """What evaluating networks with these coefficients (networks, neurons) takes, made once.

    Several threads may share one: they take turns.
    """

    def __init__(self, network: Network, coefficients: Tensor) -> None:
        self._network, self._networks = network, len(coefficients)
        self._settings = Settings.of(network, coefficients)
        self._operations = 2.0 * network.size
        self._team = Team(self._settings.block_size)

    def points(self, parameters: Tensor, inputs: Tensor, outputs: Tensor, signatures: Tensor) -> None:
        """Writes outputs (networks, k, n) and signatures (networks, n) at inputs (networks, 2, n)."""
        coordinates = read_array("inputs", inputs, self._networks, self._network.dims[0], inputs.shape[-1])
        self._run(parameters, coordinates, _NOTHING, _NOTHING, outputs, signatures, inputs.shape[-1:])

    def grid(self, parameters: Tensor, size: tuple[int, int], top: int, outputs: Tensor, signatures: Tensor) -> None:
        """Writes outputs (networks, k, rows, width) and signatures (networks, rows, width) of rows from `top` on."""
        if self._network.dims[0] != 2:
            raise ValueError(f"a pixel has 2 coordinates, and the network has {self._network.dims[0]} inputs")
        width, height = size
        columns, rows = places(0, width, width), places(top, outputs.shape[2], height)
        nowhere = _NOTHING.reshape(1, 2, 0)
        self._run(parameters, nowhere, columns, rows, outputs, signatures, (outputs.shape[2], width))

    def _run(
        self,
        parameters: Tensor,
        inputs: NDArray[np.float32],
        columns: NDArray[np.float32],
        rows: NDArray[np.float32],
        outputs: Tensor,
        signatures: Tensor,
        shape: tuple[int, ...],
    ) -> None:
        networks, results = self._networks, self._network.dims[-1]
        values = written("outputs", outputs, networks, results, *shape).view(networks, results, -1).numpy()
        patterns = written("signatures", signatures, networks, *shape, dtype=torch.int64).view(networks, -1).numpy()
        operations = self._operations * patterns.size
        self._team.run(
            threads_for(operations), operations, work,
            read_array("parameters", parameters, networks, self._network.size), *self._settings, inputs, columns, rows,
            values, patterns,
        )  # fmt: skip


_NOTHING = np.empty(0, np.float32)


def evaluate(
    network: Network, parameters: Tensor, coefficients: Tensor, inputs: Tensor, outputs: Tensor, signatures: Tensor
) -> None:
    """Writes outputs (networks, k, n) and int64 signatures (networks, n) at inputs (networks, 2, n).

    A signature is the sum of the coefficients (networks, neurons), int64 in [0, 2^31), of the positive neurons.
    """
    Evaluator(network, coefficients).points(parameters, inputs, outputs, signatures)


def evaluate_grid(
    network: Network,
    parameters: Tensor,
    coefficients: Tensor,
    size: tuple[int, int],
    top: int,
    outputs: Tensor,
    signatures: Tensor,
) -> None:
    """Writes outputs (networks, k, rows, width) and signatures (networks, rows, width) of rows from `top` on.

    `size` is the whole picture's (width, height); column j of row i stands at (j / width, i / height).
    """
    Evaluator(network, coefficients).grid(parameters, size, top, outputs, signatures)
