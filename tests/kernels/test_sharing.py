"""Objects that several Python threads call at once, and processes that fork with helpers at work."""

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from draw_poly.kernels import cpu
from draw_poly.kernels.cpu.runtime.threads import Team
from draw_poly.kernels.oracle import random_parameters
from draw_poly.kernels.spec import Network

NETWORK = Network((2, *[10] * 8, 1))


@pytest.fixture
def _two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def at_once(calls: list[Callable[[], Any]], rounds: int) -> list[list[Any]]:
    """What each call returns, round after round, all of them called at the same time."""
    results: list[list[Any]] = [[] for _ in calls]
    gate = threading.Barrier(len(calls))

    def repeat(index: int) -> None:
        for _ in range(rounds):
            gate.wait()
            results[index].append(calls[index]())

    workers = [threading.Thread(target=repeat, args=(index,)) for index in range(len(calls))]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    return results


def differing(calls: list[Callable[[], list[Any]]], rounds: int) -> int:
    """How many results of calls at once are not what the same call gives alone."""
    alone = [call() for call in calls]
    return sum(
        not all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
        for results, expected in zip(at_once(calls, rounds), alone, strict=True)
        for found in results
    )


@pytest.mark.usefixtures("_two_threads")
def test_an_evaluator_may_be_called_by_several_threads() -> None:
    coefficients = torch.randint(1, 2**31 - 1, (NETWORK.neurons,), generator=torch.Generator().manual_seed(0))
    evaluator = cpu.Evaluator(NETWORK, coefficients[None])

    def call(seed: int) -> Callable[[], list[Any]]:
        flat = random_parameters(NETWORK, seed, torch.float32)
        inputs = torch.rand((2, 20_000), generator=torch.Generator().manual_seed(seed))

        def evaluate() -> list[Any]:
            outputs, signatures = torch.empty((1, 1, 20_000)), torch.empty((1, 20_000), dtype=torch.int64)
            evaluator.points(flat[None], inputs[None], outputs, signatures)
            return [outputs, signatures]

        return evaluate

    assert differing([call(seed) for seed in range(3)], 20) == 0


@pytest.mark.usefixtures("_two_threads")
def test_a_rasterizer_may_be_called_by_several_threads() -> None:
    coefficients = torch.randint(1, 2**31 - 1, (NETWORK.neurons,), generator=torch.Generator().manual_seed(0))
    rasterizer = cpu.Rasterizer(NETWORK, coefficients, 301, 200)

    def call(seed: int) -> Callable[[], list[Any]]:
        flat = random_parameters(NETWORK, seed, torch.float32)

        def draw() -> list[Any]:
            gray, edges = np.empty((200, 301), np.uint8), np.zeros((200, 301), np.uint8)
            seen = rasterizer.draw(flat, gray, edges, np.empty((0, 0), np.uint8))
            return [gray, edges, seen.signatures, seen.lowest, seen.highest, seen.evaluations]

        return draw

    assert differing([call(seed) for seed in range(3)], 20) == 0


@pytest.mark.usefixtures("_two_threads")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_starts_helpers_of_its_own() -> None:
    helped = threading.Event()
    team = Team(1)
    team.run(2, 1.0, lambda *_: helped.set())
    helped.wait(10)

    def helpers_of_a_call() -> int:
        """How many helpers come to a call that waits for one."""
        came = threading.Event()
        caller = threading.get_ident()

        def work(*_: object) -> None:
            if threading.get_ident() != caller:
                came.set()
            else:
                came.wait(10)

        team.run(2, 1.0, work)
        return int(came.is_set())

    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if helpers_of_a_call() else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert helpers_of_a_call()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_does_not_wait_for_a_call_that_its_parent_makes() -> None:
    team, inside, leave = Team(1), threading.Event(), threading.Event()

    def work(*_: object) -> None:
        inside.set()
        leave.wait(10)

    caller = threading.Thread(target=team.run, args=(1, 1.0, work))
    caller.start()
    inside.wait(10)
    child = os.fork()
    if not child:
        done = threading.Thread(target=team.run, args=(1, 1.0, lambda *_: None), daemon=True)
        done.start()
        done.join(5)
        os._exit(int(done.is_alive()))
    leave.set()
    caller.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
