"""An epoch as a graph: the same numbers as kernel by kernel, and no kernel launched but by the graph."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor

from engine.backends import graphed
from engine.backends.base import Data, Interrupted, Report, log
from engine.backends.compile import CompileOnGpu
from engine.backends.graphed import Graphed
from engine.begin import fresh_state
from engine.config import Config
from tests.conftest import INTERPRETED
from tests.engine import graphs
from tests.engine.graphs import FakeGraph

POINTS, BATCH = 70, 32  # two whole batches and a short one
CODED = {"kolmogorov_shape": "[4]", "kolmogorov_weight": 0.2, "kolmogorov_bins": 20}


@dataclass
class Machine:
    """One that seems to have graphs: who trains there, what an epoch launches, what was launched outside a graph."""

    backend: type[Graphed]
    an_epoch: list[str]
    launched: list[str]


# "traced" is a compiled step as the tracer hands it over, "compile" what the compiler makes of it, which takes it long.
@pytest.fixture(
    params=[
        pytest.param("triton", marks=INTERPRETED),
        "traced",
        pytest.param("compile", marks=pytest.mark.slow),
    ]
)
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A machine for each backend whose epochs are captured."""
    monkeypatch.setattr(graphed, "captures", lambda device: True)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", graphs.fake_capture)
    monkeypatch.setattr(torch.cuda, "Event", graphs.FakeEvent)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "before")
    monkeypatch.setattr(FakeGraph, "captured", 0)
    monkeypatch.setattr(FakeGraph, "replayed", 0)
    launched: list[str] = []
    if request.param == "triton":
        from triton.runtime.interpreter import GridExecutor

        from engine.backends.triton import Triton

        monkeypatch.setattr(GridExecutor, "__call__", graphs.recording_launch(launched))
        yield Machine(Triton, ["gradient_kernel", "update_kernel"] * 3 + ["validate_kernel"], launched)
        return
    compiler = torch.compile
    if request.param == "traced":
        monkeypatch.setattr(CompileOnGpu, "options", None)
        compiler = partial(torch.compile, backend="eager")
    monkeypatch.setattr(torch, "compile", graphs.recording_compile(launched, compiler))
    yield Machine(CompileOnGpu, ["step"] * 3, launched)
    torch._dynamo.reset()  # a function is compiled for so many runs and no more


