"""Training, evaluation and drawing on the CPU take subnormals for zeros, whatever the backend, and within alone."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.base import Backend, Data
from draw_poly.engine.backends.data_parallel import Parallel
from draw_poly.engine.config import Config
from draw_poly.engine.model.state import State
from draw_poly.engine.pictures.drawing import AdaptiveRasterizer
from draw_poly.engine.pictures.select import rasterizer_for
from draw_poly.engine.processes import Group
from draw_poly.engine.training.fresh import fresh_state
from draw_poly.kernels.reference import layers
from draw_poly.kernels.spec import KOLMOGOROV_LOSSES, OPTIMIZERS
from tests.conftest import Program
from tests.engine.prepare.test_resume import TERM, assert_same_run, content, newest
from tests.epochs import epoch_of
from tests.kernels.test_subnormals import flushes, torch_threads_flush

KINDS = [(kind, None) for kind in OPTIMIZERS] + [("adam", loss) for loss in KOLMOGOROV_LOSSES]
COMPILED = pytest.param("compile", marks=pytest.mark.slow)
SMALLEST = 2.0**-126  # of the normal numbers


class Alone(Group):
    """A group whose sum is this process's own."""

    def all_reduce(self, vector: Tensor) -> None:
        pass


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    yield
    torch.set_flush_denormal(False)


def subnormal(numbers: Tensor) -> Tensor:
    return (numbers != 0) & (numbers.abs() < SMALLEST)


