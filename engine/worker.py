"""The part of the processes of a group who follow: they train along, and write nothing."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from draw_poly.engine.backends import select as backend
from draw_poly.engine.backends.base import Interrupted
from draw_poly.engine.config import Config
from draw_poly.engine.processes import Group, Lost
from draw_poly.engine.signals import Signals
from draw_poly.engine.training.torch_state import on_device
from draw_poly.engine.training.trainer import NonFinite
from draw_poly.engine.training.training import EPOCH

# What process 0 says when it has done.
END = "end"


@contextmanager
def led(group: Group) -> Iterator[None]:
    """Lets the others go, however this ends, where this is the process that leads them."""
    try:
        yield
    finally:
        if group.is_main:
            with suppress(Lost):  # then they know
                group.broadcast(END)


def follow(config: Config, group: Group) -> None:
    """Trains along with process 0 until that has done, whatever the reason: what there is to say of it, it says.

    Raises Lost where another process is gone, ConfigError where this one cannot do what process 0 can.
    """
    signals = Signals()
    with signals.caught(), torch.inference_mode():
        setup = group.receive()
        if setup == END:
            return
        device, chosen, _ = backend.found(setup.config, group)
        with on_device(device):
            _, trainer = setup.on(device, chosen, group)
            while group.receive() == EPOCH:
                with suppress(Interrupted, NonFinite):  # process 0 meets the same, and ends the run
                    trainer.epoch(lambda: signals.received != 0)
