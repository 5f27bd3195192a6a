"""Networks that the tests of the code look at: of every golden checkpoint, and random ones of every kind of term."""

import numpy as np

from draw_poly.engine.code.source import load
from draw_poly.engine.code.weights import Weights
from draw_poly.kernels.spec import KolmogorovTerm, Network, leaky_relu
from tests.conftest import GOLDEN

CHECKPOINTS = sorted(GOLDEN.glob("*.pt"))
LOSSES = ("cross_entropy", "gaussian_nll", "laplacian_nll", "mse")


def golden(name: str) -> Weights:
    """Those of a golden checkpoint."""
    (path,) = GOLDEN.glob(f"{name}*.pt")
    return load(path, None).weights


def draw(seed: int, loss: str | None, bins: int = 64, hidden: tuple[int, ...] = (5, 4), slope: float = 0.01) -> Weights:
    """A network at random, whose weights differ in scale from seed to seed, with a predictor where a loss is named."""
    generator = np.random.default_rng(seed)
    network = Network((2, *hidden, 1), leaky_relu(slope))
    parameters = generator.normal(scale=generator.choice((0.01, 0.5, 4.0)), size=network.size)
    if loss is None:
        return Weights(network, parameters)
    predictor = Network((3, 6, 4, KolmogorovTerm.outputs(loss, bins)))
    term = KolmogorovTerm(predictor, loss, 0.1, bins, -2.0, 1.5)
    return Weights(network, parameters, term, generator.normal(scale=0.7, size=predictor.size))
