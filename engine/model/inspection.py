"""A network in training, looked at layer by layer: ranges, units that are dead, gradients."""

from collections.abc import Iterator

import torch
from torch import Tensor

from draw_poly.engine.backends.reference import Eager
from draw_poly.engine.config import Config
from draw_poly.engine.model.state import State
from draw_poly.kernels import reference
from draw_poly.kernels.spec import Network

# Training points that it looks at.
MOST_POINTS = 4096


class Inspector:
    """Looks at states by the reference, on copies in host memory: what trains is left alone.

    `training` are coordinates (2, n) and targets (targets, n), of which it takes the first.
    """

    def __init__(self, config: Config, training: tuple[Tensor, Tensor]) -> None:
        self._config = config
        self._inputs, self._targets = (part[:, :MOST_POINTS].cpu() for part in training)

    def look(self, state: State) -> Iterator[str]:
        """A line a layer, input to output, and one of the gradients as a whole."""
        epoch, config = state.epoch, self._config
        eager = Eager(state.to(torch.device("cpu")), config)
        learners = eager.state.learners
        gradients = [torch.empty_like(one.parameters) for one in learners]
        eager.gradient(self._inputs[None], self._targets[None], gradients, torch.empty((1, len(learners))))
        names, inputs = ("Layer", "Predictor's layer"), (self._inputs, eager.positions)
        for name, one, points, gradient in zip(names, learners, inputs, gradients, strict=False):
            assert points is not None
            for index, line in enumerate(_layers(one.parameters[0], one.network, points, gradient[0]), 1):
                yield f"{name} {index} of {len(one.network.shapes)} @ epoch {epoch}: {line}"
        norms = [f"{_norm(gradient):.3g}" for gradient in gradients]
        beside = f", {norms[1]} of the predictor's" if len(norms) > 1 else ""
        bad = sum(int(torch.isfinite(one.parameters).logical_not().sum()) for one in learners)
        worse = f"; {bad} parameters are not finite" if bad else ""
        count = self._inputs.shape[1]
        yield f"Gradient @ epoch {epoch}: norm {norms[0]} of the network's{beside}, at {count} training points{worse}"


def _layers(parameters: Tensor, network: Network, inputs: Tensor, gradient: Tensor) -> Iterator[str]:
    """Of each layer: the range of its values at these inputs, its dead units, its parameters and their gradient."""
    stack, slopes = reference.layers(parameters, network), reference.layers(gradient, network)
    activations, outputs = reference.forward(stack, inputs, network.activation)
    for values, own, theirs in zip([*activations[1:], outputs], stack, slopes, strict=True):
        weight, bias = own
        text = f"values {_range(values)}"
        if values is not outputs:
            positive = values > 0
            dead, linear = (int(units.sum()) for units in (~positive.any(1), positive.all(1)))
            text += f", {dead} of {len(values)} units dead ({dead / len(values):.0%}), {linear} never off"
        norm = torch.stack([part.norm() for part in theirs]).norm()
        yield f"{text}; weights {_range(weight)}, biases {_range(bias)}; gradient norm {float(norm):.3g}"


def _range(values: Tensor) -> str:
    lowest, highest = torch.aminmax(values)
    return f"{float(lowest):.4g} to {float(highest):.4g}"


def _norm(gradient: Tensor) -> float:
    return float(gradient.norm())
