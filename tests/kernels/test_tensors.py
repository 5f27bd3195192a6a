"""Tensors with strides, of other shapes and types: a kernel takes them for what they are, or says that it does not."""

import importlib

import numpy as np
import pytest
import torch
from torch import Tensor

from benches.alone import Alone
from draw_poly.kernels import cpu
from draw_poly.kernels.oracle import random_parameters
from draw_poly.kernels.spec import SCALARS, KolmogorovTerm, Network, Optimizer
from tests.kernels.fused import DEVICE, PACKAGES, Case, identical, poisoned

TERM = KolmogorovTerm(Network((3, 4, 12)), "cross_entropy", 0.3, 12)


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> Alone:
    return Alone(importlib.import_module(f"draw_poly.kernels.{request.param}"))


@pytest.fixture
def case() -> Case:
    return Case.of((2, 6, 5, 3), 21, TERM)


def spread(tensor: Tensor) -> Tensor:
    """The same tensor, every number of it two places from the next, and other numbers in between."""
    room = torch.full((*tensor.shape[:-1], 2 * tensor.shape[-1]), -3, dtype=tensor.dtype)
    room[..., ::2] = tensor
    return room[..., ::2]


def transposed(tensor: Tensor) -> Tensor:
    """The same tensor, its columns along memory."""
    return tensor.t().contiguous().t()


@pytest.mark.parametrize("view", [spread, transposed])
def test_what_is_read_may_have_strides(package: Alone, case: Case, view: object) -> None:
    assert callable(view)
    workspace = package.Workspace(case.network, TERM, 21, DEVICE)
    expected = case.gradients(package, workspace)
    assert case.positions is not None
    parameters = [spread(flat) for flat in case.parameters]
    package.gradient(workspace, parameters, view(case.positions), view(case.inputs), view(case.targets))
    gradients, losses = [torch.empty_like(flat) for flat in case.parameters], torch.empty(2)
    package.total(workspace, gradients, losses)
    assert identical([losses, gradients], list(expected))


@pytest.mark.parametrize("view", [spread, transposed])
def test_what_is_evaluated_may_have_strides(package: Alone, case: Case, view: object) -> None:
    assert callable(view)
    coefficients = torch.arange(1, case.network.neurons + 1)
    found = []
    for changed in (False, True):
        flat, terms, inputs = case.parameters[0], coefficients, case.inputs
        if changed:
            flat, terms, inputs = spread(flat), spread(terms), view(inputs)
        outputs, signatures = poisoned((3, 21))
        grid, patterns = poisoned((3, 4, 5))
        package.evaluate(case.network, flat, terms, inputs, outputs, signatures)
        package.evaluate_grid(case.network, flat, terms, (5, 4), 0, grid, patterns)
        found.append([outputs, signatures, grid, patterns])
    assert identical(*found)


def test_what_is_written_in_place_is_refused_with_strides(package: Alone, case: Case) -> None:
    workspace = case.workspace(package)
    optimizers = [Optimizer("adam", 0.01)] * 2
    moments = [torch.zeros((2, len(flat))) for flat in case.parameters]
    scalars, losses = torch.ones(2 * SCALARS), torch.empty(2)
    before = [flat.clone() for flat in case.parameters]
    strided = {
        "parameters": ([spread(flat) for flat in case.parameters], moments, losses),
        "moments": (case.parameters, [spread(moment) for moment in moments], losses),
        "losses": (case.parameters, moments, spread(losses)),
    }
    for name, (parameters, kept, results) in strided.items():
        with pytest.raises(ValueError, match=f"{name} of strides .* give a contiguous tensor"):
            package.update(workspace, optimizers, parameters, kept, scalars, results)
    with pytest.raises(ValueError, match="gradient of strides"):
        package.total(workspace, [spread(flat) for flat in case.parameters], losses)
    outputs, signatures = poisoned((3, 21))
    terms = torch.ones(case.network.neurons, dtype=torch.int64)
    for name, tensors in (("outputs", (spread(outputs), signatures)), ("signatures", (outputs, spread(signatures)))):
        with pytest.raises(ValueError, match=f"{name} of strides"):
            package.evaluate(case.network, case.parameters[0], terms, case.inputs, *tensors)
    grid, patterns = poisoned((3, 4, 5))
    for name, tensors in (("outputs", (spread(grid), patterns)), ("signatures", (grid, spread(patterns)))):
        with pytest.raises(ValueError, match=f"{name} of strides"):
            package.evaluate_grid(case.network, case.parameters[0], terms, (5, 4), 0, *tensors)
    assert identical(case.parameters, before)


