"""The kernels' rows of `benches.verify`: each output of each shape against float64, beside PyTorch's in float32."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benches.alone import Alone
from benches.plain import by_autograd, plain_forward, plain_loss
from draw_poly.kernels import reference
from draw_poly.kernels.oracle import (
    MARGIN,
    NAN,
    allowed,
    drawn,
    error_of,
    nearest,
    pixels,
    points_away,
    poison,
    random_parameters,
    random_targets,
    swayed,
)
from draw_poly.kernels.spec import (
    BELOW,
    FINAL_ACTIVATIONS,
    KOLMOGOROV_LOSSES,
    OPTIMIZERS,
    RELU2,
    RIGHT,
    KolmogorovTerm,
    Network,
    Optimizer,
    cross_entropy,
)

SHAPES: list[tuple[tuple[int, ...], int]] = [
    ((2, *[10] * 8, 1), 1024), ((2, *[10] * 8, 1), 904), ((2, *[10] * 8, 1), 5000), ((2, 7, 12, 5, 3), 333),
    ((2, 1, 1), 1), ((2, *[16] * 12, 1), 63), ((2, *[5] * 40, 1), 65), ((2, 33, 17, 1), 257), ((2, *[64] * 4, 1), 252),
]  # fmt: skip
# By ReLU's square.
SQUARED: tuple[tuple[tuple[int, ...], int], ...] = (((2, 10, 10, 10, 10, 1), 37), ((2, 7, 12, 3), 65))
# Classes of points, by every activation of outputs.
CLASSED: list[tuple[tuple[int, ...], int]] = [
    ((2, *[10] * 8, 3), 1024),
    ((2, 7, 12, 5, 5), 63),
    ((2, *[5] * 12, 2), 70),
]


@dataclass(frozen=True)
class Row:
    """One output of one kernel: its error, PyTorch's in float32, the most it may be."""

    kernel: str
    case: str
    output: str
    error: float
    plain: float
    allowed: float

    @property
    def passed(self) -> bool:
        """Whether it is right; NaN is not."""
        return self.error <= self.allowed


def rows(
    package: Alone, device: torch.device, precision: str = "fp32", small: bool = False, seed: int = 0
) -> Iterator[Row]:
    """Every kernel of a package of kernels at every shape; `small` takes the shapes that an interpreter can."""
    for make in groups(precision, small).values():
        yield from make(package, device, seed)


Rows = Callable[[Alone, torch.device, int], Iterator[Row]]


def groups(precision: str, small: bool) -> dict[str, Rows]:
    """The rows of one shape, term or optimiser: of a package on a device, by a seed."""
    found: dict[str, Rows] = {}
    for dims, points in [(dims, min(points, 70)) for dims, points in SHAPES[3:]] if small else SHAPES:
        name = f"{name_of(Network(dims))}, {points} points"
        found[f"gradient {name}"] = partial(gradient_rows, Network(dims), points, None, precision)
        if precision == "fp32":
            found[f"evaluate {name}"] = partial(evaluate_rows, Network(dims), points)
            found[f"validate {name}"] = partial(validate_rows, Network(dims), points)
    for final in FINAL_ACTIVATIONS:
        for dims, points in CLASSED[1:] if small else CLASSED:
            network = Network(dims, loss=cross_entropy(final))
            name = f"{name_of(network)}, {points} points"
            found[f"gradient {name}"] = partial(gradient_rows, network, points, None, precision)
            if precision == "fp32":
                found[f"validate {name}"] = partial(validate_rows, network, points)
    for dims, points in SQUARED:
        network = Network(dims, RELU2)
        name = f"{name_of(network)}, {points} points"
        found[f"gradient {name}"] = partial(gradient_rows, network, points, None, precision)
        if precision == "fp32":
            found[f"evaluate {name}"] = partial(evaluate_rows, network, points)
            found[f"validate {name}"] = partial(validate_rows, network, points)
    for index, loss in enumerate(KOLMOGOROV_LOSSES):
        for bins in (256, 11) if loss == "cross_entropy" else (256,):
            predictor = Network((3, 8, 5 + index, KolmogorovTerm.outputs(loss, bins)))
            term = KolmogorovTerm(predictor, loss, 0.7, bins, -0.8, 1.1)  # a range that cuts off on both sides
            network = Network((2, 5, 1) if small else (2, *[10] * 8, 1))
            found[f"{loss} {bins}"] = partial(gradient_rows, network, 65, term, precision)
    if precision == "fp32":
        found |= {f"update {kind}": partial(update_rows, kind) for kind in OPTIMIZERS}
    return found


