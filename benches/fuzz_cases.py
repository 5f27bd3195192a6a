"""Cases at random for `fuzz`, each of a seed.

A network, a batch, perhaps a Kolmogorov term, an optimiser, tensors with strides, and now and then something that is
not finite.
"""

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from benches.plain import by_autograd
from draw_poly.engine.model import kolmogorov
from draw_poly.kernels.oracle import (
    MARGIN,
    NAN,
    TooNear,
    points_away,
    random_parameters,
    random_targets,
    weights_away,
)
from draw_poly.kernels.spec import (
    FINAL_ACTIVATIONS,
    KOLMOGOROV_LOSSES,
    OPTIMIZERS,
    RELU2,
    KolmogorovTerm,
    Network,
    Optimizer,
    cross_entropy,
    leaky_relu,
    squared_error,
)

CPU = torch.device("cpu")
RANGES = [(-3.0, 3.0)] * 3 + [(-1.0, 0.5), (0.0, 1e-3), (100.0, 101.0), (-1000.0, -999.5), (4096.0, 4100.0)]


# How near to a bin a parameter may be, in bins: which side of it float32 sees it on must not be open.
BIN_MARGIN = 1e-2


@dataclass
class Case:
    """A network, perhaps with its term, and a batch; `spoilt` says what is not finite, if anything."""

    seed: int
    network: Network
    term: KolmogorovTerm | None
    parameters: list[Tensor]
    positions: Tensor | None
    inputs: Tensor
    targets: Tensor
    optimizer: Optimizer
    coefficients: Tensor
    size: tuple[int, int]  # of a picture, (width, height)
    strided: bool
    spoilt: str = ""

    def __str__(self) -> str:
        term = f", {self.term.loss} of {self.term.bins} bins in {self.term.low}..{self.term.high}" if self.term else ""
        return (
            f"{self.network.dims}, {self.network.activation.name} {self.network.slope}, "
            f"{self.network.loss.name} of {self.network.loss.final}, "
            f"{self.inputs.shape[1]} points{term}, "
            f"{self.optimizer.kind}{', strided' if self.strided else ''}{', ' + self.spoilt if self.spoilt else ''}"
        )

    def given(self, tensor: Tensor) -> Tensor:
        """A tensor as the kernels get it: with gaps in between, if this case is strided."""
        if not self.strided:
            return tensor
        room = torch.full((*tensor.shape[:-1], 2 * tensor.shape[-1]), 7, dtype=tensor.dtype)
        room[..., ::2] = tensor
        return room[..., ::2]

    def by_pytorch(self, dtype: torch.dtype, flat: Tensor | None = None) -> list[Tensor]:
        """Losses, then gradients; `flat`, if given, takes the place of the network's parameters."""
        parameters = self.parameters if flat is None else [flat, *self.parameters[1:]]
        return by_autograd(parameters, self.network, self.inputs, self.targets, self.positions, self.term, dtype, CPU)


def draw(seed: int, small: bool) -> Case:
    """The case of a seed; `small` is what an interpreter can."""
    for attempt in range(seed, seed + 100):
        try:
            return _drawn(seed, random.Random(attempt), torch.Generator().manual_seed(attempt), small)
        except TooNear:  # a neuron is near zero wherever one looks: another network will do
            continue
    raise TooNear(f"nothing can be drawn from seed {seed}")


