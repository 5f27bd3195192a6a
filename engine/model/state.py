"""All that training changes, as flat tensors of a population: networks of one shape. A run is a population of one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from draw_poly.engine.training.one_thread import one_thread
from draw_poly.kernels.spec import Network, Optimizer


@dataclass
class Learner:
    """Networks in training; `steps` taken with these moments.

    Where networks differ in what `Optimizer.scalars` hold, each one's optimiser is in `own`.
    """

    network: Network
    optimizer: Optimizer
    parameters: Tensor  # (networks, P)
    moments: Tensor  # (networks, count, P)
    steps: int = 0
    own: Sequence[Optimizer] = ()

    @staticmethod
    def fresh(network: Network, optimizer: Optimizer, parameters: Tensor) -> "Learner":
        """One of these parameters (networks, P) that has not taken a step: its moments are zero."""
        moments = parameters.new_zeros((len(parameters), optimizer.moments, network.size))
        return Learner(network, optimizer, parameters, moments)

    def switched(self, optimizer: Optimizer) -> "Learner":
        """The same with another optimiser, and of its moments those that mean the same; else all are fresh.

        Its schedule goes on from where it stood, unless its rate is another.
        """
        if optimizer.learning_rate == self.optimizer.learning_rate:
            optimizer = replace(optimizer, schedule=optimizer.schedule.going_on(self.optimizer.schedule))
        made = Learner.fresh(self.network, optimizer, self.parameters)
        if optimizer.keeps(self.optimizer):
            for index, names in enumerate(optimizer.rows):
                if names in self.optimizer.rows:
                    made.moments[:, index] = self.moments[:, self.optimizer.rows.index(names)]
            made.steps = self.steps
        return made

    def heed(self, losses: Sequence[float]) -> None:
        """Tells each network's optimiser what an epoch came to."""
        self.own = tuple(one.after(loss) for one, loss in zip(self.own, losses, strict=False))
        self.optimizer = self.own[0] if self.own else self.optimizer.after(losses[0])

    def to(self, device: torch.device) -> "Learner":
        """The same on a device."""
        return replace(self, parameters=self.parameters.to(device), moments=self.moments.to(device))

    def clone(self) -> "Learner":
        """A copy."""
        return replace(self, parameters=self.parameters.clone(), moments=self.moments.clone())

    def of(self, index: int) -> "Learner":
        """One of the networks, as a view."""
        part, optimizer = slice(index, index + 1), self.own[index] if self.own else self.optimizer
        return Learner(self.network, optimizer, self.parameters[part], self.moments[part], self.steps)


@dataclass
class State:
    """A population between two epochs. `draws` is on the CPU whatever the device, `epoch` counts finished epochs."""

    main: Learner
    predictor: Learner | None
    coefficients: Tensor  # (networks, neurons) int64
    generator: torch.Generator
    epoch: int = 0

    @staticmethod
    def made(learners: Sequence[Learner], coefficients: Tensor, generator: torch.Generator, epoch: int = 0) -> "State":
        """Of the main network and, if there is one, its predictor."""
        return State(learners[0], learners[1] if len(learners) > 1 else None, coefficients, generator, epoch)

    def to(self, device: torch.device) -> "State":
        """The same on a device."""
        learners = [one.to(device) for one in self.learners]
        return State.made(learners, self.coefficients.to(device), self.generator, self.epoch)

    def clone(self) -> "State":
        """A copy that shares the generator."""
        return State.made([one.clone() for one in self.learners], self.coefficients.clone(), self.generator, self.epoch)

    def of(self, index: int, generator: torch.Generator) -> "State":
        """That of one of the networks, whose generator this is, as a view."""
        learners = [one.of(index) for one in self.learners]
        return State.made(learners, self.coefficients[index : index + 1], generator, self.epoch)

    @property
    def networks(self) -> int:
        """How many networks are trained side by side."""
        return len(self.main.parameters)

    @property
    def learners(self) -> list[Learner]:
        """The networks that are trained."""
        return [self.main] if self.predictor is None else [self.main, self.predictor]

    @property
    def optimizers(self) -> list[Optimizer]:
        """Their optimisers."""
        return [one.optimizer for one in self.learners]


class Snapshot:
    """A copy of a state in host memory: what a run saves that ends within an epoch, or whose device is lost."""

    def __init__(self, state: State) -> None:
        self._source = state
        # Two, since the device may be lost while one is written.
        self._last, self._next = (_host_memory_for(state) for _ in range(2))
        self._copied = torch.cuda.Event() if state.coefficients.is_cuda else None
        self.take()
        self.keep()

    def take(self) -> None:
        """Has the state copied as it is now, or will be once the device has done what it was asked to by now."""
        source, copy = self._source, self._next
        with one_thread():
            for ours, theirs in zip(copy.learners, source.learners, strict=True):
                ours.parameters.copy_(theirs.parameters, non_blocking=True)
                ours.moments.copy_(theirs.moments, non_blocking=True)
                ours.steps = theirs.steps
        if self._copied:
            self._copied.record()
        copy.generator.set_state(source.generator.get_state())
        copy.epoch = source.epoch

    def keep(self) -> None:
        """Waits for the copy that was taken, which is `state` from now on, with the optimisers as they are by then."""
        for ours, theirs in zip(self._next.learners, self._source.learners, strict=True):
            ours.optimizer, ours.own = theirs.optimizer, theirs.own
        if self._copied:
            self._copied.synchronize()
        self._last, self._next = self._next, self._last

    def state(self) -> State:
        """The state as it was kept last; the `take` after the next `keep` writes over it."""
        return self._last

    def restore(self) -> None:
        """Has the state be as it was kept last."""
        source, kept = self._source, self._last
        for ours, theirs in zip(kept.learners, source.learners, strict=True):
            theirs.parameters.copy_(ours.parameters)
            theirs.moments.copy_(ours.moments)
            theirs.steps, theirs.optimizer, theirs.own = ours.steps, ours.optimizer, ours.own
        source.generator.set_state(kept.generator.get_state())
        source.epoch = kept.epoch


def _host_memory_for(state: State) -> State:
    """A state of this one's sizes on the CPU, its numbers still to be copied."""
    pinned = state.coefficients.is_cuda  # copies to such memory are all waited for at once
    learners = [
        replace(
            one,
            parameters=torch.empty(one.parameters.shape, pin_memory=pinned),
            moments=torch.empty(one.moments.shape, pin_memory=pinned),
        )
        for one in state.learners
    ]
    return State.made(learners, state.coefficients.to("cpu", copy=True), torch.Generator())
