"""An epoch as a graph: the same numbers as kernel by kernel, and no kernel launched but by the graph."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch._inductor.config
from torch import Tensor
from torch.utils._triton import has_triton

from draw_poly.engine.backends.base import Data, Interrupted, Report, log, never
from draw_poly.engine.backends.compile import CompileOnGpu
from draw_poly.engine.backends.cuda_graph import Graphed
from draw_poly.engine.config import Config
from draw_poly.engine.training.fresh import fresh_state
from tests.conftest import INTERPRETED, rows, slow
from tests.epochs import epoch_of
from tests.simulated import Machine

POINTS, BATCH = 70, 32  # two whole batches and a short one
WITH_TERM = {"kolmogorov_shape": "[4]", "kolmogorov_weight": 0.2, "kolmogorov_bins": 20}


@dataclass
class Trained:
    """Who trains on the device, and the kernels of an epoch that is launched."""

    backend: type[Graphed]
    an_epoch: list[str]


REAL = torch.compile
CUDA = torch.device("cuda", 0)
# "traced" is a compiled step as the tracer hands it over, "compile" what the compiler makes of it, which takes it long.
COMPILERS: dict[str, Callable[..., Any]] = {
    "triton": lambda function, **words: function,
    "traced": lambda function, options, **words: REAL(function, backend="eager", **words),
    "compile": lambda function, **words: REAL(function, **words),
}


def of_compilers(everything: list[tuple[Any, ...]], quick: list[tuple[Any, ...]]) -> list[Any]:
    """Every row for everyone who trains."""
    grid = rows([(name, *row) for row in everything for name in COMPILERS], quick)
    return [pytest.param(*one.values, marks=(*one.marks, *[INTERPRETED] * (one.values[0] == "triton"))) for one in grid]


# What all share is seen of the first; a row that the default run has of another names it.
@pytest.fixture(params=[pytest.param("triton", marks=INTERPRETED), slow("traced"), slow("compile")])
def trained(request: pytest.FixtureRequest) -> Trained:
    """Each backend whose epochs are captured."""
    if request.param == "triton":
        from draw_poly.engine.backends.triton import Triton

        return Trained(Triton, ["gradient_kernel", "update_kernel"] * 3 + ["validate_kernel"])
    return Trained(CompileOnGpu, ["step"] * 3)


@pytest.fixture
def cuda(request: pytest.FixtureRequest, trained: Trained) -> Iterator[Machine]:
    """A simulated device, where the compiler is the one that is asked for."""
    name = request.node.callspec.params["trained"]
    machine = Machine(compiler=COMPILERS[name])
    with machine.installed(), for_the_host():
        yield machine
    machine.check()
    if name != "triton":
        torch._dynamo.reset()  # a function is compiled for so many runs and no more


@contextmanager
def for_the_host() -> Iterator[None]:
    """The compiler makes code for the host, and looks for no driver of the device that it sees."""
    has_triton.cache_clear()
    known = hasattr(torch._inductor.config, "triton_disable_device_detection")  # not by PyTorch 2.9
    with torch._inductor.config.patch({"triton_disable_device_detection": True} if known else {}):
        yield
        has_triton.cache_clear()


class Run:
    """A small network on random points."""

    def __init__(self, trained: Trained, **words: object) -> None:
        self.config = Config("x", "[5]*2", 1, batch_size=BATCH, points=POINTS, **words)  # type: ignore[arg-type]
        self.state = fresh_state(self.config, torch.Generator().manual_seed(3)).to(CUDA)
        generator = torch.Generator().manual_seed(4)
        training, validation = (torch.rand((1, 3, count), generator=generator).to(CUDA) for count in (POINTS, 11))
        self.data = Data(training, validation, BATCH)
        self.orders = torch.Generator().manual_seed(5)
        self.backend = trained.backend(self.state, self.config)

    def epochs(self, count: int) -> list[list[list[float]]]:
        reports = []
        with torch.inference_mode():
            for _ in range(count):
                order = torch.randperm(POINTS, generator=self.orders)[None]
                reports.append(epoch_of(self.backend, self.data, order))
        return reports

    def resume(self, rate: float) -> None:
        """Goes on as from a checkpoint, with another learning rate."""
        for learner in self.state.learners:
            learner.optimizer = dataclasses.replace(learner.optimizer, learning_rate=rate)
        self.backend = type(self.backend)(self.state, self.config)

    @property
    def numbers(self) -> list[Tensor]:
        return [tensor for one in self.state.learners for tensor in (one.parameters, one.moments)]


@contextmanager
def uncaptured() -> Iterator[None]:
    """A machine without graphs."""

    def refuse(*words: object, **named: object) -> None:
        raise RuntimeError("there are no graphs")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "graph", refuse)
        yield


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the backend logs."""
    lines: list[str] = []
    for level in ("info", "warning"):
        monkeypatch.setattr(log, level, lambda line, *words: lines.append(line % words))
    return lines


