"""An epoch as a graph: the same numbers as kernel by kernel, and no kernel launched but by the graph."""

import logging

import pytest
import torch
from torch import Tensor

from engine.backends.base import Data, Interrupted
from engine.begin import fresh_state
from engine.config import Config
from tests.conftest import INTERPRETED

pytestmark = INTERPRETED
POINTS, BATCH = 70, 32  # two whole batches and a short one


class Run:
    """A small network on random points."""

    def __init__(self, **words: object) -> None:
        from engine.backends.triton import Triton

        self.config = Config("x", "[5]*2", 1, batch_size=BATCH, points=POINTS, **words)  # type: ignore[arg-type]
        self.state = fresh_state(self.config, torch.Generator().manual_seed(3))
        draws = torch.Generator().manual_seed(4)
        self.data = Data(torch.rand((3, POINTS), generator=draws), torch.rand((3, 11), generator=draws), BATCH)
        self.orders = torch.Generator().manual_seed(5)
        self.backend = Triton(self.state, self.config)

    def epochs(self, count: int) -> list[list[float]]:
        reports = []
        with torch.inference_mode():
            for _ in range(count):
                order = torch.randperm(POINTS, generator=self.orders)
                reports.append(self.backend.epoch(self.data, order, lambda: False).tolist())
        return reports

    @property
    def numbers(self) -> list[Tensor]:
        return [tensor for one in self.state.learners for tensor in (one.parameters, one.moments)]


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Kernels launched outside a graph, on a machine that seems to have graphs."""
    from triton.runtime.interpreter import GridExecutor

    from engine.backends import graphed
    from tests.engine import graphs

    launched: list[str] = []
    monkeypatch.setattr(graphed, "captures", lambda device: True)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", graphs.FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", graphs.fake_capture)
    monkeypatch.setattr(torch.cuda, "Event", graphs.FakeEvent)
    monkeypatch.setattr(GridExecutor, "__call__", graphs.recording_launch(launched))
    monkeypatch.setattr(graphs.FakeGraph, "captured", 0)
    monkeypatch.setattr(graphs.FakeGraph, "replayed", 0)
    return launched


CODED = {"kolmogorov_shape": "[4]", "kolmogorov_weight": 0.2, "kolmogorov_bins": 20}


@pytest.mark.parametrize("words", [{}, CODED, {"optimizer": "rmsprop"}])
def test_replayed_epochs_are_launched_ones_to_the_bit(words: dict[str, object], launches: list[str]) -> None:
    from engine.backends import graphed
    from tests.engine.graphs import FakeGraph

    captured = Run(**words)
    reports = captured.epochs(4)
    per_epoch = ["gradient_kernel", "update_kernel"] * 3 + ["evaluate_kernel"]
    assert launches == per_epoch  # the first epoch's; a capture runs nothing
    assert (FakeGraph.captured, FakeGraph.replayed) == (1, 3)
    assert captured.state.main.steps == 12
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphed, "captures", lambda device: False)
        plain = Run(**words)
        assert plain.epochs(4) == reports
    assert launches == per_epoch * 5
    assert all(torch.equal(a, b) for a, b in zip(captured.numbers, plain.numbers, strict=True))


def test_other_data_is_captured_anew(launches: list[str]) -> None:
    from tests.engine.graphs import FakeGraph

    run = Run()
    run.epochs(3)
    run.data = Data(run.data.training.flip(1), run.data.validation, BATCH)
    run.epochs(2)
    assert (FakeGraph.captured, FakeGraph.replayed) == (2, 3)
    assert launches.count("evaluate_kernel") == 2


def test_state_that_is_put_back_is_where_a_replay_begins(launches: list[str]) -> None:
    run = Run()
    run.epochs(2)
    kept, place = [tensor.clone() for tensor in run.numbers], run.orders.get_state()
    first = run.epochs(1)
    for tensor, old in zip(run.numbers, kept, strict=True):
        tensor.copy_(old)
    run.orders.set_state(place)
    for learner in run.state.learners:
        learner.steps = 6
    assert run.epochs(1) == first


def test_what_cannot_be_captured_is_launched_and_said(
    launches: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(graph: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    backend_log = logging.getLogger("polytope_nn.backend")
    monkeypatch.setattr(backend_log, "handlers", [caplog.handler])
    monkeypatch.setattr(backend_log, "propagate", False)
    run = Run()
    reports = run.epochs(3)
    assert launches.count("evaluate_kernel") == 3
    said = "The epoch cannot be captured and is launched step by step: operation not permitted when stream is capturing"
    assert [record.getMessage() for record in caplog.records] == [said]
    assert all(torch.tensor(report).isfinite().all() for report in reports)


def test_an_epoch_of_more_steps_than_a_graph_holds_is_launched(
    launches: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.backends.triton import Triton
    from tests.engine.graphs import FakeGraph

    monkeypatch.setattr(Triton, "most_captured", 2)
    Run().epochs(3)
    assert FakeGraph.captured == 0
    assert launches.count("gradient_kernel") == 9


def test_an_interrupt_is_heard_before_an_epoch(launches: list[str]) -> None:
    run = Run()
    run.epochs(2)
    before = [tensor.clone() for tensor in run.numbers]
    with pytest.raises(Interrupted):
        run.backend.epoch(run.data, torch.arange(POINTS), lambda: True)
    assert all(torch.equal(a, b) for a, b in zip(before, run.numbers, strict=True))
