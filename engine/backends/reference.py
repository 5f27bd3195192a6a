"""The reference as it stands, a step at a call."""

from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from draw_poly.engine.backends.base import (
    Backend,
    Data,
    Interrupted,
    Member,
    Report,
    Scalars,
    Trained,
    flushing,
    never,
    side_by_side,
)
from draw_poly.engine.config import Config
from draw_poly.engine.model.state import State
from draw_poly.kernels import reference


class Stepwise(Backend):
    """A backend that takes one step at a call."""

    @abstractmethod
    def scalars(self, steps: int) -> Sequence[Sequence[Scalars]]:
        """What the optimisers need to know of each network's next steps; made once an epoch."""

    @abstractmethod
    def step(self, member: Member, inputs: Tensor, targets: Tensor, scalars: Scalars) -> list[Tensor]:
        """One network's step on a batch (2, n), (targets, n); returns task loss, and Kolmogorov loss if it is on."""

    @flushing
    def visit(self, data: Data, orders: NDArray[np.int64], interrupted: Callable[[], bool]) -> Report:
        """See `Backend.visit`."""
        if interrupted():
            raise Interrupted
        rows, kept = [], []
        for order in np.moveaxis(orders, 1, 0):
            rows.append(self._epoch(data, torch.from_numpy(order), interrupted if orders.shape[1] == 1 else never))
            kept.append(torch.cat([one.parameters for one in self.state.learners], 1))
        numbers, parameters = torch.stack(rows, 1), torch.stack(kept, 1)
        return lambda: Trained(numbers.cpu().numpy(), parameters.cpu().numpy())

    def _epoch(self, data: Data, order: Tensor, interrupted: Callable[[], bool]) -> Tensor:
        """An epoch in this order (networks, n), and its numbers (networks, …)."""
        placed, scalars = order.to(self.device), self.scalars(data.steps)
        batches = [
            points.index_select(1, places).split(data.batch_size, 1)
            for points, places in zip(data.training, placed, strict=True)
        ]
        losses: list[list[Tensor]] = [[] for _ in self._members]
        for step in range(data.steps):
            if step and interrupted():
                raise Interrupted
            for index, member in enumerate(self._members):
                batch = batches[index][step]
                losses[index] += self.step(member, batch[:2], batch[2:], scalars[index][step])
            for learner in self.state.learners:
                learner.steps += 1
        return torch.cat((torch.stack([torch.stack(row) for row in losses]), self._validate(data)), 1)


class Eager(Stepwise):
    """The reference as it stands."""

    name = "eager"

    def __init__(self, state: State, config: Config, weights: Sequence[float] | None = None) -> None:
        super().__init__(state, config, weights)
        # Of one network, whichever is differentiated.
        self._gradients = [torch.empty_like(flat) for flat in self._members[0].parameters]
        self._out = [
            reference.layers(gradient, learner.network)
            for gradient, learner in zip(self._gradients, state.learners, strict=True)
        ]
        # By points: the last batch of an epoch may be short.
        self._memory: dict[int, reference.Memory] = {}

    def scalars(self, steps: int) -> Sequence[Sequence[Scalars]]:
        """Python numbers: they reach an operation without a tensor of their own."""
        rows: list[list[list[float]]] = self._step_numbers(steps).tolist()
        return rows

    def step(self, member: Member, inputs: Tensor, targets: Tensor, scalars: Scalars) -> list[Tensor]:
        """See `Stepwise.step`."""
        losses = self._differentiate(member, inputs, targets)
        reference.update_one(
            self.state.optimizers, member.parameters, member.moments, self._gradients, scalars, self.networks
        )
        return losses

    @flushing
    def gradient(self, inputs: Tensor, targets: Tensor, gradients: Sequence[Tensor], losses: Tensor) -> None:
        """See `Backend.gradient`."""
        for index, member in enumerate(self._members):
            torch.stack(self._differentiate(member, inputs[index], targets[index]), out=losses[index])
            for wanted, ours in zip(gradients, self._gradients, strict=True):
                wanted[index].copy_(ours)

    def _differentiate(self, member: Member, inputs: Tensor, targets: Tensor) -> list[Tensor]:
        """The losses of a network's batch; their gradients are in `_gradients` then."""
        points, network = inputs.shape[1], self.state.main.network
        memory = self._memory.get(points)
        if memory is None:
            memory = self._memory[points] = reference.Memory.like(member.stacks[0], points)
        losses, addition = reference.differentiate(
            network, self.term, member.stacks, member.parameters[0], self.positions, inputs, targets, self._out, memory
        )
        reference.weigh(member.share, self._gradients, addition)
        return losses

    @flushing
    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `Backend.evaluate`."""
        activation, coefficients = self.state.main.network.activation, self.state.coefficients
        trios = zip(self._members, coefficients, inputs, strict=True)
        return side_by_side(
            [reference.evaluate_one(one.stacks[0], terms, points, activation) for one, terms, points in trios]
        )
