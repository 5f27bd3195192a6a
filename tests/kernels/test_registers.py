"""The CPU's kernels cut for each kind of vector registers: all of them right, compiled for the processors they suit."""

import re
from collections.abc import Iterator

import numba
import numpy as np
import pytest
import torch
from llvmlite import binding

from benches.alone import Alone
from draw_poly.kernels import cpu
from draw_poly.kernels.cpu.gradient import forward, table
from draw_poly.kernels.cpu.runtime import registers
from draw_poly.kernels.cpu.runtime.registers import Avx2, Avx512, Neon, Registers, registers_of
from draw_poly.kernels.cpu.runtime.tiles import specialisation_of
from draw_poly.kernels.spec import KolmogorovTerm, Network
from tests.kernels.fused import Case, assert_true

KINDS = [Avx2(), Neon(), Avx512()]
TERM = KolmogorovTerm(Network((3, 8, 8, 64)), "cross_entropy", 0.3, 64)


@pytest.fixture
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Registers:
    """Kernels cut for these registers: any processor can run them, if not as fast."""
    monkeypatch.setattr(registers, "HOST", request.param)
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# Every remainder of rows and columns, panels even and odd and ragged, sums past 128 terms, several blocks.
@pytest.mark.parametrize("kind", [Avx2(), Avx512()], indirect=True)
@pytest.mark.parametrize(
    ("dims", "points"),
    [
        *(((2, width, width, 1), points) for width in (1, 2, 3, 5, 6, 7, 9, 12, 13, 17, 25) for points in (1, 33)),
        ((2, *[10] * 8, 1), 1025), ((2, 11, 4, 23, 3), 47), ((2, 150, 140, 2), 63), ((2, *[10] * 2, 1), 4500),
    ],
)  # fmt: skip
def test_gradients_of_every_kind(kind: Registers, dims: tuple[int, ...], points: int) -> None:
    case = Case.of(dims, points)
    assert_true(case, *case.gradients(Alone(cpu)))


@pytest.mark.parametrize("kind", [Avx2(), Avx512()], indirect=True)
def test_the_term_of_every_kind(kind: Registers) -> None:
    case = Case.of((2, *[10] * 3, 1), 37, TERM)
    assert_true(case, *case.gradients(Alone(cpu)))


def results(kind: Registers, monkeypatch: pytest.MonkeyPatch) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Outputs and signatures, then losses and gradients."""
    monkeypatch.setattr(registers, "HOST", kind)
    case = Case.of((2, 10, 13, 10, 2), 333)
    coefficients = torch.randint(1, 2**31 - 1, (case.network.neurons,), generator=torch.Generator().manual_seed(0))
    outputs, signatures = torch.full((2, 333), float("nan")), torch.full((333,), -1)
    Alone(cpu).evaluate(case.network, case.parameters[0], coefficients, case.inputs, outputs, signatures)
    losses, gradients = case.gradients(Alone(cpu))
    return [outputs, signatures], [losses, *gradients]


def test_kinds_agree_in_outputs_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = results(Avx2(), monkeypatch), results(Avx512(), monkeypatch)
    assert all(map(torch.equal, first[0], second[0]))
    assert not all(map(torch.equal, first[1], second[1])), "the kind was not chosen"
    assert all(map(torch.equal, second[1], results(Avx512(), monkeypatch)[1]))


def test_neon_is_cut_as_avx2_is() -> None:
    assert tuple(Neon()) == tuple(Avx2())


@pytest.mark.parametrize(
    ("triple", "features", "expected"),
    [
        ("x86_64-pc-linux-gnu", "+avx2,+fma,+avx512f,+avx512vl", Avx512),
        ("x86_64-pc-linux-gnu", "+avx2,+fma,+avx512f,-avx512vl", Avx2),
        ("x86_64-pc-linux-gnu", "+avx2,+fma", Avx2),
        ("x86_64-pc-linux-gnu", "", Avx2),
        ("aarch64-unknown-linux-gnu", "+neon", Neon),
        ("arm64-apple-darwin", "", Neon),
    ],
)
def test_the_processor_says_which_kind_it_is(triple: str, features: str, expected: type) -> None:
    assert type(registers_of(triple, features)) is expected


# What a processor's own registers are called in a multiplication and addition of whole vectors.
@pytest.mark.parametrize(
    ("kind", "triple", "processor", "instruction", "never"),
    [
        (Avx2(), "x86_64-pc-linux-gnu", "haswell", r"vfmadd\d+ps\s.*ymm", r"zmm"),
        (Avx512(), "x86_64-pc-linux-gnu", "skylake-avx512", r"vfmadd\d+ps\s.*zmm", r"vfmadd\d+ps\s.*ymm"),
        (Neon(), "aarch64-unknown-linux-gnu", "neoverse-n1", r"fmla\s+v\d+\.4s", r"fmla\s+v\d+\.2s"),
    ],
    indirect=["kind"],
)
def test_every_kind_compiles_for_its_processors(
    kind: Registers, triple: str, processor: str, instruction: str, never: str
) -> None:
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    network = Network((2, 10, 1))
    numbers = np.empty(0, np.float32)
    words = numbers, table(network, 8), 8, numbers, specialisation_of(network)
    signature = tuple(map(numba.typeof, words))
    forward.compile(signature)
    machine = binding.Target.from_triple(triple).create_target_machine(cpu=processor, opt=2)
    target = f'target triple = "{triple}"\ntarget datalayout = "{machine.target_data}"\n'
    code = re.sub(r"target (triple|datalayout) = .*", "", forward.inspect_llvm(signature))
    # How Numba counts references to memory on this machine: no part of a kernel.
    code = re.sub(r"(= ).*call i8 @llvm\.x86\.atomic\..*", r"\1add i8 0, 0", code)
    found = machine.emit_assembly(binding.parse_assembly(target + code))
    assert re.search(instruction, found)
    assert not re.search(never, found)
