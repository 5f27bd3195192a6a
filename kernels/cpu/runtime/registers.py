"""The vector registers of a processor, and how tiles are cut to them: code is written for one kind, which is a type.

A tile's sums take three quarters of the registers; the rest holds what is multiplied. Outputs agree between kinds to
the bit, since each is one sum in the order of its terms; gradients differ in the order in which points are added up.
"""

from typing import NamedTuple

from numba.core.registry import cpu_target


class Avx2(NamedTuple):
    """16 registers of 8 numbers."""

    # Of a layer's results: rows by panels; a panel is two registers.
    rows: int = 6
    panels: int = 1
    # Of a weight's gradient: rows by columns of sums of so many numbers, and beside them rows of the bias's gradient.
    sum_rows: int = 6
    sum_columns: int = 2
    beside: int = 1
    sum_lanes: int = 8


class Neon(Avx2):
    """32 registers of 4 numbers: the same tiles, each sum of which is twice as many registers."""


class Avx512(NamedTuple):
    """32 registers of 16 numbers."""

    rows: int = 12
    panels: int = 2
    sum_rows: int = 4
    sum_columns: int = 6
    beside: int = 2
    sum_lanes: int = 16


Registers = Avx2 | Neon | Avx512
NAMES: dict[type[Registers], str] = {Avx2: "AVX2", Neon: "NEON", Avx512: "AVX-512"}


def registers_of(triple: str, features: str) -> Registers:
    """Those of LLVM's target; what is neither an ARM nor has AVX-512 is cut for AVX2, which it need not have."""
    if triple.startswith(("aarch64", "arm64")):
        return Neon()
    return Avx512() if {"+avx512f", "+avx512vl"} <= set(features.split(",")) else Avx2()


def _of_host() -> Registers:
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    return registers_of(triple, features)


HOST = _of_host()
VARIANT = NAMES[type(HOST)]
