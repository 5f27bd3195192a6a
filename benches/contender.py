"""What is asked of whoever is measured."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from benches.job import Job

# Steps in one call where steps alone are timed: so many points, in whole batches; an epoch of a picture of 256 x 256.
STEP_POINTS = 2**16
# Points evaluated at once by who does not divide them himself: their activations stay in a core's cache.
CHUNK = 2**16


class Contender(ABC):
    """Trains one state of a job, on as many of torch's threads as `threads` says."""

    def __init__(self, job: Job, threads: int) -> None:
        self.job = job
        self.threads = threads
        count = max(1, STEP_POINTS // job.batch)
        self.steps_a_call = count
        whole = max(1, job.points // job.batch) * min(job.batch, job.points)
        self._batches = torch.arange(whole).repeat(-(-count * job.batch // whole))[: count * job.batch]

    @abstractmethod
    def epoch(self) -> tuple[float, float]:
        """One epoch: its order drawn, its steps, its validation. Returns mean task loss and validation error."""

    @abstractmethod
    def steps(self) -> None:
        """`steps_a_call` steps on whole batches, nothing else."""

    @abstractmethod
    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (1, n) and int64 signatures (n,) at coordinates (2, n), wherever these are."""

    @abstractmethod
    def parameters(self) -> Tensor:
        """The network's parameters (P,), flat, on the CPU."""


def in_chunks(evaluate: Callable[[Tensor], tuple[Tensor, Tensor]], inputs: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """Outputs and signatures, so many points at once."""
    if inputs.shape[1] <= chunk:
        return evaluate(inputs)
    outputs, signatures = zip(*(evaluate(part) for part in inputs.split(chunk, 1)), strict=True)
    return torch.cat(outputs, 1), torch.cat(signatures)
