"""Cases at random for every package of kernels, against PyTorch's own functions in float64.

What is wrong is told in a sentence. Where numbers are finite, a kernel may be off as much as PyTorch in float32 is,
times `oracle.SLACK`; where they are not, it gives what PyTorch gives.
"""

from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benches.alone import Alone
from benches.fuzz_cases import CPU, Case, draw, margin
from benches.plain import plain_activation, plain_forward
from benches.verify_kernels import edges_of
from draw_poly.kernels import cpu, reference
from draw_poly.kernels.oracle import (
    NAN,
    allowed,
    error_of,
    nearest,
    pixels,
    poison,
    swayed,
)
from draw_poly.kernels.picture import grid
from draw_poly.kernels.spec import Network


def faults(package: Any, case: Case) -> Iterator[str]:
    """What a package of kernels gets wrong of a case, a sentence each."""
    alone = Alone(package)
    yield from _gradient_faults(alone, case)
    if not case.spoilt:
        yield from _update_faults(alone, case)
    yield from _evaluation_faults(alone, case)
    if package is cpu and case.network.activation.piecewise_affine:
        yield from _painting_faults(case)


def _gradient_faults(package: Alone, case: Case) -> Iterator[str]:
    workspace = package.Workspace(case.network, case.term, case.inputs.shape[1] + case.seed % 3, CPU)
    flats = [case.given(flat) for flat in case.parameters]
    positions = None if case.positions is None else case.given(case.positions)
    found = []
    for _ in range(2):
        poison(workspace)
        package.gradient(workspace, flats, positions, case.given(case.inputs), case.given(case.targets))
        gradients, losses = [torch.full_like(flat, NAN) for flat in case.parameters], torch.full((len(flats),), NAN)
        package.total(workspace, gradients, losses)
        found.append([*losses, *gradients])
    truth, plain = case.by_pytorch(torch.float64), case.by_pytorch(torch.float32)
    sway = [0.0] * len(truth)
    if not case.spoilt:
        sway = swayed(case.network, case.parameters[0], truth, partial(case.by_pytorch, torch.float64))
    for name, ours, again, exact, theirs, swings in zip(_names(case), *found, truth, plain, sway, strict=True):
        if not torch.equal(ours.nan_to_num(), again.nan_to_num()):
            yield f"{name} differs from run to run"
        if case.spoilt:
            # The gradients of a likelihood that is not finite hang on how it is written.
            if case.term is None or case.term.loss == "cross_entropy" or "loss" in name:
                yield from _kind_faults(name, ours, exact, theirs, strict=case.term is None)
        else:
            yield from _error_faults(name, ours, exact, theirs, swings)


def _names(case: Case) -> list[str]:
    names = ["the task's loss", "the Kolmogorov loss"], ["∂θ", "∂φ"]
    return [name for part in names for name in part[: len(case.parameters)]]


def _error_faults(name: str, ours: Tensor, exact: Tensor, plain: Tensor, sway: float = 0.0) -> Iterator[str]:
    error, theirs = error_of(ours, exact), max(error_of(plain, exact), sway)
    if not error <= allowed(theirs):
        yield f"{name} is off by {error:.1e}, PyTorch in float32 by {theirs:.1e}"


def _kind_faults(name: str, ours: Tensor, exact: Tensor, plain: Tensor, strict: bool) -> Iterator[str]:
    """Where PyTorch's float32 and float64 give the same kind of number, ours has to be of it, too.

    Where not `strict`, one that is not finite is as good as another: a code length may be written in several ways.
    """
    kinds = [_kinds(one) if strict else ~one.isfinite() for one in (ours, exact, plain)]
    wrong = int(((kinds[0] != kinds[1]) & (kinds[1] == kinds[2])).sum())
    if wrong:
        yield f"{name}: {wrong} of {ours.numel()} are not finite where PyTorch's are, or the other way round"


def _kinds(numbers: Tensor) -> Tensor:
    """2 for NaN, else the sign of an infinity, else 0."""
    return torch.where(numbers.isnan(), 2.0, torch.where(numbers.isinf(), numbers.sign(), 0.0).to(numbers)).int()


def _update_faults(package: Alone, case: Case) -> Iterator[str]:
    """Three steps, each with the gradient that the package itself says it takes."""
    optimizers = [case.optimizer] * len(case.parameters)
    shapes = [(case.optimizer.moments, len(flat)) for flat in case.parameters]
    states = [
        ([flat.to(dtype, copy=True) for flat in case.parameters], [torch.zeros(shape, dtype=dtype) for shape in shapes])
        for dtype in (torch.float32, torch.float32, torch.float64)
    ]
    workspace = package.Workspace(case.network, case.term, case.inputs.shape[1], CPU)
    networks = [case.network, *([case.term.predictor] if case.term else [])]
    for step in range(1, 4):
        scalars = case.optimizer.scalars(step)
        package.gradient(workspace, states[0][0], case.positions, case.inputs, case.targets)
        gradients, losses = [torch.empty_like(flat) for flat in case.parameters], torch.empty(len(case.parameters))
        package.total(workspace, gradients, losses)
        package.update(workspace, optimizers, *states[0], case.given(torch.tensor(scalars * len(optimizers))), losses)
        for parameters, moments in states[1:]:
            exact = [gradient.to(flat) for flat, gradient in zip(parameters, gradients, strict=True)]
            reference.update_one(optimizers, parameters, moments, exact, scalars * len(optimizers), networks)
    for number, kind in enumerate(("parameters", "moments")):
        for ours, plain, exact in zip(*(state[number] for state in states), strict=True):
            if exact.isfinite().all():  # a step may be too long
                yield from _error_faults(f"{kind} after three steps of {case.optimizer.kind}", ours, exact, plain)