class Run:
    """A small network on random points."""

    def __init__(self, machine: Machine, **words: object) -> None:
        self.config = Config("x", "[5]*2", 1, batch_size=BATCH, points=POINTS, **words)  # type: ignore[arg-type]
        self.state = fresh_state(self.config, torch.Generator().manual_seed(3))
        draws = torch.Generator().manual_seed(4)
        self.data = Data(torch.rand((3, POINTS), generator=draws), torch.rand((3, 11), generator=draws), BATCH)
        self.orders = torch.Generator().manual_seed(5)
        self.backend = machine.backend(self.state, self.config)

    def epochs(self, count: int) -> list[list[float]]:
        reports = []
        with torch.inference_mode():
            for _ in range(count):
                order = torch.randperm(POINTS, generator=self.orders)
                reports.append(self.backend.epoch(self.data, order, lambda: False).tolist())
        return reports

    def resume(self, rate: float) -> None:
        """Goes on as from a checkpoint, with another learning rate."""
        for learner in self.state.learners:
            learner.optimizer = dataclasses.replace(learner.optimizer, learning_rate=rate)
        self.backend = type(self.backend)(self.state, self.config)

    @property
    def numbers(self) -> list[Tensor]:
        return [tensor for one in self.state.learners for tensor in (one.parameters, one.moments)]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the backend logs."""
    lines: list[str] = []
    for level in ("info", "warning"):
        monkeypatch.setattr(log, level, lambda line, *words: lines.append(line % words))
    return lines


@pytest.mark.parametrize("words", [{}, CODED, {"optimizer": "rmsprop"}])
def test_replayed_epochs_are_launched_ones_to_the_bit(
    machine: Machine, said: list[str], words: dict[str, object]
) -> None:
    captured = Run(machine, **words)
    reports = captured.epochs(4)
    assert said == ["The epoch is captured, and its 3 steps are one replay of a CUDA graph from here on"]
    assert machine.launched == machine.an_epoch  # the first epoch's; a capture runs nothing
    assert (FakeGraph.captured, FakeGraph.replayed) == (1, 3)
    assert captured.state.main.steps == 12
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphed, "captures", lambda device: False)
        plain = Run(machine, **words)
        assert plain.epochs(4) == reports
    assert machine.launched == machine.an_epoch * 5
    assert all(torch.equal(a, b) for a, b in zip(captured.numbers, plain.numbers, strict=True))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_run_resumed_at_another_rate_replays_at_that(machine: Machine, optimizer: str) -> None:
    found = []
    for rate, captured in ((0.05, True), (0.05, False), (0.001, True)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(graphed, "captures", lambda device, captured=captured: captured)
            run = Run(machine, optimizer=optimizer)
            run.epochs(3)
            run.resume(rate)
            found.append(run.epochs(3))
    assert found[0] == found[1]
    assert found[0] != found[2]
    assert (FakeGraph.captured, FakeGraph.replayed) == (4, 8)


def test_an_epoch_is_read_after_the_next_was_launched(machine: Machine) -> None:
    one_by_one = Run(machine).epochs(5)
    run = Run(machine)
    assert run.backend.runs_ahead
    reports: list[Report] = []
    with torch.inference_mode():
        for number in range(5):
            order = torch.randperm(POINTS, generator=run.orders)
            reports.append(run.backend.epoch(run.data, order, lambda: False))
            if number:
                assert reports[number - 1].tolist() == one_by_one[number - 1]
    assert reports[-1].tolist() == one_by_one[-1]


def test_other_data_is_captured_anew(machine: Machine) -> None:
    run = Run(machine)
    run.epochs(3)
    run.data = Data(run.data.training.flip(1), run.data.validation, BATCH)
    run.epochs(2)
    assert (FakeGraph.captured, FakeGraph.replayed) == (2, 3)
    assert machine.launched == machine.an_epoch * 2


def test_state_that_is_put_back_is_where_a_replay_begins(machine: Machine) -> None:
    run = Run(machine)
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
    machine: Machine, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    def refuse(graph: object, **words: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    streams: list[object] = []
    monkeypatch.setattr(torch.cuda, "graph", refuse)
    monkeypatch.setattr(torch.cuda, "set_stream", streams.append)
    run = Run(machine)
    reports = run.epochs(3)
    assert streams == ["before"]
    assert machine.launched == machine.an_epoch * 3
    line = "The epoch cannot be captured and is launched step by step: operation not permitted when stream is capturing"
    assert said == [line]
    assert all(torch.tensor(report).isfinite().all() for report in reports)


@pytest.mark.parametrize("machine", ["traced"], indirect=True)
def test_the_compiler_does_not_work_in_a_capture(
    machine: Machine, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: None)
    run, other = Run(machine), Run(machine)
    run.epochs(1)
    torch._dynamo.reset()  # the compiler has forgotten the step
    reports = run.epochs(2)
    assert len(said) == 1
    assert said[0].startswith("The epoch cannot be captured and is launched step by step: Detected recompile")
    assert machine.launched == machine.an_epoch * 3
    assert other.epochs(3)[1:] == reports


# Windows of one step, of two and one, and of as many as there are.
@pytest.mark.parametrize(("most", "graphs", "replays"), [(1, 2, 3), (2, 2, 2), (3, 1, 1)])
@pytest.mark.parametrize("words", [{}, CODED])
def test_an_epoch_of_more_steps_than_a_graph_holds_is_several_replays(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, said: list[str], most: int, graphs: int, replays: int,
    words: dict[str, object],
) -> None:  # fmt: skip
    whole = Run(machine, **words).epochs(4)
    FakeGraph.captured = FakeGraph.replayed = 0
    said.clear()
    machine.launched.clear()
    monkeypatch.setattr(machine.backend, "most_captured", most)
    assert Run(machine, **words).epochs(4) == whole
    pieces = "one replay of a CUDA graph" if replays == 1 else f"{replays} replays of CUDA graphs"
    assert said == [f"The epoch is captured, and its 3 steps are {pieces} from here on"]
    assert (FakeGraph.captured, FakeGraph.replayed) == (graphs, 3 * replays)
    assert machine.launched == machine.an_epoch


def test_an_interrupt_is_heard_between_two_replays(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.backend, "most_captured", 1)
    run = Run(machine)
    run.epochs(2)
    answers = iter((False, False, True))
    FakeGraph.replayed = 0
    with pytest.raises(Interrupted), torch.inference_mode():
        run.backend.epoch(run.data, torch.arange(POINTS), lambda: next(answers))
    assert FakeGraph.replayed == 2


def test_an_interrupt_is_heard_before_an_epoch(machine: Machine) -> None:
    run = Run(machine)
    run.epochs(2)
    before = [tensor.clone() for tensor in run.numbers]
    with pytest.raises(Interrupted):
        run.backend.epoch(run.data, torch.arange(POINTS), lambda: True)
    assert all(torch.equal(a, b) for a, b in zip(before, run.numbers, strict=True))
