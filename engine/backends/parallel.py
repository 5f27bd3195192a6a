"""Any backend's gradient, shared out among processes: each takes a part of every batch, and all take one step."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from draw_poly.engine.backends.base import Backend, Data, Interrupted, flushing
from draw_poly.engine.processes import Group
from draw_poly.kernels import reference


class Parallel(Backend):
    """Trains a backend's state together with the other processes of a group, who hold the same one.

    A process that has m of a batch's n points counts m / n, with its gradient of both losses. These shares add up to
    one, so the sum is the gradient of the task loss on the whole batch, and of the Kolmogorov term, which is the same
    in every process. One to whom a short batch leaves no point counts nothing.
    """

    def __init__(self, inner: Backend, group: Group) -> None:
        super().__init__(inner.state, inner.config)
        self.name, self.shares_work = inner.name, inner.shares_work
        self._inner, self._group = inner, group
        sizes = [learner.network.size for learner in self.state.learners]
        # What one all-reduce adds up: gradients, losses, and whether a process was asked to stop.
        self._sums = torch.zeros(sum(sizes) + len(sizes) + 1, device=self.device)
        *self._gradients, self._losses, self._stop = self._sums.split([*sizes, len(sizes), 1])

    @flushing
    def epoch(self, data: Data, order: Tensor, interrupted: Callable[[], bool]) -> Tensor:
        """See `Backend.epoch`. All processes raise Interrupted at the same step, whichever was interrupted.

        Raises Lost where another process is gone.
        """
        batches = data.training.index_select(1, order.to(self.device)).split(data.batch_size, 1)
        losses = torch.empty((data.steps, len(self._gradients)), device=self.device)
        for step, (batch, scalars) in enumerate(zip(batches, self._step_numbers(data.steps), strict=True)):
            self._share(batch)
            self._stop.fill_(interrupted())
            self._group.add_up(self._sums)
            if self._stop.item():
                raise Interrupted
            for index, (learner, gradient) in enumerate(zip(self.state.learners, self._gradients, strict=True)):
                pair = scalars[2 * index : 2 * index + 2]
                reference.update(learner.optimizer, learner.parameters, gradient, learner.moments, pair)
                learner.steps += 1
            losses[step] = self._losses
        return torch.cat((losses.view(-1), self._inner._validate(data)))

    def _share(self, batch: Tensor) -> None:
        """This process's part of the sums over a batch (3, n)."""
        points, rank, size = batch.shape[1], self._group.rank, self._group.size
        part = batch[:, rank * points // size : (rank + 1) * points // size]
        if not part.shape[1]:
            self._sums.zero_()
            return
        self._inner.gradient(part[:2], part[2:], self._gradients, self._losses)
        self._sums.mul_(part.shape[1] / points)

    def gradient(self, inputs: Tensor, targets: Tensor, gradients: Sequence[Tensor], losses: Tensor) -> None:
        """See `Backend.gradient`: this process's own."""
        self._inner.gradient(inputs, targets, gradients, losses)

    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `Backend.evaluate`."""
        return self._inner.evaluate(inputs)
