import re

import numpy as np
import pytest
import torch

from draw_poly.engine.config import Config
from draw_poly.engine.data import image
from draw_poly.engine.model import kolmogorov
from draw_poly.engine.model.inspection import Inspector
from draw_poly.engine.model.state import State
from draw_poly.engine.training.fresh import fresh_state
from draw_poly.kernels import reference

PICTURE = image.Picture(((np.arange(900) * 7) % 256).astype(np.uint8).reshape(30, 30))
NUMBER = r"(-?[\d.]+(?:e[-+]\d+)?|nan|-?inf)"
LAYER = re.compile(
    rf"values {NUMBER} to {NUMBER}(?:, (\d+) of (\d+) units dead \((\d+)%\), (\d+) never off)?; "
    rf"weights {NUMBER} to {NUMBER}, biases {NUMBER} to {NUMBER}; gradient norm {NUMBER}$"
)


def made(**words: object) -> tuple[Config, State, tuple[torch.Tensor, torch.Tensor]]:
    config = Config("x", "[4,3]", 1, points=300, batch_size=40, seed=2, **words)  # type: ignore[arg-type]
    split = image.split(PICTURE, 300, 40, np.random.RandomState(2))
    return config, fresh_state(config, torch.Generator().manual_seed(2)), image.samples(PICTURE, split.training)


def test_layers_are_told_as_they_are() -> None:
    config, state, training = made()
    stack = reference.layers(state.main.parameters[0], config.network)
    # Of the first layer, one unit that no point turns on and one that none turns off.
    stack[0][0][0], stack[0][1][0] = -1.0, -3.0
    stack[0][0][1], stack[0][1][1] = 1.0, 5.0
    before = state.main.parameters.clone()
    lines = list(Inspector(config, training).look(state))
    assert [line.split(":")[0] for line in lines] == [
        *(f"Layer {index} of 3 @ epoch 0" for index in (1, 2, 3)), "Gradient @ epoch 0"
    ]  # fmt: skip
    assert torch.equal(state.main.parameters, before)

    # The same by torch's own operations and gradients.
    leaves = [part.clone().requires_grad_() for pair in stack for part in pair]
    hidden, seen = training[0], []
    for index in range(0, 6, 2):
        hidden = leaves[index] @ hidden + leaves[index + 1]
        seen.append(hidden.detach())
        hidden = torch.nn.functional.leaky_relu(hidden, config.network.slope) if index < 4 else hidden
    ((hidden - training[1]) ** 2).mean().backward()
    norms = [leaf.grad.norm() for leaf in leaves if leaf.grad is not None]
    for index, (line, values) in enumerate(zip(lines, seen, strict=False)):
        match = LAYER.search(line)
        assert match, line
        found = match.groups()
        after = torch.nn.functional.leaky_relu(values, config.network.slope) if index < 2 else values
        assert [float(found[0]), float(found[1])] == pytest.approx([after.min().item(), after.max().item()], rel=1e-3)
        if index < 2:
            dead, linear = ((values <= 0).all(1).sum().item(), (values > 0).all(1).sum().item())
            assert (int(found[2]), int(found[3]), int(found[5])) == (dead, len(values), linear)
            assert int(found[4]) == round(100 * dead / len(values))
        else:
            assert found[2] is None
        weight, bias = stack[index]
        limits = [weight.min().item(), weight.max().item(), bias.min().item(), bias.max().item()]
        assert [float(text) for text in found[6:10]] == pytest.approx(limits, rel=1e-3)
        norm = torch.stack(norms[2 * index : 2 * index + 2]).norm().item()
        assert float(found[10]) == pytest.approx(norm, rel=1e-2)
    first = LAYER.search(lines[0])
    assert first
    assert int(first[3]) >= 1
    assert int(first[6]) >= 1
    whole = torch.stack(norms).norm().item()
    said = re.search(rf"norm {NUMBER} of the network's, at 300 training points$", lines[3])
    assert said
    assert float(said[1]) == pytest.approx(whole, rel=1e-2)


def test_the_predictor_is_told_as_well_and_the_gradient_is_that_of_the_sum() -> None:
    words = {"kolmogorov_shape": "[4]", "kolmogorov_weight": 0.2, "kolmogorov_loss_type": "mse"}
    config, state, training = made(**words)
    lines = list(Inspector(config, training).look(state))
    assert [line.split(" @")[0] for line in lines[3:]] == [
        "Predictor's layer 1 of 2", "Predictor's layer 2 of 2", "Gradient"
    ]  # fmt: skip
    assert state.predictor
    assert config.kolmogorov_term
    leaves = [one.parameters[0].clone().requires_grad_() for one in state.learners]
    outputs = reference.forward(reference.layers(leaves[0], config.network), training[0], config.network.activation)[1]
    places = kolmogorov.positions(config.network)
    predictor = config.kolmogorov_term.predictor
    guessed = reference.forward(reference.layers(leaves[1], predictor), places, predictor.activation)[1]
    (((outputs - training[1]) ** 2).mean() + 0.2 * ((guessed[0] - leaves[0]) ** 2).mean()).backward()
    said = re.search(rf"norm {NUMBER} of the network's, {NUMBER} of the predictor's", lines[-1])
    assert said
    for text, leaf in zip(said.groups(), leaves, strict=True):
        assert leaf.grad is not None
        assert float(text) == pytest.approx(leaf.grad.norm().item(), rel=1e-2)


def test_what_is_not_finite_is_counted() -> None:
    config, state, training = made()
    state.main.parameters[0, 3:5] = float("nan")
    lines = list(Inspector(config, training).look(state))
    assert lines[-1].endswith("; 2 parameters are not finite")
    assert "values nan to nan" in lines[0]


def test_no_more_points_are_looked_at_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("draw_poly.engine.model.inspection.MOST_POINTS", 70)
    config, state, training = made()
    assert list(Inspector(config, training).look(state))[-1].endswith("at 70 training points")
