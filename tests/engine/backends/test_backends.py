"""Every backend takes the same step."""

import pytest
import torch
from torch import Tensor

from benches.plain import plain_forward, plain_term_loss
from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.base import Data
from draw_poly.engine.backends.reference import Eager
from draw_poly.engine.config import Config
from draw_poly.engine.model import kolmogorov
from draw_poly.engine.training.fresh import fresh_state
from tests.conftest import INTERPRETED
from tests.epochs import epoch_of

BACKENDS = [
    "cpu",
    "eager",
    pytest.param("compile", marks=pytest.mark.slow),
    pytest.param("triton", marks=INTERPRETED),
]


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_a_step_descends_the_weighted_sum_of_both_losses(name: str, weight: float) -> None:
    words: dict[str, object] = {"kolmogorov_shape": "[6]", "kolmogorov_weight": weight, "kolmogorov_bins": 50}
    config = Config("x", "[7, 3]", 1, optimizer="sgd", learning_rate=1.0, backend=name, **words if weight else {})  # type: ignore[arg-type]
    state, term = fresh_state(config, torch.Generator().manual_seed(2)), config.kolmogorov_term
    generator = torch.Generator().manual_seed(1)
    data = Data(torch.rand((1, 3, 33), generator=generator), torch.rand((1, 3, 21), generator=generator), 33)
    leaves = [learner.parameters[0].double().requires_grad_() for learner in state.learners]
    inputs, targets = data.training[0].double().split((2, 1))
    total = task = torch.nn.functional.mse_loss(plain_forward(leaves[0], state.main.network, inputs), targets)
    expected = [task]
    if term:
        positions = kolmogorov.positions(state.main.network).double()
        term_loss = plain_term_loss(plain_forward(leaves[1], term.predictor, positions), leaves[0], term)
        expected, total = [task, term_loss], task + weight * term_loss
    total.backward()
    with torch.inference_mode():
        made = backend.choose(config, torch.device("cpu"))[0](state, config)
        report = epoch_of(made, data, torch.randperm(33, generator=generator)[None])
    after = []
    for learner, leaf in zip(state.learners, leaves, strict=True):
        assert leaf.grad is not None
        after.append((leaf - leaf.grad).detach())
        # c has 50 bins, a unit of float32 there is 4e-6, and the target changes ten times as fast.
        torch.testing.assert_close(learner.parameters[0], after[-1].float(), rtol=1e-4, atol=4e-5)
        assert learner.steps == 1
    outputs = plain_forward(after[0], state.main.network, data.validation[0, :2].double())
    validation = torch.nn.functional.mse_loss(outputs, data.validation[0, 2:].double())
    expected += [validation, outputs.min(), outputs.max()]
    (found,) = torch.tensor(report, dtype=torch.float64)
    torch.testing.assert_close(found, torch.stack(expected).detach(), rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_in_memory_is_halved_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config("x", "[7, 3]", 1, backend="eager")
    member = Eager(fresh_state(config, torch.Generator().manual_seed(2)), config)
    points = torch.rand((1, 2, 101), generator=torch.Generator().manual_seed(1))
    outputs, signatures = member.evaluate(points)
    real, sizes = torch.addmm, list[int]()

    def full(bias: Tensor, weight: Tensor, inputs: Tensor) -> Tensor:
        sizes.append(inputs.shape[1])
        if inputs.shape[1] > 30:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(bias, weight, inputs)

    monkeypatch.setattr(torch, "addmm", full)
    for _ in range(2):
        found, patterns = member.evaluate_in_memory(points)
        torch.testing.assert_close(found, outputs)
        assert torch.equal(patterns, signatures)
    assert [size for size in sizes if size > 30] == [101, 51]
    monkeypatch.setattr(torch, "addmm", lambda *_: full(points[0], points[0], points[0]))
    with pytest.raises(torch.OutOfMemoryError):
        member.evaluate_in_memory(points)


@pytest.mark.parametrize("name", ["cpu", "eager"])
def test_no_points_are_evaluated_as_well(name: str) -> None:
    config = Config("x", "[7, 3]", 1, backend=name)
    state = fresh_state(config, torch.Generator().manual_seed(2))
    member = backend.choose(config, torch.device("cpu"))[0](state, config)
    outputs, signatures = member.evaluate_in_memory(torch.empty((1, 2, 0)))
    assert (outputs.shape, signatures.shape) == ((1, 1, 0), (1, 0))
