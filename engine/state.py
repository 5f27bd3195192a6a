"""All that training changes, as flat tensors: what a checkpoint holds and an interrupted epoch goes back to."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.spec import Network, Optimizer


@dataclass
class Learner:
    """A network in training. `parameters` (P,), `moments` (count, P); `steps` taken with these moments."""

    network: Network
    optimizer: Optimizer
    parameters: Tensor
    moments: Tensor
    steps: int = 0

    @staticmethod
    def fresh(network: Network, optimizer: Optimizer, parameters: Tensor) -> "Learner":
        """One that has not taken a step: its moments are zero."""
        moments = torch.zeros((optimizer.moments, network.size), dtype=parameters.dtype, device=parameters.device)
        return Learner(network, optimizer, parameters, moments)

    def to(self, device: torch.device) -> "Learner":
        """The same on a device."""
        return Learner(self.network, self.optimizer, self.parameters.to(device), self.moments.to(device), self.steps)


@dataclass
class State:
    """A run between two epochs. `draws` is on the CPU whatever the device, `epoch` counts finished epochs."""

    main: Learner
    predictor: Learner | None
    coefficients: Tensor  # (neurons,) int64
    draws: torch.Generator
    epoch: int = 0

    def to(self, device: torch.device) -> "State":
        """The same on a device."""
        predictor = None if self.predictor is None else self.predictor.to(device)
        return State(self.main.to(device), predictor, self.coefficients.to(device), self.draws, self.epoch)

    @property
    def learners(self) -> list[Learner]:
        """The networks that are trained."""
        return [self.main] if self.predictor is None else [self.main, self.predictor]


class Snapshot:
    """A copy of a state's numbers, made before each epoch, to go back to where the epoch does not finish."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._copies = [(learner.parameters.clone(), learner.moments.clone()) for learner in state.learners]
        self.take()

    def take(self) -> None:
        """Copies the state's numbers."""
        state = self._state
        self._epoch, self._draws = state.epoch, state.draws.get_state()
        self._steps = [learner.steps for learner in state.learners]
        for (parameters, moments), learner in zip(self._copies, state.learners, strict=True):
            parameters.copy_(learner.parameters)
            moments.copy_(learner.moments)

    def restore(self) -> None:
        """Puts the copied numbers back, in place."""
        state = self._state
        state.epoch = self._epoch
        state.draws.set_state(self._draws)
        for (parameters, moments), learner, steps in zip(self._copies, state.learners, self._steps, strict=True):
            learner.parameters.copy_(parameters)
            learner.moments.copy_(moments)
            learner.steps = steps