def late(optimizer: str, loss: str | None, zeros: bool) -> tuple[State, Config]:
    """A state some of whose weights and moments have become subnormal, or zero; large enough for torch to share."""
    words = {"kolmogorov_shape": "[8]", "kolmogorov_weight": 0.1, "kolmogorov_loss_type": loss} if loss else {}
    config = Config("x", "[40]*2", 1, optimizer=optimizer, batch_size=4096, **words)  # type: ignore[arg-type]
    state = fresh_state(config, torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(2)
    for learner in state.learners:
        for numbers in (learner.parameters[0], *learner.moments[0]):
            tiny = 1e-38 * torch.rand(numbers.shape, generator=generator)
            numbers[::3] = tiny[::3]
            if zeros:
                numbers[subnormal(numbers)] = 0.0
            learner.steps = 1000
        if learner.optimizer.rest:  # whose second moments are of biases alone
            for weight, _ in layers(learner.moments[0, 1], learner.network):
                weight.zero_()
    return state, config


def made(name: str, state: State, config: Config) -> Backend:
    chosen, _ = backend.choose(Config(**{**vars(config), "backend": name}), torch.device("cpu"))
    return chosen(state, config)


def numbers_of(state: State) -> list[Tensor]:
    return [tensor for one in state.learners for tensor in (one.parameters, one.moments)]


@pytest.mark.parametrize(
    ("name", "optimizer", "loss", "together"),
    [
        *((name, *kind, together) for name in ("cpu", "eager") for kind in KINDS for together in (False, True)),
        pytest.param("compile", "adam", "cross_entropy", False, marks=pytest.mark.slow),
    ],
)
def test_an_epoch_takes_subnormals_for_zeros_and_leaves_none(
    name: str, optimizer: str, loss: str | None, together: bool
) -> None:
    generator = torch.Generator().manual_seed(1)
    data = Data(torch.rand((1, 3, 9000), generator=generator), torch.rand((1, 3, 4096), generator=generator), 4096)
    data.training[0, 0] = 0.0  # so what weighs it is not moved
    order = torch.randperm(9000, generator=generator)[None]
    results = []
    for zeros, threads in ((False, 1), (True, 1), (False, 3), (True, 3)):
        torch.set_num_threads(threads)
        state, config = late(optimizer, loss, zeros)
        assert zeros != any(subnormal(one).any() for one in numbers_of(state))
        member = made(name, state, config)
        with torch.inference_mode():
            report = epoch_of(Parallel(member, Alone()) if together else member, data, order)
        assert not any(subnormal(one).any() for one in numbers_of(state))
        results.append([torch.tensor(report), *numbers_of(state)])
    first, zeros_instead, shared, shared_zeros = results
    assert all(map(torch.equal, first, zeros_instead))
    assert all(map(torch.equal, shared, shared_zeros))
    if name == "cpu" and not together:  # torch's own sums depend on the threads
        assert all(map(torch.equal, first, shared))
    assert not flushes()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", ["cpu", "eager", COMPILED])
def test_a_gradient_takes_subnormals_for_zeros(name: str, threads: int) -> None:
    torch.set_num_threads(threads)
    batch = torch.rand((1, 3, 4096), generator=torch.Generator().manual_seed(1))
    results = []
    for zeros in (False, True):
        state, config = late("adam", "cross_entropy", zeros)
        gradients, losses = [torch.empty_like(one.parameters) for one in state.learners], torch.empty((1, 2))
        with torch.inference_mode():
            made(name, state, config).gradient(batch[:, :2], batch[:, 2:], gradients, losses)
        results.append([losses, *gradients])
        assert not any(subnormal(one).any() for one in results[-1])
    assert all(map(torch.equal, *results))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", ["cpu", "eager", COMPILED])
def test_evaluation_and_drawing_take_subnormals_for_zeros(name: str, threads: int) -> None:
    assert torch_threads_flush(threads) == {False}
    points = torch.rand((1, 2, 9000), generator=torch.Generator().manual_seed(1))
    found = []
    for zeros in (False, True):
        state, config = late("adam", None, zeros)
        state.main.parameters[0, -41:] *= 1e-35  # so that outputs are subnormal, too
        state.main.parameters[0, [0, 1, 80]] = 1e-39  # and a neuron that without flushing is positive everywhere
        if zeros:
            state.main.parameters[subnormal(state.main.parameters)] = 0.0
        member = made(name, state, config)
        with torch.inference_mode():
            drawn = [
                rasterizer_for(member, 70, 50, 131072, True),
                AdaptiveRasterizer(member, 70, 50, 1000, True, tile=1),
            ]
            drawings = [one.draw() for one in drawn]
            outputs, signatures = member.evaluate(points)
        assert not subnormal(outputs).any()
        planes = [plane for one in drawings for plane in (one.gray, one.edges, one.colours)]
        limits = [np.array((one.lowest, one.highest, one.polytopes)) for one in drawings]
        found.append([outputs.numpy(), signatures.numpy(), *planes, *limits])
    assert all(map(np.array_equal, *found))
    assert not flushes()


@pytest.mark.parametrize("already", [False, True])
@pytest.mark.parametrize("name", ["cpu", "eager"])
def test_a_run_leaves_the_mode_as_it_was(program: Program, name: str, already: bool) -> None:
    torch.set_flush_denormal(already)
    # Wide and many enough for torch to take both threads.
    words = ["--backend", name, "--threads", 2, "-s", "[160]*2", "-p", 380, "-b", 380, "-e", 1]
    assert program(*words).status == 0
    assert flushes() == already
    assert already in torch_threads_flush(2)
    assert already or torch_threads_flush(2) == {False}


def test_a_run_that_fails_leaves_the_mode_as_it_was(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def fails(*words: object) -> None:
        seen.append(flushes())
        raise MemoryError

    module = importlib.import_module("draw_poly.kernels.reference.gradient")  # the package has the function
    monkeypatch.setattr(module, "task_loss", fails)
    assert program("--backend", "eager").status == 3
    assert seen == [True]
    assert not flushes()


@pytest.mark.parametrize("name", ["cpu", "eager"])
def test_a_checkpoint_with_subnormals_is_resumed_exactly(program: Program, tmp_path: Path, name: str) -> None:
    words = ["--backend", name, "--seed", 3, *TERM]
    for folder in ("whole", "half"):
        assert program(*words, "-e", 2, folder=folder).status == 0
        stored = content(newest(tmp_path / folder))
        for key in ("model_state_dict", "weight_predictor_state_dict"):
            for numbers in stored[key].values():
                if numbers.is_floating_point():
                    numbers.view(-1)[::3] *= 1e-39
        for key in ("optimizer_state_dict", "weight_predictor_optimizer_state_dict"):
            for moments in stored[key]["state"].values():
                moments["exp_avg"].view(-1)[::2] = 3e-39
                moments["exp_avg_sq"].view(-1)[::2] = 2e-40
        torch.save(stored, newest(tmp_path / folder))
    assert program(*words, "-e", 6, "--resume", tmp_path / "whole" / "results", folder="whole").status == 0
    for last in (4, 6):
        done = program(*words, "-e", last, "--resume", tmp_path / "half" / "results", folder="half")
        assert done.status == 0, done.log
    assert_same_run(tmp_path / "whole", tmp_path / "half")