def test_scalars_may_have_strides(package: Alone, case: Case) -> None:
    found = []
    for view in (Tensor.clone, spread):
        workspace = package.Workspace(case.network, TERM, 21, DEVICE)
        package.gradient(workspace, case.parameters, case.positions, case.inputs, case.targets)
        parameters = [flat.clone() for flat in case.parameters]
        moments = [torch.zeros((2, len(flat))) for flat in parameters]
        scalars = view(torch.linspace(0.1, 0.9, 2 * SCALARS))
        package.update(workspace, [Optimizer("adam", 0.01)] * 2, parameters, moments, scalars, torch.empty(2))
        found.append(parameters)
    assert identical(*found)


def test_other_shapes_and_types_are_refused(package: Alone, case: Case) -> None:
    workspace = case.workspace(package)
    flat, phi = case.parameters
    batch = case.positions, case.inputs, case.targets
    for parameters in ([flat[:-1], phi], [flat, phi.double()]):
        with pytest.raises(ValueError, match=r"parameters of shape .* were given: give shape"):
            package.gradient(workspace, parameters, *batch)
    with pytest.raises(ValueError, match="1 vectors of parameters"):
        package.gradient(workspace, [flat], *batch)
    with pytest.raises(ValueError, match="positions"):
        package.gradient(workspace, case.parameters, None, case.inputs, case.targets)
    with pytest.raises(ValueError, match="targets of shape"):
        package.gradient(workspace, case.parameters, case.positions, case.inputs, case.targets[:1])
    with pytest.raises(ValueError, match="inputs of shape"):
        package.gradient(workspace, case.parameters, case.positions, case.inputs[:1], case.targets)
    outputs, signatures = poisoned((3, 21))
    with pytest.raises(ValueError, match="coefficients of shape"):
        package.evaluate(case.network, flat, torch.ones(3, dtype=torch.int64), case.inputs, outputs, signatures)


def trained(order: "np.ndarray[tuple[int], np.dtype[np.int64]]", case: Case) -> list[Tensor]:
    parameters = [flat.clone() for flat in case.parameters]
    moments = [torch.zeros((1, len(flat))) for flat in parameters]
    workspace = cpu.Workspace(case.network, TERM, 4, DEVICE)
    optimizers = [Optimizer("sgd_momentum", 0.1)] * 2
    points = case.inputs[None], case.targets[None]
    learners = [flat[None] for flat in parameters], [moment[None] for moment in moments]
    training = cpu.Training(workspace, optimizers, *learners, case.positions, points, points)
    scalars = np.ones((1, 1, 3, 4 * SCALARS), np.float32)[..., ::2]
    training.run(order[None, None], scalars, np.empty((1, 1, 3, 2), np.float32))
    return parameters


def test_an_order_with_strides_is_the_order_it_says(case: Case) -> None:
    order = np.random.default_rng(0).permutation(21)[:20]
    assert identical(trained(order[::2], case), trained(order[::2].copy(), case))
    with pytest.raises(ValueError, match="20 points are 5 steps of 4"):
        trained(order, case)


def test_a_rasterizer_takes_strided_parameters() -> None:
    network = Network((2, 6, 5, 1))
    rasterizer = cpu.Rasterizer(network, torch.arange(1, network.neurons + 1), 50, 40)
    parameters, found = random_parameters(network, 1, torch.float32), []
    for flat in (parameters, spread(parameters)):
        gray, edges = np.empty((40, 50), np.uint8), np.zeros((40, 50), np.uint8)
        rasterizer.draw(flat, gray, edges, np.empty((0, 0), np.uint8))
        found.append([torch.from_numpy(gray), torch.from_numpy(edges)])
    assert identical(*found)
    with pytest.raises(ValueError, match="a plane of shape"):
        rasterizer.draw(flat, gray[:-1], edges, np.empty((0, 0), np.uint8))
