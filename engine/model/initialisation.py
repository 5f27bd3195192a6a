"""A network's parameters: the random draws that begin them, and their names in a checkpoint."""

import math

import torch
from torch import Tensor, nn

from draw_poly.kernels import reference
from draw_poly.kernels.spec import Network

HIDDEN_BIAS = 0.1
LARGEST_COEFFICIENT = 2**31 - 2


def initialise(network: Network, generator: torch.Generator, output_bias: float) -> Tensor:
    """Flat float32 parameters: kaiming-normal weights, biases 0.1 but for the output's."""
    return _draw(network, generator, output_bias, None)


def initialise_with_coefficients(network: Network, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """As `initialise`, every bias 0.1, and the signature coefficients (neurons,), int64 in [1, 2^31 - 2].

    The generator is left as it was found, as the original program leaves it.
    """
    before = generator.get_state()
    coefficients: list[Tensor] = []
    parameters = _draw(network, generator, HIDDEN_BIAS, coefficients)
    generator.set_state(before)
    return parameters, torch.cat(coefficients)


def _draw(
    network: Network, generator: torch.Generator, output_bias: float, coefficients: list[Tensor] | None
) -> Tensor:
    """The draws in the original's order: a linear layer's own default, its kaiming weight, its coefficients."""
    parameters = torch.empty(network.size)
    stack = reference.layers(parameters, network)
    for weight, bias in stack:
        nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
        torch.empty(bias.shape[0]).uniform_(generator=generator)
        nn.init.kaiming_normal_(weight, nonlinearity="leaky_relu", generator=generator)
        bias.fill_(HIDDEN_BIAS)
        if coefficients is not None and bias is not stack[-1][1]:
            coefficients.append(torch.randint(1, LARGEST_COEFFICIENT + 1, (bias.shape[0],), generator=generator))
    stack[-1][1].fill_(output_bias)
    return parameters


def network_names(network: Network) -> list[str]:
    """The names of the network's layers in a checkpoint, before `.weight` and `.bias`."""
    return [f"network.{2 * index}" for index in range(len(network.shapes))]


def predictor_names(predictor: Network) -> list[str]:
    """The names of the predictor's layers in a checkpoint."""
    return [f"hidden_layers.{2 * index}" for index in range(len(predictor.shapes) - 1)] + ["output_layer"]


def named_views(flat: Tensor, network: Network, names: list[str]) -> dict[str, Tensor]:
    """Views of a flat vector by name: `{name}.weight` (out, in), `{name}.bias` (out,)."""
    views = {}
    for name, (weight, bias) in zip(names, reference.layers(flat, network), strict=True):
        views[f"{name}.weight"] = weight
        views[f"{name}.bias"] = bias.view(-1)
    return views


def as_text(flat: Tensor, network: Network) -> str:
    """Parameters as text: a comment names each tensor, a line holds each value with every digit it has.

    `numpy.loadtxt` reads it back as the flat vector.
    """
    lines = []
    for name, view in named_views(flat.detach().cpu(), network, network_names(network)).items():
        lines.append(f"# {name} {'x'.join(str(size) for size in view.shape)}")
        lines += [f"{value:.9g}" for value in view.reshape(-1).tolist()]
    return "\n".join(lines) + "\n"
