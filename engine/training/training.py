"""Epoch after epoch: launched, read, watched and told, until the last one or until there is nothing more to learn.

Nothing here writes a file or a log or hears a signal: a run records what is told, a notebook does with it as it likes.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.base import Backend, Interrupted
from draw_poly.engine.config import Config
from draw_poly.engine.data import image_file
from draw_poly.engine.data.image import Picture
from draw_poly.engine.model.state import Snapshot, State
from draw_poly.engine.processes import ALONE, Group
from draw_poly.engine.training.fresh import fresh
from draw_poly.engine.training.setup import Setup
from draw_poly.engine.training.torch_state import own_torch_state
from draw_poly.engine.training.trainer import Epoch, Launched, NonFinite
from draw_poly.engine.training.watch import Watch

# What process 0 tells the others when all are to train an epoch.
EPOCH = "epoch"
NOTHING = nullcontext()


@dataclass(slots=True)
class Finished:
    """An epoch that is trained, its number from 1, and what is due after it.

    `scheduled` is a frame of the schedule, `framed` that or the last epoch's, `saved` a checkpoint other than the last
    epoch's.
    """

    number: int
    epoch: Epoch
    scheduled: bool
    framed: bool
    saved: bool


class Training:
    """A run's training. Its backend's network is that of the last finished epoch whenever a frame or checkpoint is due.

    `interrupted()` is asked between steps whether to end, `timed(phase)` is around what takes time. `stopped` says why
    it ends, where that is nothing that it was asked for.
    """

    def __init__(
        self,
        setup: Setup,
        device: torch.device,
        chosen: type[Backend],
        group: Group = ALONE,
        watch: Watch | None = None,
        interrupted: Callable[[], bool] = lambda: False,
        timed: Callable[[str], AbstractContextManager[None]] = lambda phase: NOTHING,
    ) -> None:
        self.config = setup.config
        self.watch = Watch() if watch is None else watch
        self.stopped: str | None = None
        self._group, self._interrupted, self._timed = group, interrupted, timed
        group.broadcast(setup)
        self.backend, self._trainer = setup.on(device, chosen, group)
        self._threads = torch.get_num_threads()
        self._ahead: Launched | None = None
        with torch.inference_mode():
            self._snapshot = Snapshot(self.backend.state)

    @staticmethod
    def fresh(config: Config, pixels: NDArray[np.uint8] | None = None) -> "Training":
        """A run from its beginning, on gray values (height, width), else those of `config.input`.

        To be iterated over: it keeps to itself what it sets of torch's. Raises ConfigError for what cannot be done.
        """
        picture = image_file.load(config.input) if pixels is None else Picture(np.ascontiguousarray(pixels))
        with own_torch_state():
            draw = fresh(config, picture)
            device, chosen, _ = backend.found(config)
            return Training(Setup.of(config, draw.state, picture, draw.split), device, chosen)

    @property
    def state(self) -> State:
        """The state after the last finished epoch, on the host whatever becomes of the device, until the next one."""
        return self._snapshot.state()

    @property
    def processes(self) -> int:
        """How many train together."""
        return self._group.size

    @property
    def parameters(self) -> Tensor:
        """A copy of the network's parameters (P,) after the last finished epoch."""
        return self.state.main.parameters[0].clone()

    def __iter__(self) -> Iterator[Finished]:
        """As `epochs`, with torch as its user has set it between two of them."""
        epochs = self.epochs()
        while True:
            with own_torch_state(self._threads), torch.inference_mode():
                finished = next(epochs, None)
            if finished is None:
                return
            yield finished

    def begin(self, whole: bool = False) -> None:
        """Launches the first epoch, or trains the `whole` of it, if there is one; `epochs` goes on from there.

        Raises Interrupted, and of the whole NonFinite.
        """
        if self.backend.state.epoch == self.config.epochs:
            return
        with self._timed("train"):
            launched = self._launch()
            self._ahead = launched.finished() if whole else launched

    def epochs(self) -> Iterator[Finished]:
        """Epoch after epoch, until the last one or until it `stopped`; to be called in torch's inference mode.

        Raises Interrupted.
        """
        while self.stopped is None and (self._ahead or self.backend.state.epoch < self.config.epochs):
            with self._timed("train"):
                launched, self._ahead = self._ahead or self._launch(), None
                self._snapshot.take()
                if self._may_run_ahead():
                    with suppress(Interrupted):  # which the next launch raises again, when this epoch is recorded
                        self._ahead = self._launch()
            number = launched.number
            try:
                with self._timed("wait for the epoch"):
                    epoch = launched.read()
            except NonFinite as where:
                self.stopped = f"the loss was not finite in epoch {number}, {where}"
                return
            self._snapshot.keep()
            yield self._finished(number, epoch)

    def show(self, lowest: float, highest: float) -> None:
        """Tells it the range of outputs in a frame of the schedule, which may be a reason to stop."""
        self.stopped = self.watch.frame(lowest, highest) or self.stopped

    def _launch(self) -> Launched:
        """The next epoch begun, in every process."""
        self._group.broadcast(EPOCH)
        return self._trainer.launch(self._interrupted)

    def _may_run_ahead(self) -> bool:
        """Whether the device may begin another epoch before this one is read: if nothing is made of its state here.

        Should this one turn out to be the last, its snapshot was taken before the device went on.
        """
        number = self.backend.state.epoch
        looked_at = number == self.config.epochs or number in self.config.schedule or self._is_saved(number)
        return self._trainer.runs_ahead and not looked_at

    def _is_saved(self, number: int) -> bool:
        interval = self.config.checkpoint_interval
        return interval is not None and number % interval == 0 and number != self.config.epochs

    def _finished(self, number: int, epoch: Epoch) -> Finished:
        parameters = [learner.parameters[0] for learner in self.state.learners]
        self.stopped = self.watch.epoch(epoch.combined, epoch.constant, parameters)
        scheduled = number in self.config.schedule
        framed = scheduled or number == self.config.epochs
        return Finished(number, epoch, scheduled, framed, self._is_saved(number))
