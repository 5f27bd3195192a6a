"""Every backend takes the same step."""

import pytest
import torch

from engine import kolmogorov
from engine.backends.base import Backend, Data
from engine.backends.cpu import Cpu
from engine.backends.plain import Compile, Eager
from engine.begin import fresh_state
from engine.config import Config
from tests.kernels.test_reference import plain_code_loss, plain_forward

BACKENDS = [Cpu, Eager, pytest.param(Compile, marks=pytest.mark.slow)]


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_a_step_descends_the_weighted_sum_of_both_losses(kind: type[Backend], weight: float) -> None:
    words: dict[str, object] = {"kolmogorov_shape": "[6]", "kolmogorov_weight": weight, "kolmogorov_bins": 50}
    config = Config("x", "[7, 3]", 1, optimizer="sgd", learning_rate=1.0, **words if weight else {})  # type: ignore[arg-type]
    state, code = fresh_state(config, torch.Generator().manual_seed(2)), config.code_length
    draws = torch.Generator().manual_seed(1)
    data = Data(torch.rand((3, 33), generator=draws), torch.rand((3, 21), generator=draws), 33)
    leaves = [learner.parameters.double().requires_grad_() for learner in state.learners]
    inputs, targets = data.training.double().split((2, 1))
    total = task = torch.nn.functional.mse_loss(plain_forward(leaves[0], state.main.network, inputs), targets)
    expected = [task]
    if code:
        positions = kolmogorov.positions(state.main.network).double()
        term = plain_code_loss(plain_forward(leaves[1], code.predictor, positions), leaves[0], code)
        expected, total = [task, term], task + weight * term
    total.backward()
    with torch.inference_mode():
        report = kind(state, code).epoch(data, torch.randperm(33, generator=draws), lambda: False)
    after = []
    for learner, leaf in zip(state.learners, leaves, strict=True):
        assert leaf.grad is not None
        after.append((leaf - leaf.grad).detach())
        # c has 50 bins, a unit of float32 there is 4e-6, and the target changes ten times as fast.
        torch.testing.assert_close(learner.parameters, after[-1].float(), rtol=1e-4, atol=4e-5)
        assert learner.steps == 1
    outputs = plain_forward(after[0], state.main.network, data.validation[:2].double())
    validation = torch.nn.functional.mse_loss(outputs, data.validation[2:].double())
    expected += [validation, outputs.min(), outputs.max()]
    torch.testing.assert_close(report.double(), torch.stack(expected).detach(), rtol=1e-4, atol=1e-5)
