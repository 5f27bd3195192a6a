"""Outputs and signatures: at given points, or at the pixels of a picture, whose coordinates are computed."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray
from torch import Tensor

from kernels.cpu.clock import take
from kernels.cpu.compiled import kernel, part
from kernels.cpu.mlp import (
    OUT,
    SOURCE,
    SOURCE_STRIDE,
    TARGET,
    TARGET_STRIDE,
    block_panels,
    block_size,
    forward,
    gather,
    table,
)  # fmt: skip
from kernels.cpu.threads import Team, threads_for
from kernels.cpu.vector import LANES, LONG, constant, place, read, spread, write
from kernels.spec import Network

BLOCKS = 16  # of a task


@intrinsic
def add_coefficients(
    typing: Any, block: Any, results: Any, coefficients: Any, first: Any, count: Any, signatures: Any, start: Any
) -> Any:
    """To the signatures (16,) of a panel, the coefficients of its positive ones among `count` results."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        block, results, coefficients, first, count, signatures, start = values
        rows = place(context, builder, signature.args[0], block, results)
        factors = place(context, builder, signature.args[2], coefficients, first)
        sums = place(context, builder, signature.args[5], signatures, start)
        total = cgutils.alloca_once_value(builder, read(builder, sums))
        with cgutils.for_range(builder, count) as loop:
            row = read(builder, builder.gep(rows, [builder.mul(loop.index, LONG(LANES))]))
            factor = spread(builder, builder.load(builder.gep(factors, [loop.index])))
            positive = builder.fcmp_ordered(">", row, constant(0.0))
            part = builder.select(positive, factor, constant(0, kind=LONG))
            builder.store(builder.add(builder.load(total), part), total)
        write(builder, builder.load(total), sums)
        return context.get_dummy_value()

    size = types.intp
    return types.void(block, size, coefficients, size, size, signatures, size), generate


@part
def pixels(columns, rows, first, count, block, start, stride):  # type: ignore[no-untyped-def]
    """Places the coordinates of pixels `first` to `first + count`, row by row, in a block."""
    row, column = first // len(columns), first % len(columns)
    for panel in range((count + LANES - 1) // LANES):
        at = start + panel * stride
        for lane in range(LANES):
            block[at + lane] = columns[column]
            block[at + LANES + lane] = rows[row]
            if panel * LANES + lane < count - 1:
                column += 1
                if column == len(columns):
                    column, row = 0, row + 1


@kernel
def work(  # type: ignore[no-untyped-def]
    clock, scratch, parameters, layers, panels, slope, coefficients, inputs, order, columns, rows, outputs, signatures
):
    """What one thread does of an evaluation; of `inputs` (2, n), or where there are none of a picture's pixels."""
    points = len(signatures)
    target, stride = layers[-1, TARGET], layers[-1, TARGET_STRIDE]
    sums = np.empty(panels * LANES, np.int64)
    while True:
        begin = take(clock) * panels * LANES * BLOCKS
        if begin >= points:
            return
        for first in range(begin, min(begin + panels * LANES * BLOCKS, points), panels * LANES):
            count = min(panels * LANES, points - first)
            full = (count + LANES - 1) // LANES
            if len(columns):
                pixels(columns, rows, first, count, scratch, layers[0, SOURCE], layers[0, SOURCE_STRIDE])
            else:
                gather(inputs, order, first, count, scratch, layers[0, SOURCE], layers[0, SOURCE_STRIDE])
            forward(parameters, layers, full, scratch, slope)
            sums[:] = 0
            neuron = 0
            for layer in range(len(layers) - 1):
                for panel in range(full):
                    at = layers[layer, TARGET] + panel * layers[layer, TARGET_STRIDE]
                    add_coefficients(scratch, at, coefficients, neuron, layers[layer, OUT], sums, panel * LANES)
                neuron += layers[layer, OUT]
            for point in range(count):
                signatures[first + point] = sums[point]
                for output in range(len(outputs)):
                    at = target + point // LANES * stride + output * LANES + point % LANES
                    outputs[output, first + point] = scratch[at]


def evaluate(
    network: Network, parameters: Tensor, coefficients: Tensor, inputs: Tensor, outputs: Tensor, signatures: Tensor
) -> None:
    """Writes outputs (k, n) and int64 signatures (n,) at inputs (2, n).

    `coefficients` (neurons,) are int64; a signature is the wrapping sum of those of the positive neurons.
    """
    nothing = np.empty(0, np.float32)
    order = np.arange(inputs.shape[1])
    _run(network, parameters, coefficients, inputs.contiguous().numpy(), order, nothing, nothing, outputs, signatures)


def evaluate_grid(
    network: Network,
    parameters: Tensor,
    coefficients: Tensor,
    size: tuple[int, int],
    top: int,
    outputs: Tensor,
    signatures: Tensor,
) -> None:
    """Writes outputs (k, rows, width) and signatures (rows, width) of rows of a picture, from `top` on.

    `size` is the whole picture's (width, height); column j of row i stands at (j / width, i / height).
    """
    width, height = size
    columns = (np.arange(width) / width).astype(np.float32)
    rows = (np.arange(top, top + outputs.shape[1]) / height).astype(np.float32)
    _run(
        network, parameters, coefficients, np.empty((2, 0), np.float32), np.empty(0, np.int64), columns, rows,
        outputs.view(len(outputs), -1), signatures.view(-1),
    )  # fmt: skip


def _run(
    network: Network,
    parameters: Tensor,
    coefficients: Tensor,
    inputs: NDArray[np.float32],
    order: NDArray[np.int64],
    columns: NDArray[np.float32],
    rows: NDArray[np.float32],
    outputs: Tensor,
    signatures: Tensor,
) -> None:
    panels = block_panels(network)
    layers = table(network, panels)
    Team(block_size(layers, panels)).run(
        threads_for(2.0 * network.size * len(signatures)), work, parameters.numpy(), layers, panels,
        np.float32(network.slope), coefficients.numpy(), inputs, order, columns, rows, outputs.numpy(),
        signatures.numpy(),
    )  # fmt: skip
