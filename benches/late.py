"""What a state comes to after very many epochs, made at once: much of it is near nothing, and stays there.

It stays by construction, also in float64, where nothing is subnormal: what would move a number is exactly zero, or held
down by a large second moment. For Adam divides a gradient by its own size, and would raise what is near nothing in a
dozen steps.
"""

from torch import Tensor

from draw_poly.engine.model.state import Learner, State
from draw_poly.kernels import reference
from draw_poly.kernels.spec import KolmogorovTerm

STEPS = 25_000
# Subnormal in float32: a weight, a first and a second moment.
WEIGHT, FIRST, SECOND = 1e-39, 3e-40, 1e-40
# A normal number that LeakyReLU's slope makes subnormal.
BIAS = -2e-38
HELD = 1.0  # a second moment
# Logits below the largest: their probabilities are the last normal ones, subnormal, and zero.
LOWEST, HIGHEST = -105.0, -75.0
APART = 20  # bins from any parameter's own: it does not come there in hundreds of epochs


def make_late(state: State, term: KolmogorovTerm | None) -> None:
    """Lets every other neuron die, or with a Kolmogorov term, which pulls at every parameter, the bins nobody needs."""
    for learner in state.learners:
        learner.steps = STEPS
    if term is None or state.predictor is None:
        _let_neurons_die(state.main)
    else:
        _empty_bins(state.predictor, state.main.parameters[0], term)


def _let_neurons_die(main: Learner) -> None:
    """Of four neurons one has no connection, and one adds up next to nothing, which nobody reads."""
    stack = reference.layers(main.parameters[0], main.network)
    firsts, seconds = (reference.layers(row, main.network) for row in main.moments[0])
    for place, weight, first, second in ((1, 0.0, 0.0, SECOND), (3, WEIGHT, FIRST, HELD)):
        for index in range(len(stack) - 1):
            for layers, inner, bias in (
                (stack, weight, BIAS if weight else 0.0), (firsts, first, first), (seconds, second, second)
            ):  # fmt: skip
                layers[index][0][place::4] = inner
                layers[index][1][place::4] = bias
            for layers, outer in ((stack, 0.0), (firsts, first), (seconds, second)):
                layers[index + 1][0][:, place::4] = outer


def _empty_bins(predictor: Learner, parameters: Tensor, term: KolmogorovTerm) -> None:
    """Makes the bins that are far from any parameter improbable."""
    if term.loss != "cross_entropy":
        return
    places = (parameters.clamp(term.low, term.high) - term.low) / (term.high - term.low) * (term.bins - 1)
    bins = places.new_tensor(range(term.bins))
    empty = ((bins[:, None] - places).abs() > APART).all(1)
    stack = reference.layers(predictor.parameters[0], predictor.network)
    firsts, seconds = (reference.layers(row, predictor.network) for row in predictor.moments[0])
    stack[-1][0][empty] = 0.0
    stack[-1][1][empty, 0] = bins[empty] / (term.bins - 1) * (HIGHEST - LOWEST) + LOWEST
    for layers, moment in ((firsts, FIRST), (seconds, SECOND)):
        for part in layers[-1]:
            part[empty] = moment