@pytest.mark.parametrize(
    ("trained", "words"),
    of_compilers([({},), (WITH_TERM,), ({"optimizer": "rmsprop"},)], quick=[("triton", {}), ("traced", {})]),
    indirect=["trained"],
)
def test_replayed_epochs_are_launched_ones_to_the_bit(
    trained: Trained, cuda: Machine, said: list[str], words: dict[str, object]
) -> None:
    captured = Run(trained, **words)
    reports = captured.epochs(4)
    assert said == ["The epoch is captured, and its 3 steps are one replay of a CUDA graph from here on"]
    assert cuda.launches == trained.an_epoch  # the first epoch's; a capture runs nothing
    assert (cuda.graphs, cuda.replays) == (1, 3)
    assert captured.state.main.steps == 12
    with uncaptured():
        plain = Run(trained, **words)
        assert plain.epochs(4) == reports
    assert cuda.launches == trained.an_epoch * 5
    assert all(torch.equal(a, b) for a, b in zip(captured.numbers, plain.numbers, strict=True))


@pytest.mark.parametrize(
    ("trained", "optimizer"), of_compilers([("adam",), ("sgd",)], quick=[("traced", "adam")]), indirect=["trained"]
)
def test_a_run_resumed_at_another_rate_replays_at_that(trained: Trained, cuda: Machine, optimizer: str) -> None:
    found = []
    for rate, captured in ((0.05, True), (0.05, False), (0.001, True)):
        with nullcontext() if captured else uncaptured():
            run = Run(trained, optimizer=optimizer)
            run.epochs(3)
            run.resume(rate)
            found.append(run.epochs(3))
    assert found[0] == found[1]
    assert found[0] != found[2]
    assert (cuda.graphs, cuda.replays) == (4, 8)


def test_an_epoch_is_read_after_the_next_was_launched(trained: Trained, cuda: Machine) -> None:
    one_by_one = Run(trained).epochs(5)
    run = Run(trained)
    assert run.backend.runs_ahead
    reports: list[Report] = []
    with torch.inference_mode():
        for number in range(5):
            order = torch.randperm(POINTS, generator=run.orders)[None]
            reports.append(run.backend.visit(run.data, order.numpy()[:, None], never))
            if number:
                assert reports[number - 1]().numbers[:, 0].tolist() == one_by_one[number - 1]
    assert reports[-1]().numbers[:, 0].tolist() == one_by_one[-1]


def test_other_data_is_captured_anew(trained: Trained, cuda: Machine) -> None:
    run = Run(trained)
    run.epochs(3)
    run.data = Data(run.data.training.flip(2), run.data.validation, BATCH)
    run.epochs(2)
    assert (cuda.graphs, cuda.replays) == (2, 3)
    assert cuda.launches == trained.an_epoch * 2


