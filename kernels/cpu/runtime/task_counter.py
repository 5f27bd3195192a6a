"""Counters that threads share: tasks taken, and of each network's tasks those done."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from draw_poly.kernels.compiled import part
from draw_poly.kernels.cpu.runtime.vector import INTEGER, call, place

LINE = 8  # int64 numbers of a cache line: each counter has one of its own
SPINS = 200  # looks at the counter before the core is offered to others


def fresh(networks: int) -> NDArray[np.int64]:
    """A counter for so many networks, nothing taken."""
    return np.zeros((1 + networks) * LINE, np.int64)


@intrinsic
def fetch_add(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Adds to an int64 of an array that threads share, and returns what it was; all that was written is seen."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        address = place(context, builder, signature.args[0], values[0], values[1])
        return builder.atomic_rmw("add", address, values[2], "acq_rel")

    return types.int64(array, types.intp, types.int64), generate


@intrinsic
def fetch(typing: Any, array: Any, index: Any) -> Any:
    """An int64 of an array that threads share, and sees what was written before it."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return builder.load_atomic(place(context, builder, signature.args[0], *values), "acquire", align=8)

    return types.int64(array, types.intp), generate


@intrinsic
def give_way(typing: Any) -> Any:
    """Lets another thread have the core, if one waits for it."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        call(builder, "sched_yield", INTEGER, [])
        return context.get_dummy_value()

    return types.void(), generate


@part
def claim(counter):  # type: ignore[no-untyped-def]
    """The number of the next task that nobody has taken."""
    return fetch_add(counter, 0, 1)


@part
def finish(counter, network):  # type: ignore[no-untyped-def]
    """Says that a task of a network is done."""
    fetch_add(counter, (1 + network) * LINE, 1)


@part
def wait(counter, network, tasks):  # type: ignore[no-untyped-def]
    """Waits until so many tasks of a network are done."""
    spins = 0
    while fetch(counter, (1 + network) * LINE) < tasks:
        spins += 1
        if spins > SPINS:
            give_way()
