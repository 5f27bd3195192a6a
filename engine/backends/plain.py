"""The reference as it stands, a step at a call."""

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from draw_poly.engine.backends.base import Backend, Data, Interrupted, Scalars, flushing
from draw_poly.engine.config import Config
from draw_poly.engine.state import State
from draw_poly.kernels import reference
from draw_poly.kernels.spec import CodeLength


class Stepwise(Backend):
    """A backend that takes one step at a call."""

    @abstractmethod
    def scalars(self, steps: int) -> Sequence[Scalars]:
        """What the optimisers need to know of each of the next steps; made once an epoch."""

    @abstractmethod
    def step(self, inputs: Tensor, targets: Tensor, scalars: Scalars) -> list[Tensor]:
        """One step on a batch (2, points), (1, points); returns task loss, and Kolmogorov loss if it is on."""

    @flushing
    def epoch(self, data: Data, order: Tensor, interrupted: Callable[[], bool]) -> Tensor:
        """See `Backend.epoch`."""
        points = data.training.index_select(1, order.to(self.device))
        inputs, targets = points[:2].split(data.batch_size, 1), points[2:].split(data.batch_size, 1)
        losses: list[Tensor] = []
        for batch, values, row in zip(inputs, targets, self.scalars(data.steps), strict=True):
            if interrupted():
                raise Interrupted
            losses += self.step(batch, values, row)
            for learner in self.state.learners:
                learner.steps += 1
        return torch.cat((torch.stack(losses), self._validate(data)))


class Eager(Stepwise):
    """The reference as it stands."""

    name = "eager"

    def __init__(self, state: State, config: Config) -> None:
        super().__init__(state, config)
        self._gradients = [torch.empty_like(learner.parameters) for learner in state.learners]
        self._gradient_stacks = [
            reference.layers(gradient, learner.network)
            for gradient, learner in zip(self._gradients, state.learners, strict=True)
        ]
        # By points: the last batch of an epoch may be short.
        self._memory: dict[int, reference.Memory] = {}

    def scalars(self, steps: int) -> Sequence[Scalars]:
        """Python numbers: they reach an operation without a tensor of their own."""
        return self._step_numbers(steps)

    def step(self, inputs: Tensor, targets: Tensor, scalars: Scalars) -> list[Tensor]:
        """See `Stepwise.step`."""
        losses = self._differentiate(inputs, targets)
        update(self.state, self._gradients, scalars)
        return losses

    @flushing
    def gradient(self, inputs: Tensor, targets: Tensor, gradients: Sequence[Tensor], losses: Tensor) -> None:
        """See `Backend.gradient`."""
        torch.stack(self._differentiate(inputs, targets), out=losses)
        for wanted, ours in zip(gradients, self._gradients, strict=True):
            wanted.copy_(ours)

    def _differentiate(self, inputs: Tensor, targets: Tensor) -> list[Tensor]:
        """The losses of a batch; their gradients are in `_gradients` then."""
        points = inputs.shape[1]
        memory = self._memory.get(points)
        if memory is None:
            memory = self._memory[points] = reference.Memory.like(self._stacks[0], points)
        losses, addition = differentiate(
            self.state, self.code, self.positions, self._stacks, self._gradient_stacks, inputs, targets, memory
        )
        weigh(self.state, self.code, self._gradients, addition)
        return losses

    @flushing
    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `Backend.evaluate`."""
        return reference.evaluate(self._stacks[0], self.state.coefficients, inputs, self.state.main.network.activation)


def differentiate(
    state: State,
    code: CodeLength | None,
    positions: Tensor | None,
    stacks: Sequence[Sequence[reference.Layer]],
    out: Sequence[Sequence[reference.Layer]],
    inputs: Tensor,
    targets: Tensor,
    memory: reference.Memory | None = None,
) -> tuple[list[Tensor], Tensor | None]:
    """The losses, and the term's gradient of the network's parameters; writes the other gradients into `out`."""
    main = state.main
    losses = [reference.task_gradient(stacks[0], inputs, targets, main.network.activation, out[0], memory)]
    if code is None or positions is None:
        return losses, None
    total, addition = reference.code_gradient(main.parameters, stacks[1], positions, code, out[1])
    return [*losses, total * (1.0 / main.network.size)], addition


def weigh(state: State, code: CodeLength | None, gradients: Sequence[Tensor], addition: Tensor | None) -> None:
    """Makes the two losses' gradients that of their weighted sum, in place."""
    if code is not None and addition is not None:
        share = code.weight / state.main.network.size
        gradients[0].add_(addition, alpha=share)
        gradients[1].mul_(share)


def update(state: State, gradients: Sequence[Tensor], scalars: Scalars) -> None:
    """A step of every learner's optimiser, in place."""
    for index, learner in enumerate(state.learners):
        pair = scalars[2 * index : 2 * index + 2]
        reference.update(learner.optimizer, learner.parameters, gradients[index], learner.moments, pair)
