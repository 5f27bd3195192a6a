"""Probabilities by integers are those of floating point, as far as integers of their width go."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from draw_poly.engine.code.counts import NEIGHBOURHOOD, Counts
from draw_poly.engine.code.fixed_point import MANTISSA, ONE, TOTAL, halved, length, scaled, shares, softmax
from draw_poly.engine.code.grid import Grid
from draw_poly.engine.code.predictor import positions
from draw_poly.engine.model import kolmogorov
from draw_poly.kernels.reference.network import forward, layers
from draw_poly.kernels.spec import Network
from tests.engine.code.networks import LOSSES, draw

FEW = settings(max_examples=50, deadline=None, derandomize=True, database=None)


def test_powers_of_two_are_right_to_their_last_bits() -> None:
    exponents = np.arange(0, 20 * ONE, 7)
    assert np.abs(halved(exponents) - 2.0 ** (MANTISSA - exponents / ONE)).max() < 3
    for value, exponent in ((3, -2.5), (1000, 0.0), (2**20, 7.25), (2**27, 32.0), (12345, -0.001), (2**27, -32.0)):
        found = scaled(np.array([value]), np.array([round(exponent * ONE)]))[0]
        assert found == pytest.approx(value * 2 ** (round(exponent * ONE) / ONE), rel=2e-7, abs=1)


@FEW
@given(st.integers(0, 2**31), st.integers(2, 300), st.integers(0, 38))
def test_frequencies_are_whole_and_in_proportion(seed: int, n: int, most: int) -> None:
    weights = np.random.default_rng(seed).integers(0, 2**most, (4, n)) + (np.arange(n) == seed % n)
    found = shares(weights)
    assert (found >= 0).all()
    assert (found.sum(1) == TOTAL - n).all()
    assert np.abs(found / (TOTAL - n) - weights / weights.sum(1, keepdims=True)).max() <= n / (TOTAL - n)


@FEW
@given(st.integers(0, 2**31), st.integers(2, 300), st.floats(0, 40))
def test_a_softmax_is_a_softmax(seed: int, n: int, scale: float) -> None:
    logits = np.random.default_rng(seed).normal(scale=scale, size=(3, n))
    found = (softmax(np.rint(logits * ONE).astype(np.int64)) + 1) / TOTAL
    assert np.abs(found - torch.softmax(torch.from_numpy(logits), 1).numpy()).max() < 1e-4


@pytest.mark.parametrize("dims", [(2, 5, 4, 1), (2, 1, 1), (2, 7, 1, 3)])
def test_positions_are_those_of_the_term(dims: tuple[int, ...]) -> None:
    found = positions(Network(dims)) / ONE
    assert np.abs(found - kolmogorov.positions(Network(dims)).numpy()).max() <= 0.5 / ONE + 1e-7


@pytest.mark.parametrize("loss", LOSSES)
def test_a_fine_predictor_tells_what_the_trained_one_does(loss: str) -> None:
    weights = draw(3, loss)
    assert weights.term is not None
    grid = Grid(64, -2.0, 1.5)
    trained = weights._trained(weights.term, grid)
    predictor = trained.rounded(11)
    assert predictor is not None
    (found,) = predictor.frequencies(weights.network, grid.bins)
    stack = layers(torch.from_numpy(weights.predictor), weights.term.predictor)
    outputs = forward(stack, kolmogorov.positions(weights.network).double(), weights.term.predictor.activation)[1]
    middles = torch.from_numpy(grid.values(np.arange(64))).double()
    if loss == "cross_entropy":
        logits = outputs.T
    elif loss == "laplacian_nll":
        logits = -(middles - outputs[0][:, None]).abs() * (-outputs[1][:, None]).exp()
    else:
        missed = (outputs[0] - torch.from_numpy(weights.parameters)).square().mean()
        precision = 1 / missed if loss == "mse" else (-outputs[1][:, None]).exp()
        logits = -(middles - outputs[0][:, None]).square() * precision / 2
    expected = torch.softmax(logits, 1).numpy()
    assert np.abs((found + 1) / TOTAL - expected).max() < 0.01 * expected.max()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("fraction", [0, 3, 9])
def test_an_estimate_is_about_the_length(loss: str, fraction: int) -> None:
    weights, grid = draw(4, loss), Grid(64, -2.0, 1.5)
    assert weights.term is not None
    predictor, symbols = weights._trained(weights.term, grid).rounded(fraction), grid.symbols(weights.parameters)
    assert predictor is not None
    (found,) = predictor.frequencies(weights.network, grid.bins)
    assert predictor.estimate(weights.network, grid.bins, symbols) == pytest.approx(length(found, symbols), rel=0.01)


@FEW
@given(st.integers(2, 300), st.integers(0, 2**31))
def test_counts_learn_what_they_see(n: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    counts, seen = Counts(n), generator.integers(0, n, 20)
    assert np.ptp(counts.frequencies) <= n
    counts.see(seen[:5])
    counts.see(seen[5:])
    half = n // NEIGHBOURHOOD
    weights = np.ones(n)
    triangle = np.maximum(1, (half + 1 - np.abs(np.arange(-half, half + 1))) * n // (half + 1) ** 2)
    for symbol in seen:
        for offset, weight in zip(range(-half, half + 1), triangle, strict=True):
            if 0 <= symbol + offset < n:
                weights[symbol + offset] += weight
    assert counts.frequencies / TOTAL == pytest.approx(weights / weights.sum(), abs=2 * n / TOTAL)


@FEW
@given(st.integers(2, 2**16), st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_a_value_is_in_the_bin_that_it_is_nearest_to(bins: int, low: float, width: float) -> None:
    if np.float32(low) >= np.float32(low + width):
        return
    grid = Grid(bins, low, low + width)
    some = np.unique(np.linspace(0, bins - 1, 50).astype(np.int64))
    values = grid.values(some)
    assert (
        np.abs(values - (grid.low + some * (grid.high - grid.low) / (bins - 1))) <= np.spacing(np.abs(values))
    ).all()
    generator = np.random.default_rng(bins)
    given = generator.uniform(grid.low, grid.high, 50)
    away = np.abs(grid.low + grid.symbols(given) * (grid.high - grid.low) / (bins - 1) - given)
    assert away.max() <= 0.5 * (grid.high - grid.low) / (bins - 1) * (1 + 1e-6)
    assert grid.symbols(np.array([-1e30, 1e30])).tolist() == [0, bins - 1]