def gradient_rows(
    network: Network, points: int, term: KolmogorovTerm | None, precision: str, package: Alone, device: torch.device,
    seed: int = 0,
) -> Iterator[Row]:  # fmt: skip
    """Losses and gradients of one step, that a second run gives the same bits, and of a batch named by an order.

    That is another kernel, which a compiler may lay out otherwise: it is held to float64 as the first one is.
    """
    generator = drawing(points, seed)
    start = drawn(network, term, points, generator, MARGIN[precision])
    parameters, positions, inputs = start.parameters, start.positions, start.inputs
    targets = random_targets(network, points, generator)
    rest = network, inputs, targets, positions, term, torch.float64, torch.device("cpu")
    exact = by_autograd(parameters, *rest)
    sway = swayed(network, parameters[0], exact, lambda flat: by_autograd([flat, *parameters[1:]], *rest))
    plain = by_autograd(parameters, network, inputs, targets, positions, term, torch.float32, device, precision)

    on_device = [one.to(device) for one in parameters]
    placed = positions.to(device) if positions is not None else None
    words = {} if precision == "fp32" else {"precision": precision}
    workspace = package.Workspace(network, term, points, device, **words)
    found = []
    whole, ways = torch.cat((inputs, targets)), ["", ", again"]
    if "gpu" in package.__name__:
        ways.append(", by an order")
    for way in ways:
        poison(workspace)
        data, named = whole, []
        if "order" in way:
            order = torch.randperm(points, generator=generator)
            data, named = whole[:, order.argsort()], [order.to(device)]
        data = data.contiguous().to(device)
        package.gradient(workspace, on_device, placed, data[: len(inputs)], data[len(inputs) :], *named)
        found.append(stepped(package, workspace, on_device))
    case = f"{name_of(network)}, {points} points" + (f", {term.loss} {term.bins}" if term else "")
    kernel = f"gradient {precision}"
    names = ["task loss", "Kolmogorov loss"][: len(parameters)] + ["∂θ", "∂φ"][: len(parameters)]
    for name, truth, theirs, swings, *ours in zip(names, exact, plain, sway, *found, strict=True):
        mine, other = error_of(ours[0], truth), max(error_of(theirs, truth), swings)
        yield Row(kernel, case, name, mine, other, allowed(other, precision))
        yield Row(kernel, case, f"{name}, again", 0.0 if torch.equal(ours[0], ours[1]) else NAN, 0.0, 0.0)
        for named in ours[2:]:
            yield Row(kernel, case, f"{name}, by an order", error_of(named, truth), other, allowed(other, precision))


def drawing(points: int, seed: int) -> torch.Generator:
    """The draws of a case of so many points."""
    return torch.Generator().manual_seed(points + 10_000 * seed)


