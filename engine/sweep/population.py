"""Runs of one shape side by side: a visit trains epochs of all of them in the same launches."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from draw_poly.engine.backends.base import Backend, Data, Interrupted
from draw_poly.engine.model.state import Learner, Snapshot, State
from draw_poly.engine.processes import ALONE
from draw_poly.engine.training.orders import Orders
from draw_poly.engine.training.pace import most_epochs
from draw_poly.engine.training.setup import Setup
from draw_poly.engine.training.trainer import Epochs, epochs_of, heed

# Bytes of a visit's orders, numbers and parameters, of all members.
MEMORY = 2**26


class Population:
    """Members of one shape, batch size, number of points and kinds of optimiser, all at the same epoch.

    What a member computes does not depend on the others, nor on how many there are.
    """

    def __init__(self, setups: Sequence[Setup], device: torch.device, kind: type[Backend]) -> None:
        self._device, self._kind = device, kind
        self._begin(setups)

    def _begin(self, setups: Sequence[Setup]) -> None:
        self._setups = list(setups)
        first, states = setups[0], [one.state for one in setups]
        learners = [_side_by_side(parts) for parts in zip(*(one.learners for one in states), strict=True)]
        coefficients = torch.cat([one.coefficients for one in states])
        self._state = State.made(learners, coefficients, torch.Generator(), states[0].epoch).to(self._device)
        self._generators = [one.generator for one in states]
        self._weights = [one.config.kolmogorov_weight for one in setups]
        self.backend = self._kind(self._state, first.config, self._weights)
        points = [[torch.cat(part) for part in (one.training, one.validation)] for one in setups]
        training, validation = (torch.stack(parts).to(self._device) for parts in zip(*points, strict=True))
        count = training.shape[2]
        self._data = Data(training, validation, min(first.config.batch_size, count))
        self._orders = Orders(self._generators, count)
        self._snapshot = Snapshot(self._state)
        self._before: list[torch.Tensor] = []
        held = len(setups) * (2 * count + sum(one.network.size + self._data.steps for one in learners))
        self.most_epochs = min(self.backend.most_epochs(self._data), most_epochs(held, MEMORY))
        if first.config.rate_schedule.waits:
            self.most_epochs = 1

    def __len__(self) -> int:
        return len(self._setups)

    @property
    def epoch(self) -> int:
        """The last finished epoch of each."""
        return self._state.epoch

    def visit(self, epochs: int, following: int, interrupted: Callable[[], bool]) -> list[Epochs]:
        """Trains so many epochs of each member; returns what they came to. Until `keep`, it may be begun again.

        Raises Interrupted; each member's `state` is that which was kept last then, too.
        """
        started = time.perf_counter()
        self._before = [generator.get_state() for generator in self._generators]
        orders = self._orders.take(epochs)
        self._orders.prepare(following)
        try:
            report = self.backend.visit(self._data, orders, interrupted)
        except Interrupted:
            for generator, before in zip(self._generators, self._before, strict=True):
                generator.set_state(before)
            raise
        self._state.epoch += epochs
        self._snapshot.take()
        trained = report()
        heed(self._state, trained)
        seconds = (time.perf_counter() - started) / len(self)
        return epochs_of(trained, self._weights, self._data.steps, self._state.epoch, seconds, time.time())

    def keep(self) -> None:
        """Takes the last visit for good."""
        self._snapshot.keep()

    def state(self, index: int) -> State:
        """A member's state, on the host, as it was kept last; a view that the `visit` after the next writes over."""
        return self._snapshot.state().of(index, self._generators[index])

    def again(self, index: int, epochs: int) -> State:
        """A member's state after the first so many epochs of the visit that was not kept, trained once more alone."""
        generator = torch.Generator()
        generator.set_state(self._before[index])
        state = replace(self.state(index).clone(), generator=generator)
        if epochs:
            setup = replace(self._setups[index], state=state)
            made, trainer = setup.on(self._device, self._kind, ALONE)
            trainer.launch(epochs=epochs).read()
            state = made.state.to(torch.device("cpu"))
        return state

    def leave(self, indices: Sequence[int]) -> None:
        """Goes on without some members; nothing is computed for them any more."""
        stay = [index for index in range(len(self)) if index not in set(indices)]
        if stay:
            self._begin([replace(self._setups[index], state=self.state(index)) for index in stay])


def _side_by_side(learners: Sequence[Learner]) -> Learner:
    """Networks of one shape as those of one population."""
    parameters, moments = (torch.cat([getattr(one, name) for one in learners]) for name in ("parameters", "moments"))
    own = tuple(one.optimizer for one in learners)
    return replace(learners[0], parameters=parameters, moments=moments, own=own)
