import shutil

import pytest
import torch

from engine import backend, kolmogorov, network
from engine.config import Config, ConfigError
from engine.state import Learner, State
from tests.kernels.test_reference import plain_code_loss, plain_forward

BACKENDS = [backend.Eager, pytest.param(backend.Compile, marks=pytest.mark.slow)]


def made(kind: type[backend.Backend], **words: object) -> backend.Backend:
    config = Config("x", "[7, 3]", 1, optimizer="sgd", learning_rate=1.0, **words)  # type: ignore[arg-type]
    draws = torch.Generator().manual_seed(2)
    parameters, coefficients = network.initialise_with_coefficients(config.network, draws)
    predictor = None
    if code := config.code_length:
        predictor = Learner.fresh(code.predictor, config.optimizers[1], network.initialise(code.predictor, draws, 0.0))
    state = State(Learner.fresh(config.network, config.optimizers[0], parameters), predictor, coefficients, draws)
    return kind(state, config.code_length)


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_a_step_descends_the_weighted_sum_of_both_losses(kind: type[backend.Backend], weight: float) -> None:
    words: dict[str, object] = {"kolmogorov_shape": "[6]", "kolmogorov_weight": weight, "kolmogorov_bins": 50}
    one = made(kind, **words if weight else {})
    state, code = one.state, one.code
    draws = torch.Generator().manual_seed(1)
    inputs, targets = torch.rand((2, 33), generator=draws), torch.rand((1, 33), generator=draws)
    leaves = [learner.parameters.double().requires_grad_() for learner in state.learners]
    total = task = torch.nn.functional.mse_loss(
        plain_forward(leaves[0], state.main.network, inputs.double()), targets.double()
    )
    expected = [task]
    if code:
        positions = kolmogorov.positions(state.main.network).double()
        term = plain_code_loss(plain_forward(leaves[1], code.predictor, positions), leaves[0], code)
        expected, total = [task, term], task + weight * term
    total.backward()
    with torch.inference_mode():
        losses = one.step(inputs, targets, one.scalars(1)[0])
    torch.testing.assert_close(torch.stack(losses).double(), torch.stack(expected).detach(), rtol=1e-5, atol=1e-6)
    for learner, leaf in zip(state.learners, leaves, strict=True):
        assert leaf.grad is not None
        after = (leaf - leaf.grad).detach().float()
        # c has 50 bins, a unit of float32 there is 4e-6, and the target changes ten times as fast.
        torch.testing.assert_close(learner.parameters, after, rtol=1e-4, atol=4e-5)


def test_the_backend_follows_the_flag_the_device_and_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert backend.choose("auto", cpu)[0] is backend.Eager
    assert backend.choose("eager", cpu)[0] is backend.Eager
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/" + name)
    assert backend.choose("compile", cpu)[0] is backend.Compile
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="needs a C\\+\\+ compiler, and there is none; give --backend eager"):
        backend.choose("compile", cpu)
    assert backend.choose("auto", cpu)[0] is backend.Eager


def test_small_steps_take_one_thread_and_large_ones_all() -> None:
    small, wide = Config("x", "[10]*8", 1), Config("x", "[256]*4", 1)
    coded = Config("x", "[10]*8", 1, kolmogorov_shape="[8]", kolmogorov_weight=0.1)
    threads = [backend.training_threads(one.network, one.code_length, 1024, 8) for one in (small, wide, coded)]
    assert threads == [1, 8, 8]
