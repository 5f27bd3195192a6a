"""Numbers below the normal ones are zeros wherever kernels compute, and nowhere else afterwards."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from draw_poly.kernels.compiled import kernel
from draw_poly.kernels.cpu.runtime import exponential, vector
from draw_poly.kernels.cpu.runtime.threads import Team
from draw_poly.kernels.operator import mlp
from draw_poly.kernels.oracle import random_parameters
from draw_poly.kernels.spec import Network
from draw_poly.kernels.subnormals import flushed

TINY = 1e-39  # a subnormal number
SMALL = 1e-38 * 2  # no subnormal, but its thousandth is


def flushes() -> bool:
    """Whether this thread reads and writes subnormals as zeros; it must do both or neither."""
    writes = float(np.float32(SMALL) * np.float32(1e-3)) == 0.0
    reads = float(np.float32(TINY) * np.float32(1e20)) == 0.0
    assert writes == reads
    return writes


def torch_threads_flush(threads: int) -> set[bool]:
    """The answers of torch's own threads, each on its part of a large tensor."""
    torch.set_num_threads(threads)
    return set((torch.full((threads * 2**16,), SMALL) * 1e-3 == 0).unique().tolist())


def in_another_thread(work: Callable[[], Any]) -> Any:
    """What it returns in a thread of its own, whose OpenMP threads are its own, too."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    torch.set_flush_denormal(False)


@pytest.mark.parametrize("already", [False, True])
def test_the_mode_is_given_back_whatever_it_was(already: bool) -> None:
    torch.set_flush_denormal(already)
    with flushed():
        assert flushes()
        with flushed():
            assert flushes()
        assert flushes()
    assert flushes() == already
    with pytest.raises(ZeroDivisionError), flushed():
        raise ZeroDivisionError
    assert flushes() == already


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("already", [False, True])
def test_torchs_threads_flush_as_well_and_are_given_back(begun: bool, already: bool) -> None:
    def work() -> list[set[bool]]:
        torch.set_flush_denormal(already)
        found = [torch_threads_flush(4)] if begun else []
        torch.set_num_threads(4)
        with flushed(torch_too=True):
            found.append(torch_threads_flush(4))
        return [*found, torch_threads_flush(4)]

    assert in_another_thread(work) == [{already}] * begun + [{True}, {already}]


@kernel
def _multiply(a, b):  # type: ignore[no-untyped-def]
    return a * b


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("already", [False, True])
def test_kernels_flush_in_every_thread_of_a_team(already: bool, fails: bool) -> None:
    torch.set_flush_denormal(already)
    together, found = threading.Barrier(3, timeout=30), dict[int, bool]()
    _multiply(np.float32(1), np.float32(1))  # compiled before anybody waits for it

    def work(clock: Any, scratch: Any) -> None:
        together.wait()
        found[threading.get_ident()] = flushes() and _multiply(np.float32(SMALL), np.float32(1e-3)) == 0
        together.wait()
        if fails:
            raise MemoryError

    team = Team(16)
    for _ in range(2):
        try:
            team.run(3, 1e9, work)
        except MemoryError:
            assert fails
        assert flushes() == already
    assert len(found) == 3
    assert all(found.values())


@kernel
def _exponentials(numbers, results):  # type: ignore[no-untyped-def]
    for first in range(0, len(numbers), vector.LANES):
        vector.store(results, first, exponential.exp(vector.load(numbers, first)))


def test_the_exponential_is_nothing_below_its_floor_and_true_above() -> None:
    floor = exponential.LOWEST * np.log(2)
    above = np.concatenate((np.linspace(np.float32(floor * 0.999999), 88, 2**16), [0.0, -1e-30, TINY]))
    below = np.concatenate((np.linspace(-1000, floor * 1.000001, 2**10), [-1e5, -1e30, -3e38, -np.inf]))
    numbers = np.concatenate((above, below, [np.nan] * 9)).astype(np.float32)
    numbers = np.pad(numbers, (0, -len(numbers) % vector.LANES))
    results = np.full_like(numbers, np.nan)
    _exponentials(numbers, results)
    exact = np.exp(numbers[: len(above)].astype(np.float64))
    errors = np.abs(results[: len(above)] / exact - 1)
    assert (errors <= 2e-7 * np.maximum(np.abs(above), 1)).all()
    assert (results[len(above) : len(above) + len(below)] == 0).all()
    assert np.isnan(results[len(above) + len(below) :][:9]).all()


@pytest.mark.parametrize("already", [False, True])
def test_the_operator_computes_in_its_callers_mode_and_leaves_it(already: bool) -> None:
    torch.set_flush_denormal(already)
    network = Network((2, 6, 1))
    flat = random_parameters(network, 2, torch.float32)
    flat[-7:] *= 1e-38
    leaf, coordinates = flat.clone().requires_grad_(), torch.rand((2, 37))
    outputs = mlp(leaf, coordinates, (6,))
    outputs.sum().backward()
    assert leaf.grad is not None
    assert flushes() == already
    torch.set_flush_denormal(False)
    subnormal = (outputs != 0) & (outputs.abs() < 2.0**-126)
    assert subnormal.any() != already
