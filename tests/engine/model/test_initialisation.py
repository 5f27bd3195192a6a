import itertools

import numpy as np
import torch
from torch import nn

from draw_poly.engine.model import initialisation as network
from draw_poly.engine.model import kolmogorov
from draw_poly.kernels.spec import Network

DIMS = (2, 7, 30, 5, 1)


def test_draws_are_those_of_torchs_own_modules_in_the_originals_order() -> None:
    torch.manual_seed(9)
    state = torch.get_rng_state()
    weights, coefficients = [], []
    for into, out in itertools.pairwise(DIMS):
        layer = nn.Linear(into, out)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="leaky_relu")
        weights += [layer.weight.detach().flatten(), torch.full((out,), 0.1)]
        if out != 1:
            coefficients.append(torch.randint(1, 2**31 - 1, (out,)))
    torch.set_rng_state(state)
    generator = torch.Generator().manual_seed(9)
    parameters, drawn = network.initialise_with_coefficients(Network(DIMS), generator)
    assert torch.equal(parameters, torch.cat(weights))
    assert torch.equal(drawn, torch.cat(coefficients))
    assert torch.equal(generator.get_state(), torch.get_rng_state())  # left as it was found


def test_the_predictors_output_bias_is_zero_and_its_draws_move_the_generator() -> None:
    generator = torch.Generator().manual_seed(9)
    before = generator.get_state()
    flat = network.initialise(Network((3, 4, 6)), generator, output_bias=0.0)
    views = network.named_views(flat, Network((3, 4, 6)), network.predictor_names(Network((3, 4, 6))))
    assert list(views) == ["hidden_layers.0.weight", "hidden_layers.0.bias", "output_layer.weight", "output_layer.bias"]
    assert torch.all(views["output_layer.bias"] == 0)
    assert torch.all(views["hidden_layers.0.bias"] == torch.tensor(0.1))
    assert not torch.equal(generator.get_state(), before)


def test_text_reads_back_as_the_flat_vector(tmp_path: object) -> None:
    shape = Network(DIMS)
    flat = torch.randn(shape.size, generator=torch.Generator().manual_seed(0)) * 1e-3
    text = network.as_text(flat, shape)
    assert np.array_equal(np.loadtxt(text.splitlines()).astype(np.float32), flat.numpy())
    assert "# network.2.weight 30x7" in text


def test_positions_follow_the_order_of_parameters() -> None:
    for dims in (DIMS, (2, 1), (2, 1, 1)):
        expected = []
        layers = list(itertools.pairwise(dims))
        for index, (into, out) in enumerate(layers):
            depth = index / max(len(layers) - 1, 1)
            expected += [(depth, i / max(out - 1, 1), k / max(into - 1, 1)) for i in range(out) for k in range(into)]
            expected += [(depth, i / max(out - 1, 1), 1.0) for i in range(out)]
        assert torch.equal(kolmogorov.positions(Network(dims)), torch.tensor(expected, dtype=torch.float64).float().t())


def test_bits_are_nats_over_the_logarithm_of_two() -> None:
    assert kolmogorov.bits(np.log(256.0), Network((2, 1))) == 3 * 8.0
