"""What the processes of a group train with, and the part of those who follow: they train along, and write nothing."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from draw_poly.engine import backend
from draw_poly.engine.backends.base import Backend, Interrupted
from draw_poly.engine.backends.parallel import Parallel
from draw_poly.engine.config import Config
from draw_poly.engine.processes import Group, Lost
from draw_poly.engine.signals import Signals
from draw_poly.engine.state import State
from draw_poly.engine.trainer import NonFinite, Trainer

# What process 0 says when all are to train an epoch, and when it has done.
EPOCH, END = "epoch", "end"


@dataclass(frozen=True)
class Start:
    """All that training needs to know of a run: the others hear it from process 0, and need no file of their own.

    `training` and `validation` are coordinates (2, n) and values (1, n).
    """

    config: Config
    state: State
    training: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]

    def on(self, device: torch.device, chosen: type[Backend], group: Group) -> tuple[Backend, Trainer]:
        """The backend of this process, and the trainer of its share; sets torch's number of threads."""
        config = self.config
        if device.type == "cpu":
            threads = backend.most_threads(config, group)
            if not chosen.shares_work:
                threads = backend.training_threads(config.network, config.code_length, config.batch_size, threads)
            torch.set_num_threads(threads)
        else:
            torch.cuda.set_device(device)  # whose stream a graph is captured on
        made = chosen(self.state.to(device), config)
        together = made if group.size == 1 else Parallel(made, group)
        return made, Trainer(together, self.training, self.validation, config.batch_size)


@contextmanager
def led(group: Group) -> Iterator[None]:
    """Lets the others go, however this ends, where this is the process that leads them."""
    try:
        yield
    finally:
        if group.leads:
            with suppress(Lost):  # then they know
                group.say(END)


def follow(config: Config, group: Group) -> None:
    """Trains along with process 0 until that has done, whatever the reason: what there is to say of it, it says.

    Raises Lost where another process is gone, ConfigError where this one cannot do what process 0 can.
    """
    signals = Signals()
    with signals.caught(), torch.inference_mode():
        start = group.hear()
        if start == END:
            return
        device, chosen, _ = backend.found(start.config, group)
        _, trainer = start.on(device, chosen, group)
        while group.hear() == EPOCH:
            with suppress(Interrupted, NonFinite):  # process 0 meets the same, and ends the run
                trainer.epoch(lambda: signals.received != 0)
