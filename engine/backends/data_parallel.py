"""Any backend's gradient, shared out among processes: each takes a part of every batch, and all take one step."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from draw_poly.engine.backends.base import Backend, Data, Interrupted, Report, Trained, flushing
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
        self.name, self.variant, self.shares_work = inner.name, inner.variant, inner.shares_work
        self._inner, self._group = inner, group
        networks = self.state.networks
        shapes = [learner.parameters.shape for learner in self.state.learners]
        sizes = [shape.numel() for shape in shapes]
        # What one all-reduce adds up: gradients, losses, and whether a process was asked to stop.
        self._sums = torch.zeros(sum(sizes) + networks * len(sizes) + 1, device=self.device)
        *gradients, losses, self._stop = self._sums.split([*sizes, networks * len(sizes), 1])
        self._gradients = [part.view(shape) for part, shape in zip(gradients, shapes, strict=True)]
        self._losses = losses.view(networks, -1)

    @flushing
    def visit(self, data: Data, orders: NDArray[np.int64], interrupted: Callable[[], bool]) -> Report:
        """See `Backend.visit`. All processes raise Interrupted at the same step, whichever was interrupted.

        Raises Lost where another process is gone.
        """
        places, numbers = torch.from_numpy(orders[:, 0]).to(self.device), self._step_numbers(data.steps).tolist()
        pairs = zip(data.training, places, strict=True)
        points = torch.stack([one.index_select(1, places) for one, places in pairs])
        losses = torch.empty((self.state.networks, data.steps, len(self._gradients)), device=self.device)
        for step, batch in enumerate(points.split(data.batch_size, 2)):
            self._share(batch)
            self._stop.fill_(interrupted())
            self._group.all_reduce(self._sums)
            if self._stop.item():
                raise Interrupted
            for index, member in enumerate(self._members):
                gradients, scalars = [gradient[index] for gradient in self._gradients], numbers[index][step]
                reference.update_one(
                    self.state.optimizers, member.parameters, member.moments, gradients, scalars, self.networks
                )
            for learner in self.state.learners:
                learner.steps += 1
            losses[:, step] = self._losses
        found = torch.cat((losses.flatten(1), self._inner._validate(data)), 1)
        kept = torch.cat([one.parameters for one in self.state.learners], 1)
        return lambda: Trained(found[:, None].cpu().numpy(), kept[:, None].cpu().numpy())

    def most_epochs(self, data: Data) -> int:
        """See `Backend.most_epochs`: whoever is asked to stop tells the others with the next step."""
        return 1

    def _share(self, batch: Tensor) -> None:
        """This process's part of the sums over a batch (networks, 2 + targets, n)."""
        points, rank, size = batch.shape[-1], self._group.rank, self._group.size
        part = batch[..., rank * points // size : (rank + 1) * points // size]
        if not part.shape[-1]:
            self._sums.zero_()
            return
        self._inner.gradient(part[:, :2], part[:, 2:], self._gradients, self._losses)
        self._sums.mul_(part.shape[-1] / points)

    def gradient(self, inputs: Tensor, targets: Tensor, gradients: Sequence[Tensor], losses: Tensor) -> None:
        """See `Backend.gradient`: this process's own."""
        self._inner.gradient(inputs, targets, gradients, losses)

    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `Backend.evaluate`."""
        return self._inner.evaluate(inputs)
