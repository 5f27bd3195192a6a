"""The plain backends' rows of `benches.verify`: their losses, gradients, outputs and signatures against float64.

A gradient is read where it arrives unchanged: momentum's vector after its first step.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from benches.plain import by_autograd, plain_forward
from benches.verify_kernels import Row, name_of
from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.base import Backend, Data, never
from draw_poly.engine.config import Config, ConfigError
from draw_poly.engine.model import kolmogorov
from draw_poly.engine.training.fresh import fresh_state
from draw_poly.kernels import reference
from draw_poly.kernels.oracle import MARGIN, allowed, error_of, nearest, points_away, random_parameters

NAMES = ("eager", "compile")
# Shape, points, bins or no term: the main job, ragged batches, one neuron, deep, wide; bins fewer than a window has.
CASES: list[tuple[str, int, int | None]] = [
    ("[10]*8", 1024, None), ("[10]*8", 904, 256), ("[7,12,5]", 333, 11), ("[7,12,5]", 65, 7), ("[1]", 1, None),
    ("[5]*40", 65, None), ("[64]*4", 252, None), ("[300]", 63, None),
]  # fmt: skip
# Each case takes the compiler seconds.
COMPILED_CASES = 3


def rows(name: str, device: torch.device) -> Iterator[Row]:
    """A backend's rows; none where it does not run."""
    for shape, points, bins in CASES[: COMPILED_CASES if name == "compile" else None]:
        words: dict[str, Any] = (
            {"kolmogorov_shape": "[8, 5]", "kolmogorov_weight": 0.7, "kolmogorov_bins": bins} if bins else {}
        )
        config = Config(
            "none", shape, 1, optimizer="sgd_momentum", points=points, batch_size=points, backend=name, **words
        )
        try:
            chosen, _ = backend.choose(config, device)
        except ConfigError:
            return
        yield from _rows(chosen, config, points, device)


def _rows(chosen: type[Backend], config: Config, points: int, device: torch.device) -> Iterator[Row]:
    network, term = config.network, config.kolmogorov_term
    generator = torch.Generator().manual_seed(points)
    state = fresh_state(config, torch.Generator().manual_seed(points))
    for number, learner in enumerate(state.learners):
        learner.parameters[0].copy_(random_parameters(learner.network, points + number, torch.float32))
    parameters = [learner.parameters[0].clone() for learner in state.learners]
    inputs = points_away(parameters[0], network, points, generator, MARGIN["fp32"])
    targets = torch.rand((1, points), generator=generator)
    positions = kolmogorov.positions(network) if term else None
    cpu = torch.device("cpu")
    exact = by_autograd(parameters, network, inputs, targets, positions, term, torch.float64, cpu)
    plain = by_autograd(parameters, network, inputs, targets, positions, term, torch.float32, device)

    made = chosen(state.to(device), config)
    case = f"{name_of(network)}, {points} points" + (f", {term.loss} {term.bins}" if term else "")
    with torch.inference_mode():
        outputs, signatures = (one[0].cpu() for one in made.evaluate(inputs[None].to(device)))
        points_of = torch.cat((inputs, targets))[None].to(device)
        report = made.visit(Data(points_of, points_of, points), np.arange(points)[None, None], never)
    losses = torch.from_numpy(report().numbers)[0, 0, : len(parameters)]
    found = [*losses.unbind(0), *(learner.moments[0, 0].cpu() for learner in made.state.learners)]
    names = ["task loss", "Kolmogorov loss"][: len(parameters)] + ["∂θ", "∂φ"][: len(parameters)]
    for name, ours, truth, theirs in zip(names, found, exact, plain, strict=True):
        other = error_of(theirs, truth)
        yield Row("gradient fp32", case, name, error_of(ours, truth), other, allowed(other))

    flat, stack = parameters[0], reference.layers(parameters[0].double(), network)
    truth, patterns = reference.evaluate_one(stack, state.coefficients[0], inputs.double(), network.activation)
    other = error_of(plain_forward(flat, network, inputs), truth)
    yield Row("evaluate points", case, "outputs", error_of(outputs, truth), other, allowed(other))
    near = nearest(flat.double(), network, inputs.double()) < MARGIN["fp32"]
    wrong = float(((signatures != patterns) & ~near).sum())
    yield Row("evaluate points", case, "signatures", wrong, 0.0, 0.0)