def test_state_that_is_put_back_is_where_a_replay_begins(trained: Trained, cuda: Machine) -> None:
    run = Run(trained)
    run.epochs(2)
    kept, place = [tensor.clone() for tensor in run.numbers], run.orders.get_state()
    first = run.epochs(1)
    for tensor, old in zip(run.numbers, kept, strict=True):
        tensor.copy_(old)
    run.orders.set_state(place)
    for learner in run.state.learners:
        learner.steps = 6
    assert run.epochs(1) == first


def test_what_cannot_be_captured_is_launched_and_said(trained: Trained, cuda: Machine, said: list[str]) -> None:
    expected = Run(trained).epochs(3)
    cuda.launches.clear()
    said.clear()

    def wait() -> None:
        with suppress(torch.AcceleratorError):
            torch.cuda.synchronize()

    cuda.meanwhile = wait
    with cuda.expecting("a device is waited for while a stream is captured"):
        assert Run(trained).epochs(3) == expected
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    assert cuda.launches == trained.an_epoch * 3
    line = "The epoch cannot be captured and is launched step by step: CUDA error: operation failed due to a previous"
    assert len(said) == 1
    assert said[0].startswith(line)


@pytest.mark.parametrize("trained", ["traced"], indirect=True)
def test_the_compiler_does_not_work_in_a_capture(trained: Trained, cuda: Machine, said: list[str]) -> None:
    run, other = Run(trained), Run(trained)
    run.epochs(1)
    torch._dynamo.reset()  # the compiler has forgotten the step
    reports = run.epochs(2)
    assert len(said) == 1
    assert said[0].startswith("The epoch cannot be captured and is launched step by step: Detected recompile")
    assert cuda.launches == trained.an_epoch * 3
    assert other.epochs(3)[1:] == reports


# Windows of one step, of two and one, and of as many as there are.
@pytest.mark.parametrize(
    ("trained", "words", "most", "graphs", "replays"),
    of_compilers(
        [(words, *window) for words in ({}, WITH_TERM) for window in ((1, 2, 3), (2, 2, 2), (3, 1, 1))],
        quick=[("triton", {}, 2, 2, 2), ("traced", WITH_TERM, 1, 2, 3)],
    ),
    indirect=["trained"],
)
def test_an_epoch_of_more_steps_than_a_graph_holds_is_several_replays(
    trained: Trained, cuda: Machine, monkeypatch: pytest.MonkeyPatch, said: list[str], words: dict[str, object],
    most: int, graphs: int, replays: int,
) -> None:  # fmt: skip
    whole = Run(trained, **words).epochs(4)
    cuda.graphs = cuda.replays = 0
    said.clear()
    cuda.launches.clear()
    monkeypatch.setattr(trained.backend, "most_captured", most)
    assert Run(trained, **words).epochs(4) == whole
    pieces = "one replay of a CUDA graph" if replays == 1 else f"{replays} replays of CUDA graphs"
    assert said == [f"The epoch is captured, and its 3 steps are {pieces} from here on"]
    assert (cuda.graphs, cuda.replays) == (graphs, 3 * replays)
    assert cuda.launches == trained.an_epoch


def test_an_interrupt_is_heard_between_two_replays(
    trained: Trained, cuda: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trained.backend, "most_captured", 1)
    run = Run(trained)
    run.epochs(2)
    answers = iter((False, False, True))
    cuda.replays = 0
    with pytest.raises(Interrupted), torch.inference_mode():
        epoch_of(run.backend, run.data, torch.arange(POINTS)[None], lambda: next(answers))
    assert cuda.replays == 2


def test_an_interrupt_is_heard_before_an_epoch(trained: Trained, cuda: Machine) -> None:
    run = Run(trained)
    run.epochs(2)
    before = [tensor.clone() for tensor in run.numbers]
    with pytest.raises(Interrupted):
        epoch_of(run.backend, run.data, torch.arange(POINTS)[None], lambda: True)
    assert all(torch.equal(a, b) for a, b in zip(before, run.numbers, strict=True))