def _evaluation_faults(package: Alone, case: Case) -> Iterator[str]:
    network, flat, points = case.network, case.parameters[0], case.inputs.shape[1]
    outputs, signatures = torch.full((network.dims[-1], points), NAN), torch.full((points,), -1)
    numbers = case.given(flat), case.given(case.coefficients)
    package.evaluate(network, *numbers, case.given(case.inputs), outputs, signatures)
    exact = plain_forward(flat.double(), network, case.inputs.double())
    plain = plain_forward(flat, network, case.inputs)
    if case.spoilt:
        yield from _kind_faults("outputs", outputs, exact, plain, strict=True)
    else:
        (sway,) = swayed(network, flat, [exact], lambda moved: [plain_forward(moved, network, case.inputs.double())])
        yield from _error_faults("outputs", outputs, exact, plain, sway)
        if wrong := int((signatures != _signatures(flat, network, case.coefficients, case.inputs)).sum()):
            yield f"{wrong} of {points} signatures are wrong"
    places, (width, height) = pixels(*case.size), case.size
    expected, patterns = torch.full((network.dims[-1], height * width), NAN), torch.full((height * width,), -1)
    package.evaluate(network, *numbers, places, expected, patterns)
    values, terms = torch.full((network.dims[-1], height, width), NAN), torch.full((height, width), -1)
    package.evaluate_grid(network, *numbers, case.size, 0, values, terms)
    if not (
        torch.equal(terms.view(-1), patterns)
        and torch.equal(values.nan_to_num().view(expected.shape), expected.nan_to_num())
    ):
        yield "a grid is not what its pixels are"


def _signatures(flat: Tensor, network: Network, coefficients: Tensor, inputs: Tensor) -> Tensor:
    """Signatures (points,), neuron by neuron."""
    signatures, hidden = torch.zeros(inputs.shape[1], dtype=torch.int64), inputs.double()
    for (weight, bias), terms in zip(
        reference.layers(flat.double(), network)[:-1], coefficients.split(list(network.dims[1:-1])), strict=True
    ):
        before = torch.addmm(bias, weight, hidden)
        signatures += torch.where(before > 0, terms[:, None], 0).sum(0)
        hidden = plain_activation(before, network.activation)
    return signatures


def _painting_faults(case: Case) -> Iterator[str]:
    """A picture against every pixel evaluated: its levels, and its edges wherever rounding leaves no doubt."""
    network, flat = case.network, case.parameters[0]
    width, height = case.size
    no_colours = np.empty((0, 0), np.uint8)
    drawn, edges = np.zeros((network.dims[-1], height, width), np.uint8), np.zeros((height, width), np.uint8)
    seen = cpu.Rasterizer(network, case.coefficients, width, height).draw(case.given(flat), drawn, edges, no_colours)
    outputs, signatures = torch.full(drawn.shape, NAN), torch.full((height, width), -1)
    Alone(cpu).evaluate_grid(network, flat, case.coefficients, case.size, 0, outputs, signatures)
    levels, others = np.zeros_like(drawn), np.zeros_like(edges)
    ranges = np.full((len(drawn), 2), (np.inf, -np.inf), np.float32)
    grid.draw_rows(
        0, outputs.numpy(), signatures.numpy(), np.empty(0, np.int64), levels, others, no_colours,
        np.full(grid.REMEMBERED, grid.NO_SIGNATURE), np.empty(height * width, np.int64), ranges,
    )  # fmt: skip
    if np.abs(drawn.astype(int) - levels).max() > 1:
        yield "a picture's levels are not those of its pixels"
    limits = np.array(grid.widest(ranges[:, 0], ranges[:, 1]), np.float32)
    found = np.array([seen.lowest, seen.highest], np.float32)
    finite = np.isfinite(limits).all()
    if not (
        np.abs(found - limits).max() <= 1e-4 * np.abs(limits).max() if finite else np.array_equal(found, limits, True)
    ):
        yield f"a picture's outputs are from {seen.lowest} to {seen.highest}, those of its pixels from {limits}"
    if case.spoilt:
        return
    sure = nearest(flat.double(), network, pixels(*case.size).double()).view(height, width).numpy() > margin(flat)
    sure[:, :-1] &= sure[:, 1:].copy()
    sure[:-1] &= sure[1:].copy()
    if wrong := int(((edges != edges_of(signatures).numpy()) & sure).sum()):
        yield f"{wrong} of {edges.size} pixels have other edges than their evaluation says"


def run(packages: list[ModuleType | Any], seed: int, count: int) -> Iterator[tuple[int, str]]:
    """Draws `count` cases from `seed` on; yields the seed of each that goes wrong, and how."""
    for number in range(seed, seed + count):
        for package in packages:
            case = draw(number, small=package.__name__.endswith("gpu"))
            try:
                said = list(faults(package, case))
            except Exception as error:  # whatever it is, it is a fault
                said = [f"{type(error).__name__}: {error}"]
            for fault in said:
                yield number, f"{package.__name__}: {fault} ({case})"
