"""What PyTorch's compiler makes of the plain module, as its user would write the loop: points on the device.

Losses come to the host once an epoch, the optimiser is PyTorch's fused one, nothing but the layout of points in rows
is the original's.
"""

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from benches.baseline import Module, go_on
from benches.contender import CHUNK, Contender
from benches.job import Job


class CompiledModule(Contender):
    """`torch.compile` of the loss of a batch, in one of its modes, and of outputs with signatures."""

    def __init__(self, job: Job, available: int, mode: str) -> None:
        super().__init__(job, job.threads(available))
        torch.set_num_threads(self.threads)
        baseline = job.baseline()
        self._module, weight = baseline.module, baseline.weight
        # Training needs no signatures: the same layers without coefficients.
        silent = Module(job.config.network, self._module.state_dict(), [])
        silent.network = self._module.network
        predictor = baseline.predictor

        def loss(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
            task = nn.functional.mse_loss(silent(inputs)[0], targets)
            if predictor is None:
                return task, task
            flat = torch.cat([parameter.reshape(-1) for parameter in silent.parameters()])
            return task, task + weight * predictor.loss(flat)

        def forward(inputs: Tensor) -> tuple[Tensor, Tensor]:
            found: tuple[Tensor, Tensor] = baseline.module(inputs)
            return found

        self._loss, self._error, self._forward = (compiled(one, mode) for one in (loss, loss, forward))
        trained = [*silent.parameters(), *(predictor.parameters() if predictor else ())]
        self._optimizer = torch.optim.Adam(trained, lr=job.config.learning_rate, fused=True)
        state, device = job.state(), torch.device(job.device)
        go_on(self._optimizer, torch.cat([one.moments[0] for one in state.learners], 1).to(device), state.main.steps)
        self._points = torch.cat(job.training).t().contiguous().to(device)
        self._validation = [one.t().contiguous().to(device) for one in job.validation]
        self._draws = state.generator
        self._rows = self._points[self._batches.to(device)].split(job.batch)

    def epoch(self) -> tuple[float, float]:
        """See `Contender.epoch`."""
        torch.empty((), dtype=torch.int64).random_(generator=self._draws)
        seed = int(torch.empty((), dtype=torch.int64).random_(generator=self._draws).item())
        order = torch.randperm(len(self._points), generator=torch.Generator().manual_seed(seed))
        losses = [self._step(batch) for batch in self._points[order.to(self._points.device)].split(self.job.batch)]
        with torch.no_grad():
            error = self._error(self._validation[0], self._validation[1])[0]
        return float(torch.stack(losses).mean()), float(error)

    def _step(self, batch: Tensor) -> Tensor:
        self._optimizer.zero_grad()
        found: tuple[Tensor, Tensor] = self._loss(batch[:, :2], batch[:, 2:])
        found[1].backward()
        self._optimizer.step()
        # The compiler's own graph writes the next step's loss where this one's is.
        return found[0].detach().clone() if found[0].is_cuda else found[0].detach()

    def steps(self) -> None:
        """See `Contender.steps`."""
        for batch in self._rows:
            self._step(batch)

    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `Contender.evaluate`."""
        with torch.no_grad():
            rows = inputs.t().contiguous().to(self._points.device)
            outputs, signatures = zip(*(self._forward(part) for part in rows.split(CHUNK)), strict=True)
        return torch.cat(outputs).t(), torch.cat(signatures)

    def parameters(self) -> Tensor:
        """See `Contender.parameters`."""
        return torch.cat([one.detach().reshape(-1) for one in self._module.parameters()]).cpu()


def compiled(function: Callable[..., Any], mode: str) -> Callable[..., Any]:
    """Compiled as if no other had been: what the compiler keeps, it keeps by code object, up to a number of them."""
    own = FunctionType(function.__code__.replace(), function.__globals__, function.__name__, None, function.__closure__)
    return torch.compile(own, mode=mode, dynamic=False)
