"""Visit after visit: launched, read, watched and told, until the last epoch or until there is nothing more to learn.

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
from draw_poly.engine.model.state import Snapshot, State
from draw_poly.engine.processes import ALONE, Group
from draw_poly.engine.training.fresh import fresh
from draw_poly.engine.training.pace import Pace
from draw_poly.engine.training.setup import Setup
from draw_poly.engine.training.torch_state import on_device, own_torch_state
from draw_poly.engine.training.trainer import Epoch, Epochs, Launched
from draw_poly.engine.training.watch import Watch

# What process 0 tells the others when all are to train an epoch.
EPOCH = "epoch"
NOTHING = nullcontext()


@dataclass(frozen=True)
class Visit:
    """Epochs that were trained without a look at the state between them, and what is due after the last one.

    `scheduled` is a frame of the schedule, `framed` that or the last epoch's, `saved` a checkpoint other than the last
    epoch's.
    """

    epochs: Epochs
    scheduled: bool
    framed: bool
    saved: bool


@dataclass(slots=True)
class Finished:
    """An epoch that is trained, its number from 1, and what is due after it: see `Visit`."""

    number: int
    epoch: Epoch
    scheduled: bool
    framed: bool
    saved: bool


class Training:
    """A run's training. Its backend's network is that of the last finished epoch whenever a frame or checkpoint is due.

    How many epochs are a visit changes no bit of what they come to. Nor does it change where a run ends that stops in
    mid-visit: that visit is begun again, and ends there. `interrupted()` is asked between steps whether to end,
    `timed(phase)` is around what takes time. `stopped` says why it ends, where that is nothing that it was asked for.
    On a GPU it is made, and `begin` and `visits` are called, within `on_device`.
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
        self._pace = Pace(self._trainer.most_epochs)
        with torch.inference_mode():
            self._snapshot = Snapshot(self.backend.state)

    @staticmethod
    def fresh(config: Config, pixels: NDArray[np.uint8] | None = None) -> "Training":
        """A run from its beginning, on gray values (height, width) or colours (height, width, 3), else the input's.

        To be iterated over: it keeps to itself what it sets of torch's. Raises ConfigError for what cannot be done.
        """
        picture = image_file.found(image_file.asked(config), pixels)
        with own_torch_state():
            draw = fresh(config, picture)
            device, chosen, _ = backend.found(config)
            with on_device(device):
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
        """Epoch after epoch, each a visit, with torch as its user has set it between two of them."""
        self._pace = Pace(1)
        visits = self.visits()
        while True:
            with own_torch_state(self._threads), on_device(self.backend.device), torch.inference_mode():
                visit = next(visits, None)
            if visit is None:
                return
            epochs = visit.epochs
            yield Finished(epochs.last, epochs[-1], visit.scheduled, visit.framed, visit.saved)

    def begin(self, whole: bool = False) -> None:
        """Launches the first epoch, or trains the `whole` of it, if there is one; `visits` goes on from there.

        Raises Interrupted, and of the whole NonFinite.
        """
        if self.backend.state.epoch == self.config.epochs:
            return
        with self._timed("train"):
            launched = self._launch()
            self._ahead = launched.finished() if whole else launched

    def visits(self) -> Iterator[Visit]:
        """Visit after visit, until the last epoch or until it `stopped`; to be called in torch's inference mode.

        Raises Interrupted.
        """
        while self.stopped is None and (self._ahead or self.backend.state.epoch < self.config.epochs):
            with self._timed("train"):
                launched, self._ahead = self._ahead or self._launch(), None
                self._snapshot.take()
                if self._may_run_ahead():
                    with suppress(Interrupted):  # which the next launch raises again, when these epochs are recorded
                        self._ahead = self._launch()
            with self._timed("wait for the epoch"):
                epochs = launched.read()
            with self._timed("watch"):
                epochs = self._watched(epochs)
            if 0 < len(epochs) < launched.epochs:
                self._begin_again(len(epochs))
            if not len(epochs):
                return
            self._snapshot.keep()
            self._pace.note(launched.epochs, float(epochs.seconds.sum()))
            yield self._visit(epochs)

    def show(self, lowest: float, highest: float) -> None:
        """Tells it the range of outputs in a frame of the schedule, which may be a reason to stop."""
        self.stopped = self.watch.frame(lowest, highest) or self.stopped

    def _launch(self) -> Launched:
        """The next visit begun, in every process."""
        self._group.broadcast(EPOCH)
        finished = self.backend.state.epoch
        epochs = self._next(finished)
        return self._trainer.launch(self._interrupted, epochs, self._next(finished + epochs))

    def _next(self, finished: int) -> int:
        """How many epochs the visit after this epoch has: up to one that is looked at."""
        end = min(self.config.saved_after(finished), self.config.frames.following(finished))
        return min(self._pace.epochs, end - finished)

    def _may_run_ahead(self) -> bool:
        """Whether the device may begin another visit before this one is read: if nothing is made of its state here.

        Should this one turn out to be the last, its snapshot was taken before the device went on.
        """
        number = self.backend.state.epoch
        looked_at = number in self.config.frames or self.config.is_saved_at(number)
        return self._trainer.runs_ahead and not looked_at and number != self.config.epochs

    def _watched(self, epochs: Epochs) -> Epochs:
        """Those after which it goes on, and the one that it stops with; says why it `stopped`."""
        count, self.stopped = self.watch.epochs(epochs)
        return epochs.until(count)

    def _begin_again(self, count: int) -> None:
        """Trains the visit's first epochs once more, so that the state is that after them."""
        self._ahead = None
        self._snapshot.restore()
        launched = self._trainer.launch(epochs=count)
        self._snapshot.take()
        launched.read()

    def _visit(self, epochs: Epochs) -> Visit:
        scheduled, is_last = epochs.last in self.config.frames, epochs.last == self.config.epochs
        return Visit(epochs, scheduled, scheduled or is_last, self.config.is_saved_at(epochs.last) and not is_last)