def _drawn(seed: int, chance: random.Random, generator: torch.Generator, small: bool) -> Case:
    low, high = chance.choice(RANGES)
    far = max(abs(low), abs(high)) > 10
    depth = 1 if far else chance.choice([1, 2, 2, 3, 3, 4] + [11] * (not small or not seed % 8))
    widest = chance.choice([3, 8, 12, 20, 40])
    hidden = [chance.randint(1, widest) for _ in range(depth)]
    if chance.random() < 0.4:
        hidden = hidden[:1] * depth
    slope = chance.choice([0.01, 0.01, 0.01, 0.0, 0.2, 1.0, chance.uniform(1e-3, 1)])
    bent = RELU2 if depth < 5 and seed % 7 == 3 else leaky_relu(slope)  # more of them overflow
    loss_of_task = chance.choice([squared_error(), squared_error(), *map(cross_entropy, FINAL_ACTIVATIONS)])
    network = Network((2, *hidden, chance.choice([1, 1, 2, 3])), bent, loss_of_task)
    points = chance.choice([1, 2, 15, 16, 17, 32, 33, chance.randint(1, 70), 65 if small else chance.randint(70, 1500)])
    parameters, term, positions = [random_parameters(network, seed, torch.float32)], None, None
    if chance.random() < 0.5:
        bins = chance.choice([2, 3, 9, 10, 11, 64, 65, 120 if small else 1025])
        loss = chance.choice(["cross_entropy", *KOLMOGOROV_LOSSES])
        predictor = Network(
            (3, *(chance.randint(1, 9) for _ in range(chance.choice([1, 2]))), KolmogorovTerm.outputs(loss, bins))
        )
        term = KolmogorovTerm(predictor, loss, chance.choice([0.05, 1.0]), bins, low, high)
        positions = kolmogorov.positions(network)
        parameters.append(random_parameters(predictor, seed + 1, torch.float32))
        if loss == "cross_entropy":
            parameters[0] = _off_bins(parameters[0], term, far, generator)
        parameters[0] = weights_away(parameters[0], parameters[1], positions, term, MARGIN["fp32"])
    inputs = points_away(parameters[0], network, points, generator, margin(parameters[0]))
    targets = random_targets(network, points, generator)
    # Parameters of thousands make gradients of millions.
    optimizer = Optimizer(
        chance.choice(list(OPTIMIZERS)), 1e-12 if far else chance.choice([1e-3, 0.05]), 0.85,
        weight_decay=chance.choice([0.0, 0.1]), amsgrad=chance.random() < 0.3,
        grad_clip_norm=chance.choice([None, None, 0.1, 10.0]),
    )  # fmt: skip
    coefficients = torch.randint(1, 2**31 - 1, (network.neurons,), generator=generator)
    size = (chance.randint(1, 20), chance.randint(1, 9)) if small else (chance.randint(1, 400), chance.randint(1, 200))
    case = Case(
        seed, network, term, parameters, positions, inputs, targets, optimizer, coefficients, size,
        chance.random() < 0.3,
    )  # fmt: skip
    if chance.random() < 0.3:
        _spoil(case, chance)
    return case


def margin(flat: Tensor) -> float:
    """How near to zero a neuron may be."""
    return MARGIN["fp32"] * max(1.0, float(flat.abs().max()))


def _off_bins(flat: Tensor, term: KolmogorovTerm, far: bool, generator: torch.Generator) -> Tensor:
    """Parameters, around the clip range if that is far from zero, none of them near a bin."""
    span = term.high - term.low
    for _ in range(100):
        center = (flat.double() - term.low) / span * (term.bins - 1)
        beside = (center - center.round()).abs() < BIN_MARGIN
        strange = (center > -0.5) & (center < term.bins - 0.5) & beside
        if far:
            strange |= (center < -term.bins) | (center > 2 * term.bins)
        if not strange.any():
            return flat
        fresh = torch.rand(flat.shape, generator=generator, dtype=torch.float64) * 1.4 - 0.2
        flat = torch.where(strange, term.low + fresh * span, flat).float()
    return torch.where(strange, term.low - span, flat).float()


def _spoil(case: Case, chance: random.Random) -> None:
    tensors = {"a parameter": case.parameters[0], "an input": case.inputs}
    if not case.network.loss.labelled:  # a class is a number, whatever else is not
        tensors["a target"] = case.targets
    if case.term:
        tensors["a parameter of the predictor"] = case.parameters[1]
    name = chance.choice(list(tensors))
    flat = tensors[name].view(-1)
    value, place = chance.choice([float("inf"), -float("inf"), NAN]), chance.randrange(len(flat))
    flat[place] = value
    case.spoilt = f"{name} ({place}) is {value}"