def stepped(package: Alone, workspace: object, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Losses, then gradients: what a step of plain descent at rate one takes off zeros."""
    count, device = len(parameters), parameters[0].device
    downhill = [torch.zeros_like(one) for one in parameters]
    losses = torch.full((count,), NAN, device=device)
    nothing = [torch.empty((0, one.numel()), device=device) for one in parameters]
    descent = [Optimizer("sgd", 1.0)] * count
    scalars = torch.tensor([number for one in descent for number in one.scalars(1)], device=device)
    package.update(workspace, descent, downhill, nothing, scalars, losses)
    return [*losses.cpu().unbind(0), *(-one.cpu() for one in downhill)]


def evaluate_rows(network: Network, points: int, package: Alone, device: torch.device, seed: int = 0) -> Iterator[Row]:
    """Outputs and signatures at points and of a grid, and the grid's edges where the package tells them."""
    generator = drawing(points, seed)
    flat = random_parameters(network, generator.initial_seed(), torch.float32)
    coefficients = torch.randint(1, 2**31 - 1, (network.neurons,), generator=generator)
    width, height = points // 7 + 1, 11
    placed = flat.to(device), coefficients.to(device)
    for name, inputs in (("points", torch.rand((2, points), generator=generator)), ("grid", pixels(width, height))):
        count = inputs.shape[1]
        outputs = torch.full((network.dims[-1], count), NAN, device=device)
        signatures = torch.full((count,), -1, device=device)
        if name == "points":
            package.evaluate(network, *placed, inputs.to(device), outputs, signatures)
        else:
            shape = (network.dims[-1], height, width)
            package.evaluate_grid(network, *placed, (width, height), 0, outputs.view(shape), signatures.view(shape[1:]))
        exact, patterns = reference.evaluate_one(
            reference.layers(flat.double(), network), coefficients, inputs.double(), network.activation
        )
        plain = plain_forward(flat.to(device), network, inputs.to(device))
        by = partial(plain_forward, network=network, inputs=inputs.double())
        (swings,) = swayed(network, flat, [exact], lambda moved, by=by: [by(moved)])  # type: ignore[misc]
        other = max(error_of(plain, exact), swings)
        case = f"{name_of(network)}, {count} points"
        yield Row(f"evaluate {name}", case, "outputs", error_of(outputs, exact), other, allowed(other))
        # A neuron within rounding of zero may fall to either side.
        near = nearest(flat.double(), network, inputs.double()) < MARGIN["fp32"]
        wrong = ((signatures.cpu() != patterns) & ~near).sum().item()
        yield Row(f"evaluate {name}", case, "signatures", float(wrong), 0.0, 0.0)
        if name == "grid" and "gpu" in package.__name__:
            edges = torch.full((height, width), 7, dtype=torch.uint8, device=device)
            again = torch.full((height, width), -1, device=device)
            package.evaluate_grid(network, *placed, (width, height), 0, outputs.view(shape), again, edges)
            yield Row("evaluate grid", case, "edges", float((edges != edges_of(again)).sum()), 0.0, 0.0)


def validate_rows(network: Network, points: int, package: Alone, device: torch.device, seed: int = 0) -> Iterator[Row]:
    """A validation's three numbers, twice from one room; of packages that validate in one launch."""
    if "gpu" not in package.__name__:
        return
    generator = drawing(points, seed)
    start = drawn(network, None, points, generator, MARGIN["fp32"])
    flat, data = start.parameters[0], torch.cat((start.inputs, random_targets(network, points, generator)))
    made = package.Validation(network, points, device)
    found = []
    for _ in range(2):
        poison(made)
        out, there = torch.full((3,), NAN, device=device), data.to(device)
        package.validate(made, flat.to(device), there[: network.dims[0]], there[network.dims[0] :], out)
        found.append(out.cpu())
    sides = []
    for dtype, place in ((torch.float64, torch.device("cpu")), (torch.float32, device)):
        outputs = plain_forward(flat.to(place, dtype), network, data[: network.dims[0]].to(place, dtype))
        error = plain_loss(outputs, data[network.dims[0] :].to(place, dtype), network)
        sides.append(torch.stack((error, *reference.span(outputs, network.loss))).cpu())
    size = float(sides[0].abs().max())  # what the outputs' errors are of: the lowest may be near zero
    for index, name in enumerate(("error", "lowest", "highest")):
        mine, other = (abs(float(one[index]) - float(sides[0][index])) / size for one in (found[0], sides[1]))
        yield Row("validate", f"{name_of(network)}, {points} points", name, mine, other, allowed(other))
    same = 0.0 if torch.equal(*found) else NAN
    yield Row("validate", f"{name_of(network)}, {points} points", "again", same, 0.0, 0.0)


def update_rows(kind: str, package: Alone, device: torch.device, seed: int = 0) -> Iterator[Row]:
    """Five steps of an optimiser on gradients of many sizes, against the reference's in float64."""
    network, optimizer = Network((2, 9, 1)), Optimizer(kind, 0.01, 0.85)
    generator = drawing(1, seed)
    start = random_parameters(network, generator.initial_seed(), torch.float32)
    ours, moments = start.to(device), torch.zeros((optimizer.moments, network.size), device=device)
    exact, exact_moments = start.double(), torch.zeros((optimizer.moments, network.size), dtype=torch.float64)
    plain, plain_moments = start.clone(), torch.zeros((optimizer.moments, network.size))
    workspace = package.Workspace(network, None, 77, device)
    for step in range(1, 6):
        inputs = points_away(exact, network, 77, generator, MARGIN["fp32"])
        targets = torch.rand((1, 77), generator=generator) * 10.0 ** (step - 3)
        package.gradient(workspace, [ours], None, inputs.to(device), targets.to(device))
        scalars = torch.tensor(optimizer.scalars(step), device=device)
        package.update(workspace, [optimizer], [ours], [moments], scalars, torch.empty(1, device=device))
        for flat, stored in ((exact, exact_moments), (plain, plain_moments)):
            out = torch.empty_like(flat)
            reference.task_gradient(
                reference.layers(flat, network),
                inputs.to(flat),
                targets.to(flat),
                network,
                reference.layers(out, network),
            )
            reference.step(optimizer, flat, out, stored, optimizer.scalars(step), network)
    other = error_of(plain, exact)
    yield Row(f"update {kind}", "five steps", "θ", error_of(ours, exact), other, allowed(other))


def edges_of(signatures: Tensor) -> Tensor:
    """A pixel's edges from the signatures (height, width) around it."""
    edges = torch.zeros_like(signatures, dtype=torch.uint8)
    edges[:, :-1] += RIGHT * (signatures[:, 1:] != signatures[:, :-1])
    edges[:-1] += BELOW * (signatures[1:] != signatures[:-1])
    return edges


def name_of(network: Network) -> str:
    """A network's shape, shortly."""
    widths, loss = network.dims[1:-1], network.loss
    same = len(widths) > 1 and len(set(widths)) == 1
    shape = f"[{widths[0]}]*{len(widths)}" if same else str(list(widths)).replace(" ", "")
    outputs = f" to {network.dims[-1]}" if network.dims[-1] > 1 else ""
    scored = f" {loss.name} by {loss.final} {loss.slope:g}" if loss.final else ""
    bent = "" if network.activation.piecewise_affine else f" {network.activation.name}"
    return shape + outputs + bent + scored
